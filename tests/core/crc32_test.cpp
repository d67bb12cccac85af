// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/crc32.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace nasturtium;

TEST_CASE("crc32: the published check value; every changed bit is seen")
{
  CHECK(crc32("123456789") == 0xCBF43926U);
  CHECK(crc32("") == 0);
  std::string const text = "successive halving";
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    REQUIRE(crc32(changed) != crc32(text));
  }
}
