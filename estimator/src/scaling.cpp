// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>

#include <cmath>

namespace nasturtium::estimator {

Scaling Scaling::of(std::span<double const> values, std::size_t columns)
{
  Scaling scaling{std::vector<double>(columns, 0), std::vector<double>(columns, 0)};
  std::size_t const count = values.size() / columns;
  auto const rows = static_cast<double>(count);
  for (std::size_t i = 0; i < values.size(); ++i)
    scaling.mean[i % columns] += values[i] / rows;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double const difference = values[i] - scaling.mean[i % columns];
    scaling.deviation[i % columns] += difference * difference / rows;
  }
  for (std::size_t j = 0; j < columns; ++j) {
    double const deviation = std::sqrt(scaling.deviation[j]);
    // What differs by rounding alone is constant.
    scaling.deviation[j] = deviation > 1e-9 * (1 + std::abs(scaling.mean[j])) ? deviation : 1;
  }
  return scaling;
}

std::vector<double> Scaling::operator()(std::span<double const> row) const
{
  require(row.size() == mean.size(), "the model knows ", mean.size(), " features, got ", row.size());
  std::vector<double> result(row.size());
  for (std::size_t j = 0; j < row.size(); ++j)
    result[j] = (row[j] - mean[j]) / deviation[j];
  return result;
}

std::vector<float> Scaling::single(std::span<double const> row) const
{
  auto const values = (*this)(row);
  return {values.begin(), values.end()};
}

json::Object Scaling::save() const
{
  return {{"mean", to_array(mean)}, {"deviation", to_array(deviation)}};
}

Scaling Scaling::load(json::Value const& value, std::string const& what)
{
  json::Reader reader(value, what);
  Scaling scaling;
  scaling.mean = to_numbers(reader.value("mean"), reader.what("mean"));
  scaling.deviation =
      to_numbers(reader.value("deviation"), reader.what("deviation"), static_cast<std::int64_t>(scaling.mean.size()));
  require(!scaling.mean.empty(), reader.what("mean"), " is empty");
  for (double const deviation : scaling.deviation)
    require(deviation > 0, reader.what("deviation"), " must be > 0, got ", deviation);
  reader.finish();
  return scaling;
}

json::Array to_array(std::span<double const> values)
{
  return json::Array(values.begin(), values.end());
}

std::vector<double> to_numbers(json::Value const& value, std::string const& what, std::int64_t count)
{
  auto const& array = json::to_array(value, what);
  require(count < 0 || array.size() == static_cast<std::size_t>(count), what, " should hold ", count, " numbers, got ",
          array.size());
  std::vector<double> result;
  result.reserve(array.size());
  for (auto const& number : array)
    result.push_back(json::to_number(number, what));
  return result;
}

} // namespace nasturtium::estimator
