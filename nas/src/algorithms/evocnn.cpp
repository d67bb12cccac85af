// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// EvoCNN's genetic algorithm (Sun et al., IEEE TEC 24(2), 2020) on genomes of variable length: parents by slack binary
// tournament, crossover 0.9, mutation 0.1, and survivors that are a fifth elites and else winners of slack tournaments.
// Published population: 100; 20 here unless asked for. The two slacks are ours: one point of accuracy, a tenth of the
// parameters.
#include "algorithms/generational.hpp"

#include <cmath>

namespace nasturtium::nas::impl {

namespace {

constexpr double accuracy_slack = 1.0;  // percentage points
constexpr double parameter_slack = 0.1; // of the larger number
constexpr double elite_share = 0.2;

// Clearly more accurate wins; else clearly smaller; else the steadier; else the more accurate.
bool beats(Individual const& left, Individual const& right)
{
  Fitness const& a = left.fitness;
  Fitness const& b = right.fitness;
  if (std::abs(a.accuracy - b.accuracy) > accuracy_slack) return a.accuracy > b.accuracy;
  if (std::abs(a.parameters - b.parameters) > parameter_slack * std::max(a.parameters, b.parameters))
    return a.parameters < b.parameters;
  if (a.deviation != b.deviation) return a.deviation < b.deviation;
  return better(left, right);
}

class EvoCnn : public Generational
{
public:
  EvoCnn(SearchSettings const& settings, SearchSpace const& space) : Generational(settings, space, 20) {}

protected:
  Trial child(Random& random) const override
  {
    Individual const& first = parents()[slack_tournament(parents(), random)];
    Individual const& second = parents()[slack_tournament(parents(), random)];
    Trial trial;
    trial.genome = first.trial.genome;
    trial.parent = first.trial.id;
    if (first.trial.id != second.trial.id && random.chance(crossover_probability(0.9))) {
      trial.genome = space().crossover(first.trial.genome, second.trial.genome, random).first;
      trial.other_parent = second.trial.id;
    }
    trial.genome = space().mutate(trial.genome, mutation_probability(0.1), random);
    return trial;
  }

  std::vector<Individual> survivors(std::vector<Individual> const& all, Random& random) const override
  {
    std::vector<Individual> left = all;
    std::sort(left.begin(), left.end(), better);
    auto const elites = static_cast<std::ptrdiff_t>(std::max(1.0, elite_share * size()));
    std::vector<Individual> chosen(left.begin(), left.begin() + elites);
    left.erase(left.begin(), left.begin() + elites);
    while (chosen.size() < static_cast<std::size_t>(size())) {
      std::size_t const winner = slack_tournament(left, random);
      chosen.push_back(left[winner]);
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(winner));
    }
    return chosen;
  }

private:
  static std::size_t slack_tournament(std::vector<Individual> const& from, Random& random)
  {
    int const count = static_cast<int>(from.size());
    auto const a = static_cast<std::size_t>(random.below(count)), b = static_cast<std::size_t>(random.below(count));
    return beats(from[b], from[a]) ? b : a;
  }
};

} // namespace

std::unique_ptr<SearchAlgorithm> make_evocnn(SearchSettings const& settings, SearchSpace const& space)
{
  return std::make_unique<EvoCnn>(settings, space);
}

} // namespace nasturtium::nas::impl
