// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The rules of the baselines by hand; the rivals and our own method on recorded searches.
#include "shared_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/predictor/configure.hpp>
#include <nasturtium/predictor/metrics.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <map>

using namespace nasturtium;
using namespace nasturtium::predictor;
using Catch::Approx;

namespace {

Settings short_preset(std::string const& name, double e_pred = 4)
{
  auto settings = preset(name);
  settings.e_pred = e_pred;
  settings.spacing = 1;
  return settings;
}

void run(Method& method, std::string const& id, std::vector<double> const& values)
{
  double epoch = 0;
  for (double const value : values)
    method.observe(id, ++epoch, value);
  method.finish(id);
}

// The curves in an order drawn from `seed`.
CurveSet shuffled(CurveSet set, std::uint64_t seed)
{
  for (std::size_t i = set.curves.size(); i > 1; --i)
    std::swap(set.curves[i - 1],
              set.curves[to_below(random_block(seed, Purpose::shuffle, 0, i).word[0], static_cast<std::uint32_t>(i))]);
  return set;
}

struct Average
{
  double saved = 0, mae = 0, spearman = 0, coverage = 0, last = 0, best = 0, constant = 0;
};

// Means over `orders` orders of the curves.
Average average(CurveSet const& set, Settings settings, int orders)
{
  Average mean;
  settings.e_pred = set.last_epoch();
  settings.spacing = set.spacing();
  for (int order = 0; order < orders; ++order) {
    auto const curves = shuffled(set, static_cast<std::uint64_t>(order) + 1);
    auto const played = replay(curves, settings);
    auto const summary = summarise(played);
    mean.saved += summary.saved / orders;
    mean.mae += summary.mae_stopped / orders;
    mean.spearman += summary.spearman / orders;
    mean.coverage += summary.coverage_90 / orders;
    auto const rows = baselines(curves, played);
    mean.last += rows[0].mae_stopped / orders;
    mean.best += rows[1].mae_stopped / orders;
    mean.constant += rows[2].mae_stopped / orders;
  }
  return mean;
}

} // namespace

TEST_CASE("methods: presets are complete, and every one survives odd curves")
{
  CHECK(preset_names().size() == 16);
  CHECK_THROWS_AS(preset("oracle"), Error);
  std::vector<std::vector<double>> const odd{
      {50, 50, 50, 50, 50}, {90, 70, 50, 30, 10}, {0, 0, 0, 0, 0}, {100, 100, 100}, {10},
      {1, 99, 1, 99, 1},    {20, 30, 40, 45, 47}};
  for (auto const& name : preset_names()) {
    INFO(name);
    auto settings = short_preset(name, 5);
    settings.min_finished = 2;
    auto const method = make_method(settings);
    CHECK(method->name() == name);
    for (int round = 0; round < 3; ++round)
      for (std::size_t i = 0; i < odd.size(); ++i) {
        std::string const id = std::to_string(round) + "-" + std::to_string(i);
        double epoch = 0;
        for (double const value : odd[i]) {
          auto const said = method->observe(id, ++epoch, value);
          CHECK(!said.reason.empty());
          if (said.decision != Decision::stop) continue;
          CHECK(said.converged == std::isfinite(said.value));
        }
        method->review(id);
        if (odd[i].size() == 5)
          method->finish(id);
        else
          method->abandon(id);
      }
  }
}

TEST_CASE("methods: what is told wrong is refused, and nothing is lost by it")
{
  for (auto const& name : preset_names()) {
    auto const method = make_method(short_preset(name));
    method->observe("a", 1, 10);
    CHECK_THROWS_AS(method->observe("a", 1, 11), Error);
    CHECK_THROWS_AS(method->observe("a", 0.5, 11), Error);
    CHECK_THROWS_AS(method->observe("a", 2, std::nan("")), Error);
    CHECK_THROWS_AS(method->observe("", 2, 1), Error);
    CHECK_THROWS_AS(method->observe("b", std::nan(""), 1), Error);
    CHECK_THROWS_AS(method->finish("b"), Error);
    CHECK_THROWS_AS(method->review("b"), Error);
    CHECK_NOTHROW(method->observe("a", 2, 11));
    method->finish("a");
    CHECK_THROWS_AS(method->observe("a", 3, 12), Error);
    CHECK_THROWS_AS(method->finish("a"), Error);
    CHECK_NOTHROW(method->abandon("never seen"));
  }
}

TEST_CASE("methods: settings by name, and what is out of range")
{
  auto settings = preset("a4nn");
  configure(settings, "tolerance", 0.25, "test");
  configure(settings, "window", 5, "test");
  configure(settings, "family", "pow3", "test");
  configure(settings, "rungs", json::Array{1, 3}, "test");
  CHECK(settings.tolerance == 0.25);
  CHECK(settings.window == 5);
  CHECK(settings.family == Family::pow3);
  CHECK(settings.rungs == std::vector<double>{1, 3});
  CHECK_THROWS_AS(configure(settings, "tolerence", 1, "test"), Error);
  CHECK_THROWS_AS(configure(settings, "tolerance", -1, "test"), Error);
  CHECK_THROWS_AS(configure(settings, "tolerance", "much", "test"), Error);
  CHECK(settings.tolerance == 0.25);
  auto const object = to_json(settings);
  for (auto const& name : setting_names()) {
    INFO(name);
    auto copy = preset("a4nn");
    REQUIRE(object.contains(name));
    CHECK_NOTHROW(configure(copy, name, object.at(name), "test"));
  }
}

TEST_CASE("methods: constant, last value, best so far, i-epoch")
{
  auto const constant = make_method(short_preset("constant"));
  CHECK(std::isnan(constant->observe("a", 1, 10).value));
  run(*constant, "b", {1, 2, 3, 40});
  run(*constant, "c", {1, 2, 3, 60});
  CHECK(constant->observe("a", 2, 10).value == 50);
  auto const last = make_method(short_preset("last-value")), best = make_method(short_preset("best-so-far"));
  last->observe("a", 1, 30);
  best->observe("a", 1, 30);
  CHECK(last->observe("a", 2, 20).value == 20);
  CHECK(best->observe("a", 2, 20).value == 30);
  auto settings = short_preset("i-epoch");
  settings.stop_epoch = 2;
  auto const i_epoch = make_method(settings);
  CHECK(i_epoch->observe("a", 1, 30).decision == Decision::proceed);
  CHECK(i_epoch->observe("a", 2, 20).decision == Decision::stop);
  CHECK(i_epoch->review("a").value == 30);
}

TEST_CASE("methods: the median rule compares the best with running averages")
{
  auto settings = short_preset("median");
  settings.startup_curves = 3;
  auto const method = make_method(settings);
  run(*method, "a", {10, 20, 30, 40}); // averages 10, 15, 20, 25
  run(*method, "b", {20, 40, 60, 80}); // averages 20, 30, 40, 50
  CHECK(method->observe("early", 1, 0).decision == Decision::proceed);
  run(*method, "c", {30, 60, 90, 90});                              // averages 30, 45, 60, 67.5
  CHECK(method->observe("x", 1, 20).decision == Decision::proceed); // not below the median 20
  CHECK(method->observe("x", 2, 29).decision == Decision::stop);    // below 30
  CHECK(method->observe("y", 1, 19.9).decision == Decision::stop);
  CHECK(method->observe("z", 1, 31).decision == Decision::proceed);
  CHECK(method->observe("z", 2, 1).decision == Decision::proceed); // its best counts
}

TEST_CASE("methods: halving waits for its cohort, asha does not")
{
  auto settings = short_preset("halving");
  settings.eta = 2;
  settings.rungs = {1, 2};
  settings.cohort = 4;
  auto const halving = make_method(settings);
  CHECK(halving->observe("a", 1, 10).decision == Decision::pause);
  CHECK(halving->observe("b", 1, 40).decision == Decision::pause);
  CHECK(halving->observe("c", 1, 40).decision == Decision::pause);
  CHECK(halving->observe("d", 1, 20).decision == Decision::stop); // all are here: only two go on
  CHECK(halving->review("a").decision == Decision::stop);
  CHECK(halving->review("b").decision == Decision::proceed);
  CHECK(halving->review("c").decision == Decision::proceed);
  CHECK(halving->observe("b", 2, 41).decision == Decision::pause);
  CHECK(halving->observe("c", 2, 41).decision == Decision::stop); // the earlier one wins a tie
  CHECK(halving->review("b").decision == Decision::proceed);

  settings = short_preset("asha");
  settings.eta = 2;
  settings.grace = 1;
  auto const asha = make_method(settings);
  CHECK(asha->observe("a", 1, 10).decision == Decision::proceed); // the first is the best so far
  CHECK(asha->observe("b", 1, 5).decision == Decision::stop);
  CHECK(asha->observe("c", 1, 20).decision == Decision::proceed);
  CHECK(asha->observe("d", 1, 15).decision == Decision::proceed); // second of four
  CHECK(asha->observe("e", 1, 14).decision == Decision::stop);
}

TEST_CASE("methods: the sum of training losses ranks")
{
  auto const method = make_method(short_preset("train-loss-sum"));
  double quality = 0;
  for (auto const* const id : {"a", "b", "c", "d"}) {
    quality += 10;
    for (int epoch = 1; epoch <= 4; ++epoch) {
      Covariates covariates;
      covariates.train_loss = 5 - quality / 10;
      method->observe(id, epoch, quality + epoch, covariates);
    }
    method->finish(id);
  }
  Covariates covariates;
  covariates.train_loss = 1.5;
  CHECK(method->observe("x", 1, 1, covariates).value == Approx(39)); // losses 4, 3, 2, 1 -> 14, 24, 34, 44
  CHECK(method->observe("y", 1, 1).value == 1);                      // no loss, no prediction but the value
}

TEST_CASE("replay: the published figures of successive halving and i-epoch on the A4NN search")
{
  auto const set = test::a4nn_curves();
  std::vector<RecordedCurve const*> curves;
  std::vector<double> truth;
  for (auto const& curve : set.curves) {
    curves.push_back(&curve);
    truth.push_back(final_value(curve, 25));
  }
  auto const two = successive_halving(curves, {2, 4, 8, 16}, 2, 25);
  CHECK(two.saved == Approx(0.78));
  CHECK(two.finalists == std::vector<std::size_t>{2, 19, 43, 58, 73, 87});
  CHECK(two.regret == Approx(0.02).margin(0.005));
  auto const three = successive_halving(curves, {1, 3, 9}, 3, 25);
  CHECK(three.saved == Approx(0.888));
  CHECK(three.finalists == std::vector<std::size_t>{54, 70, 98});
  CHECK(three.regret == Approx(0.11).margin(0.005));
  // The method says the same, curve by curve.
  auto settings = preset("halving");
  settings.e_pred = 25;
  settings.rungs = {2, 4, 8, 16};
  auto const played = replay(set, settings);
  std::vector<std::size_t> finalists;
  for (std::size_t i = 0; i < played.curves.size(); ++i)
    if (played.curves[i].complete) finalists.push_back(i);
  CHECK(finalists == two.finalists);
  CHECK(summarise(played).saved == Approx(0.78));

  struct Row
  {
    double i, spearman;
    std::size_t hits;
    double regret;
  };
  for (auto const& row : {Row{1, .431, 2, .031}, Row{2, .543, 4, .107}, Row{3, .730, 3, .353}, Row{5, .761, 6, .183},
                          Row{8, .854, 5, .517}, Row{10, .853, 5, 0}, Row{15, .905, 7, .019}, Row{20, .980, 8, 0}}) {
    auto early = short_preset("i-epoch", 25);
    early.stop_epoch = row.i;
    auto const result = replay(set, early);
    std::vector<double> said;
    for (auto const& curve : result.curves)
      said.push_back(curve.prediction);
    INFO("i = " << row.i);
    CHECK(spearman(truth, said) == Approx(row.spearman).margin(0.0006));
    CHECK(top_hits(truth, said, 10) == row.hits);
    CHECK(regret(truth, said) == Approx(row.regret).margin(0.0006));
  }
  auto const rows = baselines(set, played);
  REQUIRE(rows.size() == 6);
  CHECK(rows[2].mae_stopped == Approx(2.082).margin(0.0005));
}

TEST_CASE("replay: failed, short and unequal curves have their documented place")
{
  auto const set = parse_curves("id,epoch,value\nfull,1,10\nfull,2,20\nfull,3,30\nfull,4,40\n"
                                "diverged,1,10\ndiverged,2,nan\ndiverged,3,1\n"
                                "short,1,10\nshort,2,20\n"
                                "gap,1,10\ngap,4,50\n"
                                "long,1,5\nlong,3,15\nlong,5,25\n",
                                "F", CurveFormat::csv);
  auto const played = replay(set, short_preset("last-value"));
  std::map<std::string, CurveResult> by_id;
  for (auto const& curve : played.curves)
    by_id[curve.id] = curve;
  CHECK(by_id["full"].complete);
  CHECK(by_id["full"].final_value == 40);
  CHECK(by_id["diverged"].failed);
  CHECK(by_id["diverged"].points == 1);
  CHECK(by_id["diverged"].full_epoch == 1);
  CHECK(std::isnan(by_id["diverged"].final_value));
  CHECK(std::isnan(by_id["short"].final_value));
  CHECK(!by_id["short"].complete);
  CHECK(by_id["gap"].final_value == 50);
  CHECK(by_id["long"].final_value == 15); // it went on past epoch 4, and this was measured last before
  CHECK(summarise(played).networks == 3);
}

TEST_CASE("replay: time saved is counted where the file knows times, i-epoch is the trivial rule")
{
  auto const set = parse_curves("id,epoch,value,seconds,validation_seconds\n"
                                "a,1,10,1,0.5\na,2,20,2,1\na,3,30,3,1.5\na,4,40,4,2\n"
                                "b,1,30,10,0\nb,2,20,20,0\nb,3,50,30,0\nb,4,60,40,0\n",
                                "F", CurveFormat::csv);
  CHECK(set.curves[0].seconds == std::vector<double>{1.5, 3, 4.5, 6});
  auto settings = preset("last-value");
  settings.e_pred = 4;
  settings.stop_epoch = 2;
  auto const played = replay(set, settings);
  CHECK(played.curves[1].seconds == 20);
  CHECK(played.curves[1].full_seconds == 40);
  CHECK(summarise(played).wall_factor == Approx(46.0 / (23 + played.seconds)));
  auto const row = i_epoch(set, 2, 4);
  CHECK(row.wall_factor == Approx(2));
  CHECK(row.saved == Approx(0.5));
  CHECK(row.mae == Approx(25)); // the best values until epoch 2 are 20 and 30
  auto const unknown = parse_curves("id,epoch,value\na,1,10\na,4,40\n", "F", CurveFormat::csv);
  CHECK(std::isnan(summarise(replay(unknown, settings)).wall_factor));
  CHECK(std::isnan(i_epoch(unknown, 1, 4).wall_factor));
}

TEST_CASE("rivals: ridge on the A4NN search as the reference has it")
{
  auto const mean = average(test::a4nn_curves(), preset("ridge"), 100);
  CHECK(mean.saved == Approx(0.544));
  CHECK(mean.mae == Approx(0.965).margin(0.05)); // 300 other splits there
  CHECK(mean.spearman == Approx(0.872).margin(0.015));
}

TEST_CASE("ours: the bars on the A4NN search")
{
  auto const set = test::a4nn_curves();
  auto settings = preset("nasturtium");
  settings.e_pred = 25;
  auto const played = replay(set, settings);
  auto const in_order = summarise(played);
  INFO("saved " << in_order.saved << ", error " << in_order.mae_stopped << ", Spearman " << in_order.spearman);
  CHECK(in_order.saved >= 0.54);
  CHECK(in_order.mae_stopped < 0.97);
  CHECK(in_order.spearman > 0.87);
  auto const shuffles = average(set, settings, 60);
  INFO("means of 60 orders: saved " << shuffles.saved << ", error " << shuffles.mae << ", Spearman "
                                    << shuffles.spearman << ", coverage " << shuffles.coverage);
  CHECK(shuffles.saved >= 0.54);
  CHECK(shuffles.mae < 0.97);
  CHECK(shuffles.spearman > 0.87);
  CHECK(shuffles.coverage > 0.87);
  CHECK(shuffles.coverage < 0.97);

  // All for five epochs, then the ten best to the end.
  settings.min_finished = 0;
  settings.stop_fraction = 0.2;
  settings.keep_above = 1;
  settings.pause = true;
  ReplayOptions options;
  options.resume = 10;
  auto const paused = summarise(replay(set, settings, options));
  CHECK(paused.saved >= 0.72);
  CHECK(paused.regret <= 0.02);
  CHECK(paused.recall[2] >= 0.6);
}

TEST_CASE("ours: below last value, best so far and constant on the MetaQNN searches")
{
  for (auto const* const name : {"metaqnn_cifar10", "deep_resnets_cifar10"}) {
    auto const mean = average(test::metaqnn_curves(name), preset("nasturtium"), 10);
    INFO(name << ": saved " << mean.saved << ", error " << mean.mae << " against last " << mean.last << ", best "
              << mean.best << ", constant " << mean.constant << ", coverage " << mean.coverage);
    CHECK(mean.mae < mean.last);
    CHECK(mean.mae < mean.best);
    CHECK(mean.mae < mean.constant);
    CHECK(mean.coverage > 0.84);
    CHECK(mean.coverage < 0.95);
  }
}

TEST_CASE("ours: is a function of what it was told")
{
  auto const set = test::a4nn_curves();
  auto settings = preset("nasturtium");
  settings.e_pred = 25;
  auto const once = replay(set, settings), twice = replay(set, settings);
  for (std::size_t i = 0; i < once.curves.size(); ++i) {
    CHECK(once.curves[i].prediction == twice.curves[i].prediction);
    CHECK(once.curves[i].points == twice.curves[i].points);
  }
}
