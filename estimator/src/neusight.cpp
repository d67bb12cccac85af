// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After NeuSight (Lee et al., ASPLOS 2025; reference section 6): a perceptron says how well each operation uses its
// bound, the operation's own arithmetic says the rest. Published: a network per operator, tiles of the vendor's
// library, timings per operator. Here: one network for all, one tile, and times of whole steps, so the loss is over the
// sum of a network's operations; 2 x 64 instead of 8 x 512 units.
#include "matrix_product.hpp"
#include "methods.hpp"
#include "mlp.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr double tile = 64; ///< rows and columns that one core has at work
constexpr int row_width = 6;

double sigmoid(double x)
{
  return 1 / (1 + std::exp(-x));
}

/// One pass over one layer: seconds at its bound, and what the perceptron sees of it.
struct Operation
{
  double bound_seconds = 0, waves = 1;
  std::vector<double> row;
};

Operation operation(double flops, double bytes, double tiles, bool contraction, Device const& device)
{
  double const waves = std::max(1.0, std::ceil(tiles / device.cores));
  double const rate = std::min(device.peak_flops, flops / bytes * device.bandwidth);
  Operation result;
  result.bound_seconds = std::max(flops / std::max(rate, 1.0), bytes / device.bandwidth);
  result.waves = waves;
  auto const log = [](double value) { return std::log2(1e-12 + value); };
  result.row = {log(flops / tiles / (device.peak_flops / device.cores)),
                log(bytes / tiles / (device.bandwidth / device.cores)),
                log(bytes / waves / device.cores),
                log(waves),
                log(flops / bytes),
                contraction ? 1.0 : 0.0};
  return result;
}

std::vector<Operation> operations(Description const& description, Device const& device)
{
  std::vector<Operation> all;
  bool const forward_alone = description.optimiser == Optimiser::none;
  for (auto const& layer : description.layers) {
    bool const contraction =
        layer.kind == LayerKind::conv || layer.kind == LayerKind::depthwise_conv || layer.kind == LayerKind::dense;
    auto const products = matrix_products(description.batch, layer);
    for (std::size_t pass = 0; pass < (forward_alone ? 1 : products.size()); ++pass) {
      double const tiles = contraction ? products[pass].tiles(tile, tile) * layer.groups
                                       : std::ceil(layer.forward_bytes / (4 * tile * tile));
      all.push_back(operation(std::max(layer.forward_flops, layer.forward_bytes / 8), layer.forward_bytes,
                              std::max(1.0, tiles), contraction, device));
    }
  }
  return all;
}

class NeuSight : public DescriptionEstimator
{
public:
  std::string name() const override { return "neusight-u"; }

  void fit(std::span<Example const> examples, std::uint64_t seed, bool /*warm*/) override
  {
    check(examples);
    std::vector<double> rows;
    std::vector<std::vector<Operation>> all;
    std::vector<std::size_t> first{0};
    std::vector<std::int64_t> lineage;
    for (auto const& example : examples) {
      all.push_back(operations(example.description, example.device));
      for (auto const& it : all.back())
        rows.insert(rows.end(), it.row.begin(), it.row.end());
      first.push_back(first.back() + all.back().size());
      lineage.push_back(example.lineage);
    }
    m_scaling = Scaling::of(rows, row_width);
    std::vector<float> scaled;
    for (std::size_t i = 0; i < first.back(); ++i) {
      auto const row = m_scaling.single({rows.data() + i * row_width, row_width});
      scaled.insert(scaled.end(), row.begin(), row.end());
    }
    m_network = Mlp({row_width, 64, 64, 2}, seed);
    // Symmetric relative error of the sum.
    MlpLoss const loss = [&](std::size_t item, std::span<float const> outputs, std::span<float> gradients) {
      double const truth = examples[item].seconds;
      double const guess = seconds(all[item], outputs, examples[item].device);
      double const sum = truth + guess, slope = (guess > truth ? 1 : -1) * 4 * truth / (sum * sum);
      for (std::size_t i = 0; i < all[item].size(); ++i) {
        auto const& it = all[item][i];
        double const g = sigmoid(outputs[2 * i]), a = sigmoid(outputs[2 * i + 1]), u = g - a * g / it.waves;
        double const by_u = -it.bound_seconds / (std::max(u, least) * std::max(u, least)) * (u > least ? 1 : 0);
        gradients[2 * i] = static_cast<float>(slope * by_u * g * (1 - g) * (1 - a / it.waves));
        gradients[2 * i + 1] = static_cast<float>(slope * by_u * -g / it.waves * a * (1 - a));
      }
      return 2 * std::abs(truth - guess) / sum;
    };
    MlpOptions options;
    options.epochs = 150;
    train(m_network, scaled, first, lineage, loss, options, seed);
  }

  Prediction predict(Description const& description, Device const& device) const override
  {
    auto const all = operations(description, device);
    std::vector<float> outputs;
    for (auto const& it : all) {
      auto const y = m_network(m_scaling.single(it.row));
      outputs.insert(outputs.end(), y.begin(), y.end());
    }
    return {.seconds = seconds(all, outputs, device)};
  }

  json::Object save_model() const override { return {{"scaling", m_scaling.save()}, {"network", m_network.save()}}; }
  void load_model(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_scaling = Scaling::load(reader.value("scaling"), reader.what("scaling"));
    require(m_scaling.mean.size() == row_width, reader.what("scaling"), " has ", m_scaling.mean.size(),
            " columns, not ", row_width);
    m_network = Mlp::load(reader.value("network"), row_width, 2, reader.what("network"));
    reader.finish();
  }

private:
  static constexpr double least = 1e-3; ///< of the bound that is used

  /// Utilisation g (1 - a / waves): the published g - a / waves with a as a share of g, so that it stays positive.
  static double seconds(std::vector<Operation> const& all, std::span<float const> outputs, Device const& device)
  {
    double sum = static_cast<double>(all.size()) * device.launch_seconds;
    for (std::size_t i = 0; i < all.size(); ++i) {
      double const g = sigmoid(outputs[2 * i]), a = sigmoid(outputs[2 * i + 1]);
      sum += all[i].bound_seconds / std::max(g - a * g / all[i].waves, least);
    }
    return sum;
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
