// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Single steps, what they take, and what the device under them is; on every backend of the build.
#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/device_probe.hpp>
#include <nasturtium/nn/stepper.hpp>

#include "support/high_water.hpp"
#include "support/random_architecture.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::nn;

namespace {

std::vector<TrainerOptions> backends()
{
  std::vector<TrainerOptions> all;
  for (auto const backend : available_backends()) {
    all.emplace_back();
    all.back().backend = backend;
  }
  return all;
}

} // namespace

TEST_CASE("stepper: the plan is what is allocated, in both precisions", "[stepper]")
{
  for (auto const& trainer : backends()) {
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
      TrainOptions options;
      options.batch_size = 1 + static_cast<int>(seed);
      options.optimiser.kind = static_cast<OptimiserKind>(seed % 4);
      options.precision = seed % 3 == 0 ? Precision::float64 : Precision::float32;
      auto const architecture = test::random_architecture(seed, 8);
      auto const plan = plan_memory(trainer.backend, architecture, options);
      testing::HighWaterMark const mark;
      {
        Stepper stepper(trainer, architecture, options);
        REQUIRE(stepper.bytes() == plan.network.total());
        stepper.run(2);
        REQUIRE(std::isfinite(stepper.loss()));
      }
      REQUIRE(mark.bytes() == plan.total());
      REQUIRE(mark.alive() == 0);
    }
  }
}

TEST_CASE("stepper: failures are values, misuse throws", "[stepper]")
{
  for (auto trainer : backends()) {
    auto architecture = test::random_architecture(3, 6);
    TrainOptions options;
    auto made = Stepper::make(trainer, architecture, options);
    CHECK(made.status == Status::completed);
    REQUIRE(made.stepper.has_value());
    made.stepper->run(1);

    options.memory_limit_bytes = made.stepper->bytes() - 1;
    made = Stepper::make(trainer, architecture, options);
    CHECK(made.status == Status::out_of_memory);
    CHECK(!made.stepper);
    CHECK(made.reason.find("the limit is") != std::string::npos);
    CHECK_THROWS_AS(Stepper(trainer, architecture, options), Error);

    options = {};
    options.batch_size = 0;
    CHECK(Stepper::make(trainer, architecture, options).status == Status::invalid);
    CHECK_THROWS_AS(plan_memory(trainer.backend, architecture, options), Error);
    architecture.nodes.front().inputs = {"nobody"};
    CHECK(Stepper::make(trainer, architecture, {}).reason.find("nobody") != std::string::npos);

    trainer.threads = -1;
    CHECK_THROWS_AS(Stepper::make(trainer, test::random_architecture(3, 6), {}), Error);
  }
}

TEST_CASE("a device says what it is and how fast it is", "[stepper]")
{
  for (auto const& trainer : backends()) {
    auto const identity = device_identity(trainer);
    CHECK(!identity.hardware.empty());
    CHECK(identity.cores >= 1);
    CHECK(identity.clock_mhz >= 0);
    auto const memory = device_memory(trainer.backend);
    CHECK(memory.total > 0);
    CHECK(memory.free > 0);
    CHECK(memory.free <= memory.total);
    auto const speed = device_speed(trainer, 0.02);
    CHECK(speed.flops > 1e7);
    CHECK(speed.bandwidth > 1e7);
    CHECK(speed.launch_seconds >= 0);
    CHECK_THROWS_AS(device_speed(trainer, 0), Error);
  }
}
