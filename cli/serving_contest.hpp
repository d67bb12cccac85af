// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ways to serve one ensemble, held against each other on the same samples, in turns.
#pragma once

#include <nasturtium/core/table.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <functional>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// A way to serve, and what was measured of it.
struct ServingContender
{
  std::string name;
  ensemble::Plan plan;
  bool baseline = true;
  bool sequential = false; ///< by one thread, one member after another
  int segment_size = 128;
  std::vector<double> rates{};     ///< samples per second, by round
  std::vector<double> processor{}; ///< seconds of all threads for a sample, by round
  std::vector<double> latencies{}; ///< of segments, seconds; of contenders that are not sequential
};

/// The plans of an answer as contenders "plan 1", ...; with `segment_size` 0 the suitable one of the first plan.
std::vector<ServingContender> serving_plans(ensemble::PlanningProblem const& problem,
                                            ensemble::PlanningAnswer const& answer, int segment_size);
/// The baselines of the reference (section 2.8) that fit in memory: sequential on the first device, round robin, worst
/// fit with one batch size for all (32, or the nearest that was profiled) and with the best one of every model.
std::vector<ServingContender> serving_baselines(ensemble::PlanningProblem const& problem, int segment_size);

/// Samples of a segment that take two milliseconds at this rate, in batches of `largest_batch`, but 128 to 8,192: to
/// hand segments over takes some tens of microseconds.
int suitable_segment(double samples_per_second, int largest_batch);

/// Lets all serve the same samples in turns, `rounds` times after one that does not count, each round in another
/// order. False where `interrupted` said so: what was measured until then stands.
bool run_contest(std::vector<ServingContender>& contenders, std::vector<ensemble::ServedModel> const& models,
                 std::vector<ensemble::ServingDevice> const& devices, nn::InputMoments const& moments,
                 nn::Images const& images, int rounds, std::function<bool()> const& interrupted = {});

/// Median over the rounds of a contender's rate over that of the best baseline other than itself; NaN without one.
double ratio_to_baselines(ServingContender const& contender, std::vector<ServingContender> const& contenders);
/// The same of the fastest rounds, which other work on the machine disturbed least.
double fastest_ratio(ServingContender const& contender, std::vector<ServingContender> const& contenders);
/// Processor time of a sample by the profile.
double profiled_seconds(ensemble::PlanningProblem const& problem, ensemble::Allocation const& allocation);
/// A quantile of values; NaN for none.
double quantile(std::vector<double> values, double fraction);

/// Rates, predictions and latencies, a row a contender.
Table serving_table(std::vector<ServingContender> const& contenders);

} // namespace nasturtium::cli
