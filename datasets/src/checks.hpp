// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the readers share.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/datasets/dataset.hpp>

#include <algorithm>
#include <cmath>
#include <string>

namespace nasturtium::datasets::impl {

/// Throws for the first label outside [low, high]; `source` names the file.
template <class Labels>
void check_labels(Labels const& labels, std::int64_t low, std::int64_t high, std::string const& source)
{
  for (std::size_t i = 0; i < labels.size(); ++i) {
    auto const label = static_cast<std::int64_t>(labels[i]);
    require(label >= low && label <= high, source, ": label ", label, " of sample ", i, " is out of range [", low, ", ",
            high, "]");
  }
}

/// Throws for the first value that is not finite.
inline void check_finite(std::vector<float> const& values, std::int64_t row_size, std::string const& source,
                         char const* what)
{
  auto const bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return;
  fail(source, ": ", what, " of sample ", (bad - values.begin()) / std::max<std::int64_t>(1, row_size),
       " is not finite, got ", shortest(*bad));
}

inline std::string file_name(std::string const& path)
{
  return path.substr(path.rfind('/') + 1); // npos + 1 == 0
}

} // namespace nasturtium::datasets::impl
