// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

struct Expected
{
  Genome genome;
  std::int64_t dense_in, dense_out, parameters;
};

using Kernels = std::vector<std::vector<std::int64_t>>;

/// Extents of the kernels from the input on.
Kernels kernels_of(SearchSpace const& space, Genome const& genome)
{
  Kernels kernels;
  for (nn::spec::NodeInfo const& node : nn::spec::infer(space.decode(genome)).nodes)
    if (!node.parameters.empty()) kernels.push_back(node.parameters.front().extent);
  return kernels;
}

} // namespace

TEST_CASE("lenet11: size and decoding vectors")
{
  auto const space = make_space("lenet11", {{28, 28, 1}, 10});
  CHECK(space->size() == 37'324'800);
  // First dense kernels and parameters of the genomes all 0, all 1, all last.
  std::vector<Expected> const table{{Genome(11, 0), 4608, 32, 149'538},
                                    {Genome(11, 1), 392, 64, 30'626},
                                    {{7, 2, 4, 7, 2, 4, 5, 2, 5, 2, 7}, 144, 512, 346'410}};
  for (Expected const& expected : table) {
    CHECK(nn::spec::infer(space->decode(expected.genome)).parameter_count == expected.parameters);
    Kernels const kernels = kernels_of(*space, expected.genome);
    REQUIRE(kernels.size() == 5);
    CHECK(kernels[2] == std::vector{expected.dense_in, expected.dense_out});
    CHECK(kernels[4] == std::vector{expected.dense_out, std::int64_t{10}});
  }
  Kernels const last = kernels_of(*space, table[2].genome);
  CHECK(last[0] == std::vector<std::int64_t>{4, 4, 1, 16});
  CHECK(last[1] == std::vector<std::int64_t>{4, 4, 16, 16});
}

TEST_CASE("lenet11: inside an option list the last factor varies fastest")
{
  auto const space = make_space("lenet11", {{28, 28, 1}, 10});
  for (int option = 0; option < 8; ++option) {
    Genome genome(11, 0);
    genome[0] = option;
    auto const conv = std::get<nn::spec::Conv2d>(space->decode(genome).nodes.front().op);
    CHECK(conv.kernel[0] == (option < 4 ? 3 : 4));
    CHECK(conv.filters == (option % 4 < 2 ? 8 : 16));
    CHECK(conv.padding.kind == (option % 2 == 0 ? nn::spec::PaddingKind::valid : nn::spec::PaddingKind::same));
  }
}

TEST_CASE("lenet11: pools that are listed twice are one network")
{
  auto const space = make_space("lenet11", {{28, 28, 1}, 10});
  Genome const twice{0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0};
  Genome const again{0, 0, 3, 0, 0, 4, 0, 0, 0, 0, 0};
  Genome const other{0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0};
  CHECK(space->phenotype(twice) == space->phenotype(again));
  CHECK(space->phenotype(twice) != space->phenotype(other));
  CHECK(space->distance(twice, again) == 2);
}

TEST_CASE("lenet11: images that some genomes do not fit")
{
  CHECK(make_space("lenet11", {{21, 40, 3}, 10})->size() == 37'324'800);
  CHECK(make_space("lenet11", {{20, 40, 3}, 10})->size() < 37'324'800);
  auto const small = make_space("lenet11", {{8, 8, 1}, 10});
  int fitting = 0;
  Genome genome(11, 0);
  for (int i = 0; i < 8 * 5 * 8 * 5; ++i) {
    genome[0] = i % 8;
    genome[2] = i / 8 % 5;
    genome[3] = i / 40 % 8;
    genome[5] = i / 320;
    try {
      nn::spec::infer(small->decode(genome));
      ++fitting;
    } catch (Error const& error) {
      INFO(error.what());
      CHECK(std::string(error.what()).starts_with("lenet11: gene"));
    }
  }
  CHECK(fitting > 100);
  CHECK(small->size() == 37'324'800. / 1600 * fitting);
  CHECK_THROWS_MATCHES(small->decode({4, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0}), Error,
                       Catch::Matchers::Message("lenet11: gene 3 (conv2) = 4 does not fit images of 8 x 8"));
  CHECK_THROWS_MATCHES(make_space("lenet11", {{2, 28, 1}, 10}), Error,
                       Catch::Matchers::Message("lenet11: the images must be at least 3 x 3, got 2 x 28"));
  CHECK_NOTHROW(nn::spec::infer(make_space("lenet11", {{256, 512, 3}, 10})->decode({7, 0, 0, 7, 0, 0, 5, 0, 5, 0, 0})));
  CHECK_THROWS_MATCHES(make_space("lenet11", {{400, 400, 3}, 10}), Error,
                       Catch::Matchers::Message("lenet11: the images must have at most 131072 pixels, got 400 x 400"));
}
