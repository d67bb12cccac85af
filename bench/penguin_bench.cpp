// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The experiment of PEng4NN and PENGUIN as benchmarks: per search and data set the recording, the replay of every
// method and the run with an engine that stops networks, with the papers' metrics as counters. Runs that are in the
// folder already are not run again; their times are those that were measured then.
//   penguin_bench [--scale=smoke|laptop|node|paper] [--out=DIR] [--searches=A,B] [--datasets=A,B] [--live=PRESET]
//                 [--threads=N] [--benchmark_...]
#include "experiment.hpp"
#include "penguin.hpp"

#include <nasturtium/predictor/presets.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

using namespace nasturtium;

std::vector<std::string> split(std::string const& list)
{
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < list.size();) {
    std::size_t const end = std::min(list.find(',', begin), list.size());
    words.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

/// Counters hold finite numbers alone: JSON has no others.
void count(benchmark::State& state, char const* name, double value)
{
  if (std::isfinite(value)) state.counters[name] = value;
}

void search_benchmark(benchmark::State& state, cli::PenguinCell const& cell, bool live)
{
  auto const& result = live ? *cell.live : cell.recorded;
  double const seconds = result.seconds + result.engine_seconds;
  for (auto _ : state)
    state.SetIterationTime(seconds);
  count(state, "networks", static_cast<double>(result.trials.size()));
  count(state, "epochs", result.epochs_used);
  count(state, "saved_percent", 100 * result.saved());
  count(state, "networks_per_hour", 3600 * static_cast<double>(result.trials.size()) / seconds);
  if (result.best >= 0) count(state, "best_accuracy", result.trials[static_cast<std::size_t>(result.best)].fitness);
  if (live) {
    count(state, "wall_factor", cell.recorded.seconds / seconds);
    count(state, "engine_seconds", result.engine_seconds);
  }
}

void replay_benchmark(benchmark::State& state, cli::PenguinCell const& cell, std::string const& preset)
{
  auto settings = predictor::preset(preset);
  settings.e_pred = cell.curves.last_epoch();
  settings.spacing = cell.curves.spacing();
  predictor::Replay replay;
  for (auto _ : state)
    replay = predictor::replay(cell.curves, settings);
  auto const row = predictor::summarise(replay);
  count(state, "saved_percent", 100 * row.saved);
  count(state, "throughput_factor", row.throughput);
  count(state, "wall_factor", row.wall_factor);
  count(state, "converged_percent", 100 * row.converged);
  count(state, "mean_stop_epoch", row.mean_stop);
  count(state, "mae", row.mae);
  count(state, "bias", row.bias);
  count(state, "recall_1_percent", 100 * row.recall[0]);
  count(state, "recall_5_percent", 100 * row.recall[1]);
  count(state, "recall_10_percent", 100 * row.recall[2]);
  count(state, "epsilon_recall_10_percent", 100 * row.epsilon_recall[2]);
  count(state, "accuracy_gap", row.top_difference);
  count(state, "regret", row.regret);
  count(state, "spearman", row.spearman);
  count(state, "kendall", row.kendall);
  count(state, "coverage_90_percent", 100 * row.coverage_90);
  count(state, "microseconds_per_prediction", row.microseconds);
}

int run(int argc, char** argv)
{
  cli::Invocation call;
  call.command_line.assign(argv, argv + argc);
  benchmark::Initialize(&argc, argv);
  cli::DeviceOptions device;
  std::string scale = "smoke", out, live = "nasturtium";
  std::vector<std::string> searches, datasets;
  bench::parse_options(argc, argv, device, [&](std::string const& name, std::string const& value) {
    if (name == "scale")
      scale = value;
    else if (name == "out")
      out = value;
    else if (name == "searches")
      searches = split(value);
    else if (name == "datasets")
      datasets = split(value);
    else if (name == "live")
      live = value;
    else
      return false;
    return true;
  });
  auto plan = cli::penguin_plan(scale);
  plan.out = out.empty() ? "runs/penguin-" + scale : out;
  plan.live = live;
  if (!searches.empty()) plan.searches = searches;
  if (!datasets.empty()) plan.datasets = datasets;
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const cells = cli::run_penguin(plan, trainer, call);
  if (!cells) return cli::exit_interrupted;
  cli::penguin_report(*cells, plan, cli::provenance_of(call, plan.seed, trainer.backend, {{"scale", scale}}),
                      "nasturtium: fitness prediction")
      .write(plan.out);
  for (auto const& cell : *cells) {
    auto const search = [&](std::string const& name, bool live) {
      benchmark::RegisterBenchmark((cell.name + name).c_str(), search_benchmark, cell, live)
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kSecond);
    };
    search("/to_the_end", false);
    if (cell.live) search("/live/" + plan.live, true);
    for (auto const& preset : plan.presets)
      benchmark::RegisterBenchmark((cell.name + "/replay/" + preset).c_str(), replay_benchmark, cell, preset)
          ->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return cli::exit_success;
}

} // namespace

int main(int argc, char** argv)
{
  return bench::run_program("penguin_bench", argc, argv, run);
}
