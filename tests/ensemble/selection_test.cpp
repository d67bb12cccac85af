// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ensemble/pools.hpp"
#include "support/temporary.hpp"

#include <nasturtium/ensemble/front.hpp>
#include <nasturtium/ensemble/selection.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

SelectionOptions options_of(Objective objective = Objective::nll)
{
  SelectionOptions options;
  options.cost_axis = "cost";
  options.objective = objective;
  return options;
}

std::vector<std::int32_t> first(int count)
{
  std::vector<std::int32_t> models(static_cast<std::size_t>(count));
  std::iota(models.begin(), models.end(), 0);
  return models;
}

bool near(double value, double expected, double tolerance = 1e-6)
{
  return std::abs(value - expected) <= tolerance;
}

bool same_picks(std::vector<Choice> const& a, std::vector<Choice> const& b)
{
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](Choice const& x, Choice const& y) {
    return x.members == y.members && x.loss == y.loss && x.cost == y.cost && x.origin == y.origin;
  });
}

double volume(PredictionPool const& pool, std::vector<Choice> const& front, Predictions const& split)
{
  auto const options = options_of();
  std::vector<CostLoss> points;
  for (auto const& choice : front)
    points.push_back({choice.cost, loss_of(split, choice.members, options.objective, options.pooling)});
  return hypervolume(points, hypervolume_reference(pool, split, options));
}

/// What must hold for every front.
void check_front(PredictionPool const& pool, std::vector<Choice> const& front, SelectionOptions const& options)
{
  REQUIRE(!front.empty());
  auto const costs = costs_of(pool, options.cost_axis);
  for (std::size_t i = 0; i < front.size(); ++i) {
    double cost = 0;
    for (auto const& member : front[i].members) {
      CHECK(member.count >= 1);
      cost += costs[static_cast<std::size_t>(member.model)];
    }
    CHECK(near(front[i].cost, cost, 1e-9 * cost));
    CHECK(near(front[i].loss, loss_of(pool.select, front[i].members, options.objective, options.pooling), 1e-9));
    if (i == 0) continue;
    CHECK(front[i].cost > front[i - 1].cost);
    CHECK(rounded(front[i].loss) < rounded(front[i - 1].loss));
  }
}

} // namespace

TEST_CASE("selection: greedy runs on the small pool, negative log-likelihood", "[selection]")
{
  auto const pool = small_pool();
  CHECK(near(loss_of(pool.select, std::vector<Member>{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, Objective::nll, Pooling::mean),
             .624991));
  struct Expected
  {
    std::vector<Member> members;
    double loss;
  };
  Expected const expected[]{
      {{{0, 1}}, .736182}, {{{0, 1}, {1, 11}}, .641248}, {{{1, 13}, {2, 4}}, .630515}, {{{1, 1}, {3, 1}}, .577600}};
  for (int p = 1; p <= 4; ++p) {
    auto const run = greedy_run(pool, options_of(), first(p), infinity);
    auto const& it = expected[p - 1];
    CHECK(run.back().members == it.members);
    CHECK(near(run.back().loss, it.loss));
    CHECK(run.size() == static_cast<std::size_t>(run.back().picks()));
  }
}

TEST_CASE("selection: greedy runs on the small pool, Brier score by Gram terms", "[selection]")
{
  auto const pool = small_pool();
  CHECK(near(loss_of(pool.select, std::vector<Member>{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, Objective::brier, Pooling::mean),
             .340625));
  auto const run = greedy_run(pool, options_of(Objective::brier), first(4), infinity);
  REQUIRE(run.size() == 25);
  double const losses[]{.348, .310, .307111, .310, .306400, .306778};
  int const picks[]{1, 3, 1, 3, 1, 2};
  std::vector<int> counts(4, 0);
  for (std::size_t step = 0; step < 6; ++step) {
    ++counts[static_cast<std::size_t>(picks[step])];
    CHECK(near(run[step].loss, losses[step]));
    std::vector<Member> members;
    for (int m = 0; m < 4; ++m)
      if (counts[static_cast<std::size_t>(m)] > 0) members.push_back({m, counts[static_cast<std::size_t>(m)]});
    CHECK(run[step].members == members);
  }
  CHECK(near(run.back().loss, .305818));
  for (auto const& choice : run) // Gram terms against the definition
    CHECK(near(choice.loss, loss_of(pool.select, choice.members, Objective::brier, Pooling::mean), 1e-12));
}

TEST_CASE("selection: the generated pool of seed 1", "[selection]")
{
  auto const pool = generated_pool(1, 1000);
  auto const options = options_of();
  auto const costs = costs_of(pool, "cost");
  CHECK(near(costs[0], 6.868789));
  CHECK(near(costs[1], 4.531405));
  CHECK(near(costs[7], 1.160437));
  CHECK(near(std::accumulate(costs.begin(), costs.end(), 0.0), 104.900887));
  std::map<int, double> const singles{{0, .694720}, {5, 1.524314}, {7, 2.539044}};
  for (auto const& [model, loss] : singles)
    CHECK(near(loss_of(pool.select, std::vector<Member>{{model, 1}}, Objective::nll, Pooling::mean), loss));
  CHECK(near(static_cast<double>(pool.select.column(0)[0]), .810067));
  CHECK(near(static_cast<double>(pool.select.column(1)[0]), .189504));
  auto const plain = greedy_run(pool, options, first(14), infinity);
  CHECK(plain.back().members == std::vector<Member>{{0, 6}, {1, 1}, {9, 3}, {10, 9}});
  CHECK(plain.size() == 19);
  CHECK(near(plain.back().loss, .560531));
  CHECK(near(volume(pool, exhaustive_front(pool, options), pool.select), 7.386666));
  auto const prefix = select(pool, "prefix", options);
  REQUIRE(prefix.size() == 13);
  CHECK(near(prefix.front().cost, 1.1604, 5e-5));
  CHECK(near(prefix.front().loss, 2.539044));
  CHECK(near(prefix.back().cost, 36.5055, 5e-5));
  CHECK(near(prefix.back().loss, .560531));
}

TEST_CASE("selection: hypervolume of twenty generated pools against all uniform subsets", "[selection][acceptance]")
{
  struct Ratio
  {
    double mean = 0, worst = infinity, test_mean = 0;
  };
  auto const options = options_of();
  constexpr int seeds = 20;
  for (int const samples : {300, 1000}) {
    std::map<std::string, Ratio> ratios;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      auto const pool = generated_pool(seed, samples);
      auto const all = exhaustive_front(pool, options);
      double const best = volume(pool, all, pool.select), best_test = volume(pool, all, pool.test);
      for (std::string const preset : {"caruana-25", "prefix", "scalarizations", "budget", "front"}) {
        auto const front = select(pool, preset, options);
        double const ratio = volume(pool, front, pool.select) / best;
        auto& of = ratios[preset];
        of.mean += ratio / seeds;
        of.worst = std::min(of.worst, ratio);
        of.test_mean += volume(pool, front, pool.test) / best_test / seeds;
      }
    }
    INFO(samples << " samples");
    auto const& front = ratios["front"];
    // The bar, for any pool of this kind ...
    CHECK(front.mean >= 0.99);
    CHECK(front.worst >= 0.97);
    CHECK(front.test_mean >= 0.99);
    CHECK(front.mean > ratios["caruana-25"].mean);
    CHECK(front.mean > ratios["scalarizations"].mean);
    // ... and what is known of these, to the digits that are.
    if (samples == 300) {
      CHECK(near(front.mean, 1.007, 5e-4));
      CHECK(near(front.worst, 0.9998, 5e-5));
      CHECK(near(front.test_mean, 1.006, 5e-4));
      continue;
    }
    struct Known
    {
      char const* preset;
      double mean, worst, test_mean;
    };
    for (auto const& known : {Known{"caruana-25", .516, .390, .520}, Known{"prefix", 1.005, .998, 1.004},
                              Known{"scalarizations", .995, .967, .993}, Known{"budget", 1.000, .975, .999},
                              Known{"front", 1.007, 1.002, 1.0065}}) {
      INFO(known.preset);
      CHECK(near(ratios[known.preset].mean, known.mean, 5.1e-4));
      CHECK(near(ratios[known.preset].worst, known.worst, 5.1e-4));
      CHECK(near(ratios[known.preset].test_mean, known.test_mean, 5.1e-4));
    }
  }
}

TEST_CASE("selection: every preset gives a front, and the same one on every backend", "[selection]")
{
  auto const pool = generated_pool(3, 400, 0);
  std::map<std::string, std::vector<Choice>> fronts;
  for (auto const& preset : preset_names()) {
    INFO(preset);
    auto options = options_of();
    fronts[preset] = select(pool, preset, options);
    check_front(pool, fronts[preset], options);
    CHECK(same_picks(fronts[preset], select(pool, preset, options)));
    for (auto const backend : nn::available_backends()) {
      options.device = {.backend = backend, .threads = 1};
      CHECK(same_picks(fronts[preset], select(pool, preset, options)));
    }
  }
  CHECK(fronts["best-single"].size() == 1);
  CHECK(fronts["best-single"][0].picks() == 1);
  CHECK(fronts["caruana-50-last"][0].picks() == 50);
  for (auto const& choice : fronts["nes"])
    CHECK(choice.picks() == static_cast<int>(choice.members.size()));
  // The front holds something at least as good as the best single model, for no more.
  auto const& single = fronts["best-single"][0];
  CHECK(std::any_of(fronts["front"].begin(), fronts["front"].end(), [&](Choice const& it) {
    return it.cost <= single.cost && rounded(it.loss) <= rounded(single.loss);
  }));
}

TEST_CASE("selection: objectives, pooling, bagging and prefilter", "[selection]")
{
  auto const pool = generated_pool(5, 300, 0);
  for (auto const objective : {Objective::nll, Objective::brier})
    for (auto const pooling : {Pooling::mean, Pooling::geometric}) {
      auto options = options_of(objective);
      options.pooling = pooling;
      options.picks = pooling == Pooling::geometric ? 6 : 25;
      auto const plain = select(pool, "caruana-25", options);
      check_front(pool, plain, options);
      options.bagging = true;
      auto const bagged = select(pool, "caruana-25", options);
      check_front(pool, bagged, options);
      CHECK(same_picks(bagged, select(pool, "caruana-25", options)));
      CHECK(bagged.back().loss <= plain.back().loss);
    }
  auto options = options_of();
  auto const plain = greedy_run(pool, options, first(14), infinity);
  options.prefilter = 14; // all of them
  CHECK(same_picks(plain, greedy_run(pool, options, first(14), infinity)));
  options.prefilter = 4;
  auto const filtered = greedy_run(pool, options, first(14), infinity);
  CHECK(filtered.back().loss < plain.back().loss * 1.01);
}

TEST_CASE("selection: a member with a copy more is no new cost, and ties go to members, then to the cheaper",
          "[selection]")
{
  PredictionPool pool;
  pool.select = Predictions(2, {0, 1, 0, 1});
  std::vector<double> const good{.8, .2, .2, .8, .8, .2, .2, .8}, bad{.5, .5, .5, .5, .5, .5, .5, .5};
  for (auto const* p : {&good, &bad, &good, &good})
    pool.select.add_probabilities(*p);
  pool.check = pool.select;
  pool.models = {{"a", {{"cost", 5}}}, {"b", {{"cost", 1}}}, {"c", {{"cost", 2}}}, {"d", {{"cost", 2}}}};
  auto const run = greedy_run(pool, options_of(), first(4), infinity);
  REQUIRE(run.size() == 1); // no later step is better
  CHECK(run[0].members == std::vector<Member>{{2, 1}});
  // The budget holds whatever the loss would like.
  for (double const budget : {1.0, 2.9, 3.0, 100.0})
    for (auto const& choice : greedy_run(pool, options_of(), first(4), budget))
      CHECK(choice.cost <= budget);
  CHECK(greedy_run(pool, options_of(), first(4), 0.5).empty());
  auto const front = select(pool, "front", options_of());
  REQUIRE(front.size() == 2);
  CHECK(front[0].members == std::vector<Member>{{1, 1}});
  CHECK(front[1].members == std::vector<Member>{{2, 1}});
}

TEST_CASE("selection: a pool of one model", "[selection]")
{
  PredictionPool pool;
  pool.select = Predictions(2, {1});
  pool.select.add_probabilities(std::vector{.25, .75});
  pool.check = pool.select;
  pool.models = {{"only", {{"cost", 3}}}};
  for (auto const& preset : preset_names()) {
    INFO(preset);
    auto const front = select(pool, preset, options_of());
    REQUIRE(front.size() == 1);
    CHECK(front[0].members.size() == 1);
    CHECK(near(front[0].loss, -std::log(.75)));
  }
}

TEST_CASE("selection: swaps never raise the loss on the check split", "[selection]")
{
  auto const options = options_of();
  int swapped = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    auto const pool = generated_pool(seed, 300, 0);
    auto archive = select(pool, "prefix", options);
    auto const budget = select(pool, "budget", options);
    archive.insert(archive.end(), budget.begin(), budget.end());
    auto const before = non_dominated(archive);
    auto const check = [&](Choice const& it) {
      return rounded(loss_of(pool.check, it.members, options.objective, options.pooling));
    };
    for (auto const& choice : select(pool, "front", options)) {
      if (choice.origin != "swap") continue;
      ++swapped;
      CHECK(std::any_of(before.begin(), before.end(), [&](Choice const& it) {
        return choice.cost <= it.cost * (1 + 1e-9) && choice.loss < it.loss && check(choice) <= check(it);
      }));
    }
  }
  CHECK(swapped > 0);
}

TEST_CASE("selection: what is refused", "[selection]")
{
  auto const pool = small_pool();
  auto const refused = [&](std::string const& preset, SelectionOptions const& options) {
    return error_of([&] { select(pool, preset, options); });
  };
  CHECK(refused("best", options_of()).starts_with("selection: preset 'best' is unknown (there are: front, prefix, "));
  auto options = options_of();
  options.picks = 0;
  CHECK(refused("front", options) == "selection: picks must be at least 1, got 0");
  options = options_of(Objective::brier);
  options.prefilter = 32;
  CHECK(refused("front", options) == "selection: prefilter needs objective nll and pooling mean");
  options = options_of();
  options.cost_axis = "seconds";
  CHECK(refused("front", options) == "model 'm0' has no cost 'seconds' (it has: cost)");
  CHECK(error_of([&] { greedy_run(pool, options_of(), std::vector<std::int32_t>{4}, 1); }) ==
        "selection: candidate 4 of 4 models");
  CHECK(error_of([&] { loss_of(pool.select, {}, Objective::nll, Pooling::mean); }) ==
        "an ensemble without members has no loss");
  PredictionPool large = pool;
  large.models.resize(21);
  CHECK_THROWS_AS(exhaustive_front(large, options_of()), Error);
}

TEST_CASE("fronts: hypervolume, filter and queries", "[selection]")
{
  double const e = std::exp(1.0);
  std::vector<CostLoss> const front{{1, 3}, {e, 2}, {e * e, 1}};
  CostLoss const reference{e * e * e, 4};
  CHECK(near(hypervolume(front, reference), 1 * 1 + 1 * 2 + 1 * 3, 1e-12));
  auto more = front;
  more.push_back({e, 5});         // dominated
  more.push_back({e * e * 9, 0}); // beyond the reference
  CHECK(near(hypervolume(more, reference), 6, 1e-12));
  CHECK(hypervolume({}, reference) == 0);

  CHECK(best_under_budget(front, 3).value() == 1);
  CHECK(best_under_budget(front, 100).value() == 2);
  CHECK_FALSE(best_under_budget(front, 0.5).has_value());
  std::vector<double> const accuracies{.5, .8, .7};
  CHECK(cheapest_above_accuracy(front, accuracies, .7).value() == 1);
  CHECK(cheapest_above_accuracy(front, accuracies, .1).value() == 0);
  CHECK_FALSE(cheapest_above_accuracy(front, accuracies, .9).has_value());
  CHECK(error_of([&] { cheapest_above_accuracy(front, std::span(accuracies).first(2), .5); }) ==
        "a front of 3 points has 2 accuracies");
  CHECK(knee(std::vector<CostLoss>{{1, 3}, {e, 1.1}, {e * e, 1}}).value() == 1);
  CHECK(knee(front).value() == 0); // a straight line: the cheapest
  CHECK(knee(std::vector<CostLoss>{{1, 3}}).value() == 0);
  CHECK_FALSE(knee({}).has_value());
}

TEST_CASE("fronts: the filter keeps what nobody dominates", "[selection]")
{
  SplitMix random(11);
  for (int round = 0; round < 50; ++round) {
    std::vector<Choice> all;
    for (int i = 0; i < 40; ++i)
      all.push_back({{{i, 1}}, std::floor(8 * random.unit()), std::floor(8 * random.unit()) / 4, ""});
    std::set<int> expected;
    std::set<std::pair<double, double>> seen;
    for (auto const& a : all) {
      bool const dominated = std::any_of(all.begin(), all.end(), [&](Choice const& b) {
        return b.cost <= a.cost && b.loss <= a.loss && (b.cost < a.cost || b.loss < a.loss);
      });
      if (!dominated && seen.emplace(a.cost, a.loss).second) expected.insert(a.members[0].model);
    }
    std::set<int> kept;
    for (auto const& choice : non_dominated(all))
      kept.insert(choice.members[0].model);
    CHECK(kept == expected);
  }
}
