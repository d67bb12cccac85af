// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>

#include <algorithm>

namespace nasturtium {
namespace {

std::string format(Cell const& cell, int decimals)
{
  if (auto const* const text = std::get_if<std::string>(&cell)) return *text;
  if (auto const* const integer = std::get_if<std::int64_t>(&cell)) return std::to_string(*integer);
  if (auto const* const number = std::get_if<double>(&cell))
    return decimals < 0 ? shortest(*number) : fixed(*number, decimals);
  return {};
}

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width(std::string const& text)
{
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string padded(std::string const& text, std::size_t to, bool right)
{
  std::string const blanks(to - std::min(to, width(text)), ' ');
  return right ? blanks + text : text + blanks;
}

} // namespace

Table::Table(std::vector<Column> columns) : m_columns(std::move(columns))
{
}

void Table::add_row(std::vector<Cell> cells)
{
  require(cells.size() <= m_columns.size(), "a table row of ", cells.size(), " cells has more than its ",
          m_columns.size(), " columns");
  cells.resize(m_columns.size());
  m_rows.push_back(std::move(cells));
}

std::vector<std::vector<std::string>> Table::rows_of_text() const
{
  std::vector<std::vector<std::string>> rows;
  for (auto const& row : m_rows) {
    auto& texts = rows.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i)
      texts.push_back(format(row[i], m_columns[i].decimals));
  }
  return rows;
}

std::vector<bool> Table::numeric() const
{
  std::vector<bool> result;
  for (std::size_t i = 0; i < m_columns.size(); ++i) {
    bool number = false, text = false;
    for (auto const& row : m_rows) {
      number = number || row[i].index() >= 2;
      text = text || std::holds_alternative<std::string>(row[i]);
    }
    result.push_back(number && !text);
  }
  return result;
}

std::vector<std::string> Table::titles() const
{
  std::vector<std::string> titles;
  titles.reserve(m_columns.size());
  for (auto const& column : m_columns)
    titles.push_back(column.title);
  return titles;
}

std::string Table::text() const
{
  auto const rows = rows_of_text();
  auto const right = numeric();
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < m_columns.size(); ++i) {
    widths.push_back(width(m_columns[i].title));
    for (auto const& row : rows)
      widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string out;
  auto const add_line = [&](auto const& cell) {
    std::string line;
    for (std::size_t i = 0; i < m_columns.size(); ++i)
      line += (i > 0 ? "  " : "") + padded(cell(i), widths[i], right[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_line([&](std::size_t i) { return m_columns[i].title; });
  add_line([&](std::size_t i) { return std::string(widths[i], '-'); });
  for (auto const& row : rows)
    add_line([&](std::size_t i) { return row[i]; });
  return out;
}

std::string Table::markdown() const
{
  auto const right = numeric();
  auto const escaped = [](std::string const& text) {
    std::string result;
    for (char const c : text) {
      if (c == '|') result += '\\';
      result += c == '\n' ? ' ' : c;
    }
    return result;
  };
  std::string out = "|", rule = "|";
  for (std::size_t i = 0; i < m_columns.size(); ++i) {
    out += " " + escaped(m_columns[i].title) + " |";
    rule += right[i] ? " ---: |" : " --- |";
  }
  out += "\n" + rule + "\n";
  for (auto const& row : rows_of_text()) {
    out += "|";
    for (auto const& cell : row)
      out += " " + escaped(cell) + " |";
    out += "\n";
  }
  return out;
}

std::string Table::csv() const
{
  std::vector<std::string> fields;
  for (auto const& column : m_columns)
    fields.push_back(column.title);
  std::string out = csv_line(fields);
  for (auto const& row : m_rows) {
    fields.clear();
    for (auto const& cell : row)
      fields.push_back(format(cell, -1));
    out += csv_line(fields);
  }
  return out;
}

} // namespace nasturtium
