// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/score.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace nasturtium::ensemble {

namespace {

/// The mean over all samples of f(row, label).
template <class F>
double mean_over(ProbabilityMatrix const& matrix, F const& f)
{
  double sum = 0;
  for (std::size_t i = 0; i < matrix.samples(); ++i)
    sum += f(matrix.row(i), static_cast<std::size_t>(matrix.labels[i]));
  return matrix.samples() > 0 ? sum / static_cast<double>(matrix.samples()) : std::numeric_limits<double>::quiet_NaN();
}

template <class Row>
std::size_t predicted_class(Row const& row)
{
  return static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

struct Bin
{
  double correct = 0, confidence = 0;
};

double calibration_error(std::vector<Bin> const& bins, std::size_t samples)
{
  double sum = 0;
  for (Bin const& bin : bins)
    sum += std::abs(bin.correct - bin.confidence);
  return samples > 0 ? sum / static_cast<double>(samples) : std::numeric_limits<double>::quiet_NaN();
}

void add_to(Bin& bin, std::span<double const> row, std::int32_t label)
{
  std::size_t const top = predicted_class(row);
  bin.correct += top == static_cast<std::size_t>(label) ? 1 : 0;
  bin.confidence += row[top];
}

} // namespace

double negative_log_likelihood(ProbabilityMatrix const& matrix)
{
  return mean_over(
      matrix, [](auto const& row, std::size_t label) { return -std::log(std::max(row[label], least_probability)); });
}

double brier_score(ProbabilityMatrix const& matrix)
{
  return mean_over(matrix, [](auto const& row, std::size_t label) {
    double sum = 0;
    for (std::size_t c = 0; c < row.size(); ++c) {
      double const error = row[c] - (c == label ? 1 : 0);
      sum += error * error;
    }
    return sum;
  });
}

double accuracy(ProbabilityMatrix const& matrix)
{
  return mean_over(matrix,
                   [](auto const& row, std::size_t label) { return predicted_class(row) == label ? 1.0 : 0.0; });
}

double calibration_error_by_width(ProbabilityMatrix const& matrix, int bins)
{
  require(bins > 0, "calibration error: bins must be positive, got ", bins);
  std::vector<Bin> sums(static_cast<std::size_t>(bins));
  for (std::size_t i = 0; i < matrix.samples(); ++i) {
    auto const row = matrix.row(i);
    int const bin = static_cast<int>(std::ceil(*std::max_element(row.begin(), row.end()) * bins)) - 1;
    add_to(sums[static_cast<std::size_t>(std::clamp(bin, 0, bins - 1))], row, matrix.labels[i]);
  }
  return calibration_error(sums, matrix.samples());
}

double calibration_error_by_mass(ProbabilityMatrix const& matrix, int bins)
{
  require(bins > 0, "calibration error: bins must be positive, got ", bins);
  std::size_t const count = matrix.samples();
  std::vector<double> confidence(count);
  for (std::size_t i = 0; i < count; ++i)
    confidence[i] = *std::max_element(matrix.row(i).begin(), matrix.row(i).end());
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return confidence[a] < confidence[b]; });
  auto const many = static_cast<std::size_t>(bins);
  std::vector<Bin> sums(many);
  for (std::size_t bin = 0; bin < many; ++bin)
    for (std::size_t at = bin * count / many; at < (bin + 1) * count / many; ++at)
      add_to(sums[bin], matrix.row(order[at]), matrix.labels[order[at]]);
  return calibration_error(sums, count);
}

Diversity diversity(Predictions const& predictions, std::span<int const> models)
{
  auto const samples = static_cast<std::size_t>(predictions.samples());
  auto const classes = static_cast<std::size_t>(predictions.classes());
  std::vector<std::vector<std::int32_t>> predicted;
  for (int const model : models) {
    auto const all = predictions.probabilities(model);
    auto& of_model = predicted.emplace_back(samples);
    for (std::size_t i = 0; i < samples; ++i)
      of_model[i] = static_cast<std::int32_t>(predicted_class(all.subspan(i * classes, classes)));
  }
  std::vector<double> disagreements, qs;
  for (std::size_t first = 0; first < predicted.size(); ++first)
    for (std::size_t second = 0; second < first; ++second) {
      std::int64_t differ = 0, right[2][2] = {};
      for (std::size_t i = 0; i < samples; ++i) {
        std::int32_t const one = predicted[first][i], other = predicted[second][i], label = predictions.labels()[i];
        differ += one != other;
        ++right[one == label][other == label];
      }
      disagreements.push_back(static_cast<double>(differ) / static_cast<double>(samples));
      double const together = static_cast<double>(right[1][1]) * static_cast<double>(right[0][0]);
      double const apart = static_cast<double>(right[1][0]) * static_cast<double>(right[0][1]);
      if (together + apart > 0) qs.push_back((together - apart) / (together + apart));
    }
  return {mean(disagreements), mean(qs)};
}

} // namespace nasturtium::ensemble
