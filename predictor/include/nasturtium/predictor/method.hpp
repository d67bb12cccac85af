// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A method watches the learning curves of one search and says early what each network will reach. It knows ids, epochs
// and values, no network and no search.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::predictor {

/// What may be known beside the value; NaN: not known.
struct Covariates
{
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  double train_loss = std::numeric_limits<double>::quiet_NaN();
  double train_accuracy = std::numeric_limits<double>::quiet_NaN(); ///< percent, as values
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
};

struct Interval
{
  double lower = std::numeric_limits<double>::quiet_NaN();
  double upper = std::numeric_limits<double>::quiet_NaN();
};

enum class Decision { proceed, pause, stop };

/// The answer to an observation. Values in the unit of the observations (percent, 0..100).
struct Prediction
{
  double value =
      std::numeric_limits<double>::quiet_NaN();   ///< predicted final value; NaN: none yet, infinite: failed fit
  Interval interval_50, interval_80, interval_90; ///< NaN where the method has none
  double p_beat =
      std::numeric_limits<double>::quiet_NaN(); ///< P(final value > incumbent); NaN where the method has none
  bool converged = false;                       ///< the method would report `value` as the network's fitness now
  Decision decision = Decision::proceed;
  std::string_view reason; ///< one word or phrase, static storage
};

/// The methods are deterministic functions of what they were told, in the order in which they were told it.
class Method
{
public:
  virtual ~Method() = default;
  virtual std::string_view name() const = 0;
  /// The next point of a curve; epochs of one id must rise, values must be finite. Throws Error for anything else. A
  /// decision binds nobody: further points may follow a stop.
  virtual Prediction observe(std::string_view id, double epoch, double value, Covariates const& covariates = {}) = 0;
  /// The curve has been trained to its end: its last value is a final value that others can learn from.
  virtual void finish(std::string_view id) = 0;
  /// The curve was stopped or failed before its end; nothing is learnt from its last value.
  virtual void abandon(std::string_view id) = 0;
  /// The answer to the last point of a curve once more, in the light of what has been told since: what to ask for
  /// curves that wait after a pause. The methods of presets.hpp throw Error for an id that was never observed; the
  /// default knows nothing.
  virtual Prediction review(std::string_view id)
  {
    static_cast<void>(id);
    return {};
  }
};

} // namespace nasturtium::predictor
