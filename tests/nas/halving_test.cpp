// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rungs, brackets and decisions, against the golden values of the reference and against the rules written plainly.
#include "support/temporary.hpp"

#include <nasturtium/core/splitmix.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/nas/halving_simulation.hpp>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::error_of;

namespace {

using Kind = HalvingEvent::Kind;

HalvingSettings settings_of(int most_epochs, int trials, HalvingPreset preset = HalvingPreset::asha_promote,
                            RankRule rank = RankRule::loss)
{
  HalvingSettings settings;
  settings.preset = preset;
  settings.rank = rank;
  settings.most_epochs = most_epochs;
  settings.trials = trials;
  return settings;
}

std::vector<int> trials_of(std::vector<HalvingBracket> const& brackets)
{
  std::vector<int> trials;
  for (auto const& bracket : brackets)
    trials.push_back(bracket.trials);
  return trials;
}

double uniform_loss(int trial, int)
{
  return SplitMix(static_cast<std::uint64_t>(trial)).unit();
}

double uniform_cost(int trial)
{
  return 1 + std::floor(30 * SplitMix(static_cast<std::uint64_t>(trial) + 77777).unit());
}

using Records = std::vector<std::int64_t>;

/// What asha-promote should do next, straight from the rule: O(n log n) for every question.
HalvingAction promotion_by_the_rule(Halving const& halving)
{
  auto const& settings = halving.settings();
  auto const& trials = halving.trials();
  int const top = halving.brackets()[0].top();
  for (int rung = top - 1; rung >= 0; --rung) {
    std::vector<std::tuple<std::int64_t, std::size_t, int>> offers; // promotions of the stratum, stratum, trial
    for (std::size_t stratum = 0; stratum < 3; ++stratum) {
      std::vector<std::pair<double, int>> results;
      std::int64_t promoted = 0;
      for (int t = 0; t < static_cast<int>(trials.size()); ++t) {
        auto const& trial = trials[static_cast<std::size_t>(t)];
        if (trial.reached < rung) continue;
        std::size_t own = 0;
        if (settings.rank == RankRule::stratified)
          own = (trial.cost >= settings.edges[0]) + (trial.cost >= settings.edges[1]);
        if (own != stratum) continue;
        promoted += trial.assigned > rung;
        results.emplace_back(trial.losses[static_cast<std::size_t>(rung)], t);
      }
      std::sort(results.begin(), results.end());
      for (std::size_t i = 0; i < results.size() / static_cast<std::size_t>(settings.eta); ++i) {
        auto const& trial = trials[static_cast<std::size_t>(results[i].second)];
        if (trial.assigned > rung || std::isinf(results[i].first)) continue;
        offers.emplace_back(promoted, stratum, results[i].second);
        break;
      }
    }
    if (!offers.empty())
      return {HalvingAction::Kind::resume, std::get<2>(*std::min_element(offers.begin(), offers.end())), rung + 1};
  }
  int const fresh = static_cast<int>(trials.size());
  if (fresh < settings.trials) return {HalvingAction::Kind::start, fresh, 0};
  return {};
}

} // namespace

TEST_CASE("halving: rungs are the reference's", "[halving]")
{
  CHECK(rung_table(1, 27, 3) == std::vector{1, 3, 9, 27});
  CHECK(rung_table(1, 81, 3) == std::vector{1, 3, 9, 27, 81});
  CHECK(rung_table(1, 243, 3) == std::vector{1, 3, 9, 27, 81, 243});
  CHECK(rung_table(1, 1000, 10) == std::vector{1, 10, 100, 1000});
  CHECK(rung_table(1, 100, 3) == std::vector{1, 3, 9, 27, 81, 100});
  CHECK(rung_table(10, 100, 3) == std::vector{10, 30, 90, 100});
  CHECK(rung_table(1, 64, 4) == std::vector{1, 4, 16, 64});
  CHECK(rung_table(1, 1, 3) == std::vector{1});
  CHECK(rung_table(1, 2, 3) == std::vector{1, 2});
  CHECK(rung_table(7, 7, 2) == std::vector{7});
  CHECK(rung_table(1, 1'000'000'000, 2).size() == 31); // products beyond 32 bits
  auto const mean = [](int r, int most, int eta) { return expected_epochs(rung_table(r, most, eta), eta); };
  CHECK(mean(1, 27, 3) == Catch::Approx(3));
  CHECK(mean(1, 81, 3) == Catch::Approx(3.6667).margin(5e-5));
  CHECK(mean(1, 243, 3) == Catch::Approx(4.3333).margin(5e-5));
  CHECK(mean(1, 1000, 10) == Catch::Approx(3.7));
  CHECK(mean(1, 100, 3) == Catch::Approx(3.7449).margin(5e-5));
  CHECK(mean(10, 100, 3) == Catch::Approx(23.7037).margin(5e-5));
  CHECK(mean(1, 64, 4) == Catch::Approx(3.25));
  CHECK(mean(1, 1, 3) == 1);
  CHECK(mean(1, 2, 3) == Catch::Approx(1.3333).margin(5e-5));
  CHECK(error_of([] { rung_table(3, 2, 3); }) == "rungs: 'least_epochs' must be in [1, 2], got 3");
  CHECK(error_of([] { rung_table(1, 2, 1); }) == "rungs: 'eta' must be at least 2, got 1");
}

TEST_CASE("halving: Hyperband's brackets are the reference's", "[halving]")
{
  CHECK(trials_of(hyperband_brackets(1, 27, 3)) == std::vector{27, 12, 6, 4});
  CHECK(trials_of(hyperband_brackets(1, 81, 3)) == std::vector{81, 34, 15, 8, 5});
  CHECK(trials_of(hyperband_brackets(1, 243, 3)) == std::vector{243, 98, 41, 18, 9, 6});
  CHECK(trials_of(hyperband_brackets(1, 1000, 10)) == std::vector{1000, 134, 20, 4});
  auto const brackets = hyperband_brackets(1, 100, 3); // starts at R div eta^s
  REQUIRE(brackets.size() == 5);
  for (int s = 4; s >= 0; --s) {
    auto const& bracket = brackets[static_cast<std::size_t>(4 - s)];
    CHECK(bracket.first == 4 - s);
    CHECK(bracket.epochs == std::vector{1, 3, 11, 33, 100});
  }
  CHECK(hyperband_brackets(1, 1, 3).size() == 1);
  CHECK(hyperband_brackets(10, 100, 3)[0].epochs == std::vector{11, 33, 100});
}

TEST_CASE("halving: the plan says what to expect", "[halving]")
{
  auto const trials = [](HalvingPlan const& plan) {
    std::vector<std::int64_t> counts;
    for (auto const& level : plan.levels)
      counts.push_back(level.trials);
    return counts;
  };
  auto const small = plan(settings_of(27, 1000));
  CHECK(trials(small) == Records{1000, 333, 111, 37});
  CHECK(small.epochs == 2998);
  CHECK(small.full_epochs == 27000);
  CHECK(small.checkpoints == 1481);
  auto const large = plan(settings_of(81, 1000));
  CHECK(trials(large) == Records{1000, 333, 111, 37, 12});
  CHECK(large.epochs == 3646);
  CHECK(plan(settings_of(27, 50, HalvingPreset::random_full)).epochs == 27 * 50);
  CHECK(plan(settings_of(27, 50, HalvingPreset::pasha)).at_most);
  auto const band = plan(settings_of(27, 0, HalvingPreset::hyperband));
  CHECK(trials(band) == Records{27, 9, 3, 1, 12, 4, 1, 6, 2, 4});
  CHECK(band.trials == 49);
  auto several = settings_of(27, 3000);
  several.brackets = 3;
  auto const drawn = trials(plan(several)); // softmax: 0.665, 0.245, 0.090
  CHECK(std::abs(static_cast<double>(drawn[0]) / 3000 - 0.665) < 0.03);
  CHECK(std::abs(static_cast<double>(drawn[4]) / 3000 - 0.245) < 0.03);
  CHECK(drawn[0] + drawn[4] + drawn[7] == 3000);
  std::string const text = small.text(1e6);
  CHECK(text.find("1000 trials, 2998 epochs (3.00 a trial; 9.0 times fewer than all to the end), 1481 checkpoints, "
                  "1.4 GiB") != std::string::npos);
}

TEST_CASE("halving: traces of asha-promote are the reference's", "[halving]")
{
  constexpr double losses[] = {5, 2, 8, 1, 9, 3, 7, 4, 6, 0, 11, 10};
  std::map<int, std::pair<std::string, std::int64_t>> const expected{
      {1, {"S0 S1 S2 1>1 S3 3>1 S4 S5 S6 S7 S8 5>1 3>2 S9 9>1 9>2 S10 S11", 32}},
      {2, {"S0 S1 S2 S3 1>1 3>1 S4 S5 S6 S7 S8 S9 5>1 9>1 3>2 9>2 S10 S11", 16}},
      {4, {"S0 S1 S2 S3 S4 S5 1>1 3>1 S6 S7 S8 S9 S10 S11 5>1 9>1 3>2 9>2", 12}}};
  for (auto const& [workers, answer] : expected) {
    Halving halving(settings_of(9, 12));
    auto const done = simulate(halving, [&](int trial, int) { return losses[trial]; }, {.workers = workers});
    CHECK(trace(done.decisions) == answer.first);
    CHECK(done.time == answer.second);
    CHECK(halving.epochs_trained() == 32);
    CHECK(halving.records() == Records{12, 4, 2});
    CHECK(halving.finished());
  }
}

TEST_CASE("halving: the order of the losses decides how much is trained", "[halving]")
{
  Halving rising(settings_of(27, 27)), falling(settings_of(27, 27));
  simulate(rising, [](int trial, int) { return trial; });
  CHECK(rising.records() == Records{27, 9, 3, 1});
  CHECK(rising.epochs_trained() == 81);
  simulate(falling, [](int trial, int) { return -trial; });
  CHECK(falling.records() == Records{27, 25, 23, 21});
  CHECK(falling.epochs_trained() == 593);
}

TEST_CASE("halving: a thousand trials take the reference's epochs and times, and eight workers are busy", "[halving]")
{
  for (auto const& [workers, time] : std::map<int, std::int64_t>{{1, 3456}, {2, 1730}, {4, 870}, {8, 443}}) {
    Halving halving(settings_of(27, 1000));
    auto const done = simulate(halving, uniform_loss, {.workers = workers});
    CHECK(halving.records() == Records{1000, 361, 136, 51});
    CHECK(halving.epochs_trained() == 3456);
    CHECK(done.time == time);
    CHECK(3456.0 / static_cast<double>(workers * done.time) > 0.9);
  }
}

TEST_CASE("halving: on simulated curves a target costs a twelfth of random search", "[halving]")
{
  CHECK(simulated_loss(1, 0, 1) == Catch::Approx(1.310087).margin(5e-7));
  CHECK(simulated_loss(1, 0, 3) == Catch::Approx(0.849152).margin(5e-7));
  CHECK(simulated_loss(1, 0, 9) == Catch::Approx(0.643430).margin(5e-7));
  CHECK(simulated_loss(1, 0, 27) == Catch::Approx(0.551515).margin(5e-7));
  struct Expected
  {
    int most_epochs;
    double median, worst;
  };
  for (auto const& [most, wanted_median, wanted_worst] : {Expected{27, 0.096, 0.205}, Expected{81, 0.082, 0.334}}) {
    std::vector<double> shares;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      auto const loss = [&](int trial, int epochs) { return simulated_loss(seed, trial, epochs); };
      double target = 1e9;
      for (int trial = 0; trial < 40; ++trial)
        target = std::min(target, loss(trial, most));
      Halving halving(settings_of(most, 100000));
      simulate(halving, loss,
               {.stop = [&](HalvingEvent const& result, std::int64_t) { return result.value <= target; }});
      shares.push_back(static_cast<double>(halving.epochs_trained()) / (40.0 * most));
    }
    CHECK(std::abs(median(shares) - wanted_median) < 5e-4);
    CHECK(std::abs(*std::max_element(shares.begin(), shares.end()) - wanted_worst) < 5e-4);
    CHECK(median(shares) <= 0.12);
  }
}

TEST_CASE("halving: every decision is the one of the rule, failures and lost trials included", "[halving]")
{
  for (RankRule const rank : {RankRule::loss, RankRule::stratified}) {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      test::Random random(seed);
      auto settings = settings_of(rank == RankRule::loss ? 30 : 27, 60, HalvingPreset::asha_promote, rank);
      settings.eta = 2 + static_cast<int>(seed % 3);
      settings.edges = {8, 20};
      Halving halving(settings);
      std::set<int> idle{0, 1, 2, 3, 4};
      std::size_t lost = 0;
      int promotions = 0;
      while (!halving.finished()) {
        if (!idle.empty() && (random.below(2) == 0 || halving.flights().empty())) {
          int const worker = *idle.begin();
          auto const wanted = promotion_by_the_rule(halving);
          bool const again = lost > 0;
          auto const action = *halving.apply({.worker = worker});
          if (again)
            --lost;
          else
            REQUIRE(action == wanted);
          promotions += action.kind == HalvingAction::Kind::resume;
          if (action.kind == HalvingAction::Kind::idle) {
            if (halving.flights().empty()) break;
          } else {
            idle.erase(worker);
            if (action.kind == HalvingAction::Kind::start)
              halving.apply({Kind::started, action.trial, action.rung, uniform_cost(action.trial), worker});
            continue;
          }
        }
        auto const& flights = halving.flights();
        auto const [trial, rung, worker] = flights[random.below(static_cast<std::uint32_t>(flights.size()))];
        HalvingEvent event{Kind::result, trial, rung, static_cast<double>(random.below(40)), worker};
        switch (random.below(12)) {
        case 0:
          event.kind = Kind::failed;
          break;
        case 1:
          event.value = std::nan("");
          break;
        case 2:
          event.kind = Kind::lost;
          ++lost;
          break;
        default:
          break;
        }
        halving.apply(event);
        idle.insert(worker);
      }
      CHECK(halving.trials().size() == 60);
      CHECK(promotions > 5);
      // m of n went on at least, as far as they had not failed; nobody who failed did.
      for (auto const& trial : halving.trials()) {
        REQUIRE(trial.reached == trial.assigned);
        REQUIRE(trial.losses.size() == static_cast<std::size_t>(trial.reached) + 1);
        for (std::size_t i = 0; i + 1 < trial.losses.size(); ++i)
          REQUIRE(std::isfinite(trial.losses[i]));
        REQUIRE(std::isfinite(trial.losses.back()) != trial.failed);
      }
    }
  }
}

TEST_CASE("halving: ranking by fronts promotes what is cheap and good", "[halving]")
{
  // Losses fall with the costs: nothing dominates, so all are one front, and the loss alone decides.
  Halving chain(settings_of(3, 9, HalvingPreset::sha_sync, RankRule::nondominated));
  auto const done =
      simulate(chain, [](int trial, int) { return 9 - trial; }, {.cost = [](int trial) { return trial; }});
  CHECK(trace(done.decisions) == "S0 S1 S2 S3 S4 S5 S6 S7 S8 8>1 7>1 6>1");
  // Trials 0 to 5 have one cost; 6 to 8 are worse, and cheaper: they make the first front with the best of those.
  Halving mixed(settings_of(3, 9, HalvingPreset::sha_sync, RankRule::nondominated));
  auto const picked = simulate(mixed, [](int trial, int) { return trial; },
                               {.cost = [](int trial) { return trial < 6 ? 10 : 9 - trial; }});
  CHECK(trace(picked.decisions) == "S0 S1 S2 S3 S4 S5 S6 S7 S8 0>1 6>1 7>1");
  // A failure is no member of a front.
  Halving failing(settings_of(3, 6, HalvingPreset::sha_sync, RankRule::nondominated));
  auto const left = simulate(failing, [](int trial, int) { return trial == 0 ? std::nan("") : trial; },
                             {.cost = [](int trial) { return trial; }});
  CHECK(trace(left.decisions) == "S0 S1 S2 S3 S4 S5 1>1 2>1");
}

TEST_CASE("halving: in strata of the costs cheap trials survive", "[halving]")
{
  // The loss falls with the cost: by loss alone only dear trials go on.
  auto const loss = [](int trial, int) { return 100 - uniform_cost(trial) + uniform_loss(trial, 0); };
  std::vector<double> costs;
  for (int i = 0; i < 3000; ++i)
    costs.push_back(uniform_cost(100000 + i));
  auto settings = settings_of(9, 270, HalvingPreset::asha_promote, RankRule::stratified);
  settings.edges = cost_edges(costs);
  std::sort(costs.begin(), costs.end());
  CHECK(settings.edges == std::array{costs[1000], costs[2000]});
  auto const promoted = [&](Halving const& halving) {
    std::array<int, 3> count{};
    for (auto const& trial : halving.trials())
      if (trial.reached > 0)
        ++count[static_cast<std::size_t>((trial.cost >= settings.edges[0]) + (trial.cost >= settings.edges[1]))];
    return count;
  };
  Halving stratified(settings);
  simulate(stratified, loss, {.cost = uniform_cost});
  for (int const count : promoted(stratified))
    CHECK(count >= 270 / 3 / 3 - 8);
  settings.rank = RankRule::loss;
  Halving plain(settings);
  simulate(plain, loss, {.cost = uniform_cost});
  CHECK(promoted(plain)[0] < 5);
  CHECK(error_of([] { cost_edges({1, 2}); }) == "cost edges: at least 3 costs are needed, got 2");
  CHECK(error_of([] { cost_edges({1, 2, std::nan("")}); }) == "cost edges: a cost must be finite, got nan");
}

TEST_CASE("halving: asha-stop goes on while few are there, then only with the best", "[halving]")
{
  auto const settings = settings_of(9, 6, HalvingPreset::asha_stop);
  constexpr double losses[] = {3, 5, 4, 2, 6, 1};
  Halving halving(settings);
  auto const done = simulate(halving, [&](int trial, int) { return losses[trial]; });
  // Rung 0: 0 and 1 find fewer than three results; 2 is not the best of three, 3 is of four; 5 is among two of six.
  CHECK(trace(done.decisions) == "S0 0>1 0>2 S1 1>1 1>2 S2 S3 3>1 3>2 S4 S5 5>1 5>2");
  CHECK(halving.records() == Records{6, 4, 4});
  Halving failing(settings);
  auto const none = simulate(failing, [](int, int) { return std::nan(""); });
  CHECK(trace(none.decisions) == "S0 S1 S2 S3 S4 S5");
  CHECK(failing.finished());
}

TEST_CASE("halving: synchronous rungs are complete before anyone leaves them", "[halving]")
{
  for (int const workers : {1, 3, 8}) {
    Halving halving(settings_of(27, 29, HalvingPreset::sha_sync));
    bool early = false;
    auto const apply = [&](HalvingEvent const& event) {
      auto const action = halving.apply(event);
      if (action && action->kind == HalvingAction::Kind::resume)
        early = early || halving.records()[static_cast<std::size_t>(action->rung) - 1] != (action->rung == 1   ? 29
                                                                                           : action->rung == 2 ? 9
                                                                                                               : 3);
      return action;
    };
    simulate(halving, apply, uniform_loss, {.workers = workers});
    CHECK_FALSE(early);
    CHECK(halving.records() == Records{29, 9, 3, 1});
    CHECK(halving.finished());
  }
  // Failures open no places: two of nine are left, who both go on, and floor(9 / 9) reaches the top.
  Halving halving(settings_of(9, 9, HalvingPreset::sha_sync));
  simulate(halving, [](int trial, int) { return trial < 7 ? std::nan("") : trial; });
  CHECK(halving.records() == Records{9, 2, 1});
  // All fail: it ends.
  Halving dead(settings_of(9, 9, HalvingPreset::sha_sync));
  simulate(dead, [](int, int) { return std::nan(""); });
  CHECK(dead.records() == Records{9, 0, 0});
  CHECK(dead.finished());
  Halving strata(settings_of(27, 81, HalvingPreset::sha_sync, RankRule::stratified));
  simulate(strata, uniform_loss, {.workers = 3}); // one stratum has them all
  CHECK(strata.records() == Records{81, 27, 9, 3});
}

TEST_CASE("halving: Hyperband's brackets have their trials, and do not wait for each other", "[halving]")
{
  for (int const workers : {1, 4, 50}) {
    Halving halving(settings_of(27, 0, HalvingPreset::hyperband));
    simulate(halving, uniform_loss, {.workers = workers});
    CHECK(halving.records() == Records{27, 9 + 12, 3 + 4 + 6, 1 + 1 + 2 + 4});
    CHECK(halving.epochs_trained() == plan(halving.settings()).epochs);
    CHECK(halving.finished());
  }
  Halving halving(settings_of(3, 7, HalvingPreset::hyperband)); // brackets of 3 and 2 trials, a second pass of 2
  CHECK(trials_of(halving.brackets()) == std::vector{3, 2, 2});
  auto const done = simulate(halving, [](int trial, int) { return trial; }, {.workers = 4});
  CHECK(trace(done.decisions) == "S0 S1 S2 S3 S4 S5 0>1 S6");
  CHECK(halving.brackets()[2].trials == 2);
  CHECK(halving.finished());
}

TEST_CASE("halving: brackets of asha begin at their rungs", "[halving]")
{
  auto settings = settings_of(27, 300);
  settings.brackets = 3;
  Halving halving(settings);
  simulate(halving, uniform_loss, {.workers = 4});
  std::vector<int> begun(3), draws(3);
  for (auto const& trial : halving.trials()) {
    ++begun[static_cast<std::size_t>(trial.bracket)];
    REQUIRE(trial.losses.size() == static_cast<std::size_t>(trial.reached - trial.bracket + 1));
  }
  CHECK(begun == trials_of(halving.brackets()));
  settings.seed = 2;
  CHECK(trials_of(brackets_of(settings)) != begun);
  CHECK(halving.records()[0] == begun[0]);
  CHECK(halving.records()[1] >= begun[1] + begun[0] / 3);
  CHECK(halving.finished());
}

TEST_CASE("halving: pasha opens a rung only where rankings disagree", "[halving]")
{
  auto const settings = settings_of(81, 200, HalvingPreset::pasha);
  Halving agreeing(settings);
  simulate(agreeing, uniform_loss, {.workers = 4}); // the same loss at every rung
  auto const records = agreeing.records();
  CHECK(records[0] == 200);
  CHECK(records[1] > 60);
  CHECK(records[2] + records[3] + records[4] == 0);
  Halving crossing(settings); // the order turns over from rung to rung
  simulate(crossing, [](int trial, int epochs) { return epochs % 2 == 1 && epochs % 4 == 1 ? trial : 200 - trial; });
  CHECK(crossing.records()[2] > 0);
  // Differences within the gap are none.
  Halving near(settings);
  simulate(near, [](int trial, int epochs) { return 1e-4 * (epochs == 3 ? -trial : trial); });
  CHECK(near.records()[2] == 0);
  CHECK(near.finished());
}

TEST_CASE("halving: random search trains everything to the end", "[halving]")
{
  Halving halving(settings_of(27, 10, HalvingPreset::random_full));
  auto const done = simulate(halving, uniform_loss, {.workers = 3});
  CHECK(halving.records() == Records{10});
  CHECK(halving.epochs_trained() == 270);
  CHECK(done.time == 4 * 27);
}

TEST_CASE("halving: what is lost goes out again first", "[halving]")
{
  Halving halving(settings_of(9, 30));
  auto const free = [&](int worker) { return *halving.apply({.worker = worker}); };
  auto const start = [&](int worker) {
    auto const action = free(worker);
    halving.apply({Kind::started, action.trial, action.rung, 1, worker});
    return action;
  };
  auto const finish = [&](int trial, int rung, double loss, int worker) {
    halving.apply({Kind::result, trial, rung, loss, worker});
  };
  for (int worker = 0; worker < 3; ++worker)
    CHECK(start(worker) == HalvingAction{HalvingAction::Kind::start, worker, 0});
  for (int trial = 0; trial < 3; ++trial)
    finish(trial, 0, trial, trial);
  CHECK(free(0) == HalvingAction{HalvingAction::Kind::resume, 0, 1});
  CHECK(start(1).trial == 3);
  CHECK(free(2).trial == 4); // not started yet
  CHECK(halving.flights() == std::vector<HalvingFlight>{{0, 1, 0}, {3, 0, 1}, {4, 0, 2}});
  // Trial 3 had left its checkpoint; the others have none, or had no configuration yet.
  auto const events = recovery(halving, [](int trial, int rung) -> std::optional<double> {
    return rung == 0 && trial >= 3 ? std::optional(0.5) : std::nullopt;
  });
  REQUIRE(events.size() == 3);
  CHECK((events[0].kind == Kind::lost && events[0].trial == 0));
  CHECK((events[1].kind == Kind::result && events[1].trial == 3 && events[1].value == 0.5));
  CHECK((events[2].kind == Kind::lost && events[2].trial == 4));
  for (auto const& event : events)
    halving.apply(event);
  CHECK(free(7) == HalvingAction{HalvingAction::Kind::resume, 0, 1});
  CHECK(free(8) == HalvingAction{HalvingAction::Kind::start, 4, 0});
  CHECK(free(9) == HalvingAction{HalvingAction::Kind::start, 5, 0});
  CHECK(halving.flights().size() == 3);
}

TEST_CASE("halving: events that cannot be are refused and change nothing", "[halving]")
{
  Halving halving(settings_of(9, 30));
  halving.apply({.worker = 0});
  auto const error = [&](HalvingEvent const& event) { return error_of([&] { halving.apply(event); }); };
  CHECK(error({.worker = 0}) == "event free of worker 0: it has trial 0");
  CHECK(error({.worker = -1}) == "event free of worker -1: the worker must not be negative");
  CHECK(error({Kind::result, 1, 0, 1, 0}) ==
        "event result of trial 1 at rung 0 from worker 0: no worker has this trial");
  CHECK(error({Kind::result, 0, 1, 1, 0}) ==
        "event result of trial 0 at rung 1 from worker 0: it was sent to rung 0 with worker 0");
  CHECK(error({Kind::failed, 0, 0, 1, 2}) ==
        "event failed of trial 0 at rung 0 from worker 2: it was sent to rung 0 with worker 0");
  CHECK(error({Kind::result, 0, 0, 1, 0}) == "event result of trial 0 at rung 0 from worker 0: it was not started");
  CHECK(error({Kind::started, 0, 0, -1, 0}) ==
        "event started of trial 0 at rung 0 from worker 0: the cost must be >= 0, got -1");
  halving.apply({Kind::started, 0, 0, 4, 0});
  CHECK(error({Kind::started, 0, 0, 5, 0}) ==
        "event started of trial 0 at rung 0 from worker 0: the cost was 4, now is 5");
  halving.apply({Kind::started, 0, 0, 4, 0});
  halving.apply({Kind::result, 0, 0, 1, 0});
  CHECK(error({Kind::result, 0, 0, 1, 0}) ==
        "event result of trial 0 at rung 0 from worker 0: no worker has this trial");
  CHECK(halving.records() == Records{1, 0, 0});
}

TEST_CASE("halving: settings that cannot be are refused with their names", "[halving]")
{
  auto const error = [](auto const& change) {
    auto settings = settings_of(27, 10);
    change(settings);
    return error_of([&] { Halving const halving(settings); });
  };
  CHECK(error([](auto& it) { it.eta = 1; }) == "halving: 'eta' must be in [2, 1000000000], got 1");
  CHECK(error([](auto& it) { it.trials = 0; }) == "halving: 'trials' must be in [1, 10000000], got 0");
  CHECK(error([](auto& it) { it.least_epochs = 28; }) == "halving: 'least_epochs' must be in [1, 27], got 28");
  CHECK(error([](auto& it) { it.most_epochs = 0; }) == "halving: 'most_epochs' must be in [1, 1000000000], got 0");
  CHECK(error([](auto& it) { it.brackets = 5; }) == "halving: 'brackets' must be in [1, 4], got 5");
  CHECK(error([](auto& it) {
          it.preset = HalvingPreset::pasha;
          it.brackets = 2;
        }) == "halving: 'brackets' must be 1 with preset pasha, got 2");
  CHECK(error([](auto& it) { it.edges = {2, 1}; }) ==
        "halving: 'edges' must be two finite numbers in ascending order, got 2 and 1");
  CHECK(error([](auto& it) {
          it.preset = HalvingPreset::hyperband;
          it.least_epochs = 1;
          it.most_epochs = 1'000'000'000;
        }).starts_with("hyperband: bracket 18 would have 387420489 trials"));
  for (auto const& preset : halving_preset_names())
    CHECK(name(parse_halving_preset(preset, "test")) == preset);
  for (auto const& rule : rank_rule_names())
    CHECK(name(parse_rank_rule(rule, "test")) == rule);
  CHECK(error_of([] { parse_rank_rule("best", "--rank"); }) ==
        "--rank: unknown name 'best' (known: loss, nondominated, stratified)");
  auto settings = settings_of(81, 7, HalvingPreset::asha_stop, RankRule::stratified);
  settings.edges = {0.1, 1e300};
  settings.seed = ~std::uint64_t{0};
  json::Value const value = to_json(settings);
  json::Reader reader(value, "test");
  CHECK(to_json(parse_halving_settings(reader)) == value);
}
