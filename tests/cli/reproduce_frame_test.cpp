// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all experiments share: plans, kills at any moment, going on, all of them in one call.
#include "process.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/json.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

using Words = std::vector<std::string>;

/// An experiment small enough to be run again and again, with the tables that hold no times.
struct Small
{
  std::string name;
  Words options, tables;
};

std::vector<Small> small_experiments()
{
  std::string const images = "synthetic:count=200:test=60:height=12:width=12:classes=3:noise=60";
  return {{"penguin",
           {"--searches", "menndl", "--datasets", images, "--networks", "5", "--epochs", "4", "--presets",
            "penguin,nasturtium", "--images", "0", "--threads", "1"},
           {"replayed.csv"}},
          {"weight-transfer",
           {"--tasks", "lenet11:" + images, "--arms", "none,lcs", "--seeds", "2", "--evaluations", "6", "--top", "1",
            "--together", "1", "--threads", "1"},
           {"scores.csv", "full.csv", "controls.csv", "ranks.csv"}},
          {"ensembles",
           {"--datasets", images, "--seeds", "1", "--trials", "9", "--deep", "2", "--served", "0", "--threads", "1"},
           {"search.csv", "quality.csv", "dominance.csv", "front.csv", "selection.csv", "planner.csv"}}};
}

Words calling(Small const& it, std::string const& out)
{
  Words words{"reproduce", it.name, "--out", out};
  words.insert(words.end(), it.options.begin(), it.options.end());
  return words;
}

} // namespace

TEST_CASE("reproduce: killed at random moments and resumed, the tables are those of a run that was not")
{
  Folder const folder;
  std::mt19937 random(11);
  for (auto const& it : small_experiments()) {
    INFO(it.name);
    Stopwatch const clock;
    auto const whole = run(calling(it, folder / (it.name + "-whole")));
    INFO(whole.err);
    REQUIRE(whole.status == 0);
    CHECK(whole.err.find("networks, at most") != std::string::npos);
    CHECK(whole.err.find("done in") != std::string::npos);
    double seconds = clock.seconds();
    std::string const cut = folder / (it.name + "-cut");
    int kills = 0;
    for (int round = 0; round < 3 || (kills == 0 && round < 20); ++round) {
      Process process(fs::exists(cut + "/call.json") ? Words{"reproduce", "--resume", cut} : calling(it, cut));
      sleep_ms(static_cast<int>(1000 * seconds * (0.15 + 0.6 * std::uniform_real_distribution<>()(random))));
      bool const running = process.running();
      process.signal(SIGKILL);
      process.wait();
      kills += running;
      if (running || kills > 0) continue;
      fs::remove_all(cut); // it was faster than the first one: again, and not as long
      seconds *= 0.7;
    }
    CHECK(kills >= 1);
    auto const last = run({"reproduce", it.name, "--resume", cut});
    INFO(last.err);
    REQUIRE(last.status == 0);
    for (auto const& table : it.tables) {
      INFO(table);
      auto const expected = read(folder / (it.name + "-whole/" + table));
      CHECK(expected.size() > 40);
      CHECK(read(cut + "/" + table) == expected);
    }
  }
}

TEST_CASE("reproduce: a plan says what it takes, and starts nothing")
{
  Folder const folder;
  for (auto it : small_experiments()) {
    INFO(it.name);
    auto words = calling(it, folder / "plan");
    words.insert(words.end(), {"--dry-run", "--json"});
    auto const result = run(words);
    INFO(result.err);
    REQUIRE(result.status == 0);
    auto const plan = json::parse(result.out, "plan");
    CHECK(plan.at("experiment").as_string() == it.name);
    CHECK(plan.at("networks").to_number<double>() > 0);
    CHECK(plan.at("epochs").to_number<double>() > 0);
    CHECK(plan.at("seconds").to_number<double>() > 0);
    CHECK(plan.at("bytes").to_number<double>() > 0);
    CHECK_FALSE(fs::exists(folder / "plan"));
  }
  auto const timing = run({"reproduce", "time-estimator", "--dry-run", "--json"});
  REQUIRE(timing.status == 0);
  CHECK(json::parse(timing.out, "plan").at("seconds").to_number<double>() > 0);
}

TEST_CASE("reproduce --resume: what cannot be gone on with is told")
{
  Folder const folder;
  folder.write("a/call.json", R"({"format": "nasturtium-experiment-call", "version": 1, "experiment": "penguin",
                                  "arguments": ["--scale", "smoke"]})");
  folder.write("b/call.json", R"({"format": "nasturtium-experiment-call", "version": 1, "experiment": "cooking",
                                  "arguments": []})");
  folder.write("c/call.json", R"({"format": "nasturtium-experiment-call", "version": 1, "experiment": "penguin",
                                  "arguments": [3]})");
  folder.write("d/call.json", R"({"format": "nasturtium-experiment-call", "version": 1, "experiment": "penguin",
                                  "arguments": ["--networks", "none"]})");
  folder.write("e/call.json", "{");
  for (auto const& [words, expected] :
       std::vector<std::pair<Words, std::string>>{{{"--resume", folder / "none"}, "call.json"},
                                                  {{"--resume"}, "--resume"},
                                                  {{"ensembles", "--resume", folder / "a"}, "penguin"},
                                                  {{"--resume", folder / "a", "--networks", "3"}, "--networks"},
                                                  {{"--resume", folder / "a", "--scale=laptop"}, "--scale"},
                                                  {{"--resume", folder / "b"}, "cooking"},
                                                  {{"--resume", folder / "c"}, "arguments"},
                                                  {{"--resume", folder / "d"}, "--networks"},
                                                  {{"--resume=" + (folder / "e")}, "call.json"},
                                                  {{}, "EXPERIMENT"},
                                                  {{"everything"}, "everything"}}) {
    Words call{"reproduce"};
    call.insert(call.end(), words.begin(), words.end());
    auto const refused = run(call);
    INFO(refused.err << " | " << expected);
    CHECK(refused.status == 2);
    CHECK(refused.err.find(expected) != std::string::npos);
  }
}

TEST_CASE("reproduce all: every experiment and one page of all")
{
  Folder const folder;
  Process cut({"reproduce", "all", "--out", folder / "all", "--threads", "1"});
  while (cut.running() && !fs::exists(folder / "all/penguin/call.json"))
    sleep_ms(5);
  cut.signal(SIGINT); // to the parent alone: its child is told, too
  auto const stopped = cut.wait();
  INFO(stopped.err);
  CHECK(stopped.status == 130);
  CHECK(stopped.err.find("--resume") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "all/weight-transfer"));
  auto const dry = run({"reproduce", "all", "--out", folder / "dry", "--dry-run", "--threads", "1"});
  INFO(dry.err);
  CHECK(dry.status == 0);
  for (char const* const name : {"penguin", "weight-transfer", "time-estimator", "ensembles"})
    CHECK(dry.err.find(std::string("== ") + name) != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "dry"));
  auto const bad = run({"reproduce", "all", "--scale", "tiny", "--out", folder / "bad"});
  CHECK(bad.status == 2);
  CHECK(bad.err.find("tiny") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "bad"));
  CHECK(run({"reproduce", "all", "--backend", "abacus"}).status == 2);
}
