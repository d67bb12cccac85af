// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The networks of nn/zoo as the build embedded them, so that an installed program needs no data files.
#pragma once

#include <span>
#include <string_view>

namespace nasturtium::nn::spec::impl {

struct ZooEntry
{
  std::string_view name, json;
};

/// By name, alphabetically. Defined in a generated source (nn/CMakeLists.txt).
std::span<ZooEntry const> zoo();

} // namespace nasturtium::nn::spec::impl
