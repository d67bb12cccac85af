// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <nasturtium/estimator/conformal.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace nasturtium::estimator::impl {

/// The score of the conformal rank in ascending order; infinite where the rank is more than their number.
inline double one_sided_limit(std::vector<double> scores, double alpha)
{
  auto const rank = conformal_rank(static_cast<std::int64_t>(scores.size()), alpha);
  if (!rank) return std::numeric_limits<double>::infinity();
  auto const at = scores.begin() + (std::max<std::int64_t>(*rank, 1) - 1);
  std::nth_element(scores.begin(), at, scores.end());
  return *at;
}

} // namespace nasturtium::estimator::impl
