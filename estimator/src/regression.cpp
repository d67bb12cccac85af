// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/regression.hpp>

#include "methods.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <cmath>

namespace nasturtium::estimator {

void FeatureRows::add(std::vector<double> const& features, double roofline_seconds, double measured)
{
  require(features.size() == names.size(), "a row of ", names.size(), " features should be added, got ",
          features.size());
  values.insert(values.end(), features.begin(), features.end());
  roofline.push_back(roofline_seconds);
  seconds.push_back(measured);
}

void check(FeatureRows const& rows)
{
  std::size_t const n = rows.size();
  require(n > 0, "there is nothing to learn from: no rows");
  require(!rows.names.empty() && rows.values.size() == n * rows.names.size() && rows.roofline.size() == n &&
              (rows.lineage.empty() || rows.lineage.size() == n) && (rows.devices.empty() || rows.devices.size() == n),
          "the lists of ", n, " rows differ in length");
  for (std::size_t i = 0; i < rows.values.size(); ++i)
    require(std::isfinite(rows.values[i]), "row ", i / rows.names.size(), ": feature ",
            quoted(rows.names[i % rows.names.size()]), " must be finite, got ", shortest(rows.values[i]));
  for (std::size_t i = 0; i < n; ++i)
    for (double const time : {rows.seconds[i], rows.roofline[i]})
      require(std::isfinite(time) && time > 0, "row ", i, ": a time must be positive and finite, got ", shortest(time));
}

std::vector<double> log_ratios(FeatureRows const& rows)
{
  std::vector<double> ratios(rows.size());
  for (std::size_t i = 0; i < ratios.size(); ++i)
    ratios[i] = std::log(rows.seconds[i] / rows.roofline[i]);
  return ratios;
}

std::unique_ptr<Regressor> make_regressor(std::string const& method)
{
  for (auto* const make : {make_linear, make_boosted, make_perceptron})
    if (auto made = make(method)) return made;
  std::string names;
  for (auto const& name : regressor_names())
    names += (names.empty() ? "" : ", ") + name;
  fail("unknown method ", quoted(method), " (", names, ")");
}

std::vector<std::string> regressor_names()
{
  return {"paper-mlp", "log-linear", "trees", "trees-ratio", "quantile-mlp", "ensemble5", "justus-mlp", "nasturtium"};
}

} // namespace nasturtium::estimator
