// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/options.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nasturtium::nn {

namespace {

/// From `first` to `last` along half a cosine, `part` in [0, 1] of the way.
double anneal(double first, double last, double part)
{
  return last + (first - last) * 0.5 * (1 + std::cos(std::numbers::pi * std::clamp(part, 0.0, 1.0)));
}

/// (step - from) / (to - from), 1 where there is no way to go.
double part_of(double step, double from, double to)
{
  return to > from ? (step - from) / (to - from) : 1;
}

} // namespace

double learning_rate_at(ScheduleOptions const& schedule, double peak_rate, std::int64_t step,
                        std::int64_t steps_per_epoch, std::int64_t total_steps)
{
  double const now = static_cast<double>(step);
  double const per_epoch = static_cast<double>(std::max<std::int64_t>(steps_per_epoch, 1));
  double const total = static_cast<double>(total_steps);
  double const warmup = schedule.warmup_epochs * per_epoch;
  // The first step of a warm-up moves already, the last one has the full rate.
  double const rise = now + 1 < warmup ? (now + 1) / warmup : 1;

  double factor = 1;
  switch (schedule.kind) {
  case ScheduleKind::constant:
    break;
  case ScheduleKind::step:
    factor = std::pow(schedule.gamma, std::floor(now / (schedule.step_epochs * per_epoch)));
    break;
  case ScheduleKind::cosine:
    factor = now < warmup ? 1 : anneal(1, schedule.final_fraction, part_of(now, warmup, total));
    break;
  case ScheduleKind::one_cycle: {
    double const top = schedule.peak_fraction * total - 1;
    factor = now < top ? anneal(schedule.initial_fraction, 1, part_of(now, 0, top))
                       : anneal(1, schedule.final_fraction, part_of(now, std::max(top, 0.0), total - 1));
    break;
  }
  }
  return peak_rate * rise * factor;
}

} // namespace nasturtium::nn
