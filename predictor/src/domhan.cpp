// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A weighted mixture of parametric families with a posterior, after Domhan et al. 2015. Where they ran a Markov chain
// over parameters, weights and noise, this takes the normal approximation at each family's optimum and weights by the
// Bayesian information criterion: deterministic, and a thousand times cheaper.
#include "watched.hpp"

#include <nasturtium/core/philox.hpp>
#include <nasturtium/predictor/fit.hpp>

#include <Eigen/Dense>

#include <algorithm>
#include <array>
#include <numbers>

namespace nasturtium::predictor::impl {

namespace {

constexpr std::array families{Family::pow3, Family::log2, Family::exp4, Family::expd3,
                              Family::vap3, Family::mmf4, Family::wbl4, Family::ilog2};

class Domhan : public WatchedMethod
{
public:
  explicit Domhan(Settings const& settings) : WatchedMethod(settings), m_fitter(capacity())
  {
    m_x.reserve(capacity());
    m_samples.reserve(static_cast<std::size_t>(settings.samples) + families.size());
  }

private:
  struct Candidate
  {
    Family family = Family::pow3;
    Parameters parameters{};
    double weight = 0, noise = 0;
    Eigen::Matrix<double, max_parameters, max_parameters> root; // of the parameters' covariance
  };

  Prediction answer(Curve& curve) override
  {
    Prediction prediction;
    if (at_end(curve)) {
      prediction.value = curve.last();
      prediction.reason = "trained to the end";
      return prediction;
    }
    if (curve.points() < 4) {
      prediction.reason = "too few points";
      return prediction;
    }
    sample(curve);
    if (m_samples.size() < 2) {
      prediction.value = std::numeric_limits<double>::infinity();
      prediction.reason = "failed fit";
      return prediction;
    }
    std::sort(m_samples.begin(), m_samples.end());
    auto const quantile = [&](double level) {
      double const at = level * static_cast<double>(m_samples.size() - 1);
      auto const below = static_cast<std::size_t>(at);
      double const share = at - static_cast<double>(below);
      return (1 - share) * m_samples[below] + share * m_samples[std::min(below + 1, m_samples.size() - 1)];
    };
    prediction.value = quantile(0.5);
    prediction.interval_50 = {quantile(0.25), quantile(0.75)};
    prediction.interval_80 = {quantile(0.1), quantile(0.9)};
    prediction.interval_90 = {quantile(0.05), quantile(0.95)};
    prediction.reason = "mixture of families";
    double const best = incumbent();
    if (!std::isnan(best)) {
      auto const above = m_samples.end() - std::upper_bound(m_samples.begin(), m_samples.end(), best);
      prediction.p_beat = static_cast<double>(above) / static_cast<double>(m_samples.size());
      // A run that is above the best is never stopped.
      if (prediction.p_beat < settings().stop_below && curve.best() <= best &&
          finished() >= static_cast<std::size_t>(settings().min_finished) &&
          curve.epochs.back() >= settings().first_epoch) {
        prediction.decision = Decision::stop;
        prediction.converged = true;
        prediction.reason = "will not beat the best";
      }
    }
    apply_budget(curve, prediction);
    return prediction;
  }

  void sample(Curve const& curve)
  {
    m_samples.clear();
    m_x.clear();
    for (double const epoch : curve.epochs)
      m_x.push_back(epoch / settings().spacing + 1); // past the singularities at 0 and 1
    auto const n = static_cast<double>(m_x.size());
    double const target = settings().e_pred / settings().spacing + 1;
    std::array<Candidate, families.size()> candidates;
    std::size_t count = 0;
    double least = std::numeric_limits<double>::infinity();
    for (auto const family : families) {
      int const p = parameter_count(family);
      if (static_cast<int>(m_x.size()) < p) continue;
      auto const fit = m_fitter.multi_start(family, m_x, curve.values, settings().max_evaluations);
      if (!fit.success) continue;
      double const reached = evaluate(family, target, fit.parameters);
      if (!(reached >= settings().value_min && reached <= settings().value_max)) continue;
      auto& candidate = candidates[count];
      candidate.family = family;
      candidate.parameters = fit.parameters;
      // A curve is never smoother than the rounding of a small validation set.
      double const variance = std::max(0.05 * 0.05, 2 * fit.cost / std::max(1.0, n - p));
      candidate.noise = std::sqrt(variance);
      Eigen::Matrix<double, max_parameters, max_parameters> information;
      information.setZero();
      Parameters row;
      for (double const x : m_x) {
        gradient(family, x, fit.parameters, row);
        Eigen::Map<Eigen::Matrix<double, max_parameters, 1> const> const j(row.data());
        information += j * j.transpose() / variance;
      }
      // Weak normal priors keep what the points do not tell finite.
      for (int i = 0; i < max_parameters; ++i) {
        double const scale = 1 + std::abs(fit.parameters[static_cast<std::size_t>(i)]);
        information(i, i) += 1 / (scale * scale);
      }
      Eigen::SelfAdjointEigenSolver<Eigen::Matrix<double, max_parameters, max_parameters>> const solver(information);
      if (!information.allFinite() || solver.info() != Eigen::Success) continue;
      candidate.root =
          solver.eigenvectors() * solver.eigenvalues().cwiseMax(1e-12).cwiseSqrt().cwiseInverse().asDiagonal();
      candidate.weight = n * std::log(2 * fit.cost / n + 0.05 * 0.05) + p * std::log(n); // the criterion
      least = std::min(least, candidate.weight);
      ++count;
    }
    double total = 0;
    for (std::size_t i = 0; i < count; ++i)
      total += candidates[i].weight = std::exp(-0.5 * (candidates[i].weight - least));
    for (std::size_t i = 0; i < count; ++i) {
      auto const& candidate = candidates[i];
      auto const draws = static_cast<int>(std::lround(settings().samples * candidate.weight / total));
      int const p = parameter_count(candidate.family);
      for (int draw = 0; draw < draws; ++draw) {
        std::array<double, 6> normal{};
        for (std::uint64_t pair = 0; pair < 3; ++pair) {
          // A function of seed, curve, point and draw: the order of the curves' points does not matter.
          auto const block =
              random_block(settings().seed, Purpose::search, static_cast<std::uint32_t>(curve.order),
                           ((curve.points() * 64 + i) * 1048576 + static_cast<std::uint64_t>(draw)) * 4 + pair);
          double const u = (block.word[0] + 1.0) / 4294967297.0, v = block.word[1] / 4294967296.0;
          double const radius = std::sqrt(-2 * std::log(u));
          normal[2 * pair] = radius * std::cos(2 * std::numbers::pi * v);
          normal[2 * pair + 1] = radius * std::sin(2 * std::numbers::pi * v);
        }
        Parameters q = candidate.parameters;
        for (int k = 0; k < p; ++k)
          for (int j = 0; j < max_parameters; ++j)
            q[static_cast<std::size_t>(k)] += candidate.root(k, j) * normal[static_cast<std::size_t>(j)];
        double const value = evaluate(candidate.family, target, q) + candidate.noise * normal[4];
        if (value >= settings().value_min && value <= settings().value_max) m_samples.push_back(value);
      }
    }
  }

  Fitter m_fitter;
  std::vector<double> m_x, m_samples;
};

} // namespace

std::unique_ptr<Method> make_domhan(Settings const& settings)
{
  return std::make_unique<Domhan>(settings);
}

} // namespace nasturtium::predictor::impl
