// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "weight_transfer.hpp"

#include "line_plot.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/predictor/metrics.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Cell cell_of(double value)
{
  return std::isfinite(value) ? Cell(value) : Cell();
}

/// Of "lcs-frozen" what is before and behind the last dash, where that is a variant.
bool take_suffix(std::string& text, std::string const& suffix)
{
  if (!text.ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

bool is_variant(std::string const& arm)
{
  return arm.ends_with("-frozen") || arm.ends_with("-permuted");
}

nas::TransferSettings settings_of(std::string arm, std::string const& provider)
{
  nas::TransferSettings settings;
  if (arm == "none") return settings;
  settings.on = true;
  settings.provider = nas::parse_provider(provider);
  settings.freeze = take_suffix(arm, "-frozen");
  settings.permute = take_suffix(arm, "-permuted");
  settings.policy.matcher = nas::parse_matcher(arm);
  settings.cap_bytes = 0; // bytes of whole searches are compared
  return settings;
}

nas::SearchConfig config_of(TransferTask const& task, TransferPlan const& plan, std::string const& arm, int seed,
                            datasets::Dataset const& dataset, DataChoice const& data, nn::BackendKind backend)
{
  nas::SearchConfig config;
  config.space = task.space;
  config.settings.algorithm = "aging";
  config.settings.evaluations = plan.evaluations;
  config.settings.population = plan.population;
  config.settings.sample = plan.sample;
  config.settings.seed = static_cast<std::uint64_t>(seed);
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes};
  config.training.epochs = task.epochs;
  config.training.batch_size = task.batch_size;
  config.training.optimiser.kind = nn::OptimiserKind::adam;
  config.training.optimiser.learning_rate = task.learning_rate;
  config.training.seed = 1000 * static_cast<std::uint64_t>(seed); // the same for all arms: paired
  config.transfer = settings_of(arm, plan.provider);
  config.backend = backend;
  config.data = to_json(data);
  config.data_checksum = dataset.checksum;
  return config;
}

/// Searches of several epochs, so that there is something to predict.
nas::SearchConfig together_config(nas::SearchConfig config, std::string const& arm, TransferPlan const& plan)
{
  bool const transfer = arm == "transfer" || arm == "both", prediction = arm == "prediction" || arm == "both";
  config.settings.evaluations = plan.together_evaluations;
  config.settings.population = std::max(2, plan.together_evaluations / 4);
  config.training.epochs = plan.together_epochs;
  config.training.validations_per_epoch = 2;
  config.transfer = settings_of(transfer ? "lcs" : "none", plan.provider);
  config.predictor = prediction ? "nasturtium" : "none";
  return config;
}

/// `data` says what was loaded; nothing where it is not there.
std::optional<datasets::Dataset> load_data(TransferTask const& task, TransferPlan const& plan, DataChoice& data)
{
  data.dataset = task.dataset;
  data.data_dir = plan.data_dir;
  data.validation = 0.25;
  data.subset = task.images;
  data.test_subset = task.test_images;
  return data.load_or_leave_out();
}

class Watcher : public nas::SearchObserver
{
public:
  Watcher(std::string const& label, int evaluations) : m_progress(label, evaluations, "candidates") {}
  void on_result(nas::TrialResult const& result) override
  {
    if (std::isfinite(result.fitness)) m_best = std::max(m_best, result.fitness);
    m_progress.set(++m_done, concat("best ", fixed(m_best, 2), " %"));
  }
  void on_note(std::string const& text) override { m_progress.message(text); }

private:
  int m_done = 0;
  double m_best = 0;
  Progress m_progress;
};

/// Candidates over the whole range of scores, `count` of them.
std::vector<nas::TrialResult> stratified(std::vector<nas::TrialResult> const& trials, int count)
{
  auto const ranked = nas::fittest(trials, trials.size());
  std::vector<nas::TrialResult> chosen;
  if (ranked.empty()) return chosen;
  auto const wanted = std::min<std::size_t>(ranked.size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < wanted; ++i)
    chosen.push_back(ranked[wanted == 1 ? 0 : i * (ranked.size() - 1) / (wanted - 1)]);
  return chosen;
}

// ---- figures of one run

double top_score(TransferRun const& run, int top)
{
  std::vector<double> scores;
  for (auto const& trial : nas::fittest(run.search.trials, static_cast<std::size_t>(top)))
    scores.push_back(trial.fitness);
  return mean(scores);
}

double median_score(TransferRun const& run)
{
  std::vector<double> scores;
  for (auto const& trial : run.search.trials)
    if (std::isfinite(trial.fitness)) scores.push_back(trial.fitness);
  return median(scores);
}

double best_score(TransferRun const& run)
{
  return run.search.best < 0 ? nan : run.search.trials[static_cast<std::size_t>(run.search.best)].fitness;
}

/// Mean over the fittest of a figure of one arm of the second phase.
double mean_of(TransferRun const& run, nas::Arm arm, double nas::FullTraining::* figure)
{
  std::vector<double> values;
  for (auto const& it : run.full)
    if (it.arm == arm && std::isfinite(it.*figure)) values.push_back(it.*figure);
  return mean(values);
}

std::vector<TransferRun const*> runs_of(TransferCell const& cell, std::string const& arm)
{
  std::vector<TransferRun const*> runs;
  for (auto const& run : cell.runs)
    if (run.arm == arm) runs.push_back(&run);
  return runs;
}

std::vector<std::string> arms_of(TransferCell const& cell)
{
  std::vector<std::string> arms;
  for (auto const& run : cell.runs)
    if (std::find(arms.begin(), arms.end(), run.arm) == arms.end()) arms.push_back(run.arm);
  return arms;
}

/// A figure of every seed of an arm; seeds without it are NaN.
std::vector<double> over_seeds(TransferCell const& cell, std::string const& arm,
                               std::function<double(TransferRun const&)> const& figure)
{
  std::vector<double> values;
  for (auto const* const run : runs_of(cell, arm))
    values.push_back(figure(*run));
  return values;
}

/// Differences of seeds that both have.
std::vector<double> differences(std::vector<double> const& left, std::vector<double> const& right)
{
  std::vector<double> values;
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i)
    if (std::isfinite(left[i] - right[i])) values.push_back(left[i] - right[i]);
  return values;
}

std::vector<double> finite(std::vector<double> values)
{
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  return values;
}

/// Score with what was inherited, without it, and after as many epochs from scratch as the lineage had.
Table controls_table(std::vector<TransferCell> const& cells, TransferPlan const& plan)
{
  Table table({{"task"},
               {"arm"},
               {"score of the top", 2},
               {"from scratch", 2},
               {"inflation", 2},
               {"lineage epochs", 2},
               {"scratch, lineage epochs", 2},
               {"gain over it", 2},
               {"p", 4}});
  for (auto const& cell : cells)
    for (auto const& arm : arms_of(cell)) {
      if (is_variant(arm)) continue;
      auto const score = over_seeds(cell, arm, [&](auto const& run) { return top_score(run, plan.top); });
      auto const again = over_seeds(
          cell, arm, [](auto const& run) { return mean_of(run, nas::Arm::rescore, &nas::FullTraining::validation); });
      auto const lineage = over_seeds(
          cell, arm, [](auto const& run) { return mean_of(run, nas::Arm::lineage, &nas::FullTraining::validation); });
      auto const epochs = over_seeds(cell, arm, [&](auto const& run) {
        std::vector<double> values;
        for (auto const& trial : nas::fittest(run.search.trials, static_cast<std::size_t>(plan.top)))
          values.push_back(trial.transfer.layers_of_child > 0 ? trial.transfer.lineage_epochs : trial.epochs);
        return mean(values);
      });
      auto const gain = differences(score, lineage);
      table.add_row({cell.name, arm, cell_of(mean(finite(score))), cell_of(mean(finite(again))),
                     cell_of(mean(differences(score, again))), cell_of(mean(finite(epochs))),
                     cell_of(mean(finite(lineage))), cell_of(mean(gain)),
                     gain.empty() ? Cell() : Cell(signed_rank_test(gain).two_sided)});
    }
  return table;
}

/// Rank correlation of the search's score with the test accuracy after full training from random weights.
Table ranks_table(std::vector<TransferCell> const& cells)
{
  Table table(
      {{"task"}, {"arm"}, {"candidates"}, {"tau-b", 3}, {"tau-b, short lineages", 3}, {"tau-b, long lineages", 3}});
  for (auto const& cell : cells)
    for (auto const& run : cell.runs) {
      if (run.ranked.empty()) continue;
      std::map<int, nas::TrialResult const*> by_id;
      for (auto const& trial : run.search.trials)
        by_id[trial.trial.id] = &trial;
      std::vector<double> lengths;
      for (auto const& it : run.ranked)
        lengths.push_back(by_id.at(it.trial)->transfer.lineage_length);
      double const middle = median(lengths);
      std::vector<double> estimate[3], truth[3];
      for (std::size_t i = 0; i < run.ranked.size(); ++i) {
        if (!std::isfinite(run.ranked[i].test)) continue;
        for (std::size_t const part : {std::size_t{0}, lengths[i] <= middle ? std::size_t{1} : std::size_t{2}}) {
          estimate[part].push_back(by_id.at(run.ranked[i].trial)->fitness);
          truth[part].push_back(run.ranked[i].test);
        }
      }
      auto const tau = [&](std::size_t part) { return cell_of(predictor::kendall(estimate[part], truth[part])); };
      bool const lineages = run.arm != "none";
      table.add_row({cell.name, run.arm, static_cast<std::int64_t>(truth[0].size()), tau(0), lineages ? tau(1) : Cell(),
                     lineages ? tau(2) : Cell()});
    }
  return table;
}

Table overhead_table(std::vector<TransferCell> const& cells)
{
  Table table({{"task"},
               {"arm"},
               {"warm starts %", 1},
               {"all layers %", 1},
               {"lineage", 1},
               {"ms/evaluation", 1},
               {"match ms", 3},
               {"load ms", 2},
               {"store ms", 2},
               {"overhead %", 2},
               {"whole files MB", 1},
               {"stored MB", 1},
               {"ratio", 2}});
  for (auto const& cell : cells)
    for (auto const& arm : arms_of(cell)) {
      double trials = 0, warm = 0, all = 0, lineage = 0, seconds = 0, match = 0, load = 0, store = 0, whole = 0,
             stored = 0;
      for (auto const* const run : runs_of(cell, arm))
        for (auto const& trial : run->search.trials) {
          auto const& it = trial.transfer;
          trials += 1;
          warm += it.layers > 0;
          all += it.layers > 0 && it.layers == it.layers_of_child;
          lineage += it.lineage_length;
          seconds += trial.seconds;
          match += it.match_seconds;
          load += it.load_seconds;
          store += it.store_seconds;
          whole += static_cast<double>(it.stored_bytes);
          stored += static_cast<double>(it.new_bytes);
        }
      if (arm == "none") {
        table.add_row({cell.name, arm, Cell(), Cell(), Cell(), 1e3 * seconds / trials, Cell(), Cell(), Cell(), Cell(),
                       Cell(), Cell(), Cell()});
        continue;
      }
      table.add_row({cell.name, arm, 100 * warm / trials, 100 * all / trials, lineage / trials, 1e3 * seconds / trials,
                     1e3 * match / trials, 1e3 * load / trials, 1e3 * store / trials,
                     100 * (match + load + store) / seconds, whole / 1e6, stored / 1e6, cell_of(whole / stored)});
    }
  return table;
}

Table together_table(std::vector<TransferCell> const& cells)
{
  Table table({{"task"},
               {"search"},
               {"seeds"},
               {"candidates"},
               {"epochs", 1},
               {"saved %", 1},
               {"seconds", 1},
               {"best", 2},
               {"best measured", 2},
               {"median measured", 2}});
  for (auto const& cell : cells)
    for (char const* const arm : {"none", "transfer", "prediction", "both"}) {
      std::vector<double> epochs, saved, seconds, best, measured, middle;
      std::int64_t candidates = 0;
      for (auto const& run : cell.together) {
        if (run.arm != arm) continue;
        std::vector<double> last;
        for (auto const& trial : run.search.trials)
          if (std::isfinite(trial.best)) last.push_back(trial.best);
        candidates = static_cast<std::int64_t>(run.search.trials.size());
        epochs.push_back(run.search.epochs_used);
        saved.push_back(100 * run.search.saved());
        seconds.push_back(run.search.seconds + run.search.engine_seconds);
        best.push_back(run.search.best < 0 ? nan
                                           : run.search.trials[static_cast<std::size_t>(run.search.best)].fitness);
        measured.push_back(last.empty() ? nan : *std::max_element(last.begin(), last.end()));
        middle.push_back(median(last));
      }
      if (epochs.empty()) continue;
      table.add_row({cell.name, arm, static_cast<std::int64_t>(epochs.size()), candidates, mean(epochs), mean(saved),
                     mean(seconds), cell_of(mean(finite(best))), cell_of(mean(finite(measured))),
                     cell_of(mean(finite(middle)))});
    }
  return table;
}

/// The best score so far over candidates, the mean over seeds.
LinePlot progress_plot(TransferCell const& cell, TransferPlan const& plan)
{
  LinePlot plot;
  plot.title = concat("Best score so far: ", cell.task.space, " on ", short_name(cell.task.dataset));
  plot.subtitle = concat("Mean over ", plan.seeds, " seeds; every candidate costs the same epochs");
  plot.description = "The best validation accuracy so far over the number of candidates, for each arm.";
  plot.x_label = "candidates";
  plot.y_label = "validation accuracy, %";
  int group = 0;
  for (auto const& arm : arms_of(cell)) {
    if (is_variant(arm)) continue;
    auto const runs = runs_of(cell, arm);
    Series series{arm, {}, group++, false};
    std::vector<double> best(runs.size(), 0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(plan.evaluations); ++i) {
      double sum = 0;
      for (std::size_t r = 0; r < runs.size(); ++r) {
        auto const& trials = runs[r]->search.trials;
        if (i < trials.size() && std::isfinite(trials[i].fitness)) best[r] = std::max(best[r], trials[i].fitness);
        sum += best[r];
      }
      if ((i + 1) % std::max<std::size_t>(1, static_cast<std::size_t>(plan.evaluations) / 20) == 0)
        series.points.emplace_back(static_cast<double>(i + 1), sum / static_cast<double>(runs.size()));
    }
    plot.series.push_back(std::move(series));
  }
  return plot;
}

} // namespace

TransferPlan transfer_plan(std::string const& scale)
{
  TransferPlan plan;
  plan.scale = scale;
  plan.arms = {"none", "lp", "lcs", "lcs-frozen", "lcs-permuted"};
  if (scale == "smoke") {
    plan.tasks = {
        {"lenet11", "synthetic:count=600:test=200:height=16:width=16:classes=4:noise=60", 0, 0, 1, 32, 0.003}};
    plan.full.most_epochs = 4;
  } else if (scale == "laptop") {
    plan.tasks = {{"lenet11", "fashion-mnist", 4000, 2000, 1, 64, 0.003},
                  {"vgg21-narrow", "cifar10", 2000, 2000, 1, 32, 0.003}};
    plan.seeds = 8;
    plan.evaluations = 150;
    plan.population = 30;
    plan.sample = 5;
    plan.top = 5;
    plan.ranked = 30;
    plan.full.most_epochs = 30;
    plan.together_seeds = 3;
    plan.together_evaluations = 40;
    plan.together_epochs = 8;
  } else if (scale == "node" || scale == "paper") {
    bool const whole = scale == "paper";
    plan.tasks = {{"lenet11", "fashion-mnist", whole ? 0 : 20000, 0, 1, 64, 0.003},
                  {"vgg21", "cifar10", whole ? 0 : 20000, 0, 3, 128, 0.001}};
    plan.seeds = 10;
    plan.evaluations = whole ? 1000 : 400;
    plan.population = whole ? 100 : 64;
    plan.sample = 10;
    plan.top = 10;
    plan.ranked = 50;
    plan.together_seeds = 8;
    plan.together_evaluations = 200;
    plan.together_epochs = 20;
  } else {
    fail("--scale must be smoke, laptop, node or paper, got ", quoted(scale));
  }
  return plan;
}

std::vector<PlannedTraining> transfer_work(TransferPlan const& plan)
{
  std::vector<PlannedTraining> work;
  for (auto const& task : plan.tasks) {
    DataChoice data;
    auto const dataset = load_data(task, plan, data);
    if (!dataset) continue;
    double const searches = static_cast<double>(plan.seeds) * static_cast<double>(plan.arms.size());
    double trainings = 0; // to the end
    for (auto const& arm : plan.arms)
      if (!is_variant(arm)) trainings += plan.seeds * plan.top * (arm == "none" ? 3.0 : 5.0) + plan.ranked;
    double const together = work.empty() ? 4.0 * plan.together_seeds * plan.together_evaluations : 0;
    PlannedTraining kind;
    kind.name = concat(task.space, " on ", short_name(task.dataset), ", ", plan.seeds, " seeds x ", plan.arms.size(),
                       " arms of ", plan.evaluations, " candidates, the best ", plan.top, " of each trained fully");
    kind.sample = sample_of_space(task.space, *dataset, task.batch_size);
    kind.networks = searches * plan.evaluations + trainings + together;
    kind.epochs =
        searches * plan.evaluations * task.epochs + trainings * plan.full.most_epochs + together * plan.together_epochs;
    kind.images = static_cast<double>(dataset->train.count);
    kind.files = searches * plan.evaluations;
    work.push_back(std::move(kind));
  }
  return work;
}

std::optional<std::vector<TransferCell>> run_transfer(TransferPlan const& plan, nn::TrainerOptions const& trainer,
                                                      Invocation const& call)
{
  std::vector<TransferCell> cells;
  for (auto const& arm : plan.arms)
    settings_of(arm, plan.provider); // bad names are told before anything is trained
  auto const stop = [] { return interrupted(); };
  for (auto const& task : plan.tasks) {
    DataChoice data;
    auto const dataset = load_data(task, plan, data);
    if (!dataset) continue;
    TransferCell cell;
    cell.name = concat(task.space, "-", short_name(task.dataset));
    cell.task = task;
    for (int seed = plan.first_seed; seed < plan.first_seed + plan.seeds; ++seed)
      for (auto const& arm : plan.arms) {
        std::string const folder = (fs::path(plan.out) / cell.name / concat("seed-", seed)).string();
        create_directories(folder);
        auto const config = config_of(task, plan, arm, seed, *dataset, data, trainer.backend);
        std::string const path = (fs::path(folder) / arm).string();
        auto search = nas::SearchFolder::open_or_create(
            path, config,
            provenance_of(call, config.training.seed, trainer.backend,
                          {{"dataset", dataset->name}, {"dataset_checksum", dataset->checksum}}));
        Watcher watcher(concat(cell.name, " seed ", seed, " ", arm), plan.evaluations);
        TransferRun run;
        run.arm = arm;
        run.seed = seed;
        run.search = nas::run_search(search, *dataset, trainer, watcher, stop);
        if (run.search.interrupted) return std::nullopt;
        if (!is_variant(arm)) {
          using nas::Arm;
          std::vector<Arm> arms{Arm::random, Arm::rescore, Arm::own};
          if (arm != "none") arms.insert(arms.end(), {Arm::transferred, Arm::lineage});
          auto const best = nas::fittest(run.search.trials, static_cast<std::size_t>(plan.top));
          auto const spread = seed == 1 ? stratified(run.search.trials, plan.ranked) : std::vector<nas::TrialResult>();
          Progress progress(concat(cell.name, " seed ", seed, " ", arm, " full"),
                            static_cast<std::int64_t>(best.size() * arms.size() + spread.size()), "trainings");
          std::int64_t done = 0;
          auto const told = [&](nas::FullTraining const&) { progress.set(++done); };
          run.full = nas::train_fully(search, best, arms, plan.full, *dataset, trainer, told, stop);
          if (!interrupted())
            run.ranked = nas::train_fully(search, spread, {Arm::random}, plan.full, *dataset, trainer, told, stop);
          if (interrupted()) return std::nullopt;
        }
        cell.runs.push_back(std::move(run));
      }
    if (cells.empty() && plan.first_seed == 1)
      for (int seed = 1; seed <= plan.together_seeds; ++seed)
        for (char const* const arm : {"none", "transfer", "prediction", "both"}) {
          auto const config =
              together_config(config_of(task, plan, "none", seed, *dataset, data, trainer.backend), arm, plan);
          auto search = nas::SearchFolder::open_or_create(
              (fs::path(plan.out) / cell.name / concat("together-", seed) / arm).string(), config,
              provenance_of(call, config.training.seed, trainer.backend,
                            {{"dataset", dataset->name}, {"dataset_checksum", dataset->checksum}}));
          Watcher watcher(concat(cell.name, " together, seed ", seed, " ", arm), plan.together_evaluations);
          TogetherRun run;
          run.arm = arm;
          run.seed = seed;
          run.search = nas::run_search(search, *dataset, trainer, watcher, stop);
          if (run.search.interrupted) return std::nullopt;
          cell.together.push_back(std::move(run));
        }
    cells.push_back(std::move(cell));
  }
  require(!cells.empty(), "none of the data sets is there (nasturtium datasets list tells how to get them)");
  return cells;
}

Table transfer_scores(std::vector<TransferCell> const& cells, TransferPlan const& plan)
{
  Table table({{"task"},
               {"arm"},
               {"seeds"},
               {"best", 2},
               {"top", 2},
               {"median", 2},
               {"gain of top", 2},
               {"95 % low", 2},
               {"95 % high", 2},
               {"p", 4},
               {"p, Holm", 4},
               {"gain of median", 2},
               {"p of median", 4}});
  for (auto const& cell : cells) {
    auto const top = [&](auto const& run) { return top_score(run, plan.top); };
    auto const none = over_seeds(cell, "none", top), none_median = over_seeds(cell, "none", median_score);
    auto const arms = arms_of(cell);
    std::vector<double> p;
    for (auto const& arm : arms)
      if (arm != "none") p.push_back(signed_rank_test(differences(over_seeds(cell, arm, top), none)).two_sided);
    auto const adjusted = holm(p);
    std::size_t next = 0;
    for (auto const& arm : arms) {
      auto const scores = over_seeds(cell, arm, top), medians = over_seeds(cell, arm, median_score);
      std::vector<Cell> row{cell.name,
                            arm,
                            static_cast<std::int64_t>(scores.size()),
                            cell_of(mean(finite(over_seeds(cell, arm, best_score)))),
                            cell_of(mean(finite(scores))),
                            cell_of(mean(finite(medians)))};
      auto const gain = differences(scores, none), gain_of_median = differences(medians, none_median);
      if (arm == "none" || gain.empty()) {
        row.resize(13);
      } else {
        auto const [low, high] = bootstrap_mean(gain, 0.95);
        row.insert(row.end(), {mean(gain), low, high, p[next], adjusted[next], mean(gain_of_median),
                               signed_rank_test(gain_of_median).two_sided});
      }
      if (arm != "none") ++next;
      table.add_row(std::move(row));
    }
  }
  return table;
}

Table transfer_full(std::vector<TransferCell> const& cells)
{
  Table table({{"task"},
               {"arm"},
               {"R epochs", 1},
               {"O epochs", 1},
               {"T epochs", 1},
               {"R/T", 2},
               {"O/T", 2},
               {"R test %", 2},
               {"O test %", 2},
               {"T test %", 2},
               {"T - R", 2},
               {"p, T worse", 4}});
  using nas::Arm;
  for (auto const& cell : cells)
    for (auto const& arm : arms_of(cell)) {
      if (is_variant(arm)) continue;
      auto const of = [&](Arm from, double nas::FullTraining::* figure) {
        return over_seeds(cell, arm, [&](auto const& run) { return mean_of(run, from, figure); });
      };
      auto const epochs_r = of(Arm::random, &nas::FullTraining::epochs),
                 epochs_o = of(Arm::own, &nas::FullTraining::epochs),
                 epochs_t = of(Arm::transferred, &nas::FullTraining::epochs);
      auto const test_r = of(Arm::random, &nas::FullTraining::test), test_o = of(Arm::own, &nas::FullTraining::test),
                 test_t = of(Arm::transferred, &nas::FullTraining::test);
      // The median over seeds of each seed's ratio of mean epochs.
      auto const ratio = [](std::vector<double> const& over, std::vector<double> const& under) {
        std::vector<double> values;
        for (std::size_t i = 0; i < over.size(); ++i)
          if (std::isfinite(over[i] / under[i])) values.push_back(over[i] / under[i]);
        return cell_of(median(values));
      };
      auto const gain = differences(test_t, test_r);
      table.add_row({cell.name, arm, cell_of(mean(finite(epochs_r))), cell_of(mean(finite(epochs_o))),
                     cell_of(mean(finite(epochs_t))), ratio(epochs_r, epochs_t), ratio(epochs_o, epochs_t),
                     cell_of(mean(finite(test_r))), cell_of(mean(finite(test_o))), cell_of(mean(finite(test_t))),
                     cell_of(mean(gain)), gain.empty() ? Cell() : Cell(signed_rank_test(gain).less)});
    }
  return table;
}

ReportDocument transfer_report(std::vector<TransferCell> const& cells, TransferPlan const& plan,
                               Provenance const& provenance)
{
  std::string const setting = concat(
      plan.seeds, " paired seeds, ", plan.evaluations, " candidates each, aging evolution with N = ", plan.population,
      " and S = ", plan.sample, ", donor: ", plan.provider, " (scale ", plan.scale, ").");
  ReportDocument report("weight-transfer", "nasturtium: selective weight transfer");
  report.lead(cells.size() == 1 ? concat(cells.front().name, ": ", setting) : setting);
  report.heading("Scores at equal epochs");
  report.paragraph(concat("Validation accuracy: of the best candidate, of the best ", plan.top,
                          " (mean), of all (median); gains over none are means of paired seeds, with Wilcoxon's exact "
                          "p. Published (CLUSTER 2021): better candidates at equal epochs."));
  report.table("scores", transfer_scores(cells, plan));
  for (auto const& cell : cells)
    report.plot(cell.name, progress_plot(cell, plan),
                "Scores of candidates that inherit include what their ancestors learnt; the controls below tell how "
                "much of it is longer training.");
  report.heading("Full training of the best");
  report.paragraph(concat("Epochs to the early stop (at most ", plan.full.most_epochs, ", patience ",
                          plan.full.patience, ", min delta ", shortest(plan.full.min_delta), ") of the best ", plan.top,
                          ", from random weights (R), from their own after an evaluation from scratch (O), from those "
                          "that the search left (T). Published: R/T 1.4-1.5."));
  report.table("full", transfer_full(cells));
  report.heading("Controls");
  report.paragraph("The score again from scratch, and from scratch for as many epochs as the lineage was trained: a "
                   "gain that does not survive it is only longer training.");
  report.table("controls", controls_table(cells, plan));
  report.heading("Rank correlation of scores with full training");
  report.paragraph("Candidates of the first seed over the whole range of scores, trained fully from random weights.");
  report.table("ranks", ranks_table(cells));
  report.heading("Cost");
  report.paragraph("Per candidate; whole files: what one checkpoint per candidate would take.");
  report.table("overhead", overhead_table(cells));
  if (std::any_of(cells.begin(), cells.end(), [](auto const& cell) { return !cell.together.empty(); })) {
    report.heading("Transfer and prediction together");
    report.paragraph(concat("Searches of ", plan.together_epochs,
                            " epochs a candidate: plain, with weights by lcs from the parent, with the engine "
                            "nasturtium that stops candidates, with both. Means over seeds; best: fitness (with an "
                            "engine it may be a prediction), and the best accuracy that was measured."));
    report.table("together", together_table(cells));
  }
  report.provenance(provenance);
  return report;
}

} // namespace nasturtium::cli
