// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/regression.hpp>

#include "methods.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {

void FeatureRows::add(std::vector<double> const& features, double roofline_seconds, double measured)
{
  require(features.size() == names.size(), "a row has ", features.size(), " features, not ", names.size());
  values.insert(values.end(), features.begin(), features.end());
  roofline.push_back(roofline_seconds);
  seconds.push_back(measured);
}

void check(FeatureRows const& rows)
{
  std::size_t const n = rows.size();
  require(n > 0, "a method needs rows to fit");
  require(rows.values.size() == n * rows.names.size() && rows.roofline.size() == n &&
              (rows.lineage.empty() || rows.lineage.size() == n) && (rows.devices.empty() || rows.devices.size() == n),
          "rows, times, lineages and devices are not equally many");
  for (std::size_t i = 0; i < rows.values.size(); ++i)
    require(std::isfinite(rows.values[i]), "feature ", quoted(rows.names[i % rows.names.size()]), " of row ",
            i / rows.names.size(), " is ", rows.values[i]);
  for (std::size_t i = 0; i < n; ++i)
    require(rows.seconds[i] > 0 && std::isfinite(rows.seconds[i]) && rows.roofline[i] > 0 &&
                std::isfinite(rows.roofline[i]),
            "row ", i, " has the time ", rows.seconds[i], " and the roofline ", rows.roofline[i],
            ", which must be positive and finite");
}

std::vector<std::string> regressor_names()
{
  return {"paper-mlp", "log-linear", "trees", "trees-ratio", "quantile-mlp", "ensemble5", "justus-mlp", "nasturtium"};
}

std::unique_ptr<Regressor> make_regressor(std::string const& method)
{
  if (auto regressor = make_linear(method)) return regressor;
  if (auto regressor = make_perceptron(method)) return regressor;
  if (auto regressor = make_boosted(method)) return regressor;
  std::string known;
  for (auto const& name : regressor_names())
    known += (known.empty() ? "" : ", ") + name;
  fail("unknown method ", quoted(method), " (", known, ")");
}

} // namespace nasturtium::estimator
