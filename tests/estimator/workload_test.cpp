// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/device.hpp>
#include <nasturtium/estimator/workload.hpp>

#include <catch2/catch_test_macros.hpp>

#include <vector>

using namespace nasturtium;
using namespace nasturtium::estimator;
namespace spec = nn::spec;

TEST_CASE("the convolution of the first V100 row costs what the reference says", "[workload]")
{
  // The head turns the layer into a network; the layer under test is the first.
  spec::Architecture network;
  network.input = {224, 224, 4};
  network.classes = 10;
  network.nodes = {{"conv", spec::Conv2d{.filters = 42, .kernel = {2, 2}, .stride = {2, 2}}, {"input"}},
                   {"pool", spec::GlobalAvgPool{}, {"conv"}},
                   {"head", spec::Dense{.units = 10}, {"pool"}}};
  auto description = describe({network, 28, Optimiser::sgd});
  description.layers.resize(1);
  auto const& conv = description.layers.front();
  CHECK(conv.out == spec::Shape{112, 112, 42});
  CHECK(conv.parameters == 714);
  CHECK(conv.forward_flops == 472055808.0);
  CHECK(conv.forward_bytes == 81488680.0);
  description.parameters = conv.parameters;
  CHECK(step_flops(description) == 1416167424.0);
  CHECK(step_bytes(description) == 244468896.0);
  description.optimiser = Optimiser::none;
  CHECK(step_bytes(description) == 81488680.0);
}

TEST_CASE("LeNet is described as the reference counts it", "[workload]")
{
  spec::Pool2d const pool{};
  spec::Activation const relu{};
  spec::Architecture lenet;
  lenet.input = {28, 28, 1};
  lenet.classes = 10;
  lenet.nodes = {
      {"c1", spec::Conv2d{.filters = 6, .kernel = {5, 5}}, {"input"}},
      {"r1", relu, {"c1"}},
      {"p1", pool, {"r1"}},
      {"c2", spec::Conv2d{.filters = 16, .kernel = {5, 5}, .padding = {spec::PaddingKind::valid, {}}}, {"p1"}},
      {"r2", relu, {"c2"}},
      {"p2", pool, {"r2"}},
      {"f", spec::Flatten{}, {"p2"}},
      {"d1", spec::Dense{.units = 120}, {"f"}},
      {"r3", relu, {"d1"}},
      {"d2", spec::Dense{.units = 84}, {"r3"}},
      {"r4", relu, {"d2"}},
      {"d3", spec::Dense{.units = 10}, {"r4"}}};
  auto const description = describe({lenet, 64, Optimiser::adam});
  double contractions = 0;
  std::vector<int> counts(layer_kinds);
  for (auto const& layer : description.layers) {
    ++counts[static_cast<std::size_t>(layer.kind)];
    if (layer.kind == LayerKind::conv || layer.kind == LayerKind::dense) contractions += layer.forward_flops;
  }
  CHECK(description.parameters == 61706);
  CHECK(contractions == 53314560.0);
  CHECK(description.layers.size() == 12);
  CHECK(description.depth == 12);
  CHECK(std::vector<int>(counts.begin(), counts.begin() + 11) == std::vector<int>{2, 0, 2, 0, 3, 0, 0, 4, 1, 0, 0});
}

TEST_CASE("optimisers have names, and only some of them train here", "[workload]")
{
  for (auto const optimiser : {Optimiser::none, Optimiser::sgd, Optimiser::momentum, Optimiser::adagrad,
                               Optimiser::rmsprop, Optimiser::adadelta, Optimiser::adam})
    CHECK(parse_optimiser(name(optimiser), "test") == optimiser);
  CHECK_THROWS_AS(parse_optimiser("sdg", "test"), Error);
  CHECK(to_options(Optimiser::sgd).momentum == 0);
  CHECK(to_options(Optimiser::momentum).momentum == 0.9);
  CHECK_THROWS_AS(to_options(Optimiser::adagrad), Error);
  CHECK_THROWS_AS(describe({spec::load_architecture("lenet"), 0, Optimiser::sgd}), Error);
}

TEST_CASE("a device survives its JSON text, and bad constants are refused", "[device]")
{
  Device const device{"openmp-2", 1.5e11, 2e10, 3e-6, 2, 2400, std::int64_t{24} << 30};
  auto const back = parse_device(to_json(device), "test");
  CHECK(back.name == device.name);
  CHECK(back.peak_flops == device.peak_flops);
  CHECK(back.launch_seconds == device.launch_seconds);
  CHECK(back.memory_bytes == device.memory_bytes);
  CHECK_THROWS_AS(parse_device(R"({"name": "x", "peak_flops": 0})", "test"), Error);
  CHECK_THROWS_AS(parse_device(R"({"name": "x"})", "test"), Error);
}
