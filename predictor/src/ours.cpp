// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Our own method. What networks of the same search still gained after an epoch is learnt from those that were trained
// to the end: a regression, per epoch, of what is left to gain on robust features of the curve so far. Before three
// curves have ended there is a pooled rule: each doubling of the time brings a part of what the doubling before brought
// to the curves of this search. Its leave-one-out residuals, those of networks with like predictions first, give the
// intervals and the probability of beating the best finished network.
#include "features.hpp"

#include <algorithm>

namespace nasturtium::predictor::impl {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// The pooled rule.
constexpr double gain_per_doubling = 0.5; // share of a doubling's gain that the next one brings
constexpr double prior_spread = 12;       // points that a final value is off at the very beginning
constexpr double prior_rows = 0.3;        // finished curves without any gain that the mean gain starts from
// Quantiles of Student's t with 4 degrees of freedom: where the pseudo-residuals of the pooled rule lie.
constexpr std::array<double, 8> t_quantiles{-2.1318, -1.2, -0.63, -0.2, 0.2, 0.63, 1.2, 2.1318};

class Ours : public WatchedMethod
{
public:
  explicit Ours(Settings const& settings) : WatchedMethod(settings)
  {
    m_slots.resize(capacity());
    m_options.use.fill(true);
    // What these say is in the others; twenty curves are too few for more of them.
    m_options.use[doubling_feature] = m_options.use[recent_feature] = false;
    m_options.lambda = settings.lambda;
    m_options.robust = true;
    m_options.intercept_prior = prior_rows;
  }

private:
  struct Weighted
  {
    double residual, weight;
  };
  // What is known at one epoch.
  struct Slot
  {
    std::vector<Features> rows;
    std::vector<double> targets, bases; // what was still gained after this epoch, and the best value until it
    std::vector<std::size_t> order;     // positions by rising residual
    Regression regression;
    std::size_t fitted_rows = 0; // the fit is of so many learnt curves
    std::size_t learnt = 0;
    double deviation = 0;                // robust, of the residuals
    double gain_sum = 0, gain_count = 0; // logarithms of the last doubling's gain, over all curves seen here
  };

  std::size_t slot_of(double epoch) const
  {
    double const index = std::round(epoch / settings().spacing);
    return static_cast<std::size_t>(std::clamp(index, 1.0, static_cast<double>(m_slots.size()))) - 1;
  }

  // The pooled rule: what is said without any finished curve.
  double rule(Slot const& slot, Features const& f, double epoch) const
  {
    // Each doubling brings a share of the one before.
    double gain = 0, share = gain_per_doubling;
    for (double left = std::log2(settings().e_pred / epoch); left > 0; left -= 1, share *= gain_per_doubling)
      gain += share * std::min(1.0, left);
    // The search's usual gain, not the curve's own: a dip of one curve promises nothing, and ranks stay as they are.
    return clipped(f[best_feature] + gain * std::expm1(slot.gain_sum / slot.gain_count));
  }

  void learn(Curve& curve) override
  {
    auto const most = static_cast<std::size_t>(settings().history);
    for (std::size_t i = 0; i + 1 < curve.points(); ++i) {
      auto& slot = m_slots[slot_of(curve.epochs[i])];
      auto const f = features(curve, i + 1);
      double const base = f[best_feature];
      if (slot.rows.size() < most) {
        slot.rows.push_back(f);
        slot.targets.push_back(curve.last() - base);
        slot.bases.push_back(base);
      } else {
        std::size_t const oldest = slot.learnt % most;
        slot.rows[oldest] = f;
        slot.targets[oldest] = curve.last() - base;
        slot.bases[oldest] = base;
      }
      ++slot.learnt;
      slot.order.reserve(slot.rows.capacity());
      slot.regression.reserve(slot.rows.capacity());
    }
    m_residuals.reserve(std::min(most, finished()) * 2 + t_quantiles.size());
  }

  void refit(Slot& slot)
  {
    slot.regression.fit(slot.rows, slot.targets, m_options);
    slot.fitted_rows = slot.learnt;
    auto const residuals = slot.regression.residuals();
    slot.order.resize(residuals.size());
    for (std::size_t i = 0; i < slot.order.size(); ++i)
      slot.order[i] = i;
    std::sort(slot.order.begin(), slot.order.end(), [&](std::size_t l, std::size_t r) {
      return residuals[l] != residuals[r] ? residuals[l] < residuals[r] : l < r;
    });
    double const quarter = residuals[slot.order[slot.order.size() / 4]],
                 three = residuals[slot.order[slot.order.size() * 3 / 4]];
    slot.deviation = std::max(0.02, (three - quarter) / 1.349);
  }

  Prediction answer(Curve& curve) override
  {
    if (!at_end(curve)) {
      auto const f = features(curve, curve.points());
      Slot& slot = m_slots[slot_of(curve.epochs.back())];
      slot.gain_sum += std::log1p(f[doubling_feature]);
      slot.gain_count += 1;
      return predict(curve, f, slot);
    }
    return predict(curve, {}, m_slots.back());
  }
  Prediction again(Curve& curve) override
  {
    return predict(curve, features(curve, curve.points()), m_slots[slot_of(curve.epochs.back())]);
  }

  Prediction predict(Curve const& curve, Features const& f, Slot& slot)
  {
    Prediction prediction;
    if (at_end(curve)) {
      prediction.value = curve.last();
      prediction.interval_50 = prediction.interval_80 = prediction.interval_90 = {curve.last(), curve.last()};
      double const best = incumbent();
      prediction.p_beat = std::isnan(best) ? nan : curve.last() > best ? 1 : 0;
      prediction.reason = "trained to the end";
      return prediction;
    }
    double const epoch = curve.epochs.back();
    double const base = f[best_feature];
    double value = base, spread = 1;
    bool const learnt = slot.rows.size() >= 3;
    if (learnt) {
      if (slot.fitted_rows != slot.learnt) refit(slot);
      value += slot.regression.predict(f);
      spread = std::min(3.0, slot.regression.spread(f));
    } else {
      value = rule(slot, f, epoch);
    }
    prediction.value = clipped(value);
    prediction.reason = learnt ? "learnt from finished curves" : "pooled rule";
    distribution(slot, learnt, prediction.value, value, spread, epoch, prediction);
    decide(curve, prediction);
    return prediction;
  }
  // Intervals and P(beats) from residuals: those of networks with like predictions weigh most, and the pooled rule
  // weighs as one more, which also stands for the network itself as in conformal prediction.
  void distribution(Slot const& slot, bool learnt, double value, double like, double spread, double epoch,
                    Prediction& prediction)
  {
    double const remaining = 1 - std::min(1.0, epoch / settings().e_pred);
    double const rule_deviation = 0.3 + prior_spread * remaining * remaining;
    auto& pool = m_residuals;
    pool.clear();
    double total = 0, deviation = rule_deviation;
    if (learnt) {
      auto const residuals = slot.regression.residuals(), fitted = slot.regression.fitted();
      auto const n = static_cast<double>(residuals.size());
      deviation = std::sqrt((rule_deviation * rule_deviation + n * slot.deviation * slot.deviation) / (1 + n));
      // Networks count as alike within a few deviations; with few networks everything counts.
      double const width = (1 + 60 / n) * 3 * slot.deviation;
      for (std::size_t const i : slot.order) {
        double const distance = (slot.bases[i] + fitted[i] - like) / width;
        double const weight = 1 / (1 + distance * distance);
        pool.push_back({residuals[i], weight});
        total += weight;
      }
      // Rows have been left out to get the residuals; a row far from all of them is less sure than that.
      double const factor = (1 + 20 / (n * n)) * std::max(1.0, spread / std::sqrt(1 + 20 / (n + 10)));
      for (auto& entry : pool)
        entry.residual *= factor;
    }
    double const mass = 1 / static_cast<double>(t_quantiles.size());
    // Merged from behind, in place.
    std::size_t left = pool.size(), added = t_quantiles.size();
    pool.resize(left + added);
    while (added > 0) {
      double const pseudo = t_quantiles[added - 1] * deviation;
      if (left > 0 && pool[left - 1].residual > pseudo) {
        pool[left + added - 1] = pool[left - 1];
        --left;
      } else {
        pool[left + added - 1] = {pseudo, mass};
        --added;
      }
    }
    total += 1;

    // Six quantiles in one walk; between two residuals by a straight line.
    std::array<double, 6> const levels{0.05, 0.10, 0.25, 0.75, 0.90, 0.95};
    std::array<double, 6> quantiles{};
    double below = 0, before = pool.front().residual, position = 0;
    std::size_t next = 0;
    for (auto const& [residual, weight] : pool) {
      double const at = (below + 0.5 * weight) / total;
      while (next < levels.size() && levels[next] <= at) {
        double const share = at > position ? (levels[next] - position) / (at - position) : 1;
        quantiles[next++] = before + share * (residual - before);
      }
      below += weight;
      before = residual;
      position = at;
    }
    while (next < levels.size())
      quantiles[next++] = before;
    auto const interval = [&](std::size_t low, std::size_t high) {
      return Interval{clipped(value + std::min(0.0, quantiles[low])), clipped(value + std::max(0.0, quantiles[high]))};
    };
    prediction.interval_50 = interval(2, 3);
    prediction.interval_80 = interval(1, 4);
    prediction.interval_90 = interval(0, 5);

    double const best = incumbent();
    if (std::isnan(best)) return;
    // Each residual is a small triangle, so that the probability moves smoothly.
    double const width = 0.5 * deviation;
    double above = 0;
    for (auto const& [residual, weight] : pool)
      above += weight * std::clamp(0.5 + (value + residual - best) / (2 * width), 0.0, 1.0);
    prediction.p_beat = above / total;
  }

  void decide(Curve const& curve, Prediction& prediction) const
  {
    bool const may = finished() >= static_cast<std::size_t>(settings().min_finished) &&
                     curve.epochs.back() >= settings().first_epoch * (1 - 1e-9);
    if (may && settings().stop_below > 0 && prediction.p_beat < settings().stop_below) {
      prediction.decision = Decision::stop;
      prediction.converged = true;
      prediction.reason = "will not beat the best";
      return;
    }
    if (settings().keep_above < 1 && prediction.p_beat > settings().keep_above) return;
    apply_budget(curve, prediction);
  }

  std::vector<Slot> m_slots;
  std::vector<Weighted> m_residuals;
  Regression::Options m_options;
};

} // namespace

std::unique_ptr<Method> make_nasturtium(Settings const& settings)
{
  return std::make_unique<Ours>(settings);
}

} // namespace nasturtium::predictor::impl
