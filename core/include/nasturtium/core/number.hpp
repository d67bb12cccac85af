// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers as text and back, without locales and without loss.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nasturtium {

/// Shortest text that reads back as the same double ("0.1", "1e-05", "nan", "inf").
std::string shortest(double value);

/// Fixed notation with `decimals` digits after the point ("0.920"; "nan" and "inf" as they are).
std::string fixed(double value, int decimals);

/// The whole text as a number, nothing around it; empty for anything else. "nan" and "inf" are numbers here.
std::optional<double> parse_double(std::string_view text);
std::optional<std::int64_t> parse_integer(std::string_view text);

/// The text for an error message: one line, quoted, at most `limit` characters, unprintable bytes as '?'.
std::string quoted(std::string_view text, std::size_t limit = 60);

/// Bytes for people: "512 B", "1.5 KiB", "2.0 GiB".
std::string human_bytes(double bytes);

} // namespace nasturtium
