// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "estimate_measure.hpp"
#include "process.hpp"

#include <nasturtium/core/json.hpp>
#include <nasturtium/estimator/archive.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

/// The subcommands in a process of their own, since the backends come up once in each.
Finished estimate(std::vector<std::string> const& arguments)
{
  Folder const folder;
  std::cout.flush();
  std::fflush(nullptr); // or the child writes it as well
  pid_t const child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    ::setenv("OMP_NUM_THREADS", "1", 1);
    int status = 99;
    if (std::freopen((folder / "out").c_str(), "w", stdout) && std::freopen((folder / "err").c_str(), "w", stderr)) {
      try {
        cli::Invocation call;
        call.command_line = {"nasturtium", "estimate"};
        call.command_line.insert(call.command_line.end(), arguments.begin(), arguments.end());
        call.arguments = arguments;
        cli::VerbParser parser("estimate", "What a training takes.", "");
        parser->require_subcommand(1);
        std::function<int()> action;
        cli::add_estimate_measure(parser.app(), call, action);
        status = parser.parse(call) ? action() : cli::exit_success;
      } catch (Error const& error) {
        std::cerr << "nasturtium: " << error.what() << '\n';
        status = cli::exit_error;
      }
      std::cout.flush();
      std::cerr.flush();
    }
    ::_exit(status);
  }
  int raw = 0;
  ::waitpid(child, &raw, 0);
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : -WTERMSIG(raw), read(folder / "out"), read(folder / "err")};
}

} // namespace

TEST_CASE("estimate measure: every network, batch and optimiser is a row", "[estimate]")
{
  auto const text = estimate({"measure", "lenet", "--batch", "2,3", "--optimiser", "sgd,adam", "--quick"});
  INFO(text.err);
  CHECK(text.status == 0);
  CHECK(std::count(text.out.begin(), text.out.end(), '\n') == 6); // titles, rule, four rows
  CHECK(text.out.find("network  batch  optimiser") == 0);
  auto const out = estimate({"measure", "lenet", "--batch", "2", "--quick", "--json", "--threads", "2"}).out;
  auto const value = json::parse(out, "stdout");
  auto const row = value.as_array().at(0).as_object();
  CHECK(row.at("network") == "lenet");
  CHECK(row.at("batch") == 2);
  CHECK(row.at("status") == "timed");
  CHECK(row.at("steps") == 10);
  CHECK(json::to_number(row.at("median"), "median") > 0);
  CHECK(json::to_number(row.at("bytes"), "bytes") > 0);
}

TEST_CASE("estimate measure: timings go to an archive that keeps to one device", "[estimate]")
{
  Folder const folder;
  std::string const path = folder / "timings.jsonl";
  std::string const device =
      folder.write("device.json", estimator::to_json(estimator::Device{"this", 1e11, 1e10, 1e-6, 1, 2000, 1 << 30}));
  auto const time = [&](std::vector<std::string> const& more) {
    std::vector<std::string> arguments{"measure",   "lenet", "--batch",     "2",   "--quick",
                                       "--archive", path,    "--constants", device};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return estimate(arguments);
  };
  CHECK(time({"--threads", "1"}).status == 0);
  CHECK(time({"--threads", "1"}).status == 0);
  auto archive = estimator::read_archive(path);
  REQUIRE(archive.samples.size() == 2);
  CHECK(archive.provenances.size() == 1);
  CHECK(archive.provenances.front().threads == 1);
  CHECK(archive.provenances.front().device.peak_flops == 1e11);
  CHECK(estimator::examples(archive).front().seconds > 0);

  auto const other = time({"--threads", "2"});
  CHECK(other.status == 2);
  CHECK(other.err.find("'threads' is '2', was '1'") != std::string::npos);
  CHECK(estimator::read_archive(path).samples.size() == 2);
  CHECK(time({"--threads", "2", "--mix"}).status == 0);
  archive = estimator::read_archive(path);
  CHECK(archive.samples.size() == 3);
  CHECK(archive.provenances.size() == 2);
}

TEST_CASE("estimate measure: what is wrong is told before anything is timed", "[estimate]")
{
  Folder const folder;
  auto const refused = [&](std::vector<std::string> const& arguments, std::string const& part) {
    auto all = arguments;
    all.insert(all.begin(), "measure");
    all.insert(all.end(), {"--archive", folder / "timings.jsonl"});
    auto const result = estimate(all);
    CAPTURE(result.err, result.out);
    CHECK(result.status == 2);
    CHECK(result.err.find(part) != std::string::npos);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(folder.listing().empty());
  };
  refused({"lenet", "nobody.json"}, "nobody.json");
  refused({"lenet", "--batch", "0"}, "--batch must be at least 1, got 0");
  refused({"lenet", "--batch", "2,x"}, "x");
  refused({"lenet", "--optimiser", "adagrad"}, "'adagrad'");
  refused({"lenet", "--optimiser", "sdg"}, "'sdg'");
  refused({"lenet", "--backend", "abacus"}, "abacus");
  refused({"lenet", "--threads", "-1"}, "--threads");
  refused({}, "NETWORK");
}

TEST_CASE("estimate measure: a network that cannot be timed fails, and says why", "[estimate]")
{
  auto const result = estimate({"measure", "lenet", "--batch", "1048577", "--quick", "--json"});
  CHECK(result.status == 1);
  CHECK(result.out.find("\"invalid\"") != std::string::npos);
  CHECK(result.err.find("1048577") != std::string::npos);
}

TEST_CASE("estimate probe: constants of the device", "[estimate]")
{
  auto const out = estimate({"probe", "--threads", "1", "--name", "this", "--json"}).out;
  auto const device = estimator::parse_device(out, "stdout");
  CHECK(device.name == "this");
  CHECK(device.cores == 1);
  CHECK(device.memory_bytes > 0);
}
