// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Algorithms that go in generations: a generation is asked for, and when all of it is answered the survivors of it and
// its parents make the next one. The order of the answers does not matter. Failures do not survive: they are nobody's
// parents, and a generation without any success is followed by fresh samples.
#pragma once

#include "algorithms/algorithm.hpp"

#include <algorithm>

namespace nasturtium::nas::impl {

class Generational : public Algorithm
{
public:
  Generational(SearchSettings const& settings, SearchSpace const& space, int own_population)
      : Algorithm(settings, space), m_size(population_size(own_population))
  {
  }

  bool asks_ahead() const final { return true; }

  std::vector<int> living() const final
  {
    auto ids = ids_of(m_parents);
    auto const children = ids_of(m_children);
    ids.insert(ids.end(), children.begin(), children.end());
    return ids;
  }

protected:
  int size() const { return m_size; }
  std::vector<Individual> const& parents() const { return m_parents; }

  /// A child of the parents (never empty, no failure among them).
  virtual Trial child(Random& random) const = 0;
  /// The survivors among `all` (more than size() of them, no failure among them), in any order.
  virtual std::vector<Individual> survivors(std::vector<Individual> const& all, Random& random) const = 0;
  /// parents() are others now: what depends on them alone is computed here, once a generation.
  virtual void parents_changed() {}

  std::optional<Trial> propose(Random& random) final
  {
    if (m_asked_here == m_size) {
      if (open() > 0) return std::nullopt;
      next_generation();
    }
    ++m_asked_here;
    auto trial = without_repeats(
        random, [&](Random& numbers) { return m_parents.empty() ? fresh(numbers, m_generation) : child(numbers); });
    trial.generation = m_generation;
    return trial;
  }

  void answered(Individual const& individual) final { m_children.push_back(individual); }

private:
  int m_size;
  int m_generation = 0, m_asked_here = 0;
  std::vector<Individual> m_parents, m_children;

  void next_generation()
  {
    std::vector<Individual> all = m_parents;
    all.insert(all.end(), m_children.begin(), m_children.end());
    std::erase_if(all, [](Individual const& it) { return it.fitness.failed; });
    std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return a.trial.id < b.trial.id; });
    // A stream of its own: questions count from 0, generations from the other end.
    Random random(settings().seed, ~static_cast<std::uint32_t>(m_generation));
    m_parents = all.size() > static_cast<std::size_t>(m_size) ? survivors(all, random) : all;
    m_children.clear();
    ++m_generation;
    m_asked_here = 0;
    parents_changed();
  }
};

} // namespace nasturtium::nas::impl
