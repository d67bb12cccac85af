// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How the memory-bound kernels are launched. On a host a kernel runs over blocks whose size is a function of the shape
// alone, with a plain contiguous loop inside that the compiler vectorises; on a device every element is a thread. One
// body serves both: it is called with a range [begin, end), which holds a single element on a device.
#pragma once

#include "instantiate.hpp"
#include "label.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/types.hpp>

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
  Kokkos::parallel_for(launch_label(label), Policy(exec, 0, count), functor);
}

/// The team that calls a functor of launch_teams: league_rank(), team_rank(), team_barrier(), team_shmem().
template <class ExecSpace>
struct TeamOf
{
  using type = typename Kokkos::TeamPolicy<ExecSpace>::member_type;
};
template <class ExecSpace>
using TeamMember = typename TeamOf<ExecSpace>::type;

/// `teams` teams of `threads` threads, each with `scratch` bytes of shared memory.
template <class ExecSpace, class Functor>
void launch_teams(ExecSpace const& exec, std::string const& label, Index teams, int threads, std::size_t scratch,
                  Functor const& functor)
{
  Kokkos::TeamPolicy<ExecSpace> policy(exec, static_cast<int>(teams), threads);
  policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(scratch)));
  Kokkos::parallel_for(launch_label(label), policy, functor);
}

/// The same, for any number of teams.
template <class ExecSpace, class Functor>
void for_teams(ExecSpace const& exec, std::string const& label, Index teams, int threads, std::size_t scratch,
               Functor const& functor)
{
  if (teams > 0) launch_teams(exec, label, teams, threads, scratch, functor);
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

/// Runs the items [0, count) of `body(begin, end)`, on hosts in blocks of `grain` items. A single block runs in the
/// calling thread: a parallel region costs more than it.
template <class ExecSpace, class Body>
void for_items(ExecSpace const& exec, std::string const& label, Index count, Index grain, Body const& body)
{
  if (count <= 0) return;
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
