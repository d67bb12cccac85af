// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "penguin.hpp"

#include "line_plot.hpp"
#include "page.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/nn/weights.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <limits>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

/// The algorithm of a search, named like its own space but for the sizes of one.
std::string algorithm_of(std::string const& search)
{
  return search == "nsga-net-narrow" ? "nsga-net" : search;
}

Cell cell(double value)
{
  return std::isfinite(value) ? Cell(value) : Cell();
}

class Watcher : public nas::SearchObserver
{
public:
  Watcher(std::string const& label, int networks, int epochs)
      : m_epochs(epochs), m_progress(label, static_cast<std::int64_t>(networks) * epochs, "epochs")
  {
  }
  void on_report(nas::Trial const&, nn::EpochReport const& report, predictor::Prediction const&) override
  {
    m_progress.set(std::llround(m_done + report.epoch));
  }
  void on_result(nas::TrialResult const& result) override
  {
    m_done += m_epochs; // what a stopped network leaves out is done as well
    m_best = std::isfinite(result.fitness) ? std::max(m_best, result.fitness) : m_best;
    m_progress.set(std::llround(m_done), concat("best ", fixed(m_best, 2), " %"));
  }
  void on_note(std::string const& text) override { m_progress.message(text); }

private:
  int m_epochs;
  double m_done = 0, m_best = 0;
  Progress m_progress;
};

nas::SearchConfig config_of(PenguinCell const& cell, PenguinPlan const& plan, datasets::Dataset const& dataset,
                            DataChoice const& data, std::string const& predictor, nn::BackendKind backend)
{
  nas::SearchConfig config;
  config.space = cell.search;
  config.settings.algorithm = algorithm_of(cell.search);
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes};
  config.settings.evaluations = plan.networks;
  config.settings.seed = plan.seed;
  config.training.epochs = plan.epochs;
  config.training.batch_size = 32;
  config.training.optimiser.kind = nn::OptimiserKind::adam;
  config.training.optimiser.learning_rate = 0.002;
  config.training.schedule.kind = nn::ScheduleKind::cosine; // NSGA-Net's; a constant rate leaves finals that jitter
  config.training.validations_per_epoch = 2;                // PENGUIN's half epochs
  config.training.seed = plan.seed;
  config.predictor = predictor;
  config.backend = backend;
  config.data = to_json(data);
  config.data_checksum = dataset.checksum;
  return config;
}

/// `data` says what was loaded; nothing where it is not there.
std::optional<datasets::Dataset> load_data(std::string const& name, PenguinPlan const& plan, DataChoice& data)
{
  data.dataset = name;
  data.data_dir = plan.data_dir;
  data.validation = 0.25;
  data.subset = plan.images;
  auto dataset = data.load_or_leave_out();
  if (dataset && plan.images_of_a_class * dataset->classes > data.subset) {
    data.subset = plan.images_of_a_class * dataset->classes;
    dataset = data.load_or_leave_out();
  }
  return dataset;
}

/// Whether a search runs again with the engine.
bool runs_live(PenguinPlan const& plan, std::string const& search)
{
  auto const& searches = plan.live_searches;
  return plan.live != "none" &&
         (searches.empty() || std::find(searches.begin(), searches.end(), search) != searches.end());
}

/// Runs a search, or what is left of it. Nothing where Ctrl-C ended it.
std::optional<nas::SearchResult> searched(std::string const& path, nas::SearchConfig const& config,
                                          datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                                          Invocation const& call)
{
  auto folder = nas::SearchFolder::open_or_create(
      path, config,
      provenance_of(call, config.training.seed, trainer.backend,
                    {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}}));
  Watcher watcher(fs::path(path).parent_path().filename().string() + " " + config.predictor,
                  config.settings.evaluations, config.training.epochs);
  auto result = nas::run_search(folder, dataset, trainer, watcher, [] { return interrupted(); });
  if (result.interrupted) return std::nullopt;
  return result;
}

/// The mean absolute error over all networks, or over those that a method says anything of (a constant).
double error_of(predictor::Summary const& row)
{
  return std::isfinite(row.mae) ? row.mae : row.mae_stopped;
}

Table summary_table(std::vector<PenguinCell> const& cells)
{
  Table table({{"search"},
               {"data set"},
               {"method"},
               {"networks"},
               {"saved %", 1},
               {"factor", 2},
               {"converged %", 1},
               {"mean stop", 1},
               {"MAE", 2},
               {"bias", 2},
               {"recall 10 %", 0},
               {"within 0.5 %", 0},
               {"gap", 2},
               {"regret", 2},
               {"Spearman", 3},
               {"Kendall", 3},
               {"in 90 %", 1},
               {"log-likelihood", 2}});
  for (auto const& it : cells)
    for (auto const& row : it.replayed)
      table.add_row({it.search, short_name(it.dataset), row.method, static_cast<std::int64_t>(row.networks),
                     cell(100 * row.saved), cell(row.throughput), cell(100 * row.converged), cell(row.mean_stop),
                     cell(error_of(row)), cell(row.bias), cell(100 * row.recall[2]), cell(100 * row.epsilon_recall[2]),
                     cell(row.top_difference), cell(row.regret), cell(row.spearman), cell(row.kendall),
                     cell(100 * row.coverage_90), cell(row.log_likelihood)});
  return table;
}

/// Apart from the other figures, which are the same whenever the tables are made again.
Table timing_table(std::vector<PenguinCell> const& cells)
{
  Table table({{"search"}, {"data set"}, {"method"}, {"wall factor", 2}, {"us/prediction", 1}});
  for (auto const& it : cells)
    for (auto const& row : it.replayed)
      if (std::isfinite(row.wall_factor))
        table.add_row({it.search, short_name(it.dataset), row.method, row.wall_factor, cell(row.microseconds)});
  return table;
}

/// Of the fittest network of a search; NaN where there is none, or no test split.
double test_accuracy(std::string const& weights, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer)
{
  if (!is_file(weights) || dataset.test.count == 0) return std::numeric_limits<double>::quiet_NaN();
  return 100 * nn::evaluate(trainer, nn::load_weights_architecture(weights), nn::load_weights(weights), dataset,
                            dataset.test, 256, 1)
                   .accuracy;
}

double best_of(nas::SearchResult const& result)
{
  return result.best < 0 ? nas::TrialResult::nan : result.trials[static_cast<std::size_t>(result.best)].fitness;
}

/// The curves of a cell, with the point where the engine would have stopped each and what it said.
LinePlot stops_plot(PenguinCell const& cell, std::string const& preset)
{
  auto settings = predictor::preset(preset);
  settings.e_pred = cell.curves.last_epoch();
  settings.spacing = cell.curves.spacing();
  auto const replay = predictor::replay(cell.curves, settings);
  LinePlot plot;
  plot.title = concat("What ", preset, " sees of ", cell.search, " on ", short_name(cell.dataset));
  plot.subtitle = "Solid: trained before the stop, dashed: what was saved";
  plot.description = "Validation accuracy over epochs; each curve is solid until the method stops it, dashed behind.";
  plot.x_label = "epoch";
  plot.y_label = "validation accuracy, %";
  std::size_t const every = std::max<std::size_t>(1, cell.curves.curves.size() / 6); // six curves can be told apart
  for (std::size_t i = 0, shown = 0; i < cell.curves.curves.size(); i += every, ++shown) {
    auto const& curve = cell.curves.curves[i];
    Series seen{concat("network ", curve.id), {}, static_cast<int>(shown), false},
        rest{"", {}, static_cast<int>(shown), true};
    double stop = settings.e_pred;
    for (auto const& result : replay.curves)
      if (result.id == curve.id) stop = result.stop_epoch;
    for (std::size_t p = 0; p < curve.points(); ++p) {
      if (curve.epochs[p] <= stop) seen.points.emplace_back(curve.epochs[p], curve.values[p]);
      if (curve.epochs[p] >= stop) rest.points.emplace_back(curve.epochs[p], curve.values[p]);
    }
    plot.series.push_back(std::move(seen));
    plot.series.push_back(std::move(rest));
  }
  return plot;
}

/// Replays the presets and the baselines that belong beside them.
std::vector<predictor::Summary> replay_all(predictor::CurveSet const& curves, std::vector<std::string> const& presets)
{
  std::vector<predictor::Summary> rows;
  for (auto const& name : presets) {
    auto settings = predictor::preset(name);
    settings.e_pred = curves.last_epoch();
    settings.spacing = curves.spacing();
    auto const replay = predictor::replay(curves, settings);
    rows.push_back(predictor::summarise(replay));
    for (auto row : predictor::baselines(curves, replay)) {
      // Those at the method's own stops are its own; a constant and halving stand once, at the end.
      bool const own = row.method.find("same stops") != std::string::npos || row.method.starts_with("i-epoch");
      if (own)
        row.method = concat(name, ": ", row.method);
      else if (name != presets.back())
        continue;
      rows.push_back(std::move(row));
    }
  }
  // What no method can be expected to beat: to see all but the last point. Where finals jitter, it is far from perfect.
  auto settings = predictor::preset("last-value");
  settings.e_pred = curves.last_epoch();
  settings.spacing = curves.spacing();
  settings.stop_epoch = settings.e_pred - settings.spacing;
  rows.push_back(predictor::summarise(predictor::replay(curves, settings)));
  rows.back().method = "all but the last point";
  rows.back().microseconds = rows.back().wall_factor = std::numeric_limits<double>::quiet_NaN();
  return rows;
}

/// What every method keeps of the best tenth for what it saves: one point each, the trivial rule as a line, and our own
/// method at other budgets.
LinePlot trade_plot(PenguinCell const& cell)
{
  double const e_pred = cell.curves.last_epoch();
  LinePlot plot;
  plot.title = concat("Saved epochs and recall: ", cell.search, " on ", short_name(cell.dataset));
  plot.subtitle = "Up and to the right is better; the lines: training all for i epochs, nasturtium at other budgets";
  plot.description = "Recall of the true best tenth over epochs saved, for every method.";
  plot.x_label = "epochs saved, %";
  plot.y_label = "recall of the best tenth, %";
  auto const point = [](predictor::Summary const& row) { return std::pair{100 * row.saved, 100 * row.recall[2]}; };
  auto const by_saving = [](Series series) {
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](auto const& a, auto const& b) { return a.first < b.first; });
    return series;
  };
  Series trivial{"all i epochs", {}, 5, true}, budgets{"nasturtium", {}, 2, true};
  for (double epoch = 1; epoch < e_pred; epoch += 1)
    trivial.points.push_back(point(predictor::i_epoch(cell.curves, epoch, e_pred)));
  auto settings = predictor::preset("nasturtium");
  settings.e_pred = e_pred;
  settings.spacing = cell.curves.spacing();
  for (double const budget : {0.1, 0.15, 0.2, 0.24, 0.3, 0.4, 0.5}) {
    settings.stop_fraction = budget;
    budgets.points.push_back(point(predictor::summarise(predictor::replay(cell.curves, settings))));
  }
  plot.series = {by_saving(std::move(trivial)), by_saving(std::move(budgets))};
  int group = 0;
  for (auto const& row : cell.replayed) {
    if (!own_row(row) || !std::isfinite(row.saved)) continue;
    if (row.method == "all but the last point") continue; // the end of the trivial line
    int const colour = row.method == "nasturtium" ? 2 : row.method.starts_with("halving") ? 3 : group++ % 2;
    plot.series.push_back({row.method, {point(row)}, colour, false});
  }
  return plot;
}

/// What a page shows of a cell: the methods, with the errors of the trivial ones at the same stops.
Table cell_table(PenguinCell const& it)
{
  Table table({{"method"},
               {"saved %", 1},
               {"factor", 2},
               {"error", 2},
               {"of last", 2},
               {"of best", 2},
               {"recall %", 0},
               {"gap", 2},
               {"regret", 2}});
  for (auto const& row : it.replayed) {
    if (!own_row(row)) continue;
    auto const mae_of = [&](std::string const& baseline) {
      for (auto const& other : it.replayed)
        if (other.method == concat(row.method, ": ", baseline, ", same stops")) return cell(other.mae);
      return Cell();
    };
    table.add_row({row.method.substr(0, row.method.find(" (")), cell(100 * row.saved), cell(row.throughput),
                   cell(error_of(row)), mae_of("last value"), mae_of("best so far"), cell(100 * row.recall[2]),
                   cell(row.top_difference), cell(row.regret)});
  }
  return table;
}

/// What came out, in one sentence.
std::string lead(std::vector<PenguinCell> const& cells, PenguinPlan const& plan)
{
  std::string const method = plan.presets.back();
  std::vector<double> saved, recall;
  for (auto const& cell : cells)
    for (auto const& row : cell.replayed)
      if (row.method == method) {
        saved.push_back(100 * row.saved);
        recall.push_back(100 * row.recall[2]);
      }
  auto const range = [](std::vector<double> const& values) {
    auto const [low, high] = std::minmax_element(values.begin(), values.end());
    auto const least = fixed(*low, 0), most = fixed(*high, 0);
    return least == most ? least : concat(least, " to ", most);
  };
  return concat(method, " saves ", range(saved), " % of the epochs and keeps ", range(recall),
                " % of the best tenth: ", cells.size(), cells.size() == 1 ? " search" : " searches", " of ",
                plan.networks, " networks, ", plan.epochs, " epochs each (scale ", plan.scale, ").");
}

} // namespace

PenguinPlan penguin_plan(std::string const& scale)
{
  PenguinPlan plan;
  plan.scale = scale;
  plan.searches = {"menndl", "evocnn", "nsga-net"};
  plan.presets = {"penguin", "penguin-modular", "a4nn", "nasturtium"};
  plan.datasets = {"fashion-mnist", "cifar100", "svhn"};
  if (scale == "smoke") {
    plan.datasets = {"synthetic:count=600:test=200:height=12:width=12:classes=4:noise=60"};
    plan.networks = 8;
    plan.epochs = 6;
  } else if (scale == "laptop") {
    plan.searches.back() = "nsga-net-narrow"; // the published sizes take ten times as long
    plan.networks = 60;
    plan.epochs = 20;
    plan.images = 2000;
    plan.images_of_a_class = 25;
  } else if (scale == "node") {
    plan.networks = 200;
    plan.epochs = 40;
    plan.images = 20000;
  } else if (scale == "paper") {
    plan.networks = 1000;
    plan.epochs = 40;
  } else {
    fail("--scale must be smoke, laptop, node or paper, got ", quoted(scale));
  }
  return plan;
}

bool own_row(predictor::Summary const& row)
{
  return row.method.find(": ") == std::string::npos;
}

Table penguin_methods(std::vector<PenguinCell> const& cells)
{
  Table table({{"search"},
               {"data set"},
               {"method"},
               {"saved %", 1},
               {"factor", 2},
               {"MAE", 2},
               {"recall %", 0},
               {"gap", 2},
               {"regret", 2}});
  for (auto const& it : cells)
    for (auto const& row : it.replayed) {
      if (!own_row(row)) continue;
      table.add_row({it.search, short_name(it.dataset), row.method, cell(100 * row.saved), cell(row.throughput),
                     cell(error_of(row)), cell(100 * row.recall[2]), cell(row.top_difference), cell(row.regret)});
    }
  return table;
}

Table penguin_live(std::vector<PenguinCell> const& cells)
{
  Table table({{"search"},
               {"data set"},
               {"networks"},
               {"saved %", 1},
               {"seconds to the end", 1},
               {"seconds with engine", 1},
               {"wall factor", 2},
               {"engine s", 3},
               {"best to the end", 2},
               {"best with engine", 2},
               {"test to the end", 2},
               {"test with engine", 2}});
  for (auto const& it : cells) {
    if (!it.live) continue;
    double const with = it.live->seconds + it.live->engine_seconds;
    table.add_row({it.search, short_name(it.dataset), static_cast<std::int64_t>(it.live->trials.size()),
                   100 * it.live->saved(), it.recorded.seconds, with, it.recorded.seconds / with,
                   it.live->engine_seconds, best_of(it.recorded), best_of(*it.live), cell(it.recorded_test),
                   cell(it.live_test)});
  }
  return table;
}

ReportDocument penguin_report(std::vector<PenguinCell> const& cells, PenguinPlan const& plan,
                              Provenance const& provenance, std::string const& title)
{
  ReportDocument report("penguin", title);
  report.lead(lead(cells, plan));
  report.paragraph("Published (one search: PEng4NN 2021; three: PENGUIN 2022): 61-82 % of epochs saved, throughput "
                   "factor 2.5-5 (1.6-7.1), wall time 2.5-5.3, recall 74-97 %, gap at most 0.7 points.");
  for (auto const& cell : cells) {
    report.heading(concat(cell.search, " on ", short_name(cell.dataset)));
    report.table(cell.name, cell_table(cell), Shown::page);
    report.paragraph("Every method on the same curves. Error: mean absolute, in points; behind it that of the last and "
                     "of the best value at the same stops. Recall and gap: of the best tenth.");
    if (cell.live) {
      double const with = cell.live->seconds + cell.live->engine_seconds;
      report.paragraph(concat("With ", plan.live, " stopping networks for real: ", fixed(100 * cell.live->saved(), 1),
                              " % of epochs saved, ", human_seconds(cell.recorded.seconds), " became ",
                              human_seconds(with), "; the best network reached ", fixed(best_of(cell.recorded), 2),
                              " % to the end and ", fixed(best_of(*cell.live), 2),
                              " % with the engine; on test images ", fixed(cell.recorded_test, 2), " and ",
                              fixed(cell.live_test, 2), " %."));
    }
    report.plot(cell.name, stops_plot(cell, plan.presets.back()),
                "Some of the networks; all are in the curves.csv of the search.");
    report.plot(cell.name + "-recall", trade_plot(cell),
                concat("The best tenth are ", cell.replayed.front().k[2], " of ", cell.replayed.front().networks,
                       " networks, so a hit more or less is a step."));
  }
  report.heading("All methods and searches");
  report.table("replayed", summary_table(cells), Shown::markdown);
  report.table("timing", timing_table(cells), Shown::files);
  report.paragraph(concat("The searches once more, with ", plan.live, " stopping networks for real:"));
  report.table("live", penguin_live(cells));
  report.provenance(provenance);
  return report;
}

std::vector<PlannedTraining> penguin_work(PenguinPlan const& plan)
{
  std::vector<PlannedTraining> work;
  for (auto const& name : plan.datasets) {
    DataChoice data;
    auto const dataset = load_data(name, plan, data);
    if (!dataset) continue;
    for (auto const& search : plan.searches) {
      int const runs = runs_live(plan, search) ? 2 : 1;
      PlannedTraining kind;
      kind.name = concat(search, " on ", short_name(name), ", ", plan.networks, " networks x ", plan.epochs, " epochs",
                         runs > 1 ? concat(", and again with ", plan.live) : "");
      kind.sample = sample_of_space(search, *dataset, 32);
      kind.networks = runs * plan.networks;
      kind.epochs = kind.networks * plan.epochs;
      kind.images = static_cast<double>(dataset->train.count);
      kind.files = runs;
      work.push_back(std::move(kind));
    }
  }
  return work;
}

std::optional<std::vector<PenguinCell>> run_penguin(PenguinPlan const& plan, nn::TrainerOptions const& trainer,
                                                    Invocation const& call)
{
  std::vector<PenguinCell> cells;
  for (auto const& name : plan.datasets) {
    DataChoice data;
    auto const dataset = load_data(name, plan, data);
    if (!dataset) continue;
    for (auto const& search : plan.searches) {
      PenguinCell cell;
      cell.name = concat(search, "-", short_name(name));
      cell.search = search;
      cell.dataset = name;
      cell.subset = data.subset;
      std::string const folder = (fs::path(plan.out) / cell.name).string();
      create_directories(folder);
      auto const run = [&](std::string const& run_name, std::string const& engine) {
        return searched((fs::path(folder) / run_name).string(),
                        config_of(cell, plan, *dataset, data, engine, trainer.backend), *dataset, trainer, call);
      };
      auto recorded = run("recorded", "none");
      bool const live = runs_live(plan, search);
      if (recorded && live) cell.live = run("live-" + plan.live, plan.live);
      if (!recorded || (live && !cell.live)) return std::nullopt;
      cell.recorded = std::move(*recorded);
      auto const tested = [&](std::string const& run_name) {
        return test_accuracy((fs::path(folder) / run_name / "best/weights.h5").string(), *dataset, trainer);
      };
      cell.recorded_test = tested("recorded");
      if (cell.live) cell.live_test = tested("live-" + plan.live);
      cell.curves = predictor::read_curves((fs::path(folder) / "recorded/curves.csv").string(),
                                           predictor::CurveFormat::csv, predictor::Unit::fraction);
      cell.replayed = replay_all(cell.curves, plan.presets);
      cells.push_back(std::move(cell));
    }
  }
  require(!cells.empty(), "none of the data sets is there (nasturtium datasets list tells how to get them)");
  return cells;
}

} // namespace nasturtium::cli
