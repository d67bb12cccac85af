// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce penguin: the experiment of PEng4NN and PENGUIN. Per search and data set every network is trained
// to the end once; every method is then replayed on those curves, and the search is run again with an engine that stops
// networks for real.
#include "line_plot.hpp"
#include "page.hpp"
#include "program.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/search.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples =
    "  nasturtium reproduce penguin --scale smoke --out runs/penguin-smoke      # a minute, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run\n"
    "  nasturtium reproduce penguin --scale laptop --datasets fashion-mnist --searches nsga-net \\\n"
    "      --out runs/penguin";

/// How much of everything.
struct Scale
{
  char const* name;
  char const* datasets; ///< comma separated
  char const* searches; ///< comma separated
  int networks, epochs;
  int images; ///< for training and validation together; 0: all
  int images_of_a_class; ///< at least so many, so that a hundred classes can be learnt at all
};

constexpr Scale scales[] = {
    {"smoke", "synthetic:count=600:test=200:height=12:width=12:classes=4:noise=60", "menndl,evocnn,nsga-net", 8, 6, 0,
     0},
    {"laptop", "fashion-mnist,cifar100,svhn", "menndl,evocnn,nsga-net-narrow", 60, 20, 2000, 25},
    {"node", "fashion-mnist,cifar100,svhn", "menndl,evocnn,nsga-net", 200, 40, 20000, 0},
    {"paper", "fashion-mnist,cifar100,svhn", "menndl,evocnn,nsga-net", 1000, 40, 0, 0},
};

/// The algorithm of a search, named like its own space but for the sizes of one.
std::string algorithm_of(std::string const& search)
{
  return search == "nsga-net-narrow" ? "nsga-net" : search;
}

std::vector<std::string> split(std::string const& list)
{
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin < list.size();) {
    std::size_t const end = std::min(list.find(',', begin), list.size());
    names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

struct Options
{
  DeviceOptions device;
  std::string experiment, scale = "smoke", out, data_dir;
  std::vector<std::string> searches, datasets;
  std::vector<std::string> presets{"penguin", "penguin-modular", "a4nn", "nasturtium"};
  std::string live = "nasturtium";
  int networks = 0, epochs = 0, images = -1, images_of_a_class = 0;
  std::uint64_t seed = 1;
  bool dry_run = false, json = false;
};

Scale const& find_scale(std::string const& name)
{
  for (Scale const& scale : scales)
    if (name == scale.name) return scale;
  fail("--scale must be smoke, laptop, node or paper, got ", quoted(name));
}

/// One search on one data set.
struct SearchCell
{
  std::string name; ///< of its folder: SEARCH-DATASET
  std::string search, dataset;
  std::vector<predictor::Summary> replayed;
  nas::SearchResult recorded;
  std::optional<nas::SearchResult> live;
  predictor::CurveSet curves;
};

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

std::string short_name(std::string const& dataset)
{
  return dataset.substr(0, dataset.find(':'));
}

nas::SearchConfig config_of(SearchCell const& cell, Options const& options, datasets::Dataset const& dataset,
                            DataChoice const& data, std::string const& predictor, nn::BackendKind backend)
{
  nas::SearchConfig config;
  config.space = cell.search;
  config.settings.algorithm = algorithm_of(cell.search);
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes};
  config.settings.evaluations = options.networks;
  config.settings.seed = options.seed;
  config.training.epochs = options.epochs;
  config.training.batch_size = 32;
  config.training.optimiser.kind = nn::OptimiserKind::adam;
  config.training.optimiser.learning_rate = 0.002;
  config.training.validations_per_epoch = 2; // PENGUIN's half epochs
  config.training.seed = options.seed;
  config.predictor = predictor;
  config.backend = backend;
  config.data = to_json(data);
  config.data_checksum = dataset.checksum;
  return config;
}

/// Runs a search, or what is left of it. Nothing where Ctrl-C ended it.
std::optional<nas::SearchResult> searched(std::string const& path, nas::SearchConfig const& config,
                                          datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                                          Invocation const& call)
{
  bool const again = RunFolder::exists(path);
  auto folder = again ? nas::SearchFolder::open(path)
                      : nas::SearchFolder::create(
                            path, config,
                            provenance_of(call, config.training.seed, trainer.backend,
                                          {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}}));
  if (again) {
    auto const difference = json::first_difference(nas::to_json(config), nas::to_json(folder.config()));
    require(difference.empty(), path, ": ", difference, " in this folder; choose another --out");
  }
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

Table summary_table(std::vector<SearchCell> const& cells)
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
               {"in 90 %", 1}});
  auto const cell = [](double value) { return std::isfinite(value) ? Cell(value) : Cell(); };
  for (auto const& it : cells)
    for (auto const& row : it.replayed)
      table.add_row({it.search, short_name(it.dataset), row.method, static_cast<std::int64_t>(row.networks),
                     cell(100 * row.saved), cell(row.throughput), cell(100 * row.converged), cell(row.mean_stop),
                     cell(error_of(row)), cell(row.bias), cell(100 * row.recall[2]), cell(100 * row.epsilon_recall[2]),
                     cell(row.top_difference), cell(row.regret), cell(row.spearman), cell(row.kendall),
                     cell(100 * row.coverage_90)});
  return table;
}

/// What fits a terminal: the methods, and what the papers claim of theirs.
Table short_table(std::vector<SearchCell> const& cells)
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
      if (row.method.find(": ") != std::string::npos) continue;
      auto const cell = [](double value) { return std::isfinite(value) ? Cell(value) : Cell(); };
      table.add_row({it.search, short_name(it.dataset), row.method, cell(100 * row.saved), cell(row.throughput),
                     cell(error_of(row)), cell(100 * row.recall[2]), cell(row.top_difference), cell(row.regret)});
    }
  return table;
}

/// Apart from the other figures, which are the same whenever the tables are made again.
Table timing_table(std::vector<SearchCell> const& cells)
{
  Table table({{"search"}, {"data set"}, {"method"}, {"us/prediction", 1}});
  for (auto const& it : cells)
    for (auto const& row : it.replayed)
      if (std::isfinite(row.microseconds))
        table.add_row({it.search, short_name(it.dataset), row.method, row.microseconds});
  return table;
}

double best_of(nas::SearchResult const& result)
{
  return result.best < 0 ? nas::TrialResult::nan : result.trials[static_cast<std::size_t>(result.best)].fitness;
}

Table live_table(std::vector<SearchCell> const& cells)
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
               {"best with engine", 2}});
  for (auto const& it : cells) {
    if (!it.live) continue;
    double const with = it.live->seconds + it.live->engine_seconds;
    table.add_row({it.search, short_name(it.dataset), static_cast<std::int64_t>(it.live->trials.size()),
                   100 * it.live->saved(), it.recorded.seconds, with, it.recorded.seconds / with,
                   it.live->engine_seconds, best_of(it.recorded), best_of(*it.live)});
  }
  return table;
}

/// The curves of a cell, with the point where the engine would have stopped each and what it said.
LinePlot stops_plot(SearchCell const& cell, std::string const& preset)
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

void write_report(std::vector<SearchCell> const& cells, Options const& options, Provenance const& provenance)
{
  auto const file = [&](std::string const& name) { return (fs::path(options.out) / name).string(); };
  Table const replayed = summary_table(cells), live = live_table(cells);
  write_file(file("replayed.csv"), replayed.csv());
  write_file(file("live.csv"), live.csv());
  write_file(file("timing.csv"), timing_table(cells).csv());
  std::string const claims = "Published (one search: PEng4NN 2021; three: PENGUIN 2022): 61-82 % of epochs saved, "
                             "throughput factor 2.5-5 (1.6-7.1), "
                             "wall time 2.5-5.3, recall 74-97 %, gap at most 0.7 points.";
  write_file(file("tables.md"), concat("# Fitness prediction at scale ", options.scale, "\n\n", claims,
                                       "\n\nEvery method on the same recorded curves:\n\n", replayed.markdown(),
                                       "\nThe searches once more, with ", options.live,
                                       " stopping networks for real:\n\n", live.markdown()));
  write_file(file("provenance.json"), json::pretty(to_json(provenance)));
  Page page("nasturtium: fitness prediction");
  page.lead(concat(cells.size(), cells.size() == 1 ? " search at scale " : " searches at scale ", options.scale, ", ",
                   options.networks, " networks of ", options.epochs, " epochs each."));
  page.paragraph(claims);
  auto const text = [](double value, int digits) {
    return std::isfinite(value) ? fixed(value, digits) : std::string();
  };
  for (auto const& cell : cells) {
    page.heading(concat(cell.search, " on ", short_name(cell.dataset)));
    std::vector<std::vector<std::string>> rows;
    for (auto const& row : cell.replayed) {
      if (row.method.find(": ") != std::string::npos) continue;
      auto const mae_of = [&](std::string const& baseline) {
        for (auto const& other : cell.replayed)
          if (other.method == concat(row.method, ": ", baseline, ", same stops")) return text(other.mae, 2);
        return std::string();
      };
      rows.push_back({row.method.substr(0, row.method.find(" (")), text(100 * row.saved, 1), text(row.throughput, 2),
                      text(error_of(row), 2), mae_of("last value"), mae_of("best so far"), text(100 * row.recall[2], 0),
                      text(row.top_difference, 2), text(row.regret, 2)});
    }
    page.table({"method", "saved %", "factor", "error", "of last", "of best", "recall %", "gap", "regret"}, rows,
               {false, true, true, true, true, true, true, true, true});
    page.paragraph(
        "Every method on the same curves. Error: mean absolute, in points; behind it that of the last and of "
        "the best value at the same stops. Recall and gap: of the best tenth.");
    if (cell.live) {
      double const with = cell.live->seconds + cell.live->engine_seconds;
      page.paragraph(concat("With ", options.live, " stopping networks for real: ", fixed(100 * cell.live->saved(), 1),
                            " % of epochs saved, ", human_seconds(cell.recorded.seconds), " became ",
                            human_seconds(with), "; the best network reached ", fixed(best_of(cell.recorded), 2),
                            " % to the end and ", fixed(best_of(*cell.live), 2), " % with the engine."));
    }
    LinePlot const wide = stops_plot(cell, options.presets.back());
    LinePlot narrow = wide;
    narrow.width = 400;
    narrow.height = 380;
    write_file(file(cell.name + ".svg"), to_svg(wide, true));
    page.svg(to_svg(wide, false), to_svg(narrow, false),
             "Some of the networks; all are in the curves.csv of the search.");
  }
  page.heading("How to reproduce");
  page.code(provenance.command_line + "\n");
  page.heading("Provenance");
  page.pairs({{"version", provenance.version},
              {"git", provenance.git_hash + " (" + provenance.git_state + ")"},
              {"compiler", provenance.compiler + ", " + provenance.build_type},
              {"backend", provenance.backend},
              {"processor", provenance.cpu},
              {"time", provenance.utc}});
  write_file(file("index.html"), page.html());
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
  return rows;
}

int penguin(Options& options, Invocation const& call)
{
  auto const runtime = options.device.start(call);
  auto const trainer = options.device.trainer();
  std::vector<SearchCell> cells;
  auto const name_of = [](std::string const& search, std::string const& dataset) {
    return concat(search, "-", short_name(dataset));
  };
  std::cerr << "plan: " << options.searches.size() << " searches x " << options.datasets.size() << " data sets, "
            << options.networks << " networks x " << options.epochs << " epochs each to the end"
            << (options.live == "none" ? "" : ", then once more with " + options.live) << ", at most "
            << 2 * options.searches.size() * options.datasets.size() * static_cast<std::size_t>(options.networks) *
                   static_cast<std::size_t>(options.epochs)
            << " epochs in all; --out " << options.out << '\n';
  if (options.dry_run) return exit_success;
  for (auto const& name : options.datasets) {
    DataChoice data;
    data.dataset = name;
    data.data_dir = options.data_dir;
    data.validation = 0.25;
    data.subset = options.images;
    std::optional<datasets::Dataset> dataset;
    try {
      dataset = data.load();
      if (options.images_of_a_class * dataset->classes > data.subset) {
        data.subset = options.images_of_a_class * dataset->classes;
        dataset = data.load();
      }
    } catch (Error const& error) {
      if (name.find(':') != std::string::npos) throw; // asked for in so many words
      std::cerr << "nasturtium: without " << name << ": " << error.what() << '\n';
      continue;
    }
    for (auto const& search : options.searches) {
      SearchCell cell{name_of(search, name), search, name, {}, {}, {}, {}};
      std::string const folder = (fs::path(options.out) / cell.name).string();
      create_directories(folder);
      auto recorded =
          searched((fs::path(folder) / "recorded").string(),
                   config_of(cell, options, *dataset, data, "none", trainer.backend), *dataset, trainer, call);
      if (recorded && options.live != "none")
        cell.live =
            searched((fs::path(folder) / concat("live-", options.live)).string(),
                     config_of(cell, options, *dataset, data, options.live, trainer.backend), *dataset, trainer, call);
      if (!recorded || (options.live != "none" && !cell.live)) {
        std::cerr << "nasturtium: interrupted; the same command goes on\n";
        return exit_interrupted;
      }
      cell.recorded = std::move(*recorded);
      cell.curves = predictor::read_curves((fs::path(folder) / "recorded/curves.csv").string(),
                                           predictor::CurveFormat::csv, predictor::Unit::fraction);
      cell.replayed = replay_all(cell.curves, options.presets);
      cells.push_back(std::move(cell));
    }
  }
  require(!cells.empty(),
          "reproduce penguin: none of the data sets is there (nasturtium datasets list tells how to get them)");
  write_report(cells, options, provenance_of(call, options.seed, trainer.backend, {{"scale", options.scale}}));
  if (options.json) {
    json::Object object;
    object["out"] = options.out;
    object["replayed"] = read_file((fs::path(options.out) / "replayed.csv").string());
    object["live"] = read_file((fs::path(options.out) / "live.csv").string());
    std::cout << json::pretty(object);
  } else {
    std::cout << short_table(cells).text() << '\n'
              << live_table(cells).text() << "\nTo look at: " << (fs::path(options.out) / "index.html").string()
              << '\n';
  }
  return exit_success;
}

} // namespace

int reproduce(Invocation const& call)
{
  Options options;
  VerbParser parser("reproduce", "Runs an experiment of a paper: trains, compares, writes tables, figures and a page.",
                    examples);
  CLI::App& app = parser.app();
  app.add_option("experiment", options.experiment, "penguin: fitness prediction in three searches")
      ->required()
      ->option_text("penguin (required)");
  app.add_option("--scale", options.scale,
                 "smoke: a minute; laptop: two cores, hours; node: a GPU; paper: as published")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", options.out, "Folder of all runs and tables; what is there already is not run again")
      ->type_name("DIR");
  app.add_option("--searches", options.searches, "Which searches, in their own spaces")
      ->delimiter(',')
      ->option_text("menndl,evocnn,nsga-net,nsga-net-narrow");
  app.add_option("--datasets", options.datasets, "Data sets; by default those of the scale that are there")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--presets", options.presets, "Methods to replay (nasturtium predict --help)")
      ->delimiter(',')
      ->option_text("PRESET,...");
  app.add_option("--live", options.live, "Engine that stops networks when the search runs again; none: no such run")
      ->option_text("PRESET [nasturtium]");
  app.add_option("--networks", options.networks, "In each search; 0: as the scale has it")->type_name("N");
  app.add_option("--epochs", options.epochs, "Of a full training; 0: as the scale has it")->type_name("N");
  app.add_option("--images", options.images, "For training and validation; -1: as the scale has it")->type_name("N");
  app.add_option("--data-dir", options.data_dir, "Folder to look for data sets first")->type_name("DIR");
  app.add_option("--seed", options.seed, "Of everything random")->capture_default_str()->type_name("N");
  app.add_flag("--dry-run", options.dry_run, "Print the plan alone");
  app.add_flag("--json", options.json, "The tables as JSON on stdout");
  options.device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  require(options.experiment == "penguin", "reproduce: unknown experiment ", quoted(options.experiment), " (penguin)");
  Scale const& scale = find_scale(options.scale);
  if (options.networks == 0) options.networks = scale.networks;
  if (options.epochs == 0) options.epochs = scale.epochs;
  if (options.images < 0) {
    options.images = scale.images;
    options.images_of_a_class = scale.images_of_a_class;
  }
  require(options.networks >= 1 && options.epochs >= 1, "--networks and --epochs must be at least 1");
  if (options.datasets.empty()) options.datasets = split(scale.datasets);
  if (options.searches.empty()) options.searches = split(scale.searches);
  if (options.out.empty()) options.out = "runs/penguin-" + options.scale;
  for (auto const& name : options.presets)
    predictor::preset(name);
  predictor::preset(options.live);
  return penguin(options, call);
}

} // namespace nasturtium::cli
