// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The training-time estimator in front of a search: what a candidate's whole training will cost on this machine.
#pragma once

#include "program.hpp"

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/estimator/step_model.hpp>
#include <nasturtium/nas/search.hpp>

#include <memory>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// Scales the model to this machine: times a step of each workload on the trainer's backend and threads (a third of a
/// second each, or seven steps where they are slow; those that cannot be timed are left out). Returns the name of the
/// device that the model knows now. Throws Error where none could be timed.
std::string calibrate(estimator::StepModel& model, nn::TrainerOptions const& trainer,
                      std::vector<estimator::Workload> const& probes, nn::Precision precision = nn::Precision::float32);

/// Steps of networks that are drawn from a search space (seeded, independent of the search), as a search trains them.
std::vector<estimator::Workload> probes_of(nas::SearchConfig const& config, int count);

/// Epochs of a training that nothing ends early.
double whole_epochs(nn::TrainOptions const& options, datasets::Dataset const& dataset);

/// Steps of all epochs, and a third of a step for every batch of a validation (its forward pass). The
/// function throws Error for networks that do not infer.
nas::TrainingCost training_cost(std::shared_ptr<estimator::StepModel const> model, std::string device,
                                nn::TrainOptions const& options, datasets::Dataset const& dataset);

} // namespace nasturtium::cli
