// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NeuSight (Lee et al., ASPLOS 2025) for this project's layers: a network guesses how much of the roofline each layer
// reaches, from its tiles and waves. What is adapted: one tile of 64 x 128 instead of recorded ones; one network for
// all kinds of layers; u = g (1 - a / waves), which cannot be negative; the times of whole steps as targets, so that
// the error is of the sum over the layers; 3 x 64 units and a rate of 1e-3 instead of 8 x 512 and 1e-5.
#include "matrix_product.hpp"
#include "methods.hpp"
#include "mlp.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace nasturtium::estimator {
namespace {

constexpr double tile_words = 4096; ///< of layers without a product
constexpr std::array<std::array<double, 2>, 5> tiles_known{{{128, 128}, {64, 128}, {64, 64}, {32, 32}, {8, 16}}};
constexpr std::size_t inputs = 10 + std::size_t{layer_kinds};

double sigmoid(double x)
{
  return 1 / (1 + std::exp(-x));
}

/// One layer: what the network sees, its waves and its seconds at full use of the device.
struct LayerWork
{
  std::vector<double> features;
  double waves = 1, seconds = 0;
};

LayerWork work_of(Description const& description, LayerCost const& layer, Device const& device)
{
  bool const contraction =
      layer.kind == LayerKind::conv || layer.kind == LayerKind::depthwise_conv || layer.kind == LayerKind::dense;
  int const cores = std::max(1, device.cores);
  MatrixProduct product{description.batch * static_cast<double>(layer.out.size()), 1, 1};
  auto count = tile_waves(1, product.rows, 1, tile_words, 1, cores);
  double tile_seconds = layer.forward_flops / count.tiles * cores / device.peak_flops;
  if (contraction) {
    product = matrix_products(description.batch, layer).front();
    double fastest = std::numeric_limits<double>::infinity();
    for (auto const& [rows, columns] : tiles_known) {
      auto const of_tile = tile_waves(1, product.rows, product.columns, rows, columns, cores);
      double const seconds = 2 * rows * columns * product.depth * cores / device.peak_flops;
      if (of_tile.waves * seconds >= fastest) continue;
      fastest = of_tile.waves * seconds;
      tile_seconds = seconds;
      count = of_tile;
    }
  }
  LayerWork work;
  work.waves = count.waves;
  double const passes = description.optimiser == Optimiser::none ? 1 : 3;
  work.seconds = passes * std::max(work.waves * tile_seconds, layer.forward_bytes / device.bandwidth);
  auto const log = [](double value) { return std::log2(1 + value); };
  work.features = {log(product.rows),
                   log(product.columns),
                   log(product.depth),
                   log(work.waves),
                   count.tiles / (count.waves * cores),
                   log(layer.forward_flops / layer.forward_bytes),
                   log(1e9 * tile_seconds),
                   log(1e9 * layer.forward_bytes / count.tiles * cores / device.bandwidth),
                   log(layer.kernel),
                   passes};
  for (int kind = 0; kind < layer_kinds; ++kind)
    work.features.push_back(static_cast<int>(layer.kind) == kind);
  return work;
}

class NeuSight : public DescriptionEstimator
{
public:
  std::string name() const override { return "neusight-u"; }

  void fit(std::span<Example const> examples, std::uint64_t seed, bool /*warm*/) override
  {
    check(examples);
    std::vector<LayerWork> works;
    std::vector<std::size_t> first{0};
    std::vector<std::int64_t> lineage;
    std::vector<double> values;
    for (auto const& example : examples) {
      for (auto const& layer : example.description.layers) {
        works.push_back(work_of(example.description, layer, example.device));
        values.insert(values.end(), works.back().features.begin(), works.back().features.end());
      }
      first.push_back(works.size());
      lineage.push_back(example.lineage);
    }
    m_scaling = Scaling::of(values, inputs);
    std::vector<float> rows;
    for (auto const& work : works) {
      auto const row = m_scaling.single(work.features);
      rows.insert(rows.end(), row.begin(), row.end());
    }
    std::vector<double> rest(examples.size());
    for (std::size_t i = 0; i < examples.size(); ++i)
      rest[i] = fixed_seconds(examples[i].description, examples[i].device);
    MlpLoss const loss = [&](std::size_t item, std::span<float const> y, std::span<float> gradients) {
      double sum = rest[item];
      for (std::size_t l = 0; l < y.size() / 2; ++l)
        sum += layer_seconds(works[first[item] + l], y[2 * l], y[2 * l + 1]);
      double const truth = examples[item].seconds, half = 0.5 * (sum + truth), error = std::abs(sum - truth) / half;
      double const slope = (sum > truth ? 1 : -1) * truth / (half * half); // of the symmetric error by the sum
      for (std::size_t l = 0; l < y.size() / 2; ++l) {
        auto const& work = works[first[item] + l];
        double const seconds = layer_seconds(work, y[2 * l], y[2 * l + 1]);
        double const g = sigmoid(y[2 * l]), a = sigmoid(y[2 * l + 1]);
        gradients[2 * l] = static_cast<float>(-slope * seconds * (1 - g));
        gradients[2 * l + 1] = static_cast<float>(slope * seconds * a * (1 - a) / (work.waves - a));
      }
      return error;
    };
    m_network = Mlp({static_cast<int>(inputs), 64, 64, 64, 2}, seed);
    MlpOptions options;
    if (examples.size() > 4096) {
      options.batch = 128;
      options.epochs = 60;
      options.patience = 10;
    }
    train(m_network, rows, first, lineage, loss, options, seed);
  }

  Prediction predict(Description const& description, Device const& device) const override
  {
    double sum = fixed_seconds(description, device);
    for (auto const& layer : description.layers) {
      auto const work = work_of(description, layer, device);
      auto const y = m_network(m_scaling.single(work.features));
      sum += layer_seconds(work, y[0], y[1]);
    }
    return {.seconds = sum};
  }

  json::Object save_model() const override { return {{"scaling", m_scaling.save()}, {"network", m_network.save()}}; }
  void load_model(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_scaling = Scaling::load(reader.value("scaling"), reader.what("scaling"));
    require(m_scaling.mean.size() == inputs, reader.what("scaling"), " should hold ", inputs, " features, got ",
            m_scaling.mean.size());
    m_network = Mlp::load(reader.value("network"), static_cast<int>(inputs), 2, reader.what("network"));
    reader.finish();
  }

private:
  /// seconds / u with u = g (1 - a / waves).
  static double layer_seconds(LayerWork const& work, double g, double a)
  {
    return work.seconds / (sigmoid(g) * (1 - sigmoid(a) / work.waves) + 1e-6);
  }
  /// The update and the launches.
  static double fixed_seconds(Description const& description, Device const& device)
  {
    auto const bound = roofline(description, device);
    return bound.update + bound.launch_cost;
  }

  Scaling m_scaling;
  Mlp m_network;
};

} // namespace

std::unique_ptr<DescriptionEstimator> make_neusight(std::string const& method)
{
  if (method == "neusight-u") return std::make_unique<NeuSight>();
  return nullptr;
}

} // namespace nasturtium::estimator
