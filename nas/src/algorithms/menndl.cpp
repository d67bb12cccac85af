// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MENNDL's evolution (Young et al., MLHPC 2015 and later) as an asynchronous genetic algorithm: the master never waits
// for a generation. Binary tournaments, uniform crossover 0.6 (by the space), mutation 0.05 per gene; a child takes the
// place of the worst member, so the best is always kept. Failures are not taken in. Published population: 100; 20 here
// unless asked for.
#include "algorithms/algorithm.hpp"

#include <algorithm>

namespace nasturtium::nas::impl {

namespace {

class Menndl : public Algorithm
{
public:
  Menndl(SearchSettings const& settings, SearchSpace const& space)
      : Algorithm(settings, space), m_size(static_cast<std::size_t>(population_size(20)))
  {
  }

  std::vector<int> living() const override { return ids_of(m_population); }

protected:
  std::optional<Trial> propose(Random& random) override
  {
    if (static_cast<std::size_t>(asked()) < m_size || m_population.empty())
      return without_repeats(random, [this](Random& numbers) { return fresh(numbers); });
    return without_repeats(random, [this](Random& numbers) { return child(numbers); });
  }

  void answered(Individual const& individual) override
  {
    if (individual.fitness.failed) return;
    m_population.insert(std::upper_bound(m_population.begin(), m_population.end(), individual, better), individual);
    if (m_population.size() > m_size) m_population.pop_back();
  }

private:
  std::size_t m_size;
  std::vector<Individual> m_population; ///< best first

  Trial child(Random& random) const
  {
    Individual const& first = tournament(m_population, 2, random);
    Individual const& second = tournament(m_population, 2, random);
    Trial trial;
    trial.genome = first.trial.genome;
    trial.parent = first.trial.id;
    trial.generation = first.trial.generation + 1;
    if (first.trial.id != second.trial.id && random.chance(crossover_probability(0.6))) {
      trial.genome = space().crossover(first.trial.genome, second.trial.genome, random).first;
      trial.other_parent = second.trial.id;
      trial.generation = std::max(trial.generation, second.trial.generation + 1);
    }
    trial.genome = space().mutate(trial.genome, mutation_probability(0.05), random);
    return trial;
  }
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_menndl(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<Menndl>(settings, space);
}

} // namespace nasturtium::nas::impl
