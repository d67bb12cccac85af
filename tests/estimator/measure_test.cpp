// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "networks.hpp"
#include "support/kernel_log.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/estimator/measure.hpp>
#include <nasturtium/nn/device_probe.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>

using namespace nasturtium;
using namespace nasturtium::estimator;
namespace spec = nn::spec;

namespace {

/// Backends of this build with the thread counts that this process can have.
std::vector<nn::TrainerOptions> devices()
{
  std::vector<nn::TrainerOptions> all;
  for (auto const backend : nn::available_backends()) {
    nn::TrainerOptions trainer;
    trainer.backend = backend;
    all.push_back(trainer);
    if (backend != nn::BackendKind::openmp) continue;
    int const most = nn::device_identity(trainer).cores;
    for (trainer.threads = 1; trainer.threads < std::min(most, 3); ++trainer.threads)
      all.push_back(trainer);
  }
  return all;
}

Workload tiny(int units = 8)
{
  spec::Architecture network;
  network.input = {1, 1, 4};
  network.classes = 3;
  network.nodes = {{"d1", spec::Dense{.units = units}, {"input"}}, {"d2", spec::Dense{.units = 3}, {"d1"}}};
  return {network, 2, Optimiser::sgd};
}

} // namespace

TEST_CASE("a network is timed on every device", "[measure]")
{
  auto const options = measure_preset("quick");
  for (auto const& trainer : devices()) {
    INFO(nn::name(trainer.backend) << " with " << trainer.threads << " threads");
    Workload const workload{spec::load_architecture("lenet"), 8, Optimiser::momentum};
    auto const result = measure(workload, trainer, options);
    CHECK(result.status == MeasureStatus::timed);
    CHECK(result.reason.empty());
    CHECK(result.steps == 10);
    CHECK(result.min > 0);
    CHECK(result.min <= result.median);
    CHECK(result.sd >= 0);
    CHECK(result.total_seconds >= 10 * result.min);
    nn::TrainOptions train;
    train.batch_size = 8;
    train.optimiser = to_options(Optimiser::momentum);
    CHECK(result.bytes == nn::plan_memory(trainer.backend, workload.architecture, train).network.total());
  }
}

TEST_CASE("steps and seconds in all are at least what was asked for", "[measure]")
{
  nn::TrainerOptions const trainer;
  MeasureOptions options;
  options.min_seconds = 0.05;
  options.min_steps = 7;
  Stopwatch const watch;
  auto const result = measure(tiny(), trainer, options);
  CHECK(result.status == MeasureStatus::timed);
  CHECK(result.steps >= 7);
  // Block means of microsecond steps: many thousands make up the time.
  CHECK(static_cast<double>(result.steps) * result.median > 0.02);
  CHECK(result.total_seconds <= watch.seconds());
  options.min_seconds = 0;
  options.min_steps = 33; // in blocks of 7, 7, 7, 6, 6
  CHECK(measure(tiny(), trainer, options).steps == 33);
  options.blocks = 1;
  auto const single = measure(tiny(), trainer, options);
  CHECK(single.steps == 33);
  CHECK(single.sd == 0);
  CHECK(single.median == single.min);
}

TEST_CASE("the time limit cuts steps, not blocks", "[measure]")
{
  MeasureOptions options;
  options.min_steps = 1000000000;
  options.max_seconds = 0.05;
  Stopwatch const watch;
  auto const result = measure(tiny(256), {}, options);
  CHECK(result.status == MeasureStatus::timed);
  CHECK(result.steps >= 5);
  CHECK(result.steps < 1000000000);
  CHECK(watch.seconds() < 2); // a loaded machine has its time
}

TEST_CASE("a block is fenced before and after, never inside", "[measure]")
{
  MeasureOptions options = measure_preset("quick");
  options.min_warmup = options.max_warmup = 3;
  options.min_steps = 100;
  testing::KernelLog const log;
  auto const result = measure(tiny(), {}, options);
  int fences = 0;
  for (auto const& event : log.events())
    fences += event.find("fence nasturtium::step_queue: read") != std::string::npos ? 1 : 0;
  CHECK(result.steps == 100);
  CHECK(fences == 3 + 5);
}

TEST_CASE("what cannot be timed is a status", "[measure]")
{
  nn::TrainerOptions const trainer;
  auto options = measure_preset("quick");
  SECTION("a step over the cap")
  {
    options.cap_step_seconds = 1e-9;
    auto const result = measure(tiny(), trainer, options);
    CHECK(result.status == MeasureStatus::over_cap);
    CHECK(result.reason.find("the cap is 1e-09 s") != std::string::npos);
    CHECK(result.median == 0);
    CHECK(result.bytes > 0);
    CHECK(result.total_seconds > 0);
  }
  SECTION("more memory than there is")
  {
    auto workload = tiny(1 << 20);
    for (int i = 0; i < 500; ++i) { // 2^39 weights
      workload.architecture.nodes.back().id = "n" + std::to_string(i);
      workload.architecture.nodes.back().op = spec::Dense{.units = i % 2 == 0 ? 1 << 10 : 1 << 20};
      workload.architecture.nodes.push_back({"d2", spec::Dense{.units = 3}, {"n" + std::to_string(i)}});
    }
    auto const result = measure(workload, trainer, options);
    INFO(result.reason);
    CHECK(result.status == MeasureStatus::out_of_memory);
    CHECK(result.reason.find("bytes") != std::string::npos);
    CHECK(result.total_seconds < 2);
  }
  SECTION("an architecture that does not infer")
  {
    auto workload = tiny();
    workload.architecture.nodes[1].inputs = {"nobody"};
    auto const result = measure(workload, trainer, options);
    CHECK(result.status == MeasureStatus::invalid);
    CHECK(result.reason.find("nobody") != std::string::npos);
  }
  SECTION("a batch or an optimiser that does not train")
  {
    auto workload = tiny();
    workload.batch = 0;
    CHECK(measure(workload, trainer, options).status == MeasureStatus::invalid);
    workload = tiny();
    for (auto const optimiser : {Optimiser::none, Optimiser::adagrad, Optimiser::adadelta}) {
      workload.optimiser = optimiser;
      CHECK(measure(workload, trainer, options).reason.find(name(optimiser)) != std::string::npos);
    }
  }
}

TEST_CASE("misuse of measuring throws", "[measure]")
{
  nn::TrainerOptions trainer;
  MeasureOptions options;
  options.blocks = 0;
  CHECK(test::error_of([&] { measure(tiny(), trainer, options); }).find("blocks") != std::string::npos);
  options = {};
  options.max_warmup = 2;
  CHECK_THROWS_AS(measure(tiny(), trainer, options), Error);
  CHECK_THROWS_AS(measure_preset("slow"), Error);
  trainer.threads = -1;
  CHECK_THROWS_AS(measure(tiny(), trainer, measure_preset("quick")), Error);
  CHECK(parse_measure_status("over_cap", "test") == MeasureStatus::over_cap);
  CHECK_THROWS_AS(parse_measure_status("fast", "test"), Error);
  CHECK(measure_preset("full").min_steps == 30);
}

TEST_CASE("a device's speed has the size that it can have", "[measure]")
{
  nn::TrainerOptions trainer;
  trainer.backend = nn::available_backends().front();
  trainer.threads = trainer.backend == nn::BackendKind::openmp ? 1 : 0;
  auto const identity = nn::device_identity(trainer);
  auto const memory = nn::device_memory(trainer.backend);
  auto const speed = nn::device_speed(trainer, 0.05);
  CHECK(!identity.hardware.empty());
  CHECK(identity.cores >= 1);
  CHECK(memory.total > (std::int64_t{1} << 26));
  CHECK(memory.free > 0);
  CHECK(memory.free <= memory.total);
  CHECK(speed.flops > 1e7);
  CHECK(speed.flops < 1e15);
  CHECK(speed.bandwidth > 1e7);
  CHECK(speed.bandwidth < 1e14);
  CHECK(speed.launch_seconds >= 0);
  CHECK(speed.launch_seconds < 1);
  CHECK_THROWS_AS(nn::device_speed(trainer, 0), Error);
}
