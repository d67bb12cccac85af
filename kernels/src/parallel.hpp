// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How the memory-bound kernels are launched. On a host a kernel runs over blocks whose size is a function of the shape
// alone, with a plain contiguous loop inside that the compiler vectorises; on a device every element is a thread. One
// body serves both: it is called with a range [begin, end), which holds a single element on a device.
#pragma once

#include "instantiate.hpp"
#include "label.hpp"
#include "launch.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/types.hpp>

#include <limits>
#include <string>
#include <type_traits>

// The iterations of the loop that follows are independent (in-place calls included: element i needs element i alone).
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define NASTURTIUM_INDEPENDENT _Pragma("GCC ivdep")
#elif defined(__clang__) && !defined(__CUDACC__)
#define NASTURTIUM_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define NASTURTIUM_INDEPENDENT
#endif

namespace nasturtium::kernels::impl {

/// Host spaces whose kernels are complete at return, so that a small kernel may run in the calling thread.
template <class ExecSpace>
inline constexpr bool runs_in_caller = false;
#ifdef KOKKOS_ENABLE_OPENMP
template <>
inline constexpr bool runs_in_caller<Kokkos::OpenMP> = true;
#endif
#ifdef KOKKOS_ENABLE_SERIAL
template <>
inline constexpr bool runs_in_caller<Kokkos::Serial> = true;
#endif

/// Elements of a block on hosts: long enough for full vectors and little overhead, short enough for its inputs and
/// outputs to stay in the second-level cache between two passes over them.
inline constexpr Index block_elements = 8192;

/// Runs functor(i) for i < count. The launches of this file are found by the instance's type, so that tests can put a
/// device of their own in (tests/kernels/emulated_device.hpp).
template <class ExecSpace, class Functor>
void launch_range(ExecSpace const& exec, std::string const& label, Index count, Functor const& functor)
{
  using Policy = Kokkos::RangePolicy<ExecSpace, Kokkos::Schedule<Kokkos::Static>, Kokkos::IndexType<Index>>;
  if constexpr (is_host_space<ExecSpace>)
    Kokkos::parallel_for(launch_label(label), Policy(exec, 0, count), functor);
  else
    Kokkos::parallel_for(launch_label(label), by_argument(Policy(exec, 0, count)), functor);
}

/// `teams` teams of `threads` threads, each with `scratch` bytes of shared memory. The functor takes any team that has
/// league_rank(), team_rank(), team_barrier() and team_shmem().
template <class ExecSpace, class Functor>
void launch_teams(ExecSpace const& exec, std::string const& label, Index teams, int threads, std::size_t scratch,
                  Functor const& functor)
{
  Kokkos::TeamPolicy<ExecSpace> policy(exec, static_cast<int>(teams), threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(scratch)));
  Kokkos::parallel_for(launch_label(label), by_argument(policy), functor);
}

/// A team of a fused launch, as its functor sees it.
template <class Team>
struct TeamFrom
{
  Team const& team;
  int first; ///< of the functor's teams in the league
  KOKKOS_FUNCTION int league_rank() const { return team.league_rank() - first; }
  KOKKOS_FUNCTION int team_rank() const { return team.team_rank(); }
  KOKKOS_FUNCTION void team_barrier() const { team.team_barrier(); }
  KOKKOS_FUNCTION decltype(auto) team_shmem() const { return team.team_shmem(); }
};

template <class Functor>
struct RunListedTeams
{
  BodyList<Functor> list;
  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    int const i = list.find(team.league_rank());
    list.body(i)(TeamFrom<Team>{team, static_cast<int>(list.first(i))});
  }
};

/// Launches of for_teams as values: one, or several fused.
template <class ExecSpace, class Functor>
class TeamsLaunch final : public Launch<ExecSpace>
{
public:
  TeamsLaunch(std::string const& label, Index teams, int threads, std::size_t scratch, Functor const& functor)
      : m_label(&label), m_teams(teams), m_threads(threads), m_scratch(scratch), m_functor(functor)
  {
  }
  std::pair<std::type_index, int> kind() const override { return {typeid(TeamsLaunch), m_threads}; }
  std::unique_ptr<Launch<ExecSpace>> copy() const override { return std::make_unique<TeamsLaunch>(*this); }
  std::unique_ptr<Launch<ExecSpace>> fuse(std::span<Launch<ExecSpace> const* const> all) const override
  {
    auto fused = std::make_unique<TeamsLaunch>(*this);
    for (auto const* const launch : all) {
      auto const& one = static_cast<TeamsLaunch const&>(*launch);
      add_to(fused->m_lists, one.m_functor, one.m_teams, one.m_teams, std::numeric_limits<int>::max());
      fused->m_scratch = std::max(fused->m_scratch, one.m_scratch);
    }
    return fused;
  }
  void run(ExecSpace const& exec) const override
  {
    if (m_lists.empty()) launch_teams(exec, *m_label, m_teams, m_threads, m_scratch, m_functor);
    for (auto const& list : m_lists)
      launch_teams(exec, *m_label, list.places(), m_threads, m_scratch, RunListedTeams<Functor>{list});
  }

private:
  std::string const* m_label;
  Index m_teams;
  int m_threads;
  std::size_t m_scratch;
  Functor m_functor;
  std::vector<BodyList<Functor>> m_lists; ///< where it is several
};

/// The same, for any number of teams; put on the list where the thread records.
template <class ExecSpace, class Functor>
void for_teams(ExecSpace const& exec, std::string const& label, Index teams, int threads, std::size_t scratch,
               Functor const& functor)
{
  if (teams <= 0) return;
  if (auto* const list = recording<ExecSpace>) {
    list->push_back(std::make_unique<TeamsLaunch<ExecSpace, Functor>>(label, teams, threads, scratch, functor));
    return;
  }
  launch_teams(exec, label, teams, threads, scratch, functor);
}

template <class Body>
struct RunBlocks
{
  Body body;
  Index count;
  Index grain;
  KOKKOS_FUNCTION void operator()(Index block) const
  {
    Index const begin = block * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  }
};

template <class Body>
struct RunListed
{
  /// The bodies of a fused launch begin at multiples of this, so that no warp has two of them.
  static constexpr Index granule = 32;
  BodyList<Body> list;
  KOKKOS_FUNCTION void operator()(Index place) const
  {
    int const i = list.find(place);
    Index const item = place - list.first(i);
    if (item < list.items(i)) list.body(i)(item, item + 1);
  }
};

template <class ExecSpace, class Body>
void for_items(ExecSpace const& exec, std::string const& label, Index count, Index grain, Body const& body);

/// Launches of for_items as values: one, or on a device several fused, unless the body has a type `not_fused`.
template <class ExecSpace, class Body>
class ItemsLaunch final : public Launch<ExecSpace>
{
public:
  ItemsLaunch(std::string const& label, Index count, Index grain, Body const& body)
      : m_label(&label), m_count(count), m_grain(grain), m_body(body)
  {
  }
  std::pair<std::type_index, int> kind() const override { return {typeid(ItemsLaunch), 0}; }
  std::unique_ptr<Launch<ExecSpace>> copy() const override { return std::make_unique<ItemsLaunch>(*this); }
  std::unique_ptr<Launch<ExecSpace>> fuse(std::span<Launch<ExecSpace> const* const> all) const override
  {
    if constexpr (!fuses) {
      return std::make_unique<LaunchesInTurn<ExecSpace>>(all);
    } else {
      auto fused = std::make_unique<ItemsLaunch>(*this);
      constexpr Index granule = RunListed<Body>::granule;
      for (auto const* const launch : all) {
        auto const& one = static_cast<ItemsLaunch const&>(*launch);
        add_to(fused->m_lists, one.m_body, one.m_count, (one.m_count + granule - 1) / granule * granule,
               std::numeric_limits<Index>::max());
      }
      return fused;
    }
  }
  void run(ExecSpace const& exec) const override
  {
    if constexpr (!fuses) {
      for_items(exec, *m_label, m_count, m_grain, m_body);
    } else {
      if (m_lists.empty()) for_items(exec, *m_label, m_count, m_grain, m_body);
      for (auto const& list : m_lists)
        launch_range(exec, *m_label, list.places(), RunListed<Body>{list});
    }
  }

private:
  static constexpr bool fuses = !is_host_space<ExecSpace> && !requires { typename Body::not_fused; };
  struct Nothing
  {
  };
  std::string const* m_label;
  Index m_count, m_grain;
  Body m_body;
  // A host's bodies need not be fit for a list.
  [[no_unique_address]] std::conditional_t<fuses, std::vector<BodyList<Body>>, Nothing> m_lists;
};

/// Runs the items [0, count) of `body(begin, end)`, on hosts in blocks of `grain` items. A single block runs in the
/// calling thread: a parallel region costs more than it. Put on the list where the thread records.
template <class ExecSpace, class Body>
void for_items(ExecSpace const& exec, std::string const& label, Index count, Index grain, Body const& body)
{
  if (count <= 0) return;
  if (auto* const list = recording<ExecSpace>) {
    list->push_back(std::make_unique<ItemsLaunch<ExecSpace, Body>>(label, count, grain, body));
    return;
  }
  if constexpr (!is_host_space<ExecSpace>) grain = 1;
  RunBlocks<Body> const run{body, count, grain};
  Index const blocks = (count + grain - 1) / grain;
  if constexpr (runs_in_caller<ExecSpace>) {
    if (blocks == 1) {
      bool const profiled = Kokkos::Tools::profileLibraryLoaded();
      std::uint64_t id = 0;
      if (profiled) Kokkos::Tools::beginParallelFor(label, Kokkos::Tools::Experimental::device_id(exec), &id);
      run(0);
      if (profiled) Kokkos::Tools::endParallelFor(id);
      return;
    }
  }
  launch_range(exec, label, blocks, run);
}

/// As for_items, in blocks of block_elements elements.
template <class ExecSpace, class Body>
void for_elements(ExecSpace const& exec, std::string const& label, Index count, Body const& body)
{
  for_items(exec, label, count, block_elements, body);
}

/// Rows of `width` elements that make a block on hosts.
constexpr Index rows_per_block(Index width)
{
  Index const rows = block_elements / (width > 0 ? width : 1);
  return rows > 0 ? rows : 1;
}

/// Quotient and remainder of an element's index; 32-bit division where it suffices, since 64 bits are slow on a device.
KOKKOS_INLINE_FUNCTION Index divide(Index index, int divisor, int& remainder)
{
  if (index <= 0xffffffff) {
    auto const small = static_cast<std::uint32_t>(index);
    auto const by = static_cast<std::uint32_t>(divisor);
    remainder = static_cast<int>(small % by);
    return small / by;
  }
  remainder = static_cast<int>(index % divisor);
  return index / divisor;
}

/// Column sums on a device: a team of column_lanes x column_slots threads takes one chunk of rows and column_lanes
/// channels; its slots take rows in turn and are added in a fixed order.
inline constexpr int column_lanes = 32;
inline constexpr int column_slots = 8;

/// Throws unless `view` holds at least `needed` values: a programming error or an architecture that was not checked.
template <class View>
void require_extent(char const* op, char const* name, View const& view, Index needed)
{
  if (static_cast<Index>(view.extent(0)) < needed)
    fail("kernels::", op, ": ", name, " holds ", view.extent(0), " values, ", needed, " are needed");
}

} // namespace nasturtium::kernels::impl
