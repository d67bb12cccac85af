// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/sha256.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace nasturtium {
namespace {

constexpr std::array<std::uint32_t, 64> round_constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t big_endian(std::uint8_t const* bytes)
{
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

} // namespace

Sha256::Sha256()
    : m_state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}
{
}

void Sha256::process(std::uint8_t const* blocks, std::size_t count)
{
  for (; count > 0; --count, blocks += 64) {
    std::array<std::uint32_t, 64> w;
    for (std::size_t i = 0; i < 16; ++i)
      w[i] = big_endian(blocks + 4 * i);
    for (std::size_t i = 16; i < 64; ++i) {
      std::uint32_t const s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
      std::uint32_t const s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = m_state;
    for (std::size_t i = 0; i < 64; ++i) {
      std::uint32_t const s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
      std::uint32_t const t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
      std::uint32_t const s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
      std::uint32_t const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    std::array<std::uint32_t, 8> const add = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i)
      m_state[i] += add[i];
  }
}

void Sha256::update(void const* bytes, std::size_t size)
{
  auto const* from = static_cast<std::uint8_t const*>(bytes);
  std::size_t const filled = m_size % 64;
  m_size += size;
  if (filled > 0) {
    std::size_t const n = std::min(size, 64 - filled);
    if (n > 0) std::memcpy(m_block.data() + filled, from, n);
    from += n;
    size -= n;
    if (filled + n < 64) return;
    process(m_block.data(), 1);
  }
  process(from, size / 64);
  if (size % 64 > 0) std::memcpy(m_block.data(), from + size / 64 * 64, size % 64);
}

std::string Sha256::hex() const
{
  Sha256 copy = *this;
  std::array<std::uint8_t, 72> padding{0x80};
  std::size_t const filled = m_size % 64;
  std::size_t const zeros = (filled < 56 ? 56 : 120) - filled;
  for (std::size_t i = 0; i < 8; ++i)
    padding[zeros + i] = static_cast<std::uint8_t>(m_size * 8 >> (56 - 8 * i));
  copy.update(padding.data(), zeros + 8);
  std::string text;
  for (std::uint32_t const word : copy.m_state)
    for (int shift = 28; shift >= 0; shift -= 4)
      text += "0123456789abcdef"[word >> shift & 15];
  return text;
}

std::string sha256(std::string_view text)
{
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

std::string sha256_file(std::string const& path)
{
  require(is_file(path), path, ": no such file");
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> const file(std::fopen(path.c_str(), "rb"), &std::fclose);
  require(file != nullptr, path, ": cannot be opened: ", std::strerror(errno));
  std::vector<char> buffer(1 << 18);
  Sha256 hash;
  while (std::size_t const n = std::fread(buffer.data(), 1, buffer.size(), file.get()))
    hash.update(buffer.data(), n);
  require(!std::ferror(file.get()), path, ": cannot be read: ", std::strerror(errno));
  return hash.hex();
}

} // namespace nasturtium
