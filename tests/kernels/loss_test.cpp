// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/loss.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

struct Expected
{
  std::vector<double> probabilities, gradient;
  std::vector<double> metrics = std::vector<double>(metric_count, 0.0);
};

/// Softmax and cross-entropy by their definitions, in double.
template <class Real>
Expected reference(int batch, int classes, std::vector<Real> const& logits, std::vector<std::int32_t> const& labels,
                   double smoothing, int top_k)
{
  Expected expected;
  for (int row = 0; row < batch; ++row) {
    std::vector<double> x;
    for (int k = 0; k < classes; ++k)
      x.push_back(static_cast<double>(logits[static_cast<std::size_t>(row * classes + k)]));
    double const peak = *std::max_element(x.begin(), x.end());
    double total = 0;
    for (double const value : x)
      total += std::exp(value - peak);
    int const label = labels[static_cast<std::size_t>(row)];
    for (int k = 0; k < classes; ++k) {
      double const value = x[static_cast<std::size_t>(k)];
      double const target = (k == label ? 1 - smoothing : 0) + smoothing / classes;
      double const p = std::exp(value - peak) / total;
      expected.probabilities.push_back(p);
      expected.gradient.push_back((p - target) / batch);
      expected.metrics[0] -= target * (value - peak - std::log(total));
    }
    // Classes by falling logit, the first of equals first.
    std::vector<int> order(static_cast<std::size_t>(classes));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)]; });
    auto const place = std::find(order.begin(), order.end(), label) - order.begin();
    expected.metrics[1] += place == 0;
    expected.metrics[2] += place < top_k;
    expected.metrics[3] += 1;
  }
  return expected;
}

template <class Real>
std::vector<double> cross_entropy(Space const& exec, int batch, int classes, std::vector<Real> const& logits,
                                  std::vector<std::int32_t> const& labels, Real smoothing, int top_k,
                                  Values<Real> const& gradient)
{
  Values<Real> const x(logits);
  Values<std::int32_t> const y(labels);
  Values<double> const metrics(std::vector<double>(metric_count, 0.0));
  Scratch const scratch(loss_workspace<Space, Real>(batch));
  softmax_cross_entropy<Space, Real>(exec, batch, classes, x, y, smoothing, top_k, gradient, metrics, scratch);
  return metrics.host();
}

} // namespace

TEMPLATE_TEST_CASE("softmax and cross-entropy agree with their definitions", "[loss]", float, double)
{
  Space const exec;
  // float32: sums of up to 700 exponentials below 1, each good to 2e-7.
  double const unit = sizeof(TestType) == 4 ? 4e-6 : 1e-13;
  for (int const batch : {0, 1, 13, 32, 129})
    for (int const classes : {1, 2, 10, 100, 700})
      for (double const smoothing : {0.0, 0.1}) {
        INFO(batch << " samples, " << classes << " classes, smoothing " << smoothing);
        auto const size = static_cast<std::size_t>(batch * classes);
        auto logits = random_values<TestType>(1, size, -6, 6);
        // Ties, and rows far from zero.
        for (std::size_t i = 0; i < size; i += 3)
          logits[i] = std::round(logits[i]);
        for (std::size_t i = 0; i < std::min(size, static_cast<std::size_t>(classes)); ++i)
          logits[i] += TestType(1000);
        auto const labels = random_integers<std::int32_t>(2, static_cast<std::size_t>(batch), 0, classes - 1);
        int const top_k = std::min(5, classes);
        auto const expected = reference(batch, classes, logits, labels, smoothing, top_k);
        Values<TestType> const gradient(size), probabilities(size);
        auto const metrics = cross_entropy<TestType>(exec, batch, classes, logits, labels,
                                                     static_cast<TestType>(smoothing), top_k, gradient);
        // A logit of 1000 has a last place of 6e-5 in float32: of the first row's loss alone.
        CHECK(std::abs(metrics[0] - expected.metrics[0]) <= unit * std::max(10.0, expected.metrics[0]));
        CHECK(std::vector<double>(metrics.begin() + 1, metrics.end()) ==
              std::vector<double>(expected.metrics.begin() + 1, expected.metrics.end()));
        CHECK(first_difference("gradient", gradient.host(), expected.gradient, unit / std::max(batch, 1), unit) == "");
        auto const again = cross_entropy<TestType>(exec, batch, classes, logits, labels,
                                                   static_cast<TestType>(smoothing), top_k, Values<TestType>());
        CHECK(first_bit_difference("metrics without gradient", again, metrics) == "");
        Values<TestType> const x(logits);
        softmax<Space, TestType>(exec, batch, classes, x, probabilities);
        CHECK(first_difference("softmax", probabilities.host(), expected.probabilities, 0, unit) == "");
        softmax<Space, TestType>(exec, batch, classes, x, x);
        CHECK(first_bit_difference("softmax in place", x.host(), probabilities.host()) == "");
      }
}

TEMPLATE_TEST_CASE("weighted softmax is the weighted sum of softmaxes, on any number of threads", "[loss]", float,
                   double)
{
  // float32: as softmax above, and one more rounding for each of the two sums.
  double const unit = sizeof(TestType) == 4 ? 4e-6 : 1e-13;
  for (int const batch : {0, 1, 13, 129}) {
    for (int const classes : {1, 10, 512, 513}) { // 512 exponentials are kept, more are not
      INFO(batch << " samples, " << classes << " classes");
      auto const size = static_cast<std::size_t>(batch * classes);
      auto const first = random_values<TestType>(3, size, -6, 6), second = random_values<TestType>(4, size, -6, 6);
      std::vector<std::int32_t> const labels(static_cast<std::size_t>(batch), 0);
      auto const p = reference(batch, classes, first, labels, 0, 1).probabilities;
      auto const q = reference(batch, classes, second, labels, 0, 1).probabilities;
      std::vector<double> expected;
      for (std::size_t i = 0; i < size; ++i)
        expected.push_back(0.25 * p[i] + 0.75 * q[i]);
      auto const sum = [&](Space const& exec) {
        Values<TestType> const a(first), b(second), dst(size);
        weighted_softmax<Space, TestType>(exec, batch, classes, a, TestType(0.25), false, dst);
        weighted_softmax<Space, TestType>(exec, batch, classes, b, TestType(0.75), true, dst);
        return dst.host();
      };
      CHECK(first_difference("sum", sum(Space()), expected, 0, unit) == "");
      CHECK(instance_difference("sum", sum) == "");
    }
  }
}

TEST_CASE("metrics add up over batches", "[loss]")
{
  Space const exec;
  Values<float> const logits(std::vector<float>{1, 2, 3, 3, 2, 1});
  Values<std::int32_t> const labels(std::vector<std::int32_t>{2, 1});
  Values<double> const metrics(std::vector<double>{0, 0, 0, 0});
  Scratch const scratch(loss_workspace<Space, float>(2));
  for (int i = 0; i < 3; ++i)
    softmax_cross_entropy<Space, float>(exec, 2, 3, logits, labels, 0.0f, 2, Values<float>(), metrics, scratch);
  auto const sums = metrics.host();
  double const log_sum = std::log(1 + std::exp(-1.0) + std::exp(-2.0));
  CHECK(std::abs(sums[0] - 3 * (2 * log_sum + 1)) < 1e-5);
  CHECK(std::vector<double>(sums.begin() + 1, sums.end()) == std::vector<double>{3, 6, 6});
}

TEST_CASE("a diverged network has a NaN loss and no hits", "[loss]")
{
  Space const exec;
  float const nan = std::numeric_limits<float>::quiet_NaN();
  for (auto const& row : {std::vector<float>{nan, nan, nan}, {nan, 1, 2}, {3, nan, 1}}) {
    Values<float> const gradient(3);
    auto const metrics = cross_entropy<float>(exec, 1, 3, row, {0}, 0.0f, 1, gradient);
    CHECK(std::isnan(metrics[0]));
    CHECK(metrics[1] == 0);
    CHECK(std::isnan(gradient.host()[0]));
  }
}

TEST_CASE("loss gradients agree with central differences", "[loss][gradient]")
{
  Space const exec;
  int const batch = 3, classes = 5;
  auto const x = random_values<double>(3, 15, -2, 2);
  std::vector<std::int32_t> const labels{4, 0, 2};
  for (double const smoothing : {0.0, 0.2}) {
    Values<double> const gradient(15);
    cross_entropy<double>(exec, batch, classes, x, labels, smoothing, 1, gradient);
    auto const mean = [&](std::vector<double> const& v) {
      return cross_entropy<double>(exec, batch, classes, v, labels, smoothing, 1, Values<double>())[0] / batch;
    };
    // h^2 times a third derivative below one, and cancellation.
    CHECK(first_difference("cross-entropy", gradient.host(), numeric_gradient(x, mean), 1e-9) == "");
  }
  auto const targets = random_values<double>(4, 15);
  Values<double> const t(targets);
  auto const squares = [&](std::vector<double> const& v, Values<double> const& gradient) {
    Values<double> const values(v), metrics(std::vector<double>(metric_count, 0.0));
    Scratch const scratch(loss_workspace<Space, double>(batch));
    mean_squared_error<Space, double>(exec, batch, classes, values, t, gradient, metrics, scratch);
    return metrics.host()[0] / batch;
  };
  Values<double> const gradient(15);
  squares(x, gradient);
  CHECK(first_difference("mean squared error", gradient.host(),
                         numeric_gradient(x, [&](auto const& v) { return squares(v, Values<double>()); }), 1e-9) == "");
}

TEMPLATE_TEST_CASE("mean squared error agrees with its definition", "[loss]", float, double)
{
  Space const exec;
  double const unit = sizeof(TestType) == 4 ? 1e-6 : 1e-14;
  for (int const batch : {0, 1, 33, 129})
    for (int const width : {1, 7, 300}) {
      INFO(batch << " samples of " << width);
      auto const size = static_cast<std::size_t>(batch * width);
      auto const v = random_values<TestType>(5, size), t = random_values<TestType>(6, size);
      std::vector<double> gradient(size), sums{0, 0, 0, static_cast<double>(batch)};
      for (std::size_t i = 0; i < size; ++i) {
        double const d = static_cast<double>(v[i]) - static_cast<double>(t[i]);
        gradient[i] = 2 * d / static_cast<double>(size);
        sums[0] += d * d / width;
      }
      Values<TestType> const values(v), targets(t), values_grad(size);
      Values<double> const metrics(std::vector<double>(metric_count, 0.0));
      Scratch const scratch(loss_workspace<Space, TestType>(batch));
      mean_squared_error<Space, TestType>(exec, batch, width, values, targets, values_grad, metrics, scratch);
      CHECK(first_difference("gradient", values_grad.host(), gradient, unit / std::max<double>(1, double(size)),
                             unit) == "");
      // The reference adds up to 38,700 squares one after another.
      CHECK(first_difference("metrics", metrics.host(), sums, 0, std::max(unit, 1e-12)) == "");
    }
}

TEMPLATE_TEST_CASE("losses give the same bits on every instance", "[loss][threads]", float, double)
{
  int const batch = 1000, classes = 37;
  auto const logits = random_values<TestType>(7, static_cast<std::size_t>(batch * classes), -3, 3);
  auto const labels = random_integers<std::int32_t>(8, static_cast<std::size_t>(batch), 0, classes - 1);
  CHECK(instance_difference("metrics", [&](Space const& exec) {
          return cross_entropy<TestType>(exec, batch, classes, logits, labels, TestType(0.1), 5, Values<TestType>());
        }) == "");
  CHECK(instance_difference("gradient", [&](Space const& exec) {
          Values<TestType> const gradient(logits.size());
          cross_entropy<TestType>(exec, batch, classes, logits, labels, TestType(0.1), 5, gradient);
          return gradient.host();
        }) == "");
}

TEST_CASE("losses refuse impossible arguments", "[loss]")
{
  Space const exec;
  CHECK_THROWS_AS(cross_entropy<float>(exec, 1, 3, {1, 2, 3}, {0}, 0.0f, 4, Values<float>()), Error);
  CHECK_THROWS_AS(cross_entropy<float>(exec, 2, 3, {1, 2, 3}, {0, 0}, 0.0f, 1, Values<float>()), Error);
}
