// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of the ensemble workflow as benchmarks: one per data set and search, its time the epochs of a search
// (an epoch counts as a second), then one per data set and ensemble; the columns of the tables are counters. Runs that
// are in the folder already are not run again.
//   ensembles_bench [--scale=smoke|laptop|node|paper] [--out=DIR] [--seeds=N] [--threads=N] [--benchmark_...]
#include "ensembles.hpp"
#include "experiment.hpp"

#include <nasturtium/core/number.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace nasturtium;

using Counters = std::vector<std::pair<std::string, double>>;

void row_benchmark(benchmark::State& state, double seconds, Counters const& counters)
{
  for (auto _ : state)
    state.SetIterationTime(seconds);
  for (auto const& [name, value] : counters)
    state.counters[name] = value;
}

/// A benchmark for every row of a table, named by the two first columns; its time is the number in `time`.
void add_rows(Table const& table, std::string const& time)
{
  for (auto const& row : table.rows()) {
    Counters counters;
    double seconds = 0;
    for (std::size_t i = 2; i < row.size(); ++i) {
      double value = std::nan("");
      if (auto const* const number = std::get_if<double>(&row[i])) value = *number;
      if (auto const* const number = std::get_if<std::int64_t>(&row[i])) value = static_cast<double>(*number);
      if (!std::isfinite(value)) continue;
      counters.emplace_back(table.columns()[i].title, value);
      if (table.columns()[i].title == time) seconds = value;
    }
    auto const name = std::get<std::string>(row[0]) + "/" + std::get<std::string>(row[1]);
    benchmark::RegisterBenchmark(name.c_str(), row_benchmark, seconds, counters)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kSecond);
  }
}

int run(int argc, char** argv)
{
  cli::Invocation call;
  call.command_line.assign(argv, argv + argc);
  benchmark::Initialize(&argc, argv);
  auto const words = bench::parse_experiment(argc, argv, "ensembles");
  auto plan = cli::ensembles_plan(words.scale);
  plan.out = words.out;
  if (words.seeds > 0) plan.seeds = words.seeds;
  auto const runtime = words.device.start(call);
  auto const trainer = words.device.trainer();
  auto const cells = cli::run_ensembles(plan, trainer, call);
  if (!cells) return cli::exit_interrupted;
  auto const report = cli::ensembles_report(*cells, plan, trainer,
                                            cli::provenance_of(call, 1, trainer.backend, {{"scale", words.scale}}));
  report.write(plan.out);
  add_rows(*report.find_table("search"), "epochs");
  add_rows(*report.find_table("quality"), "");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return cli::exit_success;
}

} // namespace

int main(int argc, char** argv)
{
  return bench::run_program("ensembles_bench", argc, argv, run);
}
