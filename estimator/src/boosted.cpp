// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Methods on boosted trees.
#include "boosted.hpp"

#include "methods.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {
namespace {

/// Trees on log time, or on the logarithm of the time over the roofline's.
class Boosted : public Regressor
{
public:
  Boosted(std::string method, bool over_roofline) : m_method(std::move(method)), m_over_roofline(over_roofline)
  {
    require(can_fit_trees(), "method ", m_method, " needs XGBoost, which this build has not found");
  }
  std::string method() const override { return m_method; }

  void fit(FeatureRows const& rows, std::uint64_t seed, bool /*warm*/) override
  {
    check(rows);
    auto targets = log_ratios(rows);
    if (!m_over_roofline)
      for (std::size_t i = 0; i < targets.size(); ++i)
        targets[i] = std::log(rows.seconds[i]);
    m_forest.fit(rows.values, rows.names.size(), targets,
                 m_method == "nasturtium" ? own_tree_options(rows.size()) : TreeOptions{}, seed);
  }

  Prediction predict(std::span<double const> row, double roofline_seconds) const override
  {
    double const value = std::exp(m_forest.predict(row));
    return {.seconds = m_over_roofline ? roofline_seconds * value : value};
  }

  json::Object save() const override { return {{"xgboost", m_forest.model()}}; }
  void load(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_forest.set_model(reader.value("xgboost"), reader.what("xgboost"));
    reader.finish();
  }

private:
  std::string m_method;
  bool m_over_roofline;
  Forest m_forest;
};

} // namespace

TreeOptions own_tree_options(std::size_t rows)
{
  // Finer bins and smaller leaves pay once every tree sees other rows and other columns; of few rows, leaves are
  // smaller still.
  return {.trees = 500,
          .depth = 8,
          .bins = 256,
          .rate = 0.06,
          .min_leaf = rows < 2000 ? 2.0 : 5.0,
          .row_share = 0.8,
          .column_share = 0.5};
}

std::unique_ptr<Regressor> make_boosted(std::string const& method)
{
  if (method == "trees") return std::make_unique<Boosted>(method, false);
  if (method == "trees-ratio" || method == "nasturtium") return std::make_unique<Boosted>(method, true);
  return nullptr;
}

} // namespace nasturtium::estimator
