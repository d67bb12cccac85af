// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>

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

std::string escape_latex(std::string const& text)
{
  std::string result;
  for (char const c : text)
    switch (c) {
    case '\\':
      result += "\\textbackslash{}";
      break;
    case '~':
      result += "\\textasciitilde{}";
      break;
    case '^':
      result += "\\textasciicircum{}";
      break;
    case '\n':
      result += ' ';
      break;
    default:
      if (std::string_view("&%$#_{}").find(c) != std::string_view::npos) result += '\\';
      result += c;
    }
  return result;
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

std::string Table::latex() const
{
  std::string out = "\\begin{tabular}{";
  for (bool const number : numeric())
    out += number ? 'r' : 'l';
  out += "}\n\\toprule\n";
  auto const add_line = [&](std::vector<std::string> const& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      out += (i > 0 ? " & " : "") + escape_latex(cells[i]);
    out += " \\\\\n";
  };
  add_line(titles());
  out += "\\midrule\n";
  for (auto const& row : rows_of_text())
    add_line(row);
  return out + "\\bottomrule\n\\end{tabular}\n";
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

json::Value to_json(Table const& table)
{
  json::Array columns, rows;
  for (auto const& column : table.columns())
    columns.push_back(json::Object{{"title", column.title}, {"decimals", column.decimals}});
  for (auto const& row : table.rows()) {
    json::Array cells;
    for (auto const& cell : row) {
      if (auto const* const text = std::get_if<std::string>(&cell))
        cells.emplace_back(*text);
      else if (auto const* const integer = std::get_if<std::int64_t>(&cell))
        cells.emplace_back(*integer);
      else if (auto const* const number = std::get_if<double>(&cell); number && std::isfinite(*number))
        cells.emplace_back(*number);
      else
        cells.emplace_back(nullptr);
    }
    rows.emplace_back(std::move(cells));
  }
  return json::Object{{"columns", std::move(columns)}, {"rows", std::move(rows)}};
}

Table parse_table(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  std::vector<Column> columns;
  for (auto const& item : reader.array("columns")) {
    json::Reader column(item, concat(source, ": columns[", columns.size(), "]"));
    std::string title = column.string("title");
    columns.push_back({std::move(title), static_cast<int>(column.integer("decimals", -1, 20))});
    column.finish();
  }
  Table table(std::move(columns));
  for (auto const& item : reader.array("rows")) {
    std::string const where = concat(source, ": rows[", table.row_count(), "]");
    std::vector<Cell> cells;
    for (auto const& cell : json::to_array(item, where)) {
      if (cell.is_null())
        cells.emplace_back();
      else if (cell.is_string())
        cells.emplace_back(json::to_string(cell, where));
      else if (cell.is_double())
        cells.emplace_back(cell.get_double());
      else
        cells.emplace_back(json::to_integer(cell, where));
    }
    require(cells.size() == table.columns().size(), where, " has ", cells.size(), " cells, not ",
            table.columns().size());
    table.add_row(std::move(cells));
  }
  reader.finish();
  return table;
}

} // namespace nasturtium
