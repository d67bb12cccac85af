// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "line_plot.hpp"
#include "page.hpp"
#include "serving_timeline.hpp"

#include <nasturtium/core/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <sstream>

using namespace nasturtium::cli;

namespace {

// Every element that is opened is closed in the right order, and no attribute holds markup.
bool well_formed(std::string const& text)
{
  std::vector<std::string> open;
  for (std::size_t i = text.find('<'); i != std::string::npos; i = text.find('<', i + 1)) {
    std::size_t const end = text.find('>', i);
    if (end == std::string::npos) return false;
    std::string const tag = text.substr(i + 1, end - i - 1);
    if (tag.empty() || tag.find('<') != std::string::npos) return false;
    if (tag[0] == '?' || tag[0] == '!' || tag.back() == '/') continue;
    std::string const name = tag.substr(tag[0] == '/' ? 1 : 0, tag.find(' ') - (tag[0] == '/' ? 1 : 0));
    if (name == "meta" || name == "link") continue;
    if (tag[0] != '/')
      open.push_back(name);
    else if (open.empty() || open.back() != name)
      return false;
    else
      open.pop_back();
  }
  return open.empty();
}

LinePlot example()
{
  LinePlot plot;
  plot.title = "a < b & \"c\"";
  plot.x_label = "epoch";
  plot.y_label = "accuracy, %";
  plot.series = {{"one", {{1, 80}, {2, 85}, {3, 90}}, 0, false},
                 {"two", {{1, 81}, {2, 86}, {3, 90.1}}, 1, false},
                 {"one", {{1, 70}, {3, std::numeric_limits<double>::quiet_NaN()}}, 0, true}};
  return plot;
}

} // namespace

TEST_CASE("ticks are round, enclose the data and are about as many as asked for")
{
  CHECK(round_ticks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  for (double const low : {-1234.5, -1.0, 0.0, 0.013, 70.2, 1e6})
    for (double const width : {1e-6, 0.3, 7.0, 19.9, 12345.0})
      for (int const count : {3, 6, 10}) {
        auto const ticks = round_ticks(low, low + width, count);
        REQUIRE(ticks.size() >= 2);
        CHECK(ticks.front() <= low + 1e-6 * width);
        CHECK(ticks.back() >= low + width - 1e-6 * width);
        CHECK(ticks.size() <= static_cast<std::size_t>(count) + 3);
        double const step = ticks[1] - ticks[0], mantissa = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
        bool const round =
            std::abs(mantissa - 1) < 1e-3 || std::abs(mantissa - 2) < 1e-3 || std::abs(mantissa - 5) < 1e-3;
        CHECK(round);
      }
  CHECK(round_ticks(3, 3, 5).size() >= 2); // a single value
  auto const whole = round_ticks(1, 3, 8, true);
  CHECK(whole == std::vector<double>{1, 2, 3});
}

TEST_CASE("a plot is well-formed SVG with title, description, labels and no value that is not finite")
{
  for (bool const standalone : {true, false}) {
    std::string const svg = to_svg(example(), standalone);
    CHECK(well_formed(svg));
    CHECK(svg.find("a &lt; b &amp; &quot;c&quot;</title>") != std::string::npos);
    CHECK(svg.find("<desc") != std::string::npos);
    CHECK(svg.find("prefers-color-scheme") != std::string::npos);
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(svg.find("http") == svg.find("http://www.w3.org/2000/svg")); // asks nobody for anything
  }
  LinePlot nothing;
  CHECK(well_formed(to_svg(nothing, true)));
  CHECK(to_svg(nothing, true).find("no values") != std::string::npos);
}

TEST_CASE("logarithmic ticks enclose the data, and are powers of ten where they are many")
{
  CHECK(log_ticks(1, 1000) == std::vector<double>{1, 10, 100, 1000});
  CHECK(log_ticks(3, 30) == std::vector<double>{2, 5, 10, 20, 50});
  for (double const low : {1e-7, 0.3, 1.0, 42.0, 3e9})
    for (double const factor : {1.0, 1.01, 4.0, 900.0, 1e12}) {
      auto const ticks = log_ticks(low, low * factor);
      REQUIRE(ticks.size() >= 2);
      CHECK(ticks.front() <= low * (1 + 1e-9));
      CHECK(ticks.back() >= low * factor * (1 - 1e-9));
      for (std::size_t i = 1; i < ticks.size(); ++i)
        CHECK(ticks[i] > ticks[i - 1]);
    }
}

TEST_CASE("a plot with logarithmic axes and marks alone")
{
  LinePlot plot;
  plot.title = "roof";
  plot.log_x = plot.log_y = true;
  Series marks{"marks", {{100, 1}, {1, 10}, {10, -3}, {0, 1}}, 0};
  marks.scatter = true;
  plot.series = {marks, {"line", {{1, 1}, {10, 10}, {100, 100}}, 1}};
  std::string const svg = to_svg(plot, true);
  CHECK(well_formed(svg));
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  auto const count = [&](std::string const& part) {
    int found = 0;
    for (auto at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1))
      ++found;
    return found;
  };
  CHECK(count("class=\"mark m0\"") == 2); // not what has no logarithm
  CHECK(count("class=\"line g0\"") == 0);
  CHECK(count(">marks</text>") == 0);
  // Decades are equally far apart: the middle of the line lies in the middle.
  auto const at = svg.find("class=\"line g1\" d=\"M");
  REQUIRE(at != std::string::npos);
  std::istringstream path(svg.substr(at + 19));
  double x[3], y[3];
  char letter = 0;
  for (int i = 0; i < 3; ++i)
    path >> letter >> x[i] >> y[i];
  CHECK(std::abs(x[1] - 0.5 * (x[0] + x[2])) < 0.11);
  CHECK(std::abs(y[1] - 0.5 * (y[0] + y[2])) < 0.11);
}

TEST_CASE("bars lie in rows with names, in place of a y axis")
{
  LinePlot plot;
  plot.title = "bars";
  plot.rows = {"upper <1>", "lower"};
  plot.series = {{"faint", {{0, 0}, {2, 0}, {1, 1}, {4, 1}}, 0, true}, {"dark", {{2, 0}, {4, 0}}, 1}};
  for (auto& series : plot.series)
    series.bars = true;
  std::string const svg = to_svg(plot, true);
  CHECK(well_formed(svg));
  CHECK(svg.find(">upper &lt;1&gt;</text>") != std::string::npos);
  CHECK(svg.find(">dark</text>") == std::string::npos);
  CHECK(svg.find("rotate") == std::string::npos);
  struct Bar
  {
    double x, y, width, height;
  };
  std::vector<Bar> bars;
  for (auto at = svg.find("<rect class=\"mark"); at != std::string::npos; at = svg.find("<rect class=\"mark", at + 1)) {
    auto const number = [&](std::string const& name) {
      auto const place = svg.find(" " + name + "=\"", at);
      return std::stod(svg.substr(place + name.size() + 3));
    };
    bars.push_back({number("x"), number("y"), number("width"), number("height")});
  }
  REQUIRE(bars.size() == 3); // faint ones first
  CHECK(bars[0].y == bars[2].y);
  CHECK(bars[1].y > bars[0].y + bars[0].height);
  // Pixels are written to a tenth: each value is off by at most half of one.
  CHECK(std::abs(bars[0].x + bars[0].width - bars[2].x) < 0.2);
  CHECK(std::abs(bars[0].width - bars[2].width) < 0.2);
  CHECK(std::abs(bars[1].width - 1.5 * bars[0].width) < 0.2);
}

TEST_CASE("a timeline shows the middle of a request, a row a cell")
{
  using namespace nasturtium::ensemble;
  // Two cells, 20 segments, each cell with every one: the second cell is at work half of the time.
  std::vector<SegmentSpan> spans;
  for (int segment = 0; segment < 20; ++segment) {
    spans.push_back({0, 0, segment, 0.01 * segment, 0.01 * (segment + 1)});
    spans.push_back({1, 1, segment, 0.01 * segment, 0.01 * segment + 0.005});
  }
  std::vector<ServedModel> models(2);
  models[0].name = "m0";
  models[1].name = "m1";
  std::vector<ServingDevice> devices(2);
  devices[0].name = "a";
  devices[1].name = "b";
  Plan plan;
  plan.devices = {"b", "a"}; // in another order than the server's
  plan.models = {"m0", "m1"};
  plan.allocation = Allocation(2, 2);
  plan.allocation.at(1, 0) = 8;
  plan.allocation.at(0, 1) = 32;
  auto const table = serving_timeline(spans, models, devices, plan, 4);
  REQUIRE(table.row_count() == 8); // segments 8 to 11
  CHECK(table.rows_of_text().front() == std::vector<std::string>{"a", "m0", "8", "8", "0.000", "10.000"});
  CHECK(table.rows_of_text().back() == std::vector<std::string>{"b", "m1", "32", "11", "30.000", "35.000"});
  auto const plot = timeline_plot(table, "t");
  CHECK(plot.rows == std::vector<std::string>{"a: m0, batch 8", "b: m1, batch 32"});
  CHECK(plot.subtitle.find("75 %") != std::string::npos);
  CHECK(well_formed(to_svg(plot, true)));
  CHECK(serving_timeline(spans, models, devices, plan, 100).row_count() == 40); // fewer than asked for
  CHECK_THROWS_AS(serving_timeline({}, models, devices, plan), nasturtium::Error);
}

TEST_CASE("labels at line ends do not cover each other")
{
  std::string const svg = to_svg(example(), true);
  auto const y_of = [&](std::string const& label) {
    std::size_t const end = svg.find(">" + label + "</text>");
    REQUIRE(end != std::string::npos);
    std::size_t const at = svg.rfind(" y=\"", end);
    return std::stod(svg.substr(at + 4));
  };
  CHECK(std::abs(y_of("one") - y_of("two")) >= 16.9);
}

TEST_CASE("a page is one well-formed file that asks for nothing")
{
  Page page("t <i>");
  page.lead("1 < 2");
  page.heading("h");
  page.table({"a", "b\""}, {{"x & y", "1"}}, {false, true});
  page.svg(to_svg(example(), false), to_svg(example(), false), "caption");
  page.pairs({{"k", "<v>"}});
  page.code("x < y\n");
  std::string const html = page.html();
  CHECK(well_formed(html.substr(0, html.find("<script>")) + html.substr(html.find("</script>") + 9)));
  CHECK(html.find("<i>") == std::string::npos);
  CHECK(html.find("x &amp; y") != std::string::npos);
  CHECK(html.find("src=") == std::string::npos);
  CHECK(html.find("https:") == std::string::npos);
}
