// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of Liu et al., CLUSTER 2021: the same aging evolution with and without weight transfer, over paired
// seeds; then the best candidates of each are trained fully from random and from inherited weights. Method, controls
// and definitions: docs/weight-transfer.md.
#pragma once

#include "plan_estimate.hpp"
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/full_training.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// One space on one data set.
struct TransferTask
{
  std::string space, dataset;
  std::int64_t images = 0, test_images = 0; ///< 0: all
  int epochs = 1, batch_size = 64;          ///< of an evaluation
  double learning_rate = 0.003;             ///< Adam
};

struct TransferPlan
{
  std::string scale;
  std::vector<TransferTask> tasks;
  /// none, lp, lcs, lcs-bytes, exact-prefix; with "-frozen" or "-permuted" behind: that variant, without a second
  /// phase.
  std::vector<std::string> arms;
  int seeds = 2;      ///< the unit of every test
  int first_seed = 1; ///< seeds may be spread over processes that share `out`
  int evaluations = 20, population = 8, sample = 3;
  int top = 3;    ///< candidates that are trained fully
  int ranked = 6; ///< candidates of the first seed whose ranks are compared
  nas::FullTrainingOptions full;
  /// Transfer and prediction together, on the first task: searches of so many candidates and epochs; 0 seeds: none.
  int together_seeds = 1, together_evaluations = 12, together_epochs = 4;
  std::string provider = "parent";
  std::string data_dir, out;
};

/// Plan of a scale: smoke, laptop, node or paper; throws Error naming --scale for anything else. `out` is left empty.
TransferPlan transfer_plan(std::string const& scale);

/// What the plan is going to train, as far as its data sets are there.
std::vector<PlannedTraining> transfer_work(TransferPlan const& plan);

/// One search with what was trained after it.
struct TransferRun
{
  std::string arm;
  int seed = 0;
  nas::SearchResult search;
  std::vector<nas::FullTraining> full;   ///< of the fittest, all arms
  std::vector<nas::FullTraining> ranked; ///< from random weights, of candidates over the whole range of scores
};
/// One search with or without transfer (lcs) and with or without an engine that stops candidates (nasturtium).
struct TogetherRun
{
  std::string arm; ///< none, transfer, prediction, both
  int seed = 0;
  nas::SearchResult search;
};
struct TransferCell
{
  std::string name; ///< of its folder: SPACE-DATASET
  TransferTask task;
  std::vector<TransferRun> runs; ///< seed by seed, arms in order
  std::vector<TogetherRun> together;
};

/// Runs what is left of the plan in `plan.out`; nothing where Ctrl-C ended it. Throws Error where no data set is there.
std::optional<std::vector<TransferCell>> run_transfer(TransferPlan const& plan, nn::TrainerOptions const& trainer,
                                                      Invocation const& call);

/// Scores of each arm against none, over seeds: the unit is the seed.
Table transfer_scores(std::vector<TransferCell> const& cells, TransferPlan const& plan);
/// Epochs to the early stop and final test accuracy, from random (R), own (O) and transferred (T) weights.
Table transfer_full(std::vector<TransferCell> const& cells);

/// Tables scores, full, controls, ranks, overhead and together, and a figure per cell.
ReportDocument transfer_report(std::vector<TransferCell> const& cells, TransferPlan const& plan,
                               Provenance const& provenance);

} // namespace nasturtium::cli
