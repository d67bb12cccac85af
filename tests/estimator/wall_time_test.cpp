// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/temporary.hpp"

#include <nasturtium/estimator/backfill.hpp>
#include <nasturtium/estimator/wall_time.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

TEST_CASE("a wall time is start-up and steps at their limits", "[wall-time]")
{
  // 99 networks, the k-th measured exp(0.01 k) above its estimate; start-ups of 1 to 99 s.
  std::vector<double> predicted(99, 2.0), measured, startups;
  for (int k = 1; k <= 99; ++k) {
    measured.push_back(2.0 * std::exp(0.01 * k));
    startups.push_back(k);
  }
  WallTimeModel const model(predicted, measured, startups);
  auto const one_percent = model.suggest(0.5, {1000, 2000}, 0.01); // rank 99 of 99
  CHECK(one_percent.finite());
  CHECK(one_percent.needed == 99);
  CHECK(one_percent.startup == 99);
  CHECK_THAT(one_percent.step_limit, WithinRel(0.5 * std::exp(0.99), 1e-12));
  CHECK_THAT(one_percent.limit, WithinRel(99 + 2000 * 0.5 * std::exp(0.99), 1e-12));
  CHECK_THAT(one_percent.expected, WithinRel(50 + 1000 * 0.5, 1e-12));
  auto const ten_percent = model.suggest(0.5, {1000, 1000}, 0.1); // rank 90
  CHECK(ten_percent.startup == 90);
  CHECK_THAT(ten_percent.limit, WithinRel(90 + 500 * std::exp(0.9), 1e-12));
  // The relative error does not shrink with the steps.
  double const hundredfold = model.suggest(0.5, {100000, 100000}, 0.1).limit - 90;
  CHECK_THAT(hundredfold, WithinRel(100 * (ten_percent.limit - 90), 1e-12));
}

TEST_CASE("too few rows for a risk give no limit, and say how many it takes", "[wall-time]")
{
  std::vector<double> const times(98, 1.0);
  WallTimeModel const model(times, times, std::vector<double>(98, 3.0));
  auto const result = model.suggest(1, {10, 10}, 0.01);
  CHECK_FALSE(result.finite());
  CHECK(result.rows == 98);
  CHECK(result.needed == 99);
  CHECK(std::isinf(result.limit));
  CHECK(model.suggest(1, {10, 10}, 0.1).limit == 13);
  CHECK(WallTimeModel(times, times, {}).suggest(1, {0, 0}, 0.5).limit == 0);
}

TEST_CASE("bad wall times are refused", "[wall-time]")
{
  std::vector<double> const good(9, 1.0);
  CHECK_THROWS_AS(WallTimeModel(good, std::vector<double>(8, 1.0), {}), Error);
  CHECK_THROWS_AS(WallTimeModel(std::vector<double>{0.0}, std::vector<double>{1.0}, {}), Error);
  CHECK_THROWS_AS(WallTimeModel(good, good, {-1.0}), Error);
  WallTimeModel const model(good, good, {});
  CHECK_THROWS_AS(model.suggest(1, {5, 4}, 0.1), Error);
  CHECK_THROWS_AS(model.suggest(1, {5, 5}, 0), Error);
  CHECK_THROWS_AS(model.suggest(1, {5, 5}, 1), Error);
  CHECK_THROWS_AS(model.suggest(std::nan(""), {5, 5}, 0.1), Error);
}

TEST_CASE("what is asked of Slurm", "[wall-time]")
{
  CHECK(slurm_time(0) == "00:00:00");
  CHECK(slurm_time(59.01) == "00:01:00");
  CHECK(slurm_time(3599) == "00:59:59");
  CHECK(slurm_time(360000) == "100:00:00");
  CHECK(slurm_lines(3661.2, 1048577) == "#SBATCH --time=01:01:02\n#SBATCH --mem=2M\n");
  CHECK_THROWS_AS(slurm_lines(0, 1), Error);
  CHECK_THROWS_AS(slurm_lines(std::numeric_limits<double>::infinity(), 1), Error);
  CHECK_THROWS_AS(slurm_lines(1, 0), Error);
}

TEST_CASE("EASY: small queues by hand", "[backfill]")
{
  // Machine of 4. A takes all for 10 s. B (4 nodes) waits for it. C (2 nodes, 5 s) cannot pass A, which has all nodes.
  std::vector<Job> jobs{{0, 4, 10, 10}, {1, 4, 10, 10}, {2, 2, 5, 5}};
  auto replay = replay_easy(jobs, oracle_requests(jobs), 4);
  CHECK(replay.jobs[1].start == 10);
  CHECK(replay.jobs[2].start == 20);
  CHECK(replay.summary.makespan == 25);
  CHECK_THAT(replay.summary.mean_wait, WithinRel((0 + 9 + 18) / 3.0, 1e-12));
  CHECK_THAT(replay.summary.utilisation, WithinRel(90.0 / 100, 1e-12));
  CHECK_THAT(replay.summary.mean_bounded_slowdown, WithinRel((1 + 1.9 + 2.3) / 3, 1e-12));

  // A takes 2 of 4 nodes: C fits in the hole before B if it asks for no more than A has left.
  jobs[0].nodes = 2;
  jobs[2].run_time = 8;
  replay = replay_easy(jobs, oracle_requests(jobs), 4);
  CHECK(replay.jobs[2].start == 2);
  CHECK(replay.jobs[1].start == 10);
  jobs[2].run_time = 8.5;
  replay = replay_easy(jobs, oracle_requests(jobs), 4);
  CHECK(replay.jobs[2].start == 20);
  // With requests of twice the truth the hole looks twice as long, and B pays no more than it would.
  replay = replay_easy(jobs, padded_requests(jobs), 4);
  CHECK(replay.jobs[2].start == 2);
  CHECK(replay.jobs[1].start == 10.5);
  CHECK(replay.summary.over_ask == 2);

  // B needs 3 nodes: one is spare at its reservation, so a long job of one node passes, the next of one does not.
  jobs = {{0, 2, 10, 10}, {1, 3, 10, 10}, {2, 1, 100, 100}, {3, 1, 100, 100}};
  replay = replay_easy(jobs, oracle_requests(jobs), 4);
  CHECK(replay.jobs[2].start == 2);
  CHECK(replay.jobs[1].start == 10);
  CHECK(replay.jobs[3].start == 20);
}

TEST_CASE("EASY: a job that outlives its request is killed and asks for twice as much", "[backfill]")
{
  std::vector<Job> const jobs{{0, 1, 10, 10}, {1, 1, 4, 4}};
  auto const replay = replay_easy(jobs, std::vector<double>{3, 4}, 1);
  // 0-3 killed, other 3-7, 7-13 killed with 6, 13-23 ends within 12.
  CHECK(replay.jobs[1].start == 3);
  CHECK(replay.jobs[0].attempts == 3);
  CHECK(replay.jobs[0].start == 13);
  CHECK(replay.jobs[0].end == 23);
  CHECK(replay.jobs[0].wait == 4);
  CHECK(replay.summary.kill_rate == 0.5);
  CHECK_THAT(replay.summary.lost, WithinRel(9.0 / 23, 1e-12));
  CHECK_THAT(replay.summary.utilisation, WithinRel(14.0 / 23, 1e-12));
  CHECK_THAT(replay.summary.over_ask, WithinRel((0.3 + 1) / 2, 1e-12));
}

TEST_CASE("EASY: bad streams are refused", "[backfill]")
{
  std::vector<Job> jobs{{0, 1, 10, 10}, {5, 2, 10, 10}};
  std::vector<double> const requests{10, 10};
  CHECK_THROWS_AS(replay_easy(jobs, requests, 1), Error);
  CHECK_THROWS_AS(replay_easy(jobs, std::vector<double>{10}, 2), Error);
  CHECK_THROWS_AS(replay_easy(jobs, std::vector<double>{10, 0}, 2), Error);
  jobs[1].arrival = -1;
  CHECK_THROWS_AS(replay_easy(jobs, requests, 2), Error);
  CHECK(replay_easy({}, {}, 2).summary.makespan == 0);
  CHECK_THROWS_AS(suggested_requests(jobs, std::vector<Job>(98), 0.01), Error);
  CHECK_THROWS_AS(padded_requests(jobs, 0.5), Error);
  StreamOptions options;
  options.load = 0;
  CHECK_THROWS_AS(job_stream(options, 1), Error);
}

TEST_CASE("EASY: whatever the stream, nodes are never shared and nobody is forgotten", "[backfill]")
{
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    StreamOptions options;
    options.jobs = 150;
    options.nodes = 7 + static_cast<int>(seed);
    options.load = 0.5 + 0.1 * static_cast<double>(seed);
    auto const jobs = job_stream(options, seed);
    auto const replay =
        replay_easy(jobs, seed % 2 == 0 ? oracle_requests(jobs) : padded_requests(jobs, 3), options.nodes);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      REQUIRE(replay.jobs[i].start >= jobs[i].arrival);
      REQUIRE_THAT(replay.jobs[i].end - replay.jobs[i].start, WithinRel(jobs[i].run_time, 1e-6));
      REQUIRE_THAT(replay.jobs[i].wait, WithinAbs(replay.jobs[i].start - jobs[i].arrival, 1e-6));
      int taken = 0;
      for (std::size_t k = 0; k < jobs.size(); ++k)
        if (replay.jobs[k].start <= replay.jobs[i].start && replay.jobs[i].start < replay.jobs[k].end)
          taken += jobs[k].nodes;
      REQUIRE(taken <= options.nodes);
    }
    REQUIRE(replay.summary.kill_rate == 0);
  }
}

TEST_CASE("suggestions at a risk of 1 % kill few and ask for less than twice", "[backfill]")
{
  StreamOptions options;
  options.jobs = 2000;
  auto const jobs = job_stream(options, 3), calibration = job_stream(options, 4);
  CHECK(job_stream(options, 3).back().arrival == jobs.back().arrival);
  auto const suggested = replay_easy(jobs, suggested_requests(jobs, calibration, 0.01), options.nodes).summary;
  auto const padded = replay_easy(jobs, padded_requests(jobs), options.nodes).summary;
  auto const oracle = replay_easy(jobs, oracle_requests(jobs), options.nodes).summary;
  INFO("wait " << suggested.mean_wait << ' ' << padded.mean_wait << ' ' << oracle.mean_wait << ", slowdown "
               << suggested.mean_bounded_slowdown << ' ' << padded.mean_bounded_slowdown << ' '
               << oracle.mean_bounded_slowdown << ", kills " << suggested.kill_rate << ", over-ask "
               << suggested.over_ask << ", utilisation " << suggested.utilisation << ' ' << padded.utilisation << ' '
               << oracle.utilisation);
  CHECK(suggested.kill_rate <= 0.015);
  CHECK(suggested.kill_rate > 0);
  CHECK(suggested.over_ask < padded.over_ask);
  CHECK_THAT(oracle.over_ask, WithinRel(1, 1e-9));
  CHECK(oracle.kill_rate == 0);
  // The stream asks for 80 % of the machine until the last arrival.
  double work = 0;
  for (auto const& job : jobs)
    work += job.nodes * job.run_time;
  CHECK_THAT(work / (options.nodes * jobs.back().arrival), WithinRel(0.8, 1e-9));
}
