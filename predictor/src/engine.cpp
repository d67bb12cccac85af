// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The published engines: fit all points so far, extrapolate to the last epoch, and say "converged" when the last N
// predictions agree.
#include "watched.hpp"

#include <nasturtium/predictor/fit.hpp>

#include <algorithm>

namespace nasturtium::predictor::impl {

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

class Engine : public WatchedMethod
{
public:
  explicit Engine(Settings const& settings) : WatchedMethod(settings), m_fitter(capacity())
  {
    m_x.reserve(capacity());
    m_sorted.reserve(static_cast<std::size_t>(settings.window));
  }

private:
  Prediction answer(Curve& curve) override
  {
    return settings().rules == Rules::a4nn ? a4nn(curve) : penguin(curve, settings().rules == Rules::penguin_modular);
  }

  // x of the points so far: multiples of the spacing, from 1 (PENGUIN) or from 0 (A4NN).
  Fit fit(Curve const& curve)
  {
    double const shift = settings().rules == Rules::a4nn ? 1 : 0;
    m_x.clear();
    for (double const epoch : curve.epochs)
      m_x.push_back(epoch / settings().spacing - shift);
    if (settings().family != Family::exp_default)
      return m_fitter.multi_start(settings().family, m_x, curve.values, settings().max_evaluations);
    auto const range = settings().rules == Rules::a4nn ? a4nn_range() : penguin_range();
    return settings().solver == Solver::exact
               ? m_fitter.exact(m_x, curve.values, range)
               : m_fitter.trust_region(settings().family, m_x, curve.values, range, settings().max_evaluations);
  }
  double extrapolate(Fit const& fit) const
  {
    return evaluate(settings().family, settings().e_pred / settings().spacing, fit.parameters);
  }

  // Every one of the last predictions within the tolerance of their median.
  bool agree(std::vector<double> const& window)
  {
    m_sorted.assign(window.begin(), window.end());
    std::sort(m_sorted.begin(), m_sorted.end());
    std::size_t const half = m_sorted.size() / 2;
    double const median = m_sorted.size() % 2 == 1 ? m_sorted[half] : 0.5 * (m_sorted[half - 1] + m_sorted[half]);
    return std::all_of(window.begin(), window.end(),
                       [&](double value) { return std::abs(value - median) <= settings().tolerance; });
  }

  bool loss_check(Curve const& curve, double predicted) const
  {
    if (!settings().loss_check || predicted > settings().loss_floor) return true;
    double least = infinite, epoch_of_least = infinite;
    for (std::size_t i = 0; i < curve.points(); ++i)
      if (curve.validation_losses[i] < least) {
        least = curve.validation_losses[i];
        epoch_of_least = curve.epochs[i];
      }
    return curve.epochs.back() - epoch_of_least >= settings().loss_patience;
  }

  Prediction penguin(Curve& curve, bool modular)
  {
    // Once converged, the published engine is not asked again: it stays with its word.
    if (curve.memo != 0) return curve.answer;
    Prediction prediction;
    auto& history = curve.kept;
    int const first = modular ? settings().c_min - 1 : 2;
    if (static_cast<int>(curve.points()) < std::max(first, 1)) {
      prediction.reason = "too few points";
      return prediction;
    }
    auto const fitted = fit(curve);
    double const predicted = fitted.success ? extrapolate(fitted) : infinite;
    if (at_end(curve)) { // nothing is tested with the last point included
      prediction.value = curve.last();
      prediction.reason = "trained to the end";
      return prediction;
    }
    prediction.value = predicted;
    prediction.reason = "watching";
    if (!fitted.success || std::isnan(predicted)) {
      prediction.value = infinite;
      prediction.reason = "failed fit";
      return prediction;
    }
    bool const bounded = settings().family == Family::exp_default;
    if (!modular && bounded && std::abs(fitted.parameters[0] - 200) < 0.01) {
      history.clear();
      prediction.reason = "fit at its bound";
      return prediction;
    }
    if (modular && !(predicted >= settings().value_min && predicted <= settings().value_max)) {
      history.clear();
      prediction.reason = "prediction out of range";
      return prediction;
    }
    history.push_back(predicted);
    if (history.size() < static_cast<std::size_t>(settings().window)) return prediction;
    bool const agreed = agree(history);
    history.erase(history.begin());
    if (agreed && predicted > settings().value_min && predicted <= settings().value_max &&
        loss_check(curve, predicted)) {
      curve.memo = 1;
      prediction.converged = true;
      prediction.decision = Decision::stop;
      prediction.reason = "predictions agree";
    }
    return prediction;
  }

  Prediction a4nn(Curve& curve)
  {
    Prediction prediction;
    auto const index = static_cast<int>(curve.points()) - 1;
    auto& history = curve.kept;
    double predicted = infinite;
    if (index >= settings().c_min) {
      auto const fitted = fit(curve);
      if (fitted.success) predicted = extrapolate(fitted);
      if (std::isnan(predicted)) predicted = infinite;
      prediction.reason = std::isfinite(predicted) ? "watching" : "failed fit";
    } else {
      prediction.reason = "too few points";
    }
    prediction.value = predicted;
    history.push_back(predicted);
    if (history.size() > static_cast<std::size_t>(settings().window)) history.erase(history.begin());
    if (history.size() < static_cast<std::size_t>(settings().window)) return prediction;
    bool const in_range = std::all_of(history.begin(), history.end(), [&](double value) {
      return value >= settings().value_min && value <= settings().value_max; // infinite is not
    });
    if (in_range && agree(history)) {
      prediction.converged = true;
      prediction.decision = Decision::stop;
      prediction.reason = "predictions agree";
    }
    return prediction;
  }

  Fitter m_fitter;
  std::vector<double> m_x, m_sorted;
};

} // namespace

std::unique_ptr<Method> make_engine(Settings const& settings)
{
  return std::make_unique<Engine>(settings);
}

} // namespace nasturtium::predictor::impl
