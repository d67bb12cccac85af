// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an experiment has to say, as data: sentences, tables, figures. Written as CSV, LaTeX, SVG, Markdown and HTML,
// and as report.json, from which all of these can be written again, byte by byte.
#pragma once

#include "line_plot.hpp"
#include "page.hpp"

#include <nasturtium/core/json.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/table.hpp>

#include <string>
#include <variant>
#include <vector>

namespace nasturtium::cli {

/// Where a table is shown. All tables are written as CSV and LaTeX files.
enum class Shown { everywhere, markdown, page, files };

/// Built from top to bottom, in the order of reading.
class ReportDocument
{
public:
  /// `experiment` is a name for folders ("penguin"), `title` a heading.
  ReportDocument(std::string experiment, std::string title);

  void lead(std::string text); ///< the one sentence that says what came out
  void heading(std::string text);
  void paragraph(std::string text);
  /// `name` is that of the files; unique. Numbers that are not finite become empty cells.
  void table(std::string name, Table const& table, Shown shown = Shown::everywhere);
  /// Points that are not finite are left out.
  void plot(std::string name, LinePlot plot, std::string caption);
  void provenance(Provenance provenance) { m_provenance = std::move(provenance); }

  /// A table by its name; null for none.
  Table const* find_table(std::string const& name) const;

  std::string const& experiment() const { return m_experiment; }
  std::string const& title() const { return m_title; }

  /// Appends everything to a page, headings at `level` and below.
  void add_to(Page& page, int level) const;
  /// Writes report.json, NAME.csv, NAME.tex, NAME.svg, tables.md, provenance.json and index.html.
  void write(std::string const& folder) const;

  json::Value to_json() const;
  /// Throws Error naming `source`, field and value.
  static ReportDocument parse(json::Value const& value, std::string const& source);

private:
  struct Text
  {
    enum class Kind { lead, heading, paragraph } kind;
    std::string text;
  };
  struct NamedTable
  {
    std::string name;
    Table table;
    Shown shown;
  };
  struct NamedPlot
  {
    std::string name;
    LinePlot plot;
    std::string caption;
  };

  std::string m_experiment, m_title;
  std::vector<std::variant<Text, NamedTable, NamedPlot>> m_blocks;
  Provenance m_provenance;
};

} // namespace nasturtium::cli
