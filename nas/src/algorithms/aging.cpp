// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Aging (regularised) evolution (Real et al., AAAI 2019), as the asynchronous loop of DeepHyper has it: the last N
// answers are the population; as long as there are fewer, questions are random; then the best of S members drawn
// without replacement is changed in one gene (with a probability of mutation: every gene with that probability, as NNI
// has it). Published: N = 100, S = 10.
#include "algorithms/algorithm.hpp"

#include <algorithm>

namespace nasturtium::nas::impl {

namespace {

class Aging : public Algorithm
{
public:
  Aging(SearchSettings const& settings, SearchSpace const& space)
      : Algorithm(settings, space), m_size(static_cast<std::size_t>(population_size(100))),
        m_sample(settings.sample > 0 ? settings.sample : 10)
  {
  }

  std::vector<int> living() const override { return ids_of(m_population); }

protected:
  std::optional<Trial> propose(Random& random) override
  {
    if (m_population.size() < m_size) return without_repeats(random, [this](Random& n) { return fresh(n); });
    return without_repeats(random, [this](Random& numbers) {
      Individual const& parent = tournament(m_population, m_sample, numbers);
      Trial trial;
      trial.genome = settings().mutation < 0 ? space().neighbour(parent.trial.genome, numbers)
                                             : space().mutate(parent.trial.genome, settings().mutation, numbers);
      trial.parent = parent.trial.id;
      trial.generation = parent.trial.generation + 1;
      return trial;
    });
  }

  void answered(Individual const& individual) override
  {
    m_population.push_back(individual);
    if (m_population.size() > m_size) m_population.erase(m_population.begin());
  }

private:
  std::size_t m_size;
  int m_sample;
  std::vector<Individual> m_population; ///< oldest first
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_aging(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<Aging>(settings, space);
}

} // namespace nasturtium::nas::impl
