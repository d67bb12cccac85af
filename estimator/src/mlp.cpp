// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "mlp.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/random.hpp>

#include <Eigen/Dense>

#include <limits>
#include <utility>

namespace nasturtium::estimator {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using RowMap = Eigen::Map<Eigen::RowVectorXf>;

MatrixMap kernel_of(Mlp::Layer& layer)
{
  return {layer.kernel.data(), layer.in, layer.out};
}
RowMap bias_of(Mlp::Layer& layer)
{
  return {layer.bias.data(), layer.out};
}

/// Kingma and Ba, ICLR 2015.
class Adam
{
public:
  Adam(std::size_t count, double rate) : m_first(count), m_second(count), m_rate(rate) {}

  void begin_step()
  {
    ++m_step;
    m_scale = m_rate * std::sqrt(1 - std::pow(0.999, m_step)) / (1 - std::pow(0.9, m_step));
    m_at = 0;
  }
  void update(std::vector<float>& weights, float const* gradients)
  {
    for (std::size_t i = 0; i < weights.size(); ++i, ++m_at) {
      float const g = gradients[i];
      m_first[m_at] += 0.1F * (g - m_first[m_at]);
      m_second[m_at] += 0.001F * (g * g - m_second[m_at]);
      weights[i] -= static_cast<float>(m_scale) * m_first[m_at] / (std::sqrt(m_second[m_at]) + 1e-8F);
    }
  }

private:
  std::vector<float> m_first, m_second;
  double m_rate, m_scale = 0;
  std::size_t m_at = 0;
  int m_step = 0;
};

/// Forward and backward passes over a batch of items, in buffers of their own.
class Pass
{
public:
  Pass(Mlp& mlp, std::span<float const> rows, std::span<std::size_t const> first_row)
      : m_mlp(mlp), m_rows(rows), m_first_row(first_row), m_values(mlp.layers().size() + 1)
  {
    for (auto const& layer : mlp.layers()) {
      m_kernel_grads.emplace_back(layer.in, layer.out);
      m_bias_grads.emplace_back(layer.out);
    }
  }

  /// Sum of the items' losses.
  double forward(std::span<std::size_t const> items, MlpLoss const& loss, double dropout, RandomStream* draws)
  {
    auto const width = static_cast<std::size_t>(m_mlp.inputs());
    std::size_t count = 0;
    for (std::size_t const item : items)
      count += m_first_row[item + 1] - m_first_row[item];
    auto& input = m_values.front();
    input.resize(static_cast<Eigen::Index>(count), static_cast<Eigen::Index>(width));
    float* to = input.data();
    for (std::size_t const item : items) {
      auto const part = m_rows.subspan(m_first_row[item] * width, (m_first_row[item + 1] - m_first_row[item]) * width);
      to = std::copy(part.begin(), part.end(), to);
    }
    auto& layers = m_mlp.layers();
    for (std::size_t l = 0; l < layers.size(); ++l) {
      auto& out = m_values[l + 1];
      out.noalias() = m_values[l] * kernel_of(layers[l]);
      out.rowwise() += bias_of(layers[l]);
      if (l + 1 == layers.size()) break;
      out = out.cwiseMax(0.0F);
      if (draws != nullptr && dropout > 0 && l + 2 == layers.size())
        for (Eigen::Index i = 0; i < out.size(); ++i)
          out.data()[i] *= draws->uniform() < dropout ? 0.0F : static_cast<float>(1 / (1 - dropout));
    }
    auto& output = m_values.back();
    m_gradient.resize(output.rows(), output.cols());
    auto const outs = static_cast<std::size_t>(m_mlp.outputs());
    double sum = 0;
    std::size_t at = 0;
    for (std::size_t const item : items) {
      std::size_t const size = (m_first_row[item + 1] - m_first_row[item]) * outs;
      sum += loss(item, {output.data() + at, size}, {m_gradient.data() + at, size});
      at += size;
    }
    m_gradient /= static_cast<float>(items.size());
    return sum;
  }

  void backward(Adam& adam, double dropout)
  {
    auto& layers = m_mlp.layers();
    for (std::size_t l = layers.size(); l-- > 0;) {
      m_kernel_grads[l].noalias() = m_values[l].transpose() * m_gradient;
      m_bias_grads[l] = m_gradient.colwise().sum();
      if (l == 0) break;
      m_next.noalias() = m_gradient * kernel_of(layers[l]).transpose();
      float const kept = l + 1 == layers.size() ? static_cast<float>(1 / (1 - dropout)) : 1.0F;
      m_gradient = (m_values[l].array() > 0).select(m_next * kept, 0.0F);
    }
    adam.begin_step();
    for (std::size_t l = 0; l < layers.size(); ++l) {
      adam.update(layers[l].kernel, m_kernel_grads[l].data());
      adam.update(layers[l].bias, m_bias_grads[l].data());
    }
  }

private:
  Mlp& m_mlp;
  std::span<float const> m_rows;
  std::span<std::size_t const> m_first_row;
  std::vector<Matrix> m_values, m_kernel_grads;
  std::vector<Eigen::RowVectorXf> m_bias_grads;
  Matrix m_gradient, m_next;
};

} // namespace

Mlp::Mlp(std::vector<int> const& widths, std::uint64_t seed)
{
  for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
    Layer layer{widths[l], widths[l + 1], {}, {}};
    RandomStream draws(seed, static_cast<std::uint32_t>(l), Purpose::weights);
    layer.kernel.resize(static_cast<std::size_t>(layer.in) * static_cast<std::size_t>(layer.out));
    for (float& value : layer.kernel)
      value = static_cast<float>(draws.normal() * std::sqrt(2.0 / layer.in));
    layer.bias.assign(static_cast<std::size_t>(layer.out), 0);
    m_layers.push_back(std::move(layer));
  }
}

Mlp::Mlp(std::vector<Layer> layers) : m_layers(std::move(layers))
{
}

std::vector<float> Mlp::operator()(std::span<float const> input) const
{
  std::vector<float> values(input.begin(), input.end()), next;
  for (std::size_t l = 0; l < m_layers.size(); ++l) {
    auto const& layer = m_layers[l];
    next = layer.bias;
    auto const out = static_cast<std::size_t>(layer.out);
    for (std::size_t i = 0; i < values.size(); ++i) {
      float const value = values[i];
      if (value == 0) continue;
      float const* const kernel = layer.kernel.data() + i * out;
      for (std::size_t j = 0; j < out; ++j)
        next[j] += value * kernel[j];
    }
    if (l + 1 < m_layers.size())
      for (float& value : next)
        value = std::max(0.0F, value);
    values.swap(next);
  }
  return values;
}

json::Array Mlp::save() const
{
  json::Array result;
  for (auto const& layer : m_layers)
    result.push_back(json::Object{{"in", layer.in},
                                  {"out", layer.out},
                                  {"kernel", json::Array(layer.kernel.begin(), layer.kernel.end())},
                                  {"bias", json::Array(layer.bias.begin(), layer.bias.end())}});
  return result;
}

Mlp Mlp::load(json::Value const& value, int inputs, int outputs, std::string const& what)
{
  std::vector<Layer> layers;
  int expected = inputs;
  for (auto const& item : json::to_array(value, what)) {
    json::Reader reader(item, concat(what, ": layer ", layers.size()));
    Layer layer;
    layer.in = static_cast<int>(reader.integer("in", expected, expected));
    layer.out = static_cast<int>(reader.integer("out", 1, 1 << 16));
    constexpr double largest = std::numeric_limits<float>::max();
    auto const numbers = [&](char const* field, std::size_t count) {
      auto const& array = reader.array(field);
      require(array.size() == count, reader.what(field), " should hold ", count, " numbers, got ", array.size());
      std::vector<float> result;
      result.reserve(count);
      for (auto const& number : array)
        result.push_back(
            static_cast<float>(json::to_number(number, reader.what(field), json::between(-largest, largest))));
      return result;
    };
    layer.kernel = numbers("kernel", static_cast<std::size_t>(layer.in) * static_cast<std::size_t>(layer.out));
    layer.bias = numbers("bias", static_cast<std::size_t>(layer.out));
    reader.finish();
    expected = layer.out;
    layers.push_back(std::move(layer));
  }
  require(!layers.empty() && expected == outputs, what, " should have ", outputs, " outputs, got ",
          layers.empty() ? 0 : expected);
  return Mlp(std::move(layers));
}

bool held_out(std::int64_t lineage, double share, std::uint64_t seed)
{
  auto const block = random_block(seed, Purpose::split, 0, static_cast<std::uint64_t>(lineage));
  return to_unit_float(block.word[0]) < share;
}

void train(Mlp& mlp, std::span<float const> rows, std::span<std::size_t const> first_row,
           std::span<std::int64_t const> lineage, MlpLoss const& loss, MlpOptions const& options, std::uint64_t seed)
{
  std::size_t const items = first_row.size() - 1;
  std::vector<std::size_t> training, validation;
  for (std::size_t i = 0; i < items; ++i) {
    auto const family = lineage.empty() ? static_cast<std::int64_t>(i) : lineage[i];
    (held_out(family, options.validation, seed) ? validation : training).push_back(i);
  }
  if (training.empty()) training.swap(validation);
  Pass pass(mlp, rows, first_row);
  std::size_t parameters = 0;
  for (auto const& layer : mlp.layers())
    parameters += layer.kernel.size() + layer.bias.size();
  Adam adam(parameters, options.rate);
  RandomStream dropout(seed, 0, Purpose::dropout);
  Mlp best = mlp;
  double least = std::numeric_limits<double>::infinity();
  auto const batch = static_cast<std::size_t>(options.batch);
  for (int epoch = 0, since = 0; epoch < options.epochs && since < options.patience; ++epoch) {
    RandomStream(seed, static_cast<std::uint32_t>(epoch), Purpose::shuffle).shuffle(training);
    for (std::size_t begin = 0; begin < training.size(); begin += batch) {
      auto const part = std::span(training).subspan(begin, std::min(batch, training.size() - begin));
      pass.forward(part, loss, options.dropout, &dropout);
      pass.backward(adam, options.dropout);
    }
    if (validation.empty()) continue;
    double sum = 0;
    for (std::size_t begin = 0; begin < validation.size(); begin += 1024)
      sum += pass.forward(std::span(validation).subspan(begin, std::min<std::size_t>(1024, validation.size() - begin)),
                          loss, 0, nullptr);
    ++since;
    if (sum < least) {
      least = sum;
      best = mlp;
      since = 0;
    }
  }
  if (!validation.empty()) mlp = std::move(best);
}

} // namespace nasturtium::estimator
