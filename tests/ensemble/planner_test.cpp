// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/temporary.hpp"

#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/plan_suite.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>
#include <limits>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

/// Models by their solo rates at batch 1, a byte each, on devices of one class with a megabyte each.
PlanningProblem simple_problem(std::vector<double> const& rates, int devices, std::vector<double> gain = {1.0})
{
  PlanningProblem problem;
  problem.classes = {{"core", std::move(gain)}};
  problem.batches = {1};
  for (int d = 0; d < devices; ++d) {
    problem.memories.push_back({"memory" + std::to_string(d), 1e6});
    problem.devices.push_back({"device" + std::to_string(d), 0, d});
  }
  for (double const rate : rates) {
    problem.models.push_back("m" + std::to_string(problem.models.size()));
    problem.profile.push_back({1 / rate, 1});
  }
  return problem;
}

Allocation matrix(std::vector<std::vector<int>> const& rows)
{
  Allocation allocation(static_cast<int>(rows.size()), static_cast<int>(rows[0].size()));
  for (int d = 0; d < allocation.devices; ++d)
    for (int m = 0; m < allocation.models; ++m)
      allocation.at(d, m) = rows[static_cast<std::size_t>(d)][static_cast<std::size_t>(m)];
  return allocation;
}

PlanningOptions method(PlanningMethod method, int keep = 1)
{
  PlanningOptions options;
  options.method = method;
  options.keep = keep;
  options.time_limit_seconds = 60; // the clock decides nothing in tests
  return options;
}

/// Fractions of the optimum over seeds with a plan.
struct Fractions
{
  std::vector<double> worst_fit, local;
  int infeasible = 0, disagreements = 0;
};

Fractions fractions_of(PlanSuite const& suite, int seeds)
{
  Fractions fractions;
  for (int seed = 1; seed <= seeds; ++seed) {
    auto const problem = suite_problem(suite, static_cast<std::uint64_t>(seed));
    auto const exact = plan_allocation(problem, method(PlanningMethod::exact));
    auto const local = plan_allocation(problem, method(PlanningMethod::local));
    fractions.disagreements += exact.plans.empty() != local.plans.empty();
    if (exact.plans.empty()) {
      ++fractions.infeasible;
      continue;
    }
    double const optimum = exact.plans[0].throughput;
    if (!local.plans.empty()) fractions.local.push_back(local.plans[0].throughput / optimum);
    auto const start = worst_fit(problem);
    if (start.cells() > 0) fractions.worst_fit.push_back(fluid_throughput(problem, start) / optimum);
  }
  return fractions;
}

double smallest(std::vector<double> const& values)
{
  return *std::min_element(values.begin(), values.end());
}

/// The largest value that a twentieth of the values does not exceed.
double worst_twentieth(std::vector<double> values)
{
  std::sort(values.begin(), values.end());
  return values[values.size() / 20];
}

} // namespace

TEST_CASE("the fluid simulator agrees with the hand checks", "[planner]")
{
  auto const one = simple_problem({1, 0.5}, 1);
  CHECK(fluid_throughput(one, matrix({{1, 1}})) == Catch::Approx(0.333333).margin(1e-6));
  auto const gained = simple_problem({1, 0.5}, 1, {1, 1.2});
  CHECK(fluid_throughput(gained, matrix({{1, 1}})) == Catch::Approx(0.375).margin(1e-6));
  auto const two = simple_problem({1, 0.5}, 2);
  CHECK(fluid_throughput(two, matrix({{1, 1}, {0, 1}})) == Catch::Approx(0.6).margin(1e-6));
}

TEST_CASE("the suites have the reference's optimum and matrix for seed 1", "[planner]")
{
  struct Golden
  {
    double optimum; ///< samples per millisecond
    std::vector<std::vector<int>> rows;
  };
  std::vector<Golden> const golden{{0.182077, {{0, 0, 8}, {8, 8, 0}}},
                                   {0.848145, {{32, 0, 32}, {0, 32, 8}}},
                                   {1.209156, {{0, 32, 128}, {128, 32, 0}}},
                                   {0.824729, {{0, 32, 0, 32}, {128, 0, 32, 0}}},
                                   {1.056983, {{0, 0, 8}, {0, 32, 0}, {32, 0, 0}}},
                                   {0.962698, {{32, 0, 32}, {0, 32, 8}, {128, 0, 0}}}};
  REQUIRE(plan_suites().size() == golden.size());
  for (std::size_t i = 0; i < golden.size(); ++i) {
    INFO(plan_suites()[i].name);
    auto const problem = suite_problem(plan_suites()[i], 1);
    auto const answer = plan_allocation(problem, method(PlanningMethod::exact));
    REQUIRE(answer.plans.size() == 1);
    CHECK(answer.exact);
    CHECK(answer.plans[0].throughput / 1000 == Catch::Approx(golden[i].optimum).margin(1e-6));
    CHECK(answer.plans[0].allocation == matrix(golden[i].rows));
    CHECK(allocation_fault(problem, answer.plans[0].allocation).empty());
  }
}

TEST_CASE("local comes close to exact in every suite", "[planner]")
{
  for (auto const& suite : plan_suites()) {
    INFO(suite.name);
    auto const fractions = fractions_of(suite, 12);
    CHECK(fractions.disagreements == 0);
    REQUIRE(fractions.local.size() == 12);
    CHECK(mean(fractions.local) >= 0.995);
    CHECK(smallest(fractions.local) >= 0.85);
    CHECK(*std::max_element(fractions.local.begin(), fractions.local.end()) <= 1 + 1e-9);
  }
}

// All 200 seeds of the reference: some 20 s.
TEST_CASE("200 seeds of every suite", "[.suites]")
{
  struct Golden
  {
    double worst_fit_mean, worst_fit_worst; ///< the reference's
    int infeasible;
  };
  std::vector<Golden> const golden{{.933, .32, 3}, {.769, .16, 0}, {.725, .14, 0},
                                   {.735, .19, 0}, {.861, .50, 0}, {.047, .03, 0}};
  for (std::size_t i = 0; i < golden.size(); ++i) {
    auto const& suite = plan_suites()[i];
    auto const fractions = fractions_of(suite, 200);
    INFO(suite.name << ": local mean " << mean(fractions.local) << ", worst twentieth "
                    << worst_twentieth(fractions.local) << ", worst " << smallest(fractions.local));
    CHECK(fractions.infeasible == golden[i].infeasible);
    CHECK(fractions.disagreements == 0);
    CHECK(mean(fractions.worst_fit) == Catch::Approx(golden[i].worst_fit_mean).margin(0.0006));
    CHECK(smallest(fractions.worst_fit) == Catch::Approx(golden[i].worst_fit_worst).margin(0.006));
    CHECK(mean(fractions.local) >= 0.995);
    CHECK(worst_twentieth(fractions.local) >= 0.85);
  }
}

TEST_CASE("that there is no plan is an answer with its reason", "[planner]")
{
  SECTION("packing: the three seeds of the first suite")
  {
    std::vector<int> infeasible;
    for (int seed = 1; seed <= 200; ++seed) {
      auto const problem = suite_problem(plan_suites()[0], static_cast<std::uint64_t>(seed));
      auto const answer = plan_allocation(problem, method(PlanningMethod::exact));
      if (!answer.plans.empty()) continue;
      infeasible.push_back(seed);
      CHECK(answer.reason == Infeasible::packing);
      CHECK(name(answer.reason) == "packing");
      auto const local = plan_allocation(problem, method(PlanningMethod::local));
      CHECK(local.reason == Infeasible::not_found);
      CHECK(local.plans.empty());
    }
    CHECK(infeasible == std::vector<int>{24, 174, 188});
  }
  SECTION("a model that is too large for every device")
  {
    auto problem = simple_problem({1, 1}, 2);
    problem.memories[0].limit_bytes = 10;
    problem.memories[1].limit_bytes = 30;
    problem.profile[1].bytes = 34;
    auto const answer = plan_allocation(problem);
    CHECK(answer.reason == Infeasible::model_too_large);
    CHECK(answer.model == 1);
    CHECK(answer.device == 1);
    CHECK(answer.bytes_short == 4);
    CHECK(answer.explanation == "model-too-large: 'm1' lacks 4 B on 'device1', the device that comes closest");
    problem.profile[1] = {std::numeric_limits<double>::infinity(), 1};
    CHECK(plan_allocation(problem).explanation == "model-too-large: 'm1' runs on no device at any batch size");
  }
  SECTION("too little memory in all; partitions of one host share it")
  {
    auto problem = simple_problem({1, 1, 1}, 2);
    for (auto& measured : problem.profile)
      measured.bytes = 10;
    problem.memories = {{"host", 25}};
    problem.devices[1].memory = 0;
    auto const answer = plan_allocation(problem);
    CHECK(answer.reason == Infeasible::total_short);
    CHECK(answer.bytes_short == 5);
    problem.memories[0].limit_bytes = 30;
    CHECK(plan_allocation(problem).plans.size() == 3);
  }
  SECTION("a bound that no plan keeps")
  {
    auto const problem = simple_problem({1, 0.5}, 1);
    PlanningOptions options;
    options.objective = PlanningObjective::throughput_within_latency;
    options.latency_bound = 3.9; // both on one device: 2 * 2 s
    CHECK(plan_allocation(problem, options).reason == Infeasible::bound);
    options.latency_bound = 4;
    CHECK(plan_allocation(problem, options).plans.size() == 1);
    options.objective = PlanningObjective::fewest_devices;
    options.rate = 0.34;
    auto const answer = plan_allocation(problem, options);
    CHECK(answer.reason == Infeasible::bound);
    CHECK(answer.explanation.starts_with("bound: the best plan serves 0.333333"));
  }
}

TEST_CASE("a latency bound is kept at the best throughput there is", "[planner]")
{
  int bounds_that_cost = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    auto const problem = suite_problem(plan_suites()[1], seed);
    auto const free = plan_allocation(problem, method(PlanningMethod::exact));
    auto options = method(PlanningMethod::exact);
    options.objective = PlanningObjective::throughput_within_latency;
    options.latency_bound = 0.7 * free.plans[0].latency_seconds;
    auto const bound = plan_allocation(problem, options);
    options.method = PlanningMethod::local;
    auto const local = plan_allocation(problem, options);
    CHECK(local.plans.empty() == bound.plans.empty());
    if (bound.plans.empty()) continue;
    ++bounds_that_cost;
    CHECK(bound.plans[0].latency_seconds <= options.latency_bound);
    CHECK(bound.plans[0].throughput <= free.plans[0].throughput);
    CHECK(local.plans[0].latency_seconds <= options.latency_bound);
    CHECK(local.plans[0].throughput >= 0.9 * bound.plans[0].throughput);
  }
  CHECK(bounds_that_cost > 0);
}

TEST_CASE("no more devices are used than a rate needs", "[planner]")
{
  auto const problem = simple_problem({1, 1}, 4);
  PlanningOptions options;
  options.objective = PlanningObjective::fewest_devices;
  auto const devices_for = [&](double rate) {
    options.rate = rate;
    auto const answer = plan_allocation(problem, options);
    if (answer.plans.empty()) return 0;
    auto const& plan = answer.plans[0];
    CHECK(plan.throughput >= rate);
    CHECK(plan.devices.size() == 4);
    int used = 0;
    for (int d = 0; d < 4; ++d)
      used += plan.allocation.at(d, 0) + plan.allocation.at(d, 1) > 0;
    return used;
  };
  CHECK(devices_for(0.5) == 1); // each device serves both models at 1/2
  CHECK(devices_for(0.51) == 2);
  CHECK(devices_for(1.0) == 2);
  CHECK(devices_for(1.3) == 3);
  CHECK(devices_for(2.0) == 4);
  CHECK(devices_for(2.1) == 0);
}

TEST_CASE("segments on one device take what the fluid does", "[planner]")
{
  for (std::vector<double> const& rates : {std::vector<double>{1}, {1, 0.5}, {3, 2, 0.25}}) {
    auto const problem = simple_problem(rates, 1);
    auto const all = matrix({std::vector<int>(rates.size(), 1)});
    double const fluid = fluid_throughput(problem, all);
    CHECK(segment_throughput(problem, all) == Catch::Approx(fluid).epsilon(0.01));
  }
}

TEST_CASE("a window makes the fast wait for the slow", "[planner]")
{
  // The slow model alone on its device decides; with a window of one segment both devices take turns with the filling.
  auto const problem = simple_problem({1, 0.5}, 2);
  auto const apart = matrix({{1, 0}, {0, 1}});
  CHECK(fluid_throughput(problem, apart) == Catch::Approx(0.5));
  CHECK(segment_throughput(problem, apart) == Catch::Approx(0.5).epsilon(1e-9));
  // Two cells of one model: one segment at a time leaves one of them idle.
  auto const parallel = simple_problem({1}, 2);
  CHECK(segment_throughput(parallel, matrix({{1}, {1}}), 128, 1) == Catch::Approx(1).epsilon(1e-9));
  CHECK(segment_throughput(parallel, matrix({{1}, {1}}), 128, 2) == Catch::Approx(2).epsilon(1e-9));
  // A batch that does not divide the segment costs a whole one at its end.
  auto odd = simple_problem({1}, 1);
  odd.batches = {100};
  odd.profile[0].seconds = 1;
  CHECK(segment_throughput(odd, matrix({{100}}), 128) == Catch::Approx(64));
  CHECK(segment_throughput(odd, matrix({{100}}), 50) == Catch::Approx(100));
}

TEST_CASE("replicas share segments so that no device idles", "[planner]")
{
  // Two slow models alone on their devices, two fast ones on both: perfectly balanced, whatever the window allows.
  auto const problem = simple_problem({1, 1, 8, 8}, 2);
  auto const allocation = matrix({{1, 0, 1, 1}, {0, 1, 1, 1}});
  double const perfect = 2 / (1 + 1 + 0.125 + 0.125);
  CHECK(fluid_throughput(problem, allocation) == Catch::Approx(perfect));
  CHECK(segment_throughput(problem, allocation) >= 0.95 * perfect);
  CHECK(segment_throughput(problem, allocation) <= perfect * (1 + 1e-9));
}

TEST_CASE("every start and every kept plan is usable", "[planner]")
{
  int starts = 0;
  for (auto const& suite : plan_suites()) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      auto const problem = suite_problem(suite, seed);
      auto const answer = plan_allocation(problem, method(PlanningMethod::local, 3));
      for (auto const& start :
           {worst_fit(problem), worst_fit(problem, 8), round_robin(problem), longest_first(problem)}) {
        if (start.cells() == 0) continue;
        ++starts;
        CHECK(allocation_fault(problem, start).empty());
        CHECK(start.cells() == suite.models);
        REQUIRE(!answer.plans.empty());
        double best = 0;
        for (auto const& plan : answer.plans)
          best = std::max(best, plan.throughput);
        CHECK(fluid_throughput(problem, start) <= best * (1 + 1e-9));
      }
      for (std::size_t i = 0; i < answer.plans.size(); ++i) {
        CHECK(allocation_fault(problem, answer.plans[i].allocation).empty());
        if (i > 0) CHECK(answer.plans[i].segment_throughput <= answer.plans[i - 1].segment_throughput);
      }
      CHECK(answer.co_location_helps);
    }
  }
  CHECK(starts > 200);
}

TEST_CASE("worst fit spreads models over devices that share a memory", "[planner]")
{
  auto problem = simple_problem({1, 1, 1}, 2);
  problem.memories = {{"host", 100}};
  problem.devices[1].memory = 0;
  problem.profile[2].bytes = 2;
  CHECK(worst_fit(problem) == matrix({{0, 0, 1}, {1, 1, 0}}));
  CHECK(round_robin(problem) == matrix({{1, 0, 1}, {0, 1, 0}}));
  CHECK(longest_first(problem) == matrix({{1, 0, 1}, {0, 1, 0}}));
}

TEST_CASE("local repeats itself, and its time limit holds", "[planner]")
{
  auto problem = suite_problem({"large", 6, 12, 2, true}, 3);
  auto options = method(PlanningMethod::local);
  options.restarts = 1;
  options.time_limit_seconds = 0.2;
  auto const large = plan_allocation(problem, options);
  REQUIRE(large.plans.size() == 1);
  CHECK(large.plans[0].throughput >= fluid_throughput(problem, worst_fit(problem)));
  CHECK(!large.exact);
  problem = suite_problem(plan_suites()[3], 5);
  auto const first = plan_allocation(problem, method(PlanningMethod::local));
  auto const again = plan_allocation(problem, method(PlanningMethod::local));
  CHECK(first.plans[0].allocation == again.plans[0].allocation);
  CHECK(first.scored == again.scored);
}

TEST_CASE("one model on one device", "[planner]")
{
  auto const problem = simple_problem({2}, 1);
  for (auto const kind : {PlanningMethod::exact, PlanningMethod::local}) {
    auto const answer = plan_allocation(problem, method(kind));
    REQUIRE(answer.plans.size() == 1);
    CHECK(answer.plans[0].allocation == matrix({{1}}));
    CHECK(answer.plans[0].throughput == Catch::Approx(2));
    CHECK(answer.plans[0].latency_seconds == Catch::Approx(0.5));
    CHECK(!answer.co_location_helps);
  }
}

TEST_CASE("the memory rule", "[planner]")
{
  CHECK(memory_limit(1000, 100) == Catch::Approx(800));
  auto const problem = suite_problem(plan_suites()[1], 1);
  CHECK(allocation_fault(problem, matrix({{8, 0, 8}, {0, 9, 0}})) ==
        "model 'm1' on device 'gpu1': batch 9 was not measured");
  CHECK(allocation_fault(problem, matrix({{8, 0, 8}, {0, 0, 0}})) == "model 'm1' has no device");
  CHECK(allocation_fault(problem, matrix({{8, 8, 8}})) == "the matrix is 1 x 3 instead of 2 x 3");
  CHECK(allocation_fault(problem, matrix({{128, 128, 128}, {0, 0, 0}})).starts_with("memory 'gpu0' has "));
}

TEST_CASE("a plan and a profile come back from their files", "[planner]")
{
  auto problem = suite_problem(plan_suites()[5], 2);
  problem.profile[4].seconds = std::numeric_limits<double>::infinity();
  auto const text = to_json(problem);
  auto const read = parse_planning_problem(text, "p.json");
  CHECK(to_json(read) == text);
  CHECK(std::isinf(read.profile[4].seconds));
  auto const plan = plan_allocation(problem, method(PlanningMethod::exact)).plans[0];
  auto const back = parse_plan(to_json(plan), "plan.json");
  CHECK(to_json(back) == to_json(plan));
  CHECK(back.allocation == plan.allocation);
  CHECK(back.models == plan.models);
  CHECK(back.throughput == plan.throughput);
}

TEST_CASE("a plan as text", "[planner]")
{
  auto const plan = make_plan(simple_problem({1, 0.5}, 2), matrix({{1, 1}, {0, 1}}));
  CHECK(matrix_table(plan).text() == "device   m0  m1\n"
                                     "-------  --  --\n"
                                     "device0   1   1\n"
                                     "device1       1\n");
}

TEST_CASE("errors of plan and profile files name file and field", "[planner]")
{
  auto const plan = to_json(make_plan(simple_problem({1, 0.5}, 2), matrix({{1, 1}, {0, 1}})));
  auto const problem = to_json(simple_problem({1, 0.5}, 2));
  auto const error = [](std::string text, std::string const& from, std::string const& to, auto const& parse) {
    auto const at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    return error_of([&] { parse(text, "f.json"); });
  };
  CHECK(error(plan, "[0, 1]", "[0, 0]", parse_plan) == "no error");
  CHECK(error(plan, "[1, 1]", "[0, 1]", parse_plan) == "f.json: field 'batches': model 'm0' has no device");
  CHECK(error(plan, "[1, 1]", "[1]", parse_plan) ==
        "f.json: field 'batches': device 'device0' has 1 values for 2 models");
  CHECK(error(plan, "[1, 1]", "[1, -2]", parse_plan).starts_with("f.json: field 'batches': device 'device0'"));
  CHECK(error(plan, "\"m1\"", "\"m0\"", parse_plan) == "f.json: field 'models': 'm0' is there twice");
  CHECK(error(plan, "\"version\": 1", "\"version\": 2", parse_plan).starts_with("f.json"));
  CHECK(error(plan, "\"throughput\"", "\"thruput\"", parse_plan).starts_with("f.json: field 'throughput'"));
  CHECK(error(problem, "\"class\": \"core\"", "\"class\": \"cor\"", parse_planning_problem)
            .starts_with("f.json: 'devices': field 'class': 'cor' is unknown"));
  CHECK(error(problem, "\"gain\": [1.0]", "\"gain\": [2.0]", parse_planning_problem) ==
        "f.json: class 'core': field 'gain' must begin with 1");
  CHECK(error(problem, "\"bytes\": [1.0]", "\"bytes\": []", parse_planning_problem) ==
        "f.json: profile of 'm0' on 'core': field 'bytes' has 0 values instead of 1");
  CHECK(error(problem, "\"seconds\": [1.0]", "\"seconds\": [0]", parse_planning_problem)
            .starts_with("f.json: profile of 'm0' on 'core': field 'seconds'"));
}

TEST_CASE("damaged plan and profile files are errors or read", "[planner]")
{
  auto const plan = to_json(make_plan(simple_problem({1, 0.5}, 2), matrix({{1, 1}, {0, 1}})));
  auto const problem = to_json(simple_problem({1, 0.5}, 2));
  Random random(7);
  int refused = 0, read = 0;
  for (int i = 0; i < 3000; ++i) {
    try {
      if (i % 2 == 0) {
        auto const found = parse_plan(mutated(plan, random), "f.json");
        CHECK(found.allocation.batch.size() == found.devices.size() * found.models.size());
      } else {
        check(parse_planning_problem(mutated(problem, random), "f.json"));
      }
      ++read;
    } catch (Error const& error) {
      ++refused;
      CHECK(std::string(error.what()).starts_with("f.json"));
    }
  }
  CHECK(refused > 1500);
  CHECK(refused + read == 3000);
}

TEST_CASE("problems and options that make no sense are refused", "[planner]")
{
  auto const error_with = [](std::function<void(PlanningProblem&, PlanningOptions&)> const& spoil) {
    auto problem = simple_problem({1, 0.5}, 2);
    PlanningOptions options;
    spoil(problem, options);
    return error_of([&] { plan_allocation(problem, options); });
  };
  CHECK(error_with([](auto& p, auto&) { p.models.clear(); }) == "planning problem: field 'models' is empty");
  CHECK(error_with([](auto& p, auto&) { p.batches = {0}; }) ==
        "planning problem: field 'batches': 0 after 0 (they must increase)");
  CHECK(error_with([](auto& p, auto&) { p.profile.pop_back(); }) ==
        "planning problem: the profile has 1 entries instead of 2");
  CHECK(error_with([](auto& p, auto&) { p.devices[1].memory = 2; }) ==
        "planning problem: device 'device1': field 'memory': 2 is no memory");
  CHECK(error_with([](auto&, auto& o) { o.keep = 0; }) == "planning: keep must be positive, got 0");
  CHECK(error_with([](auto&, auto& o) { o.objective = PlanningObjective::fewest_devices; }) ==
        "planning: rate must be positive, got 0");
  CHECK(error_with([](auto&, auto& o) {
          o.method = PlanningMethod::exact;
          o.exact_limit = 15;
        }) == "planning: exact: 16 matrices are more than the limit of 15");
  CHECK(error_of([] { worst_fit(simple_problem({1}, 1), 3); }) == "planning: batch 3 was not measured");
}
