// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "estimate_archives.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/archive.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/transfer.hpp>

#include <algorithm>

namespace nasturtium::cli {

namespace {

using namespace estimator;

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

} // namespace

Table evaluate_archives(ArchiveOptions const& options)
{
  auto const level = parse_level(options.level, "--level");
  Table table = make_table();
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
      std::vector<double> predicted, measured;
      for (int i = 0; i < k; ++i) {
        auto const& probe = (*probes)[static_cast<std::size_t>(i)];
        predicted.push_back(model->predict(probe.description, probe.device).seconds);
        measured.push_back(probe.seconds);
      }
      ProbeScale const scale(ScaleKind::one, predicted, measured);
      auto corrected = outcome;
      for (double& seconds : corrected.predicted)
        seconds = scale(seconds);
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
  return table;
}

} // namespace nasturtium::cli
