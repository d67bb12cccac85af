// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One table, four looks: aligned text for terminals, Markdown for people, LaTeX for papers, CSV for programs.
#pragma once

#include <nasturtium/core/json.hpp>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace nasturtium {

/// monostate is an empty cell.
using Cell = std::variant<std::monostate, std::string, std::int64_t, double>;

struct Column
{
  std::string title;
  int decimals = -1; ///< of doubles, in text and Markdown; -1: shortest
};

class Table
{
public:
  explicit Table(std::vector<Column> columns);

  /// One cell per column (a missing tail is empty); throws Error for more.
  void add_row(std::vector<Cell> cells);
  std::size_t row_count() const { return m_rows.size(); }

  std::vector<Column> const& columns() const { return m_columns; }
  std::vector<std::vector<Cell>> const& rows() const { return m_rows; }
  std::vector<std::string> titles() const;
  std::vector<bool> numeric() const;                          ///< of each column: numbers and empty cells alone
  std::vector<std::vector<std::string>> rows_of_text() const; ///< cells with the columns' decimals

  std::string text() const;     ///< two spaces between columns; numbers to the right, a rule under the titles
  std::string markdown() const; ///< the same as a Markdown table; "|" is escaped
  std::string latex() const;    ///< a tabular with the rules of booktabs; what LaTeX would read as a command is escaped
  std::string csv() const;      ///< doubles in full (shortest round-trip)

private:
  std::vector<Column> m_columns;
  std::vector<std::vector<Cell>> m_rows;
};

/// {"columns": [{"title", "decimals"}, ...], "rows": [[text, number or null, ...], ...]} and back, equal to the last
/// bit; numbers that are not finite become empty cells. Throws Error naming `source`, field and value.
json::Value to_json(Table const& table);
Table parse_table(json::Value const& value, std::string const& source);

} // namespace nasturtium
