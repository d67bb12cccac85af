// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Estimators of the time of a step: one interface, many methods (reference section 2.6).
#pragma once

#include <nasturtium/estimator/device.hpp>
#include <nasturtium/estimator/workload.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

/// A timed workload.
struct Example
{
  Description description;
  Device device;
  double seconds = 0;       ///< median of a step, > 0
  std::int64_t lineage = 0; ///< examples of one lineage never stand on both sides of a split
};

/// Estimated seconds of one step; quantiles are NaN where the method has none.
struct Prediction
{
  double seconds = 0; ///< the median
  double q10 = std::numeric_limits<double>::quiet_NaN(), q90 = std::numeric_limits<double>::quiet_NaN();
};

/// How much of a workload a method sees (reference section 2.5).
enum class Level { minimal, brief, rich, physics };
std::string name(Level level); ///< "minimal", "short", "rich", "physics"
Level parse_level(std::string const& text, std::string const& source);

class Estimator
{
public:
  virtual ~Estimator() = default;
  virtual std::string name() const = 0; ///< "trees-ratio on physics"
  /// Fits from scratch; where `warm` is true and the method can, goes on from the last fit. Deterministic in seed and
  /// examples. Throws Error for no examples and for times that are not positive and finite.
  virtual void fit(std::span<Example const> examples, std::uint64_t seed, bool warm = false) = 0;
  /// Only after fit. Safe to call from several threads.
  virtual Prediction predict(Description const& description, Device const& device) const = 0;
  /// JSON text of everything that predict needs; make_estimator's load reads it back to the same predictions.
  virtual std::string save() const = 0;
};

/// Methods by name ("paper-mlp", "log-linear", "nnls-roofline", "trees", "trees-ratio", "quantile-mlp", "ensemble5",
/// "li-linear", "justus-mlp", "neusight-u"), each on the level it is asked for where it has levels. Throws Error for an
/// unknown name, and for trees in a build without XGBoost.
std::unique_ptr<Estimator> make_estimator(std::string const& method, Level level);
std::vector<std::string> estimator_names();
/// From what save() wrote. Throws Error naming `source`, field and value.
std::unique_ptr<Estimator> load_estimator(std::string const& json, std::string const& source);

} // namespace nasturtium::estimator
