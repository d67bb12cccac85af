// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One launch as a value, and how launches that differ in their arguments alone become one: their bodies are passed by
// value as the kernel's argument, and an item (a team) finds its body by its number. What records: for_items, for_teams
// (parallel.hpp) and contract (contraction/contraction.cpp).
#pragma once

#include "instantiate.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/launch_list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

namespace nasturtium::kernels::impl {

template <class ExecSpace>
class Launch
{
public:
  virtual ~Launch() = default;
  /// Launches of one kind differ in their arguments alone.
  virtual std::pair<std::type_index, int> kind() const = 0;
  /// The same launch once more.
  virtual std::unique_ptr<Launch> copy() const = 0;
  /// All of these, which are of this one's kind, as one. Keeps no reference to them.
  virtual std::unique_ptr<Launch> fuse(std::span<Launch const* const> all) const = 0;
  virtual void run(ExecSpace const& exec) const = 0;
};

/// Some launches one after another: what fusing is where there is nothing to gain.
template <class ExecSpace>
class LaunchesInTurn final : public Launch<ExecSpace>
{
public:
  explicit LaunchesInTurn(std::span<Launch<ExecSpace> const* const> all)
  {
    for (auto const* const launch : all)
      m_launches.push_back(launch->copy());
  }
  std::pair<std::type_index, int> kind() const override { return {typeid(LaunchesInTurn), 0}; }
  std::unique_ptr<Launch<ExecSpace>> copy() const override
  {
    std::vector<Launch<ExecSpace> const*> all;
    for (auto const& launch : m_launches)
      all.push_back(launch.get());
    return std::make_unique<LaunchesInTurn>(all);
  }
  std::unique_ptr<Launch<ExecSpace>> fuse(std::span<Launch<ExecSpace> const* const> all) const override
  {
    return std::make_unique<LaunchesInTurn>(all);
  }
  void run(ExecSpace const& exec) const override
  {
    for (auto const& launch : m_launches)
      launch->run(exec);
  }

private:
  std::vector<std::unique_ptr<Launch<ExecSpace>>> m_launches;
};

/// Bodies in one kernel argument, with the first item of each.
template <class Body>
class BodyList
{
public:
  static_assert(std::is_trivially_copyable_v<Body>);
  /// Within the 4 KiB that every CUDA version takes as an argument; more bodies than 32 would make the search slow.
  static constexpr int capacity =
      static_cast<int>(std::clamp<std::size_t>(3840 / (sizeof(Body) + 2 * sizeof(Index)), 1, 32));

  bool full() const { return m_count == capacity; }
  Index places() const { return m_first[m_count]; }
  /// `places`: items and the idle ones behind them.
  void add(Body const& body, Index items, Index places)
  {
    std::memcpy(m_bodies[m_count].bytes, &body, sizeof(Body));
    m_items[m_count] = items;
    m_first[m_count + 1] = m_first[m_count] + places;
    ++m_count;
  }

  KOKKOS_FUNCTION int find(Index place) const
  {
    int low = 0, high = m_count; // first[low] <= place < first[high]
    while (high - low > 1) {
      int const middle = (low + high) / 2;
      if (m_first[middle] <= place)
        low = middle;
      else
        high = middle;
    }
    return low;
  }
  KOKKOS_FUNCTION Index first(int i) const { return m_first[i]; }
  KOKKOS_FUNCTION Index items(int i) const { return m_items[i]; }
  KOKKOS_FUNCTION Body const& body(int i) const { return *reinterpret_cast<Body const*>(m_bodies[i].bytes); }

private:
  struct alignas(Body) Storage
  {
    std::byte bytes[sizeof(Body)];
  };
  Storage m_bodies[capacity];
  Index m_first[capacity + 1] = {}, m_items[capacity] = {};
  int m_count = 0;
};

/// Adds a body to the last of some lists, each of which one launch of at most `most` places will take.
template <class Body>
void add_to(std::vector<BodyList<Body>>& lists, Body const& body, Index items, Index places, Index most)
{
  if (lists.empty() || lists.back().full() || lists.back().places() > most - places) lists.emplace_back();
  lists.back().add(body, items, places);
}

/// A policy whose kernel takes its functor as the argument of the launch, whatever its size up to 4 KiB. Without the
/// hint some versions of Kokkos pass more than 512 bytes through constant memory, for which the host waits.
template <class Policy>
auto by_argument(Policy const& policy)
{
  return Kokkos::Experimental::require(policy, Kokkos::Experimental::WorkItemProperty::HintLightWeight);
}

} // namespace nasturtium::kernels::impl
