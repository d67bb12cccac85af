// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/estimator.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/regression.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;

namespace {

Device const here{"here", 2e11, 2e10, 4e-6, 2, 2400, 0};

/// Chains of convolutions and dense layers that take twice their roofline, and what a launch costs.
std::vector<Example> examples(int count, std::uint64_t seed = 5)
{
  namespace spec = nn::spec;
  std::vector<Example> result;
  for (int i = 0; i < count; ++i) {
    auto const draw = random_block(seed, Purpose::synthetic, 0, static_cast<std::uint64_t>(i));
    spec::Architecture network;
    int const side = 8 << draw.word[0] % 3, blocks = 1 + static_cast<int>(draw.word[1] % 3);
    network.input = {side, side, 3};
    network.classes = 10;
    std::string last = "input";
    for (int block = 0; block < blocks; ++block) {
      std::string const id = std::to_string(block);
      int const filters = 4 << (draw.word[2] >> (4 * block)) % 5;
      int const kernel = 1 + 2 * static_cast<int>((draw.word[3] >> block) % 3);
      network.nodes.push_back({"c" + id, spec::Conv2d{.filters = filters, .kernel = {kernel, kernel}}, {last}});
      network.nodes.push_back({"r" + id, spec::Activation{}, {"c" + id}});
      last = "r" + id;
    }
    network.nodes.push_back({"head", spec::Dense{.units = 10}, {last}});
    int const batch = 1 << (draw.word[0] >> 8) % 7;
    Optimiser const optimiser = draw.word[1] >> 16 & 1 ? Optimiser::adam : Optimiser::sgd;
    Example example{describe({network, batch, optimiser}), here, 0, i};
    auto const bound = roofline(example.description, here);
    double const noise = 0.02 * (to_unit_float(draw.word[3]) - 0.5);
    example.seconds = (2 * (bound.forward + bound.backward + bound.update) + 1.5 * bound.launch_cost) * std::exp(noise);
    result.push_back(std::move(example));
  }
  return result;
}

bool available(std::string const& method)
{
  try {
    make_estimator(method, Level::rich);
    return true;
  } catch (Error const&) {
    return false; // trees in a build without XGBoost
  }
}

double mape(Estimator const& estimator, std::vector<Example> const& rows)
{
  std::vector<double> predicted, measured;
  for (auto const& row : rows) {
    predicted.push_back(estimator.predict(row.description, row.device).seconds);
    measured.push_back(row.seconds);
  }
  return error_metrics(predicted, measured).mape;
}

bool same(Prediction const& a, Prediction const& b)
{
  auto const equal = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  return equal(a.seconds, b.seconds) && equal(a.q10, b.q10) && equal(a.q90, b.q90);
}

} // namespace

TEST_CASE("every method learns, repeats, and predicts the same once saved and loaded", "[estimator]")
{
  auto const training = examples(300), test = examples(60, 6);
  for (auto const& method : estimator_names()) {
    if (!available(method)) continue;
    INFO(method);
    auto const estimator = make_estimator(method, Level::physics);
    estimator->fit(training, 1);
    CHECK(estimator->name().starts_with(method));
    double const error = mape(*estimator, test);
    INFO(error);
    CHECK(error < (method == "justus-mlp" ? 0.5 : 0.25)); // dropout asks for more rows than there are here
    auto const text = estimator->save();
    auto const loaded = load_estimator(text, "test");
    CHECK(loaded->name() == estimator->name());
    CHECK(loaded->save() == text);
    auto const again = make_estimator(method, Level::physics);
    again->fit(training, 1);
    CHECK(again->save() == text);
    bool equal = true;
    for (auto const& row : test)
      equal =
          equal && same(estimator->predict(row.description, row.device), loaded->predict(row.description, row.device));
    CHECK(equal);
    Stopwatch const watch;
    for (auto const& row : test)
      estimator->predict(row.description, row.device);
    INFO(1e6 * watch.seconds() / 60 << " us a query");
#ifdef NDEBUG
    CHECK(watch.seconds() / 60 < 500e-6); // 100 us are promised; the machine may be busy
#endif
  }
}

TEST_CASE("methods work on every level", "[estimator]")
{
  auto const training = examples(60);
  for (Level const level : {Level::minimal, Level::brief, Level::rich, Level::physics})
    for (std::string const method : {"log-linear", "trees"}) {
      if (!available(method)) continue;
      auto const estimator = make_estimator(method, level);
      estimator->fit(training, 1);
      CHECK(estimator->name() == method + " on " + name(level));
      auto const loaded = load_estimator(estimator->save(), "test");
      CHECK(loaded->predict(training[0].description, here).seconds ==
            estimator->predict(training[0].description, here).seconds);
    }
}

TEST_CASE("quantiles stand in order around the median", "[estimator]")
{
  auto const training = examples(100), test = examples(40, 7);
  for (std::string const method : {"quantile-mlp", "ensemble5"}) {
    auto const estimator = make_estimator(method, Level::physics);
    estimator->fit(training, 1);
    for (auto const& row : test) {
      auto const prediction = estimator->predict(row.description, row.device);
      CHECK(prediction.q10 <= prediction.seconds);
      CHECK(prediction.seconds <= prediction.q90);
    }
  }
}

TEST_CASE("a warm start goes on from the last weights, and keeps their function under new scales", "[estimator]")
{
  auto const all = examples(160);
  std::span const few = std::span(all).first(80);
  auto const warm = make_regressor("paper-mlp"), cold = make_regressor("paper-mlp");
  FeatureRows rows;
  rows.names = feature_names(Level::brief);
  auto const add = [&](Example const& example) {
    rows.add(features(example.description, here, Level::brief), 1, example.seconds);
  };
  std::for_each(few.begin(), few.end(), add);
  warm->fit(rows, 1);
  auto const before = warm->save();
  std::for_each(all.begin() + 80, all.end(), add);
  warm->fit(rows, 1, true);
  cold->fit(rows, 1);
  CHECK(warm->save() != before);
  CHECK(warm->save() != cold->save());
  std::vector<double> predicted;
  for (std::size_t i = 0; i < rows.size(); ++i)
    predicted.push_back(warm->predict(rows.row(i), 1).seconds);
  CHECK(error_metrics(predicted, rows.seconds).mape < 0.35);
}

TEST_CASE("what cannot be learnt from is refused", "[estimator]")
{
  auto good = examples(10);
  for (auto const& method : estimator_names()) {
    if (!available(method)) continue;
    INFO(method);
    auto const estimator = make_estimator(method, Level::brief);
    CHECK_THROWS_AS(estimator->fit({}, 1), Error);
    auto bad = good;
    for (double const time : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
      bad[3].seconds = time;
      CHECK_THROWS_AS(estimator->fit(bad, 1), Error);
    }
  }
  CHECK_THROWS_AS(make_estimator("oracle", Level::brief), Error);
  CHECK_THROWS_AS(make_regressor("li-linear"), Error);
  FeatureRows rows;
  rows.names = {"a"};
  rows.add({1}, 1, 1);
  rows.values[0] = std::nan("");
  CHECK_THROWS_AS(check(rows), Error);
  CHECK_THROWS_AS(rows.add({1, 2}, 1, 1), Error);
}

TEST_CASE("few examples are enough to fit", "[estimator]")
{
  auto const one = examples(1);
  for (auto const& method : estimator_names()) {
    if (!available(method)) continue;
    INFO(method);
    auto const estimator = make_estimator(method, Level::brief);
    estimator->fit(one, 1);
    double const seconds = estimator->predict(one[0].description, here).seconds;
    CHECK(std::isfinite(seconds));
    CHECK(seconds > 0);
  }
}

TEST_CASE("a damaged model is loaded or refused, never more", "[estimator]")
{
  auto const training = examples(12);
  for (auto const& method : {"log-linear", "nnls-roofline", "li-linear", "trees"}) {
    if (!available(method)) continue;
    auto const estimator = make_estimator(method, Level::minimal);
    estimator->fit(training, 1);
    std::string good = json::compact(json::parse(estimator->save(), "test"));
    int refused = 0;
    int const trials = 200;
    for (std::uint32_t trial = 0; trial < trials; ++trial) {
      std::string text = good;
      auto const block = random_block(12, Purpose::synthetic, 0, trial);
      auto const at = to_below(block.word[0], static_cast<std::uint32_t>(std::min<std::size_t>(text.size(), 3000)));
      if (block.word[1] % 2 == 0)
        text[at] = "0-9e{}[],:\"x"[block.word[2] % 12];
      else
        text.erase(at, 1 + block.word[2] % 5);
      try {
        auto const loaded = load_estimator(text, "test");
        loaded->predict(training[0].description, here);
      } catch (Error const&) {
        ++refused;
      }
    }
    INFO(method << ": " << refused);
    CHECK(refused > trials / 10);
  }
  CHECK_THROWS_AS(load_estimator("{}", "test"), Error);
  CHECK_THROWS_AS(
      load_estimator(R"({"format": "nasturtium-estimator", "version": 2, "method": "trees", "model": {}})", "test"),
      Error);
}

TEST_CASE("trees with paths that never end are refused", "[estimator]")
{
  if (!available("trees")) SKIP("this build has no XGBoost");
  auto const model = [](std::string const& left, std::string const& right, std::string const& feature) {
    return json::parse(R"({"xgboost": {"learner": {"learner_model_param": {"base_score": "1E0", "num_feature": "1"},
      "gradient_booster": {"model": {"trees": [{"left_children": )" +
                           left + R"(, "right_children": )" + right + R"(, "split_indices": )" + feature +
                           R"(, "split_conditions": [0.5, -1, 1]}]}}}}})",
                       "test");
  };
  auto const trees = make_regressor("trees");
  auto const good = model("[1, -1, -1]", "[2, -1, -1]", "[0, 0, 0]");
  trees->load(good, "test");
  CHECK(trees->predict(std::vector{0.0}, 1).seconds == Approx(1));
  CHECK(trees->predict(std::vector{0.5}, 1).seconds == Approx(std::exp(2)));
  CHECK_THROWS_AS(trees->predict(std::vector{0.0, 0.0}, 1), Error);
  for (auto const& bad :
       {model("[0, -1, -1]", "[2, -1, -1]", "[0, 0, 0]"), model("[1, -1, -1]", "[3, -1, -1]", "[0, 0, 0]"),
        model("[1, -1, -1]", "[2, -1, -1]", "[1, 0, 0]"), model("[1, -1]", "[2, -1, -1]", "[0, 0, 0]"),
        model("[]", "[]", "[]")})
    CHECK_THROWS_AS(trees->load(bad, "test"), Error);
}
