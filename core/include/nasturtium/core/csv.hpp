// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CSV after RFC 4180: quotes, doubled quotes, line breaks in quotes, LF or CRLF, a header line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium {

/// Reads row by row. Errors start with "SOURCE:LINE" and name the column.
class CsvReader
{
public:
  /// A plain or gzip'ed file.
  static CsvReader open(std::string const& path);
  /// `text` as if read from `source`. The first line is the header: no empty and no doubled names.
  CsvReader(std::string text, std::string source);

  std::vector<std::string> const& header() const { return m_header; }
  /// Position of a column; throws where there is none, naming those that are.
  std::size_t column(std::string_view name) const;

  /// The next row into fields(); false at the end. Throws where the number of fields is not the header's. Empty lines
  /// at the end are no rows.
  bool next();
  std::vector<std::string> const& fields() const { return m_fields; }
  std::int64_t line() const { return m_row_line; } ///< where the row starts, from 1

  /// The field as a finite number or integer; throws with line, column and text otherwise.
  double number(std::size_t column) const;
  std::int64_t integer(std::size_t column) const;
  /// "SOURCE:LINE: column 'NAME'" for messages about the current row.
  std::string where(std::size_t column) const;

private:
  bool parse_row(std::vector<std::string>& fields);

  std::string m_text;
  std::string m_source;
  std::vector<std::string> m_header;
  std::vector<std::string> m_fields;
  std::size_t m_position = 0;
  std::int64_t m_line = 1;
  std::int64_t m_row_line = 1;
};

/// A field as CSV wants it: quoted where needed.
std::string csv_field(std::string_view text);
/// Fields joined by commas, with "\n".
std::string csv_line(std::vector<std::string> const& fields);

} // namespace nasturtium
