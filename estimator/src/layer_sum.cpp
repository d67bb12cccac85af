// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The project's own method for whole networks: the time of a step is a sum over its layers. One perceptron says by what
// factor each layer misses its roofline; it learns from the times of whole steps alone, through their sum. Reference
// section 2.5 ("per-layer"), without timing layers by themselves.
#include "methods.hpp"
#include "mlp.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {
namespace {

using nn::spec::ActivationKind;

double log2p(double value)
{
  return std::log2(1 + value);
}

/// Layers that a stack may do in one pass with their neighbour: what they cost depends on it.
bool is(LayerCost const* layer, LayerKind kind)
{
  return layer != nullptr && layer->kind == kind;
}
bool weighted(LayerCost const* layer)
{
  return is(layer, LayerKind::conv) || is(layer, LayerKind::depthwise_conv) || is(layer, LayerKind::dense);
}

/// A row of the perceptron and the seconds that it scales.
struct Part
{
  std::vector<double> row;
  double roofline = 0;
};

constexpr std::size_t kinds = layer_kinds + 2; ///< and the update, and what a step costs whatever is in it

std::vector<Part> parts(Description const& description, Device const& device)
{
  bool const training = description.optimiser != Optimiser::none;
  double const passes = training ? 3 : 1;
  double const ridge = device.peak_flops / device.bandwidth;
  std::vector<Part> all;
  auto const begin = [&](std::size_t kind) -> std::vector<double>& {
    all.emplace_back();
    all.back().row.assign(kinds, 0);
    all.back().row[kind] = 1;
    return all.back().row;
  };
  auto const& layers = description.layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto const& layer = layers[i];
    LayerCost const* const before = i > 0 ? &layers[i - 1] : nullptr;
    LayerCost const* const after = i + 1 < layers.size() ? &layers[i + 1] : nullptr;
    auto& row = begin(static_cast<std::size_t>(layer.kind));
    double const pixels_in = static_cast<double>(layer.in.height) * layer.in.width,
                 pixels_out = static_cast<double>(layer.out.height) * layer.out.width;
    for (double const value :
         {log2p(description.batch), log2p(pixels_in), log2p(pixels_out), log2p(layer.in.channels),
          log2p(layer.out.channels), log2p(static_cast<double>(layer.in.channels) / layer.groups),
          log2p(static_cast<double>(layer.out.channels) / layer.groups), log2p(layer.kernel), log2p(layer.stride),
          log2p(static_cast<double>(layer.parameters)), log2p(layer.forward_flops / 1e3),
          log2p(layer.forward_bytes / 1e3), std::log2((layer.forward_flops + 1) / (layer.forward_bytes * ridge)),
          // Channels that leave vector lanes empty.
          1.0 * (layer.out.channels % 16 == 0), 1.0 * (layer.out.channels % 16 > 8 || layer.out.channels % 16 == 0),
          layer.out.channels / (16 * std::ceil(layer.out.channels / 16.0)),
          layer.in.channels / (8 * std::ceil(layer.in.channels / 8.0)), 1.0 * (layer.in.channels <= 4),
          1.0 * (layer.groups > 1 && layer.groups == layer.in.channels), 1.0 * (i == 0), 1.0 * weighted(before),
          1.0 * is(before, LayerKind::batch_norm), 1.0 * is(before, LayerKind::activation),
          1.0 * is(after, LayerKind::batch_norm), 1.0 * is(after, LayerKind::max_pool),
          1.0 * is(after, LayerKind::activation),
          1.0 * (is(after, LayerKind::activation) && after->activation == ActivationKind::relu),
          1.0 * (is(&layer, LayerKind::activation) && layer.activation == ActivationKind::relu),
          1.0 * (is(&layer, LayerKind::activation) && layer.activation == ActivationKind::tanh),
          1.0 * (is(&layer, LayerKind::activation) && layer.activation == ActivationKind::sigmoid), 0.0, 0.0})
      row.push_back(value);
    all.back().roofline =
        passes * std::max(layer.forward_flops / device.peak_flops, layer.forward_bytes / device.bandwidth) +
        passes * device.launch_seconds;
  }
  std::size_t const width = all.front().row.size();
  if (training) {
    auto& row = begin(layer_kinds);
    row.resize(width);
    row[kinds] = log2p(static_cast<double>(description.parameters));
    row[width - 2] = state_words(description.optimiser);
    row[width - 1] = description.optimiser == Optimiser::adam;
    all.back().roofline = 4.0 * (2 + state_words(description.optimiser)) * static_cast<double>(description.parameters) /
                              device.bandwidth +
                          device.launch_seconds;
  }
  auto& row = begin(layer_kinds + 1);
  row.resize(width);
  row[kinds] = log2p(description.batch);
  row[kinds + 1] = log2p(static_cast<double>(description.input.size()));
  all.back().roofline = device.launch_seconds +
                        4.0 * description.batch * static_cast<double>(description.input.size()) / device.bandwidth;
  return all;
}

class LayerSum : public DescriptionEstimator
{
public:
  explicit LayerSum(std::string method) : m_method(std::move(method)), m_members(m_method == "nasturtium" ? 3 : 1) {}
  std::string name() const override { return m_method; }

  void fit(std::span<Example const> examples, std::uint64_t seed, bool /*warm*/) override
  {
    check(examples);
    std::vector<double> rows, rooflines;
    std::vector<std::size_t> first{0};
    std::vector<std::int64_t> lineage;
    for (auto const& example : examples) {
      for (auto const& part : parts(example.description, example.device)) {
        rows.insert(rows.end(), part.row.begin(), part.row.end());
        rooflines.push_back(part.roofline);
      }
      first.push_back(rooflines.size());
      lineage.push_back(example.lineage);
    }
    std::size_t const width = rows.size() / rooflines.size();
    m_scaling = Scaling::of(rows, width);
    std::vector<float> scaled;
    scaled.reserve(rows.size());
    for (std::size_t i = 0; i < rooflines.size(); ++i) {
      auto const row = m_scaling.single({rows.data() + i * width, width});
      scaled.insert(scaled.end(), row.begin(), row.end());
    }
    MlpLoss const loss = [&](std::size_t item, std::span<float const> outputs, std::span<float> gradients) {
      double sum = 0;
      for (std::size_t i = 0; i < outputs.size(); ++i)
        sum += seconds(rooflines[first[item] + i], outputs[i]);
      double const miss = std::log(sum / examples[item].seconds);
      // Squared for small misses, linear for large ones: a few noisy timings do not lead.
      double const slope = std::clamp(miss, -0.3, 0.3);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        bool const inside = std::abs(outputs[i]) < most;
        gradients[i] =
            inside ? static_cast<float>(2 * slope * seconds(rooflines[first[item] + i], outputs[i]) / sum) : 0.0F;
      }
      return slope * (2 * miss - slope);
    };
    m_networks.clear();
    for (int member = 0; member < m_members; ++member) {
      auto const member_seed = seed * 16 + static_cast<std::uint64_t>(member);
      Mlp network({static_cast<int>(width), 96, 96, 1}, member_seed);
      MlpOptions options;
      options.patience = 40;
      // Three rates, each from the best weights of the one before.
      for (double const rate : {2e-3, 5e-4, 1e-4}) {
        options.rate = rate;
        options.epochs = rate > 1e-3 ? 200 : 100;
        train(network, scaled, first, lineage, loss, options, member_seed);
      }
      m_networks.push_back(std::move(network));
    }
  }

  Prediction predict(Description const& description, Device const& device) const override
  {
    std::vector<double> sums(m_networks.size());
    for (auto const& part : parts(description, device)) {
      auto const row = m_scaling.single(part.row);
      for (std::size_t m = 0; m < m_networks.size(); ++m)
        sums[m] += seconds(part.roofline, m_networks[m](row).front());
    }
    double mean = 0;
    for (double const sum : sums)
      mean += std::log(sum) / static_cast<double>(sums.size());
    return {.seconds = std::exp(mean)};
  }

  json::Object save_model() const override
  {
    json::Array networks;
    for (auto const& network : m_networks)
      networks.push_back(network.save());
    return {{"scaling", m_scaling.save()}, {"networks", std::move(networks)}};
  }
  void load_model(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_scaling = Scaling::load(reader.value("scaling"), reader.what("scaling"));
    Description one;
    one.layers.resize(1);
    Device unit;
    unit.peak_flops = unit.bandwidth = 1;
    auto const width = parts(one, unit).front().row.size();
    require(m_scaling.mean.size() == width, reader.what("scaling"), " has ", m_scaling.mean.size(), " columns, not ",
            width);
    m_networks.clear();
    for (auto const& network : reader.array("networks"))
      m_networks.push_back(Mlp::load(network, static_cast<int>(width), 1,
                                     concat(reader.what("networks"), ": network ", m_networks.size())));
    require(!m_networks.empty(), reader.what("networks"), " is empty");
    reader.finish();
  }

private:
  static constexpr double most = 8; ///< of the logarithm of the factor
  static double seconds(double roofline, double output) { return roofline * std::exp(std::clamp(output, -most, most)); }

  std::string m_method;
  int m_members;
  Scaling m_scaling;
  std::vector<Mlp> m_networks;
};

} // namespace

std::unique_ptr<DescriptionEstimator> make_layer_sum(std::string const& method)
{
  if (method == "layer-sum" || method == "nasturtium") return std::make_unique<LayerSum>(method);
  return nullptr;
}

} // namespace nasturtium::estimator
