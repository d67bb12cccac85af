// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/predictor/metrics.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium::predictor;
using Catch::Approx;

TEST_CASE("metrics: ranks share ties, correlations by hand")
{
  std::vector<double> const values{3, 1, 3, 2};
  CHECK(ranks(values) == std::vector<double>{3.5, 1, 3.5, 2});
  std::vector<double> const up{1, 2, 3, 4, 5}, other{2, 1, 4, 3, 5}, flat{1, 1, 1, 1, 1};
  CHECK(spearman(up, up) == Approx(1));
  CHECK(spearman(up, other) == Approx(1 - 6.0 * 4 / (5 * 24)));
  CHECK(kendall(up, other) == Approx(0.6));
  CHECK(std::isnan(spearman(up, flat)));
  CHECK(std::isnan(kendall(up, flat)));
  CHECK(std::isnan(spearman({}, {})));
  // tau-b with one tie on one side: 5 of 6 pairs count on the right.
  std::vector<double> const left{1, 2, 3, 4}, tied{1, 2, 2, 3};
  CHECK(kendall(left, tied) == Approx(5 / std::sqrt(6.0 * 5)));
}

TEST_CASE("metrics: best sets, with ties by the smaller position")
{
  std::vector<double> const truth{90, 80, 90, 70, 60}, said{50, 90, 90, 10, 20};
  CHECK(top(truth, 2) == std::vector<std::size_t>{0, 2});
  CHECK(top(said, 2) == std::vector<std::size_t>{1, 2});
  CHECK(top(said, 9).size() == 5);
  CHECK(top_hits(truth, said, 1) == 0);
  CHECK(top_hits(truth, said, 2) == 1);
  CHECK(epsilon_hits(truth, said, 2, 0.5) == 1);
  CHECK(epsilon_hits(truth, said, 2, 10) == 2);
  CHECK(mean_top_difference(truth, said, 2) == Approx(5));
  CHECK(regret(truth, said) == Approx(10));
  std::vector<double> const unknown{std::nan(""), 1, 2, 3, 4};
  CHECK(top(unknown, 5).back() == 0);
}

TEST_CASE("metrics: errors and quantile scores")
{
  std::vector<double> const truth{10, 20}, said{12, 17};
  auto const summary = errors(truth, said);
  CHECK(summary.mean_absolute == Approx(2.5));
  CHECK(summary.bias == Approx(-0.5));
  CHECK(summary.maximum == Approx(3));
  CHECK(std::isnan(errors({}, {}).mean_absolute));
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
  CHECK(std::isnan(median({})));
  std::vector<double> const levels{0.25, 0.75}, quantiles{0, 2};
  // Twice the pinball losses of 1 against 0 and 2: 2 (0.25 * 1) and 2 (0.25 * 1).
  CHECK(quantile_crps(1, levels, quantiles) == Approx(0.5));
}

TEST_CASE("metrics: the density that quantiles stand for is one")
{
  std::vector<double> const levels{0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95}, quantiles{40, 42, 45, 50, 52, 55, 60};
  CHECK(quantile_log_density(47, levels, quantiles) == Approx(std::log(0.25 / 5)));
  CHECK(quantile_log_density(41, levels, quantiles) == Approx(std::log(0.05 / 2)));
  // Beyond the ends an exponential with the mass that is left: its density where it begins is that of the last piece.
  CHECK(quantile_log_density(60.000001, levels, quantiles) == Approx(std::log(0.05 / 5)).margin(1e-5));
  double mass = 0;
  double const step = 0.01;
  for (double x = -400 + step / 2; x < 600; x += step)
    mass += step * std::exp(quantile_log_density(x, levels, quantiles));
  CHECK(mass == Approx(1).margin(1e-3));
  // Quantiles that coincide (an interval clipped at 100) count as a piece of a hundredth of a point.
  std::vector<double> const clipped{90, 95, 98, 100, 100, 100, 100};
  CHECK(quantile_log_density(100, levels, clipped) == Approx(std::log(0.70 / 2)));
  CHECK(std::isfinite(quantile_log_density(100, levels, std::vector<double>(7, 100.0))));
  CHECK(quantile_log_density(99, levels, std::vector<double>(7, 100.0)) < -90);
}
