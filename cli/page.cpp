// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "page.hpp"

namespace nasturtium::cli {

namespace {

constexpr char const* style = R"(
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#ffffff;--card:#f6f7f8;--rule:#d9dee3;--accent:#0072b2}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--paper:#15181c;--card:#1d2126;--rule:#343a41;--accent:#56b4e9}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:52rem;margin:0 auto;padding:2rem 1.25rem 3rem}
h1{font-size:1.75rem;line-height:1.25;margin:0 0 .5rem}
h2{font-size:1.2rem;margin:2.25rem 0 .75rem}
h3{font-size:1.02rem;margin:1.75rem 0 .6rem}
p{margin:.6rem 0}
.lead{font-size:1.1rem;color:var(--soft)}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .7rem;text-align:left;border-bottom:1px solid var(--rule);white-space:nowrap}
th{font-weight:600;color:var(--soft);font-size:.9rem}
.n{text-align:right}
th[data-sort]{cursor:pointer}
th[aria-sort=ascending]::after{content:" \25b2"}
th[aria-sort=descending]::after{content:" \25bc"}
.dense{font-size:.82rem}
.dense th,.dense td{padding:.35rem .4rem}
.dense th{white-space:normal;vertical-align:bottom;font-size:.78rem}
figure{margin:1rem 0}
figure svg{display:block;width:100%;height:auto;border:1px solid var(--rule);border-radius:8px}
.narrow{display:none}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:1rem 0;font-size:.92rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.8rem 1rem;overflow-x:auto;font:.85rem/1.45 ui-monospace,"DejaVu Sans Mono",monospace;margin:.75rem 0}
@media screen and (max-width:36rem){main{padding:1.25rem 1rem 2rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.45rem}
.wide{display:none}.narrow{display:block}thead{display:none}tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--rule)}
td{display:flex;justify-content:space-between;border:0;padding:.1rem 0}td::before{content:attr(data-title);color:var(--soft)}td:first-child{font-weight:600}}
@media print{main{max-width:none;padding:0}h2{break-after:avoid}figure,table,pre{break-inside:avoid}body{font-size:10.5pt}pre{white-space:pre-wrap}}
)";

/// Click or Enter on a column's title: its rows by number where both have one, else by text; empty cells last.
constexpr char const* script = R"(
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], titles = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  titles.forEach((title, column) => {
    title.dataset.sort = "";
    title.tabIndex = 0;
    const sort = () => {
      const down = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      titles.forEach(t => t.removeAttribute("aria-sort"));
      title.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
      const text = row => row.cells[column].textContent;
      const order = (a, b) => {
        if (!text(a) || !text(b)) return !text(a) - !text(b);
        const difference = Number(text(a)) - Number(text(b));
        return down * (Number.isNaN(difference) ? text(a).localeCompare(text(b)) : difference);
      };
      body.append(...[...body.rows].sort(order));
    };
    title.addEventListener("click", sort);
    title.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
}
)";

} // namespace

Page::Page(std::string title) : m_title(std::move(title))
{
}

void Page::lead(std::string const& text)
{
  m_body += "<p class=\"lead\">" + escape_markup(text) + "</p>\n";
}

void Page::heading(std::string const& text, int level)
{
  std::string const tag = "h" + std::to_string(level) + ">";
  m_body += "<" + tag + escape_markup(text) + "</" + tag + "\n";
}

void Page::paragraph(std::string const& text)
{
  m_body += "<p>" + escape_markup(text) + "</p>\n";
}

void Page::svg(std::string const& wide, std::string const& narrow, std::string const& caption)
{
  m_body += "<figure>\n<div class=\"wide\">" + wide + "</div>\n<div class=\"narrow\">" + narrow +
            "</div>\n<figcaption>" + escape_markup(caption) + "</figcaption>\n</figure>\n";
}

void Page::table(std::vector<std::string> const& titles, std::vector<std::vector<std::string>> const& rows,
                 std::vector<bool> const& numeric)
{
  auto const side = [&](std::size_t column) { return numeric.at(column) ? " class=\"n\"" : ""; };
  bool const dense = titles.size() > 6; // smaller letters before anything is cut off
  m_body += std::string("<div class=\"scroll\"><table") + (dense ? " class=\"dense\"" : "") + ">\n<thead><tr>";
  for (std::size_t i = 0; i < titles.size(); ++i)
    m_body += std::string("<th scope=\"col\"") + side(i) + ">" + escape_markup(titles[i]) + "</th>";
  m_body += "</tr></thead>\n<tbody>\n";
  for (auto const& row : rows) {
    m_body += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      m_body += std::string("<td") + side(i) + " data-title=\"" + escape_markup(titles.at(i)) + "\">" +
                escape_markup(row[i]) + "</td>";
    m_body += "</tr>\n";
  }
  m_body += "</tbody></table></div>\n";
}

void Page::plot(LinePlot const& plot, std::string const& caption)
{
  LinePlot narrow = plot;
  narrow.width = 400;
  narrow.height = 380;
  svg(to_svg(plot, false), to_svg(narrow, false), caption);
}

void Page::provenance(Provenance const& provenance, int level)
{
  heading("How to reproduce", level);
  code(provenance.command_line + "\n");
  heading("Provenance", level);
  pairs({{"version", provenance.version},
         {"git", provenance.git_hash + " (" + provenance.git_state + ")"},
         {"compiler", provenance.compiler + ", " + provenance.build_type},
         {"backend", provenance.backend},
         {"processor", provenance.cpu},
         {"time", provenance.utc}});
}

void Page::pairs(std::vector<std::pair<std::string, std::string>> const& pairs)
{
  m_body += "<dl>\n";
  for (auto const& [key, value] : pairs)
    m_body += "<dt>" + escape_markup(key) + "</dt><dd>" + escape_markup(value) + "</dd>\n";
  m_body += "</dl>\n";
}

void Page::code(std::string const& text)
{
  m_body += "<pre>" + escape_markup(text) + "</pre>\n";
}

std::string Page::html() const
{
  // The empty icon keeps browsers from asking for one.
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escape_markup(m_title) + "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>" + style +
         "</style>\n</head>\n<body>\n<main>\n<h1>" + escape_markup(m_title) + "</h1>\n" + m_body + "</main>\n<script>" +
         script + "</script>\n</body>\n</html>\n";
}

} // namespace nasturtium::cli
