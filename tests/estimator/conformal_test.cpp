// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/conformal.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;

namespace {

/// Estimates 1 .. and truths that miss them by up to 30 %, more for the small ones.
struct Case
{
  std::vector<Prediction> predictions;
  std::vector<double> seconds;

  Case(std::size_t n, std::uint64_t seed)
  {
    for (std::size_t i = 0; i < n; ++i) {
      auto const block = random_block(seed, Purpose::synthetic, 0, i);
      double const estimate = std::exp(3 * to_unit_float(block.word[0]));
      double const spread = estimate < 3 ? 0.3 : 0.1;
      predictions.push_back({.seconds = estimate});
      seconds.push_back(estimate * std::exp(spread * (2 * to_unit_float(block.word[1]) - 1)));
    }
  }
};

} // namespace

TEST_CASE("conformal ranks of the reference", "[conformal]")
{
  CHECK(conformal_rank(19, 0.1) == 18);
  CHECK(conformal_rank(9, 0.1) == 9);
  CHECK(conformal_rank(8, 0.1) == std::nullopt);
  CHECK(conformal_rank(99, 0.01) == 99);
  CHECK(conformal_rank(98, 0.01) == std::nullopt);
  CHECK(conformal_rank(0, 0.5) == std::nullopt);
  CHECK(conformal_rank(3, 0.999) == 1);
  CHECK_THROWS_AS(conformal_rank(10, 0), Error);
  CHECK_THROWS_AS(conformal_rank(10, 1), Error);
  CHECK_THROWS_AS(conformal_rank(-1, 0.1), Error);
}

TEST_CASE("refine: the reference's prior and blocks", "[conformal]")
{
  LogNormal const prior{std::log(40), 0.15};
  auto const after = refine(prior, 5, std::log(50), 0.03);
  CHECK(after.median() == Approx(49.863).epsilon(1e-5));
  auto const [low, high] = after.interval(0.9);
  CHECK(low == Approx(48.517).epsilon(2e-5));
  CHECK(high == Approx(51.246).epsilon(2e-5));
  CHECK(refine(prior, 0, 0, 0).median() == Approx(40));
  std::vector<double> const blocks{50, 50, 50};
  CHECK(refine(prior, blocks).median() == Approx(refine(prior, 3, std::log(50), 0).median()));
  CHECK_THROWS_AS(refine(prior, std::vector<double>{50, 0}), Error);
  CHECK_THROWS_AS(refine({0, 0}, 1, 0, 0), Error);
}

TEST_CASE("intervals cover what they promise, class by class", "[conformal]")
{
  Case const calibration(3000, 1), test(3000, 2);
  Conformal const conformal(calibration.predictions, calibration.seconds);
  CHECK(conformal.classes() == 3);
  for (double const alpha : {0.02, 0.1, 0.2}) {
    int inside = 0, below = 0;
    double narrow = 0, wide = 0;
    for (std::size_t i = 0; i < test.seconds.size(); ++i) {
      auto const [low, high] = conformal.interval(test.predictions[i], alpha);
      inside += low <= test.seconds[i] && test.seconds[i] <= high;
      below += test.seconds[i] <= conformal.upper_limit(test.predictions[i], alpha);
      (test.predictions[i].seconds < 2 ? wide : narrow) = high / low;
    }
    CHECK(inside / 3000.0 == Approx(1 - alpha).margin(0.02));
    CHECK(below / 3000.0 == Approx(1 - alpha).margin(0.02));
    CHECK(wide > 1.2 * narrow);
  }
}

TEST_CASE("small classes are merged, and too few rows promise nothing", "[conformal]")
{
  for (auto const& [rows, classes] : {std::pair{8, 1}, {199, 1}, {250, 1}, {300, 3}, {301, 3}}) {
    Case const some(static_cast<std::size_t>(rows), 3);
    CHECK(Conformal(some.predictions, some.seconds).classes() == static_cast<std::size_t>(classes));
  }
  Case const few(8, 3);
  Conformal const conformal(few.predictions, few.seconds);
  CHECK(conformal.rows({.seconds = 1}) == 8);
  CHECK(conformal.interval({.seconds = 1}, 0.1) == std::pair{0.0, std::numeric_limits<double>::infinity()});
  CHECK(std::isinf(conformal.upper_limit({.seconds = 1}, 0.1)));
  CHECK(std::isfinite(conformal.upper_limit({.seconds = 1}, 0.2)));
  CHECK_THROWS_AS(Conformal({}, {}), Error);
  CHECK_THROWS_AS(Conformal(few.predictions, std::span(few.seconds).first(3)), Error);
}

TEST_CASE("calibration rows and blocks without a time are refused", "[conformal]")
{
  double const inf = std::numeric_limits<double>::infinity();
  std::vector<Prediction> const good(3, {1, 0.5, 2});
  std::vector<double> const seconds(3, 1);
  LogNormal const prior{0, 0.1};
  for (double const bad : {0.0, -1.0, inf, std::nan("")}) {
    auto predictions = good;
    predictions[1].seconds = bad;
    CHECK_THROWS_AS(Conformal(predictions, seconds), Error);
    auto times = seconds;
    times[1] = bad;
    CHECK_THROWS_AS(Conformal(good, times), Error);
    CHECK_THROWS_AS(refine(prior, times), Error);
  }
  for (double const bad : {0.0, inf}) {
    auto predictions = good;
    predictions[1].q90 = bad;
    CHECK_THROWS_AS(Conformal(predictions, seconds), Error);
  }
  for (double const bad : {0.0, 1.0, -0.5, std::nan("")}) {
    CHECK_THROWS_AS(Conformal(good, seconds).interval(good[0], bad), Error);
    CHECK_THROWS_AS(Conformal(good, seconds).upper_limit(good[0], bad), Error);
    CHECK_THROWS_AS(prior.interval(bad), Error);
  }
  CHECK_THROWS_AS(refine(prior, -1, 0, 0), Error);
  CHECK_THROWS_AS(refine(prior, 1, 0, -0.1), Error);
}

TEST_CASE("quantiles of a method are widened, not replaced", "[conformal]")
{
  std::vector<Prediction> predictions(99, {1, 0.5, 2});
  std::vector<double> const seconds(99, 4); // always twice the upper quantile
  auto const [low, high] = Conformal(predictions, seconds).interval(predictions.front(), 0.1);
  CHECK(low == Approx(0.25));
  CHECK(high == Approx(4));
}

TEST_CASE("saved intervals are the same, and bad ones are refused", "[conformal]")
{
  Case const calibration(600, 4);
  Conformal const conformal(calibration.predictions, calibration.seconds);
  json::Value const saved = conformal.save();
  auto const text = json::pretty(saved);
  auto const back = Conformal::load(json::parse(text, "test"), "test");
  for (auto const& prediction : calibration.predictions)
    CHECK(back.interval(prediction, 0.1) == conformal.interval(prediction, 0.1));
  for (auto const* const bad :
       {"{}", R"({"classes": []})", R"({"classes": [{"largest": 1, "two_sided": [], "one_sided": []}]})",
        R"({"classes": [{"largest": null, "two_sided": [1], "one_sided": [1, 2]}]})",
        R"({"classes": [{"largest": null, "two_sided": [2, 1], "one_sided": [1, 2]}]})"}) {
    auto const value = json::parse(bad, "test");
    CHECK_THROWS_AS(Conformal::load(value, "test"), Error);
  }
}
