// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/json.hpp>

#include <catch2/catch_test_macros.hpp>

#include <signal.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

/// A table of dense layers whose time is linear in their FLOPs, faster on some devices.
std::string table(std::string const& device, double factor)
{
  std::string text = "device,activation_fct,batchsize,dim_input,dim_output,optimizer,precision,timeUsed_median,"
                     "timeUsed_min,timeUsed_std\n";
  for (int i = 0; i < 120; ++i) {
    int const batch = 1 + i % 30, in = 16 + (i * 37) % 900, out = 16 + (i * 53) % 700, optimiser = i % 7;
    double const time = factor * (0.1 + 1e-7 * batch * in * out * (optimiser == 0 ? 1 : 3));
    std::string const shown = std::to_string(time);
    text += device + "," + std::to_string(i % 4) + "," + std::to_string(batch) + "," + std::to_string(in) + "," +
            std::to_string(out) + "," + std::to_string(optimiser) + ",32," + shown + "," + shown + ",0.01\n";
  }
  return text;
}

struct Tables
{
  Folder folder;
  std::string v100 = folder.write("v100.csv", table("V100", 1)), k40 = folder.write("k40.csv", table("K40", 3)),
              k80 = folder.write("k80.csv", table("k80", 4));
};

std::vector<std::string> evaluate(std::vector<std::string> const& files, std::vector<std::string> const& more)
{
  std::vector<std::string> words{"estimate", "evaluate", "--format", "justus"};
  words.insert(words.end(), files.begin(), files.end());
  words.insert(words.end(), more.begin(), more.end());
  for (auto const& [option, value] : {std::pair{"--rows", "80"}, std::pair{"--test-rows", "40"}})
    if (std::find(more.begin(), more.end(), option) == more.end()) words.insert(words.end(), {option, value});
  return words;
}

} // namespace

TEST_CASE("estimate evaluate: methods on rows of known devices")
{
  Tables const tables;
  std::string const csv = tables.folder / "errors.csv";
  auto const words = evaluate({tables.v100, tables.k40},
                              {"--split", "random", "--method", "log-linear,nnls-roofline", "--csv", csv, "--json"});
  auto const answer = run(words);
  REQUIRE(answer.status == 0);
  auto const lines = json::parse(answer.out, "answer").as_array();
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].at("method").as_string() == "roofline");
  CHECK(lines[1].at("method").as_string() == "log-linear");
  for (auto const& line : lines) {
    CHECK(line.at("rows").as_int64() == 80);
    CHECK(line.at("p90").as_double() <= line.at("p99").as_double());
  }
  CHECK(lines[1].at("mape").as_double() < 0.5 * lines[0].at("mape").as_double());
  auto reader = CsvReader::open(csv);
  int rows = 0;
  while (reader.next())
    ++rows;
  CHECK(rows == 3);
  CHECK(reader.fields()[reader.column("method")] == "nnls-roofline");
  auto const text = run(evaluate({tables.v100}, {"--method", "log-linear"}));
  CHECK(text.status == 0);
  CHECK(text.out.find("MAPE %") != std::string::npos);
  auto const again = run(evaluate({tables.v100, tables.k40}, {"--method", "log-linear", "--seed", "1", "--json"}));
  CHECK(json::parse(again.out, "answer").as_array()[1].at("mape") == lines[1].at("mape"));
}

TEST_CASE("estimate evaluate: a device held out, with and without probes")
{
  Tables const tables;
  auto const answer = run(evaluate({tables.v100, tables.k40, tables.k80},
                                   {"--hold-out", "k80", "--probes", "0,20", "--method", "log-linear", "--json"}));
  REQUIRE(answer.status == 0);
  double without = 0, with = 0;
  auto const lines = json::parse(answer.out, "answer");
  for (auto const& line : lines.as_array()) {
    CHECK(line.at("held_out").as_string() == "k80");
    if (line.at("method").as_string() != "log-linear") continue;
    if (line.at("probes").as_int64() == 0)
      without = line.at("mape").as_double();
    else if (line.at("transfer").as_string() == "one")
      with = line.at("mape").as_double();
  }
  CHECK(with > 0);
  CHECK(with < without);
  auto const all = run(evaluate({tables.v100, tables.k40, tables.k80},
                                {"--hold-out", "all", "--probes", "0", "--method", "log-linear", "--json"}));
  CHECK(json::parse(all.out, "answer").as_array().size() == 6);
}

TEST_CASE("estimate evaluate: what it refuses leaves nothing behind")
{
  Tables const tables;
  auto const before = tables.folder.listing();
  std::string const csv = tables.folder / "errors.csv";
  auto const refused = [&](std::vector<std::string> const& files, std::vector<std::string> more,
                           std::string const& message) {
    more.insert(more.end(), {"--csv", csv});
    auto const answer = run(evaluate(files, more));
    INFO(answer.err);
    CHECK(answer.status == 2);
    CHECK(answer.out.empty());
    CHECK(answer.err.find(message) != std::string::npos);
    CHECK(tables.folder.listing() == before);
  };
  refused({tables.v100}, {"--method", "oracle"}, "--method: unknown method");
  refused({tables.v100, tables.v100}, {"--method", "log-linear"}, "the device");
  refused({tables.v100}, {"--test-rows", "90", "--method", "log-linear"}, "cannot be drawn from 120");
  refused({tables.v100}, {"--probes", "-1"}, "--probes must be >= 0, got -1");
  refused({tables.v100}, {"--hold-out", "m60"}, "--hold-out: no file is of the device");
  refused({tables.folder / "none.csv"}, {}, "none.csv");
  refused({tables.k40}, {"--rows", "many"}, "--rows must be 'all' or a number >= 1");
  CHECK(run({"estimate"}).status == 2);
}

TEST_CASE("estimate: from timings to a model to answers", "[estimate]")
{
  Folder const folder;
  std::string const timings = folder / "timings", model = folder / "model.json";
  auto const evolved = run({"estimate", "evolve", "--strategy", "random", "--networks", "80", "--founders", "80",
                            "--probes", "10", "--threads", "1", "--out", timings, "--programs"});
  INFO(evolved.err);
  REQUIRE(evolved.status == 0);
  CHECK(read(timings + "/programs/0.py").find("import torch") != std::string::npos);
  CHECK(read(timings + "/generations.csv").find("probe MAPE") != std::string::npos);
  CHECK(read(timings + "/timings.h5").starts_with("\x89HDF"));
  // The same call has nothing left to time.
  auto const archive = read(timings + "/timings.jsonl");
  REQUIRE(run({"estimate", "evolve", "--strategy", "random", "--networks", "80", "--founders", "80", "--probes", "10",
               "--threads", "1", "--out", timings})
              .status == 0);
  CHECK(read(timings + "/timings.jsonl") == archive);

  auto const none = run({"estimate", "lenet", "--model", model});
  CHECK(none.status == 2);
  CHECK(none.err.find("estimate fit") != std::string::npos);
  auto const fitted = run({"estimate", "fit", timings + "/timings.jsonl", "--method", "log-linear", "--out", model});
  INFO(fitted.err);
  REQUIRE(fitted.status == 0);

  auto const answer = run({"estimate", "lenet", "--batch", "16", "--epochs", "2", "--samples", "1000", "--risk", "0.2",
                           "--model", model, "--threads", "1", "--json"});
  INFO(answer.err);
  REQUIRE(answer.status == 0);
  auto const value = json::parse(answer.out, "answer");
  CHECK(value.at("steps") == 126); // 2 epochs of ceil(1000 / 16)
  double const step = value.at("step_seconds").to_number<double>();
  CHECK(step > 1e-6);
  CHECK(value.at("wall_time_seconds").to_number<double>() >= 126 * step * 0.5);
  CHECK(value.at("memory_bytes").to_number<double>() > 4 * 431080);
  CHECK(value.at("query_seconds").to_number<double>() < 0.1);
  auto const lines = run({"estimate", "lenet", "--batch", "16", "--epochs", "2", "--samples", "1000", "--risk", "0.2",
                          "--model", model, "--threads", "1", "--slurm"});
  CHECK(lines.status == 0);
  CHECK(lines.out.find("#SBATCH --time=") == 0);
  auto const few = run({"estimate", "lenet", "--epochs", "2", "--samples", "1000", "--risk", "0.0001", "--model", model,
                        "--threads", "1", "--slurm"});
  CHECK(few.status == 2);
  CHECK(few.err.find("9999") != std::string::npos);
  auto const unknown = run({"estimate", "lenet", "--model", model, "--device", "abacus", "--threads", "1"});
  CHECK(unknown.status == 2);
  CHECK(unknown.err.find("openmp-1") != std::string::npos);
  CHECK(run({"estimate", "lenet", "--model", model, "--batch", "0"}).status == 2);
  CHECK(run({"estimate"}).status == 2);
}

TEST_CASE("reproduce time-estimator: a small one, killed and resumed", "[estimate]")
{
  Folder const folder;
  std::string const out = folder / "run";
  std::vector<std::string> const words{"reproduce", "time-estimator", "--scale", "smoke", "--networks", "16", "--seeds",
                                       "1",         "--pool",         "60",      "--out", out};
  auto dry = words;
  dry.emplace_back("--dry-run");
  CHECK(run(dry).status == 0);
  CHECK_FALSE(fs::exists(out));
  Process cut(words);
  while (cut.running() && !fs::exists(out + "/openmp-1/pool.jsonl"))
    sleep_ms(2);
  cut.signal(SIGKILL);
  cut.wait();
  auto const done = run(words);
  INFO(done.err);
  REQUIRE(done.status == 0);
  auto reader = CsvReader::open(out + "/strategies.csv");
  int rows = 0;
  while (reader.next()) {
    ++rows;
    CHECK(reader.number(reader.column("MAPE %")) > 0);
  }
  CHECK(rows == 3 * 3 * 3 * 2); // arms, estimators, test sets, budgets
  auto const report = read(out + "/accuracy.csv");
  CHECK(report.find("layer-sum") != std::string::npos);
  REQUIRE(run(words).status == 0);
  CHECK(read(out + "/accuracy.csv") == report); // the same timings, the same fits
}
