// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "timing_gate.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/random.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdio>

using namespace nasturtium;
using namespace nasturtium::cli;
using Catch::Approx;

namespace {

/// Times as a shared machine gives them: log-normal, and every twentieth up to three times as long.
std::vector<double> noisy(RandomStream& random, double median, double sigma, int count)
{
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) {
    double const outlier = random.chance(0.05) ? 1 + 2 * random.uniform() : 1;
    seconds.push_back(median * outlier * std::exp(sigma * random.normal()));
  }
  return seconds;
}

std::vector<Timing> benchmarks(RandomStream& random, int count, double sigma, int repetitions)
{
  std::vector<Timing> timings;
  for (int i = 0; i < count; ++i)
    timings.push_back({concat("b", i), noisy(random, 1e-3 * (i + 1), sigma, repetitions), ""});
  return timings;
}

void scale(Timing& timing, double factor)
{
  for (auto& seconds : timing.seconds)
    seconds *= factor;
}

struct Rates
{
  double alarms = 0, detected = 0; ///< of the gates; of one benchmark of five made 20 % slower
};

/// 1,000 pairs of runs of five benchmarks; the new ones take `drift` times as long, all of them.
Rates rates(double sigma, int repetitions, double threshold, double drift)
{
  constexpr int pairs = 1000;
  Rates result;
  for (int pair = 0; pair < pairs; ++pair) {
    RandomStream random(static_cast<std::uint64_t>(pair), 0, Purpose::synthetic);
    auto const base = benchmarks(random, 5, sigma, repetitions);
    auto now = benchmarks(random, 5, sigma, repetitions);
    for (auto& timing : now)
      scale(timing, drift);
    GateOptions const options{threshold, 0.95};
    result.alarms += compare_timings(base, now, options).regression() ? 1.0 / pairs : 0;
    if (pair % 4 != 0) continue;
    scale(now[3], 1.2);
    result.detected += compare_timings(base, now, options).rows[3].verdict == Verdict::slower ? 4.0 / pairs : 0;
  }
  std::printf(
      "gate, 5 benchmarks, %2d repetitions, noise %2.0f %%, threshold %.0f %%, drift %.0f %%: false alarms %.1f "
      "%%, 20 %% slower found %.1f %%\n",
      repetitions, 100 * sigma, 100 * threshold, 100 * (drift - 1), 100 * result.alarms, 100 * result.detected);
  return result;
}

// 5 % and three standard deviations of 1,000 draws.
constexpr double tolerated = 0.05 + 3 * 0.0069;

std::vector<double> around(double middle)
{
  std::vector<double> values;
  for (int i = -10; i < 10; ++i)
    values.push_back(middle * (1 + 0.001 * i));
  return values;
}

std::string google(std::string const& runs)
{
  return R"({"context": {"date": "2026"}, "benchmarks": [)" + runs + "]}";
}

std::vector<Timing> parse_text(std::string const& text)
{
  return parse_timings(json::parse(text, "g.json"), "g.json");
}

} // namespace

TEST_CASE("gate: equal runs are quiet, 20 % slower is found; 1,000 simulated pairs of each")
{
  auto const usual = rates(0.05, 20, 0.05, 1);
  CHECK(usual.alarms <= 0.01); // equality lies well within the threshold
  CHECK(usual.detected >= 0.99);
  auto const loud = rates(0.10, 20, 0.05, 1);
  CHECK(loud.alarms <= tolerated);
  CHECK(loud.detected >= 0.5);
  // Where the promise is hardest to keep: without a threshold, and all drifted by just the threshold.
  for (auto const& [threshold, drift] : {std::pair{0.0, 1.0}, {0.05, 1.05}}) {
    auto const edge = rates(0.05, 20, threshold, drift);
    CHECK(edge.alarms <= tolerated);
    CHECK(edge.alarms > 0.001); // it is a test, not a wall
  }
  CHECK(rates(0.05, 5, 0.0, 1).alarms <= tolerated); // five repetitions promise no less
}

TEST_CASE("gate: verdicts, ratios and intervals of plain cases")
{
  std::vector<Timing> const base{{"slow", around(1), ""},   {"fast", around(2), ""},   {"equal", around(3), ""},
                                 {"once", {1.0}, ""},       {"broken", {1, 2, 3}, ""}, {"gone", around(1), ""},
                                 {"mended", {}, "an error"}};
  std::vector<Timing> const now{{"equal", around(3), ""}, {"slow", around(1.2), ""},   {"fast", around(1.6), ""},
                                {"once", {3, 3.1}, ""},   {"broken", {}, "no memory"}, {"fresh", around(1), ""},
                                {"mended", {1, 2}, ""}};
  auto const result = compare_timings(base, now, {});
  REQUIRE(result.rows.size() == 6);
  auto const& rows = result.rows;
  CHECK(rows[0].name == "slow");
  CHECK(rows[0].verdict == Verdict::slower);
  CHECK(rows[0].ratio == Approx(1.2));
  CHECK(rows[0].low < 1.2);
  CHECK(rows[0].high > 1.2);
  CHECK(rows[0].high - rows[0].low < 0.02);
  CHECK(rows[1].verdict == Verdict::faster);
  CHECK(rows[1].ratio == Approx(0.8));
  CHECK(rows[2].verdict == Verdict::same);
  CHECK(rows[3].verdict == Verdict::unclear);
  CHECK(std::isnan(rows[3].low));
  CHECK(rows[3].note.find("one repetition in the base") != std::string::npos);
  CHECK(rows[4].verdict == Verdict::failed);
  CHECK(rows[4].note == "no memory");
  CHECK(rows[5].verdict == Verdict::unclear);
  CHECK(result.only_in_base == std::vector<std::string>{"gone"});
  CHECK(result.only_in_new == std::vector<std::string>{"fresh"});
  CHECK(result.regression());
  // The same answer every time: nothing is drawn.
  CHECK(json::compact(to_json(result)) == json::compact(to_json(compare_timings(base, now, {}))));
  CHECK(to_table(result).row_count() == 6);

  // A change within the threshold is none, and three repetitions can prove nothing at all.
  std::vector<Timing> const some{{"a", around(1), ""}}, little{{"a", around(1.04), ""}};
  CHECK(compare_timings(some, little, {}).rows[0].verdict == Verdict::same);
  CHECK(compare_timings(some, little, {0.01, 0.95}).rows[0].verdict == Verdict::slower);
  std::vector<Timing> const three{{"a", {1, 1.01, 1.02}, ""}}, twice{{"a", {2, 2.01, 2.02}, ""}};
  CHECK(compare_timings(three, twice, {0.05, 0.99}).rows[0].verdict == Verdict::unclear);

  CHECK_THROWS_AS(compare_timings(some, some, {-0.1, 0.95}), Error);
  CHECK_THROWS_AS(compare_timings(some, some, {0.1, 1}), Error);
  CHECK(compare_timings({}, some, {}).rows.empty());
}

TEST_CASE("gate: Google Benchmark's files, repetitions by name, aggregates passed over")
{
  auto const timings = parse_text(google(
      R"({"name": "b", "run_name": "b", "run_type": "iteration", "real_time": 2.5, "cpu_time": 2, "time_unit": "us"},
                {"name": "c", "run_name": "c", "run_type": "iteration", "real_time": 1, "time_unit": "ms"},
                {"name": "b", "run_name": "b", "run_type": "iteration", "real_time": 3, "time_unit": "us"},
                {"name": "b_median", "run_name": "b", "run_type": "aggregate", "aggregate_name": "median", "real_time": 9},
                {"name": "d", "run_name": "d", "run_type": "iteration", "error_occurred": true, "error_message": "no"})"));
  REQUIRE(timings.size() == 3);
  CHECK(timings[0].name == "b");
  REQUIRE(timings[0].seconds.size() == 2);
  CHECK(timings[0].seconds[0] == Approx(2.5e-6));
  CHECK(timings[1].seconds == std::vector<double>{1e-3});
  CHECK(timings[2].failure == "no");

  auto const refused = [](std::string const& text, std::string const& part) {
    try {
      parse_text(text);
      FAIL("accepted: " << text);
    } catch (Error const& error) {
      std::string const message = error.what();
      INFO(message);
      CHECK(message.starts_with("g.json"));
      CHECK(message.find(part) != std::string::npos);
    }
  };
  refused("{}", "neither");
  refused("[]", "g.json");
  refused(google(""), "no benchmark");
  refused(google(R"({"name": "b_median", "run_type": "aggregate", "real_time": 9})"), "aggregates_only");
  refused(google(R"({"name": "b", "real_time": 0, "time_unit": "us"})"), "real_time");
  refused(google(R"({"name": "b", "real_time": 1, "time_unit": "weeks"})"), "weeks");
  refused(google(R"({"real_time": 1})"), "name");
}

TEST_CASE("gate: damaged files of Google Benchmark are errors, never a crash")
{
  std::string const text =
      google(R"({"name": "b", "run_name": "b", "run_type": "iteration", "real_time": 2.5, "time_unit": "us"},
                {"name": "b", "run_name": "b", "run_type": "iteration", "real_time": 3e0, "time_unit": "us"})");
  int errors = 0;
  for (std::uint64_t i = 0; i < 500; ++i) {
    auto const draw = random_block(11, Purpose::synthetic, 0, i);
    auto damaged = text;
    std::size_t const at = draw.word[0] % damaged.size();
    if (i % 3 == 0)
      damaged.resize(at);
    else if (i % 3 == 1)
      damaged[at] = static_cast<char>(' ' + draw.word[1] % 95);
    else
      damaged.erase(at, 1 + draw.word[1] % 20);
    try {
      auto const timings = parse_text(damaged);
      CHECK_FALSE(timings.empty());
      CHECK_FALSE(compare_timings(timings, timings, {}).regression());
    } catch (Error const& error) {
      ++errors;
      CHECK(std::string(error.what()).starts_with("g.json"));
    }
  }
  CHECK(errors > 200);
}
