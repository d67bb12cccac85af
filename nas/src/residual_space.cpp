// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/nas/random.hpp>
#include <nasturtium/nas/residual_space.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace nasturtium::nas {

namespace {

using nn::OptimiserKind;
using nn::spec::Activation;
using nn::spec::ActivationKind;
using nn::spec::Conv2d;

constexpr int least_side = 4; // of an image that is worth a convolution

/// How large the networks of a space are.
struct Sizes
{
  std::vector<int> filters; ///< of the first stage; every other one has twice as many
  std::vector<int> units;
  int stages, blocks, layers; ///< at most
};

Sizes sizes_of(std::string const& name)
{
  if (name == "residual") return {{8, 12, 16, 24, 32, 48, 64}, {64, 128, 256, 512, 1024}, 3, 3, 4};
  return {{2, 3, 4, 6, 8}, {8, 16, 32, 64, 128}, 2, 2, 3};
}

template <class Value>
Value pick(Random& random, std::vector<Value> const& options)
{
  return options[static_cast<std::size_t>(random.below(static_cast<int>(options.size())))];
}

/// The logarithm is uniform.
double log_uniform(Random& random, double low, double high)
{
  return low * std::exp(random.uniform() * std::log(high / low));
}

enum class Block { plain, basic, bottleneck, separable };

/// What all layers of a network share.
struct Style
{
  Activation activation;
  bool norm = true;
  double dropout = 0;
};

class Builder
{
public:
  Builder(Task const& task, Style const& style) : m_graph(task), m_style(style) {}

  void norm()
  {
    if (m_style.norm) m_graph.append(nn::spec::BatchNorm{});
  }
  void activation() { m_graph.append(m_style.activation); }
  void drop()
  {
    if (m_style.dropout > 0) m_graph.append(nn::spec::Dropout{m_style.dropout});
  }

  void convolution(int filters, int kernel, int stride, int groups = 1)
  {
    Conv2d conv;
    conv.filters = filters;
    conv.kernel = {kernel, kernel};
    conv.stride = {stride, stride};
    conv.groups = groups;
    conv.bias = !m_style.norm; // which a norm would take away again
    m_graph.append(conv);
    norm();
    m_channels = filters;
  }

  void block(Block kind, int filters, int kernel, int stride)
  {
    std::string const input = m_graph.last();
    int const channels = m_channels;
    switch (kind) {
    case Block::plain:
      convolution(filters, kernel, stride);
      activation();
      return;
    case Block::basic:
      convolution(filters, kernel, stride);
      activation();
      convolution(filters, kernel, 1);
      break;
    case Block::bottleneck:
      convolution(std::max(1, filters / 4), 1, 1);
      activation();
      convolution(std::max(1, filters / 4), kernel, stride);
      activation();
      convolution(filters, 1, 1);
      break;
    case Block::separable:
      convolution(channels, kernel, stride, channels);
      activation();
      convolution(filters, 1, 1);
      break;
    }
    std::string const branch = m_graph.last();
    m_graph.continue_from(input);
    if (stride != 1 || channels != filters) convolution(filters, 1, stride);
    m_graph.append(nn::spec::Add{}, {m_graph.last(), branch});
    activation();
  }

  void dense(int units, bool residual)
  {
    std::string const input = m_graph.last();
    m_graph.append(nn::spec::Dense{units, !m_style.norm});
    norm();
    activation();
    if (residual) m_graph.append(nn::spec::Add{}, {input, m_graph.last()});
    drop();
  }

  impl::GraphBuilder& graph() { return m_graph; }

private:
  impl::GraphBuilder m_graph;
  Style m_style;
  int m_channels = 0; ///< behind the last convolution
};

void build_cnn(Builder& builder, Random& random, Sizes const& sizes, Task const& task)
{
  int stages = 1;
  while (stages < sizes.stages && std::min(task.input.height, task.input.width) >> stages >= least_side)
    ++stages;
  stages = 1 + random.below(stages);
  int const blocks = 1 + random.below(sizes.blocks), filters = pick(random, sizes.filters);
  int const kernel = pick(random, std::vector{3, 5});
  Block const kind = pick(random, std::vector{Block::plain, Block::basic, Block::bottleneck, Block::separable});
  builder.convolution(filters, 3, 1);
  builder.activation();
  for (int stage = 0; stage < stages; ++stage)
    for (int block = 0; block < blocks; ++block)
      builder.block(kind, filters << stage, kernel, stage > 0 && block == 0 ? 2 : 1);
  builder.graph().append(nn::spec::GlobalAvgPool{});
  builder.drop();
}

void build_mlp(Builder& builder, Random& random, Sizes const& sizes)
{
  int const layers = 1 + random.below(sizes.layers), units = pick(random, sizes.units);
  bool const residual = random.chance(0.5);
  builder.graph().append(nn::spec::Flatten{});
  for (int layer = 0; layer < layers; ++layer)
    builder.dense(units, residual && layer > 0);
}

nn::OptimiserOptions draw_optimiser(Random& random)
{
  nn::OptimiserOptions optimiser;
  optimiser.kind =
      pick(random, std::vector{OptimiserKind::sgd, OptimiserKind::adam, OptimiserKind::adamw, OptimiserKind::rmsprop});
  bool const sgd = optimiser.kind == OptimiserKind::sgd;
  optimiser.nesterov = sgd;
  if (optimiser.kind == OptimiserKind::rmsprop) optimiser.momentum = 0;
  optimiser.learning_rate = sgd ? log_uniform(random, 5e-3, 0.5) : log_uniform(random, 1e-4, 2e-2);
  // Where it does not pass through the adaptive step, a decay is worth more.
  bool const decoupled = optimiser.kind == OptimiserKind::adamw;
  optimiser.weight_decay = decoupled ? log_uniform(random, 1e-4, 0.1) : log_uniform(random, 1e-6, 1e-3);
  return optimiser;
}

nn::AugmentOptions draw_augmentation(Random& random, int side)
{
  nn::AugmentOptions augment;
  int const strength = random.below(4); // none, flip, and crop, and cutout
  augment.flip = strength >= 1;
  augment.crop_padding = strength >= 2 ? std::max(1, side / 8) : 0;
  augment.cutout = strength >= 3 ? std::max(1, side / 4) : 0;
  return augment;
}

} // namespace

std::vector<std::string> ResidualSpace::names()
{
  return {"residual", "residual-narrow"};
}

ResidualSpace::ResidualSpace(std::string name, Task const& task) : m_name(std::move(name)), m_task(task)
{
  require(m_name == "residual" || m_name == "residual-narrow", "configuration space: unknown name ", quoted(m_name),
          " (known: residual, residual-narrow)");
  check(task);
}

Configuration ResidualSpace::sample(std::uint64_t seed, int trial) const
{
  require(trial >= 0, m_name, ": the trial must not be negative, got ", trial);
  Random random(seed, static_cast<std::uint32_t>(trial));
  Sizes const sizes = sizes_of(m_name);
  int const side = std::min(m_task.input.height, m_task.input.width);
  bool const cnn = side >= least_side && random.chance(0.75);
  Style style;
  style.activation.kind =
      pick(random, std::vector{ActivationKind::relu, ActivationKind::leaky_relu, ActivationKind::elu,
                               ActivationKind::gelu, ActivationKind::silu, ActivationKind::tanh});
  style.norm = random.chance(0.75);
  style.dropout = pick(random, std::vector{0.0, 0.1, 0.2, 0.3, 0.5});

  Configuration configuration;
  auto& options = configuration.options;
  options.optimiser = draw_optimiser(random);
  options.schedule.kind = nn::ScheduleKind::cosine;
  if (side >= least_side) options.augment = draw_augmentation(random, side);
  options.batch_size = pick(random, std::vector{32, 64, 128, 256});
  double const smoothing = pick(random, std::vector{0.0, 0.05, 0.1, 0.2});
  if (m_task.classes > 0) options.label_smoothing = smoothing;
  options.seed = random_block(seed, Purpose::search, static_cast<std::uint32_t>(trial), ~std::uint64_t{0}).word[0];

  Builder builder(m_task, style);
  if (cnn)
    build_cnn(builder, random, sizes, m_task);
  else
    build_mlp(builder, random, sizes);
  configuration.architecture = builder.graph().finish(concat(m_name, " ", trial));
  configuration.cost = nn::spec::infer(configuration.architecture, configuration.architecture.name).forward_flops;
  return configuration;
}

std::vector<double> ResidualSpace::costs(std::uint64_t seed, int count) const
{
  std::vector<double> costs;
  for (int trial = 0; trial < count; ++trial)
    costs.push_back(sample(seed, trial).cost);
  return costs;
}

std::string ResidualSpace::hash() const
{
  Sha256 hash;
  for (int trial = 0; trial < 32; ++trial) {
    auto const configuration = sample(0, trial);
    hash.update(nn::spec::hash(configuration.architecture));
    hash.update(nn::to_json(configuration.options));
    hash.update(shortest(configuration.cost));
  }
  return hash.hex();
}

} // namespace nasturtium::nas
