// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment after Pochelu et al., HPC Asia 2022: searches by successive halving and their baselines at equal
// epochs, fronts of ensembles from their libraries against single models and deep ensembles, plans against known optima
// and against measured rates. Method and definitions: docs/halving.md, docs/ensembles-selection.md,
// docs/ensembles-serving.md.
#pragma once

#include "ensemble_library.hpp"
#include "plan_estimate.hpp"
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/core/table.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// A data set and the networks that are searched for it.
struct EnsemblesTask
{
  std::string dataset, space;
  std::int64_t images = 0, test_images = 0; ///< 0: all; of the images, a part validates
  double validation = 0.4;                  ///< this part
};

struct EnsemblesPlan
{
  std::string scale;
  std::vector<EnsemblesTask> tasks;
  /// asha, asha-loss, asha-stop, sha-sync, hyperband, random. asha ranks in thirds of the costs and fills the library
  /// that ensembles are made of; the others rank by loss.
  std::vector<std::string> arms;
  int seeds = 2;
  int trials = 30;       ///< of the arms that halve; hyperband: as its brackets have it
  int random_trials = 4; ///< that random search trains to the end: about as many epochs
  int most_epochs = 9;   ///< R
  int deep = 3;          ///< members of the deep ensemble; 0: none
  int pool = 10;         ///< models of the pool that every ensemble of is tried
  int served = 2;        ///< ensembles of the first library that are planned and served; 0: none
  int serve_samples = 8192, serve_rounds = 3;
  int planner_seeds = 20; ///< problems of each suite with a known optimum
  std::string data_dir, out;
};

/// Plan of a scale: smoke, laptop, node or paper; throws Error naming --scale for anything else. `out` is left empty.
EnsemblesPlan ensembles_plan(std::string const& scale);

/// What the plan is going to train, as far as its data sets are there.
std::vector<PlannedTraining> ensembles_work(EnsemblesPlan const& plan);

/// One search.
struct EnsemblesRun
{
  std::string arm;
  int seed = 0;
  std::int64_t trials = 0, epochs = 0;
  std::vector<HalvingMoment> moments;
};

struct EnsemblesCell
{
  std::string name; ///< of its folder
  EnsemblesTask task;
  std::vector<EnsemblesRun> runs;     ///< seed by seed, arms in order
  std::vector<std::string> libraries; ///< folders, by seed
  std::string deep;                   ///< library of the deep ensemble; empty: none
  std::optional<Table> serving;       ///< rates, predictions, latencies
  std::optional<Table> matrix;        ///< the plan of the largest ensemble that was served
  std::optional<Table> timeline;      ///< of that plan (serving_timeline.hpp); older folders have none
};

/// Runs what is left of the plan in `plan.out`; nothing where Ctrl-C ended it. Throws Error where no data set is there.
std::optional<std::vector<EnsemblesCell>> run_ensembles(EnsemblesPlan const& plan, nn::TrainerOptions const& trainer,
                                                        Invocation const& call);

/// Tables search, quality, front (of the first seed), selection, serving, plan-matrix and planner, and figures. The
/// same for the same runs, but for the times in `planner`.
ReportDocument ensembles_report(std::vector<EnsemblesCell> const& cells, EnsemblesPlan const& plan,
                                nn::TrainerOptions const& trainer, Provenance const& provenance);

} // namespace nasturtium::cli
