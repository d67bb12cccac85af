// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The methods that see nothing but rows of named features: networks on one of the levels, or layers of a public table.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/estimator/estimator.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// Rows of features with their times.
struct FeatureRows
{
  std::vector<std::string> names;
  std::vector<double> values;        ///< row after row
  std::vector<double> roofline;      ///< seconds of each row by the roofline, > 0
  std::vector<double> seconds;       ///< measured, > 0
  std::vector<std::int64_t> lineage; ///< of each row (Example::lineage); or empty: each row its own
  std::vector<std::string> devices;  ///< of each row; or empty: one device

  std::size_t size() const { return seconds.size(); }
  std::span<double const> row(std::size_t i) const { return {values.data() + i * names.size(), names.size()}; }
  /// Adds a row; of lineage and devices only what the rows have.
  void add(std::vector<double> const& features, double roofline_seconds, double measured);
};

/// Throws Error for no rows, lists that are not equally long, values that are not finite, times that are not positive.
void check(FeatureRows const& rows);

class Regressor
{
public:
  virtual ~Regressor() = default;
  virtual std::string method() const = 0;
  /// As Estimator::fit.
  virtual void fit(FeatureRows const& rows, std::uint64_t seed, bool warm = false) = 0;
  /// `row` in the order of FeatureRows::names; `roofline_seconds` as there. Only after fit. Safe to call from several
  /// threads. Throws Error for another number of features.
  virtual Prediction predict(std::span<double const> row, double roofline_seconds) const = 0;
  /// All that predict needs, as fields of an object; load takes it back and throws Error that starts with `source`.
  virtual json::Object save() const = 0;
  virtual void load(json::Value const& model, std::string const& source) = 0;
};

/// "paper-mlp", "log-linear", "trees", "trees-ratio", "quantile-mlp", "ensemble5", "justus-mlp" and "nasturtium".
/// Throws Error for another name, and for trees in a build without XGBoost.
std::unique_ptr<Regressor> make_regressor(std::string const& method);
std::vector<std::string> regressor_names();

} // namespace nasturtium::estimator
