// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/probe.hpp>

#include "support/device_values.hpp"
#include "support/kernel_log.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using namespace nasturtium::testing;

TEMPLATE_TEST_CASE("triad: every element, and nothing behind the last", "[probe]", float, double)
{
  for (std::size_t const count : {0, 1, 7, 8191, 8192, 8193, 50021}) {
    std::vector<TestType> b(count), c(count), expected(count);
    for (std::size_t i = 0; i < count; ++i) {
      b[i] = static_cast<TestType>(i % 101);
      c[i] = static_cast<TestType>(i % 7);
      expected[i] = b[i] + 3 * c[i]; // small integers: exact
    }
    Values<TestType> const result(count);
    kernels::triad<Space, TestType>(Space(), 3, Values<TestType>(b), Values<TestType>(c), result);
    REQUIRE(result.host() == expected);
  }
}

TEST_CASE("triad: inputs that are too short are refused", "[probe]")
{
  Values<float> const three(3), four(4);
  CHECK_THROWS_AS((kernels::triad<Space, float>(Space(), 1, three, four, four)), Error);
  CHECK_THROWS_AS((kernels::triad<Space, float>(Space(), 1, four, three, four)), Error);
}

TEST_CASE("an empty launch is a launch", "[probe]")
{
  KernelLog const log;
  kernels::empty_launch(Space());
  CHECK(log.events() == std::vector<std::string>{"kernel nasturtium::empty_launch"});
}
