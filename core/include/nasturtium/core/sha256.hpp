// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace nasturtium {

class Sha256
{
public:
  Sha256();
  void update(void const* bytes, std::size_t size);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// 64 hexadecimal digits of all bytes so far; more may follow.
  std::string hex() const;

private:
  void process(std::uint8_t const* blocks, std::size_t count);

  std::array<std::uint32_t, 8> m_state;
  std::array<std::uint8_t, 64> m_block{};
  std::uint64_t m_size = 0;
};

std::string sha256(std::string_view text);
/// Of the file's bytes as they are on disk.
std::string sha256_file(std::string const& path);

} // namespace nasturtium
