// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/layer_table.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;

namespace {

constexpr Level levels[]{Level::minimal, Level::brief, Level::rich, Level::physics};

Description lenet(int batch = 64, Optimiser optimiser = Optimiser::adam)
{
  return describe({nn::spec::load_architecture("lenet"), batch, optimiser});
}

double value(std::string const& feature, Description const& description, Level level)
{
  auto const names = feature_names(level);
  auto const at = std::find(names.begin(), names.end(), feature);
  REQUIRE(at != names.end());
  return features(description, *data_sheet("v100"), level)[static_cast<std::size_t>(at - names.begin())];
}

} // namespace

TEST_CASE("the roofline of the first V100 row", "[features]")
{
  LayerRow const row{.batch = 28,
                     .channels_in = 4,
                     .channels_out = 42,
                     .kernel = 2,
                     .stride = 2,
                     .side = 224,
                     .optimiser = Optimiser::sgd};
  auto const description = describe(row, LayerTableKind::convolution);
  CHECK(description.parameters == 714);
  CHECK(step_flops(description) == 1416167424.0);
  CHECK(step_bytes(description) == 244468896.0);
  auto const bound = roofline(description, *data_sheet("v100"));
  CHECK(1e3 * bound.compute == Approx(0.101155).epsilon(1e-5));
  CHECK(1e3 * bound.memory == Approx(0.271632).epsilon(1e-5));
  CHECK(bound.seconds() == Approx(bound.memory + bound.launch_cost));
  CHECK(bound.backward == 2 * bound.forward);
  CHECK(bound.launches == 4); // forward, two backward, update
  CHECK(bound.slowest == 1);
}

TEST_CASE("tiles and waves of the reference", "[features]")
{
  auto const one = tile_waves(1, 512, 4096, 128, 128, 80), many = tile_waves(8, 197, 768, 64, 128, 132);
  CHECK(one.tiles == 128);
  CHECK(one.waves == 2);
  CHECK(many.tiles == 192);
  CHECK(many.waves == 2);
  CHECK_THROWS_AS(tile_waves(1, 1, 1, 1, 1, 0), Error);
}

TEST_CASE("a forward pass alone has no backward pass and no update", "[features]")
{
  auto const bound = roofline(lenet(64, Optimiser::none), *data_sheet("v100"));
  CHECK(bound.backward == 0);
  CHECK(bound.update == 0);
  CHECK(bound.forward > 0);
  Device bad = *data_sheet("v100");
  bad.bandwidth = 0;
  CHECK_THROWS_AS(roofline(lenet(), bad), Error);
}

TEST_CASE("LeNet on the level short: sixteen values in the reference's order", "[features]")
{
  namespace spec = nn::spec;
  spec::Activation const relu{};
  spec::Architecture network;
  network.input = {28, 28, 1};
  network.classes = 10;
  network.nodes = {
      {"c1", spec::Conv2d{.filters = 6, .kernel = {5, 5}}, {"input"}},
      {"r1", relu, {"c1"}},
      {"p1", spec::Pool2d{}, {"r1"}},
      {"c2", spec::Conv2d{.filters = 16, .kernel = {5, 5}, .padding = {spec::PaddingKind::valid, {}}}, {"p1"}},
      {"r2", relu, {"c2"}},
      {"p2", spec::Pool2d{}, {"r2"}},
      {"f", spec::Flatten{}, {"p2"}},
      {"d1", spec::Dense{.units = 120}, {"f"}},
      {"r3", relu, {"d1"}},
      {"d2", spec::Dense{.units = 84}, {"r3"}},
      {"r4", relu, {"d2"}},
      {"d3", spec::Dense{.units = 10}, {"r4"}}};
  std::vector<double> expected{64, 28, 28, 1, 2, 0, 2, 0, 3, 0, 0, 4, 1, 0, 0, 61706};
  for (double& size : expected)
    size = std::log2(1 + size);
  CHECK(features(describe({network, 64, Optimiser::adam}), *data_sheet("v100"), Level::brief) == expected);
}

TEST_CASE("every level has its features, finite and with names of their own", "[features]")
{
  std::size_t before = 0;
  for (Level const level : levels) {
    auto const names = feature_names(level);
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
    CHECK(names.size() > before);
    before = names.size();
    for (auto const& network : nn::spec::zoo_names())
      for (Optimiser const optimiser : {Optimiser::none, Optimiser::sgd, Optimiser::adam})
        for (int const batch : {1, 7, 128}) {
          auto const description = describe({nn::spec::load_architecture(network), batch, optimiser});
          auto const values = features(description, *data_sheet("k80"), level);
          REQUIRE(values.size() == names.size());
          CHECK(std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }));
        }
    CHECK(parse_level(name(level), "test") == level);
  }
  CHECK_THROWS_AS(parse_level("long", "test"), Error);
  CHECK(feature_names(Level::minimal).size() == 3);
  CHECK(feature_names(Level::rich).size() == 65);
  CHECK(feature_names(Level::physics).size() == 82);
}

TEST_CASE("shares add up, and more work costs more", "[features]")
{
  auto const description = lenet();
  double flops = 0, kernels = 0;
  for (auto const& name : feature_names(Level::rich)) {
    if (name.starts_with("FLOP share ")) flops += value(name, description, Level::rich);
    if (name.starts_with("conv FLOP share ")) kernels += value(name, description, Level::rich);
  }
  CHECK(flops == Approx(1));
  CHECK(kernels == Approx(1));
  CHECK(value("forward seconds", lenet(128), Level::physics) > value("forward seconds", lenet(64), Level::physics));
  CHECK(value("update seconds", lenet(64, Optimiser::adam), Level::physics) >
        value("update seconds", lenet(64, Optimiser::sgd), Level::physics));
}

TEST_CASE("a level below physics knows no device", "[features]")
{
  auto const description = lenet();
  for (Level const level : {Level::minimal, Level::brief, Level::rich})
    CHECK(features(description, *data_sheet("v100"), level) == features(description, *data_sheet("m60"), level));
  CHECK(features(description, *data_sheet("v100"), Level::physics) !=
        features(description, *data_sheet("m60"), Level::physics));
  CHECK_THROWS_AS(features({}, *data_sheet("v100"), Level::rich), Error);
}
