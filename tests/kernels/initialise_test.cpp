// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/initialise.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

template <class Real>
std::vector<Real> draw(Initialiser kind, std::uint64_t seed, std::uint32_t node, Index fan_in, Index fan_out,
                       Index columns, std::size_t count)
{
  Values<Real> const dst(count);
  initialise<Space, Real>(Space(), kind, seed, node, fan_in, fan_out, columns, dst);
  return dst.host();
}

struct Case
{
  Initialiser kind;
  bool uniform;
  double variance; // at fan in 50, fan out 200
};
constexpr Case cases[] = {
    {Initialiser::he_normal, false, 2.0 / 50},      {Initialiser::he_uniform, true, 2.0 / 50},
    {Initialiser::glorot_normal, false, 2.0 / 250}, {Initialiser::glorot_uniform, true, 2.0 / 250},
    {Initialiser::lecun_normal, false, 1.0 / 50},   {Initialiser::lecun_uniform, true, 1.0 / 50},
};

} // namespace

TEMPLATE_TEST_CASE("initial weights have the mean, variance and shape they should", "[initialise]", float, double)
{
  std::size_t const count = 100003;
  double const n = static_cast<double>(count);
  for (Case const& test : cases) {
    INFO("kind " << static_cast<int>(test.kind));
    auto const w = draw<TestType>(test.kind, 1, 2, 50, 200, 200, count);
    double mean = 0, second = 0, fourth = 0, largest = 0, neighbours = 0;
    for (std::size_t i = 0; i < count; ++i) {
      double const x = static_cast<double>(w[i]);
      mean += x / n;
      second += x * x / n;
      fourth += x * x * x * x / n;
      largest = std::max(largest, std::abs(x));
      if (i > 0) neighbours += x * static_cast<double>(w[i - 1]) / n;
    }
    // Five standard deviations of each estimate; the fourth moment is 3 (normal) or 1.8 (uniform) variances squared.
    double const kurtosis = test.uniform ? 1.8 : 3.0;
    double const v = test.variance;
    CHECK(std::abs(mean) < 5 * std::sqrt(v / n));
    CHECK(std::abs(second - v) < 5 * v * std::sqrt((kurtosis - 1) / n));
    CHECK(std::abs(fourth - kurtosis * v * v) < 5 * v * v * std::sqrt((test.uniform ? 9 : 105) / n));
    CHECK(std::abs(neighbours) < 5 * v / std::sqrt(n));
    double const bound = std::sqrt(3 * v);
    if (test.uniform) {
      CHECK(largest <= bound * (1 + 1e-6));
      CHECK(largest > bound * 0.999);
    } else {
      CHECK(largest > 3.5 * std::sqrt(v)); // not truncated
    }
  }
}

TEST_CASE("initial weights are the same in float and double, and differ by seed and node", "[initialise]")
{
  for (Initialiser const kind : {Initialiser::he_normal, Initialiser::glorot_uniform, Initialiser::orthogonal}) {
    auto const base = draw<float>(kind, 1, 2, 30, 40, 40, 1200);
    auto const wide = draw<double>(kind, 1, 2, 30, 40, 40, 1200);
    CHECK(first_difference("double", wide, base) == "");
    CHECK(first_difference("again", draw<float>(kind, 1, 2, 30, 40, 40, 1200), base) == "");
    CHECK(first_difference("seed", draw<float>(kind, 2, 2, 30, 40, 40, 1200), base) != "");
    CHECK(first_difference("node", draw<float>(kind, 1, 3, 30, 40, 40, 1200), base) != "");
  }
  // A longer tensor starts with the same numbers: element i depends on nothing but its index.
  auto const lengthened = draw<float>(Initialiser::he_normal, 1, 2, 30, 40, 1, 13);
  auto const short_run = draw<float>(Initialiser::he_normal, 1, 2, 30, 40, 1, 5);
  CHECK(std::equal(short_run.begin(), short_run.end(), lengthened.begin()));
}

TEMPLATE_TEST_CASE("orthogonal weights are orthonormal along the shorter side", "[initialise]", float, double)
{
  for (auto const& [rows, columns] : {std::pair{1, 1}, {30, 30}, {70, 20}, {20, 70}, {1, 9}, {9, 1}}) {
    INFO(rows << " x " << columns);
    auto const w =
        draw<TestType>(Initialiser::orthogonal, 3, 1, rows, columns, columns, static_cast<std::size_t>(rows * columns));
    bool const tall = rows >= columns;
    int const count = tall ? columns : rows, length = tall ? rows : columns;
    auto const at = [&](int vector, int k) {
      return static_cast<double>(w[static_cast<std::size_t>(tall ? k * columns + vector : vector * columns + k)]);
    };
    double worst = 0;
    for (int i = 0; i < count; ++i)
      for (int j = 0; j <= i; ++j) {
        double product = 0;
        for (int k = 0; k < length; ++k)
          product += at(i, k) * at(j, k);
        worst = std::max(worst, std::abs(product - (i == j)));
      }
    // The weights are rounded to float32: 6e-8 each, 70 of them.
    CHECK(worst < 5e-7);
  }
}

TEST_CASE("initialise accepts nothing and refuses what is no matrix", "[initialise]")
{
  CHECK(draw<float>(Initialiser::he_normal, 1, 1, 1, 1, 1, 0).empty());
  CHECK_THROWS_AS(draw<float>(Initialiser::orthogonal, 1, 1, 3, 3, 4, 10), Error);
  CHECK_THROWS_AS(draw<float>(Initialiser::he_normal, 1, 1, 0, 3, 4, 10), Error);
}
