// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "chain_space.hpp"

#include "graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <array>
#include <optional>

namespace nasturtium::nas::impl {

namespace {

using namespace nn::spec;

struct Window
{
  std::array<int, 2> extent, stride;
};

/// Of a layer that leaves fewer pixels than it reads because its window stays inside the image. The spaces have no
/// dilated convolutions and no explicit padding.
std::optional<Window> sliding_window(Op const& op)
{
  if (auto const* const conv = std::get_if<Conv2d>(&op); conv != nullptr && conv->padding.kind == PaddingKind::valid)
    return Window{conv->kernel, conv->stride};
  if (auto const* const pool = std::get_if<Pool2d>(&op); pool != nullptr && pool->padding.kind == PaddingKind::valid)
    return Window{pool->kernel, pool->stride};
  return {};
}

} // namespace

Options dropouts(std::vector<double> const& rates)
{
  return options_of(rates, [](double rate) { return rate > 0 ? Layers{Dropout{rate}} : Layers{}; });
}

Options activations(std::vector<ActivationKind> const& kinds)
{
  return options_of(kinds, [](ActivationKind kind) { return Layers{Activation{kind}}; });
}

Options dense_layers(std::vector<int> const& units)
{
  return options_of(units, [](int count) { return count > 0 ? Layers{Dense{count}} : Layers{}; });
}

ChainList& ChainList::gene(std::string name, Options options)
{
  m_genes.push_back({std::move(name), static_cast<int>(options.size())});
  return also(m_genes.size() - 1, std::move(options));
}

ChainList& ChainList::also(std::size_t gene, Options options)
{
  m_places.push_back({static_cast<int>(gene), std::move(options)});
  return *this;
}

ChainList& ChainList::always(Op const& op)
{
  m_places.push_back({-1, {{op}}});
  return *this;
}

ChainSpace::ChainSpace(std::string_view name, Task const& task, ChainList list)
    : FixedLengthSpace(name, task, std::move(list.m_genes), Crossover::uniform), m_places(std::move(list.m_places)),
      m_spatial(genes().size())
{
  for (ChainList::Place const& place : m_places)
    for (Layers const& layers : place.options)
      for (Op const& op : layers)
        if (place.gene >= 0 && sliding_window(op)) m_spatial[static_cast<std::size_t>(place.gene)] = true;
}

double ChainSpace::size() const
{
  double fitting = 0, others = 1;
  for (std::size_t i = 0; i < m_spatial.size(); ++i)
    if (!m_spatial[i]) others *= genes()[i].options;
  // Every combination of the spatial genes, the others at their first option.
  Genome genome(genes().size());
  std::size_t at = 0;
  while (at < genome.size()) {
    fitting += fits(genome) ? 1 : 0;
    for (at = 0; at < genome.size(); ++at) {
      if (!m_spatial[at]) continue;
      if (++genome[at] < genes()[at].options) break;
      genome[at] = 0;
    }
  }
  return fitting * others;
}

void ChainSpace::check(Genome const& genome) const
{
  FixedLengthSpace::check(genome);
  int const misfit = first_misfit(genome);
  if (misfit < 0) return;
  auto const gene = static_cast<std::size_t>(misfit);
  fail(name(), ": gene ", misfit, " (", genes()[gene].name, ") = ", genome[gene], " does not fit images of ",
       task().input.height, " x ", task().input.width);
}

Architecture ChainSpace::decode(Genome const& genome) const
{
  check(genome);
  GraphBuilder builder(task());
  for (ChainList::Place const& place : m_places)
    for (Op const& op : layers_at(place, genome))
      builder.append(op);
  return builder.finish(architecture_name(name(), genome));
}

Layers const& ChainSpace::layers_at(ChainList::Place const& place, Genome const& genome) const
{
  int const option = place.gene < 0 ? 0 : genome[static_cast<std::size_t>(place.gene)];
  return place.options[static_cast<std::size_t>(option)];
}

int ChainSpace::first_misfit(Genome const& genome) const
{
  std::array<int, 2> left{task().input.height, task().input.width};
  for (ChainList::Place const& place : m_places)
    for (Op const& op : layers_at(place, genome)) {
      auto const window = sliding_window(op);
      if (!window) continue;
      for (std::size_t axis = 0; axis < 2; ++axis) {
        if (window->extent[axis] > left[axis]) return place.gene;
        left[axis] = (left[axis] - window->extent[axis]) / window->stride[axis] + 1;
      }
    }
  return -1;
}

} // namespace nasturtium::nas::impl
