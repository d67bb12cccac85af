// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/prediction_pool.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace nasturtium::ensemble {

Predictions::Predictions(int classes, std::vector<std::int32_t> labels)
    : m_classes(classes), m_labels(std::move(labels))
{
  require(classes >= 2, "predictions: classes must be at least 2, got ", classes);
  for (std::size_t i = 0; i < m_labels.size(); ++i)
    require(m_labels[i] >= 0 && m_labels[i] < classes, "predictions: label of sample ", i, " must be in [0, ", classes,
            "), got ", m_labels[i]);
}

void Predictions::require_size(std::size_t size) const
{
  require(size == m_labels.size() * static_cast<std::size_t>(m_classes), "predictions: model ", m_models, " has ", size,
          " values for ", m_labels.size(), " samples of ", m_classes, " classes");
}

void Predictions::add_probabilities(std::span<double const> probabilities)
{
  require_size(probabilities.size());
  auto const classes = static_cast<std::size_t>(m_classes);
  for (std::size_t i = 0; i < m_labels.size(); ++i) {
    double sum = 0;
    for (double const p : probabilities.subspan(i * classes, classes)) {
      require(p >= 0 && p <= 1, "predictions: model ", m_models, ", sample ", i, ": a probability is ", p);
      sum += p;
    }
    require(std::abs(sum - 1) <= 1e-3, "predictions: model ", m_models, ", sample ", i, ": probabilities sum to ", sum);
  }
  for (std::size_t i = 0; i < m_labels.size(); ++i)
    m_columns.push_back(static_cast<float>(probabilities[i * classes + static_cast<std::size_t>(m_labels[i])]));
  for (double const p : probabilities)
    m_probabilities.push_back(static_cast<float>(p));
  ++m_models;
}

void Predictions::add_logits(std::span<float const> logits)
{
  require_size(logits.size());
  auto const classes = static_cast<std::size_t>(m_classes);
  std::vector<double> probabilities(logits.size());
  for (std::size_t i = 0; i < m_labels.size(); ++i) {
    auto const row = logits.subspan(i * classes, classes);
    auto const to = std::span(probabilities).subspan(i * classes, classes);
    for (float const z : row)
      require(!std::isnan(z) && z < INFINITY, "predictions: model ", m_models, ", sample ", i, ": a logit is ", z);
    double const peak = *std::max_element(row.begin(), row.end());
    require(std::isfinite(peak), "predictions: model ", m_models, ", sample ", i, ": no logit is finite");
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c)
      sum += to[c] = std::exp(static_cast<double>(row[c]) - peak);
    for (double& p : to)
      p /= sum;
  }
  add_probabilities(probabilities);
}

std::span<float const> Predictions::probabilities(int model) const
{
  std::size_t const size = m_labels.size() * static_cast<std::size_t>(m_classes);
  return std::span(m_probabilities).subspan(static_cast<std::size_t>(model) * size, size);
}

std::span<float const> Predictions::column(int model) const
{
  return std::span(m_columns).subspan(static_cast<std::size_t>(model) * m_labels.size(), m_labels.size());
}

void check_model_id(std::string const& id, std::string const& what)
{
  bool good = !id.empty() && id.size() <= 128 && id[0] != '.';
  for (char const c : id)
    good = good && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                    c == '-' || c == '.');
  require(good, what, " must be 1 to 128 letters, digits, '_', '-' or '.', with no '.' in front, got ", quoted(id));
}

void check_pool(PredictionPool const& pool)
{
  require(pool.size() > 0, "the pool has no models");
  std::set<std::string> ids;
  for (auto const& model : pool.models) {
    check_model_id(model.id, "pool: a model's id");
    require(ids.insert(model.id).second, "pool: two models are called '", model.id, "'");
    require(!model.costs.empty(), "pool: model '", model.id, "' has no costs");
    for (auto const& [axis, cost] : model.costs) {
      require(std::isfinite(cost) && cost > 0, "pool: model '", model.id, "': cost '", axis, "' must be > 0, got ",
              cost);
      require(pool.models[0].costs.count(axis) > 0, "pool: model '", model.id, "' has a cost '", axis, "', model '",
              pool.models[0].id, "' has not");
    }
    require(model.costs.size() == pool.models[0].costs.size(), "pool: model '", model.id, "' has ", model.costs.size(),
            " costs, model '", pool.models[0].id, "' has ", pool.models[0].costs.size());
  }
  auto const check_split = [&](Predictions const& split, char const* name) {
    require(split.models() == pool.size(), "pool: split '", name, "' has predictions of ", split.models(),
            " models of ", pool.size());
    require(split.samples() > 0, "pool: split '", name, "' has no samples");
    require(split.classes() == pool.select.classes(), "pool: split '", name, "' has ", split.classes(),
            " classes, split 'select' has ", pool.select.classes());
  };
  check_split(pool.select, "select");
  check_split(pool.check, "check");
  if (pool.test.models() > 0 || pool.test.samples() > 0) check_split(pool.test, "test");
}

std::vector<double> costs_of(PredictionPool const& pool, std::string const& axis)
{
  std::vector<double> costs;
  for (auto const& model : pool.models) {
    auto const found = model.costs.find(axis);
    if (found == model.costs.end()) {
      std::string known;
      for (auto const& [name, cost] : model.costs)
        known += (known.empty() ? "" : ", ") + name;
      fail("model '", model.id, "' has no cost ", quoted(axis), " (it has: ", known, ")");
    }
    costs.push_back(found->second);
  }
  return costs;
}

} // namespace nasturtium::ensemble
