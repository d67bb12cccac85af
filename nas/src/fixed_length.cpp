// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fixed_length.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>

namespace nasturtium::nas::impl {

FixedLengthSpace::FixedLengthSpace(std::string_view name, Task task, std::vector<Gene> genes, Crossover crossover)
    : m_name(name), m_task(task), m_genes(std::move(genes)), m_crossover(crossover)
{
}

double FixedLengthSpace::size() const
{
  double product = 1;
  for (Gene const& gene : m_genes)
    product *= gene.options;
  return product;
}

Genome FixedLengthSpace::sample(Random& random) const
{
  Genome genome(m_genes.size());
  do {
    for (std::size_t i = 0; i < genome.size(); ++i)
      genome[i] = random.below(m_genes[i].options);
  } while (!fits(genome));
  return genome;
}

void FixedLengthSpace::edit(Genome& genome, std::size_t gene, Random& random) const
{
  int const other = random.below(m_genes[gene].options - 1);
  genome[gene] = other + (other >= genome[gene] ? 1 : 0);
}

Genome FixedLengthSpace::neighbour(Genome const& genome, Random& random) const
{
  check(genome);
  Genome result;
  do {
    result = genome;
    edit(result, static_cast<std::size_t>(random.below(static_cast<int>(m_genes.size()))), random);
  } while (!fits(result));
  return result;
}

Genome FixedLengthSpace::mutate(Genome const& genome, double probability, Random& random) const
{
  check(genome);
  Genome result = genome;
  for (std::size_t i = 0; i < genome.size(); ++i) {
    if (!random.chance(probability)) continue;
    Genome edited = result;
    edit(edited, i, random);
    if (fits(edited)) result = std::move(edited);
  }
  return result;
}

std::pair<Genome, Genome> FixedLengthSpace::crossover(Genome const& first, Genome const& second, Random& random) const
{
  check(first);
  check(second);
  std::pair<Genome, Genome> children{first, second};
  // Where images are small, a mixture of two genomes that fit may not: then the cut is drawn again, and at last a child
  // that does not fit is its parent.
  for (int attempt = 0; attempt < 16; ++attempt) {
    children = {first, second};
    int const count = static_cast<int>(m_genes.size());
    if (m_crossover == Crossover::uniform) {
      for (std::size_t i = 0; i < m_genes.size(); ++i)
        if (random.chance(0.5)) std::swap(children.first[i], children.second[i]);
    } else {
      auto [begin, end] = std::minmax({random.below(count + 1), random.below(count + 1)});
      std::swap_ranges(children.first.begin() + begin, children.first.begin() + end, children.second.begin() + begin);
    }
    if (fits(children.first) && fits(children.second)) return children;
  }
  if (!fits(children.first)) children.first = first;
  if (!fits(children.second)) children.second = second;
  return children;
}

void FixedLengthSpace::check(Genome const& genome) const
{
  require(genome.size() == m_genes.size(), m_name, ": a genome has ", m_genes.size(), " genes, got ", genome.size());
  for (std::size_t i = 0; i < genome.size(); ++i)
    require(genome[i] >= 0 && genome[i] < m_genes[i].options, m_name, ": gene ", i, " (", m_genes[i].name,
            ") must be in 0..", m_genes[i].options - 1, ", got ", genome[i]);
}

std::string FixedLengthSpace::phenotype(Genome const& genome) const
{
  return nn::spec::hash(decode(genome));
}

int FixedLengthSpace::distance(Genome const& first, Genome const& second) const
{
  check(first);
  check(second);
  int count = 0;
  for (std::size_t i = 0; i < first.size(); ++i)
    count += first[i] != second[i] ? 1 : 0;
  return count;
}

} // namespace nasturtium::nas::impl
