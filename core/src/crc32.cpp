// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/crc32.hpp>

#include <zlib.h>

namespace nasturtium {

std::uint32_t crc32(std::string_view bytes)
{
  auto const* const data = reinterpret_cast<Bytef const*>(bytes.data());
  return static_cast<std::uint32_t>(::crc32_z(::crc32_z(0, nullptr, 0), data, bytes.size()));
}

} // namespace nasturtium
