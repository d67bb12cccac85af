// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The NSGA-Net macro space (Lu et al., GECCO 2019): three phases of six nodes, 15 connection bits and a skip bit each,
// 48 bits. A node sums its inputs and applies a 3 x 3 convolution, batch norm and relu. Widths 16, 32, 64, or half of
// them: our choice, so that a processor trains a network in minutes.
#include "nsga_phase.hpp"
#include "spaces.hpp"

#include "../fixed_length.hpp"
#include "../graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <algorithm>
#include <array>

namespace nasturtium::nas::impl {

namespace {

constexpr int phases = 3;
using Widths = std::array<int, phases>;
constexpr std::size_t phase_bits = PhaseGraph::connections + 1;

std::vector<Gene> make_genes()
{
  std::vector<Gene> genes;
  for (int phase = 1; phase <= phases; ++phase) {
    std::string const prefix = "phase " + std::to_string(phase) + " ";
    for (int to = 1; to < PhaseGraph::max_nodes; ++to)
      for (int from = 0; from < to; ++from)
        genes.push_back({prefix + "connection " + std::to_string(from + 1) + "-" + std::to_string(to + 1), 2});
    genes.push_back({prefix + "skip", 2});
  }
  return genes;
}

struct Phase
{
  PhaseGraph graph; ///< canonical
  bool skip = false;
};

Phase phase_of(Genome const& genome, int number)
{
  std::size_t const first = static_cast<std::size_t>(number) * phase_bits;
  std::uint32_t code = 0;
  for (std::size_t bit = 0; bit < PhaseGraph::connections; ++bit)
    code |= static_cast<std::uint32_t>(genome[first + bit]) << bit;
  PhaseGraph const graph = PhaseGraph(code).canonical();
  // An empty phase is its input already; there is nothing to skip.
  return {graph, graph.size() > 0 && genome[first + PhaseGraph::connections] != 0};
}

class NsgaNet : public FixedLengthSpace
{
public:
  NsgaNet(std::string_view name, Task const& task, Widths const& widths)
      : FixedLengthSpace(name, task, make_genes(), Crossover::two_point), m_widths(widths)
  {
    require(std::min(task.input.height, task.input.width) >= 4, name, ": the images must be at least 4 x 4, got ",
            task.input.height, " x ", task.input.width);
  }

  /// From the canonical graphs, so that relabelled phases become equal architectures, which train alike bit for bit.
  nn::spec::Architecture decode(Genome const& genome) const override
  {
    check(genome);
    GraphBuilder builder(task());
    for (int number = 0; number < phases; ++number) {
      if (number > 0) builder.append(nn::spec::Pool2d{});
      append_phase(builder, phase_of(genome, number), option(m_widths, number));
    }
    builder.append(nn::spec::GlobalAvgPool{});
    return builder.finish(architecture_name(name(), genome));
  }

  std::string phenotype(Genome const& genome) const override
  {
    check(genome);
    std::string key;
    for (int number = 0; number < phases; ++number) {
      Phase const phase = phase_of(genome, number);
      key += concat(number > 0 ? " " : "", phase.graph.code(), phase.skip ? "+" : "");
    }
    return key;
  }

private:
  Widths m_widths;

  static std::string sum(GraphBuilder& builder, std::vector<std::string> inputs)
  {
    return inputs.size() == 1 ? inputs.front() : builder.add(nn::spec::Add{}, std::move(inputs));
  }

  static void append_phase(GraphBuilder& builder, Phase const& phase, int width)
  {
    nn::spec::Conv2d entry;
    entry.filters = width;
    builder.append(entry);
    std::string const input = builder.last();

    nn::spec::Conv2d conv;
    conv.filters = width;
    conv.kernel = {3, 3};
    conv.bias = false; // the batch norm brings its own
    std::vector<std::string> ids, outputs;
    for (int node = 0; node < phase.graph.size(); ++node) {
      std::vector<std::string> inputs;
      for (int const from : phase.graph.predecessors(node))
        inputs.push_back(ids[static_cast<std::size_t>(from)]);
      if (inputs.empty()) inputs.push_back(input);
      builder.continue_from(sum(builder, std::move(inputs)));
      builder.append(conv);
      builder.append(nn::spec::BatchNorm{});
      builder.append(nn::spec::Activation{});
      ids.push_back(builder.last());
      if (phase.graph.is_last(node)) outputs.push_back(ids.back());
    }
    if (phase.skip || outputs.empty()) outputs.push_back(input);
    builder.continue_from(sum(builder, std::move(outputs)));
  }
};

} // namespace

std::unique_ptr<SearchSpace> make_nsga_net(Task const& task)
{
  return std::make_unique<NsgaNet>("nsga-net", task, Widths{16, 32, 64});
}

std::unique_ptr<SearchSpace> make_nsga_net_narrow(Task const& task)
{
  return std::make_unique<NsgaNet>("nsga-net-narrow", task, Widths{8, 16, 32});
}

} // namespace nasturtium::nas::impl
