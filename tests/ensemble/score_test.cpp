// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ensemble/pools.hpp"
#include "support/temporary.hpp"

#include <nasturtium/ensemble/calibration.hpp>
#include <nasturtium/ensemble/score.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

bool near(double value, double expected, double tolerance = 1e-6)
{
  return std::abs(value - expected) <= tolerance;
}

/// Probabilities as doubles: the pool holds them in float32.
std::vector<double> of_model(Predictions const& predictions, int model)
{
  auto const p = predictions.probabilities(model);
  return {p.begin(), p.end()};
}

struct Calibration
{
  std::vector<double> p{.90, .05, .05, .80, .15, .05, .10, .85, .05, .95, .03, .02,
                        .20, .20, .60, .05, .15, .80, .60, .30, .10, .15, .05, .80};
  std::vector<std::int32_t> labels{0, 0, 1, 1, 2, 2, 1, 0};
  ProbabilityMatrix matrix() const { return {p, 3, labels}; }
};

ProbabilityMatrix random_matrix(std::uint64_t seed, std::vector<double>& p, std::vector<std::int32_t>& labels)
{
  SplitMix random(seed);
  for (int i = 0; i < 60; ++i) {
    double row[4], sum = 0;
    for (double& value : row)
      sum += value = std::exp(2 * random.normal());
    for (double const value : row)
      p.push_back(value / sum);
    labels.push_back(static_cast<std::int32_t>(4 * random.unit()));
  }
  return {p, 4, labels};
}

} // namespace

TEST_CASE("splitmix64: the known outputs", "[selection]")
{
  CHECK(SplitMix(0).next() == 16294208416658607535ull);
  CHECK(SplitMix(1).next() == 10451216379200822465ull);
}

TEST_CASE("scores: the models of the small pool", "[selection]")
{
  auto const pool = small_pool();
  double const nll[]{.736182, .642182, .709476, .649455}, brier[]{.448, .348, .400, .412};
  for (int m = 0; m < 4; ++m) {
    auto const p = of_model(pool.select, m);
    ProbabilityMatrix const matrix{p, 3, pool.select.labels()};
    CHECK(near(negative_log_likelihood(matrix), nll[m]));
    CHECK(near(brier_score(matrix), brier[m]));
  }
  CHECK(near(diversity(pool.select, std::vector{0, 1, 2, 3}).disagreement, .466667));
}

TEST_CASE("calibration: temperature after pooling", "[selection]")
{
  Calibration const it;
  auto const matrix = it.matrix();
  CHECK(near(negative_log_likelihood(matrix), .979080));
  CHECK(near(brier_score(matrix), .561100));
  CHECK(near(accuracy(matrix), .625));
  CHECK(near(calibration_error_by_width(matrix), .225));
  CHECK(near(calibration_error_by_mass(matrix, 4), .2625));
  auto const temperature = fit_temperature(matrix);
  CHECK(near(temperature.value, 1.783218));
  CHECK(temperature.steps == 5);
  auto const calibrated = apply_temperature(matrix, temperature.value);
  ProbabilityMatrix const after{calibrated, 3, it.labels};
  CHECK(near(negative_log_likelihood(after), .887405));
  CHECK(near(brier_score(after), .531569));
  CHECK(near(accuracy(after), .625));
  CHECK(near(calibration_error_by_width(after), .196409));
  CHECK(near(calibration_error_by_mass(after, 4), .197661));
}

TEST_CASE("calibration: no temperature nearby is better; a calibrated matrix has temperature 1", "[selection]")
{
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    INFO("seed " << seed);
    std::vector<double> p;
    std::vector<std::int32_t> labels;
    auto const matrix = random_matrix(seed, p, labels);
    auto const loss = [&](double temperature) {
      auto const calibrated = apply_temperature(matrix, temperature);
      return negative_log_likelihood({calibrated, 4, labels});
    };
    double const fitted = fit_temperature(matrix).value, least = loss(fitted);
    CHECK((fitted >= 0.05 && fitted <= 20.0000001));
    for (double const factor : {0.9, 0.999, 1.001, 1.1})
      if (fitted * factor < 20) CHECK(loss(fitted * factor) >= least - 1e-12);
    if (fitted > 19) continue;
    auto const calibrated = apply_temperature(matrix, fitted);
    CHECK(near(fit_temperature({calibrated, 4, labels}).value, 1));
  }
}

TEST_CASE("calibration: at the edges", "[selection]")
{
  std::vector<std::int32_t> const labels{0, 1};
  auto const fit = [&](std::vector<double> const& p) { return fit_temperature({p, 2, labels}).value; };
  CHECK(near(fit({.9, .1, .2, .8}), 0.05));       // all right: as sharp as may be
  CHECK(near(fit({.1, .9, .8, .2}), 20));         // all wrong: as flat as may be
  CHECK(fit({.5, .5, .5, .5}) == 1);              // nothing to say
  CHECK(std::isfinite(fit({1, 0, 1, 0})));        // certain, once wrong
  CHECK(fit_temperature({{}, 2, {}}).value == 1); // no samples
  CHECK(std::isnan(negative_log_likelihood({{}, 2, {}})));
  CHECK(std::isnan(calibration_error_by_width({{}, 2, {}})));
  std::vector<double> const p{.9, .1, .2, .8};
  CHECK(error_of([&] { apply_temperature({p, 2, labels}, 0); }) == "temperature must be > 0, got 0");
  CHECK(error_of([&] { calibration_error_by_mass({p, 2, labels}, 0); }) ==
        "calibration error: bins must be positive, got 0");
}

TEST_CASE("calibration error: bins are closed on the right; one bin is the gap of the means", "[selection]")
{
  std::vector<std::int32_t> const labels{0, 0, 1};
  std::vector<double> const p{.8, .2, .6, .4, .61, .39}; // .6 is in the bin (.4, .6], .61 in (.6, .8]
  ProbabilityMatrix const matrix{p, 2, labels};
  CHECK(near(calibration_error_by_width(matrix, 5), (std::abs(1 - .6) + std::abs(1 - (.8 + .61))) / 3, 1e-12));
  double const gap = std::abs(2 - (.8 + .6 + .61)) / 3;
  CHECK(near(calibration_error_by_width(matrix, 1), gap, 1e-12));
  CHECK(near(calibration_error_by_mass(matrix, 1), gap, 1e-12));
  // More bins than samples: every sample by itself.
  CHECK(near(calibration_error_by_mass(matrix, 7), (.2 + .4 + .61) / 3, 1e-12));
}

TEST_CASE("diversity: of equal, opposite and independent models", "[selection]")
{
  Predictions predictions(2, {0, 0, 0, 0});
  predictions.add_probabilities(std::vector{.9, .1, .9, .1, .1, .9, .1, .9}); // right right wrong wrong
  predictions.add_probabilities(std::vector{.9, .1, .1, .9, .9, .1, .1, .9}); // independent of the first
  predictions.add_probabilities(std::vector{.1, .9, .1, .9, .9, .1, .9, .1}); // its opposite
  auto const pair = [&](int a, int b) { return diversity(predictions, std::vector{a, b}); };
  CHECK(pair(0, 0).disagreement == 0);
  CHECK(pair(0, 0).q == 1);
  CHECK(pair(0, 1).disagreement == 0.5);
  CHECK(pair(0, 1).q == 0);
  CHECK(pair(0, 2).disagreement == 1);
  CHECK(pair(0, 2).q == -1);
  CHECK(std::isnan(diversity(predictions, std::vector{0}).q));
}

TEST_CASE("predictions: logits, shifted by any constant, are probabilities", "[selection]")
{
  Predictions a(3, {2, 0}), b(3, {2, 0});
  a.add_logits(std::vector{0.0f, std::log(2.0f), std::log(5.0f), -INFINITY, 3.0f, 3.0f});
  b.add_probabilities(std::vector{.125, .25, .625, 0.0, .5, .5});
  for (std::size_t i = 0; i < 6; ++i)
    CHECK(near(static_cast<double>(a.probabilities(0)[i]), static_cast<double>(b.probabilities(0)[i]), 1e-7));
  CHECK(b.column(0)[0] == .625f);
  CHECK(b.column(0)[1] == 0);
}

TEST_CASE("predictions and pools: what is refused", "[selection]")
{
  auto const probabilities = [](std::vector<double> const& p) {
    return error_of([&] { Predictions(2, {0, 1}).add_probabilities(p); });
  };
  CHECK(probabilities({.5, .5}) == "predictions: model 0 has 2 values for 2 samples of 2 classes");
  CHECK(probabilities({.5, .5, -.1, 1.1}) == "predictions: model 0, sample 1: a probability is -0.1");
  CHECK(probabilities({.5, .5, .2, .2}) == "predictions: model 0, sample 1: probabilities sum to 0.4");
  CHECK(probabilities({.5, .5, NAN, .2}) == "predictions: model 0, sample 1: a probability is nan");
  auto const logits = [](std::vector<float> const& z) {
    return error_of([&] { Predictions(2, {0, 1}).add_logits(z); });
  };
  CHECK(logits({0, NAN, 0, 0}) == "predictions: model 0, sample 0: a logit is nan");
  CHECK(logits({0, 0, INFINITY, 0}) == "predictions: model 0, sample 1: a logit is inf");
  CHECK(logits({0, 0, -INFINITY, -INFINITY}) == "predictions: model 0, sample 1: no logit is finite");
  CHECK(error_of([] { Predictions(1, {0}); }) == "predictions: classes must be at least 2, got 1");
  CHECK(error_of([] { Predictions(2, {0, 2}); }) == "predictions: label of sample 1 must be in [0, 2), got 2");

  auto const refused = [](auto const& spoil) {
    auto pool = small_pool();
    spoil(pool);
    return error_of([&] { check_pool(pool); });
  };
  CHECK(refused([](auto&) {}) == "no error");
  CHECK(refused([](auto& pool) { pool.models[1].id = "m0"; }) == "pool: two models are called 'm0'");
  CHECK(refused([](auto& pool) { pool.models[1].id = "a;b"; }) ==
        "pool: a model's id must be 1 to 128 letters, digits, '_', '-' or '.', with no '.' in front, got 'a;b'");
  CHECK(refused([](auto& pool) { pool.models[2].costs["cost"] = 0; }) ==
        "pool: model 'm2': cost 'cost' must be > 0, got 0");
  CHECK(refused([](auto& pool) { pool.models[2].costs = {{"time", 1}}; }) ==
        "pool: model 'm2' has a cost 'time', model 'm0' has not");
  CHECK(refused([](auto& pool) { pool.models.pop_back(); }) == "pool: split 'select' has predictions of 4 models of 3");
  CHECK(refused([](auto& pool) { pool.check = {}; }) == "pool: split 'check' has predictions of 0 models of 4");
  CHECK(refused([](auto& pool) { pool = {}; }) == "the pool has no models");
  CHECK(error_of([] { costs_of(small_pool(), "time"); }) == "model 'm0' has no cost 'time' (it has: cost)");
}
