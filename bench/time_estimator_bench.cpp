// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of the training-time estimator as benchmarks: one per estimator and test set, its time that of a
// query, its errors as counters. Networks that are in the folder already are not timed again.
//   time_estimator_bench [--scale=smoke|laptop|node|paper] [--out=DIR] [--seeds=N] [--backend=NAME] [--benchmark_...]
#include "experiment.hpp"
#include "time_estimator.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/number.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace nasturtium;

/// The numbers of a row, by column.
std::map<std::string, double> numbers_of(CsvReader const& reader)
{
  std::map<std::string, double> numbers;
  for (std::size_t i = 0; i < reader.header().size(); ++i)
    if (auto const number = parse_double(reader.fields()[i]); number && std::isfinite(*number))
      numbers[reader.header()[i]] = *number;
  return numbers;
}

void estimator_benchmark(benchmark::State& state, double seconds, std::map<std::string, double> const& counters)
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
  auto words = bench::parse_experiment(argc, argv, "time-estimator");
  auto plan = cli::estimator_plan(words.scale);
  plan.out = words.out;
  if (words.seeds > 0) plan.seeds = words.seeds;
  words.device.threads = *std::max_element(plan.threads.begin(), plan.threads.end());
  auto const runtime = words.device.start(call);
  auto const trainer = words.device.trainer();
  auto const timings = cli::run_time_estimator(plan, trainer);
  if (!timings) return cli::exit_interrupted;
  cli::time_estimator_report(*timings, plan, trainer,
                             cli::provenance_of(call, plan.seed, trainer.backend, {{"scale", words.scale}}))
      .write(plan.out);
  auto const file = [&](char const* name) { return (std::filesystem::path(plan.out) / name).string(); };
  std::map<std::string, double> query_seconds;
  for (auto cost = CsvReader::open(file("cost.csv")); cost.next();)
    query_seconds[cost.fields()[0]] = 1e-6 * cost.number(cost.column("us/query"));
  for (auto accuracy = CsvReader::open(file("accuracy.csv")); accuracy.next();)
    benchmark::RegisterBenchmark((accuracy.fields()[0] + "/" + accuracy.fields()[1]).c_str(), estimator_benchmark,
                                 query_seconds[accuracy.fields()[0]], numbers_of(accuracy))
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMicrosecond);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return cli::exit_success;
}

} // namespace

int main(int argc, char** argv)
{
  return bench::run_program("time_estimator_bench", argc, argv, run);
}
