// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Merging the chunks of a batch's statistics: on hosts one thread takes many channels side by side, on devices a team
// takes column_lanes channels at a time.
#pragma once

#include "arrivals.hpp"
#include "parallel.hpp"

#include <nasturtium/kernels/batch_statistics.hpp>

#include <string>

namespace nasturtium::kernels::impl {

/// BatchStatistics as a kernel takes them.
template <class Real>
struct Statistics
{
  Real* moments = nullptr; ///< null: nothing is wanted
  Real* mean = nullptr;    ///< null: the moments are all that is wanted
  Real* inverse_deviation = nullptr;
  Real* running_mean = nullptr;
  Real* running_variance = nullptr;
  int* arrivals = nullptr;
  Real epsilon = 0, momentum = 0;

  Statistics() = default;
  /// Throws where an extent is too small.
  template <class ExecSpace>
  Statistics(char const* op, BatchStatistics<ExecSpace, Real> const& from, Index rows, int channels)
      : epsilon(from.epsilon), momentum(from.momentum)
  {
    if (from.moments.extent(0) == 0) return;
    require_extent(op, "moments", from.moments, moment_chunks(rows) * 2 * channels);
    moments = from.moments.data();
    if (from.mean.extent(0) == 0) return;
    require_extent(op, "mean", from.mean, channels);
    require_extent(op, "inverse_deviation", from.inverse_deviation, channels);
    require_extent(op, "running_mean", from.running_mean, channels);
    require_extent(op, "running_variance", from.running_variance, channels);
    require_extent(op, "arrivals", from.arrivals, channels);
    mean = from.mean.data();
    inverse_deviation = from.inverse_deviation.data();
    running_mean = from.running_mean.data();
    running_variance = from.running_variance.data();
    arrivals = from.arrivals.data();
  }

  /// The same without what becomes of the moments.
  Statistics moments_alone() const
  {
    Statistics alone;
    alone.moments = moments;
    return alone;
  }

  KOKKOS_FUNCTION void finish(int c, double rows, double its_mean, double squares) const
  {
    double const variance = squares / rows;
    mean[c] = static_cast<Real>(its_mean);
    inverse_deviation[c] = static_cast<Real>(1.0 / Kokkos::sqrt(variance + static_cast<double>(epsilon)));
    // One row has no unbiased variance; its biased one (zero) stands in.
    double const unbiased = rows > 1 ? squares / (rows - 1) : variance;
    double const keep = static_cast<double>(momentum);
    running_mean[c] = static_cast<Real>(keep * static_cast<double>(running_mean[c]) + (1.0 - keep) * its_mean);
    running_variance[c] = static_cast<Real>(keep * static_cast<double>(running_variance[c]) + (1.0 - keep) * unbiased);
  }
};

/// Rows of a chunk.
KOKKOS_INLINE_FUNCTION Index rows_of_chunk(Index rows, Index chunk)
{
  Index const left = rows - chunk * moment_chunk_rows;
  return left < moment_chunk_rows ? left : moment_chunk_rows;
}

/// Channels that are merged side by side on hosts.
inline constexpr int merge_lanes = 16;

/// Whether the last thread of a host's launch merges `chunks` of `channels`: some tens of microseconds at most. More
/// are worth a launch of their own, which shares them out. The merging is the same, and so are the bits.
constexpr bool merged_by_last(Index chunks, Index channels)
{
  return chunks * channels <= 32768;
}

/// Merges the moments of the channels [first, last), chunk after chunk (Chan, Golub and LeVeque's update).
template <class Real>
KOKKOS_FUNCTION void merge_on_host(Statistics<Real> const& statistics, Index rows, int channels, int first, int last)
{
  for (int at = first; at < last; at += merge_lanes) {
    int const width = last - at < merge_lanes ? last - at : merge_lanes;
    double mean[merge_lanes] = {}, squares[merge_lanes] = {};
    double count = 0;
    for (Index chunk = 0; chunk < moment_chunks(rows); ++chunk) {
      auto const here = static_cast<double>(rows_of_chunk(rows, chunk));
      double const share = here / (count + here);
      Real const* const from = statistics.moments + chunk * 2 * channels + at;
      for (int c = 0; c < width; ++c) {
        double const delta = static_cast<double>(from[c]) - mean[c];
        mean[c] += delta * share;
        squares[c] += static_cast<double>(from[channels + c]) + delta * delta * (count * share);
      }
      count += here;
    }
    for (int c = 0; c < width; ++c)
      statistics.finish(at + c, count, mean[c], squares[c]);
  }
}

/// A team as merge_on_device and its like see one: each(f) calls f(thread) for the calling thread.
template <class Team>
struct TeamThreads
{
  Team const& team;
  template <class F>
  KOKKOS_INLINE_FUNCTION void each(F const& f) const
  {
    f(team.team_rank());
  }
  KOKKOS_INLINE_FUNCTION void barrier() const { team.team_barrier(); }
};

/// Bytes of shared memory that merge_on_device takes.
inline constexpr std::size_t merge_scratch_bytes = 2 * column_lanes * column_slots * sizeof(double);

/// The same by column_lanes x column_slots threads, without divisions: the mean over all rows first, then the squares
/// around it, both by slots that take chunks in turn and are added in order. `scratch` holds merge_scratch_bytes of
/// shared memory that no thread of the team uses any more.
template <class Threads, class Real>
KOKKOS_INLINE_FUNCTION void merge_on_device(Threads& threads, double* scratch, Statistics<Real> const& statistics,
                                            Index rows, int channels, int first, int last)
{
  constexpr int count = column_lanes * column_slots;
  double* const sums = scratch;
  double* const squares = scratch + count;
  auto const total = [](double const* of, int lane) {
    double sum = 0;
    for (int slot = 0; slot < column_slots; ++slot)
      sum += of[slot * column_lanes + lane];
    return sum;
  };
  auto const all = static_cast<double>(rows);
  Index const chunks = moment_chunks(rows);
  for (int at = first; at < last; at += column_lanes) {
    threads.each([&](int thread, auto&&...) {
      int const c = at + thread % column_lanes;
      double sum = 0;
      if (c < last)
        for (Index chunk = thread / column_lanes; chunk < chunks; chunk += column_slots)
          sum += static_cast<double>(rows_of_chunk(rows, chunk)) *
                 static_cast<double>(statistics.moments[chunk * 2 * channels + c]);
      sums[thread] = sum;
    });
    threads.barrier();
    threads.each([&](int thread, auto&&...) {
      int const c = at + thread % column_lanes;
      double sum = 0;
      if (c < last) {
        double const mean = total(sums, thread % column_lanes) / all;
        for (Index chunk = thread / column_lanes; chunk < chunks; chunk += column_slots) {
          Real const* const from = statistics.moments + chunk * 2 * channels + c;
          double const deviation = static_cast<double>(from[0]) - mean;
          sum += static_cast<double>(from[channels]) +
                 static_cast<double>(rows_of_chunk(rows, chunk)) * (deviation * deviation);
        }
      }
      squares[thread] = sum;
    });
    threads.barrier();
    threads.each([&](int thread, auto&&...) {
      if (thread < column_lanes && at + thread < last)
        statistics.finish(at + thread, all, total(sums, thread) / all, total(squares, thread));
    });
    threads.barrier();
  }
}

template <class Real>
struct HostMerge
{
  Index rows;
  int channels;
  Statistics<Real> statistics;
  // Items are groups of merge_lanes channels.
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    int const last = static_cast<int>(end) * merge_lanes;
    merge_on_host(statistics, rows, channels, static_cast<int>(begin) * merge_lanes, last < channels ? last : channels);
  }
};

template <class Real>
struct DeviceMerge
{
  Index rows;
  int channels;
  Statistics<Real> statistics;
  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    int const first = team.league_rank() * column_lanes;
    TeamThreads<Team> threads{team};
    merge_on_device(threads, static_cast<double*>(team.team_shmem().get_shmem(std::size_t{merge_scratch_bytes})),
                    statistics, rows, channels, first,
                    first + column_lanes < channels ? first + column_lanes : channels);
  }
};

/// Merges moments that an earlier launch wrote: for what cannot do it at its own end.
template <class ExecSpace, class Real>
void merge_statistics(ExecSpace const& exec, Statistics<Real> const& statistics, Index rows, int channels)
{
  static std::string const label = "nasturtium::batch_norm_merge";
  if (rows == 0 || statistics.mean == nullptr) return;
  if constexpr (is_host_space<ExecSpace>) {
    // One group per block where there are many chunks, all groups in the calling thread where there are few.
    Index const grain = moment_chunks(rows) > 64 ? 1 : 64;
    for_items(exec, label, (channels + merge_lanes - 1) / merge_lanes, grain,
              HostMerge<Real>{rows, channels, statistics});
  } else {
    for_teams(exec, label, (channels + column_lanes - 1) / column_lanes, column_lanes * column_slots,
              merge_scratch_bytes, DeviceMerge<Real>{rows, channels, statistics});
  }
}

} // namespace nasturtium::kernels::impl
