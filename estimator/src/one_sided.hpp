// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace nasturtium::estimator::impl {

/// Rank of the score that bounds a new one with probability 1 - alpha: ceil((n + 1)(1 - alpha)). More than n: none
/// does.
inline std::int64_t one_sided_rank(std::int64_t n, double alpha)
{
  // (19 + 1)(1 - 0.1) must be 18 whatever the rounding of 0.9.
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(n + 1) * (1 - alpha) - 1e-9));
}

/// The score of that rank in ascending order; infinite where the rank is more than their number.
inline double one_sided_limit(std::vector<double> scores, double alpha)
{
  auto const rank = std::max<std::int64_t>(one_sided_rank(static_cast<std::int64_t>(scores.size()), alpha), 1);
  if (rank > static_cast<std::int64_t>(scores.size())) return std::numeric_limits<double>::infinity();
  std::nth_element(scores.begin(), scores.begin() + (rank - 1), scores.end());
  return scores[static_cast<std::size_t>(rank - 1)];
}

} // namespace nasturtium::estimator::impl
