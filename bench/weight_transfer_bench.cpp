// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of selective weight transfer as benchmarks: one per task and arm, its time that of a search (mean over
// seeds), the columns of the tables as counters. Runs that are in the folder already are not run again.
//   weight_transfer_bench [--scale=smoke|laptop|node|paper] [--out=DIR] [--seeds=N] [--threads=N] [--benchmark_...]
#include "experiment.hpp"
#include "weight_transfer.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/number.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using namespace nasturtium;

using Counters = std::vector<std::pair<std::string, double>>;

/// The numbers of the row of a task and an arm, by column.
Counters counters_of(Table const& table, std::string const& task, std::string const& arm)
{
  Counters counters;
  std::string const text = table.csv();
  CsvReader reader(text, "table");
  while (reader.next()) {
    if (reader.fields()[0] != task || reader.fields()[1] != arm) continue;
    for (std::size_t i = 2; i < reader.header().size(); ++i)
      if (auto const number = parse_double(reader.fields()[i]); number && std::isfinite(*number))
        counters.emplace_back(reader.header()[i], *number);
  }
  return counters;
}

void search_benchmark(benchmark::State& state, double seconds, Counters const& counters)
{
  for (auto _ : state)
    state.SetIterationTime(seconds);
  for (auto const& [name, value] : counters)
    state.counters[name] = value;
}

int run(int argc, char** argv)
{
  cli::Invocation call;
  call.command_line.assign(argv, argv + argc);
  benchmark::Initialize(&argc, argv);
  auto const words = bench::parse_experiment(argc, argv, "weight-transfer");
  auto plan = cli::transfer_plan(words.scale);
  plan.out = words.out;
  if (words.seeds > 0) plan.seeds = words.seeds;
  auto const runtime = words.device.start(call);
  auto const trainer = words.device.trainer();
  auto const cells = cli::run_transfer(plan, trainer, call);
  if (!cells) return cli::exit_interrupted;
  cli::transfer_report(*cells, plan, cli::provenance_of(call, 1, trainer.backend, {{"scale", words.scale}}))
      .write(plan.out);
  auto const scores = cli::transfer_scores(*cells, plan), full = cli::transfer_full(*cells);
  for (auto const& cell : *cells)
    for (auto const& arm : plan.arms) {
      double seconds = 0, count = 0;
      for (auto const& it : cell.runs)
        if (it.arm == arm) {
          seconds += it.search.seconds;
          count += 1;
        }
      auto counters = counters_of(scores, cell.name, arm);
      auto const more = counters_of(full, cell.name, arm);
      counters.insert(counters.end(), more.begin(), more.end());
      benchmark::RegisterBenchmark((cell.name + "/" + arm).c_str(), search_benchmark, seconds / std::max(1.0, count),
                                   counters)
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kSecond);
    }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return cli::exit_success;
}

} // namespace

int main(int argc, char** argv)
{
  return bench::run_program("weight_transfer_bench", argc, argv, run);
}
