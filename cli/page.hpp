// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One HTML page in one file: no request, readable in light and dark, on a phone and in print. Its one small script
// sorts tables by the column that is clicked; without scripts nothing else is lost.
#pragma once

#include "line_plot.hpp"

#include <nasturtium/core/provenance.hpp>

#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

/// Builds the page from top to bottom.
class Page
{
public:
  explicit Page(std::string title);

  void lead(std::string const& text); ///< the one sentence that says what came out
  void heading(std::string const& text, int level = 2);
  void paragraph(std::string const& text);
  /// One figure in two forms: `narrow` is shown on phones, `wide` elsewhere.
  void svg(std::string const& wide, std::string const& narrow, std::string const& caption);
  /// A line plot in both forms.
  void plot(LinePlot const& plot, std::string const& caption);
  /// Cells as text; `numeric` says which columns are aligned to the right.
  void table(std::vector<std::string> const& titles, std::vector<std::vector<std::string>> const& rows,
             std::vector<bool> const& numeric);
  void pairs(std::vector<std::pair<std::string, std::string>> const& pairs);
  void code(std::string const& text);
  /// How to reproduce what is above, and where it comes from.
  void provenance(Provenance const& provenance, int level = 2);

  std::string html() const;

private:
  std::string m_title;
  std::string m_body;
};

} // namespace nasturtium::cli
