// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>

#include <support/temporary.hpp>

#include <nasturtium/core/json.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using test::error_of;

TEST_CASE("CSV reads quotes, line breaks and both line ends")
{
  CsvReader reader("a,b,\"c,d\"\r\n1,\"x\"\"y\",\r\n\"two\nlines\",2.5,z\n3,,\"\"", "t.csv");
  REQUIRE(reader.header() == std::vector<std::string>{"a", "b", "c,d"});
  REQUIRE(reader.next());
  CHECK(reader.fields() == std::vector<std::string>{"1", "x\"y", ""});
  CHECK(reader.line() == 2);
  CHECK(reader.integer(0) == 1);
  REQUIRE(reader.next());
  CHECK(reader.fields() == std::vector<std::string>{"two\nlines", "2.5", "z"});
  CHECK(reader.line() == 3);
  CHECK(reader.number(1) == 2.5);
  REQUIRE(reader.next());
  CHECK(reader.fields() == std::vector<std::string>{"3", "", ""});
  CHECK(reader.line() == 5);
  CHECK_FALSE(reader.next());
  CHECK(reader.column("c,d") == 2);

  CsvReader marked("\xef\xbb\xbfid,x\n1,2\n\n\n", "t.csv");
  CHECK(marked.header()[0] == "id");
  CHECK(marked.next());
  CHECK_FALSE(marked.next());
}

TEST_CASE("CSV errors name source, line and column")
{
  auto const first_row = [](std::string const& text) {
    return error_of([&] {
      CsvReader reader(text, "t.csv");
      while (reader.next())
        reader.number(1);
    });
  };
  CHECK(first_row("") == "t.csv: is empty");
  CHECK(first_row("a,\n") == "t.csv:1: column 2 has no name");
  CHECK(first_row("a,a\n") == "t.csv:1: column 'a' appears twice");
  CHECK(first_row("a,b\n1,2\n1\n") == "t.csv:3: 1 fields, but the header has 2");
  CHECK(first_row("a,b\n1,2\n1,2,3\n") == "t.csv:3: 3 fields, but the header has 2");
  CHECK(first_row("a,b\n1,zwei\n") == "t.csv:2: column 'b' must be a finite number, got 'zwei'");
  CHECK(first_row("a,b\n1,nan\n") == "t.csv:2: column 'b' must be a finite number, got 'nan'");
  CHECK(first_row("a,b\n1,\n") == "t.csv:2: column 'b' must be a finite number, got ''");
  CHECK(first_row("a,b\n1,\"2\n") == "t.csv:2: a quoted field never ends");
  CHECK(first_row("a,b\n1,2\"3\n") == "t.csv:2: column 2: a quote in the wrong place");
  CHECK(first_row("a,b\n1,\"2\"3\n") == "t.csv:2: column 2: a quote in the wrong place");
  CHECK(error_of([] { CsvReader("a,b\n", "t.csv").column("c"); }) == "t.csv: no column 'c' (columns: a, b)");
  CHECK(error_of([] { CsvReader::open("/nowhere.csv"); }) == "/nowhere.csv: no such file");
}

TEST_CASE("Any fields written as CSV read back the same")
{
  test::Random random(3);
  for (int round = 0; round < 2000; ++round) {
    std::size_t const columns = 1 + random.below(4);
    std::vector<std::string> header;
    for (std::size_t i = 0; i < columns; ++i)
      header.push_back(concat("c", i));
    std::string text = csv_line(header);
    std::vector<std::vector<std::string>> rows;
    for (std::uint32_t n = random.below(5); n > 0; --n) {
      auto& row = rows.emplace_back();
      for (std::size_t i = 0; i < columns; ++i) {
        std::string& field = row.emplace_back();
        for (std::uint32_t k = random.below(6); k > 0; --k)
          field += "ab,\"\n\r \xc3"[random.below(8)];
      }
      text += csv_line(row);
    }
    CsvReader reader(text, "t.csv");
    for (auto const& row : rows) {
      REQUIRE(reader.next());
      REQUIRE(reader.fields() == row);
    }
    REQUIRE_FALSE(reader.next());
  }
}

TEST_CASE("Mutated CSV never does more than throw Error")
{
  std::string const good = "id,epoch,value\r\n\"a,\"\"b\",1,0.5\r\nc,2,1e-3\nd,3,-7.25\n\"e\nf\",4,12\n";
  test::Random random(4);
  int errors = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string const bad = test::mutated(good, random);
    try {
      CsvReader reader(bad, "x");
      while (reader.next()) {
        REQUIRE(reader.fields().size() == reader.header().size());
        reader.number(reader.header().size() - 1);
      }
    } catch (Error const&) {
      ++errors;
    }
  }
  CHECK(errors > 2000);
}

TEST_CASE("Numbers as text")
{
  CHECK(shortest(0.1) == "0.1");
  CHECK(shortest(1e-5) == "1e-05");
  CHECK(shortest(-0.0) == "-0");
  CHECK(shortest(std::nan("")) == "nan");
  CHECK(fixed(0.125, 2) == "0.12");
  CHECK(fixed(12, 3) == "12.000");
  CHECK(fixed(-INFINITY, 3) == "-inf");
  CHECK(parse_double("1e-5") == 1e-5);
  CHECK(parse_double("+2") == 2.0);
  CHECK_FALSE(parse_double("+-2"));
  CHECK_FALSE(parse_double("1 "));
  CHECK_FALSE(parse_double(""));
  CHECK_FALSE(parse_double("0x10"));
  CHECK(parse_integer("-12") == -12);
  CHECK_FALSE(parse_integer("1.0"));
  CHECK_FALSE(parse_integer("99999999999999999999"));
  CHECK(quoted("a\nb") == "'a?b'");
  CHECK(quoted("abcdef", 3) == "'abc...'");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(3) == "3 B");
}

TEST_CASE("One table, four looks")
{
  Table table({{"network"}, {"accuracy", 3}, {"epochs"}});
  table.add_row({std::string("lenet"), 0.91237, std::int64_t{10}});
  table.add_row({std::string("a|b é"), {}, std::int64_t{5}});
  table.add_row({std::string("x,y")});
  CHECK(table.text() == "network  accuracy  epochs\n"
                        "-------  --------  ------\n"
                        "lenet       0.912      10\n"
                        "a|b é                   5\n"
                        "x,y\n");
  CHECK(table.markdown() == "| network | accuracy | epochs |\n| --- | ---: | ---: |\n| lenet | 0.912 | 10 |\n"
                            "| a\\|b é |  | 5 |\n| x,y |  |  |\n");
  CHECK(table.csv() == "network,accuracy,epochs\nlenet,0.91237,10\na|b é,,5\n\"x,y\",,\n");
  CHECK(table.latex() == "\\begin{tabular}{lrr}\n\\toprule\nnetwork & accuracy & epochs \\\\\n\\midrule\n"
                         "lenet & 0.912 & 10 \\\\\na|b é &  & 5 \\\\\nx,y &  &  \\\\\n\\bottomrule\n\\end{tabular}\n");
  CHECK(error_of([&] { table.add_row(std::vector<Cell>(4)); }) == "a table row of 4 cells has more than its 3 columns");
}

TEST_CASE("LaTeX sees no command in a cell")
{
  Table table({{"50 %"}});
  table.add_row({std::string("a_b & {c} \\ $d# ~e^f")});
  CHECK(table.latex().find("50 \\% \\\\") != std::string::npos);
  CHECK(table.latex().find("a\\_b \\& \\{c\\} \\textbackslash{} \\$d\\# \\textasciitilde{}e\\textasciicircum{}f") !=
        std::string::npos);
}

TEST_CASE("A table comes back from its JSON to the last bit")
{
  Table table({{"name"}, {"value", 2}, {"count"}});
  table.add_row({std::string("x"), 0.1 + 0.2, std::int64_t{7}});
  table.add_row({std::string("whole"), 3.0, {}});
  table.add_row({{}, std::nan(""), std::int64_t{-1}});
  auto const text = json::pretty(to_json(table));
  auto const back = parse_table(json::parse(text, "t"), "t");
  CHECK(back.csv() == "name,value,count\nx,0.30000000000000004,7\nwhole,3,\n,,-1\n");
  CHECK(std::get<double>(back.rows()[1][1]) == 3);
  CHECK(back.rows()[2][1].index() == 0);
  CHECK(json::pretty(to_json(back)) == text);
  auto const broken = [](char const* json) { return error_of([&] { parse_table(json::parse(json, "t"), "t"); }); };
  CHECK(broken(R"({"columns": [{"title": "a", "decimals": 2}], "rows": [[1, 2]]})") == "t: rows[0] has 2 cells, not 1");
  CHECK(broken(R"({"columns": [{"title": "a", "decimals": 99}], "rows": []})").find("99") != std::string::npos);
  CHECK(broken(R"({"columns": [], "rows": [[true]]})").find("t: rows[0]") != std::string::npos);
}
