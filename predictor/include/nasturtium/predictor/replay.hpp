// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A method over recorded curves, as if the search ran again: curves one after another in the order of the file; a curve
// that the method stops is not seen further; a curve that ran to e_pred is finished, and methods learn from it.
#pragma once

#include <nasturtium/predictor/curves.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace nasturtium::predictor {

struct ReplayOptions
{
  /// Curves that wait after a pause and that the method does not release by itself: so many of the best predicted ones
  /// are trained to the end when all others are through, the rest is stopped.
  int resume = 0;
  /// Called for every observation.
  std::function<void(RecordedCurve const&, std::size_t point, Prediction const&)> trace = nullptr;
};

struct CurveResult
{
  std::string id;
  std::size_t points = 0; ///< that the method was shown
  double stop_epoch = 0;  ///< the last epoch that was trained
  double full_epoch = 0;  ///< where the training would have ended: e_pred, or the curve's end where it failed before
  bool converged = false; ///< stopped early with a predicted value
  bool complete = false;  ///< trained to the end: the prediction is the measurement
  bool failed = false;    ///< diverged before it was stopped
  double prediction = std::numeric_limits<double>::quiet_NaN(); ///< what is reported as fitness
  double last_value = std::numeric_limits<double>::quiet_NaN(), best_value = std::numeric_limits<double>::quiet_NaN();
  Interval interval_50, interval_80, interval_90;
  double p_beat = std::numeric_limits<double>::quiet_NaN();
  double incumbent = std::numeric_limits<double>::quiet_NaN();   ///< best finished value when p_beat was said
  double final_value = std::numeric_limits<double>::quiet_NaN(); ///< measured at e_pred; NaN: the file ends before
  /// Of training and validation until the stop, and of the whole training; NaN where the file does not tell.
  double seconds = std::numeric_limits<double>::quiet_NaN(), full_seconds = std::numeric_limits<double>::quiet_NaN();
  std::string reason;
};

struct Replay
{
  std::string method;
  std::vector<CurveResult> curves; ///< in the order of the file; curves without any point are left out
  double e_pred = 0;
  std::size_t observations = 0;
  double seconds = 0;      ///< in the method's observe and finish
  double most_seconds = 0; ///< of one observation
};

/// Replays a method. Points after `e_pred` are not seen.
Replay replay(CurveSet const& set, Settings const& settings, ReplayOptions const& options = {});

/// Figures of merit over the curves whose final value is known.
struct Summary
{
  std::string method;
  std::size_t networks = 0; ///< that count below (final value known)
  double saved = 0;         ///< share of epochs not trained, all curves
  double throughput = 1;    ///< networks per epoch against full training
  /// Seconds of all full trainings over the seconds until the stops and those of the method; NaN: times not known.
  double wall_factor = std::numeric_limits<double>::quiet_NaN();
  double converged = 0;                        ///< share of all curves that were stopped with a prediction
  double mean_stop = 0;                        ///< mean epoch of those; NaN for none
  double mae = 0;                              ///< over all
  double mae_stopped = 0, bias = 0, worst = 0; ///< over those that were stopped early
  double spearman = 0, kendall = 0;
  std::size_t k[3] = {1, 1, 1}; ///< 1, 5 and 10 % of the networks, at least 1
  double recall[3] = {0, 0, 0}, epsilon_recall[3] = {0, 0, 0};
  double top_difference = 0; ///< of the mean true accuracy of the 10 % sets
  double regret = 0;
  double coverage_50 = 0, coverage_80 = 0, coverage_90 = 0, width_90 = 0; ///< of stopped curves with intervals
  double crps = 0, brier = 0;                                             ///< NaN where the method has neither
  double log_likelihood = 0; ///< mean natural logarithm of the density at the final value, stopped curves
  double microseconds = 0;   ///< per observation
};

/// What a replay was worth, with the reported value, or another one at the same stops, as prediction.
enum class Reported { prediction, last_value, best_so_far };
Summary summarise(Replay const& replay, Reported reported = Reported::prediction);

/// The baselines that belong beside every result: last value and best so far at the same stops; the constant (median
/// final value of the first 20 curves, error over the others); i-epoch at about the same saving; successive halving
/// with eta 2 and 3 over all curves at once.
std::vector<Summary> baselines(CurveSet const& set, Replay const& replay);

/// All curves trained for `epochs`, the best value until then reported: the trivial rule (Egele et al. 2024).
Summary i_epoch(CurveSet const& set, double epochs, double e_pred);

/// Synchronous successive halving over complete curves by best so far: at each rung floor(n / eta) go on.
struct HalvingResult
{
  std::vector<std::size_t> finalists; ///< positions of those trained to the end
  double saved = 0;
  double regret = 0;            ///< of the finalist with the best final value
  std::vector<double> reported; ///< best so far where each curve was left; final value of finalists
  std::vector<double> stop_epochs;
};
HalvingResult successive_halving(std::vector<RecordedCurve const*> const& curves, std::vector<double> const& rungs,
                                 double eta, double e_pred);

/// The value at e_pred, exactly or after the last epoch before it where the curve reaches e_pred; NaN if it ends
/// before.
double final_value(RecordedCurve const& curve, double e_pred);

} // namespace nasturtium::predictor
