// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Time of one observation, prediction included: at 40 points of a curve, after so many finished curves.
#include <nasturtium/predictor/presets.hpp>

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace {

using namespace nasturtium;

// A rising curve with a little noise that needs no generator.
double value(int curve, int point)
{
  return 90 - 40.0 * ((curve * 37) % 100) / 100 - 40 * std::exp(-0.1 * point) + std::sin(curve * 1.3 + point * 2.7);
}

constexpr int points = 41; // of a full curve: the 40th is the last one to be predicted from

void observe(predictor::Method& method, std::string const& id, int curve, int from, int to)
{
  predictor::Covariates covariates;
  for (int point = from; point <= to; ++point) {
    covariates.train_accuracy = value(curve, point) + 3;
    covariates.learning_rate = 0.1 / point;
    method.observe(id, point, value(curve, point), covariates);
  }
}

// `after_finish`: each measured prediction comes right after a curve was finished, so that learners fit anew.
void observation(benchmark::State& state, std::string const& name, bool after_finish)
{
  auto settings = predictor::preset(name);
  settings.e_pred = points;
  auto const method = predictor::make_method(settings);
  int const finished = static_cast<int>(state.range(0));
  int curve = 0;
  auto const full = [&] {
    std::string const id = "f" + std::to_string(curve);
    observe(*method, id, curve++, 1, points);
    method->finish(id);
  };
  while (curve < finished)
    full();
  for (auto _ : state) {
    state.PauseTiming();
    if (after_finish) full();
    std::string const id = "m" + std::to_string(curve);
    observe(*method, id, curve, 1, points - 2);
    state.ResumeTiming();
    benchmark::DoNotOptimize(method->observe(id, points - 1, value(curve, points - 1)));
    state.PauseTiming();
    method->abandon(id);
    ++curve;
    state.ResumeTiming();
  }
}

} // namespace

int main(int argc, char** argv)
{
  for (auto const& name : predictor::preset_names())
    for (int const finished : {0, 100, 1000}) {
      bool const slow = name == "domhan" || name == "svr";
      benchmark::RegisterBenchmark(("observe/" + name).c_str(), observation, name, false)
          ->Arg(finished)
          ->Unit(benchmark::kMicrosecond)
          ->Iterations(slow ? 20 : 300);
      if (finished > 0 && (name == "nasturtium" || name == "ridge"))
        benchmark::RegisterBenchmark(("observe_after_finish/" + name).c_str(), observation, name, true)
            ->Arg(finished)
            ->Unit(benchmark::kMicrosecond)
            ->Iterations(300);
    }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
