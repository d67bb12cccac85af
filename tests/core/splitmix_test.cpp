// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/splitmix.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;

TEST_CASE("splitmix: the reference's first outputs, uniform and normal numbers of them")
{
  CHECK(SplitMix(0).next() == 16294208416658607535U);
  CHECK(SplitMix(1).next() == 10451216379200822465U);
  SplitMix random(5);
  double mean = 0, square = 0, unit = 0;
  for (int i = 0; i < 20000; ++i) {
    double const value = random.normal();
    mean += value / 20000;
    square += value * value / 20000;
    double const u = random.unit();
    REQUIRE((u >= 0 && u < 1));
    unit += u / 20000;
  }
  CHECK(std::abs(mean) < 0.03); // four standard errors
  CHECK(std::abs(square - 1) < 0.04);
  CHECK(std::abs(unit - 0.5) < 0.009);
}
