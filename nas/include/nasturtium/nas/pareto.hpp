// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ranking by several objectives at once, all minimised (Deb et al., NSGA-II, IEEE TEC 6(2), 2002).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nasturtium::nas {

/// One row a solution; all rows of the same length, all values finite.
using Objectives = std::vector<std::vector<double>>;

/// No worse in every objective and better in one.
bool dominates(std::span<double const> left, std::span<double const> right);

/// The front of every solution, from 0: those that nobody dominates, then those that only they dominate, and so on.
/// O(objectives * n^2); O(n log n) for two objectives.
std::vector<int> non_dominated_sort(Objectives const& objectives);

/// Crowding distance of the solutions `front` (positions in `objectives`): the larger, the lonelier; infinite at the
/// ends of an objective. Equal values are taken in the order of the positions. O(objectives * n log n).
std::vector<double> crowding_distance(Objectives const& objectives, std::span<std::size_t const> front);

} // namespace nasturtium::nas
