// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/compare.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/philox.hpp>
#include <nasturtium/nn/candidate_scores.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nn;

namespace {

std::vector<float> random_columns(std::size_t models, std::size_t samples)
{
  std::vector<float> columns(models * samples);
  for (std::size_t i = 0; i < columns.size(); ++i)
    columns[i] = to_unit_float(random_block(7, Purpose::synthetic, 0, i).word[0]);
  return columns;
}

/// A greedy run of ten steps: the losses of all candidates of all steps.
std::vector<double> all_losses(TrainerOptions const& trainer, std::size_t models, std::size_t samples)
{
  CandidateScores scores(trainer, static_cast<std::int64_t>(samples), random_columns(models, samples));
  std::vector<std::int32_t> candidates(models);
  for (std::size_t i = 0; i < models; ++i)
    candidates[i] = static_cast<std::int32_t>(i);
  std::vector<double> all, losses(models);
  for (int step = 0; step < 10; ++step) {
    scores.losses(candidates, losses);
    all.insert(all.end(), losses.begin(), losses.end());
    scores.add(static_cast<int>(std::min_element(losses.begin(), losses.end()) - losses.begin()));
  }
  return all;
}

} // namespace

TEST_CASE("candidate scores: the losses by their definition", "[selection]")
{
  std::size_t const models = 4, samples = 777;
  auto const columns = random_columns(models, samples);
  CandidateScores scores({}, 777, columns);
  for (int round = 0; round < 2; ++round) { // the second after clear()
    scores.clear();
    scores.add(2, 3);
    scores.add(0);
    std::vector<std::int32_t> const candidates{3, 1};
    std::vector<double> losses(2);
    scores.losses(candidates, losses);
    for (std::size_t j = 0; j < 2; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < samples; ++i) {
        auto const q = [&](std::size_t m) { return static_cast<double>(columns[m * samples + i]); };
        sum -= std::log(std::max((3 * q(2) + q(0) + q(static_cast<std::size_t>(candidates[j]))) / 5, 1e-12));
      }
      CHECK(std::abs(losses[j] - sum / samples) < 1e-13);
    }
  }
}

TEST_CASE("candidate scores: probabilities of 0 cost as much as 1e-12", "[selection]")
{
  CandidateScores scores({}, 40, std::vector<float>(40, 0.0f));
  std::vector<std::int32_t> const candidates{0};
  std::vector<double> losses(1);
  for (int picks = 0; picks < 3; ++picks) {
    scores.losses(candidates, losses);
    CHECK(std::abs(losses[0] + std::log(1e-12)) < 1e-10);
    scores.add(0);
  }
}

TEST_CASE("candidate scores: the same bits on every backend and with every number of threads", "[selection]")
{
  auto const expected = all_losses({}, 37, 3001);
  for (auto const backend : available_backends())
    for (int const threads : {0, 1}) {
      INFO(name(backend) << ", " << threads);
      auto const losses = all_losses({.backend = backend, .threads = threads}, 37, 3001);
      CHECK(testing::first_bit_difference("losses", losses, expected) == "");
    }
}

TEST_CASE("candidate scores: wrong arguments", "[selection]")
{
  using test::error_of;
  std::vector<float> const columns(6, 0.5f);
  auto const make = [](std::int64_t samples, std::vector<float> const& values) {
    return error_of([&] { CandidateScores({}, samples, values); });
  };
  CHECK(make(0, columns) == "candidate scores: there must be samples, got 0");
  CHECK(make(4, columns) == "candidate scores: 6 values are no whole columns of 4 samples");
  CHECK(make(3, {0, 1, 1.5f}) == "candidate scores: probabilities must be in [0, 1], got 1.5");
  CHECK(make(1, {NAN}) == "candidate scores: probabilities must be in [0, 1], got nan");
  CandidateScores scores({}, 3, columns);
  CHECK(error_of([&] { scores.add(2); }) == "candidate scores: 1 copies of model 2 of 2");
  std::vector<std::int32_t> const candidates{0, -1};
  std::vector<double> losses(2);
  CHECK(error_of([&] { scores.losses(candidates, losses); }) == "candidate scores: model -1 of 2");
  CHECK(error_of([&] { scores.losses(candidates, std::span(losses).first(1)); }) ==
        "candidate scores: 2 candidates of 2 models, room for 1 losses");
}
