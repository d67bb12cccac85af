// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Serving an ensemble on host cores: the planned allocation against the baselines, in turns in one run.
//   ensemble_runtime_bench [--rounds=N] [--samples=N] [--cores=N] [Google Benchmark flags] [NETWORK...]
// NETWORK: classifiers of the zoo with the same input, each once per mention. Every core is a device, with one thread
// per cell bound to it. Counters: samples/s (median of the rounds), what the fluid simulator says, the ratio to it and
// to the segment simulator, the ratio to the best baseline (median of the rounds' ratios), the same two for the fastest
// rounds, which are those that other work on the machine disturbed least, the processor time of a sample over what the
// profile says, and latencies of segments.
#include "serving_contest.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/profiling.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace nasturtium;
using namespace nasturtium::ensemble;
using cli::ServingContender;

struct Arguments
{
  int rounds = 7, samples = 32768, cores = 2;
  std::vector<std::string> networks;
};

Arguments parse(int argc, char** argv)
{
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string const text = argv[i];
    auto const number = [&](std::string const& flag, int& value) {
      if (!text.starts_with(flag)) return false;
      auto const parsed = parse_integer(text.substr(flag.size()));
      require(parsed && *parsed > 0 && *parsed <= 1 << 20, text, ": a positive number is expected");
      value = static_cast<int>(*parsed);
      return true;
    };
    if (number("--rounds=", arguments.rounds) || number("--samples=", arguments.samples) ||
        number("--cores=", arguments.cores)) {
      continue;
    }
    require(!text.starts_with("-"), text, ": unknown option");
    arguments.networks.push_back(text);
  }
  if (arguments.networks.empty()) arguments.networks = {"cnn2", "lenet", "cnn2", "lenet", "lenet"};
  return arguments;
}

std::vector<ServedModel> load_members(std::vector<std::string> const& networks)
{
  std::vector<ServedModel> models;
  for (auto const& network : networks) {
    auto const architecture = nn::spec::load_architecture(network);
    auto const number = models.size();
    auto weights = std::make_shared<nn::Weights const>(nn::initial_weights(architecture, number + 1));
    models.push_back({network + "-" + std::to_string(number), architecture, std::move(weights), 1});
  }
  return models;
}

std::vector<std::uint8_t> random_bytes(std::size_t count)
{
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::uint8_t>(random_block(1, Purpose::synthetic, 0, i / 4).word[i % 4]);
  return bytes;
}

/// The best plans, then the baselines.
std::vector<ServingContender> make_contenders(PlanningProblem const& problem)
{
  auto const answer = plan_allocation(problem);
  require(!answer.plans.empty(), answer.explanation);
  auto contenders = cli::serving_plans(problem, answer, 0);
  auto const baselines = cli::serving_baselines(problem, contenders.front().segment_size);
  contenders.insert(contenders.end(), baselines.begin(), baselines.end());
  return contenders;
}

double fastest(ServingContender const& contender)
{
  return *std::max_element(contender.rates.begin(), contender.rates.end());
}

void register_results(std::vector<ServingContender> const& contenders, PlanningProblem const& problem)
{
  for (auto const& contender : contenders) {
    double const rate = median(contender.rates), ratio = cli::ratio_to_baselines(contender, contenders);
    double const most = fastest(contender), most_ratio = cli::fastest_ratio(contender, contenders);
    double const processor = median(contender.processor) / cli::profiled_seconds(problem, contender.plan.allocation);
    benchmark::RegisterBenchmark(("serve/" + contender.name).c_str(),
                                 [&contender, rate, ratio, most, most_ratio, processor](benchmark::State& state) {
                                   for (auto _ : state)
                                     state.SetIterationTime(1 / rate); // of a sample, measured before
                                   state.counters["samples/s"] = rate;
                                   state.counters["fluid"] = contender.plan.throughput;
                                   state.counters["achieved/fluid"] = rate / contender.plan.throughput;
                                   state.counters["achieved/segments"] = rate / contender.plan.segment_throughput;
                                   state.counters["ratio"] = ratio;
                                   state.counters["fastest/fluid"] = most / contender.plan.throughput;
                                   state.counters["fastest/segments"] = most / contender.plan.segment_throughput;
                                   state.counters["fastest_ratio"] = most_ratio;
                                   state.counters["processor/profile"] = processor;
                                   state.counters["p50_ms"] = 1e3 * cli::quantile(contender.latencies, 0.50);
                                   state.counters["p95_ms"] = 1e3 * cli::quantile(contender.latencies, 0.95);
                                   state.counters["p99_ms"] = 1e3 * cli::quantile(contender.latencies, 0.99);
                                 })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

int run(int argc, char** argv)
{
  benchmark::Initialize(&argc, argv);
  nn::Runtime const runtime(argc, argv);
  auto const arguments = parse(argc, argv);
  auto const models = load_members(arguments.networks);
  std::vector<ServingDevice> devices;
  for (int core = 0; core < arguments.cores; ++core) {
    ServingDevice device;
    device.name = "core" + std::to_string(core);
    device.cores = {core};
    devices.push_back(device);
  }
  ProfilingOptions options;
  options.seconds = 0.2;
  auto const problem = measure_profile(models, devices, options);
  auto contenders = make_contenders(problem);
  std::cerr << "gain of 1 to 4 active cells:";
  for (double const gain : problem.classes[0].gain)
    std::cerr << ' ' << fixed(gain, 3);
  std::cerr << "\n\n" << matrix_table(contenders[0].plan).text() << '\n';
  auto const bytes = random_bytes(static_cast<std::size_t>(arguments.samples) *
                                  static_cast<std::size_t>(models[0].architecture.input.size()));
  cli::run_contest(contenders, models, devices, {}, {bytes, {}}, arguments.rounds);
  register_results(contenders, problem);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

} // namespace

int main(int argc, char** argv)
{
  try {
    return run(argc, argv);
  } catch (nasturtium::Error const& error) {
    std::cerr << "ensemble_runtime_bench: " << error.what() << '\n';
    return 2;
  }
}
