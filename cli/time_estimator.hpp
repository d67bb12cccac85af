// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment after Pinel et al., OLA 2020: networks are timed on devices of this machine, training sets of
// estimators are drawn or evolved, and estimators are tested on networks that they did not see. Method and protocol:
// docs/estimator.md.
#pragma once

#include "plan_estimate.hpp"
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/estimator/archive.hpp>
#include <nasturtium/estimator/coevolution.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// A strategy with the generator that it draws from.
struct EstimatorArm
{
  std::string strategy, generator;
  friend bool operator==(EstimatorArm const&, EstimatorArm const&) = default;
};

struct EstimatorPlan
{
  std::string scale;
  std::vector<int> threads;       ///< of the backend: each number is a device; the first is the one of the strategies
  std::vector<EstimatorArm> arms; ///< with the baseline of a generator ("random") before what is compared with it
  int seeds = 2;
  int networks = 24, population = 8, founders = 8; ///< of one arm and seed
  int probes = 12;                                 ///< of the loop
  int tests = 20;                                  ///< random networks for testing, of the uniform generator
  int pool = 60;       ///< random networks on every device: for the model of a device, intervals and transfer
  int max_eighths = 1; ///< largest width of the families
  std::string measure = "quick";
  estimator::GeneratorOptions ranges;
  double cap_step_seconds = 0.2;
  std::uint64_t seed = 1;
  std::string out;
};

/// Plan of a scale: smoke, laptop, node or paper; throws Error naming --scale for anything else. `out` is left empty.
EstimatorPlan estimator_plan(std::string const& scale);

/// What the plan is going to time.
std::vector<PlannedTraining> estimator_work(EstimatorPlan const& plan);

/// One arm and seed: what was timed, and the log of its generations.
struct EvolvedSet
{
  EstimatorArm arm;
  int seed = 0;
  std::vector<estimator::Timed> archive;
  std::vector<estimator::GenerationLog> log;
};

/// Networks on one device.
struct DeviceTimings
{
  estimator::Device device;
  estimator::Archive pool, tests, families;
};

struct EstimatorRun
{
  std::vector<DeviceTimings> devices; ///< in the order of the plan's threads
  std::vector<EvolvedSet> sets;
  estimator::Archive evolved; ///< test set (c): networks of separate runs
};

/// Times what is not in `plan.out` yet; nothing where Ctrl-C ended it.
std::optional<EstimatorRun> run_time_estimator(EstimatorPlan const& plan, nn::TrainerOptions const& trainer);

/// Tables devices, strategies, accuracy, families, intervals, wall_time, backfill, memory, transfer and cost, and
/// figures. Fits estimators; the same for the same timings but for the seconds in `cost`.
ReportDocument time_estimator_report(EstimatorRun const& run, EstimatorPlan const& plan,
                                     nn::TrainerOptions const& trainer, Provenance const& provenance);

} // namespace nasturtium::cli
