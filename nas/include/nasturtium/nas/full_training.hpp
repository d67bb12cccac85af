// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The second phase of a search: candidates that it found are trained fully, with early stopping, from random weights or
// from those that the search left, and scored again from scratch. Every training is journaled when it ends, so a run
// that was killed goes on. After Liu et al., CLUSTER 2021; protocol: docs/weight-transfer.md.
#pragma once

#include <nasturtium/nas/search.hpp>

#include <functional>
#include <string>
#include <vector>

namespace nasturtium::nas {

/// What a training starts from, and how far it goes.
enum class Arm {
  random,      ///< R: random weights, to the early stop
  transferred, ///< T: the weights that the search left in its store, to the early stop
  own,         ///< O: the weights of `rescore`, to the early stop
  rescore,     ///< from scratch for as long as the search trained it: what the score is without what it inherited
  lineage      ///< from scratch for the epochs that its lineage trained altogether: the control of the gain
};
std::string name(Arm arm); ///< "random", "transferred", "own", "rescore", "lineage"

struct FullTrainingOptions
{
  int most_epochs = 100;
  int patience = 2;         ///< validations without a better loss
  double min_delta = 0.002; ///< what a better loss is ahead by
  double learning_rate = 0; ///< 0: the search's
};

struct FullTraining
{
  int trial = 0;
  Arm arm = Arm::random;
  nn::Status status = nn::Status::completed;
  double epochs = 0;
  double validation = TrialResult::nan; ///< percent, of the last epoch
  double test = TrialResult::nan;       ///< percent; NaN without a test split
  double seconds = 0;
};
/// CSV with one row a training.
std::string full_trainings_csv(std::vector<FullTraining> const& trainings);

/// Trains what is asked for and not in `full_training.jsonl` of the folder yet; `arms` are done for each trial in turn
/// (own needs rescore before it). The data and the options but the length are those of the search; the seed of a trial
/// is the same in all arms and another than the search's. A trial whose weights are gone gets no row for
/// Arm::transferred. Calls `on_training` after each. Returns all that are asked for and done, also where `interrupted`
/// ended it.
std::vector<FullTraining> train_fully(SearchFolder const& folder, std::vector<TrialResult> const& trials,
                                      std::vector<Arm> const& arms, FullTrainingOptions const& options,
                                      datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                                      std::function<void(FullTraining const&)> const& on_training = {},
                                      std::function<bool()> const& interrupted = {});

/// The `count` fittest trials, best first; failures are left out.
std::vector<TrialResult> fittest(std::vector<TrialResult> const& trials, std::size_t count);

} // namespace nasturtium::nas
