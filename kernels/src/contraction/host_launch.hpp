// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Workers of the host back end: a fixed share of the work each, chosen by the worker's number alone.
#pragma once

#include "contraction/problem.hpp"
#include "label.hpp"

#include <nasturtium/kernels/types.hpp>

#include <algorithm>
#include <string>

namespace nasturtium::kernels::impl::host {

/// Work that one worker does faster than a second one can be woken, in floating-point operations.
inline constexpr double worth_a_thread = 3e5;

/// Calls work(worker) for 0 <= worker < workers on the threads of the instance. One worker runs on the calling thread
/// without a fork: host instances are synchronous, so the order of the work stays the same.
template <class ExecSpace, class Work>
void run_workers(ExecSpace const& exec, std::string const& label, int workers, Work const& work)
{
  if (workers > 1) {
    Kokkos::parallel_for(launch_label(label),
                         Kokkos::RangePolicy<ExecSpace, Kokkos::IndexType<int>>(exec, 0, workers, Kokkos::ChunkSize(1)),
                         work);
    return;
  }
  bool const profiled = Kokkos::Tools::profileLibraryLoaded();
  std::uint64_t kernel = 0;
  if (profiled) {
    Kokkos::Tools::beginParallelFor(label, Kokkos::Tools::Experimental::device_id(exec), &kernel);
  }
  work(0);
  if (profiled) Kokkos::Tools::endParallelFor(kernel);
}

/// Work whose last worker to end merges the statistics of what all have written.
template <class Work, class Real>
struct ThenMerge
{
  Work work;
  Statistics<Real> statistics;
  Index rows;
  int channels;
  int workers;
  void operator()(int worker) const
  {
    work(worker);
    if (statistics.mean != nullptr && last_to_arrive(statistics.arrivals, 1, workers))
      merge_on_host(statistics, rows, channels, 0, channels);
  }
};

/// run_workers for work that writes the output of `problem`.
template <class ExecSpace, class Real, class Work>
void run_workers(ExecSpace const& exec, std::string const& label, int workers, Contraction<Real> const& problem,
                 Work const& work)
{
  Index const rows = problem.shape.out_rows();
  int const channels = problem.shape.out_channels;
  bool const apart = !merged_by_last(moment_chunks(rows), channels);
  run_workers(exec, label, workers,
              ThenMerge<Work, Real>{work, apart ? Statistics<Real>() : problem.statistics, rows, channels, workers});
  if (apart) merge_statistics(exec, problem.statistics, rows, channels);
}

/// The most threads that an instance can have: what scratch memory is sized for. Asked once, since making an instance
/// may touch the heap and Kokkos does not change the number while it is up.
template <class ExecSpace>
std::size_t most_workers()
{
  static auto const workers = static_cast<std::size_t>(ExecSpace().concurrency());
  return workers;
}

template <class ExecSpace>
int available_workers(ExecSpace const& exec, double flops)
{
  int const useful = static_cast<int>(std::min(flops / worth_a_thread, 1e6));
  return std::clamp(useful, 1, std::max(1, static_cast<int>(exec.concurrency())));
}

/// Share `part` of `parts` of `items` in whole granules: [first, last).
struct Range
{
  Index first;
  Index last;
};
inline Range share(Index items, Index granule, int part, int parts)
{
  Index const granules = (items + granule - 1) / granule;
  return {std::min(items, granules * part / parts * granule), std::min(items, granules * (part + 1) / parts * granule)};
}

/// Bytes rounded up to whole cache lines.
constexpr std::size_t cache_lines(std::size_t bytes)
{
  return (bytes + 63) / 64 * 64;
}

} // namespace nasturtium::kernels::impl::host
