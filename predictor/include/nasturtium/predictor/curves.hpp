// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recorded learning curves, from the project's own files and from those of the published data sets.
#pragma once

#include <nasturtium/predictor/method.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::predictor {

enum class CurveFormat {
  csv,   ///< id, epoch, value [, learning_rate, train_loss, train_accuracy, validation_loss]; other columns are ignored
  jsonl, ///< the same fields as one JSON object a line
  a4nn,  ///< A4NN's training tables: epoch (from 0), train_accs, val_accs [, predictions, converged]
  penguin, ///< PENGUIN's text files: one network a file, blank-separated, half-epochs
  metaqnn  ///< one network a row, acc_0 ... or acc_1 ..., fractions
};

/// Accuracies in percent, in [0, 1], or told by the file: fractions where no value exceeds 1.
enum class Unit { automatic, percent, fraction };

struct RecordedCurve
{
  std::string id;
  std::vector<double> epochs; ///< rising
  std::vector<double> values; ///< percent, finite
  std::vector<Covariates> covariates;
  std::vector<double> seconds; ///< of training and validation until each point, NaN where unknown; or empty
  bool failed = false;         ///< a value was not finite: the training diverged there, and the curve ends before it
  /// What the file says an engine answered at each point (a4nn with `predictions` and `converged`); else empty.
  std::vector<double> published_predictions;
  std::vector<char> published_converged;

  std::size_t points() const { return values.size(); }
};

struct CurveSet
{
  std::string source;                ///< for messages
  std::vector<RecordedCurve> curves; ///< in the order of appearance
  bool fractions = false;            ///< the file had fractions; they are percent here

  double
  spacing() const; ///< the least distance between two epochs of a curve; the first epoch where all have one point
  double last_epoch() const; ///< of the longest curve; 0 without points
};

/// Throws Error for a name that is none of csv, jsonl, a4nn, penguin, metaqnn.
CurveFormat curve_format(std::string_view name);

/// Reads a plain or gzip'ed file. An empty value is a point that was not measured; a value that is not finite (JSON:
/// null) ends its curve as failed. Throws Error, naming file, line and field, for anything that does not fit.
CurveSet read_curves(std::string const& path, CurveFormat format, Unit unit = Unit::automatic);
/// The same of text as if read from `source`.
CurveSet parse_curves(std::string const& text, std::string const& source, CurveFormat format,
                      Unit unit = Unit::automatic);
/// Adds the curves of `more`; throws Error for an id that both have.
void append(CurveSet& set, CurveSet more);

} // namespace nasturtium::predictor
