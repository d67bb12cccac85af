// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nas/pareto.hpp>

#include <algorithm>
#include <limits>
#include <numeric>

namespace nasturtium::nas {

bool dominates(std::span<double const> left, std::span<double const> right)
{
  bool better = false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] > right[i]) return false;
    better = better || left[i] < right[i];
  }
  return better;
}

namespace {

/// Two objectives: in ascending order nothing is dominated by what comes later, and whether a front dominates a
/// solution is decided by the least second objective that the front has so far, which grows from front to front.
std::vector<int> sort_two(Objectives const& objectives)
{
  std::vector<std::size_t> order(objectives.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return objectives[a] < objectives[b]; });
  std::vector<int> front(objectives.size(), 0);
  std::vector<double> least; // second objective, by front
  for (std::size_t i = 0; i < order.size(); ++i) {
    auto const& now = objectives[order[i]];
    if (i > 0 && objectives[order[i - 1]] == now) { // equal ones do not dominate each other
      front[order[i]] = front[order[i - 1]];
      continue;
    }
    auto const place = std::upper_bound(least.begin(), least.end(), now[1]);
    front[order[i]] = static_cast<int>(place - least.begin());
    if (place == least.end())
      least.push_back(now[1]);
    else
      *place = now[1];
  }
  return front;
}

} // namespace

std::vector<int> non_dominated_sort(Objectives const& objectives)
{
  if (!objectives.empty() && objectives[0].size() == 2) return sort_two(objectives);
  std::size_t const count = objectives.size();
  std::vector<int> front(count, 0), dominators(count, 0);
  std::vector<std::vector<std::size_t>> dominated(count);
  std::vector<std::size_t> current;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < count; ++j) {
      if (dominates(objectives[i], objectives[j]))
        dominated[i].push_back(j);
      else if (dominates(objectives[j], objectives[i]))
        ++dominators[i];
    }
    if (dominators[i] == 0) current.push_back(i);
  }
  for (int number = 0; !current.empty(); ++number) {
    std::vector<std::size_t> next;
    for (std::size_t const i : current) {
      front[i] = number;
      for (std::size_t const j : dominated[i])
        if (--dominators[j] == 0) next.push_back(j);
    }
    current = std::move(next);
  }
  return front;
}

std::vector<double> crowding_distance(Objectives const& objectives, std::span<std::size_t const> front)
{
  std::vector<double> distance(front.size(), 0);
  if (front.empty()) return distance;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<std::size_t> order(front.size());
  for (std::size_t k = 0; k < objectives[front[0]].size(); ++k) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    auto const value = [&](std::size_t i) { return objectives[front[order[i]]][k]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return objectives[front[a]][k] < objectives[front[b]][k]; });
    double const range = value(order.size() - 1) - value(0);
    distance[order.front()] = distance[order.back()] = infinity;
    if (!(range > 0)) continue;
    for (std::size_t i = 1; i + 1 < order.size(); ++i)
      distance[order[i]] += (value(i + 1) - value(i - 1)) / range;
  }
  return distance;
}

} // namespace nasturtium::nas
