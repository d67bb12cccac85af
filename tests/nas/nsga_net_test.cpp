// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../../nas/src/spaces/nsga_phase.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;
using impl::PhaseGraph;

namespace {

Genome genome_of(std::array<std::string, 3> const& phases)
{
  Genome genome;
  for (std::string const& bits : phases)
    for (char const bit : bits)
      if (bit != ' ') genome.push_back(bit - '0');
  return genome;
}

/// The graph with its nodes in another order; nothing where an arrow would point backwards.
std::optional<std::uint32_t> relabelled(std::uint32_t code, std::array<int, 6> const& place)
{
  std::uint32_t result = 0;
  int bit = 0;
  for (int to = 1; to < 6; ++to) {
    for (int from = 0; from < to; ++from, ++bit) {
      if ((code >> bit & 1u) == 0) continue;
      int const a = place[static_cast<std::size_t>(from)];
      int const b = place[static_cast<std::size_t>(to)];
      if (a > b) return std::nullopt;
      result |= 1u << (b * (b - 1) / 2 + a);
    }
  }
  return result;
}

/// "op(inputs)" of a node, written out to the image: what it computes, whatever the names. Sums commute.
std::string expression(nn::spec::Architecture const& architecture, std::string const& id)
{
  if (id == "input") return id;
  auto const node = std::find_if(architecture.nodes.begin(), architecture.nodes.end(),
                                 [&](nn::spec::Node const& candidate) { return candidate.id == id; });
  REQUIRE(node != architecture.nodes.end());
  std::vector<std::string> inputs;
  for (std::string const& input : node->inputs)
    inputs.push_back(expression(architecture, input));
  std::sort(inputs.begin(), inputs.end());
  std::string text = nn::spec::op_name(node->op) + "(";
  for (std::string const& input : inputs)
    text += input + ",";
  return text + ")";
}

} // namespace

TEST_CASE("nsga-net: size and shapes")
{
  auto const space = make_space("nsga-net", {{32, 32, 3}, 100});
  CHECK(space->size() == std::ldexp(1.0, 48));
  // Three empty phases: their input convolutions alone.
  auto const empty = space->decode(Genome(48, 0));
  CHECK(empty.nodes.size() == 7);
  CHECK(nn::spec::infer(empty).parameter_count == (3 + 1) * 16 + (16 + 1) * 32 + (32 + 1) * 64 + (64 + 1) * 100);
  // Every connection: a chain of six nodes each of which sums all before it.
  auto const full = space->decode(Genome(48, 1));
  std::int64_t expected = nn::spec::infer(empty).parameter_count;
  for (int const width : {16, 32, 64})
    expected += 6 * (9 * width * width + 2 * width);
  CHECK(nn::spec::infer(full).parameter_count == expected);
}

TEST_CASE("nsga-net: exact decoding of a phase")
{
  auto const space = make_space("nsga-net", {{16, 16, 1}, 10});
  // Phase 1: 1 -> 2, 1 -> 3, {2, 3} -> 4; 5 and 6 are isolated; skip. Phase 2: 5 -> 6 alone. Phase 3: empty.
  Genome const genome = genome_of({"1 10 011 0000 00000 1", "0 00 000 0000 00001 0", "0 00 000 0000 00000 1"});
  auto const architecture = space->decode(genome);
  std::string const input1 = "conv2d(input,)";
  auto const node = [](std::string const& inputs) { return "relu(batch_norm(conv2d(" + inputs + ",),),)"; };
  std::string const first = node(input1);
  std::string const fourth = node("add(" + node(first) + "," + node(first) + ",)");
  std::string const phase1 = "add(" + input1 + "," + fourth + ",)";
  // "conv2d" sorts before "relu".
  std::string const phase2 = node(node("conv2d(max_pool2d(" + phase1 + ",),)"));
  std::string const phase3 = "conv2d(max_pool2d(" + phase2 + ",),)";
  CHECK(expression(architecture, architecture.nodes.back().id) == "dense(global_avg_pool(" + phase3 + ",),)");
}

TEST_CASE("nsga-net: canonical graphs, all 32,768")
{
  std::set<std::uint32_t> canonical;
  for (std::uint32_t code = 0; code < (1u << PhaseGraph::connections); ++code) {
    PhaseGraph const graph = PhaseGraph(code).canonical();
    canonical.insert(graph.code());
    if (graph.canonical() != graph || graph.size() != PhaseGraph(code).size()) FAIL("not canonical: " << code);
  }
  // Directed acyclic graphs on six unlabelled nodes: OEIS A003087.
  CHECK(canonical.size() == 5984);
}

TEST_CASE("nsga-net: relabelled phases are one network, others are not")
{
  auto const space = make_space("nsga-net", {{8, 8, 1}, 10});
  int compared = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    Random random(seed, 0);
    Genome const genome = space->sample(random);
    std::array<int, 6> place{};
    std::iota(place.begin(), place.end(), 0);
    for (int i = 5; i > 0; --i)
      std::swap(place[static_cast<std::size_t>(i)], place[static_cast<std::size_t>(random.below(i + 1))]);
    Genome other = genome;
    for (std::size_t phase = 0; phase < 3; ++phase) {
      std::uint32_t code = 0;
      for (std::size_t bit = 0; bit < 15; ++bit) {
        // Sparse graphs have more orders.
        other[16 * phase + bit] = genome[16 * phase + bit] & random.below(2);
        code |= static_cast<std::uint32_t>(other[16 * phase + bit]) << bit;
      }
      auto const moved = relabelled(code, place);
      if (!moved) continue;
      Genome twin = other;
      for (std::size_t bit = 0; bit < 15; ++bit)
        twin[16 * phase + bit] = static_cast<int>(*moved >> bit & 1u);
      REQUIRE(space->phenotype(twin) == space->phenotype(other));
      REQUIRE(nn::spec::hash(space->decode(twin)) == nn::spec::hash(space->decode(other)));
      compared += twin != other ? 1 : 0;
    }
    // One connection more: never the same network.
    Genome edited = other;
    std::size_t const bit = static_cast<std::size_t>(random.below(3) * 16 + random.below(15));
    edited[bit] = 1 - edited[bit];
    REQUIRE(space->phenotype(edited) != space->phenotype(other));
    REQUIRE(nn::spec::hash(space->decode(edited)) != nn::spec::hash(space->decode(other)));
  }
  CHECK(compared >= 20);
}

TEST_CASE("nsga-net: the skip of an empty phase changes nothing, any other does")
{
  auto const space = make_space("nsga-net", {{8, 8, 1}, 10});
  Genome const empty(48, 0);
  Genome skip = empty;
  skip[15] = 1;
  CHECK(space->phenotype(skip) == space->phenotype(empty));
  Genome with = skip;
  with[0] = 1;
  Genome without = empty;
  without[0] = 1;
  CHECK(space->phenotype(with) != space->phenotype(without));
  CHECK(nn::spec::hash(space->decode(skip)) == nn::spec::hash(space->decode(empty)));
}

TEST_CASE("nsga-net: genes are named in messages")
{
  auto const space = make_space("nsga-net", {{8, 8, 1}, 10});
  Genome genome(48, 0);
  genome[16 + 5] = 2;
  CHECK_THROWS_MATCHES(space->check(genome), Error,
                       Catch::Matchers::Message("nsga-net: gene 21 (phase 2 connection 3-4) must be in 0..1, got 2"));
  CHECK_THROWS_MATCHES(make_space("nsga-net", {{3, 8, 1}, 10}), Error,
                       Catch::Matchers::Message("nsga-net: the images must be at least 4 x 4, got 3 x 8"));
}

TEST_CASE("nsga-net-narrow: the same graphs with half the widths")
{
  Task const task{{32, 32, 3}, 100};
  auto const wide = make_space("nsga-net", task), narrow = make_space("nsga-net-narrow", task);
  for (std::uint32_t decision = 0; decision < 50; ++decision) {
    Random random(31, decision);
    Genome const genome = wide->sample(random);
    CHECK(wide->phenotype(genome) == narrow->phenotype(genome));
    auto const a = wide->decode(genome), b = narrow->decode(genome);
    REQUIRE(a.nodes.size() == b.nodes.size());
    for (std::size_t i = 0; i < a.nodes.size(); ++i) {
      CHECK(a.nodes[i].id == b.nodes[i].id);
      CHECK(a.nodes[i].inputs == b.nodes[i].inputs);
      auto const* const left = std::get_if<nn::spec::Conv2d>(&a.nodes[i].op);
      auto const* const right = std::get_if<nn::spec::Conv2d>(&b.nodes[i].op);
      REQUIRE((left == nullptr) == (right == nullptr));
      if (left) CHECK(left->filters == 2 * right->filters);
    }
    double const share = nn::spec::infer(b).forward_flops / nn::spec::infer(a).forward_flops;
    CHECK(share > 0.2);
    CHECK(share < 0.35);
  }
}
