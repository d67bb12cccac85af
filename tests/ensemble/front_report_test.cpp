// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ensemble/pools.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/ensemble/front_report.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

struct Case
{
  PredictionPool pool = generated_pool(2, 300, 500);
  SelectionOptions options;
  std::vector<Choice> front;
  FrontReport report;

  Case()
  {
    for (auto& model : pool.models)
      model.costs["seconds"] = 1 / model.costs["cost"];
    options.cost_axis = "cost";
    front = select(pool, "front", options);
    report = make_report(pool, "front", front, options);
  }
};

} // namespace

TEST_CASE("front report: costs of distinct members, scores of every split, calibration", "[report]")
{
  Case const it;
  REQUIRE(it.report.entries.size() == it.front.size());
  CHECK(it.report.pool_models == 14);
  CHECK((it.report.pool_diversity.disagreement > 0.1 && it.report.pool_diversity.q > 0));
  for (std::size_t i = 0; i < it.front.size(); ++i) {
    auto const& entry = it.report.entries[i];
    auto const& choice = it.front[i];
    double weights = 0, seconds = 0;
    REQUIRE(entry.members.size() == choice.members.size());
    for (std::size_t m = 0; m < entry.members.size(); ++m) {
      auto const& model = it.pool.models[static_cast<std::size_t>(choice.members[m].model)];
      CHECK(entry.members[m].id == model.id);
      weights += entry.members[m].weight;
      seconds += model.costs.at("seconds");
    }
    CHECK(std::abs(weights - 1) < 1e-12);
    CHECK(entry.costs.at("cost") == choice.cost);
    CHECK(std::abs(entry.costs.at("seconds") - seconds) < 1e-12);
    CHECK(std::abs(entry.select.nll - choice.loss) < 1e-9);
    CHECK(entry.check.calibrated_nll <= entry.check.nll + 1e-12); // that is where it was fitted
    CHECK((entry.test.has_value() && entry.test->accuracy > 0.1));
  }
  // Without a test split there are no scores of one.
  auto pool = it.pool;
  pool.test = {};
  CHECK_FALSE(make_report(pool, "front", it.front, it.options).entries[0].test.has_value());
}

TEST_CASE("front report: JSON and CSV are read back as they were written", "[report]")
{
  Case it;
  TemporaryFolder const place;
  for (bool const with_test : {true, false}) {
    if (!with_test)
      for (auto& entry : it.report.entries)
        entry.test.reset();
    write_front_json(place / "front.json", it.report);
    write_front_csv(place / "front.csv", it.report);
    auto const back = read_front_json(place / "front.json");
    CHECK(back.preset == "front");
    CHECK(back.objective == "nll");
    CHECK(back.pooling == "mean");
    CHECK(back.cost_axis == "cost");
    CHECK(back.pool_models == 14);
    CHECK(back.pool_diversity.q == it.report.pool_diversity.q);
    CHECK(back.entries == it.report.entries);
    CHECK(read_front_csv(place / "front.csv") == it.report.entries);
  }
  // A pool of one model has no diversity, and a front may be empty.
  it.report.entries.clear();
  it.report.pool_diversity = {NAN, NAN};
  write_front_json(place / "front.json", it.report);
  write_front_csv(place / "front.csv", it.report);
  CHECK(std::isnan(read_front_json(place / "front.json").pool_diversity.q));
  CHECK(read_front_csv(place / "front.csv").empty());
}

TEST_CASE("front report: what is wrong in a file is named", "[report]")
{
  Case it;
  it.report.entries.resize(2);
  TemporaryFolder const place;
  std::string const json = place / "front.json", csv = place / "front.csv";
  write_front_json(json, it.report);
  write_front_csv(csv, it.report);
  std::string const json_text = read_file(json), csv_text = read_file(csv);
  auto const json_error = [&](std::string const& from, std::string const& to) {
    std::string text = json_text;
    text.replace(text.find(from), from.size(), to);
    write_file(json, text);
    return error_of([&] { read_front_json(json); });
  };
  CHECK(json_error("\"count\": 1", "\"count\": 0").starts_with(json + ": entry 0: a member: field 'count'"));
  CHECK(json_error("\"accuracy\": 0", "\"accuracy\": 1").starts_with(json + ": entry 0: 'select': field 'accuracy'"));
  CHECK(json_error("\"cost\": ", "\"other\": ") ==
        json + ": field 'cost_axis': no entry may lack this cost, got 'cost'");
  CHECK(json_error("\"version\": 1", "\"version\": 2").starts_with(json + ": "));
  auto const csv_error = [&](std::string const& from, std::string const& to) {
    std::string text = csv_text;
    text.replace(text.find(from), from.size(), to);
    write_file(csv, text);
    return error_of([&] { read_front_csv(csv); });
  };
  std::string const member = it.report.entries[0].members[0].id;
  CHECK(csv_error("\n" + member + ",1,", "\n" + member + ",x,") ==
        csv + ":2: column 'counts': must be integers in [1, 1000000], got 'x'");
  CHECK(csv_error("\n" + member + ",1,1,", "\n" + member + ",1,0.5,") ==
        csv + ":2: column 'weights': must be 1 for '" + member + "', got '0.5'");
  CHECK(csv_error("\n" + member + ",1,", "\n" + member + ",1;2,") ==
        csv + ":2: column 'counts': 2 counts for 1 members");
  CHECK(csv_error("select_nll", "other_nll").find("'select_nll'") != std::string::npos);
}

TEST_CASE("front report: mutated files are read or refused, never worse", "[report][fuzz]")
{
  Case it;
  it.report.entries.resize(3);
  TemporaryFolder const place;
  std::string const json = place / "front.json", csv = place / "front.csv";
  write_front_json(json, it.report);
  write_front_csv(csv, it.report);
  std::string const json_text = read_file(json), csv_text = read_file(csv);
  Random random(21);
  int refused = 0, read = 0;
  auto const attempt = [&](auto const& action) {
    try {
      action();
      ++read;
    } catch (Error const& error) {
      CHECK(std::string(error.what()).starts_with(place.path()));
      ++refused;
    }
  };
  for (int i = 0; i < 300; ++i) {
    write_file(json, mutated(json_text, random));
    write_file(csv, mutated(csv_text, random));
    attempt([&] {
      for (auto const& entry : read_front_json(json).entries)
        CHECK((!entry.members.empty() && entry.temperature > 0));
    });
    attempt([&] {
      for (auto const& entry : read_front_csv(csv))
        CHECK((!entry.members.empty() && entry.temperature > 0));
    });
  }
  CHECK(refused > 100);
  CHECK(read > 10);
}
