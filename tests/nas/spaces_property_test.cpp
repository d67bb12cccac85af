// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every search space promises, over thousands of seeded genomes.
#include "../support/space_tasks.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <map>
#include <set>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

std::vector<Task> const tasks{
    {{28, 28, 1}, 10}, {{32, 32, 3}, 100}, {{8, 8, 1}, 10}, {{8, 8, 1}, 100}, {{17, 31, 2}, 7}};

template <class Check>
void for_every_space(Check const& check)
{
  for (std::string const& name : space_names()) {
    for (Task const& task : test::tasks_of(name, tasks)) {
      INFO(name << " on " << task.input.height << " x " << task.input.width << " x " << task.input.channels);
      check(*make_space(name, task), task);
    }
  }
}

/// Throws, which fails the test, where the genome is not a network of the task.
nn::spec::Architecture require_valid(SearchSpace const& space, Task const& task, Genome const& genome)
{
  space.check(genome);
  nn::spec::Architecture architecture = space.decode(genome);
  nn::spec::infer(architecture, format_genome(genome));
  bool const fits = architecture.input == task.input && architecture.classes == task.classes &&
                    architecture.regression == task.regression;
  if (!fits) FAIL("decoded for another task: " << format_genome(genome));
  return architecture;
}

} // namespace

TEST_CASE("spaces: samples, neighbours, mutants and children are valid")
{
  for_every_space([](SearchSpace const& space, Task const& task) {
    int changed = 0, crossed = 0;
    for (std::uint32_t decision = 0; decision < 400; ++decision) {
      Random random(11, decision);
      Genome const first = space.sample(random);
      Genome const second = space.sample(random);
      require_valid(space, task, first);
      if (space.distance(first, first) != 0) FAIL("a genome differs from itself");
      if (space.distance(first, second) != space.distance(second, first)) FAIL("distance depends on the order");

      Genome const near = space.neighbour(first, random);
      require_valid(space, task, near);
      if (space.distance(first, near) != 1)
        FAIL("not a neighbour: " << format_genome(first) << ' ' << format_genome(near));

      Genome const mutant = space.mutate(first, 0.2, random);
      require_valid(space, task, mutant);
      changed += space.distance(first, mutant) > 0 ? 1 : 0;
      if (space.mutate(first, 0, random) != first) FAIL("changed with probability 0");
      require_valid(space, task, space.mutate(first, 1, random));

      auto const [one, two] = space.crossover(first, second, random);
      require_valid(space, task, one);
      require_valid(space, task, two);
      crossed += one != first && one != second ? 1 : 0;
    }
    CHECK(changed > 150); // three genes: 1 - 0.8^3 of 400 are 195
    CHECK(crossed > 200);
  });
}

TEST_CASE("spaces: decisions depend on seed and number alone")
{
  for_every_space([](SearchSpace const& space, Task const& task) {
    auto const again = make_space(std::string(space.name()), task);
    std::set<Genome> seen;
    for (std::uint32_t decision = 0; decision < 50; ++decision) {
      Random one(5, decision), two(5, decision);
      Genome const genome = space.sample(one);
      REQUIRE(again->sample(two) == genome);
      REQUIRE(again->mutate(genome, 0.3, two) == space.mutate(genome, 0.3, one));
      seen.insert(genome);
    }
    CHECK(seen.size() > 45);
  });
}

TEST_CASE("spaces: phenotypes are equal exactly where the networks are")
{
  for_every_space([](SearchSpace const& space, Task const&) {
    std::map<std::string, std::string> phenotype_of, network_of;
    for (std::uint32_t decision = 0; decision < 150; ++decision) {
      Random random(3, decision);
      Genome genome = space.sample(random);
      // Walks collect genomes that are near to each other, of which some are the same network.
      for (int step = 0; step < 4; ++step) {
        std::string const phenotype = space.phenotype(genome);
        std::string const network = nn::spec::hash(space.decode(genome));
        REQUIRE(phenotype_of.emplace(network, phenotype).first->second == phenotype);
        REQUIRE(network_of.emplace(phenotype, network).first->second == network);
        genome = space.neighbour(genome, random);
      }
    }
    CHECK(phenotype_of.size() == network_of.size());
  });
}

TEST_CASE("spaces: every neighbour is within reach, every sample too")
{
  // Each gene of a space with a fixed length takes each value.
  for (std::string const name :
       {"lenet11", "vgg21", "nt3-12", "nt3-8", "nt3-10", "nsga-net", "menndl", "uno-13", "uno-toy"}) {
    auto const space =
        make_space(name, name.starts_with("nt3") ? Task{{2048, 1, 1}, 2} : test::tasks_of(name, tasks).front());
    Random random(1, 0);
    Genome const start = space->sample(random);
    std::set<Genome> neighbours;
    std::vector<std::set<int>> values(start.size());
    for (int i = 0; i < 4000; ++i) {
      neighbours.insert(space->neighbour(start, random));
      Genome const genome = space->sample(random);
      for (std::size_t gene = 0; gene < genome.size(); ++gene)
        values[gene].insert(genome[gene]);
    }
    std::size_t expected = 0;
    double size = 1;
    for (std::set<int> const& options : values) {
      expected += options.size() - 1;
      size *= static_cast<double>(options.size());
    }
    CHECK(neighbours.size() == expected);
    CHECK(space->size() == size);
  }
}

TEST_CASE("spaces: genomes go through text and come back from their networks")
{
  for_every_space([](SearchSpace const& space, Task const& task) {
    Random random(8, 0);
    for (int i = 0; i < 20; ++i) {
      Genome const genome = space.sample(random);
      REQUIRE(parse_genome(format_genome(genome), "test") == genome);
      auto architecture = require_valid(space, task, genome);
      auto const read = nn::spec::parse_architecture(nn::spec::to_json(architecture), "test");
      REQUIRE(encode(space, read) == genome);
      // Other ids are the same network, another head is not.
      for (nn::spec::Node& node : architecture.nodes) {
        node.id += "_";
        for (std::string& input : node.inputs)
          if (input != "input") input += "_";
      }
      REQUIRE(encode(space, architecture) == genome);
      architecture.nodes.pop_back();
      REQUIRE_THROWS_AS(encode(space, architecture), Error);
    }
  });
  auto const space = make_space("lenet11", tasks[0]);
  nn::spec::Architecture const lenet = nn::spec::load_architecture("lenet");
  CHECK_THROWS_MATCHES(encode(*space, lenet), Error,
                       Catch::Matchers::Message("architecture 'lenet': is not one of space lenet11"));
  CHECK(parse_genome("", "test").empty());
  for (std::string const text : {"-1", "1-", "1--2", "a", "1 2", "99999999999", "-"})
    CHECK_THROWS_AS(parse_genome(text, "test"), Error);
}

TEST_CASE("spaces: genomes that are none are refused")
{
  for_every_space([](SearchSpace const& space, Task const&) {
    Random random(2, 0);
    Genome const genome = space.sample(random);
    CHECK_THROWS_AS(space.check({}), Error);
    Genome longer = genome;
    longer.push_back(0);
    CHECK_THROWS_AS(space.check(longer), Error);
    for (std::size_t gene = 0; gene < genome.size(); ++gene) {
      for (int const value : {-1, 1000}) {
        Genome wrong = genome;
        wrong[gene] = value;
        std::string message;
        try {
          space.decode(wrong);
        } catch (Error const& error) {
          message = error.what();
        }
        INFO(message);
        CHECK(message.starts_with(std::string(space.name()) + ": gene " + std::to_string(gene) + " ("));
        CHECK(message.ends_with(", got " + std::to_string(value)));
      }
    }
  });
}

TEST_CASE("spaces: unknown names and tasks are refused")
{
  std::string known;
  for (std::string const& name : space_names()) {
    CHECK(make_space(name, test::tasks_of(name, tasks).front())->name() == name);
    known += (known.empty() ? "" : ", ") + name;
  }
  CHECK_THROWS_MATCHES(make_space("darts", tasks[0]), Error,
                       Catch::Matchers::Message("search space: unknown name 'darts' (known: " + known + ")"));
  CHECK_THROWS_MATCHES(make_space("menndl", {{0, 8, 1}, 10}), Error,
                       Catch::Matchers::Message("task: field 'input' must be positive, got 0 x 8 x 1"));
  CHECK_THROWS_MATCHES(make_space("menndl", {{8, 8, 1}, 1}), Error,
                       Catch::Matchers::Message("task: field 'classes' must be at least 2, got 1"));
  CHECK_THROWS_MATCHES(make_space("menndl", {{8, 8, 1}, 10, 1}), Error,
                       Catch::Matchers::Message("task: either 'classes' or 'regression', got 10 and 1"));
  CHECK(make_space("menndl", {{8, 8, 1}, 0, 3})->name() == "menndl");
}
