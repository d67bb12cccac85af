// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "plan_scorer.hpp"

#include <algorithm>
#include <cmath>

namespace nasturtium::ensemble::impl {

Scorer::Scorer(PlanningProblem const& problem, double latency_bound)
    : m_problem(&problem), m_latency_bound(latency_bound), m_devices(static_cast<int>(problem.devices.size())),
      m_models(static_cast<int>(problem.models.size())), m_levels(static_cast<int>(problem.batches.size())),
      m_used(problem.memories.size()), m_left(problem.models.size()), m_model_rate(problem.models.size())
{
  for (int d = 0; d < m_devices; ++d) {
    for (int m = 0; m < m_models; ++m) {
      m_rate.push_back(0);
      m_bytes.push_back(0);
      for (int b = 0; b < m_levels; ++b) {
        auto const& measured = problem.measured(d, m, b);
        m_rate.push_back(problem.batches[b] / measured.seconds); // 0 where it does not run
        m_bytes.push_back(measured.bytes);
      }
    }
    auto const& device_class = problem.classes[problem.devices[d].device_class];
    m_share.push_back(0);
    for (int active = 1; active <= m_models; ++active)
      m_share.push_back(device_class.gain_at(active) / active);
  }
}

double Scorer::score(Levels const& levels)
{
  for (int m = 0; m < m_models; ++m) {
    bool served = false;
    for (int d = 0; d < m_devices; ++d) {
      int const level = levels[d * m_models + m];
      if (level == 0) continue;
      if (rate(d, m, level) <= 0) return unusable;
      served = true;
    }
    if (!served) return unusable;
  }
  if (!fits(levels)) return unusable;
  ++m_scored;
  if (m_latency_bound > 0) {
    double const latency = this->latency(levels);
    if (latency > m_latency_bound) return m_latency_bound / latency - 1;
  }
  return fluid(levels);
}

bool Scorer::fits(Levels const& levels)
{
  std::fill(m_used.begin(), m_used.end(), 0.0);
  for (int d = 0; d < m_devices; ++d) {
    double& used = m_used[m_problem->devices[d].memory];
    for (int m = 0; m < m_models; ++m)
      used += bytes(d, m, levels[d * m_models + m]);
  }
  for (std::size_t i = 0; i < m_used.size(); ++i)
    if (m_used[i] > m_problem->memories[i].limit_bytes) return false;
  return true;
}

double Scorer::fluid(Levels const& levels)
{
  constexpr double finished = -1;
  std::fill(m_left.begin(), m_left.end(), 1.0);
  double time = 0;
  for (int unfinished = m_models; unfinished > 0;) {
    std::fill(m_model_rate.begin(), m_model_rate.end(), 0.0);
    for (int d = 0; d < m_devices; ++d) {
      int const* const row = levels.data() + d * m_models;
      int active = 0;
      for (int m = 0; m < m_models; ++m)
        active += row[m] != 0 && m_left[m] != finished;
      double const share = m_share[d * (m_models + 1) + active];
      for (int m = 0; m < m_models; ++m)
        m_model_rate[m] += share * rate(d, m, row[m]);
    }
    int first = -1;
    double step = std::numeric_limits<double>::infinity();
    for (int m = 0; m < m_models; ++m) {
      if (m_left[m] == finished || m_left[m] >= step * m_model_rate[m]) continue;
      step = m_left[m] / m_model_rate[m];
      first = m;
    }
    if (first < 0) return 0; // a rate of 0: the allocation is not usable
    time += step;
    for (int m = 0; m < m_models; ++m) {
      if (m_left[m] == finished) continue;
      m_left[m] -= step * m_model_rate[m];
      if (m != first && m_left[m] > 1e-12) continue; // what rounding leaves of a tie is no event
      m_left[m] = finished;
      --unfinished;
    }
  }
  return 1 / time;
}

double Scorer::latency(Levels const& levels) const
{
  double latency = 0;
  for (int d = 0; d < m_devices; ++d) {
    int const* const row = levels.data() + d * m_models;
    auto const active = m_models - std::count(row, row + m_models, 0);
    for (int m = 0; m < m_models; ++m) {
      if (row[m] == 0) continue;
      double const seconds = m_problem->measured(d, m, row[m] - 1).seconds;
      latency = std::max(latency, seconds / m_share[d * (m_models + 1) + active]);
    }
  }
  return latency;
}

int Scorer::best_level(int device, int model, double bytes) const
{
  int best = 0;
  for (int level = 1; level <= m_levels; ++level) {
    bool const possible = rate(device, model, level) > 0 && this->bytes(device, model, level) <= bytes;
    if (possible && (best == 0 || rate(device, model, level) > rate(device, model, best))) best = level;
  }
  return best;
}

Allocation to_allocation(PlanningProblem const& problem, Levels const& levels)
{
  Allocation allocation(static_cast<int>(problem.devices.size()), static_cast<int>(problem.models.size()));
  for (std::size_t i = 0; i < levels.size(); ++i)
    allocation.batch[i] = levels[i] == 0 ? 0 : problem.batches[levels[i] - 1];
  return allocation;
}

Levels to_levels(PlanningProblem const& problem, Allocation const& allocation)
{
  Levels levels;
  for (int const batch : allocation.batch) {
    auto const found = std::lower_bound(problem.batches.begin(), problem.batches.end(), batch);
    levels.push_back(batch == 0 ? 0 : 1 + static_cast<int>(found - problem.batches.begin()));
  }
  return levels;
}

namespace {

/// An allocation that grows cell by cell.
class Filling
{
public:
  explicit Filling(Scorer const& scorer)
      : m_scorer(scorer), m_levels(std::size_t(scorer.devices()) * scorer.models(), 0)
  {
    for (auto const& memory : scorer.problem().memories)
      m_free.push_back(memory.limit_bytes);
  }

  double& free(int device) { return m_free[m_scorer.problem().devices[device].memory]; }

  bool possible(int device, int model, int level)
  {
    return m_scorer.rate(device, model, level) > 0 && m_scorer.bytes(device, model, level) <= free(device);
  }

  void put(int device, int model, int level)
  {
    int& cell = m_levels[std::size_t(device) * m_scorer.models() + model];
    free(device) += m_scorer.bytes(device, model, cell) - m_scorer.bytes(device, model, level);
    cell = level;
  }

  /// Every cell at its highest solo rate, in the order of the models.
  void raise_batches()
  {
    for (int m = 0; m < m_scorer.models(); ++m) {
      for (int d = 0; d < m_scorer.devices(); ++d) {
        int const now = m_levels[std::size_t(d) * m_scorer.models() + m];
        if (now == 0) continue;
        int const best = m_scorer.best_level(d, m, free(d) + m_scorer.bytes(d, m, now));
        if (best != 0) put(d, m, best);
      }
    }
  }

  Levels const& levels() const { return m_levels; }
  Levels none() const { return Levels(m_levels.size(), 0); }

private:
  Scorer const& m_scorer;
  Levels m_levels;
  std::vector<double> m_free;
};

/// Models by falling key, the lower index first among equals.
template <class Key>
std::vector<int> falling(int models, Key const& key)
{
  std::vector<int> order(models);
  for (int m = 0; m < models; ++m)
    order[m] = m;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) > key(b); });
  return order;
}

} // namespace

Levels worst_fit(Scorer const& scorer, int fixed_level)
{
  Filling filling(scorer);
  int const level = fixed_level == 0 ? 1 : fixed_level;
  auto const need = [&](int model) {
    double most = 0;
    for (int d = 0; d < scorer.devices(); ++d)
      most = std::max(most, scorer.bytes(d, model, level));
    return most;
  };
  // Devices that share a memory have the same bytes free: the one that has taken fewer is next.
  std::vector<double> taken(scorer.devices(), 0);
  auto const freer = [&](int a, int b) {
    double const free_a = filling.free(a), free_b = filling.free(b);
    return free_a > free_b || (free_a == free_b && taken[a] < taken[b]);
  };
  for (int const model : falling(scorer.models(), need)) {
    int chosen = -1;
    for (int d = 0; d < scorer.devices(); ++d)
      if (filling.possible(d, model, level) && (chosen < 0 || freer(d, chosen))) chosen = d;
    if (chosen < 0) return filling.none();
    filling.put(chosen, model, level);
    taken[chosen] += scorer.bytes(chosen, model, level);
  }
  if (fixed_level == 0) filling.raise_batches();
  return filling.levels();
}

Levels round_robin(Scorer const& scorer)
{
  Filling filling(scorer);
  int next = 0;
  for (int model = 0; model < scorer.models(); ++model) {
    int tried = 0;
    while (tried < scorer.devices() && !filling.possible((next + tried) % scorer.devices(), model, 1))
      ++tried;
    if (tried == scorer.devices()) return filling.none();
    int const device = (next + tried) % scorer.devices();
    filling.put(device, model, 1);
    next = device + 1;
  }
  filling.raise_batches();
  return filling.levels();
}

Levels longest_first(Scorer const& scorer)
{
  Filling filling(scorer);
  std::vector<double> load(scorer.devices(), 0); ///< seconds per sample of what is placed
  auto const best_time = [&](int model) {
    double fastest = 0;
    for (int d = 0; d < scorer.devices(); ++d)
      for (int level = 1; level <= scorer.levels(); ++level)
        fastest = std::max(fastest, scorer.rate(d, model, level));
    return 1 / fastest;
  };
  for (int const model : falling(scorer.models(), best_time)) {
    int device = -1, chosen = 0;
    double finish = std::numeric_limits<double>::infinity();
    for (int d = 0; d < scorer.devices(); ++d) {
      for (int level = 1; level <= scorer.levels(); ++level) {
        if (!filling.possible(d, model, level) || load[d] + 1 / scorer.rate(d, model, level) >= finish) continue;
        finish = load[d] + 1 / scorer.rate(d, model, level);
        device = d;
        chosen = level;
      }
    }
    if (device < 0) return filling.none();
    filling.put(device, model, chosen);
    load[device] = finish;
  }
  return filling.levels();
}

} // namespace nasturtium::ensemble::impl
