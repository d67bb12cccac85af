// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/ensemble/deployment.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using nasturtium::test::error_of;

namespace {

Deployment small_deployment()
{
  Deployment made;
  made.library = "library";
  made.members = {{"a", 0.25}, {"b", 0.75}};
  made.temperature = 1.5;
  made.height = 4;
  made.width = 5;
  made.channels = 2;
  made.classes = 3;
  made.class_names = {"cat", "dog", "\"quoted\""};
  made.moments = {{1.5F, 2.25F}, {0.1F, 3.0F}};
  ServingDevice left, right;
  left.name = "left";
  left.threads = 2;
  left.cores = {0, 1};
  right.name = "right";
  made.devices = {left, right};
  made.segment_size = 64;
  made.plan.devices = {"left", "right"};
  made.plan.models = {"a", "b"};
  made.plan.allocation = Allocation(2, 2);
  made.plan.allocation.at(0, 0) = 8;
  made.plan.allocation.at(1, 1) = 32;
  made.plan.throughput = 1000.125;
  made.plan.segment_throughput = 900;
  made.plan.latency_seconds = 0.01;
  return made;
}

/// The small deployment with a piece of its text replaced.
std::string message_for(std::string const& from, std::string const& to)
{
  std::string text = to_json(small_deployment());
  auto const at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  return error_of([&] { parse_deployment(text, "d.json"); });
}

} // namespace

TEST_CASE("deployment: written and read, nothing is lost", "[deployment]")
{
  auto const made = small_deployment();
  auto const read = parse_deployment(to_json(made), "d.json");
  CHECK(read.library == made.library);
  CHECK(read.members == made.members);
  CHECK(read.temperature == made.temperature);
  CHECK(read.height == 4);
  CHECK(read.width == 5);
  CHECK(read.channels == 2);
  CHECK(read.classes == 3);
  CHECK(read.class_names == made.class_names);
  CHECK(read.moments.mean == made.moments.mean);
  CHECK(read.moments.deviation == made.moments.deviation);
  CHECK(read.devices[0].name == "left");
  CHECK(read.devices[0].threads == 2);
  CHECK(read.devices[0].cores == made.devices[0].cores);
  CHECK(read.devices[1].backend == made.devices[1].backend);
  CHECK(read.segment_size == 64);
  CHECK(read.plan.allocation == made.plan.allocation);
  CHECK(to_json(read) == to_json(made));
}

TEST_CASE("deployment: what does not fit together is told with file and field", "[deployment]")
{
  for (auto const& [from, to, expected] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"\"version\": 1,\n  \"library\"", "\"version\": 2,\n  \"library\"", "version"},
           {"nasturtium-ensemble-deployment", "nasturtium-ensemble-front", "nasturtium-ensemble-front"},
           {"\"library\": \"library\"", "\"library\": \"\"", "library"},
           {"\"id\": \"a\"", "\"id\": \"c\"", "\"c\""},
           {"\"id\": \"a\"", "\"id\": \"../a\"", "../a"},
           {"0.25", "0", "weight"},
           {"0.25", "-1", "weight"},
           {"\"temperature\": 1.5", "\"temperature\": 0", "temperature"},
           {"\"height\": 4", "\"height\": 0", "height"},
           {"\"width\": 5", "\"width\": 2.5", "width"},
           {"\"channels\": 2", "\"channels\": 3", "mean"},
           {"\"classes\": 3", "\"classes\": 1", "classes"},
           {"\"classes\": 3", "\"classes\": 4", "class_names"},
           {"\"dog\"", "7", "class_names"},
           {"\"name\": \"left\"", "\"name\": \"middle\"", "middle"},
           {"\"threads\": 2", "\"threads\": 0", "threads"},
           {"\"cores\": [0, 1]", "\"cores\": [0, -1]", "cores"},
           {"\"segment_size\": 64", "\"segment_size\": 0", "segment_size"},
           {"\"segment_size\": 64", "\"segment_size\": 64, \"colour\": 1", "colour"},
           {"\"backend\": \"", "\"backend\": \"x", "backend"}}) {
    auto const message = message_for(from, to);
    INFO(message << " | " << expected);
    CHECK(message.find("d.json") != std::string::npos);
    CHECK(message.find(expected) != std::string::npos);
  }
  auto missing = small_deployment();
  missing.library = "/nowhere/at/all";
  CHECK(error_of([&] { load_models(missing); }).find("/nowhere/at/all") != std::string::npos);
  CHECK(error_of([] { load_deployment("/nowhere.json"); }).find("/nowhere.json") != std::string::npos);
}

TEST_CASE("deployment: a relative library is taken from the folder of the file", "[deployment]")
{
  test::TemporaryFolder const folder;
  auto made = small_deployment();
  write_file(folder / "d.json", to_json(made));
  CHECK(load_deployment(folder / "d.json").library == folder / "library");
  made.library = "/absolute/library";
  write_file(folder / "e.json", to_json(made));
  CHECK(load_deployment(folder / "e.json").library == "/absolute/library");
}

TEST_CASE("deployment: mutated files are read or refused, never worse", "[deployment][fuzz]")
{
  std::string const text = to_json(small_deployment());
  test::Random random(5);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string mutated = text;
    for (int change = 0; change < 1 + static_cast<int>(random.below(3)); ++change) {
      std::size_t const at = random.below(static_cast<std::uint32_t>(mutated.size()));
      switch (random.below(3)) {
      case 0:
        mutated[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        mutated.erase(at, 1 + random.below(20));
        break;
      default:
        mutated.insert(at, text.substr(random.below(static_cast<std::uint32_t>(text.size())), random.below(30)));
      }
      if (mutated.empty()) mutated = " ";
    }
    try {
      auto const read = parse_deployment(mutated, "d.json");
      CHECK(read.members.size() == read.plan.models.size());
      CHECK(read.devices.size() == read.plan.devices.size());
    } catch (Error const& error) {
      CHECK(std::string(error.what()).starts_with("d.json"));
      ++refused;
    }
  }
  CHECK(refused > 2000);
}
