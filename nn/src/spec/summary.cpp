// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/spec/architecture.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>

namespace nasturtium::nn::spec {

namespace {

std::string text(Shape const& shape)
{
  return concat(shape.height, " x ", shape.width, " x ", shape.channels);
}

} // namespace

std::string summary(Architecture const& architecture)
{
  Inferred const inferred = infer(architecture, architecture.name.empty() ? "architecture" : architecture.name);
  Table table({{"node"}, {"op"}, {"inputs"}, {"output"}, {"parameters"}, {"MFLOP", 3}});
  table.add_row({"input", "", "", text(architecture.input)});
  for (NodeInfo const& info : inferred.nodes) {
    Node const& node = architecture.nodes[static_cast<std::size_t>(info.node)];
    std::string inputs;
    for (std::string const& input : node.inputs)
      inputs += (inputs.empty() ? "" : ", ") + input;
    table.add_row({node.id, op_name(node.op), inputs, text(info.out), info.parameter_count, info.forward_flops / 1e6});
  }
  return concat(table.text(), "\n", "parameters ", inferred.parameter_count, ", activations ",
                inferred.activation_values, " values, forward ", fixed(inferred.forward_flops / 1e6, 3),
                " MFLOP, training step ", fixed(inferred.training_flops / 1e6, 3), " MFLOP (per image)\n");
}

} // namespace nasturtium::nn::spec
