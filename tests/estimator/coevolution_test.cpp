// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/coevolution.hpp>

#include "support/temporary.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using test::error_of;

namespace {

/// A line through log seconds over log FLOPs.
class Line : public Estimator
{
public:
  std::string name() const override { return "line"; }
  void fit(std::span<Example const> examples, std::uint64_t, bool) override
  {
    require(!examples.empty(), "no examples");
    double const n = static_cast<double>(examples.size());
    double x = 0, y = 0, xx = 0, xy = 0;
    for (auto const& it : examples) {
      double const a = place(it.description), b = std::log(it.seconds);
      x += a / n;
      y += b / n;
      xx += a * a / n;
      xy += a * b / n;
    }
    double const variance = xx - x * x;
    m_slope = variance > 1e-9 ? (xy - x * y) / variance : 0;
    m_start = y - m_slope * x;
  }
  Prediction predict(Description const& description, Device const&) const override
  {
    return {std::exp(m_start + m_slope * place(description))};
  }
  std::string save() const override { return "{}"; }

private:
  double m_slope = 0, m_start = 0;
  static double place(Description const& description) { return std::log(step_flops(description)); }
};

EstimatorFactory const lines = [] { return std::make_unique<Line>(); };

Device const device{"synthetic", 1e11, 2e10, 1e-6, 1, 0, 0};

/// Roofline and launches; Adam costs a lot more here than a line over FLOPs can know; `noise` is a factor of
/// e^(+-noise).
double seconds_of(Description const& description, std::uint64_t draw, double noise)
{
  double const base = step_flops(description) / device.peak_flops + step_bytes(description) / device.bandwidth +
                      static_cast<double>(description.layers.size()) * device.launch_seconds;
  Random random(draw, 77);
  double const factor = std::exp(noise * (2 * random.uniform() - 1));
  return base * factor * (description.optimiser == Optimiser::adam ? 6 : 1);
}

GeneratorOptions small_ranges()
{
  GeneratorOptions ranges;
  ranges.sides = {8, 16};
  ranges.max_filters = 64;
  ranges.max_units = 256;
  ranges.max_genes = 10;
  return ranges;
}

std::vector<Example> probes()
{
  Random random(1000);
  std::vector<Example> examples;
  for (auto const& individual : draw("uniform", 60, small_ranges(), random)) {
    auto description = describe(individual.workload);
    double const seconds = seconds_of(description, 0, 0);
    examples.push_back({std::move(description), device, seconds, 0});
  }
  return examples;
}

CoevolutionOptions options_of(std::string const& strategy)
{
  CoevolutionOptions options;
  options.strategy = strategy;
  options.operators = "static";
  options.population = 16;
  options.founders = 20;
  options.networks = 116;
  options.seed = 5;
  options.ranges = small_ranges();
  return options;
}

Answer timed(Question const& question, double noise = .02)
{
  double const seconds = seconds_of(describe(question.workload), static_cast<std::uint64_t>(question.id), noise);
  return {.timed = true, .seconds = seconds, .cost_seconds = .5};
}

Coevolution evolution_of(CoevolutionOptions const& options)
{
  return {options, lines, probes(), device};
}

/// Answers everything; `backwards`: the questions of one asking from the last.
Coevolution run(CoevolutionOptions const& options, bool backwards = false, double noise = .02)
{
  auto evolution = evolution_of(options);
  while (!evolution.finished()) {
    auto questions = evolution.ask();
    if (backwards) std::reverse(questions.begin(), questions.end());
    for (auto const& question : questions)
      if (!evolution.finished()) evolution.tell(question.id, timed(question, noise));
  }
  return evolution;
}

std::string summary(Coevolution const& evolution)
{
  std::string text;
  for (auto const& it : evolution.archive())
    text += concat(it.id, " ", it.lineage, " ", it.parent, " ", it.other_parent, " ", it.generation, " ", it.seconds,
                   " ", it.retimed, it.barred, " ", to_text(it.genome), "\n");
  for (auto const& it : evolution.log())
    text += concat(it.generation, " ", it.networks, " ", it.device_seconds, " ", it.error, "\n");
  return text;
}

/// Share of networks behind the founders that are trained with Adam.
double adam_share(Coevolution const& evolution)
{
  double adam = 0, all = 0;
  for (auto const& it : evolution.archive()) {
    if (it.generation == 0) continue;
    ++all;
    adam += it.genome.optimiser == Optimiser::adam ? 1 : 0;
  }
  return adam / all;
}

} // namespace

TEST_CASE("every strategy fills its archive with different networks, the same ones each time", "[coevolution]")
{
  std::set<std::string> archives;
  for (auto const& strategy : strategy_names()) {
    CAPTURE(strategy);
    auto evolution = run(options_of(strategy));
    auto const& archive = evolution.archive();
    CHECK(archive.size() == 116);
    CHECK(summary(run(options_of(strategy))) == summary(evolution));
    CHECK(summary(run(options_of(strategy), true)) == summary(evolution)); // whatever the order of the answers
    archives.insert(summary(evolution));

    std::set<std::string> networks;
    for (auto const& it : archive)
      networks.insert(network_hash(*decode(it.genome)));
    CHECK(networks.size() == archive.size());

    // 20 founders, then 16 children in each of six generations.
    REQUIRE(evolution.log().size() == 7);
    for (std::size_t g = 0; g < 7; ++g) {
      auto const& log = evolution.log()[g];
      CHECK(log.generation == static_cast<int>(g));
      CHECK(log.networks == 20 + 16 * static_cast<int>(g));
      CHECK(log.error > 0);
      CHECK(log.operators.a == .5);
    }
    CHECK(evolution.ask().empty());
    REQUIRE(evolution.estimator() != nullptr);
    double cost = 0;
    for (auto const& it : archive)
      cost += it.cost_seconds;
    CHECK(cost == Approx(evolution.device_seconds()));
  }
  CHECK(archives.size() == strategy_names().size());
  auto other_seed = options_of("hard");
  other_seed.seed = 6;
  CHECK(archives.count(summary(run(other_seed))) == 0);
}

TEST_CASE("strategies start from the same founders, and the lineage is that of the first parent", "[coevolution]")
{
  auto const random = run(options_of("random"));
  for (auto const& strategy : {"hard", "hard-half", "easy", "contribution", "disagreement", "spread"}) {
    CAPTURE(strategy);
    auto const evolution = run(options_of(strategy));
    auto const& archive = evolution.archive();
    std::map<std::int64_t, Timed const*> by_id;
    int children = 0, founders = 0;
    for (auto const& it : archive) {
      by_id[it.id] = &it;
      if (it.parent < 0) {
        REQUIRE(it.lineage == it.id);
        REQUIRE(it.other_parent < 0);
        ++founders;
        continue;
      }
      ++children;
      REQUIRE(by_id.at(it.parent)->lineage == it.lineage);
      REQUIRE(by_id.at(it.parent)->generation < it.generation);
      if (it.other_parent >= 0) REQUIRE(by_id.count(it.other_parent) == 1);
    }
    CHECK(children > 20);
    CHECK(founders > 20);
    for (std::size_t i = 0; i < 20; ++i)
      REQUIRE(archive[i].genome == random.archive()[i].genome);
  }
  for (auto const& it : random.archive())
    REQUIRE(it.lineage == it.id);
}

TEST_CASE("shares of children, draws and immigrants are those of the strategy", "[coevolution]")
{
  auto const drawn = [](std::string const& strategy, std::string const& operators) {
    auto options = options_of(strategy);
    options.operators = operators;
    auto const evolution = run(options);
    int count = 0;
    for (auto const& it : evolution.archive())
      count += it.generation == 3 && it.parent < 0 ? 1 : 0;
    return count;
  };
  CHECK(drawn("easy", "static") == 4);       // .275 of 16
  CHECK(drawn("hard-half", "static") == 10); // 8 and .275 of 8
  CHECK(drawn("easy", "dynamic") == 1);      // the line stays above an error of .4: .05 of 16
  CHECK(drawn("easy", "inverse") == 8);      // .5 of 16
  CHECK(drawn("random", "static") == 16);
}

TEST_CASE("hard goes where the estimator fails, easy where it does not", "[coevolution]")
{
  // One network in three is trained with Adam, which the line gets more wrong than the rest.
  double const random = adam_share(run(options_of("random")));
  CHECK(random == Approx(1.0 / 3).margin(.12));
  CHECK(adam_share(run(options_of("hard"))) > random + .05);
  CHECK(adam_share(run(options_of("easy"))) < random - .1);

  // A fitness is there for parents, and is larger the more wrong (hard) or right (easy) the estimate was.
  for (auto const& [strategy, sign] : {std::pair{"hard", 1}, {"easy", -1}}) {
    auto const evolution = run(options_of(strategy));
    for (auto const& it : evolution.archive())
      if (!std::isnan(it.fitness)) REQUIRE(sign * it.fitness >= 0);
    CHECK_FALSE(std::isnan(evolution.archive().front().fitness));
    CHECK(std::isnan(evolution.archive().back().fitness));
  }
}

TEST_CASE("spread, disagreement and skewed draws go where they should", "[coevolution]")
{
  // Sum of the squared shares in bins of two octaves: less is more even.
  auto const unevenness = [](Coevolution const& evolution) {
    std::map<int, double> bins;
    for (auto const& it : evolution.archive())
      bins[static_cast<int>(std::floor(std::log2(it.seconds) / 2))] +=
          1.0 / static_cast<double>(evolution.archive().size());
    double sum = 0;
    for (auto const& [bin, share] : bins)
      sum += share * share;
    return sum;
  };
  struct Moments
  {
    double mean = 0, variance = 0;
  };
  auto const log_flops = [](Coevolution const& evolution) {
    double const count = static_cast<double>(evolution.archive().size());
    Moments moments;
    for (auto const& it : evolution.archive())
      moments.mean += std::log(step_flops(it.description)) / count;
    for (auto const& it : evolution.archive())
      moments.variance += std::pow(std::log(step_flops(it.description)) - moments.mean, 2) / count;
    return moments;
  };
  auto const random = run(options_of("random"));
  CHECK(unevenness(run(options_of("spread"))) < .85 * unevenness(random));
  CHECK(log_flops(run(options_of("random-skewed"))).mean < log_flops(random).mean - 1.5);
  // Lines through bootstraps differ most at their ends.
  CHECK(log_flops(run(options_of("disagreement"))).variance > 1.5 * log_flops(random).variance);
}

TEST_CASE("contributions are differences of the probe error", "[coevolution]")
{
  auto options = options_of("contribution");
  options.founders = 12;
  options.networks = 28;
  auto const evolution = run(options);
  auto const& archive = evolution.archive();
  auto const error_of_rows = [&](std::vector<Example> const& rows) {
    Line line;
    line.fit(rows, 0, false);
    double sum = 0;
    auto const known = probes();
    for (auto const& probe : known)
      sum += std::abs(line.predict(probe.description, device).seconds / probe.seconds - 1);
    return sum / static_cast<double>(known.size());
  };
  auto const all = evolution.examples();
  REQUIRE(all.size() == 28);
  std::vector<Example> const founders(all.begin(), all.begin() + 12);
  for (std::size_t i : {0U, 7U, 11U}) {
    auto without = founders;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK(archive[i].fitness == Approx(error_of_rows(without) - error_of_rows(founders)));
  }
  for (std::size_t i : {12U, 20U, 27U}) {
    auto with = founders;
    with.push_back(all[i]);
    CHECK(archive[i].fitness == Approx(error_of_rows(founders) - error_of_rows(with)));
  }
}

TEST_CASE("hard times a parent again before it becomes one", "[coevolution]")
{
  auto evolution = evolution_of(options_of("hard"));
  std::map<std::int64_t, double> first;
  std::set<std::int64_t> again, barred;
  while (!evolution.finished()) {
    for (auto const& question : evolution.ask()) {
      auto answer = timed(question, 0);
      if (question.again >= 0) {
        CHECK(again.insert(question.again).second); // once
        // Every third repeats badly, one in ten fails.
        if (question.again % 3 == 0) {
          answer.seconds *= 1.2;
          barred.insert(question.again);
        } else {
          answer.seconds *= 1.04;
        }
        if (question.again % 10 == 1) {
          answer.timed = false;
          barred.insert(question.again);
        }
      } else {
        first[question.id] = answer.seconds;
      }
      evolution.tell(question.id, answer);
      if (evolution.finished()) break;
    }
  }
  CHECK(again.size() > 15);
  CHECK(barred.size() > 4);
  CHECK(evolution.failures() > 0);
  for (auto const& it : evolution.archive()) {
    REQUIRE(it.retimed == (again.count(it.id) == 1));
    REQUIRE(it.barred == (barred.count(it.id) == 1));
    double const factor = !it.retimed || it.id % 10 == 1 ? 1 : it.id % 3 == 0 ? 1.1 : 1.02;
    REQUIRE(it.seconds == Approx(factor * first.at(it.id)));
    REQUIRE(it.cost_seconds == Approx(it.retimed ? 1.0 : .5));
    for (auto const parent : {it.parent, it.other_parent})
      REQUIRE((parent < 0 || (again.count(parent) == 1 && barred.count(parent) == 0)));
  }
  CHECK(run(options_of("easy")).device_seconds() == Approx(58)); // the others time once
}

TEST_CASE("where all parents are barred, the generation is drawn", "[coevolution]")
{
  auto options = options_of("hard");
  options.networks = 40;
  auto evolution = evolution_of(options);
  while (!evolution.finished()) {
    for (auto const& question : evolution.ask()) {
      auto answer = timed(question, 0);
      if (question.again >= 0) answer.seconds *= 2;
      evolution.tell(question.id, answer);
      if (evolution.finished()) break;
    }
  }
  CHECK(evolution.archive().size() == 40);
  for (auto const& it : evolution.archive())
    CHECK(it.parent < 0);
}

TEST_CASE("budgets of networks and of device seconds end the search", "[coevolution]")
{
  auto options = options_of("hard");
  options.networks = 0;
  options.seconds = 30;
  auto const evolution = run(options);
  CHECK(evolution.finished());
  CHECK(evolution.device_seconds() == 30); // half a second each
  CHECK(evolution.archive().size() < 60);  // parents were timed twice
  CHECK(evolution.log().back().device_seconds == 30);

  options = options_of("easy");
  options.seconds = 15.4;
  CHECK(run(options).archive().size() == 31);
  options.networks = 25;
  CHECK(run(options).archive().size() == 25);
  options.networks = 7; // less than the founders
  CHECK(run(options).archive().size() == 7);
  options.networks = 1;
  CHECK(run(options).archive().size() == 1);
  options.strategy = "contribution";
  CHECK(run(options).archive().size() == 1);
}

TEST_CASE("failures cost seconds, are not asked for again and do not count", "[coevolution]")
{
  auto evolution = evolution_of(options_of("easy"));
  int failed = 0;
  std::set<std::string> asked;
  while (!evolution.finished()) {
    for (auto const& question : evolution.ask()) {
      REQUIRE(asked.insert(network_hash(question.workload)).second);
      auto answer = timed(question);
      answer.timed = question.id % 4 != 0;
      failed += answer.timed ? 0 : 1;
      evolution.tell(question.id, answer);
    }
  }
  CHECK(evolution.archive().size() == 116);
  CHECK(evolution.failures() == failed);
  CHECK(failed > 30);
  CHECK(evolution.device_seconds() == Approx(.5 * (116 + failed)));

  auto hopeless = evolution_of(options_of("easy"));
  auto const message = error_of([&] {
    for (;;)
      for (auto const& question : hopeless.ask())
        hopeless.tell(question.id, {.timed = false});
  });
  CHECK_THAT(message, ContainsSubstring("no network could be timed in 10 generations in a row"));
}

TEST_CASE("a space that is used up is said to be", "[coevolution]")
{
  auto options = options_of("random");
  options.ranges.weights = {};
  options.ranges.weights[static_cast<std::size_t>(GeneKind::activation)] = 1;
  options.ranges.max_genes = 1;
  options.ranges.sides = {8};
  options.ranges.channels = {1};
  options.ranges.max_log2_batch = 0;
  options.ranges.optimisers = {Optimiser::sgd};
  CHECK_THAT(error_of([&] { run(options); }), ContainsSubstring("hold too few networks"));
}

TEST_CASE("open questions are repeated, and wrong answers are refused", "[coevolution]")
{
  auto evolution = evolution_of(options_of("hard"));
  auto const questions = evolution.ask();
  REQUIRE(questions.size() == 20);
  evolution.tell(3, timed(questions[3]));
  auto const left = evolution.ask();
  REQUIRE(left.size() == 19);
  CHECK(left[3].id == 4);
  CHECK(left[3].genome == questions[4].genome);
  CHECK(evolution.log().empty());
  CHECK_THAT(error_of([&] { evolution.tell(3, {true, 1, 1}); }), ContainsSubstring("network 3, which is not open"));
  CHECK_THAT(error_of([&] { evolution.tell(99, {true, 1, 1}); }), ContainsSubstring("not open"));
  CHECK_THAT(error_of([&] { evolution.tell(4, {true, 0, 1}); }),
             ContainsSubstring("must be positive and finite, got 0"));
  CHECK_THAT(error_of([&] { evolution.tell(4, {true, NAN, 1}); }), ContainsSubstring("got nan"));
  CHECK_THAT(error_of([&] { evolution.tell(4, {true, 1, -1}); }), ContainsSubstring("device seconds"));
  CHECK(evolution.ask().size() == 19); // nothing was changed
}

TEST_CASE("bad options are refused by name and value", "[coevolution]")
{
  auto const refused = [](auto change) {
    auto options = options_of("hard");
    change(options);
    return error_of([&] { evolution_of(options); });
  };
  CHECK(refused([](auto&) {}) == "no error");
  CHECK(refused([](auto& it) { it.strategy = "clever"; }) ==
        "strategy must be random, random-skewed, hard, hard-half, easy, contribution, disagreement or spread, got "
        "'clever'");
  CHECK(refused([](auto& it) { it.generator = "normal"; }) == "generator must be uniform or skewed, got 'normal'");
  CHECK_THAT(refused([](auto& it) { it.operators = "fast"; }), ContainsSubstring("dynamic, static or inverse"));
  CHECK_THAT(refused([](auto& it) { it.population = 0; }), ContainsSubstring("population must be in [1"));
  CHECK_THAT(refused([](auto& it) { it.tournament = 0; }), ContainsSubstring("tournament"));
  CHECK_THAT(refused([](auto& it) { it.seconds = -1; }), ContainsSubstring("seconds"));
  CHECK_THAT(refused([](auto& it) { it.networks = 0; }), ContainsSubstring("without a limit"));
  CHECK_THAT(refused([](auto& it) { it.ranges.sides = {}; }), ContainsSubstring("sides"));
  CHECK_THAT(error_of([] { Coevolution(options_of("hard"), lines, {}, device); }), ContainsSubstring("probe"));
}
