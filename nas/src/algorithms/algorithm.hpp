// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all search algorithms share: numbers of questions, open questions, duplicates, and who is better.
#pragma once

#include <nasturtium/nas/search_algorithm.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace nasturtium::nas::impl {

/// A trial that was answered.
struct Individual
{
  Trial trial;
  Fitness fitness;
};

/// Failures behind everything; larger accuracy first, ties to the trial that was asked first.
bool better(Individual const& left, Individual const& right);

/// The best of `size` members drawn without replacement; ties to the one drawn first. `size` is cut to the population.
/// A failure wins only where all members are failures: a draw of failures alone is repeated among the others.
Individual const& tournament(std::vector<Individual> const& population, int size, Random& random);

/// Ids of the trials of individuals.
inline std::vector<int> ids_of(std::vector<Individual> const& individuals)
{
  std::vector<int> ids;
  ids.reserve(individuals.size());
  for (auto const& individual : individuals)
    ids.push_back(individual.trial.id);
  return ids;
}

/// A question takes its random numbers from Random(seed, number of the question), so the order of questions and answers
/// is all that a replay needs.
class Algorithm : public SearchAlgorithm
{
public:
  Algorithm(SearchSettings const& settings, SearchSpace const& space) : m_settings(settings), m_space(space) {}

  std::string_view name() const final { return m_settings.algorithm; }
  std::optional<Trial> ask() final;
  void tell(int id, Fitness const& fitness) final;
  bool finished() const final { return m_told == m_settings.evaluations; }

protected:
  SearchSettings const& settings() const { return m_settings; }
  SearchSpace const& space() const { return m_space; }
  int asked() const { return m_asked; }
  int open() const { return m_asked - m_told; }
  /// The settings' value, or the algorithm's own where it is 0 (or negative).
  double crossover_probability(double own) const { return m_settings.crossover < 0 ? own : m_settings.crossover; }
  double mutation_probability(double own) const { return m_settings.mutation < 0 ? own : m_settings.mutation; }
  int population_size(int own) const;

  /// The next genome with its parents and generation, or nothing while answers are needed.
  virtual std::optional<Trial> propose(Random& random) = 0;
  virtual void answered(Individual const& individual) = 0;

  Trial fresh(Random& random, int generation = 0) const;
  /// Was the network of a genome asked for before?
  bool repeats(Genome const& genome) const;
  /// What `make` makes, again and again as long as it repeats an earlier network; after fifty tries a fresh sample.
  template <class Make>
  Trial without_repeats(Random& random, Make const& make) const
  {
    Trial trial = make(random);
    for (int i = 0; i < tries && repeats(trial.genome); ++i)
      trial = make(random);
    for (int i = 0; i < tries && repeats(trial.genome); ++i)
      trial = fresh(random, trial.generation);
    return trial; // a space may be used up
  }

private:
  static constexpr int tries = 50;

  SearchSettings m_settings;
  SearchSpace const& m_space;
  int m_asked = 0, m_told = 0;
  std::map<int, Trial> m_open;
  std::set<std::string> m_seen; ///< phenotypes
};

std::unique_ptr<SearchAlgorithm> make_random(SearchSettings const& settings, SearchSpace const& space);
std::unique_ptr<SearchAlgorithm> make_aging(SearchSettings const& settings, SearchSpace const& space);
std::unique_ptr<SearchAlgorithm> make_nsga_net(SearchSettings const& settings, SearchSpace const& space);
std::unique_ptr<SearchAlgorithm> make_nsga_net_steady(SearchSettings const& settings, SearchSpace const& space);
std::unique_ptr<SearchAlgorithm> make_evocnn(SearchSettings const& settings, SearchSpace const& space);
std::unique_ptr<SearchAlgorithm> make_menndl(SearchSettings const& settings, SearchSpace const& space);

} // namespace nasturtium::nas::impl
