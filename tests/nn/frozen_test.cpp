// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Trainings with frozen layers, and their checkpoints.
#include "support/small_data.hpp"

#include "support/temporary.hpp"

#include <nasturtium/nn/checkpoint.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::test;

namespace {

datasets::Dataset const& data()
{
  static auto const dataset = patch_dataset({8, 8, 1}, 4, 90, 30);
  return dataset;
}

Candidate candidate(std::vector<std::string> frozen = {"c1", "b1", "b2"})
{
  Candidate it;
  it.architecture = small_network();
  it.options.epochs = 2;
  it.options.batch_size = 16;
  it.options.optimiser.learning_rate = 0.01;
  it.options.optimiser.weight_decay = 0.05;
  it.options.optimiser.clip_norm = 1;
  it.frozen = std::move(frozen);
  return it;
}

/// The weights that a training of a candidate starts with.
Weights start_of(Candidate it)
{
  return *train_one(it, data(), {}, [] { return true; }).weights;
}

} // namespace

TEST_CASE("frozen: tensors stay bit for bit, the others move, for every optimiser, precision and policy", "[frozen]")
{
  for (auto const kind : {OptimiserKind::sgd, OptimiserKind::adam, OptimiserKind::adamw, OptimiserKind::rmsprop}) {
    for (auto const precision : {Precision::float32, Precision::float64}) {
      auto it = candidate();
      it.options.optimiser.kind = kind;
      it.options.precision = precision;
      // Statistics that no batch has: of a trained network.
      auto donor = it;
      donor.frozen.clear();
      it.initial_weights = train_one(donor, data()).weights;
      std::vector<Candidate> const population{it, it, donor};
      TrainerOptions options;
      std::vector<TrainResult> results;
      for (auto const policy : {PopulationPolicy::one_after_another, PopulationPolicy::one_per_core}) {
        options.policy = policy;
        for (auto& result : train(options, population, data()))
          results.push_back(std::move(result));
      }
      for (auto const& result : results)
        REQUIRE(result.status == Status::completed);
      for (int const other : {1, 3, 4})
        CHECK(same_bits(results[0], results[other]));
      CHECK(same_bits(results[2], results[5]));
      CHECK_FALSE(same_bits(results[0], results[2]));
      for (auto const& [key, tensor] : *results[0].weights) {
        INFO(key.first << "/" << key.second);
        bool const frozen = std::find(it.frozen.begin(), it.frozen.end(), key.first) != it.frozen.end();
        CHECK((tensor.values == it.initial_weights->at(key).values) == frozen);
      }
    }
  }
}

TEST_CASE("frozen: without initial weights the layers keep those of the seed", "[frozen]")
{
  auto const it = candidate({"f1", "c2"});
  auto const start = start_of(it);
  auto free = it;
  free.frozen.clear();
  CHECK(same_bits(start, start_of(free)));
  auto const result = train_one(it, data());
  REQUIRE(result.status == Status::completed);
  for (auto const& [key, tensor] : *result.weights)
    CHECK((tensor.values == start.at(key).values) == (key.first == "f1" || key.first == "c2"));
}

TEST_CASE("frozen: a head alone learns on the features of a trained network", "[frozen]")
{
  auto it = candidate({});
  it.options.epochs = 6;
  auto const donor = train_one(it, data());
  auto features = *donor.weights;
  features.erase({"f2", "kernel"});
  features.erase({"f2", "bias"});
  it.initial_weights = std::make_shared<Weights const>(features);
  it.options.seed = 9;
  it.options.epochs = 12;
  it.frozen = {"c1", "b1", "c2", "b2", "f1"};
  auto const result = train_one(it, data());
  REQUIRE(result.status == Status::completed);
  CHECK(result.reports.back().validation_accuracy > 0.8); // chance is 0.25
  for (auto const& [key, tensor] : features)
    CHECK(result.weights->at(key).values == tensor.values);
}

TEST_CASE("frozen: wrong lists make the candidate invalid", "[frozen]")
{
  auto const reason = [](std::vector<std::string> const& frozen) {
    auto const result = train_one(candidate(frozen), data());
    CHECK(result.status == Status::invalid);
    return result.reason;
  };
  CHECK(reason({"c1", "c9"}) == "frozen: node 'c9' is not in the architecture");
  CHECK(reason({"p2"}) == "frozen: node 'p2' (max_pool2d) owns no weights");
  CHECK(reason({"c1", "b1", "c2", "b2", "f1", "f2"}) == "frozen: all weights are frozen, nothing is left to train");
}

TEST_CASE("frozen: resumed equals uninterrupted; another list is refused", "[frozen]")
{
  TemporaryFolder const folder;
  auto const path = folder / "state.h5";
  for (auto const kind : {OptimiserKind::sgd, OptimiserKind::adam}) {
    auto it = candidate();
    it.options.optimiser.kind = kind;
    auto const whole = train_one(it, data());
    int polls = 0;
    auto const part = train_one(it, data(), {}, [&] { return polls++ == 7; });
    REQUIRE(part.status == Status::interrupted);
    save_checkpoint(path, *part.state);
    auto resumed = it;
    resumed.resume_from = load_checkpoint(path);
    resumed.frozen = {"b2", "b1", "c1", "b1"}; // the same set
    CHECK(same_bits(whole, train_one(resumed, data())));
    for (std::vector<std::string> const& other : {std::vector<std::string>{}, {"c1", "b1"}, {"c1", "b1", "b2", "f1"}}) {
      resumed.frozen = other;
      auto const result = train_one(resumed, data());
      CHECK(result.status == Status::invalid);
      CHECK(result.reason.find(R"(resume_from: option 'frozen' was ["b1","b2","c1"], but now is )") == 0);
    }
  }
}
