// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a search to a front of ensembles, as a user meets it.
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/ensemble/deployment.hpp>
#include <nasturtium/ensemble/front_report.hpp>
#include <nasturtium/ensemble/model_library.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <map>
#include <set>
#include <tuple>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

constexpr char const* images = "synthetic:count=500:test=120:height=10:width=10:classes=6:noise=64";

std::vector<std::string> searching(std::string const& out, std::vector<std::string> const& more = {})
{
  std::vector<std::string> words{
      "ensemble", "search", "--dataset", images, "--validation", "0.4", "--space", "residual-narrow",
      "--trials", "14",     "--epochs",  "9",    "--threads",    "1",   "--out",   out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

json::Value parsed(std::string const& text)
{
  return json::parse(text, "output");
}

/// What a front says, without the measured seconds.
std::string front_of(std::string const& folder)
{
  auto report = ensemble::read_front_json(folder + "/front.json");
  for (auto& entry : report.entries)
    entry.costs.erase("seconds");
  ensemble::write_front_json(folder + "/timeless.json", report);
  return read(folder + "/timeless.json");
}

} // namespace

TEST_CASE("ensemble search: every network that a search pauses is in its library")
{
  Folder const folder;
  auto const result = run(searching(folder / "run"));
  INFO(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.err.find("library: ") != std::string::npos);
  auto const library = ensemble::ModelLibrary::open(folder / "run/library");
  CHECK(library.verify().empty());
  auto const models = library.list();
  std::set<std::string> checkpoints, published;
  for (auto const& entry : fs::recursive_directory_iterator(folder / "run/trials"))
    if (entry.path().extension() == ".h5") checkpoints.insert(entry.path().string());
  for (auto const& model : models) {
    published.insert(model.id);
    CHECK(model.parameters > 0);
    CHECK(model.paused == (model.epochs < 9));
    CHECK(library.logits(model, ensemble::Split::test).size() == 120 * 6);
  }
  CHECK(models.size() == checkpoints.size());
  CHECK(published.count("t0013-r0") == 1);
  CHECK(library.splits().select.size() == 120);
  CHECK(library.splits().check.size() == 80);

  SECTION("the front is ordered, and what is taken from it is what was asked for")
  {
    auto const selected = run({"ensemble", "select", folder / "run", "--threads", "1", "--take", "best", "--compare"});
    INFO(selected.err);
    REQUIRE(selected.status == 0);
    CHECK(selected.out.find("knee") != std::string::npos);
    CHECK(selected.out.find("caruana-25") != std::string::npos);
    auto const front = ensemble::read_front_json(folder / "run/front.json");
    REQUIRE(front.entries.size() >= 2);
    CHECK(front.cost_axis == "flops");
    for (std::size_t i = 1; i < front.entries.size(); ++i) {
      CHECK(front.entries[i].costs.at("flops") > front.entries[i - 1].costs.at("flops"));
      CHECK(front.entries[i].loss < front.entries[i - 1].loss);
    }
    for (auto const& entry : front.entries)
      for (auto const& member : entry.members)
        CHECK(published.count(member.id) == 1);
    CHECK(ensemble::read_front_csv(folder / "run/front.csv").size() == front.entries.size());
    auto const taken = [&](std::string const& what) {
      auto const answer = run({"ensemble", "select", folder / "run", "--take", what, "--json", "--threads", "1"});
      INFO(answer.err);
      REQUIRE(answer.status == 0);
      return static_cast<std::size_t>(parsed(answer.out).at("taken").as_int64() - 1);
    };
    CHECK(taken("best") == front.entries.size() - 1);
    CHECK(taken("cheapest") == 0);
    CHECK(taken("2") == 1);
    double const budget = front.entries[1].costs.at("flops");
    CHECK(taken("under:" + std::to_string(budget + 1)) == 1);
    double const accuracy = front.entries.back().check.accuracy;
    auto const above = taken("above:" + std::to_string(100 * accuracy - 1e-3));
    CHECK(front.entries[above].check.accuracy >= accuracy - 1e-6);
    for (std::size_t i = 0; i < above; ++i)
      CHECK(front.entries[i].check.accuracy < accuracy);
  }

  SECTION("a plan is made, measured, and held against simpler ways")
  {
    REQUIRE(run({"ensemble", "select", folder / "run", "--threads", "1"}).status == 0);
    auto const planned = run({"ensemble", "plan", folder / "run", "--take", "best", "--batches", "1,16", "--seconds",
                              "0.002", "--samples", "300", "--rounds", "2"});
    INFO(planned.err);
    REQUIRE(planned.status == 0);
    CHECK(planned.out.find("samples/s") != std::string::npos);
    auto const front = ensemble::read_front_json(folder / "run/front.json");
    auto const deployment = ensemble::load_deployment(folder / "run/deployment.json");
    REQUIRE(deployment.members.size() == front.entries.back().members.size());
    for (std::size_t i = 0; i < deployment.members.size(); ++i) {
      CHECK(deployment.members[i].id == front.entries.back().members[i].id);
      CHECK(deployment.members[i].weight == front.entries.back().members[i].weight);
    }
    CHECK(deployment.temperature == front.entries.back().temperature);
    CHECK(deployment.classes == 6);
    CHECK(deployment.moments.mean.size() == 1);
    CHECK(ensemble::load_models(deployment).size() == deployment.members.size());

    auto const bench = run({"ensemble", "bench", folder / "run", "--samples", "300", "--rounds", "2", "--json", "--csv",
                            folder / "serving.csv", "--timeline", folder / "serving.svg"});
    INFO(bench.err);
    REQUIRE(bench.status == 0);
    auto const said = parsed(bench.out);
    CHECK(said.at("fixed_order_equal").as_bool());
    CHECK(said.at("largest_difference").to_number<double>() < 1e-6);
    auto table = CsvReader::open(folder / "serving.csv");
    int rows = 0;
    while (table.next()) {
      ++rows;
      CHECK(table.number(table.column("samples/s")) > 0);
    }
    CHECK(rows == 5);
    CHECK(read_file(folder / "serving.svg").find("cells are at work") != std::string::npos);

    auto const again = run({"ensemble", "plan", folder / "run", "--take", "best", "--samples", "0", "--profile",
                            folder / "run/profile.json", "--out", folder / "again", "--json"});
    INFO(again.err);
    CHECK(again.status == 0);
    CHECK(ensemble::load_models(ensemble::load_deployment(folder / "again/deployment.json")).size() ==
          deployment.members.size());
    for (auto const& [more, status, expected] : std::vector<std::tuple<std::vector<std::string>, int, std::string>>{
             {{"--devices", "9999"}, 2, "9999"},
             {{"--devices", "fast"}, 2, "fast"},
             {{"--batches", "8,4"}, 2, "batches"},
             {{"--objective", "latency"}, 2, "--latency"},
             {{"--objective", "cheap"}, 2, "cheap"},
             {{"--host-memory", "0.0000001"}, 1, "model-too-large"},
             {{"--profile", folder / "run/front.json"}, 2, "front.json"},
             {{"--objective", "latency", "--latency", "0.000001"}, 1, "bound"}}) {
      std::vector<std::string> call{"ensemble", "plan",      folder / "run",    "--take",
                                    "best",     "--seconds", "0.001",           "--samples",
                                    "0",        "--out",     folder / "refused"};
      call.insert(call.end(), more.begin(), more.end());
      auto const refused = run(call);
      INFO(refused.err << " | " << expected);
      CHECK(refused.status == status);
      CHECK(refused.err.find(expected) != std::string::npos);
      CHECK_FALSE(fs::exists(folder / "refused/deployment.json"));
    }
  }

  SECTION("complete networks alone, other axes, another place")
  {
    auto const complete = run({"ensemble", "select", folder / "run/library", "--complete-only", "--cost", "parameters",
                               "--objective", "brier", "--out", folder / "elsewhere", "--threads", "1"});
    INFO(complete.err);
    int count = 0;
    for (auto const& model : models)
      count += !model.paused;
    if (count > 0) {
      REQUIRE(complete.status == 0);
      auto const front = ensemble::read_front_json(folder / "elsewhere/front.json");
      CHECK(front.pool_models == count);
      CHECK(front.cost_axis == "parameters");
      CHECK(front.objective == "brier");
    } else {
      CHECK(complete.status == 2);
    }
    CHECK_FALSE(fs::exists(folder / "run/library/front.json"));
  }

  SECTION("bad input is told, and nothing is written")
  {
    std::string const out = folder / "run";
    for (auto const& [words, expected] : std::vector<std::pair<std::vector<std::string>, std::string>>{
             {{"select", folder / "none"}, "none"},
             {{"select", folder / "run/trials"}, "holds no library"},
             {{"select", out, "--preset", "best-of"}, "best-of"},
             {{"select", out, "--cost", "euros"}, "euros"},
             {{"select", out, "--take", "0"}, "--take"},
             {{"select", out, "--take", "99"}, "99"},
             {{"select", out, "--take", "under:1"}, "the cheapest costs"},
             {{"select", out, "--take", "above:101"}, "most accurate"},
             {{"select", out, "--take", "under:cheap"}, "under:"},
             {{"select", out, "--take", "anything"}, "anything"},
             {{"select", out, "--picks", "0"}, "picks"},
             {{"select", out, "--objective", "accuracy"}, "accuracy"},
             {{"choose", out}, "choose"}}) {
      std::vector<std::string> call{"ensemble"};
      call.insert(call.end(), words.begin(), words.end());
      auto const refused = run(call);
      INFO(refused.err << " | " << expected);
      CHECK(refused.status == 2);
      CHECK(refused.err.find(expected) != std::string::npos);
    }
    CHECK_FALSE(fs::exists(folder / "run/front.json"));
  }
}

TEST_CASE("ensemble search: killed and resumed, the library is the one of a search that was not")
{
  Folder const folder;
  REQUIRE(run(searching(folder / "whole")).status == 0);
  Process first(searching(folder / "cut"));
  int kills = 0;
  auto const kill_after = [&](Process& process, std::size_t models) {
    auto const count = [&] {
      std::error_code none;
      std::size_t found = 0;
      for (auto it = fs::directory_iterator(folder / "cut/library/models", none); !none && it != fs::end(it); ++it)
        ++found;
      return found;
    };
    while (process.running() && count() < models)
      sleep_ms(2);
    if (!process.running()) return;
    process.signal(SIGKILL);
    kills += process.wait().status == -SIGKILL;
  };
  kill_after(first, 3);
  for (std::size_t const models : {7, 12}) {
    Process again({"ensemble", "search", "--resume", folder / "cut", "--threads", "1"});
    kill_after(again, models);
  }
  CHECK(kills >= 1);
  auto const last = run({"ensemble", "search", "--resume", folder / "cut", "--threads", "1"});
  INFO(last.err);
  REQUIRE(last.status == 0);
  auto const whole = ensemble::ModelLibrary::open(folder / "whole/library"),
             cut = ensemble::ModelLibrary::open(folder / "cut/library");
  auto const left = whole.list(), right = cut.list();
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    CHECK(left[i].id == right[i].id);
    CHECK(whole.logits(left[i], ensemble::Split::check) == cut.logits(right[i], ensemble::Split::check));
  }
  CHECK(cut.verify().empty());
  for (char const* const name : {"whole", "cut"})
    REQUIRE(run({"ensemble", "select", folder / name, "--threads", "1"}).status == 0);
  CHECK(front_of(folder / "whole") == front_of(folder / "cut"));
  CHECK(read(folder / "whole/trials.csv") == read(folder / "cut/trials.csv"));
}

TEST_CASE("ensemble search: presets, a plan without training, and what cannot be")
{
  Folder const folder;
  auto const dry = run(searching(folder / "dry", {"--dry-run"}));
  CHECK(dry.status == 0);
  CHECK(dry.err.find("14 trials") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "dry"));
  auto const hyperband = run({"ensemble",     "search",
                              "--dataset",    images,
                              "--validation", "0.4",
                              "--space",      "residual-narrow",
                              "--preset",     "hyperband",
                              "--trials",     "0",
                              "--epochs",     "3",
                              "--threads",    "1",
                              "--last-only",  "--logits",
                              "float32",      "--json",
                              "--out",        folder / "hyperband"});
  INFO(hyperband.err);
  REQUIRE(hyperband.status == 0);
  CHECK(parsed(hyperband.out).at("trials").as_int64() == 5); // brackets of 3 and 2 for R = 3, eta = 3
  CHECK(ensemble::ModelLibrary::open(folder / "hyperband/library").precision() == ensemble::LogitPrecision::float32);
  for (auto const& [more, expected] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{{{"--preset", "asha"}, "asha"},
                                                                     {{"--rank", "time"}, "time"},
                                                                     {{"--eta", "1"}, "eta"},
                                                                     {{"--trials", "-3"}, "-3"},
                                                                     {{"--space", "lenet11"}, "lenet11"},
                                                                     {{"--logits", "int8"}, "int8"},
                                                                     {{"--objective", "speed"}, "speed"},
                                                                     {{"--workers", "0"}, "workers"},
                                                                     {{"--validation", "0"}, "validation"},
                                                                     {{"--quota", "-1"}, "quota"}}) {
    auto const refused = run(searching(folder / "no", more));
    INFO(refused.err << " | " << expected);
    CHECK(refused.status == 2);
    CHECK(refused.err.find(expected) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "no"));
  }
}

TEST_CASE("reproduce ensembles: runs, goes on, and tables agree with what was run")
{
  Folder const folder;
  std::vector<std::string> const call{"reproduce", "ensembles", "--scale",   "smoke", "--datasets", images,
                                      "--trials",  "12",        "--seeds",   "2",     "--deep",     "2",
                                      "--served",  "1",         "--threads", "1",     "--out",      folder / "out"};
  Process cut(call);
  while (cut.running() && !fs::exists(folder / "out/synthetic/seed-1/asha-loss"))
    sleep_ms(2);
  cut.signal(SIGKILL);
  cut.wait();
  auto const result = run(call);
  INFO(result.err);
  REQUIRE(result.status == 0);
  std::map<std::string, std::string> tables;
  for (char const* const name : {"search", "quality", "dominance", "front", "selection", "planner"})
    tables[name] = read(folder / ("out/" + std::string(name) + ".csv"));
  auto search = CsvReader::open(folder / "out/search.csv");
  std::map<std::string, double> epochs;
  while (search.next())
    epochs[search.fields()[search.column("search")]] = search.number(search.column("epochs"));
  CHECK(epochs.size() == 3);
  CHECK(epochs["random"] == 36);
  auto quality = CsvReader::open(folder / "out/quality.csv");
  std::map<std::string, double> losses;
  while (quality.next())
    losses[quality.fields()[quality.column("ensemble")]] = quality.number(quality.column("calibrated NLL"));
  CHECK(losses.count("best single") == 1);
  CHECK(losses.count("deep ensemble of 2") == 1);
  auto selection = CsvReader::open(folder / "out/selection.csv");
  while (selection.next())
    if (selection.fields()[selection.column("preset")] == "front")
      CHECK(selection.number(selection.column("select, worst")) >= 0.97);
  auto planner = CsvReader::open(folder / "out/planner.csv");
  while (planner.next())
    CHECK(planner.number(planner.column("mean gap %")) <= 3);
  for (auto const& [name, text] : tables) {
    INFO(name);
    CHECK(text.size() > 50);
  }
  auto const again = run(call);
  REQUIRE(again.status == 0);
  for (auto const& [name, text] : tables)
    CHECK(read(folder / ("out/" + name + ".csv")) == text);
  CHECK(run({"report", folder / "out", "--out", folder / "page"}).status == 0);
  CHECK(read(folder / "page/index.html").find("Searches at equal epochs") != std::string::npos);
}
