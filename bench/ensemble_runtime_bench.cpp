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
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/profiling.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <benchmark/benchmark.h>

#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <memory>

namespace {

using namespace nasturtium;
using namespace nasturtium::ensemble;

struct Arguments
{
  int rounds = 7, samples = 8192, cores = 2;
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

/// All models on the first device, each at its fastest batch.
Allocation on_first_device(PlanningProblem const& problem)
{
  Allocation allocation(static_cast<int>(problem.devices.size()), static_cast<int>(problem.models.size()));
  for (int m = 0; m < allocation.models; ++m) {
    int best = 0;
    auto const rate = [&](int b) { return problem.batches[b] / problem.measured(0, m, b).seconds; };
    for (int b = 1; b < static_cast<int>(problem.batches.size()); ++b)
      best = rate(b) > rate(best) ? b : best;
    allocation.at(0, m) = problem.batches[best];
  }
  return allocation;
}

/// A way to serve, and its rates round by round.
struct Contender
{
  std::string name;
  Plan plan;
  bool baseline = true;
  std::unique_ptr<EnsembleServer> server;         ///< or
  std::unique_ptr<SequentialEnsemble> sequential; ///< this one
  std::vector<double> rates{};
  std::vector<double> processor{}; ///< seconds of all threads, a sample
  std::vector<double> latencies{};
};

std::vector<std::uint8_t> random_bytes(std::size_t count)
{
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::uint8_t>(random_block(1, Purpose::synthetic, 0, i / 4).word[i % 4]);
  return bytes;
}

double percentile(std::vector<double> values, double fraction)
{
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1))];
}

std::vector<Contender> make_contenders(std::vector<ServedModel> const& models,
                                       std::vector<ServingDevice> const& devices, PlanningProblem const& problem)
{
  std::vector<Contender> contenders;
  auto const add = [&](std::string name, Allocation const& allocation, bool baseline) {
    if (allocation.cells() == 0) return;
    Contender made{std::move(name), make_plan(problem, allocation), baseline, nullptr, nullptr};
    made.server = std::make_unique<EnsembleServer>(models, devices, made.plan);
    contenders.push_back(std::move(made));
  };
  auto const answer = plan_allocation(problem);
  require(!answer.plans.empty(), answer.explanation);
  for (std::size_t i = 0; i < answer.plans.size(); ++i)
    add("planned" + std::to_string(i + 1), answer.plans[i].allocation, false);
  Contender sequential{"sequential", make_plan(problem, on_first_device(problem)), true, nullptr, nullptr};
  sequential.sequential = std::make_unique<SequentialEnsemble>(models, devices, sequential.plan);
  contenders.push_back(std::move(sequential));
  add("round_robin", round_robin(problem), true);
  add("worst_fit_fixed_batch", worst_fit(problem, 32), true);
  add("worst_fit_best_batch", worst_fit(problem), true);
  return contenders;
}

/// Of all threads of this process.
double processor_seconds()
{
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto const seconds = [](timeval const& time) { return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Processor seconds of a sample by the profile: for each model the mean over its cells.
double profiled_seconds(PlanningProblem const& problem, Allocation const& allocation)
{
  double total = 0;
  for (int m = 0; m < allocation.models; ++m) {
    std::vector<double> seconds;
    for (int d = 0; d < allocation.devices; ++d) {
      if (allocation.at(d, m) == 0) continue;
      auto const place = std::find(problem.batches.begin(), problem.batches.end(), allocation.at(d, m));
      int const b = static_cast<int>(place - problem.batches.begin());
      seconds.push_back(problem.measured(d, m, b).seconds / *place);
    }
    total += mean(seconds);
  }
  return total;
}

void measure(std::vector<Contender>& contenders, Arguments const& arguments, std::size_t sample_size)
{
  auto const bytes = random_bytes(static_cast<std::size_t>(arguments.samples) * sample_size);
  nn::Images const images{bytes, {}};
  for (int round = -1; round < arguments.rounds; ++round) { // the first one warms up
    for (std::size_t turn = 0; turn < contenders.size(); ++turn) {
      auto& contender = contenders[(turn + static_cast<std::size_t>(round + 1)) % contenders.size()];
      double const processor = processor_seconds();
      Stopwatch const clock;
      auto const predictions = contender.server ? contender.server->predict(images) //
                                                : contender.sequential->predict(images);
      benchmark::DoNotOptimize(predictions.data());
      if (round < 0) continue;
      contender.rates.push_back(arguments.samples / clock.seconds());
      contender.processor.push_back((processor_seconds() - processor) / arguments.samples);
      if (!contender.server) continue;
      auto const statistics = contender.server->statistics();
      contender.latencies.insert(contender.latencies.end(), statistics.latencies.begin(), statistics.latencies.end());
    }
  }
}

/// Median over the rounds of this contender's rate over the best baseline's of the same round.
double ratio_to_baselines(Contender const& contender, std::vector<Contender> const& contenders)
{
  std::vector<double> ratios;
  for (std::size_t round = 0; round < contender.rates.size(); ++round) {
    double best = 0;
    for (auto const& other : contenders)
      if (other.baseline && &other != &contender) best = std::max(best, other.rates[round]);
    ratios.push_back(contender.rates[round] / best);
  }
  return median(ratios);
}

double fastest(Contender const& contender)
{
  return *std::max_element(contender.rates.begin(), contender.rates.end());
}

double fastest_ratio(Contender const& contender, std::vector<Contender> const& contenders)
{
  double best = 0;
  for (auto const& other : contenders)
    if (other.baseline && &other != &contender) best = std::max(best, fastest(other));
  return fastest(contender) / best;
}

void register_results(std::vector<Contender> const& contenders, PlanningProblem const& problem)
{
  for (auto const& contender : contenders) {
    double const rate = median(contender.rates), ratio = ratio_to_baselines(contender, contenders);
    double const most = fastest(contender), most_ratio = fastest_ratio(contender, contenders);
    double const processor = median(contender.processor) / profiled_seconds(problem, contender.plan.allocation);
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
                                   state.counters["p50_ms"] = 1e3 * percentile(contender.latencies, 0.50);
                                   state.counters["p95_ms"] = 1e3 * percentile(contender.latencies, 0.95);
                                   state.counters["p99_ms"] = 1e3 * percentile(contender.latencies, 0.99);
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
  auto contenders = make_contenders(models, devices, problem);
  std::cerr << "gain of 1 to 4 active cells:";
  for (double const gain : problem.classes[0].gain)
    std::cerr << ' ' << fixed(gain, 3);
  std::cerr << "\n\n" << matrix_text(contenders[0].plan) << '\n';
  measure(contenders, arguments, static_cast<std::size_t>(models[0].architecture.input.size()));
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
