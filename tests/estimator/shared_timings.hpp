// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The public tables of timed layers, where they are on this machine.
#pragma once

#include <nasturtium/core/file.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <string>

namespace nasturtium::test {

/// The path of a file below `timings`; skips the test where the data are absent.
inline std::string shared_timings(std::string const& file)
{
  char const* const given = std::getenv("NASTURTIUM_SHARED_DATA");
  std::string const path =
      (given ? std::string(given) : std::string(NASTURTIUM_SOURCE_DIR) + "/../shared/data") + "/timings/" + file;
  if (!is_file(path)) SKIP("the tables of timed layers are not here (NASTURTIUM_SHARED_DATA): " << path);
  return path;
}

} // namespace nasturtium::test
