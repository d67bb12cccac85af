// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Searches with weight transfer and the experiments, as a user meets them.
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/json.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <map>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

constexpr char const* images = "synthetic:count=240:test=60:height=12:width=12:classes=3:noise=60";

std::vector<std::string> searching(std::string const& out, std::vector<std::string> const& more)
{
  std::vector<std::string> words{"search", "--space",      "lenet11", "--dataset",       images, "--validation",
                                 "0.25",   "--epochs",     "1",       "--batch-size",    "32",   "--optimiser",
                                 "adam",   "--threads",    "1",       "--learning-rate", "0.01", "--evaluations",
                                 "16",     "--population", "5",       "--tournament",    "2",    "--out",
                                 out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

} // namespace

TEST_CASE("search --transfer: every algorithm inherits, tells what, and leaves a store that verifies")
{
  Folder const folder;
  for (std::string const algorithm : {"aging", "nsga-net", "nsga-net-steady", "evocnn", "menndl", "random"}) {
    INFO(algorithm);
    std::string const out = folder / algorithm;
    auto const result = run(searching(out, {"--algorithm", algorithm, "--transfer", "lcs", "--provider", "nearest"}));
    INFO(result.err);
    REQUIRE(result.status == 0);
    CHECK(result.out.find("warm starts") != std::string::npos);
    auto trials = CsvReader::open(out + "/trials.csv");
    int warm = 0;
    while (trials.next()) {
      auto const layers = trials.integer(trials.column("transferred_layers"));
      CHECK(layers <= trials.integer(trials.column("weighted_layers")));
      if (layers == 0) continue;
      ++warm;
      CHECK(trials.integer(trials.column("donor")) >= 0);
      CHECK(trials.number(trials.column("transferred_fraction")) > 0);
      CHECK(trials.number(trials.column("lineage_epochs")) > 1);
    }
    CHECK(warm >= 3);
    CHECK(run({"transfer", "store", "verify", "--store", out + "/store"}).status == 0);
  }
  for (auto const& [option, value] :
       {std::pair<std::string, std::string>{"--transfer", "longest"}, {"--provider", "uncle"}}) {
    auto const refused = run(searching(folder / "no", {"--transfer", "lp", option, value}));
    CHECK(refused.status == 2);
    CHECK(refused.err.find(value) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "no"));
  }
  CHECK(run(searching(folder / "no", {"--freeze"})).status == 2);
}

TEST_CASE("search --transfer: killed and resumed, it ends as if it had not been")
{
  Folder const folder;
  auto const words = [&](std::string const& name) {
    return searching(folder / name, {"--algorithm", "aging", "--transfer", "lp", "--freeze"});
  };
  REQUIRE(run(words("whole")).status == 0);
  Process cut(words("cut"));
  auto const told = [&] {
    std::string const text = read(folder / "cut/journal.jsonl");
    std::size_t count = 0;
    for (auto at = text.find("\"tell\""); at != std::string::npos; at = text.find("\"tell\"", at + 1))
      ++count;
    return count;
  };
  while (cut.running() && told() < 9)
    sleep_ms(1);
  cut.signal(SIGKILL);
  cut.wait();
  REQUIRE(run({"search", "--resume", folder / "cut", "--threads", "1"}).status == 0);
  auto whole = CsvReader::open(folder / "whole/trials.csv"), resumed = CsvReader::open(folder / "cut/trials.csv");
  while (whole.next()) {
    REQUIRE(resumed.next());
    for (char const* const column : {"trial", "genome", "fitness", "donor", "transferred_layers", "lineage_epochs"})
      CHECK(whole.fields()[whole.column(column)] == resumed.fields()[resumed.column(column)]);
  }
  CHECK(run({"transfer", "store", "verify", "--store", folder / "cut/store"}).status == 0);
}

TEST_CASE("reproduce weight-transfer: runs, goes on, and tables agree with what was run")
{
  Folder const folder;
  std::string const out = folder / "transfer";
  std::vector<std::string> const words{
      "reproduce", "weight-transfer",     "--scale",   "smoke", "--evaluations", "10", "--top", "2",
      "--arms",    "none,lcs,lcs-frozen", "--threads", "1",     "--out",         out};
  auto dry = words;
  dry.emplace_back("--dry-run");
  CHECK(run(dry).status == 0);
  CHECK_FALSE(fs::exists(out));
  Process cut(words);
  while (cut.running() && read(out + "/lenet11-synthetic/seed-1/lcs/full_training.jsonl").empty())
    sleep_ms(2);
  cut.signal(SIGKILL);
  cut.wait();
  auto const first = run(words);
  INFO(first.err);
  REQUIRE(first.status == 0);
  std::map<std::string, std::string> tables;
  for (std::string const name : {"scores.csv", "full.csv", "controls.csv", "ranks.csv"})
    tables[name] = read(out + "/" + name);
  REQUIRE(run(words).status == 0);
  for (auto const& [name, text] : tables) {
    INFO(name);
    CHECK(read(out + "/" + name) == text);
  }
  auto scores = CsvReader::open(out + "/scores.csv");
  int arms = 0;
  double none = 0;
  while (scores.next()) {
    ++arms;
    CHECK(scores.integer(scores.column("seeds")) == 2);
    if (scores.fields()[scores.column("arm")] == "none") {
      none = scores.number(scores.column("top"));
      continue;
    }
    CHECK(std::abs(scores.number(scores.column("gain of top")) - (scores.number(scores.column("top")) - none)) < 1e-9);
    CHECK(scores.number(scores.column("p")) >= 0.5 - 1e-9); // two seeds cannot say more
  }
  CHECK(arms == 3);
  auto full = CsvReader::open(out + "/full.csv");
  arms = 0;
  while (full.next()) {
    ++arms;
    CHECK(full.number(full.column("R epochs")) >= 1);
    CHECK(full.fields()[full.column("T epochs")].empty() == (full.fields()[full.column("arm")] == "none"));
  }
  CHECK(arms == 2); // variants have no second phase
  CHECK(read(out + "/index.html").find("<svg") != std::string::npos);
  auto const refused = run({"reproduce", "weight-transfer", "--tasks", "lenet11", "--out", out});
  CHECK(refused.status == 2);
  CHECK(refused.err.find("lenet11") != std::string::npos);
  CHECK(run({"reproduce", "weight-transfer", "--scale", "huge"}).status == 2);
  CHECK(run({"reproduce"}).status == 2);
}

TEST_CASE("demo: a small one writes its page, and only its own runs are replaced")
{
  Folder const folder;
  std::string const out = folder / "demo";
  std::vector<std::string> const words{"demo", "--networks", "3", "--epochs", "2",     "--images",
                                       "240",  "--threads",  "1", "--json",   "--out", out};
  auto const first = run(words);
  if (first.status == 2 && first.err.find("Fashion-MNIST") != std::string::npos) SKIP("no Fashion-MNIST here");
  INFO(first.err);
  REQUIRE(first.status == 0);
  auto const answer = json::parse(first.out, "demo");
  CHECK(answer.at("replayed").as_string().find("nasturtium") != std::string::npos);
  CHECK(read(out + "/index.html").find("menndl on fashion-mnist") != std::string::npos);
  CHECK(run(words).status == 0); // a finished one is done afresh
  std::string const other = folder / "other";
  fs::create_directories(other + "/menndl-fashion-mnist");
  REQUIRE(run(searching(other + "/menndl-fashion-mnist/recorded", {"--algorithm", "random"})).status == 0);
  auto taken = words;
  taken.back() = other;
  auto const refused = run(taken);
  CHECK(refused.status == 2);
  CHECK(refused.err.find("not the demo's") != std::string::npos);
  CHECK(fs::exists(other + "/menndl-fashion-mnist/recorded/trials.csv"));
}
