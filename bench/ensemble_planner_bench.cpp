// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The planner on the six suites with known optima: milliseconds of a plan, and fractions of the optimum over seeds
// 1 to 200: mean, worst twentieth, worst.
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/plan_suite.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

namespace {

using namespace nasturtium;
using namespace nasturtium::ensemble;

enum class Contender { exact, local, worst_fit, round_robin, longest_first };

/// Fluid throughput of the contender's plan; 0 for none.
double throughput(PlanningProblem const& problem, Contender contender)
{
  auto const of = [&](Allocation const& start) { return start.cells() > 0 ? fluid_throughput(problem, start) : 0; };
  switch (contender) {
  case Contender::worst_fit:
    return of(worst_fit(problem));
  case Contender::round_robin:
    return of(round_robin(problem));
  case Contender::longest_first:
    return of(longest_first(problem));
  case Contender::exact:
  case Contender::local:
    break;
  }
  PlanningOptions options;
  options.method = contender == Contender::exact ? PlanningMethod::exact : PlanningMethod::local;
  options.keep = 1;
  auto const answer = plan_allocation(problem, options);
  return answer.plans.empty() ? 0 : answer.plans[0].throughput;
}

void plan(benchmark::State& state, PlanSuite const& suite, Contender contender)
{
  constexpr std::uint64_t seeds = 200;
  std::vector<double> fractions;
  for (auto _ : state) {
    double seconds = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      auto const problem = suite_problem(suite, seed);
      double const optimum = throughput(problem, Contender::exact);
      if (optimum == 0) continue; // a packing that does not exist
      Stopwatch const clock;
      double const found = throughput(problem, contender);
      seconds += clock.seconds();
      fractions.push_back(found / optimum);
    }
    state.SetIterationTime(seconds / static_cast<double>(fractions.size()));
  }
  std::sort(fractions.begin(), fractions.end());
  state.counters["mean"] = mean(fractions);
  state.counters["worst_twentieth"] = fractions[fractions.size() / 20];
  state.counters["worst"] = fractions.front();
  state.counters["problems"] = static_cast<double>(fractions.size());
}

} // namespace

int main(int argc, char** argv)
{
  constexpr std::pair<char const*, Contender> contenders[] = {{"local", Contender::local},
                                                              {"exact", Contender::exact},
                                                              {"worst_fit", Contender::worst_fit},
                                                              {"round_robin", Contender::round_robin},
                                                              {"longest_first", Contender::longest_first}};
  for (auto const& suite : plan_suites())
    for (auto const& [name, contender] : contenders)
      benchmark::RegisterBenchmark((suite.name + "/" + name).c_str(), plan, suite, contender)
          ->Iterations(1)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
