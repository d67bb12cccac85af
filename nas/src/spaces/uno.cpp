// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The Uno spaces of the weight transfer papers: how a cell line answers to a dose of a drug. Towers of nodes for
// expression, descriptors and fingerprints, their outputs beside the dose, a node, and cells that add to their input
// what a node makes of it. A node is nothing, a dense layer or a dropout. uno-12 has two cells and uno-13 three;
// uno-toy, for tests, is three towers of one dense layer.
#include "spaces.hpp"

#include "../fixed_length.hpp"
#include "../graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/datasets/synthetic.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <algorithm>
#include <array>
#include <numeric>

namespace nasturtium::nas::impl {

namespace {

using nn::spec::Activation;
using nn::spec::ActivationKind;
using nn::spec::Dense;
using nn::spec::Dropout;
using nn::spec::PadChannels;

constexpr std::array dense_units{100, 500, 1000};
constexpr std::array activations{ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid};
constexpr std::array drop_rates{.3, .4, .5};
constexpr int dense_options = 9, node_options = 13;

/// What tells the spaces apart.
struct Layout
{
  int nodes_per_tower = 3;
  bool trunk_node = true;
  int cells = 0;
  bool only_dense = false;
};

std::vector<Gene> genes_of(Layout const& layout)
{
  int const options = layout.only_dense ? dense_options : node_options;
  std::vector<Gene> genes;
  for (char const* const tower : {"expression", "descriptors", "fingerprints"})
    for (int node = 1; node <= layout.nodes_per_tower; ++node)
      genes.push_back({tower + std::to_string(node), options});
  if (layout.trunk_node) genes.push_back({"trunk", options});
  for (int cell = 1; cell <= layout.cells; ++cell)
    genes.push_back({"cell" + std::to_string(cell), options});
  return genes;
}

class Uno : public FixedLengthSpace
{
public:
  Uno(std::string_view name, Task const& task, Layout const& layout)
      : FixedLengthSpace(name, task, genes_of(layout), Crossover::uniform), m_layout(layout)
  {
    auto const& blocks = datasets::uno_blocks;
    nn::spec::Shape const wanted{1, 1, std::accumulate(blocks.begin(), blocks.end(), 0)};
    require(task.input == wanted, name, ": the samples must be 1 x 1 x ", wanted.channels, ", got ", task.input.height,
            " x ", task.input.width, " x ", task.input.channels);
    require(task.regression > 0, name, ": the task must be a regression, got ", task.classes, " classes");
  }

  nn::spec::Architecture decode(Genome const& genome) const override
  {
    check(genome);
    GraphBuilder builder(task());
    auto gene = genome.begin();
    std::vector<std::string> parts;
    int begin = 0, width = 0;
    for (int const size : datasets::uno_blocks) {
      builder.continue_from("input");
      builder.append(nn::spec::Slice{begin, size});
      begin += size;
      int part = size;
      // The dose comes first and has no tower.
      for (int node = 0; !parts.empty() && node < m_layout.nodes_per_tower; ++node)
        part = append_node(builder, *gene++, part);
      parts.push_back(builder.last());
      width += part;
    }
    builder.append(nn::spec::Concat{}, parts);
    if (m_layout.trunk_node) width = append_node(builder, *gene++, width);
    while (gene != genome.end())
      width = append_cell(builder, *gene++, width);
    return builder.finish(architecture_name(name(), genome));
  }

private:
  Layout m_layout;

  /// identity, dense 100, 500, 1000 x relu, tanh, sigmoid, dropout .3, .4, .5. Gives back the width of its output.
  int append_node(GraphBuilder& builder, int gene, int width) const
  {
    int const dense = m_layout.only_dense ? gene : gene - 1;
    if (dense < 0) return width;
    if (dense >= dense_options) {
      builder.append(Dropout{option(drop_rates, dense - dense_options)});
      return width;
    }
    int const units = option(dense_units, dense / 3);
    builder.append(Dense{units});
    builder.append(Activation{option(activations, dense % 3)});
    return units;
  }

  /// The sum of x and node(x), the narrower of the two padded with zeros.
  int append_cell(GraphBuilder& builder, int gene, int width) const
  {
    std::string input = builder.last();
    int const made = append_node(builder, gene, width);
    std::string output = builder.last();
    if (made < width) output = builder.add(PadChannels{width}, output);
    if (width < made) input = builder.add(PadChannels{made}, input);
    builder.append(nn::spec::Add{}, {output, input});
    return std::max(width, made);
  }
};

} // namespace

std::unique_ptr<SearchSpace> make_uno_12(Task const& task)
{
  return std::make_unique<Uno>("uno-12", task, Layout{3, true, 2, false});
}

std::unique_ptr<SearchSpace> make_uno_13(Task const& task)
{
  return std::make_unique<Uno>("uno-13", task, Layout{3, true, 3, false});
}

std::unique_ptr<SearchSpace> make_uno_toy(Task const& task)
{
  return std::make_unique<Uno>("uno-toy", task, Layout{1, false, 0, true});
}

} // namespace nasturtium::nas::impl
