// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Search algorithms on objectives that cost nothing.
#include "../support/space_tasks.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_algorithm.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <numeric>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

Task const task{{28, 28, 1}, 10};

using Objective = std::function<Fitness(Trial const&)>;

// Share of genes that have a wanted value, in percent; costs rise with the genes.
Fitness toy(Trial const& trial)
{
  Fitness fitness;
  double right = 0, sum = 0;
  for (std::size_t i = 0; i < trial.genome.size(); ++i) {
    right += trial.genome[i] == static_cast<int>(i % 2) ? 1 : 0;
    sum += trial.genome[i];
  }
  fitness.accuracy = 100 * right / static_cast<double>(trial.genome.size());
  fitness.flops = 1e6 * (1 + sum);
  fitness.parameters = 1e3 * (1 + sum);
  return fitness;
}

SearchSettings settings_of(std::string const& algorithm, int evaluations, std::uint64_t seed = 1)
{
  SearchSettings settings;
  settings.algorithm = algorithm;
  settings.evaluations = evaluations;
  settings.seed = seed;
  return settings;
}

bool same(Trial const& a, Trial const& b)
{
  return a.id == b.id && a.genome == b.genome && a.generation == b.generation && a.parent == b.parent &&
         a.other_parent == b.other_parent;
}

// Asks as long as there are questions, then answers one of the open ones: the first, or one by lot.
std::vector<Trial> search(SearchAlgorithm& algorithm, Objective const& objective, bool by_lot = false)
{
  std::vector<Trial> asked;
  std::deque<Trial> open;
  Random lots(99, 0);
  while (!algorithm.finished()) {
    while (auto const trial = algorithm.ask()) {
      REQUIRE(trial->id == static_cast<int>(asked.size()));
      asked.push_back(*trial);
      open.push_back(*trial);
    }
    REQUIRE(!open.empty());
    int const at = by_lot ? lots.below(static_cast<int>(open.size())) : 0;
    Trial const trial = open[static_cast<std::size_t>(at)];
    open.erase(open.begin() + at);
    algorithm.tell(trial.id, objective(trial));
  }
  CHECK(open.empty());
  CHECK_FALSE(algorithm.ask());
  return asked;
}

double best_of(std::vector<Trial> const& trials, Objective const& objective)
{
  double best = -1;
  for (auto const& trial : trials) {
    auto const fitness = objective(trial);
    if (!fitness.failed) best = std::max(best, fitness.accuracy);
  }
  return best;
}

} // namespace

TEST_CASE("algorithms: every algorithm works in every space, gives valid genomes and repeats no network")
{
  for (auto const& space_name : space_names()) {
    auto const space = make_space(space_name, test::tasks_of(space_name, {task}).back());
    for (auto const& name : algorithm_names()) {
      INFO(name << " in " << space_name);
      auto const algorithm = make_algorithm(settings_of(name, 80), *space);
      CHECK(algorithm->name() == name);
      auto const trials = search(*algorithm, toy);
      REQUIRE(trials.size() == 80);
      std::set<std::string> seen;
      for (auto const& trial : trials) {
        REQUIRE_NOTHROW(space->check(trial.genome));
        REQUIRE(seen.insert(space->phenotype(trial.genome)).second);
        REQUIRE(trial.parent < trial.id);
        REQUIRE(trial.other_parent < trial.id);
        REQUIRE((trial.other_parent < 0 || trial.parent >= 0));
      }
    }
  }
}

TEST_CASE("algorithms: a replay of the answers asks the same questions")
{
  auto const space = make_space("nsga-net", task);
  for (auto const& name : algorithm_names()) {
    for (int const workers : {1, 4}) {
      auto settings = settings_of(name, 60, 5);
      settings.workers = workers;
      settings.population = 8;
      INFO(name << " with " << workers << " workers");
      // Recorded: questions and answers in their order; some fail.
      struct Event
      {
        Trial trial;
        bool answer = false;
        Fitness fitness{};
      };
      std::vector<Event> journal;
      auto const first = make_algorithm(settings, *space);
      std::vector<Trial> open;
      Random lots(3, 0);
      while (!first->finished()) {
        while (auto const trial = first->ask()) {
          journal.push_back({*trial, false});
          open.push_back(*trial);
        }
        REQUIRE(!open.empty());
        REQUIRE(open.size() <= static_cast<std::size_t>(workers));
        auto const at = lots.below(static_cast<int>(open.size()));
        auto fitness = toy(open[static_cast<std::size_t>(at)]);
        fitness.failed = lots.chance(0.2);
        first->tell(open[static_cast<std::size_t>(at)].id, fitness);
        journal.push_back({open[static_cast<std::size_t>(at)], true, fitness});
        open.erase(open.begin() + at);
      }
      auto const again = make_algorithm(settings, *space);
      for (auto const& event : journal) {
        if (event.answer) {
          again->tell(event.trial.id, event.fitness);
        } else {
          auto const trial = again->ask();
          REQUIRE(trial);
          REQUIRE(same(*trial, event.trial));
        }
      }
      CHECK(again->finished());
      settings.seed = 6;
      auto const other = make_algorithm(settings, *space);
      CHECK_FALSE(other->ask()->genome == journal.front().trial.genome);
    }
  }
}

TEST_CASE("algorithms: evolution finds better networks than random search")
{
  for (auto const& space_name : {"nsga-net", "menndl", "lenet11"}) {
    auto const space = make_space(space_name, task);
    auto const mean = [&](std::string const& name) {
      double sum = 0;
      for (std::uint64_t seed = 1; seed <= 10; ++seed)
        sum += best_of(search(*make_algorithm(settings_of(name, 300, seed), *space), toy), toy);
      return sum / 10;
    };
    double const random = mean("random");
    for (auto const& name : algorithm_names()) {
      if (name == "random") continue;
      INFO(name << " in " << space_name);
      CHECK(mean(name) > random);
    }
  }
}

TEST_CASE("algorithms: NSGA-Net moves the front of both objectives")
{
  auto const space = make_space("nsga-net", task);
  // Area below (100, 50) that is dominated, in (error, cost).
  auto const area = [](std::vector<Trial> const& trials) {
    std::vector<std::pair<double, double>> points;
    for (auto const& trial : trials)
      points.emplace_back(100 - toy(trial).accuracy, toy(trial).flops / 1e6);
    std::sort(points.begin(), points.end());
    double sum = 0, height = 50;
    for (auto const& [error, cost] : points) {
      if (cost >= height) continue;
      sum += (100 - error) * (height - cost);
      height = cost;
    }
    return sum;
  };
  double evolved = 0, random = 0;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    evolved += area(search(*make_algorithm(settings_of("nsga-net", 400, seed), *space), toy));
    random += area(search(*make_algorithm(settings_of("random", 400, seed), *space), toy));
  }
  CHECK(evolved > 1.2 * random);
}

TEST_CASE("aging: workers + N - 1 random genomes, then one edit of a parent among the last N answers")
{
  auto const space = make_space("lenet11", task);
  for (int const workers : {1, 4}) {
    auto settings = settings_of("aging", 200);
    settings.population = 20;
    settings.sample = 5;
    settings.workers = workers;
    auto const algorithm = make_algorithm(settings, *space);
    std::vector<Trial> asked;
    std::vector<int> answered;
    std::deque<Trial> open;
    int fresh = 0;
    while (!algorithm->finished()) {
      while (auto const trial = algorithm->ask()) {
        if (trial->parent < 0) {
          ++fresh;
        } else {
          auto const& parent = asked[static_cast<std::size_t>(trial->parent)];
          CHECK(space->distance(parent.genome, trial->genome) == 1);
          CHECK(trial->generation == parent.generation + 1);
          CHECK(std::find(answered.end() - 20, answered.end(), trial->parent) != answered.end());
        }
        asked.push_back(*trial);
        open.push_back(*trial);
      }
      algorithm->tell(open.front().id, toy(open.front()));
      answered.push_back(open.front().id);
      open.pop_front();
    }
    CHECK(fresh == workers + 20 - 1);
  }
}

TEST_CASE("aging: with a probability of mutation every gene may change")
{
  auto const space = make_space("nsga-net", task);
  auto settings = settings_of("aging", 400);
  settings.population = 20;
  settings.mutation = 0.1;
  auto const trials = search(*make_algorithm(settings, *space), toy);
  double sum = 0, count = 0;
  for (auto const& trial : trials) {
    if (trial.parent < 0) continue;
    sum += space->distance(trials[static_cast<std::size_t>(trial.parent)].genome, trial.genome);
    ++count;
  }
  CHECK(std::abs(sum / count - 4.8) < 0.5); // of 48 genes
}

TEST_CASE("aging: mean lineage length under first in, first out is the published one")
{
  // Uniform scores, N = 100, S = 10, evaluations 901 to 1000: 17.2 with one worker, 13.2 with sixteen; N = 50, S = 5:
  // 35.6 and 22.4.
  auto const space = make_space("nsga-net", task);
  struct Row
  {
    int population, sample, workers;
    double length;
  };
  for (Row const row : {Row{100, 10, 1, 17.2}, {100, 10, 16, 13.2}, {50, 5, 1, 35.6}, {50, 5, 16, 22.4}}) {
    double sum = 0, count = 0;
    for (std::uint32_t seed = 1; seed <= 200; ++seed) {
      auto settings = settings_of("aging", 1000, seed);
      settings.population = row.population;
      settings.sample = row.sample;
      settings.workers = row.workers;
      settings.allow_repeats = true;
      Random scores(1000 + seed, 0);
      auto const algorithm = make_algorithm(settings, *space);
      auto const trials = search(*algorithm, [&](Trial const&) {
        Fitness fitness;
        fitness.accuracy = 100 * scores.uniform();
        return fitness;
      });
      for (std::size_t i = 900; i < 1000; ++i) {
        sum += trials[i].generation;
        ++count;
      }
    }
    INFO("N " << row.population << ", S " << row.sample << ", workers " << row.workers << ": " << sum / count);
    CHECK(std::abs(sum / count - row.length) < 0.5);
  }
}

TEST_CASE("generations: the order of the answers does not matter")
{
  auto const space = make_space("evocnn", task);
  for (auto const& name : {"nsga-net", "evocnn"}) {
    auto settings = settings_of(name, 60);
    settings.population = 10;
    settings.workers = 10;
    auto const first = search(*make_algorithm(settings, *space), toy);
    auto const second = search(*make_algorithm(settings, *space), toy, true);
    REQUIRE(first.size() == second.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      REQUIRE(same(first[i], second[i]));
      CHECK(first[i].generation == static_cast<int>(i / 10));
      CHECK((first[i].parent < 0) == (i < 10));
    }
  }
}

TEST_CASE("algorithms: failures rank last, and a search whose answers all fail goes on")
{
  auto const space = make_space("nsga-net", task);
  // Half of all genomes fail; those that fail would otherwise be the best.
  auto const objective = [](Trial const& trial) {
    auto fitness = toy(trial);
    fitness.failed = trial.genome.front() == 1;
    if (fitness.failed) fitness.accuracy = 100;
    return fitness;
  };
  for (auto const& name : algorithm_names()) {
    INFO(name);
    auto settings = settings_of(name, 200);
    settings.population = 10;
    auto const trials = search(*make_algorithm(settings, *space), objective);
    auto const failures =
        std::count_if(trials.begin() + 100, trials.end(), [&](Trial const& trial) { return objective(trial).failed; });
    if (name != "random") CHECK(failures < 40);
    auto const fail_all = search(*make_algorithm(settings, *space), [](Trial const&) {
      Fitness fitness;
      fitness.failed = true;
      return fitness;
    });
    CHECK(fail_all.size() == 200);
  }
}

TEST_CASE("evocnn: of two networks of nearly one accuracy the clearly smaller is chosen")
{
  auto const space = make_space("evocnn", task);
  // All within the slack of accuracy; the smallest should take over although it is not the most accurate.
  auto const objective = [](Trial const& trial) {
    Fitness fitness;
    fitness.parameters = 1000.0 * static_cast<double>(trial.genome.size());
    fitness.accuracy = 50 + 1e-3 * static_cast<double>(trial.genome.size());
    return fitness;
  };
  auto settings = settings_of("evocnn", 400);
  settings.population = 20;
  settings.allow_repeats = true;
  auto const trials = search(*make_algorithm(settings, *space), objective);
  auto const mean_length = [&](std::size_t from, std::size_t to) {
    double sum = 0;
    for (std::size_t i = from; i < to; ++i)
      sum += static_cast<double>(trials[i].genome.size());
    return sum / static_cast<double>(to - from);
  };
  CHECK(mean_length(300, 400) < mean_length(0, 20) - 3);
}

TEST_CASE("algorithms: what is wrong is refused")
{
  auto const space = make_space("lenet11", task);
  auto const refuse = [&](SearchSettings const& settings, std::string const& part) {
    CHECK_THROWS_MATCHES(make_algorithm(settings, *space), Error,
                         Catch::Matchers::MessageMatches(Catch::Matchers::ContainsSubstring(part)));
  };
  refuse(settings_of("magic", 10), "magic");
  refuse(settings_of("aging", 0), "evaluations");
  auto settings = settings_of("aging", 10);
  settings.population = -1;
  refuse(settings, "population");
  settings = settings_of("aging", 10);
  settings.workers = 0;
  refuse(settings, "workers");
  settings = settings_of("aging", 10);
  settings.mutation = 2;
  refuse(settings, "mutation");
  auto const algorithm = make_algorithm(settings_of("random", 2), *space);
  CHECK_THROWS_AS(algorithm->tell(0, {}), Error);
  auto const trial = algorithm->ask();
  REQUIRE(trial);
  CHECK_FALSE(algorithm->ask()); // one worker
  algorithm->tell(trial->id, {});
  CHECK_THROWS_AS(algorithm->tell(trial->id, {}), Error);
}
