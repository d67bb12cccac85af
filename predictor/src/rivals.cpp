// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rivals that learn from finished curves of the same search, in their plain form: ridge regression on four features,
// and support vector regression on the same (Baker et al. 2017 without the architecture's own features).
#include "features.hpp"

#include <algorithm>

namespace nasturtium::predictor::impl {

namespace {

constexpr std::array<int, 4> used{best_feature, last_feature, mean_feature, trend_feature};

// Support vector regression with a Gaussian kernel: the dual by coordinate descent, the offset as a constant in the
// kernel, which leaves box constraints alone.
class SupportVectors
{
public:
  void fit(std::span<Features const> rows, std::span<double const> targets, double c, double epsilon)
  {
    std::size_t const n = rows.size();
    m_mean.fill(0);
    m_scale.fill(0);
    for (int const k : used) {
      double sum = 0, squares = 0;
      for (auto const& row : rows) {
        sum += row[k];
        squares += row[k] * row[k];
      }
      m_mean[k] = sum / static_cast<double>(n);
      double const variance = squares / static_cast<double>(n) - m_mean[k] * m_mean[k];
      m_scale[k] = variance > 1e-10 ? 1 / std::sqrt(variance) : 0;
    }
    double sum = 0, squares = 0;
    for (double const target : targets) {
      sum += target;
      squares += target * target;
    }
    m_target_mean = sum / static_cast<double>(n);
    m_target_scale = std::sqrt(std::max(1e-10, squares / static_cast<double>(n) - m_target_mean * m_target_mean));
    m_rows.assign(rows.begin(), rows.end());
    m_beta.assign(n, 0);
    std::vector<double> kernel(n * n), gradient(n);
    for (std::size_t i = 0; i < n; ++i) {
      gradient[i] = -(targets[i] - m_target_mean) / m_target_scale;
      for (std::size_t j = 0; j <= i; ++j)
        kernel[i * n + j] = kernel[j * n + i] = similarity(rows[i], rows[j]);
    }
    for (int sweep = 0; sweep < 200; ++sweep) {
      double moved = 0;
      for (std::size_t i = 0; i < n; ++i) {
        double const curvature = kernel[i * n + i], free = m_beta[i] - gradient[i] / curvature;
        double const shrunk = std::copysign(std::max(0.0, std::abs(free) - epsilon / curvature), free);
        double const next = std::clamp(shrunk, -c, c), step = next - m_beta[i];
        if (step == 0) continue;
        m_beta[i] = next;
        moved = std::max(moved, std::abs(step));
        for (std::size_t j = 0; j < n; ++j)
          gradient[j] += step * kernel[i * n + j];
      }
      if (moved < 1e-5) break;
    }
  }
  double predict(Features const& row) const
  {
    double value = 0;
    for (std::size_t i = 0; i < m_rows.size(); ++i)
      if (m_beta[i] != 0) value += m_beta[i] * similarity(m_rows[i], row);
    return m_target_mean + m_target_scale * value;
  }

private:
  double similarity(Features const& left, Features const& right) const
  {
    double distance = 0;
    for (int const k : used) {
      double const d = (left[k] - right[k]) * m_scale[k];
      distance += d * d;
    }
    return 1 + std::exp(-distance / (2 * static_cast<double>(used.size())));
  }

  Features m_mean{}, m_scale{};
  double m_target_mean = 0, m_target_scale = 1;
  std::vector<Features> m_rows;
  std::vector<double> m_beta;
};

class Learner : public WatchedMethod
{
public:
  explicit Learner(Settings const& settings) : WatchedMethod(settings), m_slots(capacity())
  {
    for (int const k : used)
      m_options.use[static_cast<std::size_t>(k)] = true;
    m_options.lambda = settings.lambda;
    // The support vectors' fit grows with the square of the curves.
    m_most = static_cast<std::size_t>(settings.kind == Kind::svr ? std::min(settings.history, 200) : settings.history);
  }

private:
  struct Slot
  {
    std::vector<Features> rows;
    std::vector<double> finals;
    std::size_t learnt = 0, fitted = 0;
    Regression ridge;
    SupportVectors vectors;
  };

  Slot& slot(double epoch)
  {
    double const index = std::round(epoch / settings().spacing);
    return m_slots[static_cast<std::size_t>(std::clamp(index, 1.0, static_cast<double>(m_slots.size()))) - 1];
  }

  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    prediction.value = at_end(curve) ? curve.last() : curve.best();
    prediction.reason = at_end(curve) ? "trained to the end" : "best so far";
    if (at_end(curve)) return prediction;
    auto& here = slot(curve.epochs.back());
    if (here.rows.size() >= 3) {
      bool const ridge = settings().kind == Kind::ridge;
      if (here.fitted != here.learnt) {
        if (ridge)
          here.ridge.fit(here.rows, here.finals, m_options);
        else
          here.vectors.fit(here.rows, here.finals, settings().svr_c, settings().svr_epsilon);
        here.fitted = here.learnt;
      }
      auto const f = features(curve, curve.points());
      prediction.value = clipped(ridge ? here.ridge.predict(f) : here.vectors.predict(f));
      prediction.reason = "learnt from finished curves";
    }
    apply_budget(curve, prediction);
    return prediction;
  }
  Prediction again(Curve& curve) override { return answer(curve); }

  void learn(Curve& curve) override
  {
    for (std::size_t i = 0; i + 1 < curve.points(); ++i) {
      auto& here = slot(curve.epochs[i]);
      if (here.rows.size() < m_most) {
        here.rows.push_back(features(curve, i + 1));
        here.finals.push_back(curve.last());
      } else {
        here.rows[here.learnt % m_most] = features(curve, i + 1);
        here.finals[here.learnt % m_most] = curve.last();
      }
      ++here.learnt;
      here.ridge.reserve(here.rows.capacity());
    }
  }

  std::vector<Slot> m_slots;
  Regression::Options m_options;
  std::size_t m_most;
};

} // namespace

std::unique_ptr<Method> make_regression(Settings const& settings)
{
  return std::make_unique<Learner>(settings);
}

} // namespace nasturtium::predictor::impl
