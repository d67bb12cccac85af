// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The methods by name, with every hyperparameter open.
#pragma once

#include <nasturtium/predictor/families.hpp>
#include <nasturtium/predictor/method.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace nasturtium::predictor {

/// How a method works; each preset is one of these with its published (or documented) settings.
enum class Kind {
  none,           ///< watches and says nothing
  engine,         ///< fit a parametric family, stop when the predictions agree (PEng4NN, PENGUIN, A4NN)
  constant,       ///< median of the finished curves
  last_value,     ///< the value measured last
  best_so_far,    ///< the best value measured
  i_epoch,        ///< best so far, everybody stops after `stop_epoch` epochs (Egele et al. 2024)
  median,         ///< stop below the median of the running averages of others (Vizier, Optuna)
  halving,        ///< successive halving in one cohort: wait at a rung until all are there (Jamieson, Talwalkar 2016)
  asha,           ///< the same without waiting: stop unless among the top 1/eta of those seen at the rung
  domhan,         ///< weighted mixture of families with a posterior (after Domhan et al. 2015)
  ridge,          ///< ridge regression on features of finished curves
  svr,            ///< support vector regression on the same (after Baker et al. 2017)
  train_loss_sum, ///< ranking by the summed training loss (Ru et al. 2021)
  nasturtium,     ///< our own: a Bayesian regression on finished curves with calibrated intervals
};

/// When the engine says "converged" (the reference's state machines).
enum class Rules { penguin, penguin_modular, a4nn };

enum class Solver {
  trf,   ///< bounded trust-region reflective least squares, as the published engines had it
  exact, ///< the constrained optimum; of exp_default alone
};

/// Everything that can be set. Values and thresholds are in percentage points (0..100), epochs in epochs.
struct Settings
{
  std::string name; ///< of the method, as it calls itself
  Kind kind = Kind::none;

  // Of all methods.
  double e_pred = 20; ///< the epoch to predict: the length of a full training, > 0
  double spacing = 1; ///< E: epochs between two points of a curve, > 0
  /// The value to beat; NaN: the best final value among the finished curves.
  double incumbent = std::numeric_limits<double>::quiet_NaN();
  double value_min = 0, value_max = 100; ///< what a value can be

  // The parametric engine.
  Rules rules = Rules::penguin;
  Solver solver = Solver::trf;
  Family family = Family::exp_default;
  int window = 3;            ///< N: predictions that must agree, >= 1
  double tolerance = 0.5;    ///< t: how far from their median, >= 0
  int c_min = 3;             ///< C_min: points before the first fit (the rules say how it counts), >= 0
  int max_evaluations = 300; ///< of a fit, >= 1
  bool loss_check = false;   ///< `penguin`: converge only above `loss_floor` or when the loss is stale
  double loss_floor = 19.61; ///< value above which the loss is not looked at
  double loss_patience = 5;  ///< epochs without a new minimum of the loss

  // Stopping by budget: i_epoch, last_value, best_so_far, constant, ridge, svr, domhan, train_loss_sum, nasturtium.
  double stop_epoch = 0;    ///< stop (or pause) here at the latest, > 0; 0: `stop_fraction` tells
  double stop_fraction = 0; ///< the same as a share of e_pred, [0, 1]; 0: no such rule
  int min_finished = 0;     ///< as long as fewer curves have been finished, nothing is stopped
  bool pause = false;       ///< say pause where the budget, not the value, is the reason

  // Rungs: halving, asha.
  double eta = 3;            ///< keep one in eta, > 1
  double grace = 1;          ///< the first rung, epochs; the others are its multiples by powers of eta
  std::vector<double> rungs; ///< instead of grace and eta's powers: the rungs themselves, rising
  int cohort = 0;            ///< halving: networks that take part; 0: wait for nobody, as asha

  // Median rule.
  int startup_curves = 5;   ///< finished curves before the rule speaks
  double warmup_epochs = 0; ///< epochs before the rule speaks

  // What may be lost.
  double stop_below = 0.05; ///< stop if P(final > incumbent) is below, [0, 1]; 0: never (domhan, nasturtium)
  double keep_above = 1;  ///< nasturtium: past the budget, go on while P(final > incumbent) is above, [0, 1]; 1: never
  double first_epoch = 1; ///< no decision of value before this epoch

  // Regressions on finished curves.
  double lambda = 1;        ///< ridge penalty on standardised features, >= 0
  double svr_c = 10;        ///< SVR: most weight of a curve, > 0
  double svr_epsilon = 0.1; ///< SVR: errors that do not count, in standard deviations of the finals, >= 0
  int history = 1000;       ///< most finished curves that are learnt from (the latest), >= 1

  // Posterior sampling of domhan.
  int samples = 100;      ///< of the posterior
  std::uint64_t seed = 1; ///< of the samples
};

/// Names of all presets, in the order of the documentation.
std::vector<std::string> preset_names();
/// The settings of a preset; throws Error for a name that is none, listing those that are.
Settings preset(std::string const& name);
/// Throws Error for a setting outside its range.
void check(Settings const& settings);
/// The method that the settings describe; throws Error as check() does.
std::unique_ptr<Method> make_method(Settings const& settings);

} // namespace nasturtium::predictor
