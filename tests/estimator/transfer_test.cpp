// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/transfer.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;

namespace {

/// Rows of a device whose time over the roofline has a level and a slope of its own.
void add_device(FeatureRows& rows, std::string const& name, double level, double slope, int count, std::uint32_t stream)
{
  for (int i = 0; i < count; ++i) {
    auto const draw = random_block(3, Purpose::synthetic, stream, static_cast<std::uint64_t>(i));
    double const a = to_unit_float(draw.word[0]), b = to_unit_float(draw.word[1]);
    double const roofline = std::exp(2 * to_unit_float(draw.word[2]));
    rows.add({a, b, level}, roofline, roofline * std::exp(level + slope * a + std::sin(6 * b)));
    rows.devices.push_back(name);
  }
}

FeatureRows empty()
{
  FeatureRows rows;
  rows.names = {"a", "b", "constant of the device"};
  return rows;
}

double mape(DeviceTransfer const& transfer, FeatureRows const& rows)
{
  std::vector<double> predicted;
  for (std::size_t i = 0; i < rows.size(); ++i)
    predicted.push_back(transfer.predict(rows.row(i), rows.roofline[i]).seconds);
  return error_metrics(predicted, rows.seconds).mape;
}

} // namespace

TEST_CASE("one scale is the median's, two are the classes', a line is a line", "[transfer]")
{
  std::vector<double> const predicted{1, 2, 4}, measured{2, 4, 40};
  ProbeScale const one(ScaleKind::one, predicted, measured);
  CHECK(one(3) == Approx(6));
  CHECK(ProbeScale(ScaleKind::one, {}, {})(3) == Approx(3));

  std::vector<double> six{1, 1, 1, 1, 1, 1}, times{2, 2, 2, 5, 5, 5};
  std::vector<bool> bound{true, true, true, false, false, false};
  ProbeScale const two(ScaleKind::two, six, times, bound);
  CHECK(two(1, true) == Approx(2));
  CHECK(two(1, false) == Approx(5));
  bound.back() = true; // two memory-bound probes are too few
  ProbeScale const fallback(ScaleKind::two, six, times, bound);
  CHECK(fallback(1, true) == Approx(2));
  CHECK(fallback(1, false) == Approx(std::sqrt(10)));

  std::vector<double> x, y;
  for (int i = 1; i <= 20; ++i) {
    x.push_back(i);
    y.push_back(3 * std::pow(i, 0.8));
  }
  CHECK(ProbeScale(ScaleKind::affine, x, y)(50) == Approx(3 * std::pow(50, 0.8)));
  x.pop_back();
  y.pop_back();
  CHECK(ProbeScale(ScaleKind::affine, x, y)(50) == Approx(ProbeScale(ScaleKind::one, x, y)(50)));
  CHECK_THROWS_AS(ProbeScale(ScaleKind::one, x, std::vector<double>{1}), Error);
  CHECK_THROWS_AS(ProbeScale(ScaleKind::one, std::vector<double>{1}, std::vector<double>{0}), Error);
  CHECK_THROWS_AS(ProbeScale(ScaleKind::two, x, y), Error);
}

TEST_CASE("every rule finds a pure scale, and without probes changes nothing", "[transfer]")
{
  std::vector<double> predicted, measured;
  std::vector<bool> bound;
  for (int i = 0; i < 24; ++i) {
    predicted.push_back(1e-4 * (1 + i * i));
    measured.push_back(2.5 * predicted.back());
    bound.push_back(i % 2 == 0);
  }
  std::set<std::string> names;
  for (ScaleKind const kind : {ScaleKind::one, ScaleKind::two, ScaleKind::affine}) {
    names.insert(name(kind));
    INFO(name(kind));
    for (std::size_t const probes : {std::size_t{1}, std::size_t{5}, predicted.size()}) {
      std::vector<bool> const classes(bound.begin(), bound.begin() + static_cast<std::ptrdiff_t>(probes));
      ProbeScale const scale(kind, std::span(predicted).first(probes), std::span(measured).first(probes), classes);
      for (double const seconds : {1e-6, 1e-3, 10.0}) {
        CHECK(scale(seconds, true) == Approx(2.5 * seconds));
        CHECK(scale(seconds, false) == Approx(2.5 * seconds));
      }
    }
    CHECK(ProbeScale(kind, {}, {})(0.3, false) == Approx(0.3));
    // Probes that are all alike have no slope.
    std::vector<double> const alike(20, 0.5), twice(20, 1.0);
    CHECK(ProbeScale(kind, alike, twice, std::vector<bool>(20, true))(3) == Approx(6));
  }
  CHECK(names.size() == 3);
}

TEST_CASE("probes are distinct, and the greedy ones those of the widest spread", "[transfer]")
{
  auto const drawn = random_probes(30, 12, 4);
  CHECK(std::set<std::size_t>(drawn.begin(), drawn.end()).size() == 12);
  CHECK(*std::max_element(drawn.begin(), drawn.end()) < 30);
  CHECK(drawn == random_probes(30, 12, 4));
  CHECK(drawn != random_probes(30, 12, 5));
  CHECK(greedy_probes(std::vector{0.1, 0.5, 0.3, 0.5}, 3) == std::vector<std::size_t>{1, 3, 2});
  CHECK(random_probes(3, 0, 1).empty());
  CHECK_THROWS_AS(random_probes(3, 4, 1), Error);
  CHECK_THROWS_AS(greedy_probes(std::vector{0.1}, 2), Error);
}

TEST_CASE("a transfer learns a new device's level and slope from probes", "[transfer]")
{
  auto training = empty(), probes = empty(), test = empty();
  DeviceTransfer transfer;
  CHECK_THROWS_AS(transfer.predict(std::vector{0.0, 0.0, 0.0}, 1), Error);
  add_device(training, "one", 0.2, 0.1, 250, 1);
  try {
    transfer.fit(training, 1);
    FAIL("one device is no set of devices");
  } catch (Error const&) {
    SUCCEED("refused");
  }
  add_device(training, "two", -0.3, 0.9, 250, 2);
  add_device(training, "three", 0.0, 0.4, 250, 3);
  add_device(probes, "new", 0.9, 1.5, 40, 4);
  add_device(test, "new", 0.9, 1.5, 100, 5);
  try {
    transfer.fit(training, 1);
  } catch (Error const& error) {
    SKIP(error.what()); // a build without XGBoost
  }
  double const without = mape(transfer, test);
  transfer.calibrate(probes);
  double const with = mape(transfer, test);
  CHECK(without > 0.4);
  CHECK(with < 0.12);
  // A wild probe does not bend the rest.
  auto wild = probes;
  wild.seconds[0] *= 1000;
  transfer.calibrate(wild);
  CHECK(mape(transfer, test) < 0.2);
  transfer.calibrate({});
  CHECK(mape(transfer, test) == without);
}
