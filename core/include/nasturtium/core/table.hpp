// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One table, three looks: aligned text for terminals, Markdown for people, CSV for programs.
#pragma once

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

  std::vector<std::string> titles() const;
  std::vector<std::vector<std::string>> rows_of_text() const; ///< cells with the columns' decimals

  std::string text() const;     ///< two spaces between columns; numbers to the right, a rule under the titles
  std::string markdown() const; ///< the same as a Markdown table; "|" is escaped
  std::string csv() const;      ///< doubles in full (shortest round-trip)

private:
  std::vector<bool> numeric() const;

  std::vector<Column> m_columns;
  std::vector<std::vector<Cell>> m_rows;
};

} // namespace nasturtium
