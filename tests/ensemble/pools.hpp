// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pools that the selection's golden values are known of.
#pragma once

#include <nasturtium/core/splitmix.hpp>
#include <nasturtium/ensemble/prediction_pool.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::test {

/// Generator B: 14 classifiers of 10 classes, cost 1 to 30; `samples` of select and check together, 10,000 of test.
inline ensemble::PredictionPool generated_pool(std::uint64_t seed, int samples, int test_samples = 10000)
{
  constexpr int models = 14, classes = 10;
  struct Classifier
  {
    double skill, sharpness;
  };
  SplitMix random(seed);
  ensemble::PredictionPool pool;
  std::vector<Classifier> classifiers;
  for (int m = 0; m < models; ++m) {
    double const v = random.unit();
    double const skill = 1.6 + 1.2 * v + 0.25 * random.normal();
    classifiers.push_back({skill, 1 + 1.5 * random.unit()});
    pool.models.push_back({"m" + std::to_string(m), {{"cost", std::pow(30, v)}}});
  }
  auto const split = [&](int count) {
    std::vector<std::int32_t> labels;
    std::vector<std::vector<double>> all(models);
    for (int i = 0; i < count; ++i) {
      auto const label = static_cast<std::int32_t>(10 * random.unit());
      labels.push_back(label);
      std::array<double, classes> shared{}, z{};
      for (double& e : shared)
        e = random.normal();
      for (int m = 0; m < models; ++m) {
        auto const& it = classifiers[static_cast<std::size_t>(m)];
        double peak = -1e300, sum = 0;
        for (std::size_t c = 0; c < classes; ++c) {
          double const own = c == static_cast<std::size_t>(label) ? it.skill : 0;
          z[c] = it.sharpness * (own + 0.8 * shared[c] + 0.8 * random.normal());
          peak = std::max(peak, z[c]);
        }
        for (double& value : z)
          sum += value = std::exp(value - peak);
        for (double const value : z)
          all[static_cast<std::size_t>(m)].push_back(value / sum);
      }
    }
    ensemble::Predictions predictions(classes, labels);
    for (auto const& probabilities : all)
      predictions.add_probabilities(probabilities);
    return predictions;
  };
  pool.select = split(samples * 6 / 10);
  pool.check = split(samples * 4 / 10);
  if (test_samples > 0) pool.test = split(test_samples);
  return pool;
}

/// Five samples of three classes, four models of cost 1, 2, 4, 8; `check` is the same as `select`.
inline ensemble::PredictionPool small_pool()
{
  std::vector<std::vector<double>> const all{
      {.70, .20, .10, .30, .50, .20, .20, .20, .60, .50, .40, .10, .10, .60, .30},
      {.60, .30, .10, .10, .80, .10, .40, .30, .30, .20, .70, .10, .30, .30, .40},
      {.40, .30, .30, .20, .60, .20, .10, .10, .80, .30, .50, .20, .20, .50, .30},
      {.90, .05, .05, .60, .30, .10, .10, .30, .60, .60, .30, .10, .05, .15, .80}};
  ensemble::PredictionPool pool;
  pool.select = ensemble::Predictions(3, {0, 1, 2, 1, 2});
  for (std::size_t m = 0; m < all.size(); ++m) {
    pool.models.push_back({"m" + std::to_string(m), {{"cost", 1 << m}}});
    pool.select.add_probabilities(all[m]);
  }
  pool.check = pool.select;
  return pool;
}

} // namespace nasturtium::test
