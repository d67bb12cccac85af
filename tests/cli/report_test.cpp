// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "cli/process.hpp"
#include "report_document.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <catch2/catch_test_macros.hpp>

#include <limits>

using namespace nasturtium;
using namespace nasturtium::cli;
using namespace nasturtium::test;

namespace {

ReportDocument example()
{
  ReportDocument document("trial", "A <title>");
  document.lead("What came out: 50 % & more.");
  document.heading("First");
  document.paragraph("Text.");
  Table table({{"name"}, {"value", 2}});
  table.add_row({std::string("a"), 1.0 / 3});
  table.add_row({std::string("b"), std::numeric_limits<double>::quiet_NaN()});
  document.table("numbers", table);
  LinePlot plot;
  plot.title = "Curve";
  plot.description = "A curve.";
  plot.x_label = "epoch";
  plot.y_label = "loss";
  plot.series = {{"one", {{1, 0.1}, {2, std::numeric_limits<double>::infinity()}, {3, 0.3}}, 0, false},
                 {"two", {{1, 0.2}, {3, 0.1}}, 1, true}};
  document.plot("curve", std::move(plot), "A caption.");
  LinePlot bars;
  bars.title = "Bars";
  bars.rows = {"one", "two"};
  bars.series = {{"work", {{0, 0}, {1, 0}, {1, 1}, {3, 1}}}};
  bars.series.front().bars = true;
  document.plot("bars", std::move(bars), "Another caption.");
  Provenance provenance;
  provenance.version = "0";
  provenance.command_line = "nasturtium reproduce trial";
  provenance.environment = {{"OMP_NUM_THREADS", "1"}};
  document.provenance(std::move(provenance));
  return document;
}

} // namespace

TEST_CASE("a report is the same files after a way through its JSON")
{
  Folder const folder;
  auto const document = example();
  document.write(folder / "first");
  auto const text = read(folder / "first/report.json");
  auto const back = ReportDocument::parse(json::parse(text, "report.json"), "report.json");
  back.write(folder / "second");
  for (std::string const name :
       {"report.json", "index.html", "tables.md", "numbers.csv", "numbers.tex", "curve.svg", "provenance.json"}) {
    INFO(name);
    REQUIRE_FALSE(read(folder / ("first/" + name)).empty());
    CHECK(read(folder / ("first/" + name)) == read(folder / ("second/" + name)));
  }
  CHECK(read(folder / "first/index.html").find("A &lt;title&gt;") != std::string::npos);
  CHECK(read(folder / "first/tables.md").find("| a | 0.33 |") != std::string::npos);
}

TEST_CASE("nasturtium report: several runs become one page, and bad ones leave nothing")
{
  Folder const folder;
  example().write(folder / "runs/one");
  example().write(folder / "runs/two/deep");
  auto const done = run({"report", folder / "runs", "--out", folder / "out"});
  INFO(done.err);
  REQUIRE(done.status == 0);
  auto const page = read(folder / "out/index.html");
  CHECK(page.find("trial-one") != std::string::npos);
  CHECK(page.find("trial-deep") != std::string::npos);
  CHECK(page.find("src=") == std::string::npos);
  CHECK(read(folder / "out/trial-one/numbers.csv") == read(folder / "runs/one/numbers.csv"));

  CHECK(run({"report", folder / "nowhere"}).status == 2);
  fs::create_directories(folder / "empty");
  auto const empty = run({"report", folder / "empty"});
  CHECK(empty.status == 2);
  CHECK(empty.err.find("no report.json") != std::string::npos);
  auto const escaping = folder.write("bad/report.json", [&] {
    auto text = read(folder / "runs/one/report.json");
    auto const at = text.find("\"numbers\"");
    REQUIRE(at != std::string::npos);
    return text.replace(at, 9, "\"../numbers\"");
  }());
  auto const refused = run({"report", folder / "runs/one", folder / "bad", "--out", folder / "other"});
  CHECK(refused.status == 2);
  CHECK(refused.err.find("../numbers") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "other"));
}

TEST_CASE("a damaged report.json is an error, never a crash")
{
  auto const text = json::pretty(example().to_json());
  int errors = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    auto const draw = random_block(7, Purpose::synthetic, 0, i);
    auto damaged = text;
    std::size_t const at = draw.word[0] % damaged.size();
    if (i % 3 == 0)
      damaged.resize(at);
    else if (i % 3 == 1)
      damaged[at] = static_cast<char>(' ' + draw.word[1] % 95);
    else
      damaged.erase(at, 1 + draw.word[1] % 20);
    try {
      auto const document = ReportDocument::parse(json::parse(damaged, "r"), "r");
      CHECK_FALSE(json::pretty(document.to_json()).empty());
    } catch (Error const& error) {
      ++errors;
      CHECK(std::string(error.what()).starts_with("r"));
    }
  }
  CHECK(errors > 200);
}

TEST_CASE("nasturtium report: the committed results are what their report.json says, byte by byte")
{
  Folder const folder;
  int files = 0;
  for (auto const& entry : fs::recursive_directory_iterator(fs::path(NASTURTIUM_SOURCE_DIR) / "results")) {
    if (entry.path().filename() != "report.json") continue;
    std::string const source = entry.path().string();
    std::string const again = folder / std::to_string(files);
    ReportDocument::parse(json::parse_file(source), source).write(again);
    for (auto const& made : fs::directory_iterator(again)) {
      ++files;
      auto const committed = entry.path().parent_path() / made.path().filename();
      INFO(committed);
      CHECK(read(made.path().string()) == read(committed.string()));
    }
  }
  CHECK(files > 50);
}
