// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Features in units of their deviation on the training rows.
#pragma once

#include <nasturtium/core/json.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

struct Scaling
{
  std::vector<double> mean, deviation; ///< a deviation of 0 counts as 1

  /// Of rows of `columns` values.
  static Scaling of(std::span<double const> values, std::size_t columns);
  std::vector<double> operator()(std::span<double const> row) const; ///< Throws Error for another number of features
  std::vector<float> single(std::span<double const> row) const;      ///< the same in float32

  json::Object save() const;
  static Scaling load(json::Value const& value, std::string const& what);
};

json::Array to_array(std::span<double const> values);
/// Finite numbers; throws Error that starts with `what`, also unless there are `count` (or any number for -1).
std::vector<double> to_numbers(json::Value const& value, std::string const& what, std::int64_t count = -1);

} // namespace nasturtium::estimator
