// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random networks of the sizes that are timed: chains of convolutions and what goes with them, as a function of a seed.
#pragma once

#include "support/random_architecture.hpp"

#include <nasturtium/estimator/workload.hpp>

#include <string>
#include <vector>

namespace nasturtium::test {

inline estimator::Workload random_workload(std::uint64_t seed)
{
  using namespace nn::spec;
  Dice dice(seed);
  estimator::Workload workload;
  auto& network = workload.architecture;
  int side = std::vector<int>{8, 16, 24, 32}[static_cast<std::size_t>(dice.below(4))];
  network.input = {side, side, dice.one_in(2) ? 1 : 3};
  network.classes = 10;
  std::string last = "input";
  bool flat = false;
  auto const push = [&](Op op) {
    std::string id = "n" + std::to_string(network.nodes.size());
    network.nodes.push_back({id, std::move(op), {last}});
    last = id;
  };
  for (int i = dice.between(1, 8); i > 0; --i) {
    int const kind = dice.below(10);
    if (kind < 5 && !flat) {
      int const stride = side > 1 && dice.one_in(4) ? 2 : 1, kernel = 1 + 2 * dice.below(3);
      push(Conv2d{.filters = 4 << dice.below(5), .kernel = {kernel, kernel}, .stride = {stride, stride}});
      side = (side + stride - 1) / stride;
      if (dice.one_in(2)) push(BatchNorm{});
      push(Activation{dice.one_in(3) ? ActivationKind::tanh : ActivationKind::relu});
    } else if (kind < 7 && !flat && side > 1) {
      push(Pool2d{dice.one_in(3) ? PoolKind::average : PoolKind::max});
      side /= 2;
    } else if (kind == 7) {
      push(Dropout{0.25});
    } else if (kind == 8) {
      flat = true;
      push(Dense{8 << dice.below(6)});
      push(Activation{ActivationKind::relu});
    }
  }
  if (!flat) {
    if (dice.one_in(2))
      push(GlobalAvgPool{});
    else
      push(Flatten{});
  }
  push(Dense{10});
  workload.batch = 1 << dice.below(7);
  workload.optimiser =
      std::vector{estimator::Optimiser::sgd, estimator::Optimiser::momentum, estimator::Optimiser::rmsprop,
                  estimator::Optimiser::adam}[static_cast<std::size_t>(dice.below(4))];
  return workload;
}

} // namespace nasturtium::test
