// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "algorithms/algorithm.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

namespace nasturtium::nas {

namespace impl {

bool better(Individual const& left, Individual const& right)
{
  if (left.fitness.failed != right.fitness.failed) return right.fitness.failed;
  if (!left.fitness.failed && left.fitness.accuracy != right.fitness.accuracy)
    return left.fitness.accuracy > right.fitness.accuracy;
  return left.trial.id < right.trial.id;
}

Individual const& tournament(std::vector<Individual> const& population, int size, Random& random)
{
  auto const best_of_draws = [&](std::vector<std::size_t> left) -> Individual const& {
    int const draws = std::min(size, static_cast<int>(left.size()));
    Individual const* best = nullptr;
    for (int i = 0; i < draws; ++i) {
      auto const at = static_cast<std::size_t>(random.below(static_cast<int>(left.size())));
      Individual const& drawn = population[left[at]];
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(at));
      bool const wins = !best || (best->fitness.failed && !drawn.fitness.failed) ||
                        (!drawn.fitness.failed && drawn.fitness.accuracy > best->fitness.accuracy);
      if (wins) best = &drawn;
    }
    return *best;
  };
  std::vector<std::size_t> members(population.size());
  std::iota(members.begin(), members.end(), std::size_t{0});
  Individual const& best = best_of_draws(members);
  if (!best.fitness.failed) return best;
  std::erase_if(members, [&](std::size_t i) { return population[i].fitness.failed; });
  return members.empty() ? best : best_of_draws(members);
}

std::optional<Trial> Algorithm::ask()
{
  if (m_asked == m_settings.evaluations || open() >= m_settings.workers) return std::nullopt;
  Random random(m_settings.seed, static_cast<std::uint32_t>(m_asked));
  auto trial = propose(random);
  if (!trial) return std::nullopt;
  trial->id = m_asked++;
  m_open[trial->id] = *trial;
  if (!m_settings.allow_repeats) m_seen.insert(m_space.phenotype(trial->genome));
  return trial;
}

void Algorithm::tell(int id, Fitness const& fitness)
{
  auto const entry = m_open.find(id);
  require(entry != m_open.end(), "search: trial ", id, " is not open");
  require(fitness.failed || (std::isfinite(fitness.accuracy) && std::isfinite(fitness.flops) &&
                             std::isfinite(fitness.parameters) && std::isfinite(fitness.deviation)),
          "search: the fitness of trial ", id, " is not finite");
  Individual const individual{entry->second, fitness};
  m_open.erase(entry);
  ++m_told;
  answered(individual);
}

int Algorithm::population_size(int own) const
{
  // A search that is shorter than a few generations of the published size wants a smaller population.
  return m_settings.population > 0 ? m_settings.population : std::clamp(m_settings.evaluations / 4, 2, own);
}

Trial Algorithm::fresh(Random& random, int generation) const
{
  Trial trial;
  trial.genome = m_space.sample(random);
  trial.generation = generation;
  return trial;
}

bool Algorithm::repeats(Genome const& genome) const
{
  return !m_settings.allow_repeats && m_seen.contains(m_space.phenotype(genome));
}

} // namespace impl

namespace {

struct Entry
{
  std::string_view name;
  std::unique_ptr<SearchAlgorithm> (*make)(SearchSettings const&, SearchSpace const&);
};

constexpr std::array algorithms{
    Entry{"random", impl::make_random},     Entry{"aging", impl::make_aging},
    Entry{"nsga-net", impl::make_nsga_net}, Entry{"nsga-net-steady", impl::make_nsga_net_steady},
    Entry{"evocnn", impl::make_evocnn},     Entry{"menndl", impl::make_menndl},
};

} // namespace

std::vector<std::string> algorithm_names()
{
  std::vector<std::string> names;
  names.reserve(algorithms.size());
  for (Entry const& entry : algorithms)
    names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<SearchAlgorithm> make_algorithm(SearchSettings const& settings, SearchSpace const& space)
{
  require(settings.evaluations >= 1, "search: 'evaluations' must be at least 1, got ", settings.evaluations);
  require(settings.population >= 0 && settings.population <= 1000000,
          "search: 'population' must be in [0, 1000000], got ", settings.population);
  require(settings.sample >= 0, "search: 'sample' must not be negative, got ", settings.sample);
  require(settings.workers >= 1 && settings.workers <= most_open, "search: 'workers' must be in [1, ", most_open,
          "], got ", settings.workers);
  require(settings.mutation <= 1 && !std::isnan(settings.mutation), "search: 'mutation' must be at most 1, got ",
          settings.mutation);
  require(settings.crossover <= 1 && !std::isnan(settings.crossover), "search: 'crossover' must be at most 1, got ",
          settings.crossover);
  std::string known;
  for (Entry const& entry : algorithms) {
    if (entry.name == settings.algorithm) return entry.make(settings, space);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail("search algorithm: unknown name '", settings.algorithm, "' (known: ", known, ")");
}

} // namespace nasturtium::nas
