// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "logits_file.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace nasturtium::ensemble::impl {

namespace {

static_assert(std::endian::native == std::endian::little, "files of logits are little-endian");

constexpr std::uint32_t version = 1;
constexpr float least_half = -65504;

struct Header
{
  char magic[8] = {'N', 'S', 'T', 'L', 'O', 'G', 'I', 'T'};
  std::uint32_t version = impl::version;
  std::uint32_t bits = 32;
  std::int64_t samples = 0, classes = 0;
};
static_assert(sizeof(Header) == 32);

std::uint32_t bits_of(LogitPrecision precision)
{
  return precision == LogitPrecision::float16 ? 16 : 32;
}

} // namespace

std::uint16_t to_half(float value)
{
  auto const bits = std::bit_cast<std::uint32_t>(value);
  auto const sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  std::uint32_t const magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;  // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u; // 65520 and more
  // Subnormals: adding 0.5 makes the addition round at 2^-24.
  if (magnitude < 0x38800000u) {
    float const shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  std::uint32_t const odd = (magnitude >> 13) & 1;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
}

float from_half(std::uint16_t bits)
{
  std::uint32_t const sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  std::uint32_t const magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude < 0x400u)
    return std::copysign(static_cast<float>(magnitude) * 0x1p-24f, std::bit_cast<float>(sign | 0x3f800000u));
  return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
}

std::int64_t logits_bytes(std::int64_t samples, int classes, LogitPrecision precision)
{
  return static_cast<std::int64_t>(sizeof(Header)) + samples * classes * bits_of(precision) / 8;
}

std::vector<float> stored_logits(std::span<float const> logits, int classes, LogitPrecision precision,
                                 std::string const& what)
{
  std::vector<float> stored(logits.size());
  auto const width = static_cast<std::size_t>(classes);
  for (std::size_t at = 0; at < logits.size(); at += width) {
    auto const row = logits.subspan(at, width);
    for (float const value : row)
      require(!std::isnan(value), what, ": sample ", at / width, ": a logit is ", value);
    float const peak = *std::max_element(row.begin(), row.end());
    require(std::isfinite(peak), what, ": sample ", at / width, ": the largest logit is ", peak);
    for (std::size_t c = 0; c < width; ++c) {
      float const shifted = row[c] - peak;
      stored[at + c] =
          precision == LogitPrecision::float16 ? from_half(to_half(std::max(shifted, least_half))) : shifted;
    }
  }
  return stored;
}

void write_logits(std::string const& path, std::span<float const> stored, int classes, LogitPrecision precision)
{
  Header header;
  header.bits = bits_of(precision);
  header.classes = classes;
  header.samples = static_cast<std::int64_t>(stored.size()) / classes;
  AtomicFile file(path);
  auto const write = [&](void const* bytes, std::size_t size) {
    file.write(std::string_view(static_cast<char const*>(bytes), size));
  };
  write(&header, sizeof header);
  if (precision == LogitPrecision::float16) {
    std::vector<std::uint16_t> halves(stored.size());
    std::transform(stored.begin(), stored.end(), halves.begin(), to_half);
    write(halves.data(), halves.size() * sizeof(std::uint16_t));
  } else {
    write(stored.data(), stored.size_bytes());
  }
  file.commit();
}

std::vector<float> read_logits(std::string const& path, std::int64_t samples, int classes)
{
  InputFile file(path);
  Header header;
  file.read_exactly(&header, sizeof header, "the header");
  require(std::memcmp(header.magic, Header{}.magic, sizeof header.magic) == 0, path, ": is no file of logits");
  require(header.version == version, path, ": field 'version' must be ", version, ", got ", header.version);
  require(header.bits == 16 || header.bits == 32, path, ": field 'bits' must be 16 or 32, got ", header.bits);
  require(header.samples == samples, path, ": field 'samples' must be ", samples, ", got ", header.samples);
  require(header.classes == classes, path, ": field 'classes' must be ", classes, ", got ", header.classes);
  auto const count = static_cast<std::size_t>(samples * classes);
  auto const bytes = file.read_bytes(samples * classes * header.bits / 8, "the logits");
  file.expect_end("the logits");
  std::vector<float> values(count);
  if (header.bits == 32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t half;
      std::memcpy(&half, bytes.data() + i * sizeof half, sizeof half);
      values[i] = from_half(half);
    }
  }
  for (std::size_t i = 0; i < count; ++i)
    require(values[i] <= 0, path, ": sample ", i / static_cast<std::size_t>(classes),
            ": a logit must be at most 0, got ", values[i]);
  return values;
}

} // namespace nasturtium::ensemble::impl
