// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/wall_time.hpp>

#include "one_sided.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {

WallTimeModel::WallTimeModel(std::span<double const> predicted, std::span<double const> measured,
                             std::vector<double> startups)
    : m_startups(std::move(startups))
{
  require(predicted.size() == measured.size(), "wall time: ", predicted.size(), " predicted steps, but ",
          measured.size(), " measured");
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    for (double const seconds : {predicted[i], measured[i]})
      require(seconds > 0 && std::isfinite(seconds), "wall time: a step must be positive and finite, got ",
              shortest(seconds));
    m_scores.push_back(std::log(measured[i] / predicted[i]));
  }
  for (double const seconds : m_startups)
    require(seconds >= 0 && std::isfinite(seconds), "wall time: a start-up must be >= 0 and finite, got ",
            shortest(seconds));
}

WallTime WallTimeModel::suggest(double step_seconds, StepRange steps, double risk) const
{
  require(step_seconds > 0 && std::isfinite(step_seconds), "wall time: a step must be positive and finite, got ",
          shortest(step_seconds));
  require(steps.least >= 0 && steps.least <= steps.most, "wall time: steps must be a range, got ", steps.least, " to ",
          steps.most);
  require(risk > 0 && risk < 1, "wall time: risk must be in (0, 1), got ", shortest(risk));
  WallTime result;
  result.risk = risk;
  result.needed = static_cast<std::int64_t>(std::ceil(1 / risk - 1 - 1e-9));
  // Without any start-ups nothing is known of them, and they count nothing.
  result.rows =
      static_cast<std::int64_t>(m_startups.empty() ? m_scores.size() : std::min(m_scores.size(), m_startups.size()));
  result.startup = m_startups.empty() ? 0 : impl::one_sided_limit(m_startups, risk);
  result.step = step_seconds;
  result.step_limit = step_seconds * std::exp(impl::one_sided_limit(m_scores, risk));
  result.expected = (m_startups.empty() ? 0 : median(m_startups)) + static_cast<double>(steps.least) * result.step;
  result.limit = result.startup + (steps.most > 0 ? static_cast<double>(steps.most) * result.step_limit : 0);
  return result;
}

std::string slurm_time(double seconds)
{
  require(seconds >= 0 && seconds < 1e9, "a wall time must be in [0, 1e9) seconds, got ", shortest(seconds));
  auto const all = static_cast<std::int64_t>(std::ceil(seconds));
  auto const two = [](std::int64_t value) { return concat(value < 10 ? "0" : "", value); };
  return concat(two(all / 3600), ":", two(all / 60 % 60), ":", two(all % 60));
}

std::string slurm_lines(double seconds, double bytes)
{
  require(seconds > 0, "a wall time must be > 0, got ", shortest(seconds)); // Slurm takes 0 for no limit
  require(bytes > 0 && bytes < 1e18, "memory must be in (0, 1e18) bytes, got ", shortest(bytes));
  return concat("#SBATCH --time=", slurm_time(seconds),
                "\n#SBATCH --mem=", static_cast<std::int64_t>(std::ceil(bytes / 1048576)), "M\n");
}

} // namespace nasturtium::estimator
