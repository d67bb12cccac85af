// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nas/pareto.hpp>
#include <nasturtium/nas/random.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace nasturtium::nas;

namespace {

Objectives points(int count, int width, int values, std::uint32_t number)
{
  Random random(7, number);
  Objectives made(static_cast<std::size_t>(count));
  for (auto& row : made)
    for (int k = 0; k < width; ++k)
      row.push_back(random.below(values));
  return made;
}

} // namespace

TEST_CASE("pareto: the front of a solution is the longest chain of solutions that dominate each other above it")
{
  for (std::uint32_t number = 0; number < 60; ++number) {
    auto const all = points(1 + static_cast<int>(number), 1 + static_cast<int>(number) % 3, 6, number);
    auto const front = non_dominated_sort(all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      int above = -1; // the deepest front among those that dominate i
      for (std::size_t j = 0; j < all.size(); ++j)
        if (dominates(all[j], all[i])) above = std::max(above, front[j]);
      CHECK(front[i] == above + 1);
    }
  }
  CHECK(non_dominated_sort({}).empty());
}

TEST_CASE("pareto: fronts are what is left undominated, peeled off one after another")
{
  auto const worse = [](std::vector<double> const& left, std::vector<double> const& right) { // left than right
    bool equal = true;
    for (std::size_t k = 0; k < left.size(); ++k) {
      if (left[k] < right[k]) return false;
      equal = equal && left[k] == right[k];
    }
    return !equal;
  };
  for (std::uint32_t number = 0; number < 60; ++number) {
    auto const all = points(40, 2 + static_cast<int>(number) % 2, number % 2 == 0 ? 5 : 1000, 100 + number);
    std::vector<int> expected(all.size(), -1);
    std::size_t placed = 0;
    for (int level = 0; placed < all.size(); ++level) {
      std::vector<std::size_t> peel;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (expected[i] >= 0) continue;
        bool dominated = false;
        for (std::size_t j = 0; j < all.size(); ++j)
          dominated = dominated || (expected[j] < 0 && worse(all[i], all[j]));
        if (!dominated) peel.push_back(i);
      }
      REQUIRE_FALSE(peel.empty());
      for (std::size_t const i : peel)
        expected[i] = level;
      placed += peel.size();
    }
    CHECK(non_dominated_sort(all) == expected);
  }
}

TEST_CASE("pareto: crowding distance of many fronts against the gaps found one solution at a time")
{
  for (std::uint32_t number = 0; number < 40; ++number) {
    Random random(9, number);
    int const width = 2 + static_cast<int>(number) % 2;
    Objectives all(1 + number);
    for (auto& row : all)
      for (int k = 0; k < width; ++k)
        row.push_back(random.uniform() + 1e-3 * static_cast<double>(number)); // no two alike
    std::vector<std::size_t> front;
    for (std::size_t i = all.size(); i-- > 0;)
      if (i % 3 != 1) front.push_back(i);
    auto const distance = crowding_distance(all, front);
    REQUIRE(distance.size() == front.size());
    for (std::size_t i = 0; i < front.size(); ++i) {
      double expected = 0;
      for (std::size_t k = 0; k < static_cast<std::size_t>(width); ++k) {
        double const infinity = std::numeric_limits<double>::infinity(), own = all[front[i]][k];
        double below = -infinity, above = infinity, least = infinity, most = -infinity;
        for (std::size_t const j : front) {
          double const value = all[j][k];
          if (value < own) below = std::max(below, value);
          if (value > own) above = std::min(above, value);
          least = std::min(least, value);
          most = std::max(most, value);
        }
        expected += std::isinf(above - below) ? infinity : (above - below) / (most - least);
      }
      if (std::isinf(expected))
        CHECK(std::isinf(distance[i]));
      else
        CHECK(std::abs(distance[i] - expected) < 1e-12);
    }
  }
}

TEST_CASE("pareto: domination")
{
  CHECK(dominates(std::vector{1.0, 2.0}, std::vector{1.0, 3.0}));
  CHECK_FALSE(dominates(std::vector{1.0, 2.0}, std::vector{1.0, 2.0}));
  CHECK_FALSE(dominates(std::vector{0.0, 3.0}, std::vector{1.0, 2.0}));
}

TEST_CASE("pareto: crowding distance is the normalised gap between the neighbours in every objective")
{
  constexpr double infinity = std::numeric_limits<double>::infinity();
  Objectives const all{{0, 10}, {1, 6}, {3, 5}, {7, 1}, {10, 0}};
  std::vector<std::size_t> const front{0, 1, 2, 3, 4};
  auto const distance = crowding_distance(all, front);
  CHECK(distance[0] == infinity);
  CHECK(distance[4] == infinity);
  CHECK(std::abs(distance[1] - (3.0 / 10 + 5.0 / 10)) < 1e-12);
  CHECK(std::abs(distance[2] - (6.0 / 10 + 5.0 / 10)) < 1e-12);
  CHECK(std::abs(distance[3] - (7.0 / 10 + 5.0 / 10)) < 1e-12);
  // A part of a population, in any order.
  std::vector<std::size_t> const part{3, 1, 4};
  auto const some = crowding_distance(all, part);
  CHECK(some[1] == infinity);
  CHECK(some[2] == infinity);
  CHECK(std::abs(some[0] - (9.0 / 9 + 6.0 / 6)) < 1e-12);
  // Two are always ends, and objectives without a spread say nothing.
  CHECK(crowding_distance({{1, 1}, {1, 1}, {1, 1}}, std::vector<std::size_t>{0, 1, 2})[1] == 0);
  CHECK(crowding_distance(all, std::vector<std::size_t>{}).empty());
}
