// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/temporary.hpp"

#include <nasturtium/nas/halving.hpp>
#include <nasturtium/nas/residual_space.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;

namespace {

std::vector<Task> const tasks{
    {{28, 28, 1}, 10}, {{32, 32, 3}, 100}, {{4, 5, 1}, 2}, {{8, 8, 1}, 0, 3}, {{1, 1, 300}, 2}};

bool has(nn::spec::Architecture const& architecture, std::string const& op)
{
  return std::any_of(architecture.nodes.begin(), architecture.nodes.end(),
                     [&](auto const& node) { return nn::spec::op_name(node.op) == op; });
}

} // namespace

TEST_CASE("residual space: every sample is a network of the task with options that can be", "[halving]")
{
  for (auto const& name : ResidualSpace::names()) {
    for (auto const& task : tasks) {
      ResidualSpace const space(name, task), again(name, task);
      std::set<std::string> networks;
      std::set<std::uint64_t> seeds;
      int convolutional = 0;
      for (int trial = 0; trial < 300; ++trial) {
        INFO(name << ", trial " << trial);
        auto const it = space.sample(7, trial);
        auto const inferred = nn::spec::infer(it.architecture);
        nn::check(it.options);
        REQUIRE(it.cost == inferred.forward_flops);
        REQUIRE(it.cost > 0);
        REQUIRE((it.architecture.input == task.input && it.architecture.classes == task.classes &&
                 it.architecture.regression == task.regression));
        REQUIRE((task.classes > 0 || it.options.label_smoothing == 0));
        networks.insert(nn::spec::hash(it.architecture));
        seeds.insert(it.options.seed);
        convolutional += has(it.architecture, "conv2d");
        auto const same = again.sample(7, trial);
        REQUIRE((same.architecture == it.architecture && nn::to_json(same.options) == nn::to_json(it.options)));
      }
      CHECK(networks.size() > 50);
      CHECK(seeds.size() == 300);
      CHECK((task.input.height < 4 ? convolutional == 0 : convolutional > 190 && convolutional < 260));
      CHECK(space.hash() == again.hash());
      CHECK(space.sample(8, 0).options.seed != space.sample(7, 0).options.seed);
    }
  }
  CHECK(ResidualSpace("residual", tasks[0]).hash() != ResidualSpace("residual", tasks[1]).hash());
}

TEST_CASE("residual space: every option of the space is drawn", "[halving]")
{
  ResidualSpace const space("residual", tasks[1]);
  std::set<std::string> ops;
  std::set<int> batches, kinds, paddings;
  std::set<double> smoothings;
  double least_rate = 1, most_rate = 0, least_decay = 1, most_decay = 0;
  std::size_t shallow = 1000, deep = 0;
  for (int trial = 0; trial < 600; ++trial) {
    auto const it = space.sample(3, trial);
    for (auto const& node : it.architecture.nodes)
      ops.insert(nn::spec::op_name(node.op));
    batches.insert(it.options.batch_size);
    kinds.insert(static_cast<int>(it.options.optimiser.kind));
    paddings.insert(it.options.augment.crop_padding);
    smoothings.insert(it.options.label_smoothing);
    least_rate = std::min(least_rate, it.options.optimiser.learning_rate);
    most_rate = std::max(most_rate, it.options.optimiser.learning_rate);
    least_decay = std::min(least_decay, it.options.optimiser.weight_decay);
    most_decay = std::max(most_decay, it.options.optimiser.weight_decay);
    shallow = std::min(shallow, it.architecture.nodes.size());
    deep = std::max(deep, it.architecture.nodes.size());
  }
  CHECK(ops == std::set<std::string>{"add", "batch_norm", "conv2d", "dense", "dropout", "elu", "flatten", "gelu",
                                     "global_avg_pool", "leaky_relu", "relu", "silu", "tanh"});
  CHECK(batches.size() == 4);
  CHECK(kinds.size() == 4);
  CHECK(paddings == std::set<int>{0, 4});
  CHECK(smoothings.size() == 4);
  CHECK(most_rate / least_rate > 1000);
  CHECK(most_decay / least_decay > 10000);
  CHECK(deep > 10 * shallow);
}

TEST_CASE("residual space: costs spread by far more than twenty times", "[halving]")
{
  for (auto const& name : ResidualSpace::names()) {
    for (std::size_t const task : {0, 1}) {
      auto costs = ResidualSpace(name, tasks[task]).costs(1, 300);
      auto const edges = cost_edges(costs);
      std::sort(costs.begin(), costs.end());
      INFO(name << ": " << costs.front() << " to " << costs.back() << ", edges " << edges[0] << ", " << edges[1]);
      CHECK(costs[285] / costs[15] >= 20); // without the ends
      CHECK(costs.back() / costs.front() >= 100);
      CHECK(edges[0] < edges[1]);
    }
  }
}

TEST_CASE("residual space: samples train", "[halving]")
{
  for (auto const& task : tasks) {
    ResidualSpace const space("residual-narrow", task);
    for (int trial = 0; trial < 24; ++trial) {
      auto it = space.sample(5, trial);
      it.options.batch_size = 4;
      INFO("trial " << trial << " of " << task.input.height << " x " << task.input.width);
      nn::Stepper stepper({.threads = 1}, it.architecture, it.options);
      stepper.run(2);
      REQUIRE(std::isfinite(stepper.loss()));
    }
  }
  ResidualSpace const large("residual", tasks[1]);
  for (int trial = 0; trial < 6; ++trial) {
    auto it = large.sample(5, trial);
    it.options.batch_size = 2;
    nn::Stepper stepper({.threads = 1}, it.architecture, it.options);
    stepper.run(1);
    REQUIRE(std::isfinite(stepper.loss()));
  }
}

TEST_CASE("residual space: names and tasks that cannot be are refused", "[halving]")
{
  CHECK(error_of([] { ResidualSpace("residul", tasks[0]); }) ==
        "configuration space: unknown name 'residul' (known: residual, residual-narrow)");
  CHECK(error_of([] { ResidualSpace("residual", {{0, 3, 1}, 2}); }) ==
        "task: field 'input' must be positive, got 0 x 3 x 1");
  CHECK(error_of([] { ResidualSpace("residual", tasks[0]).sample(1, -1); }) ==
        "residual: the trial must not be negative, got -1");
}
