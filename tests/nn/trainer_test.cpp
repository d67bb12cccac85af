// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/small_data.hpp"

#include "support/temporary.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/checkpoint.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <set>
#include <sys/resource.h>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::test;

namespace {

datasets::Dataset const& data()
{
  static auto const dataset = patch_dataset({8, 8, 1}, 4, 150, 50);
  return dataset;
}

Candidate candidate(int epochs = 3)
{
  Candidate it;
  it.architecture = small_network();
  it.options.epochs = epochs;
  it.options.batch_size = 32;
  it.options.optimiser.learning_rate = 0.02;
  it.options.seed = 4;
  it.options.top_k = 2;
  return it;
}

class Recorder : public Listener
{
public:
  std::vector<EpochReport> reports;
  std::vector<double> losses;
  std::vector<std::int64_t> steps;
  std::vector<std::shared_ptr<TrainState const>> states;
  std::function<Decision(EpochReport const&)> decide;

  Decision on_report(EpochReport const& report) override
  {
    reports.push_back(report);
    return decide ? decide(report) : Decision::proceed;
  }
  void on_step(int, std::int64_t step, double loss) override
  {
    steps.push_back(step);
    losses.push_back(loss);
  }
  void on_state(int, std::shared_ptr<TrainState const> const& state) override { states.push_back(state); }
};

} // namespace

TEST_CASE("trainer: a network learns, and reports what it does")
{
  auto it = candidate(8);
  Recorder recorder;
  it.listeners = {&recorder};
  it.log_steps = true;
  auto const result = train_one(it, data());
  REQUIRE(result.status == Status::completed);
  CHECK(result.reason.empty());
  REQUIRE(result.reports.size() == 8);
  REQUIRE(recorder.reports.size() == 8);
  CHECK(result.reports.back().train_loss < 0.5 * result.reports.front().train_loss);
  CHECK(result.reports.back().validation_accuracy > 0.8); // chance is 0.25
  // 150 samples in batches of 32: 5 steps an epoch, the last with 22.
  CHECK(result.reports.back().step == 40);
  CHECK(result.reports.back().epoch == 8);
  REQUIRE(recorder.losses.size() == 40);
  for (int i = 0; i < 40; ++i)
    CHECK(recorder.steps[i] == i + 1);
  // The epoch's loss is the mean over samples of the steps' losses; sums in double.
  double sum = 0;
  for (int i = 0; i < 5; ++i)
    sum += recorder.losses[i] * (i < 4 ? 32 : 22);
  CHECK(std::abs(sum / 150 - result.reports[0].train_loss) < 1e-12);
  for (auto const& report : result.reports) {
    CHECK(report.train_top_k >= report.train_accuracy);
    CHECK(report.validation_top_k >= report.validation_accuracy);
    CHECK(report.learning_rate == 0.02);
    CHECK(report.seconds > 0);
  }
}

TEST_CASE("trainer: all optimisers lower the loss in both precisions")
{
  for (auto const kind : {OptimiserKind::sgd, OptimiserKind::adam, OptimiserKind::adamw, OptimiserKind::rmsprop}) {
    for (auto const precision : {Precision::float32, Precision::float64}) {
      auto it = candidate(4);
      it.options.optimiser.kind = kind;
      if (kind != OptimiserKind::sgd) it.options.optimiser.learning_rate = 0.003;
      it.options.optimiser.weight_decay = 1e-4;
      it.options.optimiser.clip_norm = 5;
      it.options.label_smoothing = 0.05;
      it.options.precision = precision;
      auto const result = train_one(it, data());
      REQUIRE(result.status == Status::completed);
      INFO("optimiser " << static_cast<int>(kind));
      CHECK(result.reports.back().train_loss < result.reports.front().train_loss);
    }
  }
}

TEST_CASE("trainer: the same seed gives the same bits, another seed others")
{
  auto it = candidate();
  it.options.augment = {2, true, 2};
  auto const a = train_one(it, data()), b = train_one(it, data());
  CHECK(same_bits(a, b));
  it.options.seed = 5;
  CHECK_FALSE(same_bits(a, train_one(it, data())));
}

TEST_CASE("trainer: every sample is trained on once an epoch, in another order each epoch")
{
  // With a learning rate near 0 the epoch's accuracy is that of the initial network, whatever the order.
  auto it = candidate(2);
  it.architecture = spec::parse_architecture(R"({"format": "nasturtium-architecture", "version": 1,
    "input": {"height": 8, "width": 8, "channels": 1}, "nodes": [{"id": "f", "op": "dense", "units": 4, "inputs": ["input"]}],
    "output": {"classes": 4}})",
                                             "test");
  it.options.optimiser.learning_rate = 1e-30;
  it.options.precision = Precision::float64;
  Recorder recorder;
  it.listeners = {&recorder};
  it.log_steps = true;
  auto const result = train_one(it, data());
  CHECK(std::abs(result.reports[0].train_loss - result.reports[1].train_loss) < 1e-12);
  CHECK(recorder.losses[0] != recorder.losses[5]);
  auto const evaluation =
      evaluate({}, it.architecture, *result.weights, data(), data().train, 32, 2, nullptr, Precision::float64);
  CHECK(std::abs(evaluation.loss - result.reports[0].train_loss) < 1e-12);
  CHECK(evaluation.accuracy == result.reports[0].train_accuracy);
  // In order, every epoch has the same batches.
  it.options.order = Order::sequential;
  recorder.losses.clear();
  train_one(it, data());
  CHECK(recorder.losses[0] == recorder.losses[5]);
}

TEST_CASE("trainer: half epochs, fractions and step limits")
{
  auto it = candidate(2);
  it.options.validations_per_epoch = 2;
  auto result = train_one(it, data());
  REQUIRE(result.reports.size() == 4);
  CHECK(result.reports[0].epoch == 0.5);
  CHECK(result.reports[0].step == 3);
  CHECK(result.reports[1].epoch == 1);
  CHECK(result.reports[2].epoch == 1.5);
  it.options.max_steps = 7;
  result = train_one(it, data());
  CHECK(result.status == Status::completed);
  CHECK(result.reports.back().step == 7);
  CHECK(result.reports.back().epoch == 1.4);
  CHECK(steps_of(*result.state) == 7);
  // A schedule ends where the training does: at a twentieth of the peak after 7 steps, not after the 10 of two epochs.
  it.options.schedule.kind = ScheduleKind::one_cycle;
  it.options.schedule.final_fraction = 0.05;
  result = train_one(it, data());
  CHECK(std::abs(result.reports.back().learning_rate - 0.05 * it.options.optimiser.learning_rate) < 1e-12);
}

TEST_CASE("trainer: batches of one, of more than there is, and a rest of one")
{
  for (int const batch : {1, 7, 149, 150, 151, 1000}) {
    auto it = candidate(1);
    it.options.batch_size = batch;
    it.options.optimiser.learning_rate = 0.001;
    auto const result = train_one(it, data());
    INFO("batch " << batch);
    CHECK(result.status == Status::completed);
    CHECK(result.reports.at(0).step == (150 + batch - 1) / batch);
    CHECK(std::isfinite(result.reports[0].validation_loss));
  }
  auto const one = patch_dataset({8, 8, 1}, 4, 1, 0);
  auto const result = train_one(candidate(2), one);
  CHECK(result.status == Status::completed);
  CHECK(std::isnan(result.reports.at(0).validation_loss));
}

TEST_CASE("trainer: regression")
{
  auto dataset = patch_dataset({8, 8, 1}, 4, 150, 50);
  dataset.classes = 0;
  dataset.target_width = 2;
  for (auto* samples : {&dataset.train, &dataset.validation}) {
    for (auto const label : samples->labels) {
      samples->targets.push_back(static_cast<float>(label));
      samples->targets.push_back(static_cast<float>(-label) / 2);
    }
    samples->labels.clear();
  }
  auto it = candidate(15);
  it.architecture.nodes.back().op = spec::Dense{2, true};
  it.architecture.classes = 0;
  it.architecture.regression = 2;
  it.options.optimiser.kind = OptimiserKind::adam;
  it.options.optimiser.learning_rate = 0.01;
  auto const result = train_one(it, dataset);
  REQUIRE(result.status == Status::completed);
  CHECK(result.reports.back().train_loss < 0.3 * result.reports.front().train_loss);
  CHECK(std::isnan(result.reports.back().train_accuracy));
}

TEST_CASE("trainer: listeners stop and pause; stop wins")
{
  auto it = candidate(5);
  Recorder stopper, pauser;
  stopper.decide = [](EpochReport const& report) { return report.epoch >= 2 ? Decision::stop : Decision::proceed; };
  pauser.decide = [](EpochReport const& report) { return report.epoch >= 2 ? Decision::pause : Decision::proceed; };
  it.listeners = {&pauser};
  auto const paused = train_one(it, data());
  CHECK(paused.status == Status::paused);
  CHECK(paused.reports.size() == 2);
  it.listeners = {&pauser, &stopper};
  CHECK(train_one(it, data()).status == Status::stopped);
  // What a listener throws ends the call.
  stopper.decide = [](EpochReport const&) -> Decision { fail("disk full"); };
  CHECK_THROWS_AS(train_one(it, data()), Error);
  CHECK_THROWS_AS(train_one(it, data(), {.policy = PopulationPolicy::one_per_core}), Error);
}

TEST_CASE("trainer: early stopping")
{
  auto it = candidate(50);
  it.options.optimiser.learning_rate = 1e-12; // the loss stands still
  it.options.early_stopping_patience = 3;
  auto const result = train_one(it, data());
  CHECK(result.status == Status::early_stopped);
  CHECK(result.reports.size() < 50);
  // Patience that ends with the last epoch stopped nothing.
  it.options.epochs = static_cast<int>(result.reports.size());
  CHECK(train_one(it, data()).status == Status::completed);
  auto const nothing = patch_dataset({8, 8, 1}, 4, 50, 0);
  CHECK(train_one(it, nothing).status == Status::invalid);
}

TEST_CASE("trainer: failures are results")
{
  SECTION("divergence")
  {
    auto it = candidate();
    it.options.optimiser.learning_rate = 1e30;
    auto const result = train_one(it, data());
    CHECK(result.status == Status::diverged);
    CHECK(result.reason.find("not finite") != std::string::npos);
    CHECK(result.reports.empty());
  }
  SECTION("memory limit")
  {
    auto it = candidate();
    it.options.memory_limit_bytes = 1000;
    auto const result = train_one(it, data());
    CHECK(result.status == Status::out_of_memory);
    CHECK(result.reason.find("1000") != std::string::npos);
    CHECK_FALSE(result.state);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  SECTION("no memory")
  {
    auto it = candidate();
    it.architecture.nodes[9].op = spec::Dense{1'000'000, true}; // 1.5 GB of weights, gradients and momentum
    rlimit kept{};
    getrlimit(RLIMIT_AS, &kept);
    rlimit const tight{rlim_t{1} << 30, kept.rlim_max};
    setrlimit(RLIMIT_AS, &tight);
    auto const result = train_one(it, data());
    setrlimit(RLIMIT_AS, &kept);
    INFO(result.reason);
    CHECK(result.status == Status::out_of_memory);
  }
#endif
  SECTION("time limit")
  {
    auto it = candidate(1000000);
    it.options.time_limit_seconds = 0.05;
    auto const result = train_one(it, data());
    CHECK(result.status == Status::time_limit);
    CHECK(steps_of(*result.state) > 0);
  }
  SECTION("what does not fit together")
  {
    auto it = candidate();
    it.architecture.nodes.back().op = spec::Dense{5, true};
    auto result = train_one(it, data());
    CHECK(result.status == Status::invalid);
    CHECK(result.reason.find("f2") != std::string::npos);
    it.architecture.classes = 5;
    result = train_one(it, data());
    CHECK(result.status == Status::invalid);
    CHECK(result.reason.find("classes") != std::string::npos);
    it = candidate();
    it.options.batch_size = 0;
    CHECK(train_one(it, data()).status == Status::invalid);
    it = candidate();
    it.initial_weights = std::make_shared<Weights>(Weights{{{"c1", "bias"}, {{3}, {1, 2, 3}}}});
    CHECK(train_one(it, data()).status == Status::invalid);
    auto broken = data();
    broken.train.labels[3] = 4;
    CHECK(train_one(candidate(), broken).status == Status::invalid);
    CHECK(train_one(candidate(), patch_dataset({8, 8, 1}, 4, 0, 0)).status == Status::invalid);
  }
}

TEST_CASE("trainer: an interruption stops everything at a consistent point")
{
  std::vector<Candidate> const population{candidate(1000), candidate(1000)};
  int polls = 0;
  auto const results = train({}, population, data(), [&] { return ++polls > 7; });
  CHECK(results[0].status == Status::interrupted);
  CHECK(steps_of(*results[0].state) == 7);
  CHECK(results[1].status == Status::interrupted);
  CHECK(steps_of(*results[1].state) == 0);
}

TEST_CASE("trainer: misuse throws")
{
  CHECK(error_of([] { parse_backend("hip"); }).find("hip") != std::string::npos);
  CHECK(error_of([] { parse_backend(""); }) != "no error");
  for (auto const backend : available_backends())
    CHECK(parse_backend(name(backend)) == backend);
  for (auto const backend : {BackendKind::serial, BackendKind::openmp, BackendKind::cuda}) {
    auto const available = available_backends();
    if (std::find(available.begin(), available.end(), backend) != available.end()) continue;
    CHECK(error_of([&] { parse_backend(name(backend)); }).find("build") != std::string::npos);
    CHECK(error_of([&] { train_one(candidate(), data(), {.backend = backend}); }).find("build") != std::string::npos);
  }
  CHECK(error_of([] { train_one(candidate(), data(), {.threads = -1}); }) != "no error");
  for (auto const backend : available_backends()) { // a GPU has no use for host threads
    if (backend == BackendKind::cuda) continue;
    CHECK(error_of([&] { train_one(candidate(), data(), {.backend = backend, .threads = 100000}); }) != "no error");
  }
}

TEST_CASE("trainer: runtime description names backends and version")
{
  std::set<std::string> keys;
  for (auto const& [key, value] : runtime_description()) {
    keys.insert(key);
    CHECK(value.find('\n') == std::string::npos);
  }
  CHECK(keys.count("backends"));
  CHECK(keys.count("kokkos version"));
}

TEST_CASE("evaluate: metrics and logits of a split")
{
  auto const trained = train_one(candidate(6), data());
  std::vector<float> logits;
  auto const all = evaluate({}, small_network(), *trained.weights, data(), data().validation, 32, 2, &logits);
  CHECK(all.count == 50);
  CHECK(all.loss == trained.reports.back().validation_loss);
  CHECK(all.accuracy == trained.reports.back().validation_accuracy);
  REQUIRE(logits.size() == 200);
  int right = 0;
  for (int i = 0; i < 50; ++i) {
    auto const* const row = logits.data() + 4 * i;
    right += std::max_element(row, row + 4) - row == data().validation.labels[i];
  }
  CHECK(right == std::lround(all.accuracy * 50));
  // Another batch size: the same logits but for the order of summation in float32.
  std::vector<float> again;
  evaluate({}, small_network(), *trained.weights, data(), data().validation, 7, 2, &again);
  REQUIRE(logits.size() == again.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    CHECK(std::abs(logits[i] - again[i]) < 1e-4);
  Weights incomplete = *trained.weights;
  incomplete.erase(incomplete.begin());
  CHECK(error_of([&] { evaluate({}, small_network(), incomplete, data(), data().validation, 7, 2); }) != "no error");
}
