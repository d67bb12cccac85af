// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/backfill.hpp>

#include "one_sided.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/philox.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <limits>
#include <numbers>

namespace nasturtium::estimator {
namespace {

/// Draws of one job.
class Draws
{
public:
  Draws(std::uint64_t seed, std::int64_t job)
  {
    for (std::uint32_t i = 0; i < 2; ++i) {
      auto const block = random_block(seed, Purpose::synthetic, i, static_cast<std::uint64_t>(job));
      for (auto const word : block.word)
        m_values[m_filled++] = (static_cast<double>(word) + 0.5) * 0x1p-32; // in (0, 1)
    }
  }
  double uniform() { return m_values[m_next++]; }
  double exponential() { return -std::log(uniform()); }
  double normal() // Box and Muller
  {
    double const radius = std::sqrt(2 * exponential());
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

private:
  double m_values[8];
  int m_filled = 0, m_next = 0;
};

class Queue
{
public:
  Queue(std::span<Job const> jobs, std::span<double const> requests, int nodes)
      : m_jobs(jobs), m_requests(requests.begin(), requests.end()), m_nodes(nodes), m_free(nodes),
        m_records(jobs.size()), m_queued(jobs.size())
  {
  }

  Replay run()
  {
    std::size_t next = 0;
    while (next < m_jobs.size() || !m_running.empty()) {
      double const arrival = next < m_jobs.size() ? m_jobs[next].arrival : infinity;
      double const end = m_running.empty() ? infinity : first_end();
      m_now = std::min(arrival, end);
      auto const killed = finish();
      for (; next < m_jobs.size() && m_jobs[next].arrival <= m_now; ++next)
        enqueue(next);
      for (auto const job : killed)
        enqueue(job);
      schedule();
    }
    return summarise();
  }

private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  struct Running
  {
    std::size_t job = 0;
    double end = 0;           ///< when it ends or is killed
    double requested_end = 0; ///< what the scheduler knows
    bool killed = false;
  };

  std::span<Job const> m_jobs;
  std::vector<double> m_requests;
  int m_nodes, m_free;
  double m_now = 0, m_lost = 0, m_useful = 0;
  std::deque<std::size_t> m_queue;
  std::vector<Running> m_running;
  std::vector<JobRecord> m_records;
  std::vector<double> m_queued; ///< when it last came into the queue

  double first_end() const
  {
    return std::min_element(m_running.begin(), m_running.end(),
                            [](auto const& a, auto const& b) { return a.end < b.end; })
        ->end;
  }

  void enqueue(std::size_t job)
  {
    m_queued[job] = m_now;
    m_queue.push_back(job);
  }

  /// Takes down what ends now; jobs that were killed, in their order.
  std::vector<std::size_t> finish()
  {
    std::vector<std::size_t> killed;
    for (auto const& it : m_running) {
      if (it.end > m_now) continue;
      auto const& job = m_jobs[it.job];
      m_free += job.nodes;
      if (it.killed) {
        killed.push_back(it.job);
        m_lost += job.nodes * m_requests[it.job];
        m_requests[it.job] *= 2;
        ++m_records[it.job].attempts;
      } else {
        m_records[it.job].end = it.end;
        m_useful += job.nodes * job.run_time;
      }
    }
    std::erase_if(m_running, [&](Running const& it) { return it.end <= m_now; });
    std::sort(killed.begin(), killed.end());
    return killed;
  }

  void start(std::size_t job)
  {
    double const request = m_requests[job];
    bool const killed = m_jobs[job].run_time > request;
    m_free -= m_jobs[job].nodes;
    m_records[job].start = m_now;
    m_records[job].wait += m_now - m_queued[job];
    m_running.push_back({job, m_now + (killed ? request : m_jobs[job].run_time), m_now + request, killed});
  }

  void schedule()
  {
    while (!m_queue.empty() && m_jobs[m_queue.front()].nodes <= m_free) {
      start(m_queue.front());
      m_queue.pop_front();
    }
    if (m_queue.empty() || m_free == 0) return;
    // The reservation of the first: when enough nodes come free as requested, and what is left over then.
    std::sort(m_running.begin(), m_running.end(), [](Running const& a, Running const& b) {
      return a.requested_end != b.requested_end ? a.requested_end < b.requested_end : a.job < b.job;
    });
    int available = m_free;
    double shadow = infinity;
    for (auto const& it : m_running) {
      if (available >= m_jobs[m_queue.front()].nodes && it.requested_end > shadow) break;
      available += m_jobs[it.job].nodes;
      if (available >= m_jobs[m_queue.front()].nodes && shadow == infinity) shadow = it.requested_end;
    }
    int spare = available - m_jobs[m_queue.front()].nodes;
    for (auto it = m_queue.begin() + 1; it != m_queue.end() && m_free > 0;) {
      auto const& job = m_jobs[*it];
      bool const in_time = m_now + m_requests[*it] <= shadow;
      if (job.nodes > m_free || (!in_time && job.nodes > spare)) {
        ++it;
        continue;
      }
      if (!in_time) spare -= job.nodes;
      start(*it);
      it = m_queue.erase(it);
    }
  }

  Replay summarise()
  {
    Replay replay;
    auto& summary = replay.summary;
    double const share = m_jobs.empty() ? 0 : 1 / static_cast<double>(m_jobs.size());
    for (std::size_t i = 0; i < m_jobs.size(); ++i) {
      auto const& job = m_jobs[i];
      auto const& record = m_records[i];
      summary.mean_wait += share * record.wait;
      summary.mean_bounded_slowdown += share * std::max(1.0, (record.end - job.arrival) / std::max(job.run_time, 10.0));
      summary.kill_rate += record.attempts > 1 ? share : 0;
      summary.makespan = std::max(summary.makespan, record.end);
    }
    double const offered = m_nodes * summary.makespan;
    summary.utilisation = offered > 0 ? m_useful / offered : 0;
    summary.lost = m_lost > 0 ? m_lost / (m_lost + m_useful) : 0;
    replay.jobs = std::move(m_records);
    return replay;
  }
};

} // namespace

std::vector<Job> job_stream(StreamOptions const& options, std::uint64_t seed)
{
  require(options.jobs >= 0, "job stream: jobs must be >= 0, got ", options.jobs);
  require(options.nodes >= 1, "job stream: nodes must be at least 1, got ", options.nodes);
  require(options.load > 0 && std::isfinite(options.load), "job stream: load must be > 0, got ",
          shortest(options.load));
  require(options.median_run_time > 0 && std::isfinite(options.median_run_time),
          "job stream: median_run_time must be > 0, got ", shortest(options.median_run_time));
  require(options.run_time_sd >= 0 && options.run_time_sd < 10 && options.prediction_sd >= 0 &&
              options.prediction_sd < 10,
          "job stream: deviations must be in [0, 10), got ", shortest(options.run_time_sd), " and ",
          shortest(options.prediction_sd));
  std::vector<Job> jobs;
  int const sizes = std::bit_width(static_cast<unsigned>(options.nodes)); // 1, 2, 4, ...
  double work = 0, steps = 0;
  std::vector<double> gaps;
  for (std::int64_t i = 0; i < options.jobs; ++i) {
    Draws draws(seed, i);
    Job job;
    // The square makes small jobs frequent.
    double const size = draws.uniform();
    job.nodes = 1 << static_cast<int>(size * size * sizes);
    job.run_time = options.median_run_time * std::exp(options.run_time_sd * draws.normal());
    job.predicted = job.run_time * std::exp(options.prediction_sd * draws.normal());
    gaps.push_back(draws.exponential());
    steps += gaps.back();
    work += job.nodes * job.run_time;
    jobs.push_back(job);
  }
  // The mean gap that asks for the load.
  double const gap = steps > 0 ? work / (options.load * options.nodes * steps) : 0;
  double now = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    now += gap * gaps[i];
    jobs[i].arrival = now;
  }
  return jobs;
}

std::vector<double> padded_requests(std::span<Job const> jobs, double padding)
{
  require(padding >= 1 && std::isfinite(padding), "requests: padding must be at least 1, got ", shortest(padding));
  std::vector<double> requests;
  for (auto const& job : jobs)
    requests.push_back(padding * job.run_time);
  return requests;
}

std::vector<double> oracle_requests(std::span<Job const> jobs)
{
  return padded_requests(jobs, 1);
}

std::vector<double> suggested_requests(std::span<Job const> jobs, std::span<Job const> calibration, double risk)
{
  require(risk > 0 && risk < 1, "requests: risk must be in (0, 1), got ", shortest(risk));
  std::vector<double> scores;
  for (auto const& job : calibration)
    scores.push_back(std::log(job.run_time / job.predicted));
  double const limit = impl::one_sided_limit(std::move(scores), risk);
  require(std::isfinite(limit), "requests: a risk of ", shortest(risk), " needs ", std::ceil(1 / risk - 1 - 1e-9),
          " jobs to calibrate on, got ", calibration.size());
  std::vector<double> requests;
  for (auto const& job : jobs)
    requests.push_back(job.predicted * std::exp(limit));
  return requests;
}

Replay replay_easy(std::span<Job const> jobs, std::span<double const> requests, int nodes)
{
  require(nodes >= 1, "replay: nodes must be at least 1, got ", nodes);
  require(requests.size() == jobs.size(), "replay: ", jobs.size(), " jobs, but ", requests.size(), " requests");
  double over_ask = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    auto const& job = jobs[i];
    require(job.nodes >= 1 && job.nodes <= nodes, "replay: job ", i, ": nodes must be in [1, ", nodes, "], got ",
            job.nodes);
    require(job.run_time > 0 && std::isfinite(job.run_time), "replay: job ", i, ": run_time must be > 0, got ",
            shortest(job.run_time));
    require(std::isfinite(job.arrival) && job.arrival >= (i == 0 ? 0 : jobs[i - 1].arrival), "replay: job ", i,
            ": arrivals must be >= 0 and ascend, got ", shortest(job.arrival));
    require(requests[i] > 0 && std::isfinite(requests[i]), "replay: job ", i, ": the request must be > 0, got ",
            shortest(requests[i]));
    over_ask += requests[i] / job.run_time / static_cast<double>(jobs.size());
  }
  auto replay = Queue(jobs, requests, nodes).run();
  replay.summary.over_ask = over_ask;
  return replay;
}

} // namespace nasturtium::estimator
