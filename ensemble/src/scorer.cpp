// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scorer.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/ensemble/score.hpp>
#include <nasturtium/nn/candidate_scores.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::ensemble {

namespace {

double loss(ProbabilityMatrix const& matrix, Objective objective)
{
  return objective == Objective::nll ? negative_log_likelihood(matrix) : brier_score(matrix);
}

int count_of(std::span<Member const> members)
{
  int count = 0;
  for (Member const& member : members)
    count += member.count;
  return count;
}

/// sum += count * ln max(p, 1e-12)
void add_logarithms(std::span<float const> probabilities, int count, std::span<double> sums)
{
  for (std::size_t i = 0; i < sums.size(); ++i)
    sums[i] += count * std::log(std::max<double>(probabilities[i], least_probability));
}

/// Rows of exp(sums / count), normalised.
void normalise_geometric(std::span<double const> sums, int count, std::size_t classes, std::span<double> to)
{
  for (std::size_t at = 0; at < sums.size(); at += classes) {
    auto const row = sums.subspan(at, classes);
    double const peak = *std::max_element(row.begin(), row.end());
    double total = 0;
    for (std::size_t c = 0; c < classes; ++c)
      total += to[at + c] = std::exp((row[c] - peak) / count);
    for (std::size_t c = 0; c < classes; ++c)
      to[at + c] /= total;
  }
}

} // namespace

std::vector<double> pooled(Predictions const& predictions, std::span<Member const> members, Pooling pooling)
{
  int const count = count_of(members);
  require(count > 0, "an ensemble without members has no predictions");
  auto const classes = static_cast<std::size_t>(predictions.classes());
  std::vector<double> sums(static_cast<std::size_t>(predictions.samples()) * classes, 0.0);
  for (Member const& member : members) {
    auto const p = predictions.probabilities(member.model);
    if (pooling == Pooling::geometric) {
      add_logarithms(p, member.count, sums);
      continue;
    }
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += member.count * static_cast<double>(p[i]);
  }
  if (pooling == Pooling::geometric)
    normalise_geometric(sums, count, classes, sums);
  else
    for (double& value : sums)
      value /= count;
  return sums;
}

double loss_of(Predictions const& predictions, std::span<Member const> members, Objective objective, Pooling pooling)
{
  if (objective != Objective::nll || pooling != Pooling::mean) {
    auto const all = pooled(predictions, members, pooling);
    return loss({all, predictions.classes(), predictions.labels()}, objective);
  }
  double const count = count_of(members);
  require(count > 0, "an ensemble without members has no loss");
  std::vector<double> sums(static_cast<std::size_t>(predictions.samples()), 0.0);
  for (Member const& member : members) {
    auto const q = predictions.column(member.model);
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += member.count * static_cast<double>(q[i]);
  }
  // A logarithm of the product of 16 instead of 16 logarithms: each factor is in [1e-12, 1].
  constexpr std::size_t group = 16;
  double total = 0;
  for (std::size_t at = 0; at < sums.size(); at += group) {
    double product = 1;
    for (std::size_t i = at; i < std::min(at + group, sums.size()); ++i)
      product *= std::max(sums[i] / count, least_probability);
    total -= std::log(product);
  }
  return total / static_cast<double>(sums.size());
}

namespace impl {

GramTerms::GramTerms(Predictions const& predictions)
    : m_predictions(predictions), m_columns(static_cast<std::size_t>(predictions.models()))
{
  for (int model = 0; model < predictions.models(); ++model) {
    double squares = 0, sum = 0;
    for (float const p : predictions.probabilities(model))
      squares += static_cast<double>(p) * static_cast<double>(p);
    for (float const q : predictions.column(model))
      sum += static_cast<double>(q);
    m_diagonal.push_back(squares);
    m_sums.push_back(sum);
  }
}

std::vector<double> const& GramTerms::column(int model)
{
  auto& column = m_columns[static_cast<std::size_t>(model)];
  if (!column.empty()) return column;
  auto const own = m_predictions.probabilities(model);
  for (int other = 0; other < m_predictions.models(); ++other) {
    auto const p = m_predictions.probabilities(other);
    double sum = 0;
    for (std::size_t i = 0; i < own.size(); ++i)
      sum += static_cast<double>(own[i]) * static_cast<double>(p[i]);
    column.push_back(sum);
  }
  return column;
}

namespace {

class ColumnScorer final : public Scorer
{
public:
  ColumnScorer(Predictions const& predictions, nn::TrainerOptions const& device)
      : m_scores(device, predictions.samples(), predictions.columns())
  {
  }
  void clear() override { m_scores.clear(); }
  void add(int model, int count) override { m_scores.add(model, count); }
  void losses(std::span<std::int32_t const> candidates, std::span<double> losses) override
  {
    m_scores.losses(candidates, losses);
  }

private:
  nn::CandidateScores m_scores;
};

class GramScorer final : public Scorer
{
public:
  explicit GramScorer(Predictions const& predictions)
      : m_terms(predictions), m_samples(static_cast<double>(predictions.samples())),
        m_h(static_cast<std::size_t>(predictions.models()))
  {
    GramScorer::clear();
  }
  void clear() override
  {
    std::fill(m_h.begin(), m_h.end(), 0.0);
    m_quadratic = m_linear = m_count = 0;
  }
  void add(int model, int count) override
  {
    auto const& column = m_terms.column(model);
    m_quadratic += count * (2 * m_h[static_cast<std::size_t>(model)] + count * m_terms.diagonal(model));
    m_linear += count * m_terms.sum(model);
    m_count += count;
    for (std::size_t a = 0; a < m_h.size(); ++a)
      m_h[a] += count * column[a];
  }
  void losses(std::span<std::int32_t const> candidates, std::span<double> losses) override
  {
    double const count = m_count + 1;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      int const j = candidates[i];
      double const quadratic = m_quadratic + 2 * m_h[static_cast<std::size_t>(j)] + m_terms.diagonal(j);
      double const linear = m_linear + m_terms.sum(j);
      losses[i] = (quadratic / (count * count) - 2 * linear / count + m_samples) / m_samples;
    }
  }

private:
  GramTerms m_terms;
  double m_samples, m_quadratic = 0, m_linear = 0, m_count = 0;
  std::vector<double> m_h; ///< G n
};

class GeometricScorer final : public Scorer
{
public:
  GeometricScorer(Predictions const& predictions, Objective objective)
      : m_predictions(predictions), m_objective(objective), m_sums(predictions.probabilities(0).size())
  {
  }
  void clear() override
  {
    std::fill(m_sums.begin(), m_sums.end(), 0.0);
    m_count = 0;
  }
  void add(int model, int count) override
  {
    add_logarithms(m_predictions.probabilities(model), count, m_sums);
    m_count += count;
  }
  void losses(std::span<std::int32_t const> candidates, std::span<double> losses) override
  {
    std::vector<double> with(m_sums.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      with = m_sums;
      add_logarithms(m_predictions.probabilities(candidates[i]), 1, with);
      normalise_geometric(with, m_count + 1, static_cast<std::size_t>(m_predictions.classes()), with);
      losses[i] = loss({with, m_predictions.classes(), m_predictions.labels()}, m_objective);
    }
  }

private:
  Predictions const& m_predictions;
  Objective m_objective;
  int m_count = 0;
  std::vector<double> m_sums; ///< of logarithms
};

} // namespace

std::unique_ptr<Scorer> make_scorer(Predictions const& predictions, SelectionOptions const& options)
{
  if (options.pooling == Pooling::geometric) return std::make_unique<GeometricScorer>(predictions, options.objective);
  if (options.objective == Objective::brier) return std::make_unique<GramScorer>(predictions);
  return std::make_unique<ColumnScorer>(predictions, options.device);
}

} // namespace impl
} // namespace nasturtium::ensemble
