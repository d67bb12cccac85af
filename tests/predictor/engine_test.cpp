// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The published engines against the values that their authors published, and those recomputed from the data.
#include "shared_data.hpp"

#include <nasturtium/predictor/fit.hpp>
#include <nasturtium/predictor/metrics.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <map>

using namespace nasturtium;
using namespace nasturtium::predictor;

namespace {

double const failed = std::numeric_limits<double>::infinity();

Settings a4nn_settings(double tolerance = 0.5)
{
  auto settings = preset("a4nn");
  settings.tolerance = tolerance;
  return settings;
}

} // namespace

TEST_CASE("engine: the three golden rows of PENGUIN")
{
  struct Row
  {
    double stop;
    std::size_t points;
    double published, final_value;
  };
  std::vector<Row> const rows{
      {3.0, 6, 1.188783, 1.125989}, {4.0, 8, 25.712059, 26.99}, {8.5, 17, 22.819695, 16.842105}};
  auto const curves = test::penguin_curves();
  for (auto const* const name : {"penguin", "penguin-modular"}) {
    auto const result = replay(curves, preset(name));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      INFO(name << " " << result.curves[i].id);
      CHECK(result.curves[i].converged);
      CHECK(result.curves[i].stop_epoch == rows[i].stop);
      CHECK(result.curves[i].points == rows[i].points);
      CHECK(std::abs(result.curves[i].prediction - rows[i].published) < 1e-3);
      CHECK(std::abs(result.curves[i].final_value - rows[i].final_value) < 1e-6);
    }
    auto const summary = summarise(result);
    CHECK(summary.saved == Catch::Approx(0.742).margin(0.0005));
    CHECK(summary.throughput == Catch::Approx(3.87).margin(0.005));
    CHECK(summary.mae == Catch::Approx(2.44).margin(0.005));
    CHECK(summary.worst == Catch::Approx(5.98).margin(0.005));
  }
}

TEST_CASE("engine: sums of the golden curves, so that the reader is right")
{
  auto const curves = test::penguin_curves();
  std::vector<double> const sums{84.073849, 2055.27, 1181.275274};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    CHECK(curves.curves[i].points() == 80);
    double sum = 0;
    for (double const value : curves.curves[i].values)
      sum += value;
    CHECK(sum == Catch::Approx(sums[i]).epsilon(1e-7));
  }
}

TEST_CASE("engine: every prediction on the way of the golden curves")
{
  std::vector<std::vector<double>> const traces{{1.00426, failed, failed, 1.46258, 1.18878},
                                                {102.00886, 19.27751, 21.87644, failed, 24.91690, 25.30174, 25.71206},
                                                {26.54401, failed, failed, 9.04003, 16.78862, 36.45158, 12.93143,
                                                 17.38483, 34.37989, 21.63751, 33.70113, 24.73816, 25.36673, 23.20443,
                                                 22.64979, 22.81969}};
  std::map<std::string, std::vector<double>> seen;
  ReplayOptions options;
  options.trace = [&](RecordedCurve const& curve, std::size_t, Prediction const& prediction) {
    seen[curve.id].push_back(prediction.value);
  };
  auto const curves = test::penguin_curves();
  replay(curves, preset("penguin"), options);
  for (std::size_t i = 0; i < traces.size(); ++i) {
    auto const& trace = seen[curves.curves[i].id];
    REQUIRE(trace.size() == traces[i].size() + 1);
    CHECK(std::isnan(trace[0])); // one point: nothing to fit
    for (std::size_t j = 0; j < traces[i].size(); ++j) {
      INFO(curves.curves[i].id << " n = " << j + 2);
      if (std::isinf(traces[i][j]))
        CHECK(std::isinf(trace[j + 1]));
      else
        CHECK(std::abs(trace[j + 1] - traces[i][j]) < (j == 0 ? 5e-3 : 1e-3));
    }
  }
}

TEST_CASE("engine: preset a4nn on the golden curves")
{
  auto settings = preset("a4nn");
  settings.e_pred = 20;
  settings.spacing = 0.5;
  auto const result = replay(test::penguin_curves(), settings);
  std::vector<std::pair<double, double>> const rows{{3.0, 1.19236}, {4.0, 25.71206}, {8.5, 22.91955}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(result.curves[i].stop_epoch == rows[i].first);
    CHECK(std::abs(result.curves[i].prediction - rows[i].second) < 1e-3);
  }
}

TEST_CASE("engine: every published flag of A4NN, complete and stopped searches")
{
  for (bool const stopping : {false, true}) {
    auto const curves = test::a4nn_curves(stopping);
    int flags_differ = 0, predictions_differ = 0, failures_differ = 0, rows = 0, infinite = 0;
    auto const method = make_method(preset("a4nn"));
    for (auto const& curve : curves.curves)
      for (std::size_t i = 0; i < curve.points(); ++i) {
        auto const said = method->observe(curve.id, curve.epochs[i], curve.values[i]);
        if (said.converged != static_cast<bool>(curve.published_converged[i])) ++flags_differ;
        if (i < 3) continue;
        ++rows;
        double const published = curve.published_predictions[i];
        if (std::isinf(published) != std::isinf(said.value))
          ++failures_differ;
        else if (std::isfinite(published) && std::abs(published - said.value) > 1e-2)
          ++predictions_differ;
        if (std::isinf(said.value)) ++infinite;
      }
    INFO((stopping ? "stopping" : "complete") << ": " << rows << " rows, " << predictions_differ << " predictions and "
                                              << failures_differ << " failures differ, " << infinite << " infinite");
    CHECK(curves.curves.size() == 100);
    CHECK(flags_differ == 0);
    CHECK(predictions_differ + failures_differ <= 10);
    CHECK(failures_differ <= 2);
    if (!stopping) CHECK(rows == 2200);
  }
}

TEST_CASE("engine: first stops of the complete A4NN search")
{
  std::vector<int> const stops{14, 25, 12, 12, 22, 0, 17, 16, 0, 22, 0, 24, 25, 0, 0, 24, 0, 19, 18, 18};
  auto const result = replay(test::a4nn_curves(), a4nn_settings());
  for (std::size_t i = 0; i < stops.size(); ++i) {
    INFO("network " << i);
    CHECK(result.curves[i].converged == (stops[i] > 0));
    CHECK(result.curves[i].stop_epoch == (stops[i] > 0 ? stops[i] : 25));
  }
}

TEST_CASE("engine: aggregates of the complete A4NN search")
{
  auto const curves = test::a4nn_curves();
  auto const result = replay(curves, a4nn_settings());
  auto const engine = summarise(result), best = summarise(result, Reported::best_so_far),
             last = summarise(result, Reported::last_value);
  CHECK(engine.saved == Catch::Approx(0.1556).margin(5e-5));
  CHECK(engine.converged == Catch::Approx(0.68));
  CHECK(engine.mean_stop == Catch::Approx(19.28).margin(0.005));
  auto const row = [](Summary const& summary, double mae, double stopped, double bias, double worst, double rho,
                      double tau, double regret, double top_ten) {
    INFO(summary.method);
    CHECK(summary.mae == Catch::Approx(mae).margin(0.0005));
    CHECK(summary.mae_stopped == Catch::Approx(stopped).margin(0.0005));
    CHECK(summary.bias == Catch::Approx(bias).margin(0.0005));
    CHECK(summary.worst == Catch::Approx(worst).margin(0.0005));
    CHECK(summary.spearman == Catch::Approx(rho).margin(0.0005));
    CHECK(summary.kendall == Catch::Approx(tau).margin(0.0005));
    CHECK(summary.regret == Catch::Approx(regret).margin(0.0005));
    CHECK(summary.recall[2] == Catch::Approx(top_ten / 10));
  };
  row(engine, 3.356, 4.935, -3.042, 22.030, 0.319, 0.272, 0.176, 3);
  row(best, 0.670, 0.977, -0.956, 6.570, 0.879, 0.772, 0.031, 5);
  row(last, 2.435, 3.581, -3.566, 27.690, 0.781, 0.681, 0.031, 5);
  CHECK(engine.top_difference == Catch::Approx(1.319).margin(0.0005));
  CHECK(best.top_difference == Catch::Approx(0.057).margin(0.0005));
  CHECK(engine.recall[0] == 0);
  CHECK(engine.recall[1] == 0);
  CHECK(best.recall[1] == Catch::Approx(3.0 / 5));
  CHECK(engine.epsilon_recall[0] == 1);
  CHECK(engine.epsilon_recall[1] == Catch::Approx(3.0 / 5));
  CHECK(engine.epsilon_recall[2] == Catch::Approx(0.7));
  CHECK(best.epsilon_recall[2] == 1);
}

TEST_CASE("engine: other tolerances and the other rules on the A4NN search")
{
  auto const curves = test::a4nn_curves();
  auto const check = [&](Settings const& settings, double saved, double mae, double margin) {
    auto const summary = summarise(replay(curves, settings));
    INFO(settings.name << " t = " << settings.tolerance);
    CHECK(summary.saved == Catch::Approx(saved).margin(0.0005));
    CHECK(summary.mae == Catch::Approx(mae).margin(margin));
  };
  check(a4nn_settings(0.1), 0.021, 0.22, 0.005);
  check(a4nn_settings(0.25), 0.074, 1.26, 0.005);
  check(a4nn_settings(1), 0.295, 7.26, 0.005);
  check(a4nn_settings(2), 0.440, 10.63, 0.005);
  for (auto const* const name : {"penguin", "penguin-modular"}) {
    auto settings = preset(name);
    settings.e_pred = 25;
    settings.spacing = 1;
    check(settings, std::string(name) == "penguin" ? 0.137 : 0.148, std::string(name) == "penguin" ? 2.474 : 2.775,
          0.0005);
  }
}

TEST_CASE("engine: the MetaQNN curves")
{
  struct Row
  {
    char const* file;
    double e_pred, saved, engine, last, best, rho_engine, rho_last, rho_best;
  };
  for (auto const& row : {Row{"metaqnn_cifar10", 20, 0.485, 1.096, 1.601, 1.611, .989, .992, .991},
                          Row{"deep_resnets_cifar10", 50, 0.584, 9.280, 11.017, 9.932, .522, .511, .519}}) {
    auto settings = preset("a4nn");
    settings.e_pred = row.e_pred;
    auto const result = replay(test::metaqnn_curves(row.file), settings);
    INFO(row.file);
    CHECK(summarise(result).saved == Catch::Approx(row.saved).margin(0.0005));
    CHECK(summarise(result).mae == Catch::Approx(row.engine).margin(0.0005));
    CHECK(summarise(result, Reported::last_value).mae == Catch::Approx(row.last).margin(0.0005));
    CHECK(summarise(result, Reported::best_so_far).mae == Catch::Approx(row.best).margin(0.0005));
    CHECK(summarise(result).spearman == Catch::Approx(row.rho_engine).margin(0.0005));
    CHECK(summarise(result, Reported::last_value).spearman == Catch::Approx(row.rho_last).margin(0.0005));
    CHECK(summarise(result, Reported::best_so_far).spearman == Catch::Approx(row.rho_best).margin(0.0005));
  }
}

TEST_CASE("engine: how much the solver matters")
{
  auto const curves = test::a4nn_curves();
  auto more = a4nn_settings(), exact = a4nn_settings();
  more.max_evaluations = 20000;
  exact.solver = Solver::exact;
  auto const with_more = summarise(replay(curves, more)), with_exact = summarise(replay(curves, exact));
  CHECK(with_more.saved == Catch::Approx(0.156).margin(0.0005));
  CHECK(with_more.mae == Catch::Approx(3.353).margin(0.0005));
  CHECK(with_exact.saved == Catch::Approx(0.150).margin(0.0005));
  CHECK(with_exact.mae == Catch::Approx(2.994).margin(0.0005));
  auto penguin = preset("penguin");
  penguin.solver = Solver::exact;
  CHECK(replay(test::penguin_curves(), penguin).curves[0].prediction == Catch::Approx(1.05407).margin(1e-4));
}

TEST_CASE("fit: the other families find a curve of their own")
{
  std::vector<std::pair<Family, Parameters>> const truths{
      {Family::pow2, {40, 0.2, 0, 0}},    {Family::pow3, {-30, -0.8, 80, 0}}, {Family::log2, {10, 20, 0, 0}},
      {Family::exp2, {30, 0.02, 0, 0}},   {Family::exp3, {-50, -0.2, 80, 0}}, {Family::exp4, {0.3, 3.5, 70, 0.8}},
      {Family::expd3, {10, 0.3, 85, 0}},  {Family::vap3, {4, -1, 0.05, 0}},   {Family::mmf4, {15, 6, 90, 1.2}},
      {Family::wbl4, {85, 60, 0.4, 0.8}}, {Family::ilog2, {20, 90, 0, 0}},    {Family::expp3, {-0.5, 0.5, 80, 0}}};
  Fitter fitter;
  for (auto const& [family, p] : truths) {
    std::vector<double> x, y;
    for (int i = 2; i < 22; ++i) {
      x.push_back(i);
      y.push_back(evaluate(family, i, p));
    }
    auto const fit = fitter.multi_start(family, x, y, 2000);
    INFO(name(family) << " cost " << fit.cost << " after " << fit.evaluations);
    REQUIRE(fit.success);
    CHECK(std::abs(evaluate(family, 25, fit.parameters) - evaluate(family, 25, p)) < 0.05);
  }
}

TEST_CASE("fit: falling, flat and tiny problems do not crash")
{
  Fitter fitter;
  for (auto const& y : std::vector<std::vector<double>>{{50}, {0, 0, 0, 0}, {90, 50, 10, 1}, {100, 0, 100, 0, 100}}) {
    std::vector<double> x;
    for (std::size_t i = 0; i < y.size(); ++i)
      x.push_back(static_cast<double>(i + 1));
    for (auto const& range : {penguin_range(), a4nn_range()}) {
      auto const fit = fitter.trust_region(Family::exp_default, x, y, range);
      CHECK(fit.evaluations <= 300);
      if (fit.success) {
        CHECK(fit.parameters[0] >= 0.5);
        CHECK(fit.parameters[0] <= 200);
        CHECK(fit.parameters[1] >= 1);
        CHECK(fit.parameters[2] >= 0);
        // Never better than the optimum.
        CHECK(fitter.exact(x, y, range).cost <= fit.cost * (1 + 1e-6) + 1e-9);
      }
    }
    for (int family = 0; family < family_count; ++family)
      fitter.multi_start(static_cast<Family>(family), x, y, 50);
  }
}
