// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every method has to be held against: constants, measured values, rungs and medians.
#include "watched.hpp"

#include <nasturtium/predictor/metrics.hpp>

#include <algorithm>

namespace nasturtium::predictor::impl {

namespace {

// Watches and says nothing.
class None : public WatchedMethod
{
public:
  using WatchedMethod::WatchedMethod;

private:
  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    prediction.value = curve.last();
    prediction.reason = "no predictor";
    return prediction;
  }
};

// A value that is read off the curve or off the finished ones, with the budget as the only reason to stop.
class Measured : public WatchedMethod
{
public:
  using WatchedMethod::WatchedMethod;

private:
  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    switch (settings().kind) {
    case Kind::constant:
      prediction.value = m_median;
      prediction.reason = finished() == 0 ? "no finished curve yet" : "median of the finished";
      break;
    case Kind::last_value:
      prediction.value = curve.last();
      prediction.reason = "last value";
      break;
    default:
      prediction.value = curve.best();
      prediction.reason = "best so far";
    }
    if (at_end(curve)) {
      prediction.value = curve.last();
      prediction.reason = "trained to the end";
    }
    apply_budget(curve, prediction);
    return prediction;
  }
  Prediction again(Curve& curve) override { return answer(curve); }
  void learn(Curve& /*curve*/) override
  {
    if (settings().kind == Kind::constant) m_median = median(finals());
  }

  double m_median = std::numeric_limits<double>::quiet_NaN();
};

// Vizier's and Optuna's median rule: stop where the best value so far is below the median, over the finished curves, of
// their running averages until the same epoch.
class MedianRule : public WatchedMethod
{
public:
  using WatchedMethod::WatchedMethod;

private:
  struct Average
  {
    std::vector<double> epochs, averages;
  };

  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    prediction.value = at_end(curve) ? curve.last() : curve.best();
    prediction.reason = "best so far";
    if (at_end(curve) || finished() < static_cast<std::size_t>(settings().startup_curves) || finished() == 0 ||
        curve.epochs.back() <= settings().warmup_epochs)
      return prediction;
    m_at.clear();
    for (auto const& other : m_finished) {
      auto const position =
          std::upper_bound(other.epochs.begin(), other.epochs.end(), curve.epochs.back() * (1 + 1e-9));
      if (position != other.epochs.begin())
        m_at.push_back(other.averages[static_cast<std::size_t>(position - other.epochs.begin()) - 1]);
    }
    if (m_at.empty()) return prediction;
    auto const middle = m_at.begin() + static_cast<std::ptrdiff_t>(m_at.size() / 2);
    std::nth_element(m_at.begin(), middle, m_at.end());
    double median = *middle;
    if (m_at.size() % 2 == 0) median = 0.5 * (median + *std::max_element(m_at.begin(), middle));
    if (curve.best() < median) {
      prediction.decision = Decision::stop;
      prediction.converged = true;
      prediction.reason = "below the median";
    }
    return prediction;
  }
  void learn(Curve& curve) override
  {
    auto& average = m_finished.emplace_back();
    average.epochs = curve.epochs;
    double sum = 0;
    for (std::size_t i = 0; i < curve.points(); ++i) {
      sum += curve.values[i];
      average.averages.push_back(sum / static_cast<double>(i + 1));
    }
    m_at.reserve(m_finished.capacity());
  }

  std::vector<Average> m_finished;
  std::vector<double> m_at;
};

// Successive halving. ASHA decides at once: at a rung a curve goes on if it is among the best 1/eta of those that have
// been seen there. Halving waits (pause) until the rung holds all that can come, then keeps floor(n / eta).
class Rungs : public WatchedMethod
{
public:
  explicit Rungs(Settings const& settings) : WatchedMethod(settings)
  {
    auto epochs = settings.rungs;
    if (epochs.empty())
      for (double rung = settings.grace; rung < settings.e_pred * (1 - 1e-9); rung *= settings.eta)
        epochs.push_back(rung);
    double expected = settings.cohort;
    for (double const epoch : epochs) {
      if (epoch >= settings.e_pred * (1 - 1e-9)) break;
      m_rungs.push_back({epoch, static_cast<std::size_t>(expected), {}});
      expected = std::max(1.0, std::floor(expected / settings.eta));
    }
  }

private:
  struct Entry
  {
    double value;
    std::size_t order; // of appearance: the earlier one wins a tie
  };
  struct Rung
  {
    double epoch;
    std::size_t expected;       // curves that will come here; 0: not known
    std::vector<Entry> entries; // best first
  };
  static bool better(Entry const& left, Entry const& right)
  {
    return left.value > right.value || (left.value == right.value && left.order < right.order);
  }
  bool waits() const { return settings().kind == Kind::halving && settings().cohort > 0; }

  // curve.memo: rungs passed; a curve that waits at one has memo_value 1.
  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    prediction.value = at_end(curve) ? curve.last() : curve.best();
    prediction.reason = "best so far";
    if (at_end(curve)) return prediction;
    while (static_cast<std::size_t>(curve.memo) < m_rungs.size()) {
      auto& rung = m_rungs[static_cast<std::size_t>(curve.memo)];
      if (curve.epochs.back() < rung.epoch * (1 - 1e-9)) break;
      Entry const entry{curve.best(), curve.order};
      if (curve.memo_value == 0)
        rung.entries.insert(std::upper_bound(rung.entries.begin(), rung.entries.end(), entry, better), entry);
      if (!decide(curve, rung, prediction)) break;
    }
    return prediction;
  }
  Prediction again(Curve& curve) override
  {
    if (curve.memo_value == 0) return curve.answer;
    return answer(curve);
  }
  // A curve that failed while others wait for it will not come.
  void forget(Curve& curve) override
  {
    if (!waits()) return;
    // Where it was stopped by this rule its rungs have been counted; else every later rung may expect one less at most,
    // and the rung that it should have come to next surely does.
    if (curve.answer.decision == Decision::stop) return;
    auto const next = static_cast<std::size_t>(curve.memo);
    if (next < m_rungs.size() && curve.memo_value == 0 && m_rungs[next].expected > 0) --m_rungs[next].expected;
  }

  // True where the curve goes on to the next rung.
  bool decide(Curve& curve, Rung const& rung, Prediction& prediction)
  {
    if (waits() && rung.entries.size() < rung.expected) {
      curve.memo_value = 1;
      prediction.decision = Decision::pause;
      prediction.reason = "waits at a rung";
      return false;
    }
    auto const position =
        static_cast<std::size_t>(std::find_if(rung.entries.begin(), rung.entries.end(),
                                              [&](Entry const& entry) { return entry.order == curve.order; }) -
                                 rung.entries.begin());
    auto const count = static_cast<double>(rung.entries.size());
    double const kept = std::max(1.0, std::floor(count / settings().eta));
    curve.memo_value = 0;
    ++curve.memo;
    if (static_cast<double>(position) < kept) {
      prediction.decision = Decision::proceed;
      prediction.reason = "passed a rung";
      return true;
    }
    prediction.decision = Decision::stop;
    prediction.converged = true;
    prediction.reason = "below the rung's best";
    return false;
  }

  std::vector<Rung> m_rungs;
};

// Ranks by the summed training loss (SoTL); as accuracies, by a line through the finished curves' sums at the same
// epoch. Without training losses, or without finished curves, it has nothing to say but the best value so far.
class TrainLossSum : public WatchedMethod
{
public:
  using WatchedMethod::WatchedMethod;

private:
  struct Finished
  {
    std::vector<double> epochs, sums;
    double final_value;
  };

  Prediction answer(Curve& curve) override
  {
    // The sum grows with each point; memo counts the points that are in it.
    for (; static_cast<std::size_t>(curve.memo) < curve.points(); ++curve.memo)
      curve.memo_value += curve.train_losses[static_cast<std::size_t>(curve.memo)];
    Prediction prediction;
    prediction.value = at_end(curve) ? curve.last() : curve.best();
    prediction.reason = "best so far";
    if (at_end(curve)) return prediction;
    if (std::isfinite(curve.memo_value) && m_finished.size() >= 3) {
      double n = 0, mean_x = 0, mean_y = 0, xx = 0, xy = 0;
      for (auto const& other : m_finished) {
        auto const position =
            std::upper_bound(other.epochs.begin(), other.epochs.end(), curve.epochs.back() * (1 + 1e-9));
        if (position == other.epochs.begin()) continue;
        double const x = other.sums[static_cast<std::size_t>(position - other.epochs.begin()) - 1];
        if (!std::isfinite(x)) continue;
        n += 1;
        double const dx = x - mean_x, dy = other.final_value - mean_y;
        mean_x += dx / n;
        mean_y += dy / n;
        xx += dx * (x - mean_x);
        xy += dx * (other.final_value - mean_y);
      }
      if (n >= 3 && xx > 0) {
        // A larger loss never promises more: the slope is at most zero.
        double const slope = std::min(-1e-9, xy / xx);
        prediction.value = clipped(mean_y + slope * (curve.memo_value - mean_x));
        prediction.reason = "sum of training losses";
      }
    }
    apply_budget(curve, prediction);
    return prediction;
  }
  Prediction again(Curve& curve) override { return answer(curve); }
  void learn(Curve& curve) override
  {
    auto& finished = m_finished.emplace_back();
    finished.epochs = curve.epochs;
    double sum = 0;
    for (double const loss : curve.train_losses)
      finished.sums.push_back(sum += loss);
    finished.final_value = curve.last();
  }

  std::vector<Finished> m_finished;
};

} // namespace

std::unique_ptr<Method> make_baseline(Settings const& settings)
{
  switch (settings.kind) {
  case Kind::constant:
  case Kind::last_value:
  case Kind::best_so_far:
  case Kind::i_epoch:
    return std::make_unique<Measured>(settings);
  case Kind::median:
    return std::make_unique<MedianRule>(settings);
  case Kind::halving:
  case Kind::asha:
    return std::make_unique<Rungs>(settings);
  case Kind::train_loss_sum:
    return std::make_unique<TrainLossSum>(settings);
  default:
    return std::make_unique<None>(settings);
  }
}

} // namespace nasturtium::predictor::impl
