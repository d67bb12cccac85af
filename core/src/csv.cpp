// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium {

CsvReader CsvReader::open(std::string const& path)
{
  return CsvReader(read_content(path), path);
}

CsvReader::CsvReader(std::string text, std::string source) : m_text(std::move(text)), m_source(std::move(source))
{
  if (m_text.starts_with("\xef\xbb\xbf")) m_position = 3; // a byte order mark, as spreadsheets write it
  require(m_text.size() > m_position, m_source, ": is empty");
  parse_row(m_header);
  for (std::size_t i = 0; i < m_header.size(); ++i) {
    require(!m_header[i].empty(), m_source, ":1: column ", i + 1, " has no name");
    require(std::find(m_header.begin(), m_header.begin() + static_cast<std::ptrdiff_t>(i), m_header[i]) ==
                m_header.begin() + static_cast<std::ptrdiff_t>(i),
            m_source, ":1: column ", quoted(m_header[i]), " appears twice");
  }
}

std::size_t CsvReader::column(std::string_view name) const
{
  auto const found = std::find(m_header.begin(), m_header.end(), name);
  if (found != m_header.end()) return static_cast<std::size_t>(found - m_header.begin());
  std::string all;
  for (auto const& title : m_header)
    all += (all.empty() ? "" : ", ") + title;
  fail(m_source, ": no column ", quoted(name), " (columns: ", all.substr(0, 200), all.size() > 200 ? "...)" : ")");
}

bool CsvReader::parse_row(std::vector<std::string>& fields)
{
  // Slots of the last row are reused, so that a long table does not allocate per field.
  std::size_t count = 0;
  auto const slot = [&]() -> std::string& {
    if (count == fields.size()) fields.emplace_back();
    fields[count].clear();
    return fields[count++];
  };
  m_row_line = m_line;
  std::size_t const size = m_text.size();
  for (;;) {
    std::string& field = slot();
    if (m_position < size && m_text[m_position] == '"') {
      ++m_position;
      for (;;) {
        require(m_position < size, m_source, ":", m_row_line, ": a quoted field never ends");
        char const c = m_text[m_position++];
        if (c == '\n') ++m_line;
        if (c != '"') {
          field += c;
        } else if (m_position < size && m_text[m_position] == '"') {
          field += '"';
          ++m_position;
        } else {
          break;
        }
      }
    } else {
      std::size_t const end = std::min(size, m_text.find_first_of(",\r\n\"", m_position));
      field.assign(m_text, m_position, end - m_position);
      m_position = end;
    }
    if (m_position == size) break;
    char const c = m_text[m_position];
    if (c == ',') {
      ++m_position;
      continue;
    }
    if (c == '\r' && m_position + 1 < size && m_text[m_position + 1] == '\n') ++m_position;
    require(m_text[m_position] == '\n' || m_text[m_position] == '\r', m_source, ":", m_line, ": column ", count,
            ": a quote in the wrong place");
    ++m_position;
    ++m_line;
    break;
  }
  fields.resize(count);
  return true;
}

bool CsvReader::next()
{
  // Blank lines at the end.
  if (m_text.find_first_not_of("\r\n", m_position) == std::string::npos) return false;
  parse_row(m_fields);
  require(m_fields.size() == m_header.size(), m_source, ":", m_row_line, ": ", m_fields.size(),
          " fields, but the header has ", m_header.size());
  return true;
}

std::string CsvReader::where(std::size_t column) const
{
  return concat(m_source, ":", m_row_line, ": column ", quoted(m_header.at(column)));
}

double CsvReader::number(std::size_t column) const
{
  auto const value = parse_double(m_fields.at(column));
  if (!value || !std::isfinite(*value)) fail(where(column), " must be a finite number, got ", quoted(m_fields[column]));
  return *value;
}

std::int64_t CsvReader::integer(std::size_t column) const
{
  auto const value = parse_integer(m_fields.at(column));
  if (!value) fail(where(column), " must be an integer, got ", quoted(m_fields[column]));
  return *value;
}

std::string csv_field(std::string_view text)
{
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string result = "\"";
  for (char const c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + '"';
}

std::string csv_line(std::vector<std::string> const& fields)
{
  // A lone empty field would be a blank line, which a reader may skip.
  if (fields.size() == 1 && fields[0].empty()) return "\"\"\n";
  std::string line;
  for (std::size_t i = 0; i < fields.size(); ++i)
    line += (i > 0 ? "," : "") + csv_field(fields[i]);
  return line + "\n";
}

} // namespace nasturtium
