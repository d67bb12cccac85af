// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "serving_contest.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/statistics.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>

namespace nasturtium::cli {

namespace {

using namespace ensemble;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

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

/// Of all threads of this process.
double processor_seconds()
{
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto const seconds = [](timeval const& time) { return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double fastest(ServingContender const& contender)
{
  return contender.rates.empty() ? nan : *std::max_element(contender.rates.begin(), contender.rates.end());
}

} // namespace

std::vector<ServingContender> serving_plans(PlanningProblem const& problem, PlanningAnswer const& answer,
                                            int segment_size)
{
  std::vector<ServingContender> contenders;
  for (auto const& plan : answer.plans) {
    if (segment_size == 0) segment_size = suitable_segment(plan.throughput, plan.allocation.largest_batch());
    contenders.push_back({concat("plan ", contenders.size() + 1), make_plan(problem, plan.allocation, segment_size),
                          false, false, segment_size});
  }
  return contenders;
}

std::vector<ServingContender> serving_baselines(PlanningProblem const& problem, int segment_size)
{
  std::vector<ServingContender> baselines;
  auto const add = [&](std::string name, Allocation const& allocation, bool sequential = false) {
    if (allocation.cells() == 0 || !allocation_fault(problem, allocation).empty()) return;
    baselines.push_back(
        {std::move(name), make_plan(problem, allocation, segment_size), true, sequential, segment_size});
  };
  int const usual = *std::min_element(problem.batches.begin(), problem.batches.end(), [](int a, int b) {
    return std::abs(std::log2(a) - 5) < std::abs(std::log2(b) - 5); // nearest to 32
  });
  add("sequential", on_first_device(problem), true);
  add("round robin", round_robin(problem));
  add("worst fit, one batch", worst_fit(problem, usual));
  add("worst fit, best batch", worst_fit(problem));
  return baselines;
}

int suitable_segment(double samples_per_second, int largest_batch)
{
  constexpr double seconds = 2e-3;
  constexpr int least = 128, most = 8192;
  int const batches =
      std::max(1, static_cast<int>(std::min<double>(most, seconds * samples_per_second)) / largest_batch);
  return std::clamp(batches * largest_batch, std::max(least, largest_batch), std::max(most, largest_batch));
}

bool run_contest(std::vector<ServingContender>& contenders, std::vector<ServedModel> const& models,
                 std::vector<ServingDevice> const& devices, nn::InputMoments const& moments, nn::Images const& images,
                 int rounds, std::function<bool()> const& interrupted)
{
  std::vector<std::unique_ptr<EnsembleServer>> servers;
  std::vector<std::unique_ptr<SequentialEnsemble>> sequential;
  for (auto const& contender : contenders) {
    bool const alone = contender.sequential;
    ServingOptions options;
    options.segment_size = contender.segment_size;
    sequential.push_back(
        alone ? std::make_unique<SequentialEnsemble>(models, devices, contender.plan, moments, contender.segment_size)
              : nullptr);
    servers.push_back(alone ? nullptr
                            : std::make_unique<EnsembleServer>(models, devices, contender.plan, moments, options));
  }
  auto const samples =
      static_cast<double>(images.size()) / static_cast<double>(models.front().architecture.input.size());
  for (int round = -1; round < rounds; ++round)
    for (std::size_t turn = 0; turn < contenders.size(); ++turn) {
      if (interrupted && interrupted()) return false;
      std::size_t const i = (turn + static_cast<std::size_t>(round + 1)) % contenders.size();
      auto& contender = contenders[i];
      double const processor = processor_seconds();
      Stopwatch const clock;
      auto const predictions = servers[i] ? servers[i]->predict(images) : sequential[i]->predict(images);
      double const seconds = clock.seconds();
      if (round < 0 || predictions.empty()) continue;
      contender.rates.push_back(samples / seconds);
      contender.processor.push_back((processor_seconds() - processor) / samples);
      if (!servers[i]) continue;
      auto const statistics = servers[i]->statistics();
      contender.latencies.insert(contender.latencies.end(), statistics.latencies.begin(), statistics.latencies.end());
    }
  return true;
}

double ratio_to_baselines(ServingContender const& contender, std::vector<ServingContender> const& contenders)
{
  std::vector<double> ratios;
  for (std::size_t round = 0; round < contender.rates.size(); ++round) {
    double best = 0;
    for (auto const& other : contenders)
      if (other.baseline && &other != &contender && round < other.rates.size())
        best = std::max(best, other.rates[round]);
    if (best > 0) ratios.push_back(contender.rates[round] / best);
  }
  return median(ratios);
}

double fastest_ratio(ServingContender const& contender, std::vector<ServingContender> const& contenders)
{
  double best = nan;
  for (auto const& other : contenders)
    if (other.baseline && &other != &contender) best = std::fmax(best, fastest(other));
  return fastest(contender) / best;
}

double profiled_seconds(PlanningProblem const& problem, Allocation const& allocation)
{
  double total = 0;
  for (int m = 0; m < allocation.models; ++m) {
    std::vector<double> seconds; // of the model's cells, which share its samples
    for (int d = 0; d < allocation.devices; ++d) {
      if (allocation.at(d, m) == 0) continue;
      auto const place = std::find(problem.batches.begin(), problem.batches.end(), allocation.at(d, m));
      require(place != problem.batches.end(), "the profile has no batch of ", allocation.at(d, m));
      seconds.push_back(problem.measured(d, m, static_cast<int>(place - problem.batches.begin())).seconds / *place);
    }
    total += mean(seconds);
  }
  return total;
}

double quantile(std::vector<double> values, double fraction)
{
  if (values.empty()) return nan;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1))];
}

Table serving_table(std::vector<ServingContender> const& contenders)
{
  auto const cell = [](double value) { return std::isfinite(value) ? Cell(value) : Cell(); };
  auto const rounded = [](double value) {
    return std::isfinite(value) ? Cell(static_cast<std::int64_t>(std::llround(value))) : Cell();
  };
  bool const compared =
      std::any_of(contenders.begin(), contenders.end(), [](ServingContender const& it) { return it.baseline; });
  std::vector<Column> columns{{"plan"},     {"cells"},      {"samples/s"},  {"fluid"},
                              {"segments"}, {"error %", 1}, {"achieved", 2}};
  if (compared) columns.push_back({"ratio", 2});
  columns.insert(columns.end(), {{"p50 ms", 2}, {"p95 ms", 2}, {"p99 ms", 2}});
  Table table(columns);
  for (auto const& it : contenders) {
    double const rate = median(it.rates), promised = it.plan.segment_throughput;
    std::vector<Cell> row{it.name, std::int64_t{it.plan.allocation.cells()}, rounded(rate), rounded(it.plan.throughput),
                          rounded(promised),
                          // The simulators know nothing of a single thread.
                          it.sequential ? Cell() : cell(100 * std::abs(promised - rate) / rate),
                          it.sequential ? Cell() : cell(rate / it.plan.throughput)};
    if (compared) row.push_back(cell(ratio_to_baselines(it, contenders)));
    for (double const fraction : {0.5, 0.95, 0.99})
      row.push_back(cell(1e3 * quantile(it.latencies, fraction)));
    table.add_row(std::move(row));
  }
  return table;
}

} // namespace nasturtium::cli
