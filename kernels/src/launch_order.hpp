// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The order in which several rows of launches are made together.
#pragma once

#include <span>
#include <vector>

namespace nasturtium::kernels::impl {

/// One launch of a merged row: the next launch of each of these rows, all of one kind.
struct MergedLaunch
{
  int kind = 0;
  std::vector<int> rows; ///< ascending
};

/// A common supersequence of rows of kinds. Rows are merged one by one, the longest first, each with what there is by
/// the shortest common supersequence of the two (dynamic programming, Wagner and Fischer 1974). So the result is the
/// shortest where there are at most two different rows, and short where there are more, for which the shortest is
/// NP-hard to find. O(different rows x length of a row x length of the result).
std::vector<MergedLaunch> merge_rows(std::span<std::vector<int> const> rows);

} // namespace nasturtium::kernels::impl
