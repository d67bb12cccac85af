// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How much of a child its donor fills, by the genes that they differ in: decoders and matchers together against shares
// computed from the definitions of the spaces.
#include <nasturtium/nas/matching.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <array>

using namespace nasturtium;
using namespace nasturtium::nas;
using Catch::Matchers::WithinAbs;

namespace {

Task const mnist{{28, 28, 1}, 10}, cifar{{32, 32, 3}, 10}, nt3{{60'483, 1, 1}, 2};

/// The genome with `distance` distinct genes moved, each to another option uniformly.
Genome moved(SearchSpace const& space, Genome const& genome, int distance, Random& random)
{
  Genome child = genome;
  for (int moves = 0; moves < distance;) {
    Genome next = space.neighbour(child, random);
    // A gene that was moved already stays where it is.
    if (space.distance(genome, next) <= moves) continue;
    child = std::move(next);
    ++moves;
  }
  return child;
}

/// By distance 1, 2, 4 and for an independent genome.
using Shares = std::array<double, 4>;

struct Coverage
{
  Shares prefix, subsequence, identical, prefix_none, subsequence_none;
};

Coverage measured(SearchSpace const& space, BatchNormRule batch_norm, int pairs)
{
  MatchPolicy const policy{Matcher::lcs, ElementRule::tuple, batch_norm};
  Coverage sums{};
  for (std::uint32_t pair = 0; pair < static_cast<std::uint32_t>(pairs); ++pair) {
    Random random(17, pair);
    Genome const genome = space.sample(random);
    LayerCodes const donor = layer_codes(weighted_layers(space.decode(genome), policy));
    for (std::size_t column = 0; column < 4; ++column) {
      Genome const other = column == 3 ? space.sample(random) : moved(space, genome, 1 << column, random);
      LayerCodes const child = layer_codes(weighted_layers(space.decode(other), policy));
      double const layers = static_cast<double>(child.keys.size()) * pairs;
      auto const prefix = static_cast<double>(match_score(donor, child, Matcher::lp));
      auto const subsequence = static_cast<double>(match_score(donor, child, Matcher::lcs));
      sums.prefix[column] += prefix / layers;
      sums.subsequence[column] += subsequence / layers;
      sums.identical[column] += donor.keys == child.keys ? 1. / pairs : 0;
      sums.prefix_none[column] += prefix == 0 ? 1. / pairs : 0;
      sums.subsequence_none[column] += subsequence == 0 ? 1. / pairs : 0;
    }
  }
  return sums;
}

void check_coverage(std::string const& space, Task const& task, BatchNormRule batch_norm, Coverage const& expected)
{
  Coverage const found = measured(*make_space(space, task), batch_norm, 6000);
  for (std::size_t column = 0; column < 4; ++column) {
    INFO(space << ", column " << column);
    CHECK_THAT(found.prefix[column], WithinAbs(expected.prefix[column], 0.02));
    CHECK_THAT(found.subsequence[column], WithinAbs(expected.subsequence[column], 0.02));
    CHECK_THAT(found.identical[column], WithinAbs(expected.identical[column], 0.02));
    CHECK_THAT(found.prefix_none[column], WithinAbs(expected.prefix_none[column], 0.02));
    CHECK_THAT(found.subsequence_none[column], WithinAbs(expected.subsequence_none[column], 0.02));
  }
}

} // namespace

TEST_CASE("coverage by distance: lenet11")
{
  check_coverage("lenet11", mnist, BatchNormRule::element,
                 {{.669, .465, .258, .063},
                  {.833, .695, .478, .119},
                  {.496, .226, .034, 0},
                  {.078, .156, .313, .750},
                  {0, .004, .052, .559}});
}

TEST_CASE("coverage by distance: nt3-8")
{
  check_coverage("nt3-8", nt3, BatchNormRule::element,
                 {{.639, .401, .166, .032},
                  {.792, .615, .341, .102},
                  {.516, .231, .021, .001},
                  {.116, .234, .467, .876},
                  {0, .028, .185, .691}});
}

TEST_CASE("coverage by distance: nt3-8-full")
{
  check_coverage("nt3-8-full", nt3, BatchNormRule::element,
                 {{.640, .406, .171, .033},
                  {.793, .617, .344, .146},
                  {.517, .235, .023, .001},
                  {.114, .228, .456, .875},
                  {0, .027, .181, .576}});
}

TEST_CASE("coverage by distance: vgg21, batch norms as layers")
{
  check_coverage("vgg21", cifar, BatchNormRule::element,
                 {{.567, .376, .215, .013},
                  {.915, .836, .695, .165},
                  {.180, .028, .001, 0},
                  {.043, .088, .176, .875},
                  {0, 0, 0, .066}});
}

TEST_CASE("coverage by distance: vgg21, batch norms ignored")
{
  check_coverage("vgg21", cifar, BatchNormRule::ignore,
                 {{.757, .580, .372, .015},
                  {.916, .837, .696, .100},
                  {.560, .301, .084, 0},
                  {.044, .090, .179, .878},
                  {0, 0, 0, .368}});
}

TEST_CASE("coverage: bytes that children one gene away share")
{
  struct Row
  {
    std::string space;
    Task task;
    std::array<double, 3> shared; // lp, lcs, exact-prefix
  };
  for (Row const& row : {Row{"lenet11", mnist, {.56, .66, .36}}, Row{"nt3-8", nt3, {.64, .65, .63}}}) {
    auto const space = make_space(row.space, row.task);
    std::array<std::int64_t, 3> shared{};
    std::int64_t all = 0;
    for (std::uint32_t pair = 0; pair < 6000; ++pair) {
      Random random(23, pair);
      Genome const genome = space->sample(random);
      auto const donor = weighted_layers(space->decode(genome), {});
      auto const child = weighted_layers(space->decode(space->neighbour(genome, random)), {});
      for (std::size_t i = 0; i < 3; ++i)
        shared[i] += match(donor, child, std::array{Matcher::lp, Matcher::lcs, Matcher::exact_prefix}[i]).bytes;
      for (WeightedLayer const& layer : child)
        all += layer.bytes();
    }
    for (std::size_t i = 0; i < 3; ++i) {
      INFO(row.space << ' ' << i);
      CHECK_THAT(static_cast<double>(shared[i]) / static_cast<double>(all), WithinAbs(row.shared[i], 0.02));
    }
  }
}

TEST_CASE("coverage: the best of many random donors")
{
  struct Row
  {
    std::string space;
    Task task;
    std::array<double, 4> prefix, subsequence; // of 1, 10, 100, 1,000 donors
  };
  for (Row const& row : {Row{"lenet11", mnist, {.06, .29, .43, .59}, {.12, .40, .62, .81}},
                         Row{"nt3-8", nt3, {.03, .20, .35, .71}, {.10, .42, .68, .86}}}) {
    auto const space = make_space(row.space, row.task);
    auto const codes = [&](std::uint32_t number) {
      Random random(29, number);
      return layer_codes(weighted_layers(space->decode(space->sample(random)), {}));
    };
    std::vector<LayerCodes> donors;
    for (std::uint32_t i = 0; i < 1000; ++i)
      donors.push_back(codes(i));
    std::size_t constexpr children = 500;
    std::array<double, 4> prefix{}, subsequence{};
    for (std::size_t number = 0; number < children; ++number) {
      LayerCodes const child = codes(static_cast<std::uint32_t>(1000 + number));
      for (std::size_t column = 0, count = 1; column < 4; ++column, count *= 10) {
        std::int64_t best_prefix = 0, best_subsequence = 0;
        // Few donors are other ones for every child.
        for (std::size_t i = 0; i < count; ++i) {
          LayerCodes const& donor = donors[(number * count + i) % donors.size()];
          best_prefix = std::max(best_prefix, match_score(donor, child, Matcher::lp));
          best_subsequence = std::max(best_subsequence, match_score(donor, child, Matcher::lcs));
        }
        double const layers = static_cast<double>(child.keys.size()) * children;
        prefix[column] += static_cast<double>(best_prefix) / layers;
        subsequence[column] += static_cast<double>(best_subsequence) / layers;
      }
    }
    for (std::size_t column = 0; column < 4; ++column) {
      INFO(row.space << ", column " << column);
      CHECK_THAT(prefix[column], WithinAbs(row.prefix[column], 0.03));
      CHECK_THAT(subsequence[column], WithinAbs(row.subsequence[column], 0.03));
    }
  }
}
