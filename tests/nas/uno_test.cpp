// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

Task const task{{1, 1, 8261}, 0, 1};

using Kernels = std::vector<std::vector<std::int64_t>>;

/// Extents of the kernels, tower after tower, then the trunk.
Kernels kernels_of(SearchSpace const& space, Genome const& genome)
{
  Kernels kernels;
  for (nn::spec::NodeInfo const& node : nn::spec::infer(space.decode(genome)).nodes)
    if (!node.parameters.empty()) kernels.push_back(node.parameters.front().extent);
  return kernels;
}

int longest_common_subsequence(Kernels const& a, Kernels const& b)
{
  std::vector<std::vector<int>> length(a.size() + 1, std::vector<int>(b.size() + 1));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b.size(); ++j)
      length[i + 1][j + 1] = a[i] == b[j] ? length[i][j] + 1 : std::max(length[i][j + 1], length[i + 1][j]);
  return length.back().back();
}

} // namespace

TEST_CASE("uno: sizes and decoding vectors")
{
  CHECK(make_space("uno-12", task)->size() == 23'298'085'122'481);
  CHECK(make_space("uno-13", task)->size() == 302'875'106'592'253);
  CHECK(make_space("uno-toy", task)->size() == 729);

  struct Row
  {
    int gene;
    std::size_t kernels, trunk; ///< trunk: which kernel is the first behind the concatenation
    std::vector<std::int64_t> first_of_trunk;
    std::int64_t parameters;
  };
  auto const space = make_space("uno-13", task);
  for (Row const& row : {Row{0, 1, 0, {8261, 1}, 8'262}, Row{12, 1, 0, {8261, 1}, 8'262},
                         Row{1, 14, 9, {301, 100}, 947'501}, Row{6, 14, 9, {1501, 500}, 7'137'501}}) {
    INFO("all " << row.gene);
    Genome const genome(13, row.gene);
    auto const kernels = kernels_of(*space, genome);
    REQUIRE(kernels.size() == row.kernels);
    CHECK(kernels[row.trunk] == row.first_of_trunk);
    CHECK(kernels.back().back() == 1);
    CHECK(nn::spec::infer(space->decode(genome)).parameter_count == row.parameters);
  }
  auto const toy = kernels_of(*make_space("uno-toy", task), {0, 5, 8});
  CHECK(toy == Kernels{{942, 100}, {5270, 500}, {2048, 1000}, {1601, 1}});
}

TEST_CASE("uno: options, towers and cells")
{
  auto const space = make_space("uno-12", task);
  // Options in their order, as the first node of the first tower.
  std::vector<std::string> ops;
  for (int option = 0; option < 13; ++option) {
    Genome genome(12, 0);
    genome[0] = option;
    auto const nodes = space->decode(genome).nodes;
    auto const* const dense = std::get_if<nn::spec::Dense>(&nodes[2].op);
    auto const* const dropout = std::get_if<nn::spec::Dropout>(&nodes[2].op);
    if (dense)
      ops.push_back(std::to_string(dense->units) + " " + nn::spec::op_name(nodes[3].op));
    else
      ops.push_back(dropout ? "dropout " + std::to_string(dropout->rate).substr(0, 3) : "none");
  }
  CHECK(ops == std::vector<std::string>{"none", "100 relu", "100 tanh", "100 sigmoid", "500 relu", "500 tanh",
                                        "500 sigmoid", "1000 relu", "1000 tanh", "1000 sigmoid", "dropout 0.3",
                                        "dropout 0.4", "dropout 0.5"});
  // Cells: wider, narrower, equally wide, and nothing, which doubles the input.
  auto const cells = [&](int first, int second) {
    Genome genome(12, 0);
    genome[9] = 4; // the trunk is 500 wide
    genome[10] = first;
    genome[11] = second;
    std::vector<std::string> result;
    auto const nodes = space->decode(genome).nodes;
    for (std::size_t i = 7; i < nodes.size(); ++i) // behind four slices, the concatenation, dense and relu
      result.push_back(nn::spec::op_name(nodes[i].op));
    return result;
  };
  CHECK(cells(7, 1) == std::vector<std::string>{"dense", "relu", "pad_channels", "add", "dense", "relu", "pad_channels",
                                                "add", "dense"});
  CHECK(cells(4, 0) == std::vector<std::string>{"dense", "relu", "add", "add", "dense"});
  CHECK(cells(10, 10) == std::vector<std::string>{"dropout", "add", "dropout", "add", "dense"});
  // A tower of the same node in another place is the same network.
  CHECK(space->phenotype({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) ==
        space->phenotype({0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  CHECK(space->phenotype({1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) !=
        space->phenotype({0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("uno-13: matched layers by distance are the published ones")
{
  // As for lenet11 (there the layers are always five): filled fraction of the child's weighted layers, a mean over
  // pairs.
  struct Row
  {
    int distance;
    double prefix, subsequence, identical;
  };
  auto const space = make_space("uno-13", task);
  for (Row const row : {Row{1, .536, .863, .194}, {2, .343, .749, .041}, {4, .185, .576, .002}, {0, .041, .246, 0}}) {
    int constexpr pairs = 3000;
    double prefix = 0, subsequence = 0, identical = 0;
    for (std::uint32_t pair = 0; pair < pairs; ++pair) {
      Random random(19, pair);
      Genome const donor = space->sample(random);
      Genome child = row.distance == 0 ? space->sample(random) : donor;
      while (row.distance != 0 && space->distance(donor, child) < row.distance) {
        Genome const next = space->neighbour(child, random);
        // A gene that was moved already stays where it is.
        if (space->distance(donor, next) > space->distance(donor, child)) child = next;
      }
      auto const a = kernels_of(*space, donor);
      auto const b = kernels_of(*space, child);
      auto const length = static_cast<double>(b.size());
      std::size_t common = 0;
      while (common < std::min(a.size(), b.size()) && a[common] == b[common])
        ++common;
      prefix += static_cast<double>(common) / length;
      subsequence += longest_common_subsequence(a, b) / length;
      identical += a == b ? 1 : 0;
    }
    INFO("distance " << row.distance);
    CHECK_THAT(prefix / pairs, Catch::Matchers::WithinAbs(row.prefix, 0.02));
    CHECK_THAT(subsequence / pairs, Catch::Matchers::WithinAbs(row.subsequence, 0.02));
    CHECK_THAT(identical / pairs, Catch::Matchers::WithinAbs(row.identical, 0.02));
  }
}

TEST_CASE("uno: other tasks are refused")
{
  CHECK_THROWS_MATCHES(make_space("uno-13", {{1, 1, 8260}, 0, 1}), Error,
                       Catch::Matchers::Message("uno-13: the samples must be 1 x 1 x 8261, got 1 x 1 x 8260"));
  CHECK_THROWS_MATCHES(make_space("uno-toy", {{1, 1, 8261}, 10}), Error,
                       Catch::Matchers::Message("uno-toy: the task must be a regression, got 10 classes"));
}
