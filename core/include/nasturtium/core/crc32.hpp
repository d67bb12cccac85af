// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CRC-32 as in gzip and PNG (polynomial 0xEDB88320): tells damage of a record, not who did it.
#pragma once

#include <cstdint>
#include <string_view>

namespace nasturtium {

std::uint32_t crc32(std::string_view bytes);

} // namespace nasturtium
