// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>

#include <support/temporary.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

using namespace nasturtium;
using test::error_of;

TEST_CASE("JSON errors name source, line and column")
{
  CHECK(error_of([] { json::parse("{\n  \"a\": 1,\n  \"b\": }", "x.json"); }).starts_with("x.json:3:8: not JSON: "));
  CHECK(error_of([] { json::parse("", "x.json"); }).starts_with("x.json:1:1: not JSON: "));
  CHECK(error_of([] { json::parse("{\"a\": 1", "x.json"); }).starts_with("x.json:1:8: not JSON: "));
  CHECK(error_of([] { json::parse("{}\n {}", "x.json"); }).starts_with("x.json:2:2: not JSON: "));
  CHECK(error_of([] { json::parse("[NaN]", "x.json"); }).starts_with("x.json:1:2: not JSON: "));
  CHECK(error_of([] { json::parse(std::string(100, '[') + std::string(100, ']'), "x"); }).find("deep") !=
        std::string::npos);
  CHECK(error_of([] { json::parse_file("/nowhere/x.json"); }) == "/nowhere/x.json: no such file");
  CHECK(json::parse(" [1, 2]\n", "x").get_array().size() == 2);
}

TEST_CASE("JSON is written stably and reads back the same")
{
  auto const value =
      json::parse(R"({"name":"a\"b\\\u0001\né","empty":{},"list":[1,2.5,-3],"deep":[{"x":null},[]],"yes":true})", "x");
  CHECK(json::pretty(value) ==
        "{\n  \"name\": \"a\\\"b\\\\\\u0001\\né\",\n  \"empty\": {},\n  \"list\": [1, 2.5, -3],\n"
        "  \"deep\": [\n    {\n      \"x\": null\n    },\n    []\n  ],\n  \"yes\": true\n}\n");
  CHECK(json::parse(json::pretty(value), "x") == value);
  CHECK(json::parse(json::compact(value), "x") == value);
  CHECK(json::compact(value).find('\n') == std::string::npos);
}

TEST_CASE("JSON doubles round-trip exactly")
{
  test::Random random(1);
  for (int i = 0; i < 20000; ++i) {
    std::uint64_t const bits = std::uint64_t{random()} << 32 | random();
    double value;
    static_assert(sizeof value == sizeof bits);
    __builtin_memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    auto const back = json::parse(json::compact(json::Value(value)), "x");
    REQUIRE(back.is_double());
    REQUIRE(back.get_double() == value);
  }
  CHECK(json::compact(json::Value(1.0)) == "1.0");
  CHECK(json::compact(json::Value(0.1)) == "0.1");
  CHECK(json::compact(json::Value(1e300)) == "1e+300");
  CHECK(json::compact(json::Value(std::numeric_limits<double>::quiet_NaN())) == "null");
}

TEST_CASE("The strict reader names what is wrong")
{
  auto const value = json::parse(
      R"({"filters": -3, "rate": 1.5, "big": 1e400, "bias": 1, "mode": "fast", "three": 3.0, "half": 0.5,
          "seed": 18446744073709551615, "inner": {"a": 1, "zzz": 2}, "text": "x"})",
      "x");
  std::string const where = "lenet.json: node 'c1'";
  json::Reader reader(value, where);
  CHECK(error_of([&] { reader.integer("filters", 1, 1048576); }) ==
        "lenet.json: node 'c1': field 'filters' must be an integer in [1, 1048576], got -3");
  CHECK(error_of([&] { reader.integer("half", 0, 9); }) ==
        where + ": field 'half' must be an integer in [0, 9], got 0.5");
  CHECK(error_of([&] { reader.integer("kernel", 1, 9); }) == where + ": field 'kernel' is missing");
  CHECK(error_of([&] { reader.number("rate", json::half_open(0, 1)); }) ==
        where + ": field 'rate' must be a number in [0, 1), got 1.5");
  CHECK(error_of([&] { reader.number("rate", json::above(2)); }) ==
        where + ": field 'rate' must be a number > 2, got 1.5");
  CHECK(error_of([&] { reader.number("big", {}); }) == where + ": field 'big' must be a finite number, got inf");
  CHECK(error_of([&] { reader.number("text", {}); }) == where + ": field 'text' must be a finite number, got \"x\"");
  CHECK(error_of([&] { reader.boolean("bias"); }) == where + ": field 'bias' must be true or false, got 1");
  CHECK(error_of([&] { reader.string("bias"); }) == where + ": field 'bias' must be a string, got 1");
  CHECK(error_of([&] { reader.choice("mode", {"slow", "medium"}); }) ==
        where + ": field 'mode' must be one of slow, medium, got 'fast'");
  CHECK(error_of([&] { reader.array("mode"); }) == where + ": field 'mode' must be an array, got \"fast\"");
  CHECK(error_of([&] { reader.object("mode"); }) == where + ": field 'mode' must be an object, got \"fast\"");
  CHECK(error_of([&] { json::Reader(value.at("mode"), where); }) == where + " must be an object, got \"fast\"");

  CHECK(reader.integer("three", 1, 9) == 3);
  CHECK(reader.integer("absent", 1, 9, 7) == 7);
  CHECK(reader.number("absent", {}, 0.25) == 0.25);
  CHECK(reader.boolean("absent", true));
  CHECK(reader.string("absent", "y") == "y");
  CHECK(reader.choice("mode", {"slow", "fast"}) == 1);
  CHECK(reader.choice("absent", {"slow", "fast"}, 0) == 0);
  CHECK(reader.seed("seed") == 18446744073709551615u);

  auto inner = reader.object("inner");
  CHECK(inner.integer("a", 0, 9) == 1);
  CHECK(error_of([&] { inner.finish(); }) == where + ": 'inner': unknown field 'zzz' (known: a)");
  inner.find("zzz");
  CHECK(error_of([&] { inner.finish(); }) == "no error");
  CHECK(error_of([&] { reader.finish(); }) == "no error");

  auto const versioned = json::parse(R"({"format": "a", "version": 2})", "x");
  json::Reader format(versioned, "f.json");
  CHECK(error_of([&] { json::check_format(format, "b", 1); }) == "f.json: field 'format' must be 'b', got 'a'");
  CHECK(error_of([&] { json::check_format(format, "a", 1); }) == "f.json: field 'version' must be 1, got 2");
}

TEST_CASE("Mutated JSON never does more than throw Error")
{
  std::string const good = json::pretty(json::parse(
      R"({"format": "nasturtium-architecture", "nodes": [{"id": "c1", "kernel": [3, 3], "rate": 1.25e-3, "bias": true, "x": null}],
          "text": "é\u20ac\n"})",
      "x"));
  test::Random random(2);
  int errors = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string const bad = test::mutated(good, random);
    try {
      auto const value = json::parse(bad, "x");
      REQUIRE(json::parse(json::pretty(value), "x") == json::parse(json::compact(value), "x"));
      json::Reader reader(value, "x");
      reader.string("format");
      reader.array("nodes");
      reader.finish();
    } catch (Error const&) {
      ++errors;
    }
  }
  CHECK(errors > 10000);
}

TEST_CASE("a JSON field given twice is refused with its name and place")
{
  CHECK(error_of([] { json::parse("{\"a\": 1,\n \"a\": 2}", "x.json"); }) == "x.json:2:2: field 'a' is given twice");
  CHECK(error_of([] { json::parse(R"([{"b": {"c": "}\\\"", "\u0063" : 2}}])", "x"); }) ==
        "x:1:23: field 'c' is given twice");
  CHECK(error_of([] { json::parse(R"([{"a": {"a": "a"}, "b": ["a", "a"]}, {"a": "{\"a\": 1"}])", "x"); }) ==
        "no error");
}
