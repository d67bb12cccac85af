// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium search as a user meets it: its folder, kills and Ctrl-C, workers, and what it refuses.
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/nn/weights.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

constexpr char const* data = "synthetic:count=240:test=60:height=8:width=8:classes=3:noise=60";

std::vector<std::string> searching(std::string const& out, std::vector<std::string> const& more)
{
  std::vector<std::string> words{"search",    "--space",
                                 "lenet11",   "--dataset",
                                 data,        "--validation",
                                 "0.25",      "--epochs",
                                 "8",         "--batch-size",
                                 "32",        "--optimiser",
                                 "adam",      "--learning-rate",
                                 "0.01",      "--half-epochs",
                                 "--threads", "1",
                                 "--out",     out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

json::Array journal(std::string const& folder)
{
  json::Array events;
  std::istringstream text(read(folder + "/journal.jsonl"));
  for (std::string line; std::getline(text, line);)
    if (!text.eof()) events.push_back(json::parse(line, "journal"));
  return events;
}

/// All that was decided and found out, without times: questions in their order, then what counted of reports, then the
/// answers in their order.
std::vector<std::string> decisions(std::string const& folder)
{
  std::vector<std::string> asked, told;
  std::map<std::pair<std::int64_t, double>, std::string> reports; // the last of two counts
  for (auto const& value : journal(folder)) {
    json::Object event = value.as_object();
    for (auto const* field : {"utc", "seconds", "validation_seconds", "engine_seconds"})
      event.erase(field);
    std::string const kind(event.at("event").as_string());
    if (kind == "ask") asked.push_back(json::compact(event));
    if (kind == "tell") told.push_back(json::compact(event));
    if (kind == "report")
      reports[{event.at("trial").as_int64(), event.at("epoch").to_number<double>()}] = json::compact(event);
  }
  for (auto const& [key, text] : reports)
    asked.push_back(text);
  asked.insert(asked.end(), told.begin(), told.end());
  return asked;
}

/// Rows of a table without the columns that hold times.
std::vector<std::string> rows(std::string const& path)
{
  auto reader = CsvReader::open(path);
  std::vector<std::string> result;
  while (reader.next()) {
    std::string row;
    for (std::size_t i = 0; i < reader.header().size(); ++i)
      if (reader.header()[i].find("seconds") == std::string::npos) row += reader.fields()[i] + ",";
    result.push_back(row);
  }
  return result;
}

void check_same_search(std::string const& a, std::string const& b)
{
  auto const left = decisions(a), right = decisions(b);
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i)
    CHECK(left[i] == right[i]);
  CHECK(rows(a + "/trials.csv") == rows(b + "/trials.csv"));
  auto one = rows(a + "/curves.csv"), two = rows(b + "/curves.csv");
  std::sort(one.begin(), one.end());
  std::sort(two.begin(), two.end());
  CHECK(one == two);
  CHECK(read(a + "/best/architecture.json") == read(b + "/best/architecture.json"));
  auto const weights = nn::load_weights(a + "/best/weights.h5"), others = nn::load_weights(b + "/best/weights.h5");
  REQUIRE(weights.size() == others.size());
  for (auto const& [key, tensor] : weights)
    CHECK(tensor.values == others.at(key).values);
  CHECK(read(a + "/best/model.onnx") == read(b + "/best/model.onnx"));
}

void check_refused(std::vector<std::string> const& arguments, std::vector<std::string> const& parts)
{
  auto const result = run(arguments);
  INFO(result.err);
  CHECK(result.status == 2);
  CHECK(result.err.starts_with("nasturtium: "));
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  for (auto const& part : parts) {
    INFO(part);
    CHECK(result.err.find(part) != std::string::npos);
  }
}

} // namespace

TEST_CASE("search: the folder holds all that was promised, and the numbers agree")
{
  Folder const folder;
  std::string const out = folder / "search";
  auto const result =
      run(searching(out, {"--algorithm", "random", "--predictor", "penguin", "--evaluations", "6", "--json"}));
  INFO(result.err);
  REQUIRE(result.status == 0);
  for (auto const* name : {"config.json", "provenance.json", "journal.jsonl", "curves.csv", "trials.csv",
                           "best/architecture.json", "best/weights.h5", "best/model.onnx"}) {
    INFO(name);
    CHECK(fs::file_size(out + "/" + name) > 0);
  }
  CHECK(result.err.find("6/6 candidates") != std::string::npos);
  auto const answer = json::parse(result.out, "stdout").as_object();
  CHECK(answer.at("candidates").as_int64() == 6);
  CHECK(answer.at("interrupted").as_bool() == false);
  auto trials = CsvReader::open(out + "/trials.csv");
  double epochs = 0, best = -1;
  while (trials.next()) {
    epochs += trials.number(trials.column("epochs"));
    best = std::max(best, trials.number(trials.column("fitness")));
  }
  CHECK(answer.at("epochs_used").to_number<double>() == epochs);
  CHECK(answer.at("epochs_full").to_number<double>() == 6 * 8);
  CHECK(answer.at("best").as_object().at("fitness").to_number<double>() == best);
  // Half epochs: as many rows as half epochs were trained.
  CHECK(rows(out + "/curves.csv").size() == static_cast<std::size_t>(2 * epochs));
  auto const evaluated = run({"evaluate", "--weights", out + "/best/weights.h5", "--dataset", data, "--json"});
  INFO(evaluated.err);
  REQUIRE(evaluated.status == 0);
  CHECK(100 * json::parse(evaluated.out, "stdout").as_object().at("accuracy").to_number<double>() ==
        answer.at("best").as_object().at("test_accuracy").to_number<double>());

  // A folder that holds a search is refused; one that is finished has nothing left to do.
  check_refused(searching(out, {}), {out, "--resume"});
  auto const again = run({"search", "--resume", out, "--threads", "1", "--json"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(json::parse(again.out, "stdout").as_object().at("best") == answer.at("best"));
}

TEST_CASE("search: kill -9 at any moment; the resumed search makes the same decisions")
{
  Folder const folder;
  struct Setting
  {
    std::string algorithm, predictor;
  };
  std::mt19937 random(2026);
  for (auto const& setting : {Setting{"aging", "penguin"}, Setting{"nsga-net", "a4nn"}, Setting{"evocnn", "asha"},
                              Setting{"menndl", "nasturtium"}}) {
    INFO(setting.algorithm << ", " << setting.predictor);
    std::string const whole = folder / (setting.algorithm + "-whole"), out = folder / (setting.algorithm + "-killed");
    std::vector<std::string> const options{"--algorithm", setting.algorithm, "--predictor", setting.predictor, "--seed",
                                           "7",           "--population",    "4",           "--evaluations",   "16"};
    auto const reference = run(searching(whole, options));
    INFO(reference.err);
    REQUIRE(reference.status == 0);

    auto const events = [&] {
      std::string const text = read(out + "/journal.jsonl");
      return std::count(text.begin(), text.end(), '\n');
    };
    auto const call = [&] {
      return fs::exists(out + "/config.json") ? std::vector<std::string>{"search", "--resume", out, "--threads", "1"}
                                              : searching(out, options);
    };
    int killed = 0;
    // After some more events, and then at any moment: progress, not time, so that a busy machine does as well.
    for (int attempt = 0; attempt < 8 && !fs::exists(out + "/trials.csv"); ++attempt) {
      auto const until =
          (fs::exists(out + "/journal.jsonl") ? events() : 0) + std::uniform_int_distribution<long>(1, 50)(random);
      Process process(call());
      while (process.running() && (!fs::exists(out + "/journal.jsonl") || events() < until))
        sleep_ms(1);
      sleep_ms(std::uniform_int_distribution<int>(0, 10)(random));
      process.signal(SIGKILL);
      killed += process.wait().status == -SIGKILL;
    }
    CHECK(killed >= 2);
    auto const last = run(call());
    INFO(last.err);
    REQUIRE(last.status == 0);
    check_same_search(whole, out);
  }
}

TEST_CASE("search: Ctrl-C stops at a consistent point and says how to go on")
{
  Folder const folder;
  std::string const whole = folder / "whole", out = folder / "stopped";
  std::vector<std::string> const options{"--algorithm", "menndl", "--predictor", "none", "--evaluations", "6"};
  REQUIRE(run(searching(whole, options)).status == 0);
  Process process(searching(out, options));
  while (process.running() && read(out + "/journal.jsonl").find("\"tell\"") == std::string::npos)
    sleep_ms(1);
  process.signal(SIGINT);
  auto const stopped = process.wait();
  INFO(stopped.err);
  REQUIRE(stopped.status == 130);
  CHECK(stopped.err.find("nasturtium search --resume " + out) != std::string::npos);
  check_refused({"search", "--resume", out, "--epochs", "3"}, {"--resume", "--epochs"});
  REQUIRE(run({"search", "--resume", out, "--threads", "1"}).status == 0);
  check_same_search(whole, out);
}

TEST_CASE("search: several workers answer every question once, and every network trains as with one")
{
  Folder const folder;
  std::string const one = folder / "one", two = folder / "two";
  std::vector<std::string> const options{"--algorithm", "random", "--predictor", "none", "--evaluations", "8"};
  auto more = options;
  more.insert(more.end(), {"--workers", "2"});
  REQUIRE(run(searching(one, options)).status == 0);
  auto const result = run(searching(two, more));
  INFO(result.err);
  REQUIRE(result.status == 0);
  std::string const fused = folder / "fused";
  more.push_back("--fused");
  REQUIRE(run(searching(fused, more)).status == 0);
  auto a = rows(one + "/trials.csv");
  std::sort(a.begin(), a.end());
  for (auto const& other : {two, fused}) {
    auto b = rows(other + "/trials.csv");
    std::sort(b.begin(), b.end());
    CHECK(a == b);
  }
}

TEST_CASE("search: fused workers, stopped early by the engine, make the same search every time; --resume takes --fused")
{
  Folder const folder;
  std::string const one = folder / "one", two = folder / "two";
  std::vector<std::string> const options{"--algorithm", "nsga-net-steady", "--predictor", "penguin",   "--population",
                                         "4",           "--evaluations",   "12",          "--workers", "4",
                                         "--fused"};
  auto const first = run(searching(one, options));
  INFO(first.err);
  REQUIRE(first.status == 0);
  REQUIRE(run(searching(two, options)).status == 0);
  check_same_search(one, two);
  auto trials = CsvReader::open(one + "/trials.csv");
  int stopped = 0;
  while (trials.next())
    stopped += trials.fields()[trials.column("status")] == "stopped";
  CHECK(stopped > 0);
  CHECK(run({"search", "--resume", one, "--fused"}).status == 0); // it had ended
  check_same_search(one, two);
}

TEST_CASE("search: kill -9 with several workers loses nothing")
{
  Folder const folder;
  std::string const one = folder / "one", out = folder / "killed";
  std::vector<std::string> const options{"--algorithm", "random", "--predictor", "none", "--evaluations", "20"};
  auto more = options;
  more.insert(more.end(), {"--workers", "3"});
  REQUIRE(run(searching(one, options)).status == 0);
  auto const events = [&] {
    std::string const text = read(out + "/journal.jsonl");
    return std::count(text.begin(), text.end(), '\n');
  };
  auto const call = [&] {
    return fs::exists(out + "/config.json") ? std::vector<std::string>{"search", "--resume", out, "--threads", "1"}
                                            : searching(out, more);
  };
  std::mt19937 random(7);
  int killed = 0;
  for (int attempt = 0; attempt < 5 && !fs::exists(out + "/trials.csv"); ++attempt) {
    auto const until =
        (fs::exists(out + "/journal.jsonl") ? events() : 0) + std::uniform_int_distribution<long>(20, 80)(random);
    Process process(call());
    while (process.running() && (!fs::exists(out + "/journal.jsonl") || events() < until))
      sleep_ms(1);
    process.signal(SIGKILL);
    killed += process.wait().status == -SIGKILL;
  }
  CHECK(killed >= 2);
  auto const last = run(call());
  INFO(last.err);
  REQUIRE(last.status == 0);
  // Random search asks the same whatever it is told; every network trains as with one worker.
  auto a = rows(one + "/trials.csv"), b = rows(out + "/trials.csv");
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  CHECK(a == b);
  auto c = rows(one + "/curves.csv"), d = rows(out + "/curves.csv");
  std::sort(c.begin(), c.end());
  std::sort(d.begin(), d.end());
  CHECK(c == d);
}

TEST_CASE("search: what is reported follows the rule")
{
  Folder const folder;
  for (std::string const rule : {"prediction", "last", "best"}) {
    std::string const out = folder / rule;
    auto const result = run(
        searching(out, {"--algorithm", "random", "--predictor", "penguin", "--evaluations", "5", "--fitness", rule}));
    INFO(result.err);
    REQUIRE(result.status == 0);
    auto trials = CsvReader::open(out + "/trials.csv");
    int stopped = 0;
    while (trials.next()) {
      auto const number = [&](char const* column) { return trials.number(trials.column(column)); };
      bool const early = trials.fields()[trials.column("status")] == "stopped";
      stopped += early;
      double const expected = rule == "best"                  ? number("best")
                              : rule == "prediction" && early ? std::clamp(number("prediction"), 0.0, 100.0)
                                                              : number("last");
      CHECK(number("fitness") == expected);
      CHECK((trials.fields()[trials.column("predicted")] == "1") == (rule == "prediction" && early));
      CHECK((number("epochs") < 8) == early);
    }
    CHECK(stopped > 0);
  }
}

TEST_CASE("search: an estimator orders and caps candidates, and is kept in the folder")
{
  Folder const folder;
  std::string const timings = folder / "timings", model = folder / "model.json", out = folder / "run";
  REQUIRE(run({"estimate", "evolve", "--strategy", "random", "--networks", "60", "--founders", "60", "--threads", "1",
               "--out", timings})
              .status == 0);
  REQUIRE(run({"estimate", "fit", timings + "/timings.jsonl", "--method", "log-linear", "--out", model}).status == 0);
  auto const searched = run(searching(out, {"--estimator", model, "--seconds-cap", "1000", "--workers", "2",
                                            "--algorithm", "random", "--evaluations", "6", "--json"}));
  INFO(searched.err);
  REQUIRE(searched.status == 0);
  auto const answer = json::parse(searched.out, "answer");
  CHECK(answer.at("estimate_error").to_number<double>() >= 0);
  for (auto const& value : journal(out)) {
    auto const& event = value.as_object();
    if (event.at("event") == "tell") CHECK(event.at("expected_seconds").to_number<double>() > 0);
  }
  // The file that was named is not needed to go on, or to read the folder again.
  std::filesystem::remove(model);
  CHECK(read(out + "/estimator.json").find("nasturtium-step-model") != std::string::npos);
  auto const again = run({"search", "--resume", out, "--json"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  CHECK(json::parse(again.out, "answer").at("estimate_error") == answer.at("estimate_error"));

  auto const missing = run(searching(folder / "none", {"--estimator", model}));
  CHECK(missing.status == 2);
  CHECK(missing.err.find("estimate fit") != std::string::npos);
  auto const alone = run(searching(folder / "none", {"--seconds-cap", "5"}));
  CHECK(alone.status == 2);
  CHECK(alone.err.find("--estimator") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "none"));
}

TEST_CASE("search: what is wrong is refused, and nothing is left behind")
{
  Folder const folder;
  std::string const out = folder / "search";
  auto const before = folder.listing();
  check_refused(searching(out, {"--space", "magic"}), {"magic", "lenet11"});
  check_refused(searching(out, {"--algorithm", "magic"}), {"magic", "aging"});
  check_refused(searching(out, {"--predictor", "magic"}), {"magic", "penguin"});
  check_refused(searching(out, {"--fitness", "magic"}), {"--fitness", "magic"});
  check_refused(searching(out, {"--evaluations", "0"}), {"evaluations", "0"});
  check_refused(searching(out, {"--population", "-1"}), {"population", "-1"});
  check_refused(searching(out, {"--workers", "0"}), {"workers", "0"});
  check_refused({"search", "--dataset", data, "--validation", "0.25"}, {"--out"});
  check_refused({"search", "--dataset", data, "--out", out}, {"validation"});
  check_refused({"search", "--resume", folder / "nowhere"}, {"nowhere"});
  CHECK(folder.listing() == before);
}

TEST_CASE("search: a candidate whose training loss no longer falls is stopped, by that rule alone")
{
  Folder const folder;
  std::string const out = folder / "search";
  auto const result = run(searching(out, {"--algorithm", "random", "--predictor", "none", "--evaluations", "6",
                                          "--learning-rate", "0.2", "--stale-epochs", "1"}));
  INFO(result.err);
  REQUIRE(result.status == 0);
  std::map<std::int64_t, std::vector<std::pair<double, double>>> losses; // epoch, training loss
  for (auto const& value : journal(out)) {
    json::Object const& event = value.as_object();
    if (event.at("event").as_string() == "report")
      losses[event.at("trial").as_int64()].emplace_back(event.at("epoch").to_number<double>(),
                                                        event.at("train_loss").to_number<double>());
  }
  auto trials = CsvReader::open(out + "/trials.csv");
  int stopped = 0;
  while (trials.next()) {
    if (trials.fields()[trials.column("status")] == "diverged") continue;
    bool const early = trials.fields()[trials.column("status")] == "stopped";
    stopped += early;
    double least = 1e300, least_epoch = 0, expected = 8;
    for (auto const& [epoch, loss] : losses.at(trials.integer(trials.column("trial")))) {
      if (loss < least) {
        least = loss;
        least_epoch = epoch;
      }
      if (epoch - least_epoch >= 1 && expected == 8) expected = epoch;
    }
    CHECK(trials.number(trials.column("epochs")) == expected);
    CHECK(early == (expected < 8));
    CHECK(trials.number(trials.column("fitness")) == trials.number(trials.column("last")));
    if (early) CHECK(trials.fields()[trials.column("reason")] == "the training loss has not fallen");
  }
  CHECK(stopped > 0);
}

TEST_CASE("reproduce penguin: runs, is resumed, and makes the same tables again")
{
  Folder const folder;
  std::string const out = folder / "penguin";
  std::vector<std::string> const words{"reproduce", "penguin",    "--scale", "smoke",    "--searches",
                                       "menndl",    "--networks", "4",       "--epochs", "4",
                                       "--threads", "1",          "--out",   out};
  auto dry = words;
  dry.emplace_back("--dry-run");
  CHECK(run(dry).status == 0);
  CHECK_FALSE(fs::exists(out));
  Process cut(words);
  while (cut.running() && read(out + "/menndl-synthetic/recorded/journal.jsonl").find("\"tell\"") == std::string::npos)
    sleep_ms(2);
  cut.signal(SIGKILL);
  cut.wait();
  auto const first = run(words);
  INFO(first.err);
  REQUIRE(first.status == 0);
  std::map<std::string, std::string> tables;
  for (std::string const name : {"replayed.csv", "tables.md", "live.csv"})
    tables[name] = read(out + "/" + name);
  CHECK(first.out.find("wall factor") != std::string::npos);
  CHECK(read(out + "/index.html").find("<svg") != std::string::npos);
  REQUIRE(run(words).status == 0);
  for (auto const& [name, text] : tables) {
    INFO(name);
    CHECK(read(out + "/" + name) == text);
  }
  // The report alone gives every file again, byte by byte.
  std::string const again = folder / "report";
  REQUIRE(run({"report", out, "--out", again}).status == 0);
  CHECK(read(again + "/index.html").find("<svg") != std::string::npos);
  int files = 0;
  for (auto const& entry : fs::directory_iterator(out)) {
    if (!entry.is_regular_file() || entry.path().filename() == "call.json") continue;
    ++files;
    INFO(entry.path());
    CHECK(read(entry.path().string()) == read(again + "/penguin/" + entry.path().filename().string()));
  }
  CHECK(files >= 12);
  // Every method has its row, with all four networks.
  auto reader = CsvReader::open(out + "/replayed.csv");
  std::set<std::string> methods;
  while (reader.next()) {
    methods.insert(reader.fields()[reader.column("method")]);
    if (reader.fields()[reader.column("networks")] != "") CHECK(reader.integer(reader.column("networks")) <= 4);
  }
  for (std::string const name : {"penguin", "penguin-modular", "a4nn", "nasturtium"})
    CHECK(methods.contains(name));
  // Another question in the same folder is refused.
  auto other = words;
  other[7] = "5";
  auto const refused = run(other);
  CHECK(refused.status == 2);
  CHECK(refused.err.find("evaluations") != std::string::npos);
  CHECK(run({"reproduce", "everything"}).status == 2);
  CHECK(run({"reproduce", "penguin", "--scale", "huge"}).status == 2);
}
