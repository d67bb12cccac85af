// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "support/temporary.hpp"

#include <nasturtium/nas/search_algorithm.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <numeric>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;

namespace {

// Thirty bits; networks are nobody's business here.
class Bits : public SearchSpace
{
public:
  explicit Bits(int length = 30) : m_length(length) {}
  std::string_view name() const override { return "bits"; }
  double size() const override { return std::pow(2.0, m_length); }
  Genome sample(Random& random) const override
  {
    Genome genome(static_cast<std::size_t>(m_length));
    for (int& gene : genome)
      gene = random.below(2);
    return genome;
  }
  Genome neighbour(Genome const& genome, Random& random) const override
  {
    Genome next = genome;
    int& gene = next[static_cast<std::size_t>(random.below(m_length))];
    gene = 1 - gene;
    return next;
  }
  Genome mutate(Genome const& genome, double probability, Random& random) const override
  {
    Genome next = genome;
    for (int& gene : next)
      if (random.chance(probability)) gene = 1 - gene;
    return next;
  }
  std::pair<Genome, Genome> crossover(Genome const& first, Genome const& second, Random& random) const override
  {
    Genome a = first, b = second;
    for (std::size_t i = 0; i < a.size(); ++i)
      if (random.chance(0.5)) std::swap(a[i], b[i]);
    return {a, b};
  }
  void check(Genome const&) const override {}
  nn::spec::Architecture decode(Genome const&) const override { return {}; }
  std::string phenotype(Genome const& genome) const override
  {
    std::string text;
    for (int const gene : genome)
      text += static_cast<char>('0' + gene);
    return text;
  }
  int distance(Genome const& first, Genome const& second) const override
  {
    int differing = 0;
    for (std::size_t i = 0; i < first.size(); ++i)
      differing += first[i] != second[i];
    return differing;
  }

private:
  int m_length;
};

double ones(Genome const& genome)
{
  return std::accumulate(genome.begin(), genome.end(), 0.0);
}

Fitness one_max(Trial const& trial)
{
  Fitness fitness;
  fitness.accuracy = ones(trial.genome);
  fitness.flops = 1 + ones(trial.genome);
  fitness.parameters = 1;
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

// One question at a time.
template <class Judge>
std::vector<Trial> search(SearchSettings const& settings, SearchSpace const& space, Judge const& judge)
{
  auto const algorithm = make_algorithm(settings, space);
  std::vector<Trial> trials;
  while (auto const trial = algorithm->ask()) {
    trials.push_back(*trial);
    algorithm->tell(trial->id, judge(*trial));
  }
  CHECK(algorithm->finished());
  CHECK_FALSE(algorithm->ask());
  return trials;
}

double best_of(std::vector<Trial> const& trials)
{
  double best = 0;
  for (auto const& trial : trials)
    best = std::max(best, ones(trial.genome));
  return best;
}

} // namespace

TEST_CASE("algorithms: the same answers bring the same questions, another seed brings others")
{
  Bits const space;
  for (auto const& name : algorithm_names()) {
    INFO(name);
    auto const one = search(settings_of(name, 80), space, one_max), two = search(settings_of(name, 80), space, one_max),
               other = search(settings_of(name, 80, 2), space, one_max);
    REQUIRE(one.size() == 80);
    for (std::size_t i = 0; i < one.size(); ++i) {
      CHECK(one[i].id == static_cast<int>(i));
      CHECK(one[i].genome == two[i].genome);
      CHECK(one[i].parent == two[i].parent);
      CHECK(one[i].parent < one[i].id);
      CHECK(one[i].other_parent < one[i].id);
    }
    CHECK(one[0].genome != other[0].genome);
  }
}

TEST_CASE("algorithms: evolution finds more ones than chance")
{
  Bits const space;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    auto const judge = [](Trial const& trial) { // one objective: all cost the same
      Fitness fitness = one_max(trial);
      fitness.flops = 1;
      return fitness;
    };
    double const chance = best_of(search(settings_of("random", 400, seed), space, judge));
    for (std::string const name : {"aging", "nsga-net", "nsga-net-steady", "evocnn", "menndl"}) {
      INFO(name << " with seed " << seed);
      auto settings = settings_of(name, 400, seed);
      settings.population = 20;
      CHECK(best_of(search(settings, space, judge)) >= chance + 1);
    }
  }
}

TEST_CASE("algorithms: evolution is ahead of chance by far, over twenty seeds")
{
  Bits const space;
  auto const mean = [&](std::string const& name) {
    double sum = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      auto settings = settings_of(name, 500, seed);
      settings.population = 20;
      sum += best_of(search(settings, space, [](Trial const& trial) {
        Fitness fitness = one_max(trial);
        fitness.flops = 1;
        return fitness;
      }));
    }
    return sum / 20;
  };
  double const chance = mean("random"); // of 30 ones
  for (std::string const name : {"aging", "nsga-net", "nsga-net-steady", "evocnn", "menndl"}) {
    double const evolved = mean(name);
    INFO(name << ": " << evolved << ", chance: " << chance);
    CHECK(evolved >= chance + 3);
  }
}

TEST_CASE("algorithms: the best stay parents for good, except under aging")
{
  Bits const space;
  constexpr int champion = 3;
  for (std::string const name : {"aging", "nsga-net", "nsga-net-steady", "evocnn", "menndl"}) {
    INFO(name);
    auto settings = settings_of(name, 600);
    settings.population = 10;
    settings.sample = 5;
    auto const trials = search(settings, space, [&](Trial const& trial) {
      Fitness fitness = one_max(trial);
      fitness.flops = 1;
      if (trial.id == champion) fitness.accuracy = 100; // nothing comes near, its children neither
      return fitness;
    });
    for (int from = 10; from < 600; from += 50) {
      auto const children = std::count_if(trials.begin() + from, trials.begin() + std::min(from + 50, 600),
                                          [](Trial const& trial) { return champion == trial.parent; });
      INFO("evaluations from " << from << ": " << children << " children");
      if (name != "aging" || from == 10)
        CHECK(children > 0);
      else
        CHECK(children == 0); // it has left the deque
    }
  }
}

TEST_CASE("algorithms: two orders of the same kind of answers are both valid, and both replay")
{
  Bits const space;
  for (auto const& name : algorithm_names()) {
    for (int const population : {8, 2, 1}) { // the smaller ones: fewer than workers
      INFO(name << ", population " << population);
      auto settings = settings_of(name, 120);
      settings.workers = 6;
      settings.population = population;
      std::vector<std::vector<Trial>> asked;
      for (std::uint32_t const lot : {1, 2, 1, 2}) {
        auto const algorithm = make_algorithm(settings, space);
        Random random(17, lot);
        std::vector<Trial> open, all;
        std::set<int> told;
        while (!algorithm->finished()) {
          while (auto const trial = algorithm->ask()) {
            // Whoever has children has been told before.
            CHECK((trial->parent < 0 || told.contains(trial->parent)));
            CHECK((trial->other_parent < 0 || told.contains(trial->other_parent)));
            open.push_back(*trial);
            all.push_back(*trial);
          }
          REQUIRE_FALSE(open.empty());
          auto const at = random.below(static_cast<int>(open.size()));
          Trial const trial = open[static_cast<std::size_t>(at)];
          open.erase(open.begin() + at);
          algorithm->tell(trial.id, one_max(trial));
          told.insert(trial.id);
        }
        CHECK(all.size() == 120);
        asked.push_back(std::move(all));
      }
      auto const equal = [](std::vector<Trial> const& left, std::vector<Trial> const& right) {
        return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](Trial const& a, Trial const& b) {
          return a.id == b.id && a.genome == b.genome && a.parent == b.parent && a.other_parent == b.other_parent;
        });
      };
      CHECK(equal(asked[0], asked[2]));
      CHECK(equal(asked[1], asked[3]));
      if (name == "aging" || name == "menndl") CHECK_FALSE(equal(asked[0], asked[1]));
    }
  }
}

TEST_CASE("algorithms: no network is asked for twice, unless it may be")
{
  Bits const space(7); // 128 networks
  for (auto const& name : algorithm_names()) {
    INFO(name);
    auto settings = settings_of(name, 100);
    settings.population = 8;
    std::set<std::string> seen;
    for (auto const& trial : search(settings, space, one_max))
      seen.insert(space.phenotype(trial.genome));
    CHECK(seen.size() >= 99); // a try may fail when nearly all are used up
    // More questions than networks: they are asked all the same.
    settings.evaluations = 150;
    CHECK(search(settings, space, one_max).size() == 150);
  }
}

TEST_CASE("algorithms: answers in any order, many open questions")
{
  Bits const space;
  for (auto const& name : algorithm_names()) {
    INFO(name);
    auto settings = settings_of(name, 120);
    settings.workers = 7;
    settings.population = 10;
    auto const algorithm = make_algorithm(settings, space);
    std::deque<Trial> open;
    Random random(3, 3);
    int told = 0;
    while (!algorithm->finished()) {
      while (auto const trial = algorithm->ask())
        open.push_back(*trial);
      REQUIRE(!open.empty());
      CHECK(open.size() <= 7);
      auto const at = random.below(static_cast<int>(open.size()));
      Trial const trial = open[static_cast<std::size_t>(at)];
      open.erase(open.begin() + at);
      algorithm->tell(trial.id, one_max(trial));
      ++told;
    }
    CHECK(told == 120);
  }
}

TEST_CASE("algorithms: generations do not depend on the order of their answers")
{
  Bits const space;
  for (std::string const name : {"nsga-net", "evocnn"}) {
    auto settings = settings_of(name, 60);
    settings.population = 12;
    settings.workers = 12;
    std::vector<std::vector<Genome>> asked(2);
    for (int const reverse : {0, 1}) {
      auto const algorithm = make_algorithm(settings, space);
      while (!algorithm->finished()) {
        std::vector<Trial> open;
        while (auto const trial = algorithm->ask())
          open.push_back(*trial);
        for (auto const& trial : open)
          asked[static_cast<std::size_t>(reverse)].push_back(trial.genome);
        if (reverse) std::reverse(open.begin(), open.end());
        for (auto const& trial : open)
          algorithm->tell(trial.id, one_max(trial));
      }
    }
    CHECK(asked[0] == asked[1]);
  }
}

TEST_CASE("aging: N + W - 1 random genomes come first, then children that differ in one gene")
{
  Bits const space;
  for (int const workers : {1, 5}) {
    auto settings = settings_of("aging", 60);
    settings.population = 10;
    settings.sample = 4;
    settings.workers = workers;
    auto const algorithm = make_algorithm(settings, space);
    std::map<int, Genome> genomes;
    std::deque<Trial> open;
    std::vector<int> ended; // in the order of the answers
    while (!algorithm->finished()) {
      while (auto const trial = algorithm->ask()) {
        genomes[trial->id] = trial->genome;
        if (trial->id < 10 + workers - 1) {
          CHECK(trial->parent == -1);
        } else {
          REQUIRE(trial->parent >= 0);
          CHECK(space.distance(genomes[trial->parent], trial->genome) == 1);
          // The parent is one of the last ten answers: the older ones have died.
          CHECK(std::find(ended.end() - 10, ended.end(), trial->parent) != ended.end());
        }
        open.push_back(*trial);
      }
      algorithm->tell(open.front().id, one_max(open.front()));
      ended.push_back(open.front().id);
      open.pop_front();
    }
  }
}

TEST_CASE("algorithms: a failure is nobody's parent while there are others")
{
  Bits const space;
  for (std::string const name : {"aging", "nsga-net", "nsga-net-steady", "evocnn", "menndl"}) {
    for (int const workers : {1, 4}) {
      for (double const share : {0.5, 0.9}) {
        INFO(name << ", " << workers << " workers, failures " << share);
        auto settings = settings_of(name, 400);
        settings.population = 10;
        settings.sample = 2; // small, so that draws of failures alone are frequent
        settings.workers = workers;
        Random random(11, 0);
        auto const algorithm = make_algorithm(settings, space);
        std::deque<Trial> open;
        std::vector<int> told; // in the order of the answers
        std::set<int> failed;
        int children = 0;
        while (!algorithm->finished()) {
          while (auto const trial = algorithm->ask()) {
            auto const from =
                name == "aging" ? told.end() - std::min<std::ptrdiff_t>(10, std::ssize(told)) : told.begin();
            bool const choice = std::any_of(from, told.end(), [&](int id) { return !failed.contains(id); });
            if (choice && trial->parent >= 0) {
              ++children;
              CHECK_FALSE(failed.contains(trial->parent));
              CHECK_FALSE(failed.contains(trial->other_parent));
            }
            open.push_back(*trial);
          }
          Trial const trial = open.front();
          open.pop_front();
          Fitness fitness = one_max(trial);
          fitness.failed = random.chance(share);
          if (fitness.failed) failed.insert(trial.id);
          told.push_back(trial.id);
          algorithm->tell(trial.id, fitness);
        }
        CHECK(children > 200);
      }
    }
  }
}

TEST_CASE("algorithms: searches in which everything fails end")
{
  Bits const space;
  for (auto const& name : algorithm_names()) {
    INFO(name);
    Fitness failure;
    failure.failed = true;
    CHECK(search(settings_of(name, 50), space, [&](Trial const&) { return failure; }).size() == 50);
  }
}

TEST_CASE("algorithms: populations of one, single evaluations, populations larger than the search")
{
  Bits const space;
  for (auto const& name : algorithm_names()) {
    INFO(name);
    for (int const population : {1, 2, 500}) {
      auto settings = settings_of(name, 20);
      settings.population = population;
      CHECK(search(settings, space, one_max).size() == 20);
      settings.evaluations = 1;
      CHECK(search(settings, space, one_max).size() == 1);
    }
  }
}

TEST_CASE("nsga-net: small networks survive beside accurate ones")
{
  Bits const space;
  auto settings = settings_of("nsga-net", 600);
  settings.population = 20;
  auto const trials = search(settings, space, one_max); // accuracy and flops pull in opposite directions
  double least = 30, most = 0;
  for (std::size_t i = trials.size() - 100; i < trials.size(); ++i) {
    least = std::min(least, ones(trials[i].genome));
    most = std::max(most, ones(trials[i].genome));
  }
  CHECK(least <= 8);
  CHECK(most >= 22);
}

TEST_CASE("algorithms: wrong answers and settings are named")
{
  Bits const space;
  auto const algorithm = make_algorithm(settings_of("aging", 5), space);
  auto const trial = algorithm->ask();
  REQUIRE(trial);
  CHECK_FALSE(algorithm->ask()); // one worker, one open question
  CHECK(error_of([&] { algorithm->tell(7, {}); }).find("trial 7") != std::string::npos);
  Fitness fitness;
  fitness.accuracy = std::numeric_limits<double>::quiet_NaN();
  CHECK(error_of([&] { algorithm->tell(0, fitness); }).find("not finite") != std::string::npos);
  algorithm->tell(0, one_max(*trial));
  CHECK(error_of([&] { algorithm->tell(0, one_max(*trial)); }).find("not open") != std::string::npos);

  auto const complaint = [&](auto const& change) {
    auto settings = settings_of("aging", 5);
    change(settings);
    return error_of([&] { make_algorithm(settings, space); });
  };
  CHECK(complaint([](auto& s) { s.algorithm = "annealing"; }).find("'annealing'") != std::string::npos);
  CHECK(complaint([](auto& s) { s.evaluations = 0; }).find("'evaluations'") != std::string::npos);
  CHECK(complaint([](auto& s) { s.population = -1; }).find("'population'") != std::string::npos);
  CHECK(complaint([](auto& s) { s.workers = 0; }).find("'workers'") != std::string::npos);
  CHECK(complaint([](auto& s) { s.mutation = 1.5; }).find("'mutation'") != std::string::npos);
}
