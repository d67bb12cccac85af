// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an experiment will take, told before it starts: networks, epochs, seconds, disk.
#pragma once

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/estimator/workload.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// Networks of one kind that an experiment is going to train, or to time.
struct PlannedTraining
{
  std::string name;                        ///< of the kind, for people
  std::vector<estimator::Workload> sample; ///< some of them, drawn as the experiment draws
  double networks = 0;                     ///< in all
  double epochs = 0;                       ///< of all networks together, at most
  double images = 0;                       ///< training images of an epoch
  double files = 0;                        ///< weight files or checkpoints that are kept, of all
  bool timed = false;                      ///< networks are timed, not trained: epochs count nothing
  std::string measure = "quick";           ///< how a network is timed
};

struct PlanEstimate
{
  double networks = 0, epochs = 0;
  double seconds = 0, bytes = 0;
  std::string basis; ///< where the seconds come from
};

/// Seconds by the model of `model_path` where there is such a file and it knows this device, else from timing up to
/// eight networks of each kind now (some tenths of a second each). Bytes: of weight files alone. The trainer's backend
/// must be up. Throws Error for a model that cannot be read.
PlanEstimate estimate_plan(std::vector<PlannedTraining> const& work, std::string const& model_path,
                           nn::TrainerOptions const& trainer);

/// `count` networks of a search space, with batch size and Adam, as a sample.
std::vector<estimator::Workload> sample_of_space(std::string const& space, datasets::Dataset const& dataset, int batch,
                                                 int count = 8);

} // namespace nasturtium::cli
