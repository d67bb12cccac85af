// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NSGA-Net (Lu et al., GECCO 2019): NSGA-II on the error and the FLOPs of a forward pass. Binary tournaments on (front,
// crowding distance), crossover of two parents (0.9 here), mutation of every gene with probability 1 / length.
// Published population: 40. nsga-net-steady: the same without generations, one child after every answer (its authors'
// asynchronous variant).
#include "algorithms/generational.hpp"

#include <nasturtium/nas/pareto.hpp>

#include <numeric>

namespace nasturtium::nas::impl {

namespace {

Objectives objectives_of(std::vector<Individual> const& all)
{
  Objectives objectives;
  objectives.reserve(all.size());
  for (auto const& it : all) {
    objectives.push_back({100 - it.fitness.accuracy, it.fitness.flops});
  }
  return objectives;
}

/// The best of `all` by front, and in the last front that fits by crowding distance.
std::vector<Individual> survivors_of(std::vector<Individual> const& all, std::size_t size)
{
  auto const objectives = objectives_of(all);
  auto const front = non_dominated_sort(objectives);
  std::vector<Individual> chosen;
  for (int number = 0; chosen.size() < std::min(size, all.size()); ++number) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (front[i] == number) members.push_back(i);
    auto const distance = crowding_distance(objectives, members);
    std::vector<std::size_t> order(members.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return distance[a] > distance[b]; });
    for (std::size_t const i : order)
      if (chosen.size() < size) chosen.push_back(all[members[i]]);
  }
  return chosen;
}

/// Parents with their fronts and crowding distances: who wins a tournament of two, and what the children are.
class MatingPool
{
public:
  void assign(std::vector<Individual> const& parents)
  {
    m_parents = &parents;
    auto const objectives = objectives_of(parents);
    m_front = non_dominated_sort(objectives);
    m_distance.assign(parents.size(), 0);
    std::vector<std::vector<std::size_t>> fronts;
    for (std::size_t i = 0; i < m_front.size(); ++i) {
      auto const number = static_cast<std::size_t>(m_front[i]);
      if (fronts.size() <= number) fronts.resize(number + 1);
      fronts[number].push_back(i);
    }
    for (auto const& members : fronts) {
      auto const distance = crowding_distance(objectives, members);
      for (std::size_t i = 0; i < members.size(); ++i)
        m_distance[members[i]] = distance[i];
    }
  }

  /// `mutation`: per gene; negative: 1 / length.
  Trial child(SearchSpace const& space, double crossover, double mutation, Random& random) const
  {
    Individual const& first = select(random);
    Individual const& second = select(random);
    Trial trial;
    trial.genome = first.trial.genome;
    trial.parent = first.trial.id;
    if (first.trial.id != second.trial.id && random.chance(crossover)) {
      trial.genome = space.crossover(first.trial.genome, second.trial.genome, random).first;
      trial.other_parent = second.trial.id;
    }
    double const own = 1.0 / static_cast<double>(std::max<std::size_t>(1, trial.genome.size()));
    trial.genome = space.mutate(trial.genome, mutation < 0 ? own : mutation, random);
    return trial;
  }

private:
  std::vector<Individual> const* m_parents = nullptr;
  std::vector<int> m_front;
  std::vector<double> m_distance; ///< each in its front

  Individual const& select(Random& random) const
  {
    int const count = static_cast<int>(m_parents->size());
    auto const a = static_cast<std::size_t>(random.below(count)), b = static_cast<std::size_t>(random.below(count));
    if (m_front[a] != m_front[b]) return (*m_parents)[m_front[a] < m_front[b] ? a : b];
    return (*m_parents)[m_distance[b] > m_distance[a] ? b : a];
  }
};

class NsgaNet : public Generational
{
public:
  NsgaNet(SearchSettings const& settings, SearchSpace const& space) : Generational(settings, space, 40) {}

protected:
  Trial child(Random& random) const override
  {
    return m_pool.child(space(), crossover_probability(0.9), settings().mutation, random);
  }
  std::vector<Individual> survivors(std::vector<Individual> const& all, Random&) const override
  {
    return survivors_of(all, static_cast<std::size_t>(size()));
  }
  void parents_changed() override { m_pool.assign(parents()); }

private:
  MatingPool m_pool;
};

class SteadyNsgaNet : public Algorithm
{
public:
  SteadyNsgaNet(SearchSettings const& settings, SearchSpace const& space)
      : Algorithm(settings, space), m_size(static_cast<std::size_t>(population_size(40)))
  {
  }

  std::vector<int> living() const override { return ids_of(m_population); }

protected:
  std::optional<Trial> propose(Random& random) override
  {
    return without_repeats(random, [this](Random& numbers) {
      if (asked() < static_cast<int>(m_size) || m_population.empty()) return fresh(numbers);
      Trial trial = m_pool.child(space(), crossover_probability(0.9), settings().mutation, numbers);
      for (auto const& it : m_population)
        if (it.trial.id == trial.parent) trial.generation = it.trial.generation + 1;
      return trial;
    });
  }

  void answered(Individual const& individual) override
  {
    if (individual.fitness.failed) return;
    m_population.push_back(individual);
    if (m_population.size() > m_size) m_population = survivors_of(m_population, m_size);
    m_pool.assign(m_population);
  }

private:
  std::size_t m_size;
  std::vector<Individual> m_population;
  MatingPool m_pool;
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_nsga_net(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<NsgaNet>(settings, space);
}

std::unique_ptr<SearchAlgorithm> make_nsga_net_steady(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<SteadyNsgaNet>(settings, space);
}

} // namespace nasturtium::nas::impl
