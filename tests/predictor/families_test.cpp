// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/predictor/families.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <numbers>

using namespace nasturtium;
using namespace nasturtium::predictor;

namespace {

struct Case
{
  Family family;
  Parameters p;
  double at_two; // F(2), by hand
};

double const e = std::numbers::e;

std::vector<Case> const cases{
    {Family::exp_default, {90, 2, 5, 0}, 90 - 8},
    {Family::pow2, {40, 0.5, 0, 0}, 40 * std::sqrt(2.0)},
    {Family::pow3, {-30, -1, 80, 0}, 65},
    {Family::log2, {10, 20, 0, 0}, 20 + 10 * std::log(2.0)},
    {Family::exp2, {30, 0.5, 0, 0}, 30 * e},
    {Family::exp3, {-30, -0.5, 80, 0}, 80 - 30 / e},
    {Family::exp4, {0.25, 1, 70, 2}, 69},
    {Family::expp3, {-1, 1, 60, 0}, 60 - e},
    {Family::expd3, {10, 0.5, 90, 0}, 90 - 80 / e},
    {Family::vap3, {4, -2, 0, 0}, std::exp(3.0)},
    {Family::mmf4, {10, 4, 90, 2}, (40.0 + 360) / 8},
    {Family::wbl4, {90, 80, 0.25, 2}, 90 - 80 / e},
    {Family::ilog2, {std::log(2.0), 70, 0, 0}, 69},
};

} // namespace

TEST_CASE("families: values by hand")
{
  CHECK(cases.size() == family_count);
  for (auto const& [family, p, expected] : cases) {
    INFO(name(family));
    CHECK(evaluate(family, 2, p) == Catch::Approx(expected).epsilon(1e-14));
  }
}

TEST_CASE("families: gradients against central differences")
{
  for (auto const& [family, p, expected] : cases)
    for (double const x : {1.5, 2.0, 7.0, 30.0}) {
      Parameters dp;
      gradient(family, x, p, dp);
      for (int i = 0; i < parameter_count(family); ++i) {
        auto const index = static_cast<std::size_t>(i);
        double const h = 1e-6 * std::max(1.0, std::abs(p[index]));
        auto above = p, below = p;
        above[index] += h;
        below[index] -= h;
        double const numeric = (evaluate(family, x, above) - evaluate(family, x, below)) / (2 * h);
        INFO(name(family) << " d/dp" << i << " at " << x);
        // Rounding of F over h is the limit: about 1e-16 * 1e2 / 1e-6.
        CHECK(dp[index] ==
              Catch::Approx(numeric).epsilon(1e-6).margin(1e-7 * std::max(1.0, std::abs(evaluate(family, x, p)))));
      }
      for (int i = parameter_count(family); i < max_parameters; ++i)
        CHECK(dp[static_cast<std::size_t>(i)] == 0);
    }
}

TEST_CASE("families: the traps are refused, not computed")
{
  CHECK(!in_domain(Family::pow2, 0, {1, -1, 0, 0}));
  CHECK(in_domain(Family::pow2, 0, {1, 1, 0, 0}));
  CHECK(!in_domain(Family::pow3, -1, {1, 2, 0, 0}));
  CHECK(!in_domain(Family::log2, 0, {1, 1, 0, 0}));
  CHECK(!in_domain(Family::vap3, 0, {1, 1, 1, 0}));
  CHECK(!in_domain(Family::ilog2, 1, {1, 1, 0, 0}));
  CHECK(in_domain(Family::ilog2, 1.5, {1, 1, 0, 0}));
  CHECK(!in_domain(Family::mmf4, 1, {1, 0, 1, 1}));
  CHECK(!in_domain(Family::exp4, 0, {1, 1, 1, -1}));
  CHECK(!in_domain(Family::wbl4, 0, {1, 1, 1, -1}));
  CHECK(!in_domain(Family::expp3, 1, {0.5, 2, 1, 0}));
  CHECK(std::isnan(evaluate(Family::ilog2, 1, {1, 1, 0, 0})));
  Parameters dp;
  gradient(Family::ilog2, 1, {1, 1, 0, 0}, dp);
  CHECK(std::isnan(dp[0]));
  CHECK(std::isinf(evaluate(Family::exp2, 1000, {1, 2, 0, 0})));
}

TEST_CASE("families: names lead there and back")
{
  for (int i = 0; i < family_count; ++i)
    CHECK(family(name(static_cast<Family>(i))) == static_cast<Family>(i));
  CHECK_THROWS_AS(family("exp5"), Error);
}
