// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "report_document.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

std::vector<std::string> const text_kinds{"lead", "heading", "paragraph"};
std::vector<std::string> const shown_names{"everywhere", "markdown", "page", "files"};

json::Value to_json(LinePlot const& plot)
{
  json::Array series;
  for (auto const& line : plot.series) {
    json::Array points;
    for (auto const& [x, y] : line.points)
      points.emplace_back(json::Array{x, y});
    json::Object object{{"name", line.name}, {"group", line.group}, {"secondary", line.secondary}};
    if (line.scatter) object["scatter"] = true;
    if (line.bars) object["bars"] = true;
    object["points"] = std::move(points);
    series.emplace_back(std::move(object));
  }
  json::Object object{{"title", plot.title},     {"subtitle", plot.subtitle}, {"description", plot.description},
                      {"x_label", plot.x_label}, {"y_label", plot.y_label},   {"whole_x", plot.whole_x},
                      {"width", plot.width},     {"height", plot.height}};
  if (plot.log_x) object["log_x"] = true;
  if (plot.log_y) object["log_y"] = true;
  if (!plot.rows.empty()) object["rows"] = json::Array(plot.rows.begin(), plot.rows.end());
  object["series"] = std::move(series);
  return object;
}

LinePlot parse_plot(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  LinePlot plot;
  plot.title = reader.string("title");
  plot.subtitle = reader.string("subtitle");
  plot.description = reader.string("description");
  plot.x_label = reader.string("x_label");
  plot.y_label = reader.string("y_label");
  plot.whole_x = reader.boolean("whole_x");
  plot.width = static_cast<int>(reader.integer("width", 100, 10000));
  plot.height = static_cast<int>(reader.integer("height", 100, 10000));
  plot.log_x = reader.boolean("log_x", false);
  plot.log_y = reader.boolean("log_y", false);
  if (reader.has("rows"))
    for (auto const& row : reader.array("rows"))
      plot.rows.push_back(json::to_string(row, reader.what("rows")));
  for (auto const& item : reader.array("series")) {
    json::Reader line(item, concat(source, ": series[", plot.series.size(), "]"));
    Series series;
    series.name = line.string("name");
    series.group = static_cast<int>(line.integer("group", 0, 1000));
    series.secondary = line.boolean("secondary");
    series.scatter = line.boolean("scatter", false);
    series.bars = line.boolean("bars", false);
    std::string const where = line.what("points");
    for (auto const& point : line.array("points")) {
      auto const& pair = json::to_array(point, where);
      require(pair.size() == 2, where, ": a point has ", pair.size(), " numbers, not 2");
      series.points.emplace_back(json::to_number(pair[0], where), json::to_number(pair[1], where));
    }
    line.finish();
    plot.series.push_back(std::move(series));
  }
  reader.finish();
  return plot;
}

/// A name that becomes a file's: no folders, nothing hidden.
void check_name(std::string const& name, std::string const& source)
{
  bool const plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
  require(plain && !name.empty() && name.front() != '.', source, ": ", quoted(name), " is not a name for a file");
}

/// A table of a page. What says the same in every row of the first column takes no room there.
void add_table(Page& page, Table const& table)
{
  auto titles = table.titles();
  auto rows = table.rows_of_text();
  auto numeric = table.numeric();
  bool const same = rows.size() > 1 && titles.size() > 7 &&
                    std::all_of(rows.begin(), rows.end(), [&](auto const& row) { return row[0] == rows[0][0]; });
  if (same) {
    titles.erase(titles.begin());
    numeric.erase(numeric.begin());
    for (auto& row : rows)
      row.erase(row.begin());
  }
  page.table(titles, rows, numeric);
}

} // namespace

ReportDocument::ReportDocument(std::string experiment, std::string title)
    : m_experiment(std::move(experiment)), m_title(std::move(title))
{
}

void ReportDocument::lead(std::string text)
{
  m_blocks.emplace_back(Text{Text::Kind::lead, std::move(text)});
}

void ReportDocument::heading(std::string text)
{
  m_blocks.emplace_back(Text{Text::Kind::heading, std::move(text)});
}

void ReportDocument::paragraph(std::string text)
{
  m_blocks.emplace_back(Text{Text::Kind::paragraph, std::move(text)});
}

void ReportDocument::table(std::string name, Table const& table, Shown shown)
{
  Table finite(table.columns());
  for (auto row : table.rows()) {
    for (auto& cell : row)
      if (auto const* const number = std::get_if<double>(&cell); number && !std::isfinite(*number)) cell = Cell();
    finite.add_row(std::move(row));
  }
  m_blocks.emplace_back(NamedTable{std::move(name), std::move(finite), shown});
}

void ReportDocument::plot(std::string name, LinePlot plot, std::string caption)
{
  for (auto& series : plot.series)
    std::erase_if(series.points,
                  [](auto const& point) { return !std::isfinite(point.first) || !std::isfinite(point.second); });
  m_blocks.emplace_back(NamedPlot{std::move(name), std::move(plot), std::move(caption)});
}

Table const* ReportDocument::find_table(std::string const& name) const
{
  for (auto const& block : m_blocks)
    if (auto const* const table = std::get_if<NamedTable>(&block); table && table->name == name) return &table->table;
  return nullptr;
}

void ReportDocument::add_to(Page& page, int level) const
{
  for (auto const& block : m_blocks)
    if (auto const* const text = std::get_if<Text>(&block)) {
      if (text->kind == Text::Kind::lead)
        page.lead(text->text);
      else if (text->kind == Text::Kind::heading)
        page.heading(text->text, level);
      else
        page.paragraph(text->text);
    } else if (auto const* const table = std::get_if<NamedTable>(&block)) {
      if (table->shown == Shown::everywhere || table->shown == Shown::page) add_table(page, table->table);
    } else if (auto const* const plot = std::get_if<NamedPlot>(&block)) {
      page.plot(plot->plot, plot->caption);
    }
  page.provenance(m_provenance, level);
}

void ReportDocument::write(std::string const& folder) const
{
  create_directories(folder);
  auto const file = [&](std::string const& name) { return (fs::path(folder) / name).string(); };
  std::string markdown = concat("# ", m_title, "\n");
  for (auto const& block : m_blocks)
    if (auto const* const text = std::get_if<Text>(&block)) {
      markdown += concat("\n", text->kind == Text::Kind::heading ? "## " : "", text->text, "\n");
    } else if (auto const* const table = std::get_if<NamedTable>(&block)) {
      write_file(file(table->name + ".csv"), table->table.csv());
      write_file(file(table->name + ".tex"), table->table.latex());
      if (table->shown == Shown::everywhere || table->shown == Shown::markdown)
        markdown += "\n" + table->table.markdown();
    } else if (auto const* const plot = std::get_if<NamedPlot>(&block)) {
      write_file(file(plot->name + ".svg"), to_svg(plot->plot, true));
    }
  write_file(file("tables.md"), markdown);
  write_file(file("provenance.json"), json::pretty(nasturtium::to_json(m_provenance)));
  Page page(m_title);
  add_to(page, 2);
  write_file(file("index.html"), page.html());
  write_file(file("report.json"), json::pretty(to_json())); // last: where it stands, all else does
}

json::Value ReportDocument::to_json() const
{
  json::Array blocks;
  for (auto const& block : m_blocks)
    if (auto const* const text = std::get_if<Text>(&block))
      blocks.emplace_back(json::Object{{text_kinds[static_cast<std::size_t>(text->kind)], text->text}});
    else if (auto const* const table = std::get_if<NamedTable>(&block))
      blocks.emplace_back(json::Object{{"table", table->name},
                                       {"shown", shown_names[static_cast<std::size_t>(table->shown)]},
                                       {"content", nasturtium::to_json(table->table)}});
    else if (auto const* const plot = std::get_if<NamedPlot>(&block))
      blocks.emplace_back(
          json::Object{{"plot", plot->name}, {"caption", plot->caption}, {"content", cli::to_json(plot->plot)}});
  return json::Object{{"format", "nasturtium-report"},
                      {"version", 1},
                      {"experiment", m_experiment},
                      {"title", m_title},
                      {"provenance", nasturtium::to_json(m_provenance)},
                      {"blocks", std::move(blocks)}};
}

ReportDocument ReportDocument::parse(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-report", 1);
  std::string experiment = reader.string("experiment");
  check_name(experiment, reader.what("experiment"));
  ReportDocument document(std::move(experiment), reader.string("title"));
  document.m_provenance = parse_provenance(reader.value("provenance"), reader.what("provenance"));
  std::size_t number = 0;
  for (auto const& item : reader.array("blocks")) {
    std::string const where = concat(source, ": blocks[", number++, "]");
    json::Reader block(item, where);
    auto const kind =
        std::find_if(text_kinds.begin(), text_kinds.end(), [&](auto const& text) { return block.has(text); });
    if (kind != text_kinds.end()) {
      document.m_blocks.emplace_back(Text{static_cast<Text::Kind>(kind - text_kinds.begin()), block.string(*kind)});
    } else if (block.has("table")) {
      std::string name = block.string("table");
      check_name(name, where);
      auto const shown = static_cast<Shown>(block.choice("shown", shown_names));
      document.table(std::move(name), parse_table(block.value("content"), where), shown);
    } else {
      std::string name = block.string("plot");
      check_name(name, where);
      std::string caption = block.string("caption");
      document.plot(std::move(name), parse_plot(block.value("content"), where), std::move(caption));
    }
    block.finish();
  }
  reader.finish();
  return document;
}

} // namespace nasturtium::cli
