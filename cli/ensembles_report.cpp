// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What came out of the ensemble experiment, from its folders alone.
#include "ensembles.hpp"
#include "serving_timeline.hpp"

#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/calibration.hpp>
#include <nasturtium/ensemble/front.hpp>
#include <nasturtium/ensemble/front_report.hpp>
#include <nasturtium/ensemble/plan_suite.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

namespace nasturtium::cli {

namespace {

using namespace ensemble;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr char const* cost_axis = "flops";

Cell cell_of(double value)
{
  return std::isfinite(value) ? Cell(value) : Cell();
}

// ---- searches

/// The least loss after so many epochs of all trials together; NaN before the first result.
double best_loss(EnsemblesRun const& run, double epochs)
{
  double best = nan;
  for (auto const& moment : run.moments)
    if (static_cast<double>(moment.epochs) <= epochs) best = std::fmin(best, moment.loss);
  return best;
}

/// Epochs of all trials until a loss of at most `target`; infinite where it was never reached.
double epochs_to(EnsemblesRun const& run, double target)
{
  for (auto const& moment : run.moments)
    if (moment.loss <= target) return static_cast<double>(moment.epochs);
  return infinity;
}

EnsemblesRun const* run_of(EnsemblesCell const& cell, std::string const& arm, int seed)
{
  for (auto const& run : cell.runs)
    if (run.arm == arm && run.seed == seed) return &run;
  return nullptr;
}

Table search_table(std::vector<EnsemblesCell> const& cells, EnsemblesPlan const& plan)
{
  Table table({{"data set"},
               {"search"},
               {"seeds"},
               {"trials", 0},
               {"epochs", 0},
               {"loss at random's epochs", 4},
               {"less than random's", 4},
               {"p", 4},
               {"reached random's best"},
               {"epochs to it / random's", 3},
               {"worst", 3}});
  for (auto const& cell : cells)
    for (auto const& arm : plan.arms) {
      std::vector<double> trials, epochs, losses, gains, fractions;
      std::int64_t reached = 0;
      for (int seed = 1; seed <= plan.seeds; ++seed) {
        auto const* const run = run_of(cell, arm, seed);
        auto const* const random = run_of(cell, "random", seed);
        if (!run) continue;
        trials.push_back(static_cast<double>(run->trials));
        epochs.push_back(static_cast<double>(run->epochs));
        if (!random) continue;
        auto const whole = static_cast<double>(random->epochs);
        double const target = best_loss(*random, whole), loss = best_loss(*run, whole);
        losses.push_back(loss);
        if (std::isfinite(target - loss)) gains.push_back(target - loss);
        fractions.push_back(epochs_to(*run, target) / whole);
        reached += std::isfinite(fractions.back());
      }
      if (trials.empty()) continue;
      bool const baseline = arm == "random" || fractions.empty();
      table.add_row({cell.name, arm, static_cast<std::int64_t>(trials.size()), mean(trials), mean(epochs),
                     cell_of(mean(losses)), baseline ? Cell() : cell_of(mean(gains)),
                     baseline || gains.empty() ? Cell() : Cell(signed_rank_test(gains).two_sided),
                     baseline ? Cell() : Cell(concat(reached, " of ", fractions.size())),
                     baseline ? Cell() : cell_of(median(fractions)),
                     baseline ? Cell() : cell_of(*std::max_element(fractions.begin(), fractions.end()))});
    }
  return table;
}

/// The least loss so far over the epochs of all trials, the mean over seeds.
LinePlot search_plot(EnsemblesCell const& cell, EnsemblesPlan const& plan)
{
  LinePlot plot;
  plot.title = concat("Least loss so far on ", cell.name);
  plot.subtitle = concat("Mean over ", plan.seeds, " seeds, from where all of them have a result");
  plot.description = "The least validation loss so far over the epochs that all trials were trained, for each search.";
  plot.x_label = "epochs, all trials together";
  plot.y_label = "validation loss";
  double last = 0;
  for (auto const& run : cell.runs)
    if (run.arm == "random") last = std::max(last, static_cast<double>(run.epochs));
  if (last == 0)
    for (auto const& run : cell.runs)
      last = std::max(last, static_cast<double>(run.epochs));
  int group = 0;
  for (auto const& arm : plan.arms) {
    Series series{arm, {}, group++, false};
    for (int point = 1; point <= 40; ++point) {
      double const epochs = last * point / 40;
      std::vector<double> losses;
      for (auto const& run : cell.runs)
        if (run.arm == arm) losses.push_back(best_loss(run, epochs));
      double const loss = losses.empty()
                              ? nan
                              : std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
      if (std::isfinite(loss)) series.points.emplace_back(epochs, loss);
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

// ---- ensembles

/// The library of a seed with what was selected from it.
struct Selected
{
  PredictionPool pool;
  std::map<std::string, FrontReport> fronts; ///< by preset
};

SelectionOptions selection_options(nn::TrainerOptions const& trainer)
{
  SelectionOptions options;
  options.cost_axis = cost_axis;
  options.device = trainer;
  return options;
}

Selected selected_from(std::string const& path, nn::TrainerOptions const& trainer)
{
  auto const options = selection_options(trainer);
  Selected selected;
  selected.pool = ModelLibrary::open(path).load_pool();
  for (char const* const preset : {"front", "best-single", "top-k", "caruana-25"})
    selected.fronts[preset] = make_report(selected.pool, preset, select(selected.pool, preset, options), options);
  return selected;
}

double cost_of(ReportEntry const& entry)
{
  return entry.costs.at(cost_axis);
}

SplitScores const& told(ReportEntry const& entry)
{
  return entry.test ? *entry.test : entry.check;
}

/// The entry of least loss that costs at most `budget`; null for none.
ReportEntry const* best_within(FrontReport const& front, double budget)
{
  ReportEntry const* best = nullptr;
  for (auto const& entry : front.entries)
    if (cost_of(entry) <= budget * (1 + 1e-9) && (!best || entry.loss < best->loss)) best = &entry;
  return best;
}

ReportEntry const* best_of(FrontReport const& front)
{
  return best_within(front, infinity);
}

/// A deep ensemble of so many members, by number of members from 1 on.
std::vector<ReportEntry> deep_entries(std::string const& path, nn::TrainerOptions const& trainer)
{
  if (path.empty()) return {};
  auto const options = selection_options(trainer);
  auto const pool = ModelLibrary::open(path).load_pool();
  std::vector<Choice> choices;
  Choice choice;
  for (int member = 0; member < pool.size(); ++member) {
    choice.members.push_back({member, 1});
    choice.cost += pool.models[static_cast<std::size_t>(member)].costs.at(cost_axis);
    choice.loss = loss_of(pool.select, choice.members, options.objective, options.pooling);
    choice.origin = concat("deep ", member + 1);
    choices.push_back(choice);
  }
  return make_report(pool, "deep", choices, options).entries;
}

/// Members of a deep ensemble with the same calibrated loss, interpolated; 1 where one member is as good, infinite
/// beyond the largest ensemble.
double deep_equivalent(std::vector<ReportEntry> const& deep, double calibrated_nll)
{
  if (deep.empty()) return nan;
  if (calibrated_nll >= told(deep.front()).calibrated_nll) return 1;
  for (std::size_t k = 1; k < deep.size(); ++k) {
    double const before = told(deep[k - 1]).calibrated_nll, after = told(deep[k]).calibrated_nll;
    if (calibrated_nll >= after && before > after)
      return static_cast<double>(k) + (before - calibrated_nll) / (before - after);
  }
  return infinity;
}

Cell equivalent_cell(std::vector<ReportEntry> const& deep, double calibrated_nll)
{
  double const members = deep_equivalent(deep, calibrated_nll);
  if (std::isnan(members)) return {};
  return std::isfinite(members) ? Cell(fixed(members, 1)) : Cell(concat("> ", deep.size()));
}

/// A row per way to choose, means over the seeds.
Table quality_table(std::vector<EnsemblesCell> const& cells, std::vector<std::vector<Selected>> const& selected,
                    std::vector<std::vector<ReportEntry>> const& deep)
{
  Table table({{"data set"},
               {"ensemble"},
               {"seeds"},
               {"models", 1},
               {"cost / best single's", 2},
               {"accuracy %", 2},
               {"NLL", 4},
               {"calibrated NLL", 4},
               {"Brier", 4},
               {"ECE %", 2},
               {"calibrated ECE %", 2},
               {"deep ensemble of"}});
  for (std::size_t c = 0; c < cells.size(); ++c) {
    auto const add = [&](std::string const& name, std::vector<ReportEntry const*> const& entries, bool compare) {
      if (entries.empty() || std::any_of(entries.begin(), entries.end(), [](auto const* it) { return !it; })) return;
      auto const over = [&](std::function<double(ReportEntry const&)> const& figure) {
        std::vector<double> values;
        for (auto const* const entry : entries)
          values.push_back(figure(*entry));
        return mean(values);
      };
      std::vector<double> relative;
      for (std::size_t s = 0; s < entries.size(); ++s)
        relative.push_back(cost_of(*entries[s]) /
                           cost_of(*best_of(selected[c][s % selected[c].size()].fronts.at("best-single"))));
      table.add_row({cells[c].name, name, static_cast<std::int64_t>(entries.size()),
                     over([](auto const& it) { return static_cast<double>(it.members.size()); }), mean(relative),
                     over([](auto const& it) { return 100 * told(it).accuracy; }),
                     over([](auto const& it) { return told(it).nll; }),
                     over([](auto const& it) { return told(it).calibrated_nll; }),
                     over([](auto const& it) { return told(it).brier; }),
                     over([](auto const& it) { return 100 * told(it).ece_width; }),
                     over([](auto const& it) { return 100 * told(it).calibrated_ece_width; }),
                     compare ? equivalent_cell(deep[c], told(*entries.front()).calibrated_nll) : Cell()});
    };
    auto const& seeds = selected[c];
    auto const each = [&](std::function<ReportEntry const*(Selected const&)> const& pick) {
      std::vector<ReportEntry const*> entries;
      for (auto const& seed : seeds)
        entries.push_back(pick(seed));
      return entries;
    };
    auto const single = [](Selected const& it) { return best_of(it.fronts.at("best-single")); };
    add("best single", each(single), true);
    add("front, at most its cost",
        each([&](Selected const& it) { return best_within(it.fronts.at("front"), cost_of(*single(it))); }), true);
    for (double const factor : {2.0, 4.0})
      add(concat("front, at most ", factor, " times"),
          each([&](Selected const& it) { return best_within(it.fronts.at("front"), factor * cost_of(*single(it))); }),
          true);
    add("front, the best", each([](Selected const& it) { return best_of(it.fronts.at("front")); }), true);
    add("top k, the best", each([](Selected const& it) { return best_of(it.fronts.at("top-k")); }), true);
    add("greedy, 25 picks", each([](Selected const& it) { return best_of(it.fronts.at("caruana-25")); }), true);
    for (std::size_t k = 0; k < deep[c].size(); ++k)
      add(concat("deep ensemble of ", k + 1), {&deep[c][k]}, false);
  }
  return table;
}

/// In how many seeds some ensemble that costs no more than the best single model is better on data that decided
/// nothing.
Table dominance_table(std::vector<EnsemblesCell> const& cells, std::vector<std::vector<Selected>> const& selected)
{
  Table table({{"data set"},
               {"seeds"},
               {"better NLL"},
               {"better calibrated NLL"},
               {"better accuracy"},
               {"same loss at cost of", 3},
               {"pool", 0},
               {"disagreement %", 1},
               {"Q", 3}});
  for (std::size_t c = 0; c < cells.size(); ++c) {
    std::int64_t nll = 0, calibrated = 0, accuracy = 0;
    std::vector<double> cheaper, pool, disagreement, q;
    for (auto const& seed : selected[c]) {
      auto const& single = *best_of(seed.fronts.at("best-single"));
      bool better[3] = {};
      double least = nan;
      for (auto const& entry : seed.fronts.at("front").entries) {
        if (told(entry).calibrated_nll <= told(single).calibrated_nll)
          least = std::fmin(least, cost_of(entry) / cost_of(single));
        if (cost_of(entry) > cost_of(single) * (1 + 1e-9) || entry.members.size() < 2) continue;
        better[0] |= told(entry).nll < told(single).nll;
        better[1] |= told(entry).calibrated_nll < told(single).calibrated_nll;
        better[2] |= told(entry).accuracy > told(single).accuracy;
      }
      nll += better[0];
      calibrated += better[1];
      accuracy += better[2];
      if (std::isfinite(least)) cheaper.push_back(least);
      auto const& front = seed.fronts.at("front");
      pool.push_back(front.pool_models);
      disagreement.push_back(100 * front.pool_diversity.disagreement);
      if (std::isfinite(front.pool_diversity.q)) q.push_back(front.pool_diversity.q);
    }
    table.add_row({cells[c].name, static_cast<std::int64_t>(selected[c].size()), nll, calibrated, accuracy,
                   cell_of(mean(cheaper)), mean(pool), mean(disagreement), cell_of(mean(q))});
  }
  return table;
}

Table front_table(std::vector<EnsemblesCell> const& cells, std::vector<std::vector<Selected>> const& selected,
                  std::vector<std::vector<ReportEntry>> const& deep)
{
  Table table({{"data set"},
               {"no"},
               {"models"},
               {"MFLOP", 3},
               {"parameters", 0},
               {"NLL on select", 4},
               {"accuracy %", 2},
               {"NLL", 4},
               {"calibrated NLL", 4},
               {"ECE %", 2},
               {"calibrated ECE %", 2},
               {"deep ensemble of"},
               {"found by"}});
  for (std::size_t c = 0; c < cells.size(); ++c) {
    std::int64_t number = 0;
    for (auto const& entry : selected[c].front().fronts.at("front").entries)
      table.add_row({cells[c].name, ++number, static_cast<std::int64_t>(entry.members.size()), cost_of(entry) / 1e6,
                     entry.costs.at("parameters"), entry.loss, 100 * told(entry).accuracy, told(entry).nll,
                     told(entry).calibrated_nll, 100 * told(entry).ece_width, 100 * told(entry).calibrated_ece_width,
                     equivalent_cell(deep[c], told(entry).calibrated_nll), entry.origin});
  }
  return table;
}

/// Accuracy, or calibration error, over cost: the first seed's front, its best single model and the deep ensembles.
LinePlot cost_plot(EnsemblesCell const& cell, Selected const& selected, std::vector<ReportEntry> const& deep,
                   bool calibration)
{
  LinePlot plot;
  plot.title = concat(calibration ? "Calibration error" : "Accuracy", " against cost on ", cell.name);
  plot.subtitle = "Test split; the library of the first seed; what is within ten points of its best ensemble";
  plot.description = concat(calibration ? "The expected calibration error, raw and calibrated," : "The test accuracy",
                            " over the logarithm of the cost of ensembles of the front, and of deep ensembles.");
  plot.x_label = "forward FLOPs a sample, log10";
  plot.y_label = calibration ? "expected calibration error, %" : "test accuracy, %";
  // The cheapest ensembles of a front may know next to nothing, and would flatten all others.
  constexpr double shown = 0.1;
  auto const& all = selected.fronts.at("front").entries;
  double const least = all.empty() ? 0 : told(all.back()).accuracy - shown;
  auto const line = [&](std::string name, std::vector<ReportEntry> const& entries, double SplitScores::* figure,
                        int group, bool secondary) {
    Series series{std::move(name), {}, group, secondary};
    for (auto const& entry : entries)
      if (told(entry).accuracy >= least)
        series.points.emplace_back(std::log10(cost_of(entry)), 100 * told(entry).*figure);
    if (!series.points.empty()) plot.series.push_back(std::move(series));
  };
  auto const& front = selected.fronts.at("front").entries;
  auto const& single = selected.fronts.at("best-single").entries;
  if (calibration) {
    line("front, calibrated", front, &SplitScores::calibrated_ece_width, 0, false);
    line("front, raw", front, &SplitScores::ece_width, 0, true);
    line("deep ensembles, calibrated", deep, &SplitScores::calibrated_ece_width, 1, false);
    line("deep ensembles, raw", deep, &SplitScores::ece_width, 1, true);
  } else {
    line("front", front, &SplitScores::accuracy, 0, false);
    line("deep ensembles", deep, &SplitScores::accuracy, 1, false);
    line("best single", single, &SplitScores::accuracy, 2, false);
  }
  return plot;
}

// ---- selection against every ensemble

/// `count` models of a pool over the whole range of costs.
PredictionPool thinned(PredictionPool const& pool, int count)
{
  std::vector<int> order(static_cast<std::size_t>(pool.size()));
  std::iota(order.begin(), order.end(), 0);
  auto const costs = costs_of(pool, cost_axis);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return costs[static_cast<std::size_t>(a)] < costs[static_cast<std::size_t>(b)];
  });
  PredictionPool part;
  auto const copy = [](Predictions const& from, Predictions& to, int model) {
    if (from.samples() == 0) return;
    if (to.samples() == 0) to = Predictions(from.classes(), {from.labels().begin(), from.labels().end()});
    auto const values = from.probabilities(model);
    to.add_probabilities(std::vector<double>(values.begin(), values.end()));
  };
  std::size_t const wanted = std::min(order.size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < wanted; ++i) {
    int const model = order[wanted == 1 ? 0 : i * (order.size() - 1) / (wanted - 1)];
    part.models.push_back(pool.models[static_cast<std::size_t>(model)]);
    copy(pool.select, part.select, model);
    copy(pool.check, part.check, model);
    copy(pool.test, part.test, model);
  }
  return part;
}

double area(PredictionPool const& pool, Predictions const& split, std::vector<Choice> const& choices,
            SelectionOptions const& options)
{
  std::vector<CostLoss> points;
  for (auto const& choice : choices)
    points.push_back({choice.cost, loss_of(split, choice.members, options.objective, options.pooling)});
  return hypervolume(std::move(points), hypervolume_reference(pool, split, options));
}

Table selection_table(std::vector<EnsemblesCell> const& cells, std::vector<std::vector<Selected>> const& selected,
                      EnsemblesPlan const& plan, nn::TrainerOptions const& trainer)
{
  auto const options = selection_options(trainer);
  Table table({{"data set"},
               {"preset"},
               {"pools"},
               {"select, mean", 3},
               {"select, worst", 3},
               {"test, mean", 3},
               {"whole library, mean", 3}});
  for (std::size_t c = 0; c < cells.size(); ++c) {
    std::vector<PredictionPool> pools;
    std::vector<double> most, most_on_test, of_library; // areas: of every ensemble, and of `front` on the whole library
    for (auto const& seed : selected[c]) {
      pools.push_back(thinned(seed.pool, plan.pool));
      auto const all = exhaustive_front(pools.back(), options);
      most.push_back(area(pools.back(), pools.back().select, all, options));
      if (pools.back().test.samples() > 0) most_on_test.push_back(area(pools.back(), pools.back().test, all, options));
      of_library.push_back(area(seed.pool, seed.pool.select, select(seed.pool, "front", options), options));
    }
    for (char const* const preset : {"front", "prefix", "budget", "scalarizations", "hapens", "nes", "caruana-25",
                                     "top-k", "dijkstra", "best-single"}) {
      std::vector<double> on_select, on_test, whole;
      for (std::size_t s = 0; s < pools.size(); ++s) {
        auto const choices = select(pools[s], preset, options);
        on_select.push_back(area(pools[s], pools[s].select, choices, options) / most[s]);
        if (pools[s].test.samples() > 0)
          on_test.push_back(area(pools[s], pools[s].test, choices, options) / most_on_test[s]);
        auto const& pool = selected[c][s].pool;
        whole.push_back(area(pool, pool.select, select(pool, preset, options), options) / of_library[s]);
      }
      table.add_row({cells[c].name, preset, static_cast<std::int64_t>(pools.size()), cell_of(mean(on_select)),
                     cell_of(*std::min_element(on_select.begin(), on_select.end())), cell_of(mean(on_test)),
                     cell_of(mean(whole))});
    }
  }
  return table;
}

// ---- planning and serving

/// 1 - throughput / optimum of problems with a known optimum, ascending.
struct PlannerGaps
{
  std::string suite;
  std::vector<double> local, worst_fit;
};

std::vector<PlannerGaps> planner_gaps(int seeds)
{
  std::vector<PlannerGaps> all;
  for (auto const& suite : plan_suites()) {
    PlannerGaps gaps{suite.name, {}, {}};
    for (int seed = 1; seed <= seeds; ++seed) {
      auto const problem = suite_problem(suite, static_cast<std::uint64_t>(seed));
      PlanningOptions options;
      options.keep = 1;
      options.method = PlanningMethod::exact;
      auto const exact = plan_allocation(problem, options);
      if (exact.plans.empty()) continue; // a packing that does not exist
      double const optimum = exact.plans.front().throughput;
      options.method = PlanningMethod::local;
      options.time_limit_seconds = 1e6; // no clock decides
      auto const local = plan_allocation(problem, options);
      gaps.local.push_back(local.plans.empty() ? 1 : std::max(0.0, 1 - local.plans.front().throughput / optimum));
      auto const baseline = worst_fit(problem);
      gaps.worst_fit.push_back(
          baseline.cells() == 0 ? 1 : std::max(0.0, 1 - fluid_throughput(problem, baseline) / optimum));
    }
    std::sort(gaps.local.begin(), gaps.local.end());
    std::sort(gaps.worst_fit.begin(), gaps.worst_fit.end());
    all.push_back(std::move(gaps));
  }
  return all;
}

Table planner_table(std::vector<PlannerGaps> const& all)
{
  Table table({{"suite"},
               {"problems"},
               {"mean gap %", 2},
               {"worst twentieth %", 2},
               {"worst %", 2},
               {"worst fit, mean %", 1},
               {"worst fit, worst %", 1}});
  for (auto const& gaps : all) {
    if (gaps.local.empty()) continue;
    table.add_row({gaps.suite, static_cast<std::int64_t>(gaps.local.size()), 100 * mean(gaps.local),
                   100 * gaps.local[gaps.local.size() - 1 - gaps.local.size() / 20], 100 * gaps.local.back(),
                   100 * mean(gaps.worst_fit), 100 * gaps.worst_fit.back()});
  }
  return table;
}

/// How many of all problems have at most a gap.
LinePlot planner_plot(std::vector<PlannerGaps> const& all)
{
  LinePlot plot;
  plot.title = "Gaps of planned allocations to the optimum";
  plot.subtitle = "Share of all problems with at most this gap; the higher, the better";
  plot.description = "The cumulated distribution of gaps, of the planner and of worst fit with the best batch size.";
  plot.x_label = "gap to the optimal throughput, %";
  plot.y_label = "problems with at most this gap, %";
  std::vector<double> local, baseline;
  for (auto const& gaps : all) {
    local.insert(local.end(), gaps.local.begin(), gaps.local.end());
    baseline.insert(baseline.end(), gaps.worst_fit.begin(), gaps.worst_fit.end());
  }
  int group = 0;
  for (auto const& [name, values] : {std::pair{"planner", &local}, std::pair{"worst fit, best batch", &baseline}}) {
    Series series{name, {}, group++, false};
    for (int gap = 0; gap <= 100; gap += 5) {
      auto const within =
          std::count_if(values->begin(), values->end(), [&](double it) { return 100 * it <= gap + 1e-9; });
      series.points.emplace_back(gap, 100.0 * static_cast<double>(within) / static_cast<double>(values->size()));
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

Table joined(std::vector<EnsemblesCell> const& cells, std::optional<Table> EnsemblesCell::* part)
{
  for (auto const& cell : cells) {
    if (!(cell.*part)) continue;
    std::vector<Column> columns{{"data set"}};
    auto const& own = (cell.*part)->columns();
    columns.insert(columns.end(), own.begin(), own.end());
    Table table(columns);
    for (auto const& other : cells) {
      if (!(other.*part)) continue;
      for (auto const& row : (other.*part)->rows()) {
        std::vector<Cell> cells_of_row{other.name};
        cells_of_row.insert(cells_of_row.end(), row.begin(), row.end());
        table.add_row(std::move(cells_of_row));
      }
    }
    return table;
  }
  return Table({{"data set"}});
}

/// Median of a column's numbers, over rows of the planner or over all.
double median_of(Table const& table, std::string const& title, bool planned_only)
{
  std::size_t column = 0, plan = 0;
  for (std::size_t i = 0; i < table.columns().size(); ++i) {
    if (table.columns()[i].title == title) column = i;
    if (table.columns()[i].title == "plan") plan = i;
  }
  std::vector<double> values;
  for (auto const& row : table.rows()) {
    auto const* const number = std::get_if<double>(&row[column]);
    auto const* const name = std::get_if<std::string>(&row[plan]);
    if (number && (!planned_only || (name && name->starts_with("plan ")))) values.push_back(*number);
  }
  return median(values);
}

} // namespace

ReportDocument ensembles_report(std::vector<EnsemblesCell> const& cells, EnsemblesPlan const& plan,
                                nn::TrainerOptions const& trainer, Provenance const& provenance)
{
  std::vector<std::vector<Selected>> selected;
  std::vector<std::vector<ReportEntry>> deep;
  for (auto const& cell : cells) {
    auto& seeds = selected.emplace_back();
    for (auto const& library : cell.libraries)
      seeds.push_back(selected_from(library, trainer));
    deep.push_back(deep_entries(cell.deep, trainer));
  }
  auto const gaps = planner_gaps(plan.planner_seeds);
  auto const random_epochs = plan.random_trials * plan.most_epochs;
  ReportDocument report("ensembles", "nasturtium: ensembles from searches");
  report.lead(concat(plan.seeds, " seeds, ", plan.trials, " configurations each with up to ", plan.most_epochs,
                     " epochs; a library of all networks, also those that were paused; fronts of ensembles from cheap "
                     "to accurate (scale ",
                     plan.scale, ")."));
  report.heading("Searches at equal epochs");
  report.paragraph(concat("Random search trains ", plan.random_trials, " configurations to the end, ", random_epochs,
                          " epochs; the others begin with the same ones and more of them. Loss: the least so far on "
                          "the validation split, after as many epochs as random search has; p by Wilcoxon's exact test "
                          "over seeds. Then the epochs until random search's best is reached: the median over seeds "
                          "and the worst, empty where some seed does not reach it. asha ranks in thirds of the costs, "
                          "for the sake of the library. The published abstract gives no figures for this."));
  report.table("search", search_table(cells, plan));
  for (auto const& cell : cells)
    report.plot("search-" + cell.name, search_plot(cell, plan), "Searches against epochs.");
  report.heading("Ensembles and single models");
  report.paragraph(
      "The libraries of asha; chosen on the select split (60 % of validation), temperatures fitted on the "
      "check split, figures of the test split, means over seeds. Cost: forward FLOPs of distinct members, "
      "in those of the library's best single model. Deep ensembles: the best network of the "
      "first seed trained to the end with several seeds; in the last column the size of such an ensemble with the "
      "same calibrated NLL, for the first seed.");
  report.table("quality", quality_table(cells, selected, deep));
  report.paragraph("Ensembles of two or more models that cost no more than the best single one: in how many seeds one "
                   "of them is better on the test split, and the mean cost of the cheapest entry of the front that is "
                   "no worse than the single model (1: as dear). Diversity of the pool: mean pairwise disagreement "
                   "and Yule's Q.");
  report.table("dominance", dominance_table(cells, selected));
  for (std::size_t c = 0; c < cells.size(); ++c) {
    report.plot("accuracy-" + cells[c].name, cost_plot(cells[c], selected[c].front(), deep[c], false),
                "Accuracy against cost.");
    report.plot("calibration-" + cells[c].name, cost_plot(cells[c], selected[c].front(), deep[c], true),
                "Calibration error against cost, before and after one temperature was fitted.");
  }
  report.paragraph("The whole front of the first seed:");
  report.table("front", front_table(cells, selected, deep));
  report.heading("Selection against every ensemble");
  report.paragraph(concat("Pools of ", plan.pool,
                          " models over the range of costs, one of each seed's library: "
                          "hypervolume of a preset's front over that of all uniform ensembles of at most five of "
                          "them; and over that of `front` on the whole library."));
  report.table("selection", selection_table(cells, selected, plan, trainer));
  report.heading("Plans");
  report.paragraph(concat("Allocations of members to devices on six suites of ", plan.planner_seeds,
                          " random problems with a known optimum; problems without any plan are left out. Gap: what "
                          "is missing to the optimal throughput."));
  report.table("planner", planner_table(gaps));
  report.plot("planner-gaps", planner_plot(gaps), "All suites together.");
  auto const serving = joined(cells, &EnsemblesCell::serving);
  if (serving.row_count() > 0) {
    report.heading("Serving");
    report.paragraph(concat("Some ensembles of the first seed's front, served on the cores of this machine: rates in "
                            "samples per second (medians of rounds in turns), what the two simulators promise, the "
                            "error of the second, the part of the first that was achieved, the ratio to the best "
                            "baseline, latencies of segments. Median error of prediction: ",
                            fixed(median_of(serving, "error %", false), 1), " % over all, ",
                            fixed(median_of(serving, "error %", true), 1), " % over the planner's. Timings."));
    report.table("serving", serving);
    for (auto const& cell : cells)
      if (cell.matrix) {
        report.paragraph(concat(cell.name, ": batch sizes of the best plan of the last of them, by device."));
        report.table("plan-matrix-" + cell.name, *cell.matrix, Shown::page);
        if (cell.timeline) {
          report.plot("timeline-" + cell.name, timeline_plot(*cell.timeline, concat(cell.name, ": the plan at work")),
                      "Which cell works on which segment, in the middle of a request.");
          report.table("timeline-" + cell.name, *cell.timeline, Shown::files);
        }
      }
  }
  report.provenance(provenance);
  return report;
}

} // namespace nasturtium::cli
