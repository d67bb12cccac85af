// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/number.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <system_error>

namespace nasturtium {

std::string shortest(double value)
{
  if (std::isnan(value)) return "nan";
  std::array<char, 32> text{};
  auto const [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), error == std::errc{} ? end : text.data());
}

std::string fixed(double value, int decimals)
{
  if (!std::isfinite(value)) return shortest(value);
  std::array<char, 512> text{};
  auto const [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed, decimals);
  return error == std::errc{} ? std::string(text.data(), end) : shortest(value);
}

namespace {

template <class T>
std::optional<T> parse_whole(std::string_view text)
{
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  T value{};
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

} // namespace

std::optional<double> parse_double(std::string_view text)
{
  return parse_whole<double>(text);
}
std::optional<std::int64_t> parse_integer(std::string_view text)
{
  return parse_whole<std::int64_t>(text);
}

std::string quoted(std::string_view text, std::size_t limit)
{
  std::string result = "'";
  for (char const c : text.substr(0, limit))
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return result + (text.size() > limit ? "...'" : "'");
}

std::string human_bytes(double bytes)
{
  char const* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fixed(bytes, 0) + " B";
  int unit = -1;
  while (bytes >= 1024 && unit < 3) {
    bytes /= 1024;
    ++unit;
  }
  return fixed(bytes, 1) + " " + units[unit];
}

} // namespace nasturtium
