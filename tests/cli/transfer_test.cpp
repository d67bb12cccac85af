// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium transfer as a user meets it.
#include "process.hpp"

#include <nasturtium/core/json.hpp>
#include <nasturtium/nas/matching.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

std::string network(int first_filters, std::string const& id)
{
  return R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 8, "width": 8, "channels": 1},
    "nodes": [{"id": ")" +
         id + R"(", "op": "conv2d", "filters": )" + std::to_string(first_filters) +
         R"(, "kernel": 3, "inputs": ["input"]},
      {"id": "g", "op": "global_avg_pool", "inputs": [")" +
         id + R"("]},
      {"id": "d", "op": "dense", "units": 7, "inputs": ["g"]}, {"id": "r", "op": "relu", "inputs": ["d"]},
      {"id": "h", "op": "dense", "units": 3, "inputs": ["r"]}], "output": {"classes": 3}})";
}

void check_refused(std::vector<std::string> const& arguments, std::string const& message)
{
  auto const result = run(arguments);
  CHECK(result.status == 2);
  CHECK(result.out.empty());
  CHECK(result.err == "nasturtium: " + message + "\n");
}

} // namespace

TEST_CASE("transfer match: the alignment as a table and as JSON")
{
  Folder const folder;
  std::string const donor = folder.write("a.json", network(4, "c"));
  std::string const child = folder.write("b.json", network(5, std::string(128, 'c')));
  auto const table = run({"transfer", "match", donor, child});
  CHECK(table.status == 0);
  CHECK(table.err.empty());
  CHECK(table.out == "donor layer  child layer               shape    bytes\n"
                     "-----------  ------------------------  -------  -----\n"
                     "-            ccccccccccccccccccccc...  3x3x1x5    200\n"
                     "-            d                         5x7        168\n"
                     "h            h                         7x3         96\n"
                     "\n"
                     "layers filled      1 of 3 (33.3 %)\n"
                     "bytes filled       96 of 464 (20.7 %)\n"
                     "parameters filled  24 of 116 (20.7 %)\n");

  auto const answer = run({"transfer", "match", donor, child, "--json"});
  CHECK(answer.status == 0);
  json::Object const object = json::parse(answer.out, "answer").as_object();
  CHECK(object.at("matched") == 1);
  CHECK(object.at("weighted_layers") == 3);
  CHECK(object.at("bytes") == 96);
  CHECK(object.at("pairs") == json::parse(R"([["h", "h"]])", "expected"));
  CHECK(object.at("policy") == "lcs");
  auto const prefix = run({"transfer", "match", donor, child, "--json", "--policy", "lp"});
  CHECK(json::parse(prefix.out, "answer").as_object().at("pairs") == json::Array());
}

TEST_CASE("transfer match: networks of the zoo, every policy, at most 80 columns")
{
  for (auto const* const matcher : {"lp", "lcs", "exact-prefix", "lcs-bytes"})
    for (auto const* const norm : {"element", "fused", "ignore"}) {
      INFO(matcher << ' ' << norm);
      auto const result = run(
          {"transfer", "match", "vgg32", "resnet20", "--policy", matcher, "--batch-norm", norm, "--element", "kernel"});
      CHECK(result.status == 0);
      std::istringstream text(result.out);
      std::size_t widest = 0, count = 0;
      for (std::string line; std::getline(text, line); ++count)
        widest = std::max(widest, line.size());
      CHECK(widest <= 80);
      CHECK(count > 20);
    }
}

TEST_CASE("transfer: what it refuses")
{
  Folder const folder;
  std::string const good = folder.write("a.json", network(4, "c"));
  std::string const bad = folder.write("b.json", network(0, "c"));
  std::string const end = " (nasturtium transfer --help lists the options)";
  check_refused({"transfer"}, "A subcommand is required" + end);
  check_refused({"transfer", "match", good}, "CHILD is required" + end);
  check_refused({"transfer", "match", good, good, "--policy", "LP"},
                "--policy: must be one of lp|lcs|exact-prefix|lcs-bytes, got 'LP'" + end);
  check_refused({"transfer", "match", bad, good}, bad + ": node 'c': field 'filters' must be in [1, 1048576], got 0");
  check_refused({"transfer", "match", good, folder / "none.json"}, folder / "none.json" + ": no such file");
}
