// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What wall-time requests do to a queue: a replay of a stream of jobs under EASY backfilling (Lifka, JSSPP 1995). Pure
// host mathematics, deterministic. Reference sections 7 and 8 (E5).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::estimator {

struct Job
{
  double arrival = 0;   ///< seconds, >= 0
  int nodes = 1;        ///< that it needs all the time
  double run_time = 1;  ///< true seconds, > 0
  double predicted = 1; ///< what an estimator said before it ran, seconds, > 0
};

/// A stream for tests and benchmarks: Poisson arrivals, nodes a power of two (small ones more often), run times
/// log-normal, predictions with a log-normal error.
struct StreamOptions
{
  std::int64_t jobs = 1000;
  int nodes = 64;                ///< of the machine; no job needs more
  double load = 0.8;             ///< node seconds asked for per node second that there is
  double median_run_time = 3600; ///< seconds
  double run_time_sd = 1.2;      ///< of its logarithm
  double prediction_sd = 0.1;    ///< of log(predicted / true)
};
/// In order of arrival; a function of options and seed. Throws Error for options out of range.
std::vector<Job> job_stream(StreamOptions const& options, std::uint64_t seed);

// Requested seconds, one per job.
std::vector<double> padded_requests(std::span<Job const> jobs, double padding = 2); ///< the user's: padding x true
std::vector<double> oracle_requests(std::span<Job const> jobs);                     ///< the truth
/// predicted x exp(one-sided limit at risk r) of the scores log(true / predicted) of `calibration`, other jobs. Throws
/// Error where these are fewer than 1/r - 1.
std::vector<double> suggested_requests(std::span<Job const> jobs, std::span<Job const> calibration, double risk = 0.01);

/// What became of the jobs, means over them all.
struct ReplaySummary
{
  double mean_wait = 0;             ///< seconds in the queue, all attempts of a job together
  double mean_bounded_slowdown = 0; ///< max(1, (end - arrival) / max(run time, 10 s))
  double kill_rate = 0;             ///< share of jobs that were killed at least once
  double over_ask = 0;              ///< first request / true run time
  double utilisation = 0;           ///< useful node seconds per node second up to the last end
  double lost = 0;                  ///< node seconds of killed attempts per all node seconds that were used
  double makespan = 0;              ///< last end
};

/// How one job went.
struct JobRecord
{
  double start = 0, end = 0; ///< of the attempt that ended well
  double wait = 0;           ///< in the queue, all attempts
  int attempts = 1;
};

struct Replay
{
  ReplaySummary summary;
  std::vector<JobRecord> jobs; ///< in their order
};

/// First come, first served; the first in the queue that does not fit gets a reservation at the earliest time at which
/// enough nodes are requested to be free, and others may start before it if they end by then as requested or leave its
/// nodes alone. A job that outlives its request is killed there and comes back as the last of the queue with a doubled
/// request. Events of one instant: ends, then arrivals (in the order of the jobs, those that come back last). Throws
/// Error for jobs out of range, unordered arrivals, and requests that are not positive and finite. O(n q) for q jobs in
/// the queue.
Replay replay_easy(std::span<Job const> jobs, std::span<double const> requests, int nodes);

} // namespace nasturtium::estimator
