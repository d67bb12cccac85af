// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/statistics.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <cmath>
#include <map>

using namespace nasturtium;
using Catch::Approx;

TEST_CASE("statistics: the signed-rank test has its published values")
{
  std::vector<double> const differences{.012, .004, -.003, .009, .015, .001, .007, -.002, .011, .006};
  auto const test = signed_rank_test(differences);
  CHECK(test.positive == 50);
  CHECK(test.negative == 5);
  CHECK(test.two_sided == Approx(0.01953125).epsilon(1e-12));
  // The smallest p value of n differences is 2 / 2^n: five seeds can never be significant.
  for (int const n : {1, 5, 6, 8, 10}) {
    std::vector<double> rising;
    for (int i = 1; i <= n; ++i)
      rising.push_back(i);
    CHECK(signed_rank_test(rising).two_sided == Approx(std::min(1.0, 2 / std::exp2(n))));
    CHECK(signed_rank_test(rising).greater == Approx(1 / std::exp2(n)));
    CHECK(signed_rank_test(rising).less == Approx(1));
  }
}

TEST_CASE("statistics: ties and zeros of the signed-rank test, against all sign patterns")
{
  std::vector<double> const sizes{1, 1, 2, 3, 3, 3, 7};
  std::vector<double> const ranks{1.5, 1.5, 3, 5, 5, 5, 7};
  for (unsigned pattern = 0; pattern < 128; pattern += 5) {
    std::vector<double> values{0}; // counts for nothing
    double positive = 0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      bool const up = (pattern >> i & 1u) != 0;
      values.push_back(up ? sizes[i] : -sizes[i]);
      if (up) positive += ranks[i];
    }
    int as_large = 0, as_small = 0;
    for (unsigned other = 0; other < 128; ++other) {
      double sum = 0;
      for (std::size_t i = 0; i < sizes.size(); ++i)
        if ((other >> i & 1u) != 0) sum += ranks[i];
      as_large += sum >= positive;
      as_small += sum <= positive;
    }
    auto const test = signed_rank_test(values);
    CHECK(test.count == 7);
    CHECK(test.positive == positive);
    CHECK(test.greater == Approx(as_large / 128.0));
    CHECK(test.less == Approx(as_small / 128.0));
  }
  CHECK(signed_rank_test({}).two_sided == 1);
  CHECK(signed_rank_test(std::vector<double>{0, 0}).two_sided == 1);
  CHECK_THROWS_AS(signed_rank_test(std::vector<double>{1, std::nan("")}), Error);
}

TEST_CASE("statistics: Holm's adjustment, means, medians and their bootstrap")
{
  CHECK(holm(std::vector<double>{0.01, 0.04, 0.03}) == std::vector<double>{0.03, 0.06, 0.06});
  CHECK(holm(std::vector<double>{0.9, 0.8}) == std::vector<double>{1, 1});
  CHECK(median({3, 1, 2}) == 2);
  CHECK(median({4, 1, 2, 3}) == 2.5);
  CHECK(std::isnan(median({})));
  CHECK(std::isnan(mean({})));
  CHECK(std::isnan(bootstrap_mean({}, 0.95).first));
  std::vector<double> const values{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(mean(values) == 4.5);
  auto const [low, high] = bootstrap_mean(values, 0.95);
  // The mean's standard error is 0.81 under resampling: 1.96 of it to either side.
  CHECK(low == Approx(4.5 - 1.59).margin(0.15));
  CHECK(high == Approx(4.5 + 1.59).margin(0.15));
  CHECK(bootstrap_mean(values, 0.95) == bootstrap_mean(values, 0.95));
  CHECK(bootstrap_mean(std::vector<double>{2, 2, 2}, 0.9) == std::pair<double, double>{2, 2});
}

TEST_CASE("statistics: the medians of all resamples, counted")
{
  for (std::size_t const n : {1U, 2U, 3U, 4U, 5U, 6U}) {
    std::vector<double> values;
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(std::exp2(static_cast<double>(i))); // no two pairs share a mean
    std::map<double, double> counted;
    auto total = static_cast<std::size_t>(std::pow(static_cast<double>(n), static_cast<double>(n)) + 0.5);
    for (std::size_t draw = 0; draw < total; ++draw) {
      std::vector<double> resample;
      for (std::size_t i = 0, rest = draw; i < n; ++i, rest /= n)
        resample.push_back(values[rest % n]);
      counted[median(resample)] += 1.0 / static_cast<double>(total);
    }
    double sum = 0;
    std::map<double, double> found;
    for (auto const& [value, probability] : bootstrap_medians(values)) {
      found[value] += probability;
      sum += probability;
    }
    CHECK(sum == Approx(1));
    REQUIRE(found.size() >= counted.size());
    for (auto const& [value, probability] : found)
      CHECK(probability == Approx(counted[value]).margin(1e-12));
  }
  double sum = 0;
  for (auto const& [value, probability] : bootstrap_medians(std::vector<double>(1000, 3.0)))
    sum += probability * value;
  CHECK(sum == Approx(3));
  CHECK_THROWS_AS(bootstrap_medians({}), Error);
  CHECK_THROWS_AS(bootstrap_medians(std::vector<double>(1001, 1.0)), Error);
}

TEST_CASE("statistics: the rank sum test against all orders")
{
  std::vector<double> const high{1, 4, 5}, low{2, 3};
  // Wins of every choice of 3 high ranks among 5; the example has 4 of 6.
  int as_many = 0, choices = 0;
  for (unsigned pattern = 0; pattern < 32; ++pattern) {
    if (std::popcount(pattern) != 3) continue;
    int wins = 0;
    for (unsigned h = 0; h < 5; ++h)
      for (unsigned l = 0; l < h; ++l)
        wins += ((pattern >> h & 1U) != 0 && (pattern >> l & 1U) == 0) ? 1 : 0;
    ++choices;
    as_many += wins >= 4;
  }
  CHECK(rank_sum_greater(high, low) == Approx(static_cast<double>(as_many) / choices));
  // Complete separation has one order in C(2n, n).
  std::vector<double> const slow{11, 12, 13, 14, 15}, fast{1, 2, 3, 4, 5};
  CHECK(rank_sum_greater(slow, fast) == Approx(1.0 / 252));
  CHECK(rank_sum_greater(fast, slow) == Approx(1));
  CHECK(rank_sum_greater(fast, fast) > 0.5); // ties speak against it
  CHECK(rank_sum_greater({}, fast) == 1);
  // The approximation goes on where the exact test ends.
  std::vector<double> many, more;
  for (int i = 0; i < 100; ++i) {
    many.push_back(i + 8.25);
    more.push_back(i);
  }
  double const exact = rank_sum_greater(many, more);
  many.push_back(57.75);
  CHECK(rank_sum_greater(many, more) == Approx(exact).epsilon(0.05));
}
