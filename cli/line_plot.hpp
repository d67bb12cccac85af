// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Line plots as SVG text: no program to call, readable in light and dark, in grey print and by screen readers.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

/// One line. Lines of the same group share a colour and a marker, so that two lines of one thing are seen as one.
struct Series
{
  std::string name;
  std::vector<std::pair<double, double>> points; ///< (x, y), x ascending; points that are not finite are left out
  int group = 0;
  bool secondary = false; ///< thin, dashed and without a label of its own
  bool scatter = false;   ///< markers without a line and without a label, in any order of x
  bool bars = false; ///< with LinePlot::rows: points in pairs (from, row), (to, row), in any order; without a label
};

struct LinePlot
{
  std::string title;
  std::string subtitle;    ///< says how to read the lines
  std::string description; ///< for those who cannot see it
  std::string x_label, y_label;
  bool whole_x = false; ///< ticks of x at whole numbers alone
  std::vector<Series> series;
  int width = 760, height = 440;
  bool log_x = false, log_y = false; ///< logarithmic axes; points that are not > 0 there are left out
  std::vector<std::string> rows{};   ///< in place of the y axis: names of y = 0, 1, ..., from the top
};

/// The plot as one <svg> element; `standalone` adds the XML head that a file of its own needs.
std::string to_svg(LinePlot const& plot, bool standalone);

/// Round tick values (1, 2 or 5 times a power of ten apart) that enclose [low, high]; about `count` of them.
std::vector<double> round_ticks(double low, double high, int count, bool whole = false);

/// The same for a logarithmic axis, 0 < low <= high: powers of ten, with 2 and 5 times them where there are few.
std::vector<double> log_ticks(double low, double high);

/// Text with &, <, > and quotes as entities, for SVG and HTML.
std::string escape_markup(std::string const& text);

} // namespace nasturtium::cli
