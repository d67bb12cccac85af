// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Spaces whose networks are a chain of layers, written down as a list: every option of a gene is some layers at a place
// of the chain. Decoding, and which genomes fit a task's images, follow from the list.
#pragma once

#include "fixed_length.hpp"

namespace nasturtium::nas::impl {

using Layers = std::vector<nn::spec::Op>; ///< in their order; none where an option is "none"
using Options = std::vector<Layers>;

/// One option per value, in the order of the list: a layer, or none where `make` gives back an empty list.
template <class Values, class Make>
Options options_of(Values const& values, Make const& make)
{
  Options options;
  for (auto const& value : values)
    options.push_back(make(value));
  return options;
}

/// Dropout rates; 0 is no layer.
Options dropouts(std::vector<double> const& rates);
Options activations(std::vector<nn::spec::ActivationKind> const& kinds);
/// Units of dense layers; 0 is no layer.
Options dense_layers(std::vector<int> const& units);

/// Genes and layers of a space, from the image on.
class ChainList
{
public:
  /// The next gene, and the layers that it chooses here.
  ChainList& gene(std::string name, Options options);
  /// Layers that the given gene chooses here as well.
  ChainList& also(std::size_t gene, Options options);
  /// A layer of every network.
  ChainList& always(nn::spec::Op const& op);

private:
  friend class ChainSpace;
  struct Place
  {
    int gene = -1; ///< -1: always the first option
    Options options;
  };
  std::vector<Gene> m_genes;
  std::vector<Place> m_places;
};

class ChainSpace : public FixedLengthSpace
{
public:
  /// Genomes are crossed uniformly. The classifier follows the last layer.
  ChainSpace(std::string_view name, Task const& task, ChainList list);

  /// Genomes that fit the task's images.
  double size() const override;
  void check(Genome const& genome) const override;
  nn::spec::Architecture decode(Genome const& genome) const override;

protected:
  bool fits(Genome const& genome) const override { return first_misfit(genome) < 0; }

private:
  std::vector<ChainList::Place> m_places;
  std::vector<bool> m_spatial; ///< by gene: it chooses windows that slide inside the image

  Layers const& layers_at(ChainList::Place const& place, Genome const& genome) const;
  /// The first gene whose window is larger than what is left of the image; -1: none.
  int first_misfit(Genome const& genome) const;
};

} // namespace nasturtium::nas::impl
