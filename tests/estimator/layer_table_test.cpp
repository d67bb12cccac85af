// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "shared_timings.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/layer_table.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

std::string const header = "device,activation_fct,batchsize,channels_in,channels_out,kernelsize,matsize,optimizer,"
                           "padding,precision,strides,timeUsed_median,timeUsed_min,timeUsed_std,use_bias\n";
std::string const row = "V100,0,28,4,42,2,224,1,1,32,2,2.812,2.8109,0.070284,True\n";
std::string const dense_header = "device,activation_fct,batchsize,dim_input,dim_output,optimizer,precision,"
                                 "timeUsed_median,timeUsed_min,timeUsed_std\n";

struct Facts
{
  char const* file;
  std::size_t rows;
  double sum, min, max; ///< milliseconds
  int batch;
  double p50, p90; ///< sd / median, %, as printed in the reference
};

} // namespace

TEST_CASE("a row is read as the reference explains it", "[layer_table]")
{
  auto const table = parse_layer_table(header + row, "t.csv");
  CHECK(table.kind == LayerTableKind::convolution);
  CHECK(table.device.name == "v100");
  REQUIRE(table.rows.size() == 1);
  auto const& first = table.rows.front();
  CHECK(first.batch == 28);
  CHECK(first.optimiser == Optimiser::sgd);
  CHECK(first.same_padding);
  CHECK(first.bias);
  CHECK(first.seconds == Approx(2.812e-3));
  CHECK(first.out_side() == 112);
  auto const description = describe(first, table.kind);
  CHECK(description.layers.front().forward_bytes == 81488680.0);
  CHECK(description.layers.front().forward_flops == 472055808.0);

  auto const dense = parse_layer_table(dense_header + "M60,3,21,3211,2991,6,32,0.4878,0.4862,0.0419\n", "d.csv");
  CHECK(dense.kind == LayerTableKind::dense);
  CHECK(dense.rows.front().optimiser == Optimiser::rmsprop);
  CHECK(describe(dense.rows.front(), dense.kind).parameters == 3212 * 2991);
}

TEST_CASE("extents of convolutions", "[layer_table]")
{
  CHECK(LayerRow{.kernel = 2, .stride = 2, .side = 224}.out_side() == 112);
  CHECK(LayerRow{.kernel = 2, .stride = 3, .side = 3, .same_padding = false}.out_side() == 1);
  CHECK_THROWS_AS(describe(LayerRow{.kernel = 5, .side = 3, .same_padding = false}, LayerTableKind::convolution),
                  Error);
}

TEST_CASE("what is wrong with a table is named by file, line and column", "[layer_table]")
{
  auto const changed = [](std::string const& from, std::string const& to) {
    std::string text = row;
    return header + row + text.replace(text.find(from), from.size(), to);
  };
  auto const refused = [](std::string const& text, std::string const& message) {
    CHECK_THROWS_MATCHES(parse_layer_table(text, "t.csv"), Error, MessageMatches(ContainsSubstring(message)));
  };
  refused(changed("2.812", "nan"), "t.csv:3: column 'timeUsed_median'");
  refused(changed("2.812", "-1"), "t.csv:3: column 'timeUsed_median' must be > 0, got -1");
  refused(changed("2.8109", "0"), "t.csv:3: column 'timeUsed_min'");
  refused(changed("0.070284", "-0.1"), "t.csv:3: column 'timeUsed_std'");
  refused(changed("V100", "A100"), "t.csv:3: column 'device'");
  refused(changed("V100", "K40"), "t.csv:3: column 'device'");
  refused(changed("True", "yes"), "t.csv:3: column 'use_bias'");
  refused(changed(",28,", ",0,"), "t.csv:3: column 'batchsize'");
  refused(changed(",28,", ",2.5,"), "t.csv:3: column 'batchsize'");
  refused(changed(",1,1,32", ",7,1,32"), "t.csv:3: column 'optimizer'");
  refused(changed(",1,32,", ",2,32,"), "t.csv:3: column 'padding'");
  refused(changed(",32,", ",16,"), "t.csv:3: column 'precision'");
  refused(changed("2,224,1,1", "225,224,1,0"), "t.csv:3: column 'kernelsize'");
  refused(header, "t.csv: holds no rows");
  refused("device,colour\nV100,red\n", "activation_fct");
  std::string more = header;
  refused(more.insert(more.size() - 1, ",colour") + row, "column 'colour' is unknown");
  CHECK_THROWS_AS(read_layer_table("no-such-file.csv"), Error);
}

TEST_CASE("a damaged table is read or refused, never more", "[layer_table]")
{
  std::string const good = header + row + row;
  int refused = 0;
  for (std::uint32_t trial = 0; trial < 3000; ++trial) {
    std::string text = good;
    auto const block = random_block(11, Purpose::synthetic, 0, trial);
    auto const at = to_below(block.word[0], static_cast<std::uint32_t>(text.size()));
    switch (block.word[1] % 3) {
    case 0:
      text[at] = static_cast<char>(block.word[2] % 256);
      break;
    case 1:
      text.erase(at, 1 + block.word[2] % 9);
      break;
    default:
      text.insert(at, std::string(1 + block.word[2] % 3, ",\"\n-9x"[block.word[3] % 6]));
    }
    try {
      for (auto const& read : parse_layer_table(text, "t.csv").rows) {
        REQUIRE(read.seconds > 0);
        REQUIRE(describe(read, LayerTableKind::convolution).parameters > 0);
      }
    } catch (Error const&) {
      ++refused;
    }
  }
  CHECK(refused > 1500);
}

TEST_CASE("features of layers have names, are finite, and show every column", "[layer_table]")
{
  LayerRow const base{.batch = 8,
                      .channels_in = 16,
                      .channels_out = 32,
                      .kernel = 3,
                      .stride = 1,
                      .side = 28,
                      .optimiser = Optimiser::sgd};
  for (auto const kind : {LayerTableKind::convolution, LayerTableKind::dense})
    for (auto const level : {LayerFeatures::reference, LayerFeatures::extended}) {
      auto const names = layer_feature_names(kind, level);
      LayerRow plain = base;
      if (kind == LayerTableKind::dense) plain.kernel = plain.side = 1;
      auto const values = layer_features(plain, kind, *data_sheet("v100"), level);
      REQUIRE(values.size() == names.size());
      CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
      CHECK(std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }));
      std::vector<LayerRow> changed(4, plain);
      changed[0].activation = 2;
      changed[1].optimiser = Optimiser::adadelta;
      changed[2].batch = 9;
      changed[3].channels_out = 33;
      if (kind == LayerTableKind::convolution) {
        changed.resize(9, plain);
        changed[4].same_padding = false;
        changed[5].bias = false;
        changed[6].kernel = 5;
        changed[7].stride = 2;
        changed[8].side = 29;
      }
      for (auto const& other : changed)
        CHECK(layer_features(other, kind, *data_sheet("v100"), level) != values);
      CHECK(layer_features(plain, kind, *data_sheet("k80"), level) != values);
    }
  CHECK(!data_sheet("a100").has_value());
  CHECK(data_sheet("1080ti")->cores == 28);
}

TEST_CASE("the shared tables hold what the reference counts", "[layer_table][shared]")
{
  Facts const facts[]{{"convolution_v100", 50000, 398799.858, 0.14176, 194.49, 64, 1.1, 4.9},
                      {"convolution_k40", 25000, 855462.058, 0.2013, 937.74, 47, 0.2, 2.5},
                      {"convolution_k80", 25000, 708421.035, 0.24206, 753.19, 32, 1.5, 8},
                      {"convolution_m60", 25000, 448960.922, 0.21924, 442.24, 29, 0.3, 1.5},
                      {"dense_v100", 25000, 13600.212, 0.14068, 2.1877, 64, 4.2, 12},
                      {"dense_k40", 25000, 37686.167, 0.13252, 10.866, 47, 3.8, 12},
                      {"dense_k80", 25000, 38039.699, 0.21114, 10.293, 64, 5.0, 17},
                      {"dense_m60", 25000, 25913.266, 0.16447, 7.4936, 29, 1.4, 4.8}};
  for (auto const& fact : facts) {
    auto const table = read_layer_table(test::shared_timings(std::string("justus_") + fact.file + ".csv.gz"));
    INFO(fact.file);
    CHECK(table.rows.size() == fact.rows);
    double sum = 0, least = 1, most = 0;
    int batch = 0;
    std::vector<double> spreads;
    for (auto const& layer : table.rows) {
      sum += 1e3 * layer.seconds;
      least = std::min(least, layer.seconds);
      most = std::max(most, layer.seconds);
      batch = std::max(batch, layer.batch);
      spreads.push_back(100 * layer.sd_seconds / layer.seconds);
      if (layer.kernel > layer.side) FAIL("a kernel is larger than its image");
    }
    CHECK(std::abs(sum - fact.sum) < 6e-4);
    CHECK(1e3 * least == Approx(fact.min));
    CHECK(1e3 * most == Approx(fact.max));
    CHECK(batch == fact.batch);
    // The reference's figures were rounded twice.
    CHECK(std::abs(quantile(spreads, 0.5) - fact.p50) <= 0.055);
    CHECK(std::abs(quantile(spreads, 0.9) - fact.p90) <= (fact.p90 < 5 ? 0.055 : 0.55));
  }
}
