// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of PEng4NN and PENGUIN. Per search and data set every network is trained to the end once; every method
// is then replayed on those curves, and the search is run again with an engine that stops networks for real.
#pragma once

#include "plan_estimate.hpp"
#include "program.hpp"
#include "report_document.hpp"

#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/search.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// What is asked for, and how much of it.
struct PenguinPlan
{
  std::string scale;                      ///< for titles
  std::vector<std::string> searches;      ///< menndl, evocnn, nsga-net, nsga-net-narrow
  std::vector<std::string> datasets;      ///< names or specifications; a name that is not there is left out
  std::vector<std::string> presets;       ///< methods to replay
  std::string live = "nasturtium";        ///< engine of the second run; none: no such run
  std::vector<std::string> live_searches; ///< that are run with it; empty: all
  int networks = 8, epochs = 6;           ///< of each search, and of a full training
  std::int64_t images = 0;                ///< for training and validation together; 0: all
  std::int64_t images_of_a_class = 0;     ///< at least so many, so that a hundred classes can be learnt at all
  std::uint64_t seed = 1;
  std::string data_dir, out;
};

/// Plan of a scale: smoke, laptop, node or paper; throws Error naming --scale for anything else. `out` is left empty.
PenguinPlan penguin_plan(std::string const& scale);

/// What the plan is going to train, as far as its data sets are there.
std::vector<PlannedTraining> penguin_work(PenguinPlan const& plan);

/// One search on one data set.
struct PenguinCell
{
  std::string name; ///< of its folder: SEARCH-DATASET
  std::string search, dataset;
  std::int64_t subset = 0; ///< images that were asked for; 0: all
  nas::SearchResult recorded;
  std::optional<nas::SearchResult> live;
  /// Test accuracy, percent, of the weights that each search kept as its best: a maximum over many networks is a lucky
  /// validation too, the test split is not. NaN without a test split.
  double recorded_test = std::numeric_limits<double>::quiet_NaN(), live_test = std::numeric_limits<double>::quiet_NaN();
  predictor::CurveSet curves;
  std::vector<predictor::Summary> replayed; ///< the methods, each before the baselines at its stops
};

/// Runs the cells, or what is left of them in `plan.out`. Nothing where Ctrl-C ended it; the same call goes on.
/// Throws Error where no data set is there.
std::optional<std::vector<PenguinCell>> run_penguin(PenguinPlan const& plan, nn::TrainerOptions const& trainer,
                                                    Invocation const& call);

/// Row of a method or a baseline of its own, not of a baseline at the stops of another.
bool own_row(predictor::Summary const& row);

/// What fits a terminal: methods and searches.
Table penguin_methods(std::vector<PenguinCell> const& cells);
Table penguin_live(std::vector<PenguinCell> const& cells);

/// Tables replayed, live and timing, one of every cell, and two figures a cell. All but timing and live's seconds are
/// the same whenever it is made again from the same runs.
ReportDocument penguin_report(std::vector<PenguinCell> const& cells, PenguinPlan const& plan,
                              Provenance const& provenance, std::string const& title);

} // namespace nasturtium::cli
