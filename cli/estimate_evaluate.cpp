// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium estimate evaluate: methods on public layer tables or on archives of this project, split at random or by
// device.
#include "estimate_evaluate.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/estimator/archive.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/layer_table.hpp>
#include <nasturtium/estimator/regression.hpp>
#include <nasturtium/estimator/transfer.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <numeric>

namespace nasturtium::cli {

namespace {

using namespace estimator;

struct Options
{
  std::vector<std::string> files, methods{"log-linear", "trees", "trees-ratio", "nasturtium"};
  std::string format = "archive", hold_out, level = "physics", csv;
  std::vector<int> probes{0, 5, 10, 20, 50};
  std::int64_t rows = 12000, test_rows = 5000;
  double test_share = 0.2;
  std::uint64_t seed = 1;
  bool json = false;
};

/// Rows of one device with what a split needs.
struct DeviceRows
{
  std::string device;
  std::vector<std::vector<double>> features;
  std::vector<double> roofline, seconds;
};

std::vector<std::size_t> permutation(std::size_t count, std::uint64_t seed, std::uint32_t stream)
{
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) {
    auto const draw = random_block(seed, Purpose::split, stream, i).word[0];
    std::swap(order[i - 1], order[to_below(draw, static_cast<std::uint32_t>(i))]);
  }
  return order;
}

/// `reference` sees what the reference's methods see; the other features are this project's.
std::vector<DeviceRows> table_rows(std::vector<LayerTable> const& tables, LayerFeatures features)
{
  std::vector<DeviceRows> all;
  for (auto const& table : tables) {
    DeviceRows& rows = all.emplace_back();
    rows.device = table.device.name;
    for (auto const& row : table.rows) {
      rows.features.push_back(layer_features(row, table.kind, table.device, features));
      rows.roofline.push_back(roofline(describe(row, table.kind), table.device).seconds());
      rows.seconds.push_back(row.seconds);
    }
  }
  return all;
}

void add_row(FeatureRows& into, DeviceRows const& from, std::size_t i)
{
  into.add(from.features[i], from.roofline[i], from.seconds[i]);
  into.devices.push_back(from.device);
}

/// The result of a method on a split.
struct Outcome
{
  std::vector<double> predicted, measured;
  double fit_seconds = 0, query_seconds = 0;
};

Table make_table()
{
  return Table({{"method"},
                {"tested on"},
                {"probes"},
                {"train"},
                {"test"},
                {"MAPE %", 1},
                {"median %", 1},
                {"p90 %", 1},
                {"p99 %", 1},
                {"RMSE ms", 3},
                {"Spearman", 3},
                {"fit s", 1},
                {"us/query", 1}});
}

void add_outcome(Table& table, std::string const& method, std::string const& device, Cell probes, std::size_t trained,
                 Outcome const& it)
{
  auto const metrics = error_metrics(it.predicted, it.measured);
  table.add_row({method, device, std::move(probes), static_cast<std::int64_t>(trained), metrics.count,
                 100 * metrics.mape, 100 * metrics.median, 100 * metrics.p90, 100 * metrics.p99, 1e3 * metrics.rmse,
                 metrics.spearman, it.fit_seconds, 1e6 * it.query_seconds / static_cast<double>(metrics.count)});
}

Outcome asked(Regressor const& model, FeatureRows const& tests)
{
  Outcome outcome;
  outcome.measured = tests.seconds;
  Stopwatch const watch;
  for (std::size_t i = 0; i < tests.size(); ++i)
    outcome.predicted.push_back(model.predict(tests.row(i), tests.roofline[i]).seconds);
  outcome.query_seconds = watch.seconds();
  return outcome;
}

/// Rows of a device for training and for testing, drawn at random.
std::pair<std::vector<std::size_t>, std::vector<std::size_t>> split_rows(DeviceRows const& rows, Options const& options,
                                                                         std::uint32_t stream)
{
  auto const order = permutation(rows.seconds.size(), options.seed, stream);
  std::vector<std::size_t> train, test;
  auto const wanted = std::min<std::size_t>(static_cast<std::size_t>(options.test_rows), order.size() / 4);
  for (std::size_t i = 0; i < order.size(); ++i)
    if (i < wanted)
      test.push_back(order[i]);
    else if (train.size() < static_cast<std::size_t>(options.rows))
      train.push_back(order[i]);
  require(!train.empty() && !test.empty(), rows.device, ": ", rows.seconds.size(), " rows are too few to split");
  return {std::move(train), std::move(test)};
}

/// One model of all devices, tested on rows of each that it did not see.
void random_split(std::string const& method, std::vector<DeviceRows> const& devices,
                  std::vector<std::string> const& names, Options const& options, Table& table)
{
  FeatureRows train, all;
  std::vector<FeatureRows> tests;
  train.names = all.names = names;
  for (std::size_t d = 0; d < devices.size(); ++d) {
    auto const [in, out] = split_rows(devices[d], options, static_cast<std::uint32_t>(d));
    for (auto const i : in)
      add_row(train, devices[d], i);
    auto& test = tests.emplace_back();
    test.names = names;
    for (auto const i : out) {
      add_row(test, devices[d], i);
      add_row(all, devices[d], i);
    }
  }
  auto const model = make_regressor(method);
  Stopwatch const watch;
  model->fit(train, options.seed);
  double const seconds = watch.seconds();
  auto whole = asked(*model, all);
  whole.fit_seconds = seconds;
  if (devices.size() > 1)
    for (std::size_t d = 0; d < devices.size(); ++d) {
      auto part = asked(*model, tests[d]);
      part.fit_seconds = seconds;
      add_outcome(table, method, devices[d].device, Cell(), train.size(), part);
    }
  add_outcome(table, method, devices.size() > 1 ? "all" : devices.front().device, Cell(), train.size(), whole);
}

/// A model of the other devices, tested on the one that is held out, with its estimates scaled by the median error of a
/// few timings there.
void hold_out(std::string const& method, std::vector<DeviceRows> const& devices, std::vector<std::string> const& names,
              std::string const& held, Options const& options, Table& table)
{
  FeatureRows train, test;
  train.names = test.names = names;
  DeviceRows const* target = nullptr;
  for (std::size_t d = 0; d < devices.size(); ++d) {
    if (devices[d].device == held) {
      target = &devices[d];
      continue;
    }
    for (auto const i : split_rows(devices[d], options, static_cast<std::uint32_t>(d)).first)
      add_row(train, devices[d], i);
  }
  require(target != nullptr && train.size() > 0, "--hold-out: ", quoted(held), " is not one of several devices");
  auto const order = permutation(target->seconds.size(), options.seed, 99);
  auto const most = static_cast<std::size_t>(*std::max_element(options.probes.begin(), options.probes.end()));
  require(order.size() > 2 * most, held, ": too few rows for ", most, " probes");
  auto const wanted = std::min<std::size_t>(order.size() - most, static_cast<std::size_t>(options.test_rows));
  for (std::size_t i = 0; i < wanted; ++i)
    add_row(test, *target, order[most + i]); // probes are never in the test part
  auto const model = make_regressor(method);
  Stopwatch const watch;
  model->fit(train, options.seed);
  double const seconds = watch.seconds();
  auto const zero = asked(*model, test);
  for (int const k : options.probes) {
    std::vector<double> errors;
    for (int i = 0; i < k; ++i) {
      auto const row = order[static_cast<std::size_t>(i)];
      errors.push_back(
          std::log(target->seconds[row] / model->predict(target->features[row], target->roofline[row]).seconds));
    }
    double const scale = errors.empty() ? 1 : std::exp(median(std::move(errors)));
    auto outcome = zero;
    outcome.fit_seconds = seconds;
    for (double& predicted : outcome.predicted)
      predicted *= scale;
    add_outcome(table, method, held, std::int64_t{k}, train.size(), outcome);
  }
}

/// Networks of archives: whole lineages are held out, or a device.
void evaluate_archives(Options const& options, Table& table)
{
  auto const level = parse_level(options.level, "--level");
  for (auto const& method : options.methods)
    make_estimator(method, level); // bad names are told before anything is read
  std::vector<Example> all;
  for (auto const& file : options.files) {
    auto const rows = examples(read_archive(file));
    all.insert(all.end(), rows.begin(), rows.end());
  }
  std::vector<std::string> devices;
  for (auto const& example : all)
    if (std::find(devices.begin(), devices.end(), example.device.name) == devices.end())
      devices.push_back(example.device.name);
  auto const run = [&](std::string const& method, std::vector<Example> const& train, std::vector<Example> const& test,
                       std::string const& name, std::vector<Example> const* probes) {
    require(!train.empty() && !test.empty(), name, ": too few networks to split");
    auto const model = make_estimator(method, level);
    Stopwatch fitting;
    model->fit(train, options.seed);
    Outcome outcome;
    outcome.fit_seconds = fitting.seconds();
    Stopwatch const asking;
    for (auto const& example : test) {
      outcome.predicted.push_back(model->predict(example.description, example.device).seconds);
      outcome.measured.push_back(example.seconds);
    }
    outcome.query_seconds = asking.seconds();
    if (!probes) {
      add_outcome(table, model->name(), name, Cell(), train.size(), outcome);
      return;
    }
    for (int const k : options.probes) {
      if (static_cast<std::size_t>(k) > probes->size()) continue;
      DeviceTransfer const transfer(*model, {probes->data(), static_cast<std::size_t>(k)}, TransferRule::two_scales);
      auto corrected = outcome;
      for (std::size_t i = 0; i < test.size(); ++i)
        corrected.predicted[i] = transfer.seconds(*model, test[i].description, test[i].device);
      add_outcome(table, model->name(), name, std::int64_t{k}, train.size(), corrected);
    }
  };
  for (auto const& method : options.methods) {
    if (options.hold_out.empty()) {
      std::vector<Example> train, test;
      for (auto const& example : all) {
        auto const draw = random_block(options.seed, Purpose::split, 1000, static_cast<std::uint64_t>(example.lineage));
        (to_unit_float(draw.word[0]) < options.test_share ? test : train).push_back(example);
      }
      run(method, train, test, devices.size() > 1 ? "all" : devices.front(), nullptr);
      continue;
    }
    for (auto const& held : devices) {
      if (options.hold_out != "each" && options.hold_out != held) continue;
      std::vector<Example> train, test, probes;
      std::size_t const most =
          static_cast<std::size_t>(*std::max_element(options.probes.begin(), options.probes.end()));
      for (auto const& example : all)
        (example.device.name != held ? train : probes.size() < most ? probes : test).push_back(example);
      run(method, train, test, held, &probes);
    }
    require(options.hold_out == "each" || std::find(devices.begin(), devices.end(), options.hold_out) != devices.end(),
            "--hold-out: no timings of ", quoted(options.hold_out));
  }
}

/// Public tables of single layers.
void evaluate_tables(Options const& options, Table& table)
{
  for (auto const& method : options.methods)
    make_regressor(method);
  std::vector<LayerTable> tables;
  for (auto const& file : options.files) {
    tables.push_back(read_layer_table(file));
    require(tables.back().kind == tables.front().kind, file, ": another kind of layer than ", tables.front().source);
  }
  for (auto const& method : options.methods) {
    auto const kind = method == "nasturtium" ? LayerFeatures::extended : LayerFeatures::reference;
    auto const devices = table_rows(tables, kind);
    auto const names = layer_feature_names(tables.front().kind, kind);
    if (options.hold_out.empty())
      random_split(method, devices, names, options, table);
    else if (options.hold_out == "each")
      for (auto const& rows : devices)
        hold_out(method, devices, names, rows.device, options, table);
    else
      hold_out(method, devices, names, options.hold_out, options, table);
  }
}

int evaluate_estimators(Options const& options)
{
  require(options.format == "archive" || options.format == "justus", "--format must be archive or justus, got ",
          quoted(options.format));
  require(options.rows >= 100 && options.test_rows >= 100, "--rows and --test-rows must be at least 100");
  Table table = make_table();
  if (options.format == "justus")
    evaluate_tables(options, table);
  else
    evaluate_archives(options, table);
  if (!options.csv.empty()) write_file(options.csv, table.csv());
  if (options.json)
    std::cout << json::pretty(to_json(table));
  else
    std::cout << table.text();
  return exit_success;
}

} // namespace

void add_estimate_evaluate(CLI::App& app, Invocation const& /*call*/, std::function<int()>& action)
{
  auto const options = std::make_shared<Options>();
  auto* const evaluator = app.add_subcommand("evaluate", "Hold methods against each other on timings");
  evaluator->callback([&action, options] { action = [options] { return evaluate_estimators(*options); }; });
  evaluator->add_option("FILE", options->files, "Archives, or public layer tables (one device each)")->required();
  evaluator->add_option("--format", options->format, "archive: of this project; justus: tables of single layers")
      ->option_text("archive|justus [archive]");
  std::string names;
  for (auto const& name : estimator_names())
    names += (names.empty() ? "" : ", ") + name;
  evaluator->add_option("--method", options->methods, names)->delimiter(',')->type_name("NAME,...");
  evaluator->add_option("--level", options->level, "Of archives: what a method sees of a network")
      ->option_text("minimal|short|rich|physics [physics]");
  evaluator->add_option("--hold-out", options->hold_out, "Train on the other devices, test on this one; each: in turn")
      ->type_name("DEVICE");
  evaluator->add_option("--probes", options->probes, "With --hold-out: so many timings there correct the estimates")
      ->delimiter(',')
      ->type_name("N,...");
  evaluator->add_option("--rows", options->rows, "Of each table for training, at most")
      ->capture_default_str()
      ->type_name("N");
  evaluator->add_option("--test-rows", options->test_rows, "Of each table for testing, at most")
      ->capture_default_str()
      ->type_name("N");
  evaluator->add_option("--test-share", options->test_share, "Of an archive's lineages")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 0.9));
  evaluator->add_option("--seed", options->seed, "Of split and fit")->capture_default_str()->type_name("N");
  evaluator->add_option("--csv", options->csv, "Write the table as CSV too")->type_name("FILE");
  evaluator->add_flag("--json", options->json, "The table as JSON on stdout");
}

} // namespace nasturtium::cli
