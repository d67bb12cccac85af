// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/workload.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace nasturtium::estimator {
namespace {

namespace spec = nn::spec;

constexpr std::array<std::pair<char const*, Optimiser>, 7> optimisers{{{"none", Optimiser::none},
                                                                       {"sgd", Optimiser::sgd},
                                                                       {"momentum", Optimiser::momentum},
                                                                       {"adagrad", Optimiser::adagrad},
                                                                       {"rmsprop", Optimiser::rmsprop},
                                                                       {"adadelta", Optimiser::adadelta},
                                                                       {"adam", Optimiser::adam}}};

/// Kind and window of a layer.
struct Visitor
{
  LayerCost& cost;
  void operator()(spec::Conv2d const& conv) const
  {
    cost.kind = conv.groups > 1 ? LayerKind::depthwise_conv : LayerKind::conv;
    cost.kernel = std::max(conv.kernel[0], conv.kernel[1]);
    cost.stride = std::max(conv.stride[0], conv.stride[1]);
    cost.groups = conv.groups;
  }
  void operator()(spec::Pool2d const& pool) const
  {
    cost.kind = pool.kind == spec::PoolKind::max ? LayerKind::max_pool : LayerKind::average_pool;
    cost.kernel = std::max(pool.kernel[0], pool.kernel[1]);
    cost.stride = std::max(pool.stride[0], pool.stride[1]);
  }
  void operator()(spec::Dense const&) const { cost.kind = LayerKind::dense; }
  void operator()(spec::BatchNorm const&) const { cost.kind = LayerKind::batch_norm; }
  void operator()(spec::Activation const& activation) const
  {
    cost.kind = LayerKind::activation;
    cost.activation = activation.kind;
  }
  void operator()(spec::Dropout const&) const { cost.kind = LayerKind::dropout; }
  void operator()(spec::Flatten const&) const { cost.kind = LayerKind::flatten; }
  void operator()(spec::GlobalAvgPool const&) const { cost.kind = LayerKind::flatten; }
  void operator()(spec::Add const&) const { cost.kind = LayerKind::add; }
  template <class Other>
  void operator()(Other const&) const
  {
    cost.kind = LayerKind::other;
  }
};

} // namespace

std::string name(Optimiser optimiser)
{
  for (auto const& [text, value] : optimisers)
    if (value == optimiser) return text;
  return {};
}

Optimiser parse_optimiser(std::string const& text, std::string const& source)
{
  for (auto const& [known, value] : optimisers)
    if (text == known) return value;
  fail(source, ": optimiser must be none, sgd, momentum, adagrad, rmsprop, adadelta or adam, got ", quoted(text));
}

int state_words(Optimiser optimiser)
{
  switch (optimiser) {
  case Optimiser::none:
  case Optimiser::sgd:
    return 0;
  case Optimiser::momentum:
  case Optimiser::adagrad:
    return 1;
  case Optimiser::rmsprop:
  case Optimiser::adadelta:
  case Optimiser::adam:
    return 2;
  }
  return 0;
}

nn::OptimiserOptions to_options(Optimiser optimiser)
{
  nn::OptimiserOptions options;
  options.learning_rate = 1e-3;
  switch (optimiser) {
  case Optimiser::sgd:
    options.momentum = 0;
    return options;
  case Optimiser::momentum:
    return options;
  case Optimiser::rmsprop:
    options.kind = nn::OptimiserKind::rmsprop;
    return options;
  case Optimiser::adam:
    options.kind = nn::OptimiserKind::adam;
    return options;
  case Optimiser::none:
  case Optimiser::adagrad:
  case Optimiser::adadelta:
    break;
  }
  fail("networks are trained with sgd, momentum, rmsprop or adam here, not with ", quoted(name(optimiser)));
}

Optimiser to_optimiser(nn::OptimiserOptions const& options)
{
  switch (options.kind) {
  case nn::OptimiserKind::sgd:
    return options.momentum > 0 ? Optimiser::momentum : Optimiser::sgd;
  case nn::OptimiserKind::rmsprop:
    return Optimiser::rmsprop;
  case nn::OptimiserKind::adam:
  case nn::OptimiserKind::adamw:
    break;
  }
  return Optimiser::adam;
}

Description describe(Workload const& workload)
{
  require(workload.batch >= 1, "batch must be at least 1, got ", workload.batch);
  auto const inferred = spec::infer(workload.architecture);
  Description description;
  description.batch = workload.batch;
  description.input = workload.architecture.input;
  description.optimiser = workload.optimiser;
  description.parameters = inferred.parameter_count;
  std::vector<int> depths;
  for (auto const& info : inferred.nodes) {
    LayerCost cost;
    std::visit(Visitor{cost}, workload.architecture.nodes[static_cast<std::size_t>(info.node)].op);
    cost.in = info.in.front();
    cost.out = info.out;
    cost.parameters = info.parameter_count;
    cost.forward_flops = workload.batch * info.forward_flops;
    double words = static_cast<double>(info.out.size());
    for (auto const& shape : info.in)
      words += static_cast<double>(shape.size());
    cost.forward_bytes = 4 * (workload.batch * words + static_cast<double>(info.parameter_count));
    description.layers.push_back(cost);
    int depth = 0;
    for (int const input : info.inputs)
      if (input >= 0) depth = std::max(depth, depths[static_cast<std::size_t>(input)]);
    depths.push_back(depth + 1);
    description.depth = std::max(description.depth, depth + 1);
  }
  return description;
}

double step_flops(Description const& description)
{
  double sum = 0;
  for (auto const& layer : description.layers)
    sum += layer.forward_flops;
  return description.optimiser == Optimiser::none ? sum : 3 * sum;
}

double step_bytes(Description const& description)
{
  double sum = 0;
  for (auto const& layer : description.layers)
    sum += layer.forward_bytes;
  if (description.optimiser == Optimiser::none) return sum;
  return 3 * sum + 4.0 * (1 + state_words(description.optimiser)) * static_cast<double>(description.parameters);
}

} // namespace nasturtium::estimator
