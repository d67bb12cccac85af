// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "time_estimator.hpp"

#include "timing.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/estimator/backfill.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/families.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/memory.hpp>
#include <nasturtium/estimator/step_model.hpp>
#include <nasturtium/estimator/transfer.hpp>
#include <nasturtium/estimator/wall_time.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace estimator;

// Lineages of networks that were not bred: far from the founders' small numbers.
constexpr std::int64_t tests_lineage = 1'000'000'000, families_lineage = 2'000'000'000;

/// The constants as probed when the folder was made.
Device device_of(std::string const& folder, nn::TrainerOptions const& trainer)
{
  std::string const path = (fs::path(folder) / "device.json").string();
  if (!is_file(path)) write_file(path, to_json(probe_device(trainer, device_name(trainer))));
  return parse_device(read_file(path), path);
}

std::vector<Sample> family_samples(EstimatorPlan const& plan)
{
  std::vector<Sample> samples;
  std::int64_t lineage = families_lineage;
  for (auto const& family : family_names()) {
    ++lineage; // one family never stands on both sides of a split
    for (auto& workload : family_networks(family, plan.max_eighths)) {
      Sample sample;
      sample.workload = std::move(workload);
      sample.strategy = family;
      sample.lineage = lineage;
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

MeasureOptions measure_options(EstimatorPlan const& plan)
{
  auto options = measure_preset(plan.measure);
  options.cap_step_seconds = plan.cap_step_seconds;
  return options;
}

// ---- fitting and testing

double predicted_seconds(Estimator const& estimator, Example const& example)
{
  return estimator.predict(example.description, example.device).seconds;
}

/// What a fitted estimator says of examples, beside what was measured.
struct Predictions
{
  std::vector<double> predicted, measured;
  ErrorMetrics metrics() const { return error_metrics(predicted, measured); }
};

Predictions predictions(Estimator const& estimator, std::vector<Example> const& examples)
{
  Predictions result;
  for (auto const& example : examples) {
    result.predicted.push_back(predicted_seconds(estimator, example));
    result.measured.push_back(example.seconds);
  }
  return result;
}

std::unique_ptr<Estimator> fitted(std::string const& method, Level level, std::vector<Example> const& examples,
                                  std::uint64_t seed)
{
  auto estimator = make_estimator(method, level);
  estimator->fit(examples, seed);
  return estimator;
}

/// A method on a level, as the tables call it.
struct Contender
{
  std::string method;
  Level level;
  std::string text() const { return concat(method, ", ", name(level)); }
};

/// All methods; the first two are the reconstruction's own.
std::vector<Contender> const contenders{
    {"paper-mlp", Level::brief},      {"paper-mlp", Level::rich},    {"log-linear", Level::rich},
    {"nnls-roofline", Level::rich},   {"trees", Level::rich},        {"trees-ratio", Level::physics},
    {"quantile-mlp", Level::physics}, {"ensemble5", Level::physics}, {"li-linear", Level::rich},
    {"neusight-u", Level::physics},   {"layer-sum", Level::physics}, {"nasturtium", Level::physics}};
/// Those that are trained on every arm's small archive.
std::vector<Contender> const small_contenders{
    {"paper-mlp", Level::brief}, {"paper-mlp", Level::rich}, {"nasturtium", Level::physics}};

std::vector<Example> examples_of(std::vector<Timed> const& archive, Device const& device)
{
  std::vector<Example> all;
  for (auto const& it : archive)
    all.push_back({it.description, device, it.seconds, it.lineage});
  return all;
}

double cost_of(std::vector<Timed> const& archive)
{
  return std::accumulate(archive.begin(), archive.end(), 0.0,
                         [](double sum, Timed const& it) { return sum + it.cost_seconds; });
}

/// The beginning of an archive that costs at most so many seconds, two networks at least.
std::vector<Timed> within(std::vector<Timed> archive, double seconds)
{
  double spent = 0;
  std::size_t count = 0;
  while (count < archive.size() && (spent += archive[count].cost_seconds) <= seconds)
    ++count;
  archive.resize(std::max<std::size_t>(std::min<std::size_t>(2, archive.size()), count));
  return archive;
}

struct TestSet
{
  std::string name;
  std::vector<Example> examples;
};

std::vector<TestSet> test_sets(EstimatorRun const& run)
{
  auto const& own = run.devices.front();
  std::vector<TestSet> sets{{"a: random", examples(own.tests)}, {"b: families", examples(own.families)}};
  if (auto bred = examples(run.evolved); !bred.empty()) sets.push_back({"c: evolved", std::move(bred)});
  return sets;
}

EvolvedSet const* baseline_of(EstimatorRun const& run, EvolvedSet const& set)
{
  for (auto const& other : run.sets)
    if (other.arm.generator == set.arm.generator && other.seed == set.seed && other.arm.strategy.starts_with("random"))
      return &other;
  return nullptr;
}

/// MAPE, percent, of every arm, seed, contender, rule of budget and test set.
struct ArmError
{
  EvolvedSet const* set;
  std::size_t contender, test;
  bool equal_seconds;
  double mape;
};

std::vector<ArmError> arm_errors(EstimatorRun const& run, std::vector<TestSet> const& tests)
{
  auto const& device = run.devices.front().device;
  std::vector<ArmError> errors;
  Progress progress("fitting", static_cast<std::int64_t>(run.sets.size()), "archives");
  for (auto const& set : run.sets) {
    auto const* const base = baseline_of(run, set);
    for (bool const equal_seconds : {false, true}) {
      if (equal_seconds && !base) continue;
      auto const rows = equal_seconds ? within(set.archive, cost_of(base->archive)) : set.archive;
      for (std::size_t c = 0; c < small_contenders.size(); ++c) {
        auto const model = fitted(small_contenders[c].method, small_contenders[c].level, examples_of(rows, device),
                                  static_cast<std::uint64_t>(set.seed));
        for (std::size_t t = 0; t < tests.size(); ++t)
          errors.push_back({&set, c, t, equal_seconds, 100 * predictions(*model, tests[t].examples).metrics().mape});
      }
    }
    progress.advance();
  }
  return errors;
}

Table strategies_table(std::vector<ArmError> const& errors, std::vector<TestSet> const& tests,
                       EstimatorPlan const& plan)
{
  Table table({{"generator"},
               {"strategy"},
               {"estimator"},
               {"test set"},
               {"budget"},
               {"seeds"},
               {"MAPE %", 1},
               {"low", 1},
               {"high", 1},
               {"minus random", 1},
               {"95 % low", 1},
               {"95 % high", 1},
               {"wins %", 0}});
  for (std::size_t c = 0; c < small_contenders.size(); ++c)
    for (std::size_t t = 0; t < tests.size(); ++t)
      for (bool const equal_seconds : {false, true})
        for (auto const& arm : plan.arms) {
          std::vector<double> values, differences;
          for (auto const& it : errors) {
            if (it.contender != c || it.test != t || it.equal_seconds != equal_seconds || it.set->arm != arm) continue;
            values.push_back(it.mape);
            for (auto const& base : errors)
              if (base.contender == c && base.test == t && base.equal_seconds == equal_seconds &&
                  base.set->seed == it.set->seed && base.set->arm.generator == arm.generator &&
                  base.set->arm.strategy.starts_with("random") && !(base.set->arm == arm))
                differences.push_back(it.mape - base.mape);
          }
          if (values.empty()) continue;
          auto const [low, high] = bootstrap_mean(values, 0.95);
          std::vector<Cell> row{arm.generator,
                                arm.strategy,
                                small_contenders[c].text(),
                                tests[t].name,
                                equal_seconds ? "seconds" : "count",
                                static_cast<std::int64_t>(values.size()),
                                mean(values),
                                low,
                                high};
          if (!differences.empty()) {
            auto const [less, more] = bootstrap_mean(differences, 0.95);
            auto const wins = std::count_if(differences.begin(), differences.end(), [](double d) { return d < 0; });
            row.insert(row.end(), {mean(differences), less, more,
                                   100.0 * static_cast<double>(wins) / static_cast<double>(differences.size())});
          }
          table.add_row(std::move(row));
        }
  return table;
}

/// The reconstruction's own estimator on random test networks, for the page.
Table strategies_summary(std::vector<ArmError> const& errors, EstimatorPlan const& plan)
{
  Table table({{"generator"},
               {"strategy"},
               {"short", 1},
               {"short, seconds", 1},
               {"rich", 1},
               {"rich, seconds", 1},
               {"nasturtium", 1}});
  for (auto const& arm : plan.arms) {
    std::vector<Cell> row{arm.generator, arm.strategy};
    for (auto const& [contender, equal_seconds] : {std::pair{std::size_t{0}, false},
                                                   {std::size_t{0}, true},
                                                   {std::size_t{1}, false},
                                                   {std::size_t{1}, true},
                                                   {std::size_t{2}, false}}) {
      std::vector<double> values;
      for (auto const& it : errors)
        if (it.contender == contender && it.test == 0 && it.equal_seconds == equal_seconds && it.set->arm == arm)
          values.push_back(it.mape);
      row.push_back(values.empty() ? Cell() : Cell(mean(values)));
    }
    table.add_row(std::move(row));
  }
  return table;
}

/// Error on the probes over timed networks, the mean over seeds.
LinePlot generations_plot(EstimatorRun const& run, EstimatorPlan const& plan, std::string const& generator)
{
  LinePlot plot;
  plot.title = concat("Probe error as training sets grow, ", generator, " generator");
  plot.subtitle = "Mean over seeds of the estimator in the loop (paper-mlp on short features)";
  plot.description = "Mean absolute percentage error on the probe networks over the number of timed networks.";
  plot.x_label = "networks timed";
  plot.y_label = "probe MAPE, %";
  int group = 0;
  for (auto const& arm : plan.arms) {
    if (arm.generator != generator) continue;
    std::map<int, std::vector<double>> points;
    for (auto const& set : run.sets)
      if (set.arm == arm)
        for (auto const& generation : set.log)
          points[generation.networks].push_back(100 * generation.error);
    Series series{arm.strategy, {}, group++, false};
    for (auto const& [networks, values] : points)
      series.points.emplace_back(networks, mean(values));
    plot.series.push_back(std::move(series));
  }
  return plot;
}

Cell percent(double fraction)
{
  return std::isfinite(fraction) ? Cell(100 * fraction) : Cell();
}

std::vector<Column> metric_columns(std::vector<Column> first)
{
  for (Column column : {Column{"networks"}, Column{"MAPE %", 1}, Column{"low", 1}, Column{"high", 1},
                        Column{"median %", 1}, Column{"p90 %", 1}, Column{"p99 %", 1}, Column{"within 10 %", 0},
                        Column{"RMSE ms", 3}, Column{"Spearman", 3}, Column{"bias %", 1}})
    first.push_back(std::move(column));
  return first;
}

void add_metrics(std::vector<Cell>& row, Predictions const& it)
{
  auto const metrics = it.metrics();
  auto const [low, high] = bootstrap_mape(it.predicted, it.measured);
  row.insert(row.end(),
             {metrics.count, percent(metrics.mape), percent(low), percent(high), percent(metrics.median),
              percent(metrics.p90), percent(metrics.p99), percent(metrics.within_10_percent), 1e3 * metrics.rmse,
              std::isfinite(metrics.spearman) ? Cell(metrics.spearman) : Cell(), percent(std::exp(metrics.bias) - 1)});
}

/// Every method trained on all random networks of the device, what fitting and asking cost, and the project's own,
/// which is fitted once for all that follows.
struct Accuracy
{
  Table all = Table(metric_columns({{"estimator"}, {"test set"}}));
  Table brief = Table({{"estimator"},
                       {"(a) MAPE %", 1},
                       {"p90 %", 1},
                       {"Spearman", 3},
                       {"(b) MAPE %", 1},
                       {"p90 %", 1},
                       {"(c) MAPE %", 1},
                       {"p90 %", 1}});
  Table cost = Table({{"estimator"}, {"trained on"}, {"fit s", 2}, {"us/query", 1}});
  std::unique_ptr<Estimator> own;
  ErrorMetrics own_errors; ///< on the first test set
};

Accuracy accuracy_of(EstimatorRun const& run, std::vector<TestSet> const& tests)
{
  Accuracy result;
  auto const train = examples(run.devices.front().pool);
  for (auto const& contender : contenders) {
    Stopwatch const fitting;
    auto model = fitted(contender.method, contender.level, train, 1);
    double const fit_seconds = fitting.seconds();
    std::vector<Cell> brief{contender.text()};
    for (auto const& test : tests) {
      std::vector<Cell> row{contender.text(), test.name};
      auto const guesses = predictions(*model, test.examples);
      auto const errors = guesses.metrics();
      add_metrics(row, guesses);
      result.all.add_row(std::move(row));
      brief.insert(brief.end(), {percent(errors.mape), percent(errors.p90)});
      if (&test != &tests.front()) continue;
      brief.emplace_back(errors.spearman);
      result.own_errors = errors;
    }
    result.brief.add_row(std::move(brief));
    Stopwatch const asking;
    constexpr int rounds = 5;
    for (int round = 0; round < rounds; ++round)
      predictions(*model, tests.front().examples);
    double const queries = rounds * static_cast<double>(tests.front().examples.size());
    result.cost.add_row(
        {contender.text(), static_cast<std::int64_t>(train.size()), fit_seconds, 1e6 * asking.seconds() / queries});
    result.own = std::move(model); // it is the last of them
  }
  return result;
}

std::vector<NamedExample> named(Archive const& archive)
{
  std::vector<NamedExample> all;
  auto const rows = examples(archive);
  std::size_t next = 0;
  for (auto const& sample : archive.samples)
    if (sample.measurement.status == MeasureStatus::timed)
      all.push_back({sample.workload.architecture.name, rows.at(next++)});
  return all;
}

double share(std::vector<bool> const& hits)
{
  return static_cast<double>(std::count(hits.begin(), hits.end(), true)) / static_cast<double>(hits.size());
}

/// Error of a model that saw random networks alone, and of one that saw the other families too.
Table families_table(EstimatorRun const& run, StepModel const& model)
{
  Table table({{"family"},
               {"networks"},
               {"random only: MAPE %", 1},
               {"median %", 1},
               {"bias %", 1},
               {"in 90 %", 0},
               {"warned %", 0},
               {"with other families: MAPE %", 1}});
  auto const& own = run.devices.front();
  auto const train = examples(own.pool);
  auto const all = examples(own.families);
  for (auto const& family : family_names()) {
    std::vector<Example> held, others = train;
    std::size_t next = 0;
    for (auto const& sample : own.families.samples) {
      if (sample.measurement.status != MeasureStatus::timed) continue;
      (sample.strategy == family ? held : others).push_back(all.at(next++));
    }
    if (held.empty()) continue;
    Predictions zero;
    std::vector<bool> covered, warned;
    for (auto const& example : held) {
      auto const estimate = model.estimate(example.description, example.device.name);
      auto const [low, high] = model.interval(example.description, example.device.name, 0.9);
      zero.predicted.push_back(estimate.seconds);
      zero.measured.push_back(example.seconds);
      covered.push_back(low <= example.seconds && example.seconds <= high);
      warned.push_back(!estimate.in_range);
    }
    auto const metrics = zero.metrics();
    auto const with_others = predictions(*fitted("nasturtium", Level::physics, others, 1), held).metrics();
    table.add_row({family, metrics.count, percent(metrics.mape), percent(metrics.median),
                   percent(std::exp(metrics.bias) - 1), percent(share(covered)), percent(share(warned)),
                   percent(with_others.mape)});
  }
  return table;
}

Table intervals_table(StepModel const& model, std::vector<TestSet> const& tests)
{
  Table table(
      {{"test set"}, {"networks"}, {"interval %", 0}, {"covered %", 1}, {"width / estimate", 2}, {"warned %", 1}});
  for (auto const& test : tests)
    for (double const level : {0.8, 0.9, 0.98}) {
      std::vector<bool> covered, warned;
      std::vector<double> widths;
      for (auto const& example : test.examples) {
        auto const [low, high] = model.interval(example.description, example.device.name, level);
        auto const estimate = model.estimate(example.description, example.device.name);
        covered.push_back(low <= example.seconds && example.seconds <= high);
        warned.push_back(!estimate.in_range);
        if (std::isfinite(high)) widths.push_back((high - low) / estimate.seconds);
      }
      table.add_row({test.name, static_cast<std::int64_t>(covered.size()), 100 * level, percent(share(covered)),
                     widths.empty() ? Cell() : Cell(median(widths)), percent(share(warned))});
    }
  return table;
}

/// Limits at several risks on the random networks: how often a job would be killed, and how much is asked for.
Table wall_time_table(StepModel const& model, std::vector<TestSet> const& tests)
{
  Table table({{"test set"}, {"risk %", 1}, {"killed %", 1}, {"over-ask", 2}});
  for (auto const& test : tests)
    for (double const risk : {0.01, 0.02, 0.05, 0.1}) {
      std::vector<bool> killed;
      std::vector<double> over;
      for (auto const& example : test.examples) {
        double const limit = model.limit(example.description, example.device.name, risk);
        if (!std::isfinite(limit)) continue;
        killed.push_back(limit < example.seconds);
        over.push_back(limit / example.seconds);
      }
      if (killed.empty()) continue;
      table.add_row({test.name, 100 * risk, percent(share(killed)), median(over)});
    }
  return table;
}

/// The queue under three rules of asking, jobs with the errors of this model.
Table backfill_table(EstimatorRun const& run, StepModel const& model, EstimatorPlan const& plan)
{
  Table table({{"rule"},
               {"mean wait h", 2},
               {"bounded slowdown", 1},
               {"killed %", 2},
               {"over-ask", 2},
               {"utilisation %", 1},
               {"lost %", 2}});
  auto const tests = examples(run.devices.front().tests);
  std::vector<double> errors; // predicted over measured, of networks that nothing was fitted on
  for (auto const& example : tests)
    errors.push_back(model.estimate(example.description, example.device.name).seconds / example.seconds);
  StreamOptions options;
  options.jobs = plan.scale == "smoke" ? 500 : 4000;
  auto const with_errors = [&](std::vector<nasturtium::estimator::Job> jobs, std::uint64_t seed) {
    Random random(seed);
    for (auto& job : jobs)
      job.predicted = job.run_time * errors[static_cast<std::size_t>(random.below(static_cast<int>(errors.size())))];
    return jobs;
  };
  auto const jobs = with_errors(job_stream(options, plan.seed), plan.seed + 1);
  auto const calibration = with_errors(job_stream(options, plan.seed + 2), plan.seed + 3);
  auto const add = [&](std::string const& rule, std::vector<double> const& requests) {
    auto const it = replay_easy(jobs, requests, options.nodes).summary;
    table.add_row({rule, it.mean_wait / 3600, it.mean_bounded_slowdown, 100 * it.kill_rate, it.over_ask,
                   100 * it.utilisation, 100 * it.lost});
  };
  add("twice the truth", padded_requests(jobs));
  add("suggested, 1 % risk", suggested_requests(jobs, calibration, 0.01));
  add("suggested, 5 % risk", suggested_requests(jobs, calibration, 0.05));
  add("oracle", oracle_requests(jobs));
  return table;
}

/// Estimated against what the stack took, exactly: by its own plan, and by the portable model.
Table memory_table(EstimatorRun const& run, nn::TrainerOptions const& trainer)
{
  Table table(
      {{"model"}, {"networks"}, {"MAPE %", 2}, {"worst under %", 1}, {"under by > 5 %"}, {"above margin %", 1}});
  auto const rules = stack_memory_rules(trainer.backend);
  using Pairs = std::vector<std::pair<Workload, MemoryExample>>;
  auto const pairs_of = [&](std::span<Sample const> samples) {
    Pairs all;
    for (auto const& sample : samples)
      if (sample.measurement.bytes > 0)
        all.push_back({sample.workload,
                       {liveness_memory(sample.workload, rules), static_cast<double>(sample.measurement.bytes)}});
    return all;
  };
  auto const only = [](Pairs const& pairs) {
    std::vector<MemoryExample> all;
    for (auto const& pair : pairs)
      all.push_back(pair.second);
    return all;
  };
  // The plan is of a backend with all its threads.
  auto const& whole = *std::max_element(run.devices.begin(), run.devices.end(),
                                        [](auto const& a, auto const& b) { return a.device.cores < b.device.cores; });
  std::span<Sample const> const pool(whole.pool.samples);
  MemoryModel model;
  model.fit(only(pairs_of(pool.first(pool.size() / 2))));
  model.calibrate(only(pairs_of(pool.subspan(pool.size() / 2))));
  auto const tests = pairs_of(whole.tests.samples);
  auto const add = [&](std::string const& name, auto const& estimate, bool margin) {
    std::vector<double> errors;
    double worst = 0;
    std::int64_t under = 0, above = 0;
    for (auto const& [workload, example] : tests) {
      auto const [point, upper] = estimate(workload, example);
      double const error = point / example.bytes - 1;
      errors.push_back(std::abs(error));
      worst = std::min(worst, error);
      under += error < -0.05;
      above += example.bytes > upper;
    }
    table.add_row({name, static_cast<std::int64_t>(errors.size()), 100 * mean(errors), -100 * worst, under,
                   margin ? Cell(100.0 * static_cast<double>(above) / static_cast<double>(errors.size())) : Cell()});
  };
  add(
      "plan",
      [&](Workload const& workload, MemoryExample const&) {
        auto const planned = planned_memory(workload, trainer.backend);
        double const bytes = planned.total() - planned.overhead; // the batch is not part of what was measured
        return std::pair{bytes, bytes};
      },
      true);
  add(
      "liveness, fitted",
      [&](Workload const&, MemoryExample const& example) {
        auto const it = model.predict(example.terms);
        return std::pair{it.bytes, it.upper};
      },
      true);
  add(
      "four times the parameters and the activations",
      [&](Workload const& workload, MemoryExample const&) {
        auto const inferred = nn::spec::infer(workload.architecture);
        double const bytes =
            4.0 * (4.0 * static_cast<double>(inferred.parameter_count) +
                   static_cast<double>(workload.batch) * static_cast<double>(inferred.activation_values));
        return std::pair{bytes, bytes};
      },
      false);
  return table;
}

bool compute_bound(Example const& example)
{
  auto const it = roofline(example.description, example.device);
  return it.compute > it.memory;
}

/// A model of one device asked about another, after 0 to 50 timings there.
Table transfer_table(EstimatorRun const& run, Estimator const& of_first)
{
  Table table(metric_columns({{"from"}, {"to"}, {"probes"}}));
  for (auto const& from : run.devices) {
    bool const first = &from == &run.devices.front();
    auto const other = first ? nullptr : fitted("nasturtium", Level::physics, examples(from.pool), 1);
    Estimator const& model = first ? of_first : *other;
    for (auto const& to : run.devices) {
      if (&from == &to) continue;
      auto const probes = examples(to.pool), tests = examples(to.tests);
      for (std::size_t const k : {0, 5, 10, 20, 50}) {
        if (k > probes.size()) continue;
        Predictions probed, result;
        std::vector<bool> bound;
        for (std::size_t i = 0; i < k; ++i) {
          probed.predicted.push_back(predicted_seconds(model, probes[i]));
          probed.measured.push_back(probes[i].seconds);
          bound.push_back(compute_bound(probes[i]));
        }
        ProbeScale const scale(ScaleKind::two, probed.predicted, probed.measured, bound);
        for (auto const& example : tests) {
          result.predicted.push_back(scale(predicted_seconds(model, example), compute_bound(example)));
          result.measured.push_back(example.seconds);
        }
        std::vector<Cell> row{from.device.name, to.device.name, static_cast<std::int64_t>(k)};
        add_metrics(row, result);
        table.add_row(std::move(row));
      }
    }
  }
  return table;
}

Table devices_table(EstimatorRun const& run)
{
  Table table({{"device"},
               {"GFLOP/s", 1},
               {"GB/s", 1},
               {"launch us", 2},
               {"threads"},
               {"networks"},
               {"median ms", 3},
               {"spread of repeats %", 1}});
  for (auto const& it : run.devices) {
    std::vector<double> seconds, spreads;
    for (auto const* const archive : {&it.pool, &it.tests, &it.families})
      for (auto const& sample : archive->samples)
        if (sample.measurement.status == MeasureStatus::timed) {
          seconds.push_back(sample.seconds());
          spreads.push_back(sample.measurement.sd / sample.measurement.median);
        }
    table.add_row({it.device.name, 1e-9 * it.device.peak_flops, 1e-9 * it.device.bandwidth,
                   1e6 * it.device.launch_seconds, std::int64_t{it.device.cores},
                   static_cast<std::int64_t>(seconds.size()), 1e3 * median(seconds), 100 * median(spreads)});
  }
  return table;
}

Table timing_cost_table(EstimatorRun const& run, EstimatorPlan const& plan)
{
  Table table({{"generator"}, {"strategy"}, {"archives"}, {"networks", 0}, {"failures", 1}, {"device s", 1}});
  for (auto const& arm : plan.arms) {
    std::vector<double> networks, failures, seconds;
    for (auto const& set : run.sets)
      if (set.arm == arm && !set.log.empty()) {
        networks.push_back(set.log.back().networks);
        failures.push_back(set.log.back().failures);
        seconds.push_back(cost_of(set.archive));
      }
    if (networks.empty()) continue;
    table.add_row({arm.generator, arm.strategy, static_cast<std::int64_t>(networks.size()), mean(networks),
                   mean(failures), mean(seconds)});
  }
  return table;
}

/// Estimated over measured, in decades; the diagonal is perfection.
LinePlot scatter(EstimatorRun const& run, Estimator const& model)
{
  LinePlot plot;
  plot.title = "Estimated and measured step times";
  plot.subtitle = "Decimal logarithms of milliseconds, test networks; the line: perfection";
  plot.description = "Logarithm of the estimated over the logarithm of the measured milliseconds of a step.";
  plot.x_label = "measured, log10 ms";
  plot.y_label = "estimated, log10 ms";
  double low = 10, high = -10;
  int group = 0;
  for (auto const& test : test_sets(run))
    for (auto const& example : test.examples) {
      double const x = std::log10(1e3 * example.seconds), y = std::log10(1e3 * predicted_seconds(model, example));
      low = std::min({low, x, y});
      high = std::max({high, x, y});
      plot.series.push_back({"", {{x, y}}, group, false});
      if (&example == &test.examples.back()) {
        plot.series.back().name = test.name;
        ++group;
      }
    }
  plot.series.insert(plot.series.begin(), {"", {{low, low}, {high, high}}, 5, true});
  return plot;
}

} // namespace

EstimatorPlan estimator_plan(std::string const& scale)
{
  EstimatorPlan plan;
  plan.scale = scale;
  plan.threads = {1, 2};
  for (std::string const generator : {"uniform", "skewed"}) {
    plan.arms.push_back({generator == "uniform" ? "random" : "random-skewed", generator});
    for (std::string const strategy : {"hard", "hard-half", "easy", "contribution", "disagreement", "spread"})
      plan.arms.push_back({strategy, generator});
  }
  plan.ranges = laptop_ranges();
  auto& ranges = plan.ranges;
  if (scale == "smoke") {
    plan.arms = {{"random", "uniform"}, {"hard", "uniform"}, {"disagreement", "uniform"}};
    ranges.max_log2_batch = 3;
    ranges.sides = {8, 16};
    ranges.max_genes = 8;
    ranges.max_filters = 16;
    ranges.max_units = 64;
    ranges.caps.step_flops = 2e7;
  } else if (scale == "laptop") {
    plan.seeds = 10;
    plan.networks = 192;
    plan.population = plan.founders = 32;
    plan.probes = 100;
    plan.tests = 300;
    plan.pool = 12000;
    plan.max_eighths = 4;
    plan.cap_step_seconds = 0.1;
  } else if (scale == "node" || scale == "paper") {
    plan.threads = {0};
    plan.ranges = {};
    plan.seeds = 10;
    plan.networks = scale == "node" ? 500 : 2000;
    plan.population = plan.founders = 64;
    plan.probes = plan.tests = 200;
    plan.pool = 4000;
    plan.max_eighths = 8;
    plan.measure = scale == "node" ? "quick" : "full";
    plan.cap_step_seconds = 1;
  } else {
    fail("--scale must be smoke, laptop, node or paper, got ", quoted(scale));
  }
  return plan;
}

std::vector<PlannedTraining> estimator_work(EstimatorPlan const& plan)
{
  auto const devices = static_cast<double>(plan.threads.size());
  double const random = devices * (plan.pool + plan.tests) + plan.probes,
               evolved = static_cast<double>(plan.arms.size()) * plan.seeds * plan.networks;
  PlannedTraining kind;
  kind.name = concat(std::llround(random), " random networks on ", plan.threads.size(), " devices, ", plan.arms.size(),
                     " strategies x ", plan.seeds, " seeds x ", plan.networks, " networks, steps of at most ",
                     1e3 * plan.cap_step_seconds, " ms");
  for (auto& sample : random_samples("uniform", 8, plan.ranges, 17, 0))
    kind.sample.push_back(std::move(sample.workload));
  kind.networks = random + evolved;
  kind.timed = true;
  kind.measure = plan.measure;
  return {kind};
}

std::optional<EstimatorRun> run_time_estimator(EstimatorPlan const& plan, nn::TrainerOptions const& trainer)
{
  require(!plan.threads.empty(), "at least one device is needed");
  EstimatorRun run;
  auto const trainer_with = [&](int threads) {
    auto one = trainer;
    one.threads = threads;
    return one;
  };
  auto const random = [&](int count, std::uint64_t stream, std::int64_t lineage) {
    return random_samples("uniform", count, plan.ranges, plan.seed + stream, lineage);
  };
  std::string first_folder;
  for (int const threads : plan.threads) {
    auto const one = trainer_with(threads);
    std::string const folder = (fs::path(plan.out) / device_name(one)).string();
    create_directories(folder);
    if (first_folder.empty()) first_folder = folder;
    DeviceTimings timings;
    timings.device = device_of(folder, one);
    auto const archive = [&](char const* name, std::vector<Sample> const& samples, Archive& into) {
      auto got = timed((fs::path(folder) / name).string(), samples, measure_options(plan), one, timings.device);
      if (got) into = std::move(*got);
      return got.has_value();
    };
    if (!archive("tests.jsonl", random(plan.tests, 1, tests_lineage), timings.tests) ||
        !archive("families.jsonl", family_samples(plan), timings.families) ||
        !archive("pool.jsonl", random(plan.pool, 2, 0), timings.pool))
      return std::nullopt;
    run.devices.push_back(std::move(timings));
  }
  auto const one = trainer_with(plan.threads.front());
  auto const& device = run.devices.front().device;
  auto const probes = timed((fs::path(first_folder) / "probes.jsonl").string(),
                            random(plan.probes, 3, 3 * tests_lineage), measure_options(plan), one, device);
  if (!probes) return std::nullopt;
  auto const probe_examples = examples(*probes);
  std::string const folder = (fs::path(first_folder) / "evolved").string();
  create_directories(folder);
  auto const archive_of = [&](EstimatorArm const& arm, int seed) {
    return (fs::path(folder) / concat(arm.strategy, "-", arm.generator, "-", seed, ".jsonl")).string();
  };
  Progress progress("evolving",
                    static_cast<std::int64_t>(plan.seeds + 1) * plan.networks *
                        static_cast<std::int64_t>(plan.arms.size()),
                    "networks");
  auto const options_of = [&](EstimatorArm const& arm, int seed) {
    CoevolutionOptions options;
    options.strategy = arm.strategy;
    options.generator = arm.generator;
    options.population = plan.population;
    options.founders = plan.founders;
    options.networks = plan.networks;
    options.seed = plan.seed * 1000 + static_cast<std::uint64_t>(seed);
    options.ranges = plan.ranges;
    return options;
  };
  // Seed by seed, arm by arm: what drifts on the machine meets all arms alike. Seed 0 is the test set (c).
  for (int seed = 0; seed <= plan.seeds; ++seed)
    for (auto const& arm : plan.arms) {
      if (seed == 0 && arm.strategy != "hard" && arm.strategy != "disagreement") continue;
      auto const set = coevolved(archive_of(arm, seed), options_of(arm, seed), probe_examples, measure_options(plan),
                                 one, device, [&](Coevolution const&) { progress.advance(); });
      if (!set) return std::nullopt;
      if (seed > 0) {
        run.sets.push_back({arm, seed, set->archive(), set->log()});
      } else {
        auto const bred = read_archive(archive_of(arm, 0));
        run.evolved.provenances = bred.provenances;
        for (auto const& sample : bred.samples)
          if (sample.generation > 0) run.evolved.samples.push_back(sample); // founders are random networks
      }
    }
  return run;
}

ReportDocument time_estimator_report(EstimatorRun const& run, EstimatorPlan const& plan,
                                     nn::TrainerOptions const& trainer, Provenance const& provenance)
{
  auto const tests = test_sets(run);
  auto const& own = run.devices.front().device;
  ReportDocument report("time-estimator", "nasturtium: how long a training step takes");
  auto const accuracy = accuracy_of(run, tests);
  auto const model = StepModel::fit(named(run.devices.front().pool), {});
  report.lead(concat("From the description alone, the step of a random network on ", own.name, " is estimated within ",
                     fixed(100 * accuracy.own_errors.mape, 1), " % on average (",
                     fixed(100 * accuracy.own_errors.p90, 1), " % at the 90th percentile), after ",
                     examples(run.devices.front().pool).size(), " timed networks (scale ", plan.scale, ")."));
  report.paragraph(
      "Published (Pinel et al., OLA 2020): a training set of networks that evolves with the estimator does "
      "better than a near-random one. No number is published; what follows is a reconstruction, and "
      "whichever side wins is told.");
  report.heading("Devices");
  report.paragraph("One processor with another number of threads is another device. Constants: the fastest of several "
                   "matrix products and triads, and an empty launch.");
  report.table("devices", devices_table(run));
  report.heading("Accuracy by method");
  report.paragraph("Trained on all random networks of the first device, none of which is in a test set. (a) other "
                   "random networks, (b) networks as people draw them, (c) networks that were bred in runs of their "
                   "own. Low and high: 95 % bootstrap over networks. Bias: median of estimated over measured.");
  report.table("accuracy-short", accuracy.brief, Shown::page);
  report.table("accuracy", accuracy.all, Shown::markdown);
  report.plot("scatter", scatter(run, *accuracy.own), "Method nasturtium on the test sets.");
  report.heading("Evolved or random training sets");
  report.paragraph(concat("Equal count: ", plan.networks, " networks each, ", plan.seeds,
                          " seeds. Equal seconds: archives cut at the device seconds that random took with the same "
                          "seed and generator. Differences are means of paired seeds with 95 % bootstrap intervals; "
                          "below 0 the strategy beats random; wins: the share of seeds. In short: MAPE % on random "
                          "networks (a) of paper-mlp on short and rich features and of nasturtium."));
  auto const errors = arm_errors(run, tests);
  report.table("strategies", strategies_table(errors, tests, plan), Shown::markdown);
  report.table("strategies-short", strategies_summary(errors, plan), Shown::page);
  for (std::string const generator : {"uniform", "skewed"})
    if (std::any_of(plan.arms.begin(), plan.arms.end(), [&](auto const& arm) { return arm.generator == generator; }))
      report.plot("generations-" + generator, generations_plot(run, plan, generator),
                  "Each generation adds networks; the probes are the same for all.");
  report.table("timing-cost", timing_cost_table(run, plan));
  report.heading("Families that were not seen");
  report.paragraph("A model that learnt from random networks alone, asked about families of networks; in 90 %: share "
                   "within its 90 % interval; warned: it said that the network is out of its range.");
  report.table("families", families_table(run, model));
  report.heading("Intervals and wall time");
  report.paragraph("Intervals by split conformal prediction; limits are one-sided. Over-ask: median limit over truth.");
  report.table("intervals", intervals_table(model, tests));
  report.table("wall_time", wall_time_table(model, tests));
  report.paragraph("A synthetic queue under EASY backfilling, jobs with the errors that this model has on random "
                   "networks; a job that outlives its request is killed and comes back with twice the request.");
  report.table("backfill", backfill_table(run, model, plan));
  report.heading("Memory");
  report.paragraph("Against the bytes that the stack took for the step. Plan: the stack's own arithmetic without "
                   "allocating. Liveness: the portable model with fitted factors and a 99 % margin.");
  report.table("memory", memory_table(run, trainer));
  if (run.devices.size() > 1) {
    report.heading("From one device to another");
    report.paragraph("A model fitted on one device, corrected by a few timings on the other.");
    report.table("transfer", transfer_table(run, *accuracy.own));
  }
  report.heading("Cost");
  report.table("cost", accuracy.cost);
  report.provenance(provenance);
  return report;
}

} // namespace nasturtium::cli
