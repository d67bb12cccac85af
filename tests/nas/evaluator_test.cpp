// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/datasets/synthetic.hpp>
#include <nasturtium/nas/evaluator.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <stdexcept>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

datasets::Dataset small_data()
{
  datasets::SyntheticOptions options;
  options.count = 120;
  options.test = 0;
  options.height = options.width = 8;
  options.classes = 3;
  auto data = datasets::make_synthetic(options);
  datasets::split_validation(data, 0.25, 1);
  return data;
}

std::vector<Job> jobs_of(int count, int epochs)
{
  auto const space = make_space("lenet11", {{8, 8, 1}, 3});
  std::vector<Job> jobs;
  for (int id = 0; id < count; ++id) {
    Random random(8, static_cast<std::uint32_t>(id));
    Job job{id, space->decode(space->sample(random)), {}, nullptr};
    job.options.epochs = epochs;
    job.options.batch_size = 32;
    job.options.optimiser.learning_rate = 0.01;
    job.options.seed = static_cast<std::uint64_t>(id);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

using Policy = nn::PopulationPolicy;

/// One thread; interleaved or fused: as on a GPU.
nn::TrainerOptions one_thread(Policy policy = Policy::one_after_another)
{
  return {.threads = 1, .policy = policy};
}

/// Numbers of workers, each with threads of their own (or, of one, without), interleaved and fused.
std::vector<std::pair<int, Policy>> ways(std::vector<int> const& workers)
{
  std::vector<std::pair<int, Policy>> pairs;
  for (auto const policy : {Policy::one_after_another, Policy::interleaved, Policy::fused}) {
    for (int const count : workers)
      pairs.emplace_back(count, policy);
  }
  return pairs;
}

nn::Decision proceed(int, nn::EpochReport const&)
{
  return nn::Decision::proceed;
}

std::map<int, nn::TrainResult> drain(Evaluator& evaluator)
{
  std::map<int, nn::TrainResult> results;
  while (auto result = evaluator.wait())
    REQUIRE(results.emplace(result->id, std::move(result->training)).second);
  return results;
}

} // namespace

TEST_CASE("evaluator: every job once, with the same bits whatever the number of workers")
{
  auto const data = small_data();
  std::map<int, nn::TrainResult> reference;
  for (auto const& [workers, policy] : ways({1, 2, 5})) {
    INFO(workers << " workers, policy " << static_cast<int>(policy));
    auto const owner = std::this_thread::get_id();
    std::map<int, std::vector<double>> heard;
    auto const evaluator =
        make_local_evaluator(one_thread(policy), data, workers, [&](int id, nn::EpochReport const& report) {
          CHECK(std::this_thread::get_id() == owner);
          heard[id].push_back(report.epoch);
          return nn::Decision::proceed;
        });
    CHECK(evaluator->capacity() == workers);
    CHECK_FALSE(evaluator->wait());
    auto jobs = jobs_of(7, 2);
    std::vector<Job> later(jobs.begin() + 5, jobs.end());
    jobs.resize(5);
    evaluator->submit(std::move(jobs));
    auto first = evaluator->wait();
    REQUIRE(first);
    evaluator->submit(std::move(later)); // while others are at work
    auto results = drain(*evaluator);
    results.emplace(first->id, std::move(first->training));
    REQUIRE(results.size() == 7);
    for (auto const& [id, result] : results) {
      CHECK(result.status == nn::Status::completed);
      CHECK(heard[id] == std::vector<double>{1, 2});
      if (!reference.empty()) {
        REQUIRE(result.weights);
        for (auto const& [key, tensor] : *result.weights)
          CHECK(tensor.values == reference.at(id).weights->at(key).values);
      }
    }
    if (reference.empty()) reference = std::move(results);
  }
}

TEST_CASE("evaluator: a job that is told to stop stops, and nobody else")
{
  auto const data = small_data();
  for (auto const& [workers, policy] : ways({1, 3})) {
    INFO(workers << " workers, policy " << static_cast<int>(policy));
    auto const evaluator =
        make_local_evaluator(one_thread(policy), data, workers, [](int id, nn::EpochReport const& report) {
          return id == 2 && report.epoch >= 2 ? nn::Decision::stop : nn::Decision::proceed;
        });
    evaluator->submit(jobs_of(4, 3));
    for (auto const& [id, result] : drain(*evaluator)) {
      CHECK(result.status == (id == 2 ? nn::Status::stopped : nn::Status::completed));
      CHECK(result.reports.size() == (id == 2 ? 2 : 3));
    }
  }
}

TEST_CASE("evaluator: a job may start from weights")
{
  auto const data = small_data();
  auto const evaluator = make_local_evaluator(one_thread(), data, 2, proceed);
  evaluator->submit(jobs_of(1, 1));
  auto const first = evaluator->wait();
  REQUIRE(first);
  auto jobs = jobs_of(1, 1);
  jobs[0].initial_weights = first->training.weights;
  jobs[0].options.optimiser.learning_rate = 1e-12; // stays where it is
  evaluator->submit(std::move(jobs));
  auto const second = evaluator->wait();
  REQUIRE(second);
  for (auto const& [key, tensor] : *second->training.weights)
    CHECK(tensor.values == first->training.weights->at(key).values);
}

TEST_CASE("evaluator: what cannot be trained is a result")
{
  auto const data = small_data();
  for (auto const& [workers, policy] : ways({1, 2})) {
    INFO(workers << " workers, policy " << static_cast<int>(policy));
    auto const evaluator = make_local_evaluator(one_thread(policy), data, workers, proceed);
    auto jobs = jobs_of(3, 1);
    jobs[1].architecture.input.height = 9; // not the data's
    jobs[2].options.optimiser.learning_rate = 1e30;
    jobs[2].options.epochs = 5;
    evaluator->submit(std::move(jobs));
    auto const results = drain(*evaluator);
    REQUIRE(results.size() == 3);
    CHECK(results.at(0).status == nn::Status::completed);
    CHECK(results.at(1).status == nn::Status::invalid);
    CHECK(results.at(2).status == nn::Status::diverged);
  }
}

TEST_CASE("evaluator: an error of the listener comes out of wait, and nothing hangs")
{
  auto const data = small_data();
  for (auto const& [workers, policy] : ways({1, 2, 4})) {
    INFO(workers << " workers, policy " << static_cast<int>(policy));
    auto const evaluator = make_local_evaluator(one_thread(policy), data, workers, [](int id, nn::EpochReport const&) {
      if (id == 1) throw std::runtime_error("full disk");
      return nn::Decision::proceed;
    });
    evaluator->submit(jobs_of(6, 3));
    CHECK_THROWS_AS(drain(*evaluator), std::runtime_error);
    if (workers > 1 || policy != Policy::one_after_another) CHECK_THROWS_AS(evaluator->wait(), std::runtime_error);
  }
}

TEST_CASE("evaluator: an interrupt ends what is open, and an evaluator may be dropped at work")
{
  auto const data = small_data();
  for (auto const& [workers, policy] : ways({1, 3})) {
    INFO(workers << " workers, policy " << static_cast<int>(policy));
    std::atomic<bool> stop = false;
    auto const evaluator = make_local_evaluator(
        one_thread(), data, workers,
        [&](int, nn::EpochReport const&) {
          stop = true;
          return nn::Decision::proceed;
        },
        [&] { return stop.load(); });
    evaluator->submit(jobs_of(5, 1000));
    auto const results = drain(*evaluator);
    CHECK(results.size() == 5);
    for (auto const& [id, result] : results)
      CHECK(result.status == nn::Status::interrupted);
    auto const dropped = make_local_evaluator(one_thread(policy), data, workers, proceed);
    dropped->submit(jobs_of(5, 1000));
  }
  CHECK_THROWS_AS(make_local_evaluator(one_thread(), data, 0, proceed), Error);
}
