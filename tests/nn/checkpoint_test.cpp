// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/small_data.hpp"

#include "support/temporary.hpp"

#include <nasturtium/nn/checkpoint.hpp>

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::test;

namespace {

datasets::Dataset const& data()
{
  static auto const dataset = patch_dataset({8, 8, 1}, 4, 90, 30);
  return dataset;
}

/// 90 samples in batches of 16: 6 steps an epoch, the last with 10.
Candidate candidate()
{
  Candidate it;
  it.architecture = small_network();
  it.options.epochs = 4;
  it.options.batch_size = 16;
  it.options.optimiser.learning_rate = 0.01;
  it.options.augment = {1, true, 0};
  it.options.schedule.kind = ScheduleKind::cosine;
  it.options.early_stopping_patience = 3;
  return it;
}

/// The state after exactly so many steps.
std::shared_ptr<TrainState const> interrupt_after(Candidate const& it, int steps)
{
  int polls = 0;
  auto const result = train_one(it, data(), {}, [&] { return polls++ == steps; });
  REQUIRE(result.status == Status::interrupted);
  REQUIRE(steps_of(*result.state) == steps);
  return result.state;
}

} // namespace

TEST_CASE("checkpoint: resumed equals uninterrupted, bit for bit")
{
  TemporaryFolder const folder;
  for (auto const kind : {OptimiserKind::sgd, OptimiserKind::adam, OptimiserKind::adamw, OptimiserKind::rmsprop}) {
    for (auto const precision : {Precision::float32, Precision::float64}) {
      auto it = candidate();
      it.options.optimiser.kind = kind;
      it.options.precision = precision;
      auto const whole = train_one(it, data());
      // At an epoch's end, in its middle, before the short batch, at the start, and twice in one training.
      for (int const steps : {0, 6, 9, 17}) {
        INFO("optimiser " << static_cast<int>(kind) << ", after " << steps << " steps");
        auto const path = folder / "state.h5";
        save_checkpoint(path, *interrupt_after(it, steps));
        auto resumed = it;
        resumed.resume_from = load_checkpoint(path);
        if (steps == 9) resumed.resume_from = interrupt_after(it, 11);
        CHECK(same_bits(whole, train_one(resumed, data())));
      }
    }
  }
}

TEST_CASE("checkpoint: every shared state goes on to the same end")
{
  class Keeper : public Listener
  {
  public:
    std::vector<std::shared_ptr<TrainState const>> states;
    Decision on_report(EpochReport const&) override { return Decision::proceed; }
    void on_state(int, std::shared_ptr<TrainState const> const& state) override { states.push_back(state); }
  } keeper;
  auto it = candidate();
  it.share_state = true;
  it.options.validations_per_epoch = 2;
  it.listeners = {&keeper};
  auto const whole = train_one(it, data());
  REQUIRE(keeper.states.size() == 8);
  it.share_state = false;
  it.listeners.clear();
  for (auto const& state : keeper.states) {
    it.resume_from = state;
    CHECK(same_bits(whole, train_one(it, data())));
  }
}

TEST_CASE("checkpoint: more epochs may follow, other options may not")
{
  auto it = candidate();
  it.options.schedule.kind = ScheduleKind::constant;
  it.options.early_stopping_patience = 0;
  it.options.epochs = 2;
  auto const two = train_one(it, data());
  it.options.epochs = 3;
  auto const three = train_one(it, data());
  it.resume_from = two.state;
  auto const resumed = train_one(it, data());
  CHECK(same_bits(three, resumed));

  auto const message = [&](Candidate const& changed) {
    return error_of([&] {
      check_resumable(*two.state, changed.architecture, changed.options, changed.frozen, "run/checkpoint.h5");
    });
  };
  CHECK(message(it) == "no error");
  auto changed = it;
  changed.options.seed = 77;
  CHECK(message(changed).find("run/checkpoint.h5: option 'seed'") == 0);
  CHECK(message(changed).find("77") != std::string::npos);
  CHECK(train_one(changed, data()).status == Status::invalid);
  changed = it;
  changed.options.optimiser.momentum = 0.5;
  CHECK(message(changed).find("momentum") != std::string::npos);
  changed = it;
  changed.options.precision = Precision::float64;
  CHECK(message(changed).find("precision") != std::string::npos);
  changed = it;
  changed.architecture.nodes[9].op = spec::Dense{17, true};
  CHECK(message(changed).find("architecture") != std::string::npos);
  // Another data set.
  auto other = data();
  other.checksum = "something else";
  auto const result = train_one(it, other);
  CHECK(result.status == Status::invalid);
  CHECK(result.reason.find("data set") != std::string::npos);
}

TEST_CASE("checkpoint: what is written is what is read")
{
  TemporaryFolder const folder;
  auto it = candidate();
  it.options.optimiser.kind = OptimiserKind::adam;
  auto const state = interrupt_after(it, 9);
  save_checkpoint(folder / "a.h5", *state);
  auto const back = load_checkpoint(folder / "a.h5");
  CHECK(architecture_of(*back) == architecture_of(*state));
  CHECK(to_json(options_of(*back)) == to_json(options_of(*state)));
  CHECK(same_bits(weights_of(*back), weights_of(*state)));
  REQUIRE(reports_of(*back).size() == reports_of(*state).size());
  for (std::size_t i = 0; i < reports_of(*back).size(); ++i)
    CHECK(same_bits(reports_of(*back)[i], reports_of(*state)[i]));
  CHECK(steps_of(*back) == 9);
  // A second save of what was read gives the same bytes.
  save_checkpoint(folder / "b.h5", *back);
  auto const bytes = [&](char const* name) {
    std::ifstream file(folder / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  CHECK(bytes("a.h5") == bytes("b.h5"));
}

TEST_CASE("checkpoint: damaged files are one error")
{
  TemporaryFolder const folder;
  auto const path = folder / "good.h5";
  save_checkpoint(path, *interrupt_after(candidate(), 7));
  std::ifstream file(path, std::ios::binary);
  std::string const good(std::istreambuf_iterator<char>(file), {});
  CHECK(error_of([&] { load_checkpoint(folder / "missing.h5"); }).find("missing.h5") != std::string::npos);
  int errors = 0, read = 0;
  for (std::uint64_t trial = 0; trial < 150; ++trial) {
    auto bad = good;
    auto const numbers = random_block(3, Purpose::search, 0, trial);
    if (trial % 3 == 0) {
      bad.resize(to_below(numbers.word[0], static_cast<std::uint32_t>(bad.size())));
    } else {
      bad[to_below(numbers.word[0], static_cast<std::uint32_t>(bad.size()))] ^=
          static_cast<char>(1 + (numbers.word[1] & 0x7f));
    }
    auto const bad_path = folder / "bad.h5";
    std::ofstream(bad_path, std::ios::binary) << bad;
    auto const message = error_of([&] { load_checkpoint(bad_path); });
    // A flipped bit inside a weight is a weight; everything else is told.
    bool const refused = message != "no error";
    (refused ? errors : read) += 1;
    if (refused) CHECK(message.find('\n') == std::string::npos);
  }
  CHECK(errors >= 50); // every truncation at least
}
