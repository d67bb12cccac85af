// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An estimator with all that an answer to a user takes: intervals, what it was trained on, memory. One file.
#pragma once

#include <nasturtium/estimator/conformal.hpp>
#include <nasturtium/estimator/estimator.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::estimator {

struct StepModelOptions
{
  std::string method = "nasturtium"; ///< as make_estimator has it
  Level level = Level::physics;
  double calibration_share = 0.3; ///< of the lineages: examples that are not trained on
  std::uint64_t seed = 1;
};

/// An example with a name to show and, where it was measured, its memory.
struct NamedExample
{
  std::string name;
  Example example;
};

/// A feature outside of what the training had.
struct Outside
{
  std::string feature;
  double value = 0, low = 0, high = 0; ///< the 0.5 % and 99.5 % quantiles of the training
};
struct Neighbour
{
  std::string name;
  double seconds = 0, distance = 0;
};

/// Seconds of one step, and how much they are to be trusted.
struct StepEstimate
{
  double seconds = 0;                               ///< the median
  std::vector<std::pair<double, double>> quantiles; ///< (level, seconds) at .1, .5, .9, .99; infinite: too few rows
  bool in_range = true;
  std::vector<Outside> outside;      ///< of them the features that are out of range
  double distance = 0, far = 0;      ///< to the 5th-nearest of the training, and its 99 % quantile there
  std::vector<Neighbour> neighbours; ///< the nearest of the training, at most 5
};

class StepModel
{
public:
  /// Splits by lineage, trains on one part and calibrates the intervals on the other (reference section 2.7). Throws
  /// Error for fewer than 20 examples, and where one lineage holds more than half of them.
  static StepModel fit(std::vector<NamedExample> const& examples, StepModelOptions const& options);

  /// The median of estimate() alone, without all that takes the training to compare with. Throws as it does.
  double seconds(Description const& description, std::string const& device) const;
  /// In O(features x training). Throws Error for a device that the model does not know.
  StepEstimate estimate(Description const& description, std::string const& device) const;
  /// The interval of the middle `level`, seconds; an infinite end where there are too few rows.
  std::pair<double, double> interval(Description const& description, std::string const& device, double level) const;
  /// What a step takes at most at a risk, seconds; infinite with fewer than 1/risk - 1 calibration rows.
  double limit(Description const& description, std::string const& device, double risk) const;

  std::vector<Device> const& devices() const { return m_devices; }
  Device const& device(std::string const& name) const;
  /// Adds a device from a few timings there: constants as probed, one scale for all estimates (section 2.9). Throws
  /// Error for no probes and for times that are not positive and finite; the model is then as before.
  void adapt(Device const& device, std::span<Example const> probes);
  std::string method() const { return m_estimator->name(); }
  std::int64_t trained() const { return m_trained; } ///< networks that it was fitted on
  /// Predicted and measured seconds of the examples that were held out; empty in a model that was loaded.
  std::pair<std::vector<double> const&, std::vector<double> const&> calibration() const
  {
    return {m_predicted, m_measured};
  }
  std::int64_t calibrated() const { return m_calibrated; }

  /// JSON text, and back to the same answers. Throws Error naming `source`, field and value.
  std::string save() const;
  static StepModel load(std::string const& json, std::string const& source);

private:
  std::shared_ptr<Estimator const> m_estimator;
  std::vector<Device> m_devices;
  std::vector<double> m_scales;                ///< of each device
  std::vector<double> m_predicted, m_measured; ///< of the calibration
  std::shared_ptr<Conformal const> m_intervals;
  std::int64_t m_calibrated = 0;
  std::int64_t m_trained = 0;
  // Of the training, or 2,000 of it: standardised rich features row by row, for neighbours and ranges.
  std::vector<std::string> m_names;
  std::vector<double> m_seconds, m_rows, m_mean, m_deviation, m_low, m_high;
  double m_far = 0;

  std::size_t position(std::string const& device) const;
  Prediction predicted(Description const& description, std::size_t device) const;
  void set_far();
};

} // namespace nasturtium::estimator
