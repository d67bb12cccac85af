// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

std::vector<std::string> ops_of(nn::spec::Architecture const& architecture)
{
  std::vector<std::string> ops;
  for (nn::spec::Node const& node : architecture.nodes)
    ops.push_back(nn::spec::op_name(node.op));
  return ops;
}

} // namespace

TEST_CASE("menndl: size and decoding")
{
  auto const space = make_space("menndl", {{32, 32, 3}, 100});
  CHECK(space->size() == std::pow(5. * 5 * 4 * 2 * 4, 6) * std::pow(2. * 4 * 4, 2));

  Genome genome(36, 0);
  CHECK(ops_of(space->decode(genome)) == std::vector<std::string>{"global_avg_pool", "dense"});

  Genome const slots{
      1, 4, 3, 1, 0, // conv 48 of 5 x 5, stride 2
      0, 4, 3, 1, 3, // nothing
      2, 0, 2, 0, 1, // conv 8 of 3 x 3, batch norm, dropout .1
      3, 1, 1, 1, 0, // max pool 2 x 2, stride 2
      4, 1, 2, 0, 0, // average pool 3 x 3, stride 1
      3, 1, 0, 0, 3, // a pooling of single pixels: nothing
      1, 3, 3,       // dense 256, dropout .5
      0, 3, 3,       // nothing
  };
  auto const architecture = space->decode(slots);
  CHECK(ops_of(architecture) == std::vector<std::string>{"conv2d", "relu", "conv2d", "batch_norm", "relu", "dropout",
                                                         "max_pool2d", "avg_pool2d", "global_avg_pool", "dense", "relu",
                                                         "dropout", "dense"});
  auto const inferred = nn::spec::infer(architecture);
  CHECK(inferred.parameter_count == (25 * 3 + 1) * 48 + 9 * 48 * 8 + 2 * 8 + (8 + 1) * 256 + (256 + 1) * 100);
  CHECK(inferred.nodes[7].out == nn::spec::Shape{8, 8, 8});
}

TEST_CASE("menndl: genes without effect do not make another network")
{
  auto const space = make_space("menndl", {{28, 28, 1}, 10});
  Genome const nothing(36, 0);
  Genome idle = nothing;
  for (std::size_t slot = 0; slot < 6; ++slot)
    idle[5 * slot + 1 + slot % 4] = 1;
  idle[31] = 3;
  CHECK(space->phenotype(idle) == space->phenotype(nothing));
  // Single pixels, stride 2: the largest and the mean of one value are that value.
  Genome largest = nothing, mean = nothing;
  largest[0] = 3;
  mean[0] = 4;
  largest[3] = mean[3] = 1;
  CHECK(space->phenotype(largest) == space->phenotype(mean));
  CHECK(space->phenotype(largest) != space->phenotype(nothing));
}

TEST_CASE("menndl: messages name the slot")
{
  auto const space = make_space("menndl", {{28, 28, 1}, 10});
  Genome genome(36, 0);
  genome[7] = 4;
  CHECK_THROWS_MATCHES(space->check(genome), Error,
                       Catch::Matchers::Message("menndl: gene 7 (slot 2 kernel) must be in 0..3, got 4"));
  CHECK_THROWS_MATCHES(space->check(Genome(35, 0)), Error,
                       Catch::Matchers::Message("menndl: a genome has 36 genes, got 35"));
}
