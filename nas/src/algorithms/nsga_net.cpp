// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NSGA-Net (Lu et al., GECCO 2019): NSGA-II on the error and the FLOPs of a forward pass. Binary tournaments on (front,
// crowding distance), crossover of two parents (0.9 here), mutation of every gene with probability 1 / length.
// Published population: 40.
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

class NsgaNet : public Generational
{
public:
  NsgaNet(SearchSettings const& settings, SearchSpace const& space) : Generational(settings, space, 40) {}

protected:
  Trial child(Random& random) const override
  {
    Individual const& first = select(random);
    Individual const& second = select(random);
    Trial trial;
    trial.genome = first.trial.genome;
    trial.parent = first.trial.id;
    if (first.trial.id != second.trial.id && random.chance(crossover_probability(0.9))) {
      trial.genome = space().crossover(first.trial.genome, second.trial.genome, random).first;
      trial.other_parent = second.trial.id;
    }
    double const own = 1.0 / static_cast<double>(std::max<std::size_t>(1, trial.genome.size()));
    trial.genome = space().mutate(trial.genome, mutation_probability(own), random);
    return trial;
  }

  std::vector<Individual> survivors(std::vector<Individual> const& all, Random&) const override
  {
    auto const objectives = objectives_of(all);
    auto const front = non_dominated_sort(objectives);
    std::vector<Individual> chosen;
    for (int number = 0; chosen.size() < static_cast<std::size_t>(size()); ++number) {
      std::vector<std::size_t> members;
      for (std::size_t i = 0; i < all.size(); ++i)
        if (front[i] == number) members.push_back(i);
      auto const distance = crowding_distance(objectives, members);
      std::vector<std::size_t> order(members.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return distance[a] > distance[b]; });
      for (std::size_t const i : order)
        if (chosen.size() < static_cast<std::size_t>(size())) chosen.push_back(all[members[i]]);
    }
    return chosen;
  }

  void parents_changed() override
  {
    auto const objectives = objectives_of(parents());
    m_front = non_dominated_sort(objectives);
    m_distance.assign(parents().size(), 0);
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

private:
  std::vector<int> m_front;       ///< of the parents
  std::vector<double> m_distance; ///< crowding distance of the parents, each in its front

  Individual const& select(Random& random) const
  {
    int const count = static_cast<int>(parents().size());
    auto const a = static_cast<std::size_t>(random.below(count)), b = static_cast<std::size_t>(random.below(count));
    if (m_front[a] != m_front[b]) return parents()[m_front[a] < m_front[b] ? a : b];
    return parents()[m_distance[b] > m_distance[a] ? b : a];
  }
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_nsga_net(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<NsgaNet>(settings, space);
}

} // namespace nasturtium::nas::impl
