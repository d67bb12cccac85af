// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A segment does not touch the heap; not under the sanitizers (support/allocation_count.hpp).
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include "support/allocation_count.hpp"

#include <nasturtium/ensemble/runtime.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using nasturtium::test::allocations;

TEST_CASE("heap: segments leave it alone", "[runtime]")
{
  auto const architecture = nn::spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 6, "width": 6, "channels": 1},
          "nodes": [{"id": "c", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["input"]},
                    {"id": "f", "op": "dense", "units": 5, "inputs": ["c"]}],
          "output": {"classes": 5}})",
      "member");
  std::vector<ServedModel> models;
  for (unsigned m = 0; m < 2; ++m) {
    auto weights = std::make_shared<nn::Weights const>(nn::initial_weights(architecture, m));
    models.push_back({m == 0 ? "m0" : "m1", architecture, weights, 1});
  }
  Plan plan;
  plan.devices = {"a", "b"};
  plan.models = {"m0", "m1"};
  plan.allocation = Allocation(2, 2);
  plan.allocation.batch = {8, 8, 0, 16};
  ServingDevice a, b;
  a.name = "a";
  b.name = "b";
  std::vector<std::uint8_t> const bytes(2000 * 36, 100);
  for (bool const fixed : {false, true}) {
    EnsembleServer server(models, {a, b}, plan, {}, {.segment_size = 20, .fixed_order = fixed});
    double sum = 0;
    auto const sink = [&](std::int64_t, std::span<float const> part) {
      for (float const value : part)
        sum += static_cast<double>(value);
    };
    auto const count = [&](std::size_t samples) {
      long const before = allocations;
      server.serve(nn::Images{bytes, {}}.part(0, samples * 36), sink);
      return allocations - before;
    };
    count(2000); // the first one warms up
    long const few = count(40), many = count(2000);
    CHECK(many <= few);                // a request may allocate, its segments may not
    CHECK(std::abs(sum - 4040) < 0.1); // as many samples
  }
}
#endif
