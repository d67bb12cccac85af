// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gene_draw.hpp"

#include <nasturtium/estimator/genome.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {
namespace {

/// A size times 2^N(0, sd) within [low, high], another one where the range has another.
int rescaled(int size, int low, int high, double sd, Random& random)
{
  double const change = sd * random.normal();
  double const scaled = std::clamp(size * std::exp2(change), static_cast<double>(low), static_cast<double>(high));
  int const rounded = static_cast<int>(std::lround(scaled));
  if (rounded != size) return rounded;
  int const step = (change < 0 && size > low) || size >= high ? -1 : 1;
  return std::clamp(size + step, low, high);
}

bool has_size(Gene const& gene)
{
  return std::holds_alternative<ConvGene>(gene) || std::holds_alternative<DenseGene>(gene) ||
         std::holds_alternative<DropoutGene>(gene);
}

/// One genome under mutation.
class Mutant
{
public:
  Mutant(Genome genome, Operators const& operators, GeneratorOptions const& options, Random& random)
      : m_genome(std::move(genome)), m_operators(operators), m_options(options), m_random(random)
  {
  }

  Genome take() { return std::move(m_genome); }

  void mutate()
  {
    switch (m_random.below(5)) {
    case 0:
      return insert();
    case 1:
      return remove();
    case 2:
      return change_size();
    case 3:
      return change_kind();
    default:
      return change_batch();
    }
  }

private:
  Genome m_genome;
  Operators const& m_operators;
  GeneratorOptions const& m_options;
  Random& m_random;

  int count() const { return static_cast<int>(m_genome.genes.size()); }

  void insert()
  {
    if (count() >= m_options.max_genes) return change_kind();
    auto const at = m_genome.genes.begin() + m_random.below(count() + 1);
    m_genome.genes.insert(at, impl::draw_gene(m_options, m_random));
  }

  void remove()
  {
    if (count() <= m_options.min_genes) return change_kind();
    m_genome.genes.erase(m_genome.genes.begin() + m_random.below(count()));
  }

  void change_size()
  {
    std::vector<Gene*> sized;
    for (auto& gene : m_genome.genes)
      if (has_size(gene)) sized.push_back(&gene);
    if (sized.empty()) return change_kind();
    Gene* const gene = m_random.pick(sized);
    double const sd = m_operators.size_sd;
    if (auto* conv = std::get_if<ConvGene>(gene))
      conv->filters = rescaled(conv->filters, m_options.min_filters, m_options.max_filters, sd, m_random);
    else if (auto* dense = std::get_if<DenseGene>(gene))
      dense->units = rescaled(dense->units, m_options.min_units, m_options.max_units, sd, m_random);
    else if (auto* dropout = std::get_if<DropoutGene>(gene))
      dropout->rate = rescaled(dropout->rate, m_options.min_rate, m_options.max_rate, sd, m_random);
  }

  void change_kind()
  {
    if (m_genome.genes.empty()) return insert();
    auto& gene = m_genome.genes[static_cast<std::size_t>(m_random.below(count()))];
    auto weights = m_options.weights;
    weights[static_cast<std::size_t>(kind_of(gene))] = 0;
    bool const others = std::any_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; });
    gene = impl::draw_gene(m_options, others ? weights : m_options.weights, m_random);
  }

  void change_batch()
  {
    int const choices = m_options.max_log2_batch - m_options.min_log2_batch + 1;
    if (choices < 2) return change_kind();
    int const before = m_genome.batch;
    while (m_genome.batch == before)
      m_genome.batch = 1 << (m_options.min_log2_batch + m_random.below(choices));
  }
};

} // namespace

int Operators::immigrants_of(int count) const
{
  return static_cast<int>(std::lround(immigrants * count));
}

OperatorSchedule parse_schedule(std::string const& text, std::string const& source)
{
  if (text == "dynamic") return OperatorSchedule::dynamic;
  if (text == "static") return OperatorSchedule::constant;
  if (text == "inverse") return OperatorSchedule::inverse;
  fail(source, ": operators must be dynamic, static or inverse, got ", quoted(text));
}

Operators operators_at(double error, OperatorSchedule schedule)
{
  require(error >= 0, "the probe error must not be negative, got ", error);
  double a = std::clamp((0.40 - error) / 0.30, 0.0, 1.0);
  if (schedule == OperatorSchedule::constant) a = 0.5;
  if (schedule == OperatorSchedule::inverse) a = 1 - a;
  return {.a = a, .p_mut = .10 + .30 * a, .immigrants = .05 + .45 * a, .p_cross = .90 - .40 * a, .size_sd = .5 + a};
}

Genome crossover(Genome const& first, Genome const& second, GeneratorOptions const& options, Random& random)
{
  int const heads = static_cast<int>(first.genes.size()), tails = static_cast<int>(second.genes.size());
  int const most = std::max(options.max_genes, heads);
  int const head = random.below(heads + 1);
  // The second cut is drawn among those that leave between one gene and the most.
  int const low = std::max(0, head + tails - most), high = std::min(tails, head + tails - 1);
  Genome child = first;
  if (high < low) return child; // neither parent has a gene
  int const tail = low + random.below(high - low + 1);
  child.genes.resize(static_cast<std::size_t>(head));
  child.genes.insert(child.genes.end(), second.genes.begin() + tail, second.genes.end());
  return child;
}

Genome mutate(Genome genome, Operators const& operators, GeneratorOptions const& options, Random& random)
{
  int mutations = 0;
  for (std::size_t i = 0; i < genome.genes.size(); ++i)
    mutations += random.chance(operators.p_mut) ? 1 : 0;
  Mutant mutant(std::move(genome), operators, options, random);
  for (int i = 0; i < std::max(1, mutations); ++i)
    mutant.mutate();
  return mutant.take();
}

} // namespace nasturtium::estimator
