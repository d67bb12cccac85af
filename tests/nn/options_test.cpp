// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "support/temporary.hpp"

#include <nasturtium/nn/options.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <functional>
#include <limits>

using namespace nasturtium;
using namespace nasturtium::nn;
using nasturtium::test::error_of;

TEST_CASE("options read back as they were written")
{
  TrainOptions options;
  options.epochs = 7;
  options.batch_size = 33;
  options.optimiser = {OptimiserKind::rmsprop, 0.1 / 3, 0.85, false, 1e-4, true, 0.8, 0.99, 0.95, 1e-7, 2.5};
  options.schedule = {ScheduleKind::cosine, 1.5, 4, 0.5, 0.01, 0.4, 0.1};
  options.augment = {4, true, 8};
  options.label_smoothing = 0.1;
  options.initialiser = "orthogonal";
  options.seed = std::numeric_limits<std::uint64_t>::max();
  options.order = Order::sequential;
  options.precision = Precision::float64;
  options.top_k = 3;
  options.validations_per_epoch = 2;
  options.early_stopping_patience = 9;
  options.max_steps = 123456789012;
  options.time_limit_seconds = 1.25;
  options.memory_limit_bytes = std::int64_t{1} << 40;
  std::string const text = to_json(options);
  TrainOptions const again = parse_options(text, "options");
  CHECK(to_json(again) == text);
  CHECK(again.optimiser.learning_rate == 0.1 / 3);
  CHECK(again.optimiser.kind == OptimiserKind::rmsprop);
  CHECK(again.optimiser.decoupled);
  CHECK(again.schedule.kind == ScheduleKind::cosine);
  CHECK(again.schedule.warmup_epochs == 1.5);
  CHECK(again.augment.cutout == 8);
  CHECK(again.seed == options.seed);
  CHECK(again.order == Order::sequential);
  CHECK(again.precision == Precision::float64);
  CHECK(again.memory_limit_bytes == options.memory_limit_bytes);
  // Every field is written: nothing of the defaults is left in the text.
  CHECK(to_json(TrainOptions{}) != text);
  CHECK(to_json(parse_options("{}", "empty")) == to_json(TrainOptions{}));
  CHECK(parse_options(R"({"optimiser": {"kind": "adamw"}, "epochs": 3})", "some").optimiser.kind ==
        OptimiserKind::adamw);
}

TEST_CASE("options out of range are named with their value")
{
  CHECK_NOTHROW(check(TrainOptions{}));
  auto const message = [](std::function<void(TrainOptions&)> const& change) {
    TrainOptions options;
    change(options);
    return error_of([&] { check(options); });
  };
  CHECK(message([](auto& o) { o.epochs = 0; }) == "option 'epochs' must be an integer in [1, 1000000], got 0");
  CHECK(message([](auto& o) { o.batch_size = -1; }).find("'batch_size'") != std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.learning_rate = 0; }) ==
        "option 'optimiser.learning_rate' must be > 0, got 0");
  CHECK(message([](auto& o) { o.optimiser.learning_rate = std::nan(""); }).find("got nan") != std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.learning_rate = INFINITY; }).find("got inf") != std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.momentum = 1; }).find("'optimiser.momentum' must be in [0, 1)") !=
        std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.weight_decay = -1e-4; }).find("'optimiser.weight_decay'") !=
        std::string::npos);
  CHECK(message([](auto& o) { o.schedule.step_epochs = 0; }).find("'schedule.step_epochs'") != std::string::npos);
  CHECK(message([](auto& o) { o.schedule.peak_fraction = 1.1; }).find("'schedule.peak_fraction'") != std::string::npos);
  CHECK(message([](auto& o) { o.augment.cutout = -1; }).find("'augment.cutout'") != std::string::npos);
  CHECK(message([](auto& o) { o.label_smoothing = 1; }).find("'label_smoothing'") != std::string::npos);
  CHECK(message([](auto& o) { o.initialiser = "xavier"; }).find("'xavier'") != std::string::npos);
  CHECK(message([](auto& o) { o.validations_per_epoch = 3; }).find("'validations_per_epoch'") != std::string::npos);
  CHECK(message([](auto& o) { o.max_steps = -1; }).find("'max_steps'") != std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.kind = static_cast<OptimiserKind>(9); }).find("'optimiser.kind'") !=
        std::string::npos);
  CHECK(message([](auto& o) { o.optimiser.nesterov = true, o.optimiser.momentum = 0; }).find("nesterov") !=
        std::string::npos);
  CHECK(message([](auto& o) {
          o.optimiser.nesterov = true, o.optimiser.kind = OptimiserKind::adam;
        }).find("sgd alone, got adam") != std::string::npos);
  CHECK(message([](auto& o) {
          o.schedule.kind = ScheduleKind::one_cycle, o.schedule.warmup_epochs = 1;
        }).find("one_cycle") != std::string::npos);

  auto const refused = [](char const* text) { return error_of([&] { parse_options(text, "o.json"); }); };
  CHECK(refused(R"({"epoch": 3})").find("'epoch'") != std::string::npos);
  CHECK(refused(R"({"optimiser": {"lr": 3}})").find("'lr'") != std::string::npos);
  CHECK(refused(R"({"optimiser": {"kind": "sdg"}})").find("sdg") != std::string::npos);
  CHECK(refused(R"({"epochs": 0})").find("o.json") == 0);
  CHECK(refused(R"({"seed": -1})").find("seed") != std::string::npos);
  CHECK(refused(R"({"optimiser": {"nesterov": true, "momentum": 0}})").find("o.json: ") == 0);
  CHECK(refused("[1]").find("o.json") == 0);
}
