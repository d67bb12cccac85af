// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/json.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdlib>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

// The output of a shell command, and its exit status.
Finished shell(std::string const& command)
{
  Folder const folder;
  Finished finished;
  int const raw = std::system(("(" + command + ") >" + (folder / "out") + " 2>" + (folder / "err")).c_str());
  finished.status = WIFEXITED(raw) ? WEXITSTATUS(raw) : -1;
  finished.out = read(folder / "out");
  finished.err = read(folder / "err");
  return finished;
}

// Forty networks of different quality over ten epochs; the ninth diverges, the tenth is cut off.
std::string curves()
{
  std::string text = "id,epoch,value,learning_rate\n";
  for (int network = 0; network < 40; ++network) {
    double const top = 50 + (network * 17) % 40;
    int const last = network == 9 ? 5 : 10;
    for (int epoch = 1; epoch <= last; ++epoch) {
      bool const diverged = network == 8 && epoch >= 4;
      text +=
          "net" + std::to_string(network) + "," + std::to_string(epoch) + "," +
          (diverged ? "nan" : std::to_string(top * (1 - std::exp(-0.5 * epoch)) + 0.3 * std::sin(network + epoch))) +
          ",0.1\n";
    }
  }
  return text;
}

std::vector<json::Value> lines(std::string const& text)
{
  std::vector<json::Value> values;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    values.push_back(json::parse(line, "reply"));
  return values;
}

} // namespace

TEST_CASE("predict: rows, trace and summary of every preset")
{
  Folder const folder;
  std::string const file = folder.write("curves.csv", curves()), out = folder / "out.csv", trace = folder / "trace.csv";
  for (std::string const preset :
       {"penguin", "penguin-modular", "a4nn", "nasturtium", "constant", "last-value", "best-so-far", "i-epoch",
        "median", "halving", "asha", "domhan", "ridge", "svr", "train-loss-sum", "none"}) {
    auto const result = run({"predict", "--preset", preset, "--format", "csv", file, "--out", out, "--trace", trace});
    INFO(preset << ": " << result.err);
    REQUIRE(result.status == 0);
    CHECK(result.out.find("best so far, same stops") != std::string::npos);
    CHECK(result.out.find("halving, eta 3") != std::string::npos);
    auto rows = CsvReader::open(out);
    CHECK(rows.header() == std::vector<std::string>{"id", "points", "stop_epoch", "converged", "prediction", "lower_90",
                                                    "upper_90", "final"});
    std::size_t count = 0, points = 0, observations = 0;
    while (rows.next()) {
      auto const& fields = rows.fields();
      CHECK(fields[0] == "net" + std::to_string(count));
      CHECK(fields[7].empty() == (count == 8 || count == 9)); // diverged and cut off: no final value
      points += static_cast<std::size_t>(rows.integer(1));
      for (auto const& field : fields)
        CHECK(field.find("nan") == std::string::npos);
      ++count;
    }
    CHECK(count == 40);
    auto steps = CsvReader::open(trace);
    CHECK(steps.header() ==
          std::vector<std::string>{"id", "epoch", "value", "prediction", "lower_90", "upper_90", "p_beat", "decision"});
    while (steps.next())
      ++observations;
    CHECK(observations == points);
  }
}

TEST_CASE("predict: JSON has everything, and the rows go to stdout without --out")
{
  Folder const folder;
  std::string const file = folder.write("curves.csv", curves());
  auto const result = run({"predict", "--format", "csv", file, "--json", "--set", "min_finished=5"});
  INFO(result.err);
  REQUIRE(result.status == 0);
  auto const value = json::parse(result.out, "stdout");
  CHECK(value.at("settings").at("min_finished").as_int64() == 5);
  CHECK(value.at("curves").as_array().size() == 40);
  CHECK(value.at("curves").as_array()[9].at("final").is_null());
  CHECK(value.at("summary").as_array().size() == 7);
  CHECK(value.at("summary").as_array()[0].at("epochs_saved").as_double() > 0.3);
  CHECK(value.at("summary").as_array()[0].at("networks").as_int64() == 38);
  auto const plain = run({"predict", "--format", "csv", file, "--preset", "none"});
  CHECK(plain.out.starts_with("id,points,stop_epoch,converged,prediction,lower_90,upper_90,final\nnet0,10,10,false,"));
}

TEST_CASE("predict: what is wrong is one line and status 2")
{
  Folder const folder;
  std::string const file = folder.write("curves.csv", curves());
  std::string const torn = folder.write("torn.csv", "id,epoch,value\na,2,1\na,1,2\n");
  struct Case
  {
    std::vector<std::string> arguments;
    std::string expected;
  };
  for (auto const& [arguments, expected] :
       std::vector<Case>{{{"--format", "csv"}, "no FILE"},
                         {{file}, "--format"},
                         {{"--format", "xml", file}, "xml"},
                         {{"--format", "csv", "--preset", "oracle", file}, "oracle"},
                         {{"--format", "csv", folder / "absent.csv"}, "absent.csv"},
                         {{"--format", "csv", torn}, "torn.csv:3"},
                         {{"--format", "csv", file, file}, "also in"},
                         {{"--format", "a4nn", file}, "train_accs"},
                         {{"--format", "csv", "--set", "tolerance", file}, "KEY=VALUE"},
                         {{"--format", "csv", "--set", "tolerence=1", file}, "tolerence"},
                         {{"--format", "csv", "--set", "eta=0.5", file}, "eta"},
                         {{"--format", "csv", "--e-pred", "-1", file}, "--e-pred"},
                         {{"--format", "csv", "--out", folder / "no/where.csv", file}, "where.csv"},
                         {{"--stream", file}, "--stream"}}) {
    std::vector<std::string> call{"predict"};
    call.insert(call.end(), arguments.begin(), arguments.end());
    auto const result = run(call);
    INFO(expected << ": " << result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find(expected) != std::string::npos);
  }
  CHECK(folder.listing() == std::set<std::string>{"curves.csv", "torn.csv"});
}

TEST_CASE("predict: the stream answers every line and survives bad ones")
{
  Folder const folder;
  std::string const requests =
      folder.write("requests", "{\"op\":\"configure\",\"preset\":\"a4nn\",\"e_pred\":25,\"tolerance\":0.4}\n"
                               "{\"op\":\"observe\",\"id\":\"n7\",\"epoch\":1,\"value\":41.2}\n"
                               "no JSON\n"
                               "\n"
                               "{\"op\":\"observe\",\"id\":\"n7\",\"epoch\":1,\"value\":41.2}\n"
                               "{\"op\":\"observe\",\"id\":7,\"epoch\":1,\"value\":141.2}\n"
                               "{\"op\":\"observe\",\"id\":\"n7\",\"epoch\":2,\"value\":50,\"colour\":1}\n"
                               "{\"op\":\"observe\",\"id\":\"n7\",\"epoch\":2,\"value\":50,\"train_loss\":null}\n"
                               "[1]\n"
                               "{\"op\":\"fly\"}\n"
                               "{\"op\":\"finish\",\"id\":\"n7\"}\n"
                               "{\"op\":\"finish\",\"id\":\"n7\"}\n"
                               "{\"op\":\"configure\",\"tolerance\":-1}\n"
                               "{\"op\":\"configure\",\"preset\":\"last-value\",\"unit\":\"fraction\"}\n"
                               "{\"op\":\"observe\",\"id\":\"n7\",\"epoch\":1,\"value\":0.5}\n"
                               "{\"op\":\"review\",\"id\":\"n7\"}\n"
                               "{\"op\":\"reset\"}\n"
                               "{\"op\":\"review\",\"id\":\"n7\"}");
  auto const result = shell(std::string(NASTURTIUM_BINARY) + " predict --stream < " + requests);
  INFO(result.out << result.err);
  REQUIRE(result.status == 0);
  auto const replies = lines(result.out);
  REQUIRE(replies.size() == 17);
  CHECK(replies[0].at("settings").at("tolerance").as_double() == 0.4);
  CHECK(replies[1].at("prediction").is_null());
  CHECK(replies[1].at("decision").as_string() == "proceed");
  auto const bad = [&](std::size_t reply, std::int64_t line, char const* part) {
    INFO(json::compact(replies[reply]));
    REQUIRE(replies[reply].as_object().contains("error"));
    CHECK(replies[reply].at("line").as_int64() == line);
    CHECK(std::string(replies[reply].at("error").as_string()).find(part) != std::string::npos);
  };
  bad(2, 3, "not JSON");
  bad(3, 5, "does not follow");
  bad(4, 6, "value");
  bad(5, 7, "colour");
  CHECK(!replies[6].as_object().contains("error")); // the refused request left no trace
  bad(7, 9, "object");
  bad(8, 10, "fly");
  CHECK(replies[9].at("ok").as_bool());
  bad(10, 12, "already ended");
  bad(11, 13, "tolerance");
  CHECK(replies[12].at("settings").at("preset").as_string() == "last-value");
  CHECK(replies[13].at("prediction").as_double() == 0.5);
  CHECK(replies[14].at("prediction").as_double() == 0.5);
  CHECK(replies[15].at("ok").as_bool());
  bad(16, 18, "never observed");
}

TEST_CASE("predict: the Optuna example end to end")
{
  if (shell("python3 --version").status != 0) SKIP("python3 is not here");
  std::string const source = NASTURTIUM_SOURCE_DIR;
  bool const optuna = shell("python3 -c 'import optuna'").status == 0;
  if (!optuna) WARN("Optuna is not here: its ask-and-tell interface is a stand-in");
  auto const result = shell((optuna ? "" : "PYTHONPATH=" + source + "/tests/cli/optuna_stand_in ") + "python3 -B " +
                            source + "/docs/examples/optuna_stream.py 40 " + NASTURTIUM_BINARY);
  INFO(result.out << result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.starts_with("40 trials, "));
  CHECK(std::atof(result.out.c_str() + std::string("40 trials, ").size()) > 40); // per cent of the epochs
}
