// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all methods share: curves by id, their checks, and memory that is taken when a curve begins.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nasturtium::predictor::impl {

enum class CurveState { running, finished, abandoned };

/// One curve as told so far.
struct Curve
{
  std::string id;
  std::size_t order = 0; ///< of appearance
  CurveState state = CurveState::running;
  std::vector<double> epochs, values;
  std::vector<double> learning_rates, train_losses, train_accuracies, validation_losses; ///< NaN: not known
  std::vector<double> kept; ///< what the engine keeps: its last predictions
  int memo = 0;             ///< what a method remembers of the curve (latched answers, rungs passed)
  double memo_value = 0;
  Prediction answer; ///< the last one

  std::size_t points() const { return values.size(); }
  double last() const { return values.back(); }
  double best() const { return best_value; }
  double best_value = -std::numeric_limits<double>::infinity();
  double sum = 0; ///< of the values
};

/// Keeps the curves and checks what is told; a method answers.
class WatchedMethod : public Method
{
public:
  explicit WatchedMethod(Settings settings) : m_settings(std::move(settings))
  {
    m_capacity = static_cast<std::size_t>(std::min(1e5, std::ceil(m_settings.e_pred / m_settings.spacing))) + 8;
  }

  std::string_view name() const override { return m_settings.name; }

  Prediction observe(std::string_view id, double epoch, double value, Covariates const& covariates) override
  {
    // Messages are made where they are needed alone: this runs for every observation.
    if (id.empty()) fail("curve '': an id must not be empty");
    if (!std::isfinite(value))
      fail("curve ", quoted(id), ": epoch ", shortest(epoch), ": the value ", shortest(value), " is not finite");
    if (!(std::isfinite(epoch) && epoch > 0))
      fail("curve ", quoted(id), ": the epoch ", shortest(epoch), " is not > 0");
    auto const found = m_curves.find(id);
    if (found != m_curves.end()) {
      if (found->second.state != CurveState::running)
        fail("curve ", quoted(id), ": epoch ", shortest(epoch), " after its end");
      if (!(epoch > found->second.epochs.back()))
        fail("curve ", quoted(id), ": epoch ", shortest(epoch), " does not follow epoch ",
             shortest(found->second.epochs.back()));
    }
    Curve& curve = found == m_curves.end() ? begin(id) : found->second;
    curve.epochs.push_back(epoch);
    curve.values.push_back(value);
    curve.learning_rates.push_back(covariates.learning_rate);
    curve.train_losses.push_back(covariates.train_loss);
    curve.train_accuracies.push_back(covariates.train_accuracy);
    curve.validation_losses.push_back(covariates.validation_loss);
    curve.best_value = std::max(curve.best_value, value);
    curve.sum += value;
    curve.answer = answer(curve);
    return curve.answer;
  }

  void finish(std::string_view id) override
  {
    Curve& curve = running(id, "finish");
    curve.state = CurveState::finished;
    m_finals.push_back(curve.last());
    m_best_final = std::max(m_best_final, curve.last());
    learn(curve);
  }

  void abandon(std::string_view id) override
  {
    // A network may fail before its first point; there is nothing to forget then.
    if (m_curves.find(id) == m_curves.end()) return;
    Curve& curve = running(id, "abandon");
    curve.state = CurveState::abandoned;
    forget(curve);
  }

  Prediction review(std::string_view id) override
  {
    auto const found = m_curves.find(id);
    require(found != m_curves.end(), "curve ", quoted(id), ": never observed");
    if (found->second.state == CurveState::running) found->second.answer = again(found->second);
    return found->second.answer;
  }

protected:
  /// The answer after a new point.
  virtual Prediction answer(Curve& curve) = 0;
  /// The answer without a new point; what was said before unless a method learns between.
  virtual Prediction again(Curve& curve) { return curve.answer; }
  virtual void learn(Curve& curve) { static_cast<void>(curve); }
  virtual void forget(Curve& curve) { static_cast<void>(curve); }

  Settings const& settings() const { return m_settings; }
  std::size_t capacity() const { return m_capacity; }            ///< points of a full curve, with some to spare
  std::vector<double> const& finals() const { return m_finals; } ///< in the order of finishing
  std::size_t finished() const { return m_finals.size(); }
  std::size_t begun() const { return m_curves.size(); }
  /// NaN where there is none yet.
  double incumbent() const
  {
    if (!std::isnan(m_settings.incumbent)) return m_settings.incumbent;
    return m_finals.empty() ? std::numeric_limits<double>::quiet_NaN() : m_best_final;
  }
  /// A full training is over.
  bool at_end(Curve const& curve) const { return curve.epochs.back() >= m_settings.e_pred * (1 - 1e-9); }
  /// The budget rule: stop or pause at stop_epoch, once enough curves have been finished.
  bool out_of_budget(Curve const& curve) const
  {
    double const epoch =
        m_settings.stop_epoch > 0 ? m_settings.stop_epoch : m_settings.stop_fraction * m_settings.e_pred;
    return epoch > 0 && curve.epochs.back() >= epoch * (1 - 1e-9) &&
           finished() >= static_cast<std::size_t>(m_settings.min_finished) && !at_end(curve);
  }
  void apply_budget(Curve const& curve, Prediction& prediction) const
  {
    if (prediction.decision != Decision::proceed || !out_of_budget(curve)) return;
    prediction.decision = m_settings.pause ? Decision::pause : Decision::stop;
    prediction.converged = std::isfinite(prediction.value);
    prediction.reason = "epoch budget";
  }
  double clipped(double value) const { return std::clamp(value, m_settings.value_min, m_settings.value_max); }

private:
  struct Hash
  {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  Curve& begin(std::string_view id)
  {
    Curve& curve = m_curves[std::string(id)];
    curve.id = id;
    curve.order = m_curves.size() - 1;
    for (auto* const series : {&curve.epochs, &curve.values, &curve.learning_rates, &curve.train_losses,
                               &curve.train_accuracies, &curve.validation_losses})
      series->reserve(m_capacity);
    curve.kept.reserve(static_cast<std::size_t>(m_settings.window) + 1);
    return curve;
  }
  Curve& running(std::string_view id, char const* what)
  {
    auto const found = m_curves.find(id);
    require(found != m_curves.end(), what, ": curve ", quoted(id), " was never observed");
    require(found->second.state == CurveState::running, what, ": curve ", quoted(id), " has already ended");
    return found->second;
  }

  Settings m_settings;
  std::size_t m_capacity;
  std::unordered_map<std::string, Curve, Hash, std::equal_to<>> m_curves;
  std::vector<double> m_finals;
  double m_best_final = -std::numeric_limits<double>::infinity();
};

std::unique_ptr<Method> make_engine(Settings const& settings);
std::unique_ptr<Method> make_baseline(Settings const& settings);   ///< none ... asha, train_loss_sum
std::unique_ptr<Method> make_regression(Settings const& settings); ///< ridge, svr
std::unique_ptr<Method> make_domhan(Settings const& settings);
std::unique_ptr<Method> make_nasturtium(Settings const& settings);

} // namespace nasturtium::predictor::impl
