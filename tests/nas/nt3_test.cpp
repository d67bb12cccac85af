// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../support/temporary.hpp"

#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using namespace nasturtium::nas;
using test::error_of;

namespace {

Task const nt3{{60'483, 1, 1}, 2};

/// Op, and what matters of it, from the input on.
std::string chain_of(nn::spec::Architecture const& architecture)
{
  std::string text;
  for (nn::spec::Node const& node : architecture.nodes) {
    text += (text.empty() ? "" : ", ") + nn::spec::op_name(node.op);
    if (auto const* const conv = std::get_if<nn::spec::Conv2d>(&node.op))
      text += concat(' ', conv->kernel[0], 'x', conv->kernel[1], ' ', conv->filters);
    if (auto const* const pool = std::get_if<nn::spec::Pool2d>(&node.op))
      text += concat(' ', pool->kernel[0], 'x', pool->kernel[1], '/', pool->stride[0], 'x', pool->stride[1]);
    if (auto const* const dense = std::get_if<nn::spec::Dense>(&node.op)) text += concat(' ', dense->units);
    if (auto const* const dropout = std::get_if<nn::spec::Dropout>(&node.op)) text += concat(' ', dropout->rate);
  }
  return text;
}

std::string decoded(std::string const& space, Genome const& genome)
{
  return chain_of(make_space(space, nt3)->decode(genome));
}

} // namespace

TEST_CASE("nt3: sizes")
{
  CHECK(make_space("nt3-12", nt3)->size() == 635'040'000);
  CHECK(make_space("nt3-8", nt3)->size() == 624'000);
  CHECK(make_space("nt3-8-full", nt3)->size() == 3'234'816);
  CHECK(make_space("nt3-10", nt3)->size() == 13'608'000);
}

TEST_CASE("nt3: decoding vectors of nt3-8")
{
  struct Row
  {
    Genome genome;
    std::vector<std::int64_t> first_dense;
    std::int64_t parameters;
  };
  auto const space = make_space("nt3-8", nt3);
  std::vector<Row> const table{{Genome(8, 0), {241'924, 32}, 7'742'178},
                               {Genome(8, 1), {241'920, 97}, 23'468'355},
                               {{15, 25, 2, 1, 4, 4, 1, 4}, {96'760, 16}, 1'548'842}};
  for (Row const& row : table) {
    auto const inferred = nn::spec::infer(space->decode(row.genome));
    CHECK(inferred.parameter_count == row.parameters);
    std::vector<std::vector<std::int64_t>> kernels;
    for (nn::spec::NodeInfo const& node : inferred.nodes)
      if (!node.parameters.empty()) kernels.push_back(node.parameters.front().extent);
    REQUIRE(kernels.size() == 4);
    CHECK(kernels[1] == row.first_dense);
    CHECK(kernels[3].back() == 2);
  }
}

TEST_CASE("nt3: options, the last factor fastest")
{
  CHECK(decoded("nt3-8", {6, 7, 0, 1, 0, 1, 0, 4}) ==
        "conv2d 4x1 8, relu, max_pool2d 3x1/2x1, flatten, dense 32, tanh, dropout 0.5, dense 20, relu, dense 2");
  CHECK(decoded("nt3-8-full", {23, 0, 1, 2, 0, 2, 0, 7}) ==
        "conv2d 6x1 8, sigmoid, flatten, dense 97, sigmoid, dense 32, relu, dropout 0.5, dense 2");
  CHECK(decoded("nt3-10", {17, 6, 7, 3, 2, 0, 4, 4, 1, 3}) ==
        "conv2d 25x1 60, tanh, max_pool2d 35x1/35x1, conv2d 20x1 48, tanh, max_pool2d 20x1/20x1, flatten, dense 16, "
        "relu, dense 32, tanh, dropout 0.2, dense 2");
  CHECK(decoded("nt3-12", Genome(12, 0)) == "flatten, dense 2");
  CHECK(decoded("nt3-12", {1, 1, 4, 4, 3, 1, 8, 2, 6, 1, 0, 1}) ==
        "conv2d 3x1 8, relu, max_pool2d 6x1/6x1, conv2d 6x1 8, sigmoid, max_pool2d 3x1/3x1, flatten, dense 1000, tanh, "
        "dropout 0.05, dense 10, dropout 0.5, dense 2");
}

TEST_CASE("nt3: other heights, and samples that are none")
{
  for (std::string const name : {"nt3-12", "nt3-8", "nt3-8-full", "nt3-10"}) {
    INFO(name);
    CHECK(make_space(name, {{2048, 1, 1}, 2})->size() == make_space(name, nt3)->size());
    CHECK(error_of([&] { make_space(name, {{28, 28, 1}, 10}); }) ==
          name + ": the samples must be height x 1 x 1, got 28 x 28 x 1");
    int const shortest = name == "nt3-10" ? 109 : name == "nt3-12" ? 1 : 3;
    auto const space = make_space(name, {{shortest, 1, 1}, 2});
    CHECK(space->size() > 0);
    CHECK(space->size() < make_space(name, nt3)->size());
    Random random(1, 0);
    for (int i = 0; i < 20; ++i)
      CHECK_NOTHROW(nn::spec::infer(space->decode(space->sample(random))));
    if (shortest > 1)
      CHECK(error_of([&] { make_space(name, {{shortest - 1, 1, 1}, 2}); }) ==
            concat(name, ": the samples' height must be in [", shortest, ", 1048576], got ", shortest - 1));
  }
  CHECK(error_of([] { make_space("nt3-12", {{134'218, 1, 1}, 2}); }) ==
        "nt3-12: the samples' height must be in [1, 134217], got 134218");
  CHECK(error_of([] { make_space("nt3-8", {{5, 1, 1}, 2})->decode({0, 25, 0, 0, 0, 0, 0, 0}); }) ==
        "nt3-8: gene 1 (pool) = 25 does not fit images of 5 x 1");
  // The largest kernels of the longest samples.
  CHECK_NOTHROW(
      nn::spec::infer(make_space("nt3-12", {{134'217, 1, 1}, 2})->decode({1, 0, 0, 0, 0, 0, 8, 0, 0, 8, 0, 0})));
  CHECK_NOTHROW(nn::spec::infer(make_space("nt3-8", {{1'048'576, 1, 1}, 2})->decode({2, 0, 1, 0, 0, 0, 0, 0})));
  CHECK_NOTHROW(nn::spec::infer(make_space("nt3-10", {{1'048'576, 1, 1}, 2})->decode({4, 0, 4, 0, 1, 0, 0, 0, 0, 0})));
}
