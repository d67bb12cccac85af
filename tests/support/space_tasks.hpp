// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tasks for tests that go through all search spaces: images, and rows of values where a space wants those.
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <string_view>
#include <vector>

namespace nasturtium::test {

/// The images, for a space of images; for one of rows, rows of several lengths; for Uno its wide row and regression.
inline std::vector<nas::Task> tasks_of(std::string_view space, std::vector<nas::Task> const& images)
{
  if (space.starts_with("nt3")) return {{{109, 1, 1}, 2}, {{157, 1, 1}, 10}, {{512, 1, 1}, 2}};
  if (space.starts_with("uno")) return {{{1, 1, 8261}, 0, 1}};
  return images;
}

} // namespace nasturtium::test
