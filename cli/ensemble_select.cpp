// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble select: the front of ensembles of a library, from cheap to accurate.
#include "ensemble.hpp"
#include "ensemble_library.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/ensemble/front.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace ensemble;

constexpr char const* examples =
    "  nasturtium ensemble select runs/library                            # the whole front, by FLOPs\n"
    "  nasturtium ensemble select runs/library --cost parameters --take under:50000\n"
    "  nasturtium ensemble select runs/library --take above:88 --json\n"
    "  nasturtium ensemble select runs/library --compare                  # against other ways to select";

struct Options
{
  DeviceOptions device;
  SelectionOptions selection;
  std::string folder, preset = "front", objective = "nll", pooling = "mean", take, out;
  bool complete_only = false, compare = false, json = false;
};

double cost_of(FrontReport const& front, ReportEntry const& entry)
{
  return entry.costs.at(front.cost_axis);
}

Cell percent(std::optional<SplitScores> const& scores, double SplitScores::* value)
{
  return scores ? Cell(100 * (*scores).*value) : Cell();
}

Cell plain(std::optional<SplitScores> const& scores, double SplitScores::* value)
{
  return scores ? Cell((*scores).*value) : Cell();
}

/// The front as people read it: on the test split where there is one, else on `check`.
Table front_table(FrontReport const& front, std::size_t knee)
{
  bool const tested = front.entries.empty() || front.entries.front().test.has_value();
  std::string const split = tested ? "test" : "check";
  Table table({{"no"},
               {"models"},
               {front.cost_axis},
               {"loss", 4},
               {split + " %", 2},
               {"NLL", 4},
               {"calibrated", 4},
               {"ECE %", 2},
               {"calibrated", 2},
               {""}});
  for (std::size_t i = 0; i < front.entries.size(); ++i) {
    auto const& entry = front.entries[i];
    auto const scores = tested ? entry.test : std::optional(entry.check);
    table.add_row({static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(entry.members.size()),
                   std::isfinite(cost_of(front, entry)) ? Cell(cost_of(front, entry)) : Cell(), entry.loss,
                   percent(scores, &SplitScores::accuracy), plain(scores, &SplitScores::nll),
                   plain(scores, &SplitScores::calibrated_nll), percent(scores, &SplitScores::ece_width),
                   percent(scores, &SplitScores::calibrated_ece_width), i == knee ? Cell("knee") : Cell()});
  }
  return table;
}

Table member_table(PredictionPool const& pool, ReportEntry const& entry)
{
  std::vector<Column> columns{{"model"}, {"count"}, {"weight", 3}};
  for (auto const& [axis, cost] : entry.costs)
    columns.push_back({axis});
  Table table(columns);
  for (auto const& member : entry.members) {
    std::vector<Cell> row{member.id, std::int64_t{member.count}, member.weight};
    auto const model =
        std::find_if(pool.models.begin(), pool.models.end(), [&](PoolModel const& it) { return it.id == member.id; });
    for (auto const& [axis, cost] : entry.costs)
      row.emplace_back(model->costs.at(axis));
    table.add_row(std::move(row));
  }
  return table;
}

/// Every preset's front against the area that `front` dominates, and its ensemble of least loss.
Table comparison(PredictionPool const& pool, SelectionOptions const& options, std::vector<Choice> const& front)
{
  bool const tested = pool.test.samples() > 0;
  auto const points_of = [](std::vector<Choice> const& choices) {
    std::vector<CostLoss> points;
    for (auto const& choice : choices)
      points.push_back({choice.cost, choice.loss});
    return points;
  };
  auto const reference = hypervolume_reference(pool, pool.select, options);
  double const whole = hypervolume(points_of(front), reference);
  Table table({{"preset"},
               {"ensembles"},
               {"hypervolume", 3},
               {"models"},
               {options.cost_axis},
               {"loss", 4},
               {tested ? "test %" : "check %", 2},
               {"NLL", 4},
               {"calibrated", 4},
               {"s", 2}});
  for (auto const& preset : preset_names()) {
    Stopwatch const clock;
    auto const choices = select(pool, preset, options);
    double const seconds = clock.seconds();
    if (choices.empty()) continue;
    auto const report = make_report(pool, preset, std::span(choices).last(1), options);
    auto const& entry = report.entries.front();
    auto const& scores = tested ? *entry.test : entry.check;
    table.add_row({preset, static_cast<std::int64_t>(choices.size()),
                   whole > 0 ? Cell(hypervolume(points_of(choices), reference) / whole) : Cell(),
                   static_cast<std::int64_t>(entry.members.size()), choices.back().cost, choices.back().loss,
                   100 * scores.accuracy, scores.nll, scores.calibrated_nll, seconds});
  }
  return table;
}

void print(FrontReport const& front, PredictionPool const& pool, Options const& options,
           std::optional<std::size_t> taken)
{
  std::cout << front_table(front, taken_entry(front, "knee")).text() << '\n'
            << front.pool_models << " models; two of them disagree on "
            << fixed(100 * front.pool_diversity.disagreement, 1) << " % of the samples";
  if (std::isfinite(front.pool_diversity.q)) std::cout << " (Q " << fixed(front.pool_diversity.q, 3) << ")";
  std::cout << ". Loss: " << front.objective << " on the select split, by which all was chosen.\n";
  if (taken)
    std::cout << "\nNumber " << *taken + 1 << " (" << front.entries[*taken].origin << "), temperature "
              << fixed(front.entries[*taken].temperature, 3) << ":\n\n"
              << member_table(pool, front.entries[*taken]).text();
  std::cout << "\nFront: " << (fs::path(options.out) / "front.json").string() << "\nNext: nasturtium ensemble plan "
            << options.out << " --take " << (options.take.empty() ? "knee" : options.take) << '\n';
}

} // namespace

int ensemble_select(Invocation const& call)
{
  Options options;
  options.selection.cost_axis = "flops";
  VerbParser parser("ensemble select", "Ensembles of a library's models that trade loss against cost.", examples);
  CLI::App& app = parser.app();
  app.add_option("FOLDER", options.folder, "Folder of a search (nasturtium ensemble search), or of a library")
      ->required()
      ->option_text("DIR (required)");
  std::string presets;
  for (auto const& name : preset_names())
    presets += (presets.empty() ? "" : ", ") + name;
  app.add_option("--preset", options.preset, "How to select: " + presets)->option_text("NAME [front]");
  app.add_option("--cost", options.selection.cost_axis, "Axis of the cost; seconds where all models were timed")
      ->option_text("flops|parameters|bytes|seconds [flops]");
  app.add_option("--objective", options.objective, "Loss on the select split")->option_text("nll|brier [nll]");
  app.add_option("--pooling", options.pooling, "Mean of the members' probabilities")
      ->option_text("mean|geometric [mean]");
  app.add_option("--picks", options.selection.picks, "Of a greedy run")->capture_default_str()->type_name("N");
  app.add_flag("--bagging", options.selection.bagging,
               "Runs over ten random halves of the models as well; below 2,000 samples");
  app.add_option("--prefilter", options.selection.prefilter,
                 "Evaluate only so many candidates a step, by the gradient; 0: all")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--seed", options.selection.seed, "Of random ties and of bags")->capture_default_str()->type_name("N");
  app.add_flag("--complete-only", options.complete_only, "Leave networks out that were paused");
  app.add_option("--take", options.take, "Show the members of one ensemble")->option_text(take_words);
  app.add_flag("--compare", options.compare, "Every preset's front beside this one's");
  app.add_option("--out", options.out, "Where front.json and front.csv go; by default FOLDER")->type_name("DIR");
  app.add_flag("--json", options.json, "Print the report as JSON on stdout");
  options.device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  require(options.objective == "nll" || options.objective == "brier", "--objective must be nll or brier, got ",
          quoted(options.objective));
  require(options.pooling == "mean" || options.pooling == "geometric", "--pooling must be mean or geometric, got ",
          quoted(options.pooling));
  auto& selection = options.selection;
  selection.objective = options.objective == "nll" ? Objective::nll : Objective::brier;
  selection.pooling = options.pooling == "mean" ? Pooling::mean : Pooling::geometric;
  auto const library = ModelLibrary::open(library_path(options.folder));
  auto const runtime = options.device.start(call);
  selection.device = options.device.trainer();
  if (options.out.empty()) options.out = options.folder;
  std::vector<std::string> unreadable, ids;
  for (auto const& model : library.list(&unreadable))
    if (!options.complete_only || !model.paused) ids.push_back(model.id);
  for (auto const& message : unreadable)
    std::cerr << "nasturtium: left out: " << message << '\n';
  require(!ids.empty(), library.path(), ": has no ", options.complete_only ? "complete " : "", "models");
  auto const pool = library.load_pool(ids);
  auto const choices = select(pool, options.preset, selection);
  auto const front = make_report(pool, options.preset, choices, selection);
  std::optional<std::size_t> taken;
  if (!options.take.empty()) taken = taken_entry(front, options.take);
  create_directories(options.out);
  std::string const file = (fs::path(options.out) / "front.json").string();
  write_front_json(file, front);
  write_front_csv((fs::path(options.out) / "front.csv").string(), front);
  if (options.json) {
    json::Object object;
    object["front"] = json::parse_file(file);
    if (taken) object["taken"] = static_cast<std::int64_t>(*taken + 1);
    if (options.compare) object["comparison"] = to_json(comparison(pool, selection, choices));
    std::cout << json::pretty(object);
    return exit_success;
  }
  print(front, pool, options, taken);
  if (options.compare) std::cout << '\n' << comparison(pool, selection, choices).text();
  return exit_success;
}

} // namespace nasturtium::cli
