// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <array>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

/// Types of the units, in their order.
std::vector<int> types_of(Genome const& genome)
{
  std::vector<int> types;
  for (std::size_t i = 0; i < genome.size(); i += 3)
    types.push_back(genome[i]);
  return types;
}

} // namespace

TEST_CASE("evocnn: decoding")
{
  auto const space = make_space("evocnn", {{28, 28, 1}, 10});
  // conv 24 of 5 x 5, max pool 3 x 3, conv 8 of 1 x 1, average pool 2 x 2, dense 256.
  auto const architecture = space->decode({0, 2, 2, 1, 0, 1, 0, 0, 0, 1, 1, 0, 2, 3, 0});
  auto const inferred = nn::spec::infer(architecture);
  CHECK(inferred.parameter_count == (25 + 1) * 24 + (24 + 1) * 8 + (7 * 7 * 8 + 1) * 256 + (256 + 1) * 10);
  std::vector<std::string> ops;
  for (nn::spec::Node const& node : architecture.nodes)
    ops.push_back(nn::spec::op_name(node.op));
  CHECK(ops == std::vector<std::string>{"conv2d", "relu", "max_pool2d", "conv2d", "relu", "avg_pool2d", "flatten",
                                        "dense", "relu", "dense"});
}

TEST_CASE("evocnn: size is the number of lists, counted unit by unit")
{
  for (auto const& [extent, least] : {std::pair{28, 2}, {32, 2}, {8, 0}, {33, 3}}) {
    auto const space = make_space("evocnn", {{extent, extent, 1}, 10});
    // Lists with so many convolutions and pools, by appending 15 kinds of the one and 4 of the other.
    std::array<std::array<double, 8>, 8> lists{};
    lists[1][0] = 15;
    for (std::size_t c = 1; c <= 6; ++c)
      for (std::size_t p = 0; p <= 5; ++p)
        lists[c][p] += (c > 1 ? 15 * lists[c - 1][p] : 0) + (p > 0 ? 4 * lists[c][p - 1] : 0);
    double body = 0;
    for (std::size_t c = 1; c <= 6; ++c)
      for (int p = least; p <= least + 2; ++p)
        body += lists[c][static_cast<std::size_t>(p)];
    CHECK_THAT(space->size(), Catch::Matchers::WithinRel(body * (1 + 4 + 16), 1e-12));
  }
}

TEST_CASE("evocnn: crossover keeps the type of every unit")
{
  auto const space = make_space("evocnn", {{32, 32, 3}, 10});
  bool between = false;
  for (std::uint32_t decision = 0; decision < 500; ++decision) {
    Random random(4, decision);
    Genome const first = space->sample(random);
    Genome const second = space->sample(random);
    auto const [one, two] = space->crossover(first, second, random);
    REQUIRE(types_of(one) == types_of(first));
    REQUIRE(types_of(two) == types_of(second));
    // The first convolutions are a pair; a child may have a number of filters that neither parent has.
    between = between || (one[1] != first[1] && one[1] != second[1]);
  }
  CHECK(between);
}

TEST_CASE("evocnn: neighbours are longer, shorter and changed")
{
  auto const space = make_space("evocnn", {{28, 28, 1}, 10});
  std::set<std::ptrdiff_t> changes;
  Genome genome{0, 0, 0, 1, 0, 0, 1, 0, 0};
  Random random(6, 0);
  for (int i = 0; i < 2000; ++i) {
    Genome const next = space->neighbour(genome, random);
    changes.insert(static_cast<std::ptrdiff_t>(next.size()) - static_cast<std::ptrdiff_t>(genome.size()));
    genome = next;
  }
  CHECK(changes == std::set<std::ptrdiff_t>{-3, 0, 3});
}

TEST_CASE("evocnn: distances between lists")
{
  auto const space = make_space("evocnn", {{8, 8, 1}, 10});
  Genome const abc{0, 0, 0, 0, 1, 0, 0, 2, 0};
  CHECK(space->distance(abc, {0, 0, 0, 0, 2, 0}) == 1);
  CHECK(space->distance(abc, {0, 1, 0, 0, 2, 0, 0, 3, 0}) == 2);
  CHECK(space->distance(abc, {0, 3, 0}) == 3);
  CHECK(space->distance(abc, {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 2, 0, 2, 0, 0}) == 2);
}

TEST_CASE("evocnn: messages name the unit")
{
  auto const space = make_space("evocnn", {{28, 28, 1}, 10});
  auto const message = [](std::string const& text) { return Catch::Matchers::Message(text); };
  Genome const good{0, 0, 0, 1, 0, 0, 1, 0, 0, 2, 0, 0};
  CHECK_NOTHROW(space->check(good));
  Genome wrong = good;
  wrong[7] = 2;
  CHECK_THROWS_MATCHES(space->check(wrong), Error,
                       message("evocnn: gene 7 (kind of pool unit 3) must be in 0..1, got 2"));
  wrong = good;
  wrong[0] = 1;
  CHECK_THROWS_MATCHES(space->check(wrong), Error,
                       message("evocnn: gene 0 (type of unit 1) = 1: the first unit must be a convolution (0)"));
  wrong = good;
  wrong.insert(wrong.end(), {0, 0, 0});
  CHECK_THROWS_MATCHES(space->check(wrong), Error,
                       message("evocnn: gene 12 (type of unit 5) = 0: only dense units (2) may follow one"));
  CHECK_THROWS_MATCHES(space->check({0, 0, 0, 1, 0, 0}), Error,
                       message("evocnn: a genome for images of 28 x 28 has 2..4 pool units, got 1"));
  CHECK_THROWS_MATCHES(space->check({0, 0}), Error,
                       message("evocnn: a genome has three genes for each unit, got 2 genes"));
  CHECK_THROWS_MATCHES(
      make_space("evocnn", {{2, 64, 1}, 10}), Error,
      message("evocnn: images of 2 x 64 are too narrow for the 3 poolings that the longer side needs"));
}
