// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a training needs to go on: everything but the data set. Random numbers are functions of the seed and the
// position, so they need no state.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <array>
#include <limits>

namespace nasturtium::nn {

struct TrainState
{
  spec::Architecture architecture;
  TrainOptions options;
  std::vector<std::string> frozen; ///< as Candidate::frozen
  std::string dataset_checksum;
  std::int64_t samples = 0; ///< of the training split
  std::int64_t step = 0;    ///< steps done
  Weights weights;
  std::vector<Weights> slots;                                 ///< of the optimiser, in the order of impl::slot_names
  std::vector<std::array<double, 4>> pending;                 ///< metrics of each step since the last report
  double best_loss = std::numeric_limits<double>::infinity(); ///< for early stopping
  int stale_validations = 0;
  double seconds = 0, validation_seconds = 0;
  std::vector<EpochReport> reports;
};

} // namespace nasturtium::nn
