// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole training steps (gather, forward, loss, backward, optimiser) on one synthetic batch: images per second.
//   step_bench [--step] [--batch=32,128] [--models=1] [--fused] [--threads=N] [--precision=float32] [--breakdown]
//   [--plan] [Google Benchmark flags] [NETWORK...]
// NETWORK: names of the zoo or files, or several joined by '+', which the models of a population take in turn; default:
// the six of the comparison with PyTorch. --fused measures populations in common launches as well (counters: launches
// of a step, together and apart). --breakdown prints the time by kernel label and what the host adds; --plan prints the
// steps that a network is compiled to.
#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <Kokkos_Core.hpp>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <numeric>
#include <sstream>

namespace {

using namespace nasturtium;
using Time = std::chrono::steady_clock;

/// Time inside kernels, by label, from the callbacks of Kokkos Tools.
namespace profile {
struct Entry
{
  double seconds = 0;
  long calls = 0;
};
std::map<std::string, Entry> entries;
std::string label;
Time::time_point start;

void begin(char const* name, std::uint32_t, std::uint64_t*)
{
  label = name;
  start = Time::now();
}
void end(std::uint64_t)
{
  auto& entry = entries[label];
  entry.seconds += std::chrono::duration<double>(Time::now() - start).count();
  ++entry.calls;
}
} // namespace profile

struct Arguments
{
  std::vector<int> batches{32, 128}, models{1};
  int threads = 0;
  nn::Precision precision = nn::Precision::float32;
  bool breakdown = false, plan = false, fused = false;
  std::vector<std::string> networks;
};

std::vector<int> numbers(std::string const& list)
{
  std::vector<int> values;
  std::istringstream items(list);
  for (std::string item; std::getline(items, item, ',');) {
    values.push_back(std::stoi(item));
    require(values.back() >= 1, "'", list, "': numbers must be at least 1");
  }
  return values;
}

Arguments parse(int& argc, char** argv)
{
  Arguments arguments;
  std::vector<char*> rest{argv[0]};
  for (int i = 1; i < argc; ++i) {
    std::string const text = argv[i];
    auto const value = text.substr(std::min(text.size(), text.find('=') + 1));
    if (text == "--step") continue;
    if (text.rfind("--batch=", 0) == 0) {
      arguments.batches = numbers(value);
    } else if (text.rfind("--models=", 0) == 0) {
      arguments.models = numbers(value);
    } else if (text.rfind("--threads=", 0) == 0) {
      arguments.threads = std::stoi(value);
    } else if (text.rfind("--precision=", 0) == 0) {
      require(value == "float32" || value == "float64", "--precision must be float32 or float64, got '", value, "'");
      if (value == "float64") arguments.precision = nn::Precision::float64;
    } else if (text == "--breakdown") {
      arguments.breakdown = true;
    } else if (text == "--fused") {
      arguments.fused = true;
    } else if (text == "--plan") {
      arguments.plan = true;
    } else if (text.rfind("--", 0) == 0) {
      rest.push_back(argv[i]);
    } else {
      arguments.networks.push_back(text);
    }
  }
  if (arguments.networks.empty()) arguments.networks = {"mlp", "lenet", "cnn2", "vgg32", "resnet20", "odd"};
  argc = static_cast<int>(rest.size());
  std::copy(rest.begin(), rest.end(), argv);
  return arguments;
}

nn::TrainOptions train_options(Arguments const& arguments, int batch)
{
  nn::TrainOptions options;
  options.batch_size = batch;
  options.precision = arguments.precision;
  options.optimiser.learning_rate = 0.001;
  options.optimiser.momentum = 0.9;
  return options;
}

nn::Stepper make_stepper(Arguments const& arguments, std::string const& network, int batch)
{
  return nn::Stepper({.threads = arguments.threads}, nn::spec::load_architecture(network),
                     train_options(arguments, batch));
}

/// Names of the models of a population, from one or several joined by '+'.
std::vector<std::string> names_of(std::string const& networks, int models)
{
  std::vector<std::string> parts, names;
  std::istringstream items(networks);
  for (std::string item; std::getline(items, item, '+');)
    parts.push_back(item);
  require(!parts.empty(), "the name of a network is empty");
  for (int i = 0; i < models; ++i)
    names.push_back(parts[static_cast<std::size_t>(i) % parts.size()]);
  return names;
}

void print_breakdown(Arguments const& arguments, std::string const& network, int batch)
{
  auto stepper = make_stepper(arguments, network, batch);
  stepper.run(5);
  auto const calibration = Time::now();
  stepper.run(3);
  double const guess = std::chrono::duration<double>(Time::now() - calibration).count() / 3;
  auto const steps = std::clamp<std::int64_t>(static_cast<std::int64_t>(0.5 / guess), 5, 5000);
  auto const plain_start = Time::now();
  stepper.run(steps);
  double const plain = std::chrono::duration<double>(Time::now() - plain_start).count() / static_cast<double>(steps);
  profile::entries.clear();
  namespace Tools = Kokkos::Tools::Experimental;
  Tools::set_begin_parallel_for_callback(profile::begin);
  Tools::set_end_parallel_for_callback(profile::end);
  auto const start = Time::now();
  stepper.run(steps);
  double const wall = std::chrono::duration<double>(Time::now() - start).count() / static_cast<double>(steps);
  Tools::set_begin_parallel_for_callback(nullptr);
  Tools::set_end_parallel_for_callback(nullptr);
  std::vector<std::pair<std::string, profile::Entry>> rows(profile::entries.begin(), profile::entries.end());
  std::sort(rows.begin(), rows.end(), [](auto const& a, auto const& b) { return a.second.seconds > b.second.seconds; });
  std::printf("%s, batch %d: %.1f us a step (%.0f images/s); %.1f us with the profile on\n", network.c_str(), batch,
              plain * 1e6, batch / plain, wall * 1e6);
  double kernels = 0;
  for (auto const& [label, entry] : rows) {
    double const seconds = entry.seconds / static_cast<double>(steps);
    kernels += seconds;
    std::printf("  %9.1f us %5.1f %% %6.1f calls  %s\n", seconds * 1e6, 100 * seconds / wall,
                static_cast<double>(entry.calls) / static_cast<double>(steps), label.c_str());
  }
  std::printf("  %9.1f us %5.1f %%               outside of kernels\n", (wall - kernels) * 1e6,
              100 * (wall - kernels) / wall);
}

std::int64_t steps_at_once()
{
  return nn::available_backends().front() == nn::BackendKind::cuda ? 256 : 1;
}

/// Steps of `models` networks side by side; an iteration is a step of each. A device works ahead of the host and is
/// waited for after many steps, as in a training.
void step(benchmark::State& state, Arguments const& arguments, std::string const& network, int batch, int models)
{
  std::vector<nn::Stepper> steppers;
  for (auto const& name : names_of(network, models)) {
    steppers.push_back(make_stepper(arguments, name, batch));
    steppers.back().run(20);
  }
  std::int64_t const steps = steps_at_once();
  while (state.KeepRunningBatch(steps)) {
    for (auto& stepper : steppers)
      stepper.launch(steps);
    for (auto& stepper : steppers)
      stepper.wait();
  }
  state.SetItemsProcessed(state.iterations() * batch * models);
}

/// The same in common launches.
void fused_step(benchmark::State& state, Arguments const& arguments, std::string const& network, int batch, int models)
{
  std::vector<nn::spec::Architecture> architectures;
  for (auto const& name : names_of(network, models))
    architectures.push_back(nn::spec::load_architecture(name));
  nn::FusedStepper stepper({.threads = arguments.threads}, architectures, train_options(arguments, batch));
  stepper.run(20);
  std::int64_t const steps = steps_at_once();
  while (state.KeepRunningBatch(steps)) {
    stepper.launch(steps);
    stepper.wait();
  }
  state.SetItemsProcessed(state.iterations() * batch * models);
  auto const apart = stepper.launches_apart();
  state.counters["launches"] = static_cast<double>(stepper.launches());
  state.counters["launches_apart"] = static_cast<double>(std::accumulate(apart.begin(), apart.end(), std::int64_t{0}));
}

int run(int argc, char** argv)
{
  auto const arguments = parse(argc, argv);
  nn::Runtime const runtime(argc, argv, arguments.threads);
  if (arguments.plan || arguments.breakdown) {
    for (auto const& network : arguments.networks) {
      if (arguments.plan) {
        std::cout << network << '\n';
        for (auto const& line : make_stepper(arguments, network, arguments.batches.front()).plan())
          std::cout << "  " << line << '\n';
      }
      for (int const batch : arguments.batches) {
        if (arguments.breakdown) print_breakdown(arguments, network, batch);
      }
    }
    return 0;
  }
  for (auto const& [key, value] : nn::runtime_description())
    benchmark::AddCustomContext(key, value);
  for (auto const& network : arguments.networks) {
    for (int const batch : arguments.batches) {
      for (int const models : arguments.models) {
        std::string const name = concat("step/", network, "/mb", batch, models == 1 ? "" : concat("/P", models));
        benchmark::RegisterBenchmark(name, step, arguments, network, batch, models)
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
        if (!arguments.fused || models == 1) continue;
        benchmark::RegisterBenchmark(name + "/fused", fused_step, arguments, network, batch, models)
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

} // namespace

int main(int argc, char** argv)
{
  try {
    return run(argc, argv);
  } catch (std::exception const& error) {
    std::cerr << "step_bench: " << error.what() << '\n';
    return 2;
  }
}
