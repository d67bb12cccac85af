// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What spaces with a fixed number of genes share: every gene has a name and a number of options, 0, 1, ...
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nas::impl {

struct Gene
{
  std::string name; ///< for messages
  int options = 2;
};

/// What a gene chooses from a list of options.
template <class Options>
auto option(Options const& options, int gene)
{
  return options[static_cast<std::size_t>(gene)];
}

enum class Crossover { uniform, two_point };

class FixedLengthSpace : public SearchSpace
{
public:
  FixedLengthSpace(std::string_view name, Task task, std::vector<Gene> genes, Crossover crossover);

  std::string_view name() const override { return m_name; }
  double size() const override;
  Genome sample(Random& random) const override;
  Genome neighbour(Genome const& genome, Random& random) const override;
  Genome mutate(Genome const& genome, double probability, Random& random) const override;
  std::pair<Genome, Genome> crossover(Genome const& first, Genome const& second, Random& random) const override;
  void check(Genome const& genome) const override;
  std::string phenotype(Genome const& genome) const override;
  int distance(Genome const& first, Genome const& second) const override;

protected:
  Task const& task() const { return m_task; }
  std::vector<Gene> const& genes() const { return m_genes; }
  /// False where the network has no room in the task's images; asked of genomes whose genes are in range. A space that
  /// overrides it refuses such genomes in check() as well, and every genome that fits has a neighbour that fits.
  virtual bool fits(Genome const& /*genome*/) const { return true; }

private:
  std::string_view m_name;
  Task m_task;
  std::vector<Gene> m_genes;
  Crossover m_crossover;

  /// The gene set to a different value, each equally likely.
  void edit(Genome& genome, std::size_t gene, Random& random) const;
};

} // namespace nasturtium::nas::impl
