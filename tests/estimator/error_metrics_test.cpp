// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/error_metrics.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;

TEST_CASE("the reference's vector of errors", "[metrics]")
{
  std::vector<double> const predicted{110, 90, 300, 40}, measured{100, 100, 200, 50};
  auto const errors = error_metrics(predicted, measured);
  CHECK(errors.count == 4);
  CHECK(errors.mape == Approx(0.225));
  CHECK(errors.median == Approx(0.15));
  CHECK(errors.rmse == Approx(50.7445).epsilon(1e-6));
  CHECK(errors.p90 == Approx(0.41)); // 0.2 + 0.7 * 0.3
  CHECK(errors.within_10_percent == 0.5);
  CHECK(errors.spearman == Approx(4.5 / std::sqrt(5 * 4.5))); // 100 stands twice
  CHECK(errors.bias == Approx(0.5 * (std::log(1.1) + std::log(0.9))));
}

TEST_CASE("the pinball loss of the reference", "[metrics]")
{
  CHECK(pinball_loss(3, 2, 0.1) == Approx(0.1));
  CHECK(pinball_loss(2, 3, 0.1) == Approx(0.9));
  CHECK(pinball_loss(3, 2, 0.9) == Approx(0.9));
  CHECK(pinball_loss(2, 3, 0.9) == Approx(0.1));
}

TEST_CASE("quantiles lie between the values, linearly", "[metrics]")
{
  CHECK(quantile({3, 1, 2}, 0.5) == 2);
  CHECK(quantile({3, 1, 2}, 0.75) == 2.5);
  CHECK(quantile({3, 1, 2}, 0) == 1);
  CHECK(quantile({3, 1, 2}, 1) == 3);
  CHECK(quantile({7}, 0.3) == 7);
  CHECK(std::isnan(quantile({}, 0.5)));
  CHECK_THROWS_AS(quantile({1}, 1.5), Error);
}

TEST_CASE("rank correlation knows order alone, and says nothing of constants", "[metrics]")
{
  std::vector<double> const a{1, 2, 3, 4}, grown{1, 10, 100, 1000}, back{4, 3, 2, 1}, constant{5, 5, 5, 5};
  CHECK(spearman(a, grown) == Approx(1));
  CHECK(spearman(a, back) == Approx(-1));
  CHECK(std::isnan(spearman(a, constant)));
  CHECK(std::isnan(spearman(std::span(a).first(1), std::span(a).first(1))));
}

TEST_CASE("the bootstrap's interval holds the error, repeats, and shrinks with the rows", "[metrics]")
{
  std::vector<double> predicted, measured;
  for (int i = 0; i < 400; ++i) {
    measured.push_back(1 + i % 7);
    predicted.push_back(measured.back() * (1 + 0.01 * (i % 23)));
  }
  auto const many = bootstrap_mape(predicted, measured);
  auto const few = bootstrap_mape(std::span(predicted).first(40), std::span(measured).first(40));
  double const mape = error_metrics(predicted, measured).mape;
  CHECK(many.first < mape);
  CHECK(mape < many.second);
  CHECK(many == bootstrap_mape(predicted, measured));
  CHECK(many != bootstrap_mape(predicted, measured, 0.95, 1000, 2));
  CHECK(many.second - many.first < 0.6 * (few.second - few.first));
}

TEST_CASE("times that are none are refused", "[metrics]")
{
  double const inf = std::numeric_limits<double>::infinity();
  using V = std::vector<double>;
  CHECK_THROWS_AS(error_metrics(V{}, V{}), Error);
  CHECK_THROWS_AS(error_metrics(V{1}, V{1, 2}), Error);
  for (double const bad : {0.0, -1.0, inf, std::nan("")}) {
    CHECK_THROWS_AS(error_metrics(V{bad}, V{1}), Error);
    CHECK_THROWS_AS(error_metrics(V{1}, V{bad}), Error);
  }
}
