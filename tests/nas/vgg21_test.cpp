// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../support/temporary.hpp"

#include <nasturtium/nas/matching.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace nasturtium;
using namespace nasturtium::nas;
using test::error_of;

namespace {

Task const cifar{{32, 32, 3}, 10};

std::vector<std::string> ops_of(nn::spec::Architecture const& architecture)
{
  std::vector<std::string> ops;
  for (nn::spec::Node const& node : architecture.nodes)
    ops.push_back(nn::spec::op_name(node.op));
  return ops;
}

} // namespace

TEST_CASE("vgg21: size and decoding vectors")
{
  auto const space = make_space("vgg21", cifar);
  CHECK(space->size() == 4'398'046'511'104'000);
  struct Row
  {
    Genome genome;
    std::vector<std::int64_t> first_dense;
    std::int64_t values; // batch norm has four a channel
  };
  std::vector<Row> const table{
      {Genome(21, 0), {16'384, 16}, 275'082},
      {Genome(21, 1), {256, 32}, 23'802},
      {{15, 1, 15, 1, 4, 15, 1, 15, 1, 4, 15, 1, 15, 1, 4, 15, 1, 7, 7, 1, 7}, {1152, 256}, 2'427'018},
      {{10, 0, 5, 0, 0, 9, 1, 12, 1, 2, 10, 1, 6, 0, 3, 13, 1, 3, 3, 1, 4}, {6272, 224}, 1'597'530},
  };
  for (Row const& row : table) {
    auto const layers = weighted_layers(space->decode(row.genome), {});
    std::int64_t bytes = 0;
    for (WeightedLayer const& layer : layers)
      bytes += layer.bytes();
    CHECK(bytes == 4 * row.values);
    auto const dense =
        std::find_if(layers.begin(), layers.end(), [](auto const& layer) { return layer.id == "dense1"; });
    REQUIRE(dense != layers.end());
    CHECK(dense->tensors.front().extent == row.first_dense);
    CHECK(layers.back().tensors.front().extent.back() == 10);
  }
}

TEST_CASE("vgg21: the order of layers and of options")
{
  auto const space = make_space("vgg21", cifar);
  Genome genome(21, 0);
  genome[0] = 1;  // tanh
  genome[1] = 1;  // with batch norm, before it
  genome[4] = 3;  // average 2 / 2
  genome[17] = 2; // dropout .05
  genome[19] = 1;
  std::vector<std::string> expected{"conv2d", "batch_norm", "tanh", "conv2d", "relu", "avg_pool2d"};
  for (int i = 0; i < 4; ++i)
    expected.insert(expected.end(), {"conv2d", "relu"});
  expected.insert(expected.end(), {"flatten", "dense", "relu", "dropout", "dense", "batch_norm", "relu", "dense"});
  CHECK(ops_of(space->decode(genome)) == expected);

  for (int option = 0; option < 16; ++option) {
    genome[0] = option;
    auto const nodes = space->decode(genome).nodes;
    auto const conv = std::get<nn::spec::Conv2d>(nodes[0].op);
    CHECK(conv.kernel[0] == (option < 8 ? 3 : 5));
    CHECK(conv.filters == 16 << option / 2 % 4);
    CHECK(conv.padding.kind == nn::spec::PaddingKind::same);
    CHECK(nn::spec::op_name(nodes[2].op) == (option % 2 == 0 ? "relu" : "tanh"));
  }
  for (int option = 1; option < 5; ++option) {
    genome[4] = option;
    auto const pool = std::get<nn::spec::Pool2d>(space->decode(genome).nodes[5].op);
    CHECK(pool.kind == (option < 3 ? nn::spec::PoolKind::max : nn::spec::PoolKind::average));
    CHECK(pool.kernel[0] == (option % 2 == 1 ? 2 : 3));
    CHECK(pool.stride[0] == 2);
  }
}

TEST_CASE("vgg21: images that some genomes do not fit, and that no genome fits")
{
  auto const space = make_space("vgg21", {{4, 8, 1}, 10});
  // Poolings leave 4, 2, 1 rows or fewer: 2 / 2 fits twice, 3 / 2 once. Of 125 triples:
  // none none none: 1; one of four: 3 x 4; two: the second must be 2 / 2, and 3 / 2 first leaves one row: 3 x 2 x 2.
  CHECK(space->size() == 4'398'046'511'104'000. / 125 * (1 + 3 * 4 + 3 * 2 * 2));
  Genome genome(21, 0);
  genome[4] = genome[9] = 2;
  CHECK(error_of([&] { space->decode(genome); }) == "vgg21: gene 9 (pool2) = 2 does not fit images of 4 x 8");
  CHECK(make_space("vgg21", {{1, 1, 1}, 10})->size() == 4'398'046'511'104'000. / 125);
  CHECK(error_of([] { make_space("vgg21", {{200, 200, 3}, 10}); }) ==
        "vgg21: the images must have at most 32768 pixels, got 200 x 200");
  CHECK(error_of([] { make_space("vgg21", {{2, 2, 400'000}, 10}); }) ==
        "vgg21: the images must have at most 335544 channels, got 400000");
  // The largest that is let in.
  Genome widest(21, 0);
  widest[12] = 6;
  widest[15] = 15;
  CHECK_NOTHROW(nn::spec::infer(make_space("vgg21", {{128, 256, 3}, 10})->decode(widest)));
}
