// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What to ask a scheduler for: a wall time at a chosen risk of being killed (reference section 2.7).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// How many steps a job makes: a number (equal ends) or a range. Never part of the estimate of one step.
struct StepRange
{
  std::int64_t least = 0, most = 0;
};

/// Seconds; `limit` parts are infinite where the calibration has too few rows for the risk.
struct WallTime
{
  double startup = 0;              ///< limit of the start-up
  double step = 0, step_limit = 0; ///< median and limit of one step
  double expected = 0;             ///< median start-up and the fewest steps at the median step
  double limit = 0;                ///< what to ask for: start-up limit + most steps x step limit
  double risk = 0;
  std::int64_t rows = 0, needed = 0; ///< calibration rows there are, and 1/risk - 1
  bool finite() const { return rows >= needed; }
};

/// One-sided limits from jobs that were neither trained nor tested on.
class WallTimeModel
{
public:
  /// `predicted` and `measured` medians of a step, one each per calibration network; `startups` are seconds before the
  /// first step of as many jobs as there are. The score of a network is log(measured / predicted). Throws Error for
  /// unequal numbers and for times that are not positive (start-ups: negative) and finite.
  WallTimeModel(std::span<double const> predicted, std::span<double const> measured, std::vector<double> startups);

  /// The limit of a step is predicted x exp(score of rank ceil((n + 1)(1 - risk))). The error of a step time is common
  /// to all steps of a job, so it is multiplied by them and not shrunk by their root. Start-up and step take the same
  /// level each. Throws Error for a risk outside of (0, 1), steps out of order, and a step that is not positive.
  WallTime suggest(double step_seconds, StepRange steps, double risk = 0.01) const;

private:
  std::vector<double> m_scores, m_startups;
};

/// "HH:MM:SS", rounded up to a second, hours as many digits as they need. Throws Error unless 0 <= seconds < 1e9.
std::string slurm_time(double seconds);

/// "#SBATCH --time=HH:MM:SS" and "#SBATCH --mem=...M" (MiB, rounded up), a line each. Throws Error for what is not
/// finite and not positive.
std::string slurm_lines(double seconds, double bytes);

} // namespace nasturtium::estimator
