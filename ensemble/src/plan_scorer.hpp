// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A matrix as the search sees it, and its score. A search scores many thousands, so nothing is allocated per score.
#pragma once

#include <nasturtium/ensemble/planner.hpp>

#include <limits>
#include <vector>

namespace nasturtium::ensemble::impl {

/// devices x models, row-major: 0 for no cell, else 1 + index of the batch.
using Levels = std::vector<int>;

inline constexpr double unusable = -std::numeric_limits<double>::infinity();

class Scorer
{
public:
  /// `latency_bound` 0: none. The problem must be valid and outlive this.
  Scorer(PlanningProblem const& problem, double latency_bound = 0);

  /// Fluid throughput in samples per second; a value in (-1, 0) where the latency bound is broken, the closer to 0 the
  /// less; `unusable` where a model has no cell, cannot run in its cell, or memory is short.
  double score(Levels const& levels);

  bool fits(Levels const& levels); ///< the memory rule
  double fluid(Levels const& levels);
  double latency(Levels const& levels) const;
  double rate(int device, int model, int level) const { return m_rate[place(device, model, level)]; }
  double bytes(int device, int model, int level) const { return m_bytes[place(device, model, level)]; }
  /// Batch level of the highest solo rate with at most `bytes`; 0 where none fits.
  int best_level(int device, int model, double bytes) const;

  int devices() const { return m_devices; }
  int models() const { return m_models; }
  int levels() const { return m_levels; } ///< without 0
  PlanningProblem const& problem() const { return *m_problem; }
  std::int64_t scored() const { return m_scored; }

private:
  std::size_t place(int device, int model, int level) const
  {
    return (std::size_t(device) * m_models + model) * (m_levels + 1) + level;
  }

  PlanningProblem const* m_problem;
  double m_latency_bound;
  int m_devices, m_models, m_levels;
  std::vector<double> m_rate, m_bytes; ///< devices x models x (levels + 1)
  std::vector<double> m_share;         ///< devices x (models + 1): gain(a) / a
  std::vector<double> m_used, m_left, m_model_rate;
  std::int64_t m_scored = 0;
};

Allocation to_allocation(PlanningProblem const& problem, Levels const& levels);
Levels to_levels(PlanningProblem const& problem, Allocation const& allocation); ///< of a usable allocation

// The starts; all 0 where they do not fit.
Levels worst_fit(Scorer const& scorer, int fixed_level);
Levels round_robin(Scorer const& scorer);
Levels longest_first(Scorer const& scorer);

} // namespace nasturtium::ensemble::impl
