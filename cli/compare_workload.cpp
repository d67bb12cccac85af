// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "compare_workload.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <set>

namespace nasturtium::cli {

namespace {

using nn::spec::Inferred;
using nn::spec::NodeInfo;

/// Values that one pass over a layer reads and writes per image: none for the part that is worked on in place.
double pass_values(Inferred const& inferred, NodeInfo const& node)
{
  double values = 0;
  bool in_place = false;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    bool const rides = node.inputs[i] >= 0 && inferred.nodes[static_cast<std::size_t>(node.inputs[i])].kept_values == 0;
    in_place = in_place || rides;
    if (!rides) values += static_cast<double>(node.in[i].size());
  }
  return in_place ? values : values + static_cast<double>(node.out.size());
}

/// A network of `count` equal layers one after another, on height x height x channels, and a global average pool
/// behind them where the output is an image.
nn::spec::Architecture stack(std::string const& name, int height, int channels, nn::spec::Op const& op, int count,
                             int outputs)
{
  nn::spec::Architecture network;
  network.name = name;
  network.input = {height, height, channels};
  network.regression = outputs;
  std::string last = "input";
  for (int i = 1; i <= count; ++i) {
    network.nodes.push_back({concat("layer", i), op, {last}});
    last = network.nodes.back().id;
  }
  if (height > 1) network.nodes.push_back({"mean", nn::spec::GlobalAvgPool{}, {last}});
  return network;
}

} // namespace

std::string Workload::label() const
{
  return concat(name(kind), "/", architecture.name, "/batch", batch);
}

double Workload::flops() const
{
  auto const inferred = nn::spec::infer(architecture, architecture.name);
  return batch * (kind == CallKind::step ? inferred.training_flops : inferred.forward_flops);
}

double Workload::bytes() const
{
  auto const inferred = nn::spec::infer(architecture, architecture.name);
  double values = 0;
  std::vector<bool> needs_gradient; // by position: something at or above this node is trained
  for (auto const& node : inferred.nodes) {
    bool const inputs_need_gradient = std::any_of(node.inputs.begin(), node.inputs.end(), [&](int input) {
      return input >= 0 && needs_gradient[static_cast<std::size_t>(input)];
    });
    needs_gradient.push_back(inputs_need_gradient || node.parameter_count > 0);
    int const passes = kind == CallKind::forward ? 1 : 1 + (node.parameter_count > 0) + inputs_need_gradient;
    values += passes * (batch * pass_values(inferred, node) + static_cast<double>(node.parameter_count));
  }
  if (kind == CallKind::step) values += 5 * static_cast<double>(inferred.parameter_count);
  double const image = static_cast<double>(architecture.input.size()) * batch;
  return sizeof(float) * values + (1 + sizeof(float)) * image;
}

std::vector<nn::spec::Architecture> layer_networks()
{
  using namespace nn::spec;
  Conv2d conv3x3{.filters = 32, .kernel = {3, 3}};
  Conv2d conv1x1{.filters = 64, .kernel = {1, 1}};
  Conv2d depthwise{.filters = 64, .kernel = {3, 3}};
  depthwise.groups = 64;
  for (auto* const conv : {&conv3x3, &conv1x1, &depthwise})
    conv->bias = false;
  return {stack("conv3x3", 32, 32, conv3x3, 2, 32),        stack("conv1x1", 32, 64, conv1x1, 2, 64),
          stack("depthwise3x3", 32, 64, depthwise, 2, 64), stack("dense", 1, 1024, Dense{1024, true}, 2, 1024),
          stack("batch-norm", 32, 64, BatchNorm{}, 2, 64), stack("max-pool", 64, 32, Pool2d{}, 1, 32)};
}

std::vector<Workload> make_workloads(std::vector<std::string> const& networks, std::vector<int> const& batches,
                                     bool layers)
{
  std::vector<std::pair<nn::spec::Architecture, bool>> all; // and whether it is a layer
  for (auto const& source : networks) {
    auto architecture = nn::spec::load_architecture(source);
    nn::spec::infer(architecture, source);
    if (architecture.name.empty()) architecture.name = source;
    all.emplace_back(std::move(architecture), false);
  }
  if (layers)
    for (auto& architecture : layer_networks())
      all.emplace_back(std::move(architecture), true);
  std::vector<Workload> workloads;
  std::set<std::string> labels;
  for (auto const& [architecture, layer] : all)
    for (int const batch : batches) {
      require(batch >= 1, "--batch must be at least 1, got ", batch);
      for (auto const kind : {CallKind::step, CallKind::forward}) {
        if (kind == CallKind::step && nn::spec::infer(architecture).parameter_count == 0) continue;
        workloads.push_back({architecture, kind, layer, batch});
        require(labels.insert(workloads.back().label()).second, "--networks: ", quoted(architecture.name), " at batch ",
                batch, " stands twice");
      }
    }
  require(!workloads.empty(), "nothing to measure: no --networks, and --no-kernels");
  return workloads;
}

} // namespace nasturtium::cli
