// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/batch_norm.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

std::size_t size_of(BatchNormShape const& shape)
{
  return static_cast<std::size_t>(shape.rows * shape.channels);
}

// One row, primes, a chunk and one more, several blocks, channels beyond one pattern (512).
constexpr BatchNormShape shapes[] = {{1, 1},   {1, 7},    {2, 3},     {13, 10},   {128, 16}, {129, 1},   {129, 20},
                                     {257, 3}, {640, 24}, {3001, 50}, {1030, 64}, {37, 513}, {129, 1100}};

/// Plain batch normalisation of one tensor, by its definition.
struct Reference
{
  std::vector<double> mean, variance, inverse_deviation, dst;

  template <class Real>
  Reference(BatchNormShape const& shape, std::vector<Real> const& src, std::vector<Real> const& gamma,
            std::vector<Real> const& beta, double epsilon, std::vector<Real> const& residual, bool relu)
      : mean(static_cast<std::size_t>(shape.channels)), variance(mean), inverse_deviation(mean), dst(src.size())
  {
    auto const channels = static_cast<std::size_t>(shape.channels);
    // Sums in long double: the reference must be better than what is tested.
    auto const rows = static_cast<long double>(shape.rows);
    std::vector<long double> sum(channels), squares(channels);
    for (std::size_t i = 0; i < src.size(); ++i)
      sum[i % channels] += src[i];
    for (std::size_t i = 0; i < src.size(); ++i) {
      long double const d = src[i] - sum[i % channels] / rows;
      squares[i % channels] += d * d;
    }
    for (std::size_t c = 0; c < channels; ++c) {
      mean[c] = static_cast<double>(sum[c] / rows);
      variance[c] = static_cast<double>(squares[c] / rows);
    }
    for (std::size_t c = 0; c < channels; ++c)
      inverse_deviation[c] = 1 / std::sqrt(variance[c] + epsilon);
    for (std::size_t i = 0; i < src.size(); ++i) {
      std::size_t const c = i % channels;
      double y = (static_cast<double>(src[i]) - mean[c]) * inverse_deviation[c] * static_cast<double>(gamma[c]) +
                 static_cast<double>(beta[c]);
      if (!residual.empty()) y += static_cast<double>(residual[i]);
      dst[i] = relu && y < 0 ? 0 : y;
    }
  }
};

/// The op with all that it needs, on one instance.
template <class Real>
struct Run
{
  BatchNormShape shape;
  Real epsilon, momentum;
  Values<Real> src, gamma, beta, residual, running_mean, running_variance, saved_mean, saved_inverse_deviation, dst,
      moments;
  Values<int> arrivals; ///< zeros, whatever has run

  Run(BatchNormShape const& s, std::vector<Real> const& x, std::vector<Real> const& g, std::vector<Real> const& b,
      std::vector<Real> const& r)
      : shape(s), epsilon(Real(1e-5)), momentum(Real(0.9)), src(x), gamma(g), beta(b), residual(r),
        running_mean(std::vector<Real>(g.size(), Real(0.5))), running_variance(std::vector<Real>(g.size(), Real(2))),
        saved_mean(g.size()), saved_inverse_deviation(g.size()), dst(x.size()),
        moments(static_cast<std::size_t>(moment_chunks(s.rows) * 2 * s.channels)),
        arrivals(std::vector<int>(g.size(), 0))
  {
  }

  void forward(Space const& exec, Activation activation, Values<Real> const& to)
  {
    batch_norm_statistics<Space, Real>(
        exec, shape, src,
        {moments, saved_mean, saved_inverse_deviation, running_mean, running_variance, epsilon, momentum, arrivals});
    batch_norm_forward_train<Space, Real>(exec, shape, src, gamma, beta, saved_mean, saved_inverse_deviation, residual,
                                          activation, to);
  }

  void backward(Space const& exec, Activation activation, Values<Real> const& dst_grad, Values<Real> const& src_grad,
                bool accumulate, Values<Real> const& residual_grad, bool accumulate_residual,
                Values<Real> const& gamma_grad, Values<Real> const& beta_grad)
  {
    Scratch const scratch(batch_norm_workspace<Space, Real>(shape));
    batch_norm_backward<Space, Real>(exec, shape, src, dst, dst_grad, gamma, saved_mean, saved_inverse_deviation,
                                     activation, src_grad, accumulate, residual_grad, accumulate_residual, gamma_grad,
                                     beta_grad, scratch, arrivals);
  }
};

template <class Real>
Run<Real> make_run(BatchNormShape const& shape, bool with_residual)
{
  auto const channels = static_cast<std::size_t>(shape.channels);
  auto x = random_values<Real>(1, size_of(shape), -2, 3);
  // A mean that is large against the deviation, to catch E[x^2] - E[x]^2.
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] += Real(10) * static_cast<Real>(i % channels % 5);
  return {shape, x, random_values<Real>(2, channels, 0.5, 1.5), random_values<Real>(3, channels),
          with_residual ? random_values<Real>(4, size_of(shape)) : std::vector<Real>()};
}

} // namespace

TEMPLATE_TEST_CASE("moments of each chunk are exact on integers", "[batch_norm]", float, double)
{
  Space const exec;
  for (BatchNormShape const shape : shapes) {
    INFO(shape.rows << " rows, " << shape.channels << " channels");
    // Each column of a chunk holds its mean plus deviations that cancel in pairs: the mean is an integer.
    auto const channels = static_cast<std::size_t>(shape.channels);
    std::vector<TestType> x(size_of(shape));
    std::vector<double> expected(static_cast<std::size_t>(moment_chunks(shape.rows)) * 2 * channels);
    for (std::size_t c = 0; c < channels; ++c)
      for (Index first = 0; first < shape.rows; first += moment_chunk_rows) {
        Index const last = std::min(shape.rows, first + moment_chunk_rows);
        auto const chunk = static_cast<std::size_t>(first / moment_chunk_rows);
        int const mean = static_cast<int>((c * 3 + chunk) % 11) - 5;
        double squares = 0;
        for (Index row = first; row < last; ++row) {
          // +d, -d, +d, ...; the last of an odd count is the mean itself.
          int const pair = static_cast<int>((row - first) / 2);
          bool const alone = row + 1 == last && (row - first) % 2 == 0;
          int const d = alone ? 0 : (pair % 4) * ((row - first) % 2 == 0 ? 1 : -1);
          x[static_cast<std::size_t>(row) * channels + c] = static_cast<TestType>(mean + d);
          squares += d * d;
        }
        expected[chunk * 2 * channels + c] = mean;
        expected[chunk * 2 * channels + channels + c] = squares;
      }
    Values<TestType> const src(x), moments(expected.size());
    BatchStatistics<Space, TestType> wanted;
    wanted.moments = moments;
    batch_norm_statistics<Space, TestType>(exec, shape, src, wanted);
    // sum * (1 / rows) may round where rows is no power of two: one unit in the last place of 5, and its square.
    double const unit = sizeof(TestType) == 4 ? 5e-7 : 1e-15;
    CHECK(first_difference("moments", moments.host(), expected, unit, 2 * unit) == "");
  }
}

TEMPLATE_TEST_CASE("batch norm in training agrees with its definition", "[batch_norm]", float, double)
{
  Space const exec;
  for (BatchNormShape const shape : shapes)
    for (bool const relu : {false, true})
      for (bool const with_residual : {false, true}) {
        INFO(shape.rows << " rows, " << shape.channels << " channels, relu " << relu << ", residual " << with_residual);
        Activation const activation = relu ? Activation::relu : Activation::identity;
        auto run = make_run<TestType>(shape, with_residual);
        Reference const reference(shape, run.src.host(), run.gamma.host(), run.beta.host(),
                                  static_cast<double>(run.epsilon), run.residual.host(), relu);
        run.forward(exec, activation, run.dst);
        // One row has zero variance: its inverse deviation, 316, multiplies the rounding of x - mean.
        double const unit = sizeof(TestType) == 4 ? 2e-6 : 1e-14;
        double const amplified = shape.rows < 3 ? 1000 * unit : 10 * unit;
        CHECK(first_difference("mean", run.saved_mean.host(), reference.mean, unit * 10) == "");
        CHECK(first_difference("inverse deviation", run.saved_inverse_deviation.host(), reference.inverse_deviation, 0,
                               shape.rows == 1 ? 1e-4 : 20 * unit) == "");
        CHECK(first_difference("dst", run.dst.host(), reference.dst, amplified, unit) == "");
        std::vector<double> running_mean, running_variance;
        double const n = static_cast<double>(shape.rows);
        for (std::size_t c = 0; c < reference.mean.size(); ++c) {
          running_mean.push_back(0.9 * 0.5 + 0.1 * reference.mean[c]);
          running_variance.push_back(0.9 * 2 + 0.1 * reference.variance[c] * (n > 1 ? n / (n - 1) : 1));
        }
        CHECK(first_difference("running mean", run.running_mean.host(), running_mean, 10 * unit) == "");
        CHECK(first_difference("running variance", run.running_variance.host(), running_variance, 10 * unit) == "");
        run.forward(exec, activation, run.src); // in place
        CHECK(first_bit_difference("in place", run.src.host(), run.dst.host()) == "");
      }
}

TEMPLATE_TEST_CASE("batch norm at inference uses the running statistics", "[batch_norm]", float, double)
{
  Space const exec;
  for (BatchNormShape const shape : shapes)
    for (bool const relu : {false, true})
      for (bool const with_residual : {false, true}) {
        INFO(shape.rows << " rows, " << shape.channels << " channels, relu " << relu << ", residual " << with_residual);
        auto const run = make_run<TestType>(shape, with_residual);
        auto const channels = static_cast<std::size_t>(shape.channels);
        auto const m = random_values<TestType>(5, channels), v = random_values<TestType>(6, channels, 0.5, 4);
        auto const x = run.src.host(), g = run.gamma.host(), b = run.beta.host(), r = run.residual.host();
        std::vector<double> expected(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
          std::size_t const c = i % channels;
          double y = (static_cast<double>(x[i]) - static_cast<double>(m[c])) /
                         std::sqrt(static_cast<double>(v[c]) + static_cast<double>(run.epsilon)) *
                         static_cast<double>(g[c]) +
                     static_cast<double>(b[c]);
          if (with_residual) y += static_cast<double>(r[i]);
          expected[i] = relu && y < 0 ? 0 : y;
        }
        Values<TestType> const mean(m), variance(v);
        Activation const activation = relu ? Activation::relu : Activation::identity;
        // Values up to 43 are shifted and scaled by up to 3: a few units of their last place.
        double const unit = sizeof(TestType) == 4 ? 3e-5 : 1e-13;
        batch_norm_forward_inference<Space, TestType>(exec, shape, run.src, run.gamma, run.beta, run.epsilon, mean,
                                                      variance, run.residual, activation, run.dst);
        CHECK(first_difference("dst", run.dst.host(), expected, unit) == "");
        batch_norm_forward_inference<Space, TestType>(exec, shape, run.src, run.gamma, run.beta, run.epsilon, mean,
                                                      variance, run.residual, activation, run.src);
        CHECK(first_bit_difference("in place", run.src.host(), run.dst.host()) == "");
      }
}

TEST_CASE("batch norm gradients agree with central differences", "[batch_norm][gradient]")
{
  Space const exec;
  for (BatchNormShape const shape : {BatchNormShape{2, 3}, BatchNormShape{13, 4}, BatchNormShape{131, 1}})
    for (bool const relu : {false, true})
      for (bool const with_residual : {false, true}) {
        INFO(shape.rows << " rows, " << shape.channels << " channels, relu " << relu << ", residual " << with_residual);
        Activation const activation = relu ? Activation::relu : Activation::identity;
        auto run = make_run<double>(shape, with_residual);
        auto const x = run.src.host(), g = run.gamma.host(), b = run.beta.host(), r = run.residual.host();
        auto const weights = random_values<double>(7, x.size());
        auto const loss = [&](std::vector<double> const& src, std::vector<double> const& gamma,
                              std::vector<double> const& beta, std::vector<double> const& residual) {
          return dot(Reference(shape, src, gamma, beta, 1e-5, residual, relu).dst, weights);
        };
        run.forward(exec, activation, run.dst);
        Values<double> const dst_grad(weights), src_grad(x.size()), residual_grad(r.size()), gamma_grad(g.size()),
            beta_grad(g.size());
        run.backward(exec, activation, dst_grad, src_grad, false, residual_grad, false, gamma_grad, beta_grad);
        // h = 1e-5: h^2 times third derivatives (of order 10 at two rows), 1e-16 * sum / h of cancellation.
        double const tolerance = shape.rows == 2 ? 1e-7 : 2e-8;
        CHECK(first_difference("src_grad", src_grad.host(),
                               numeric_gradient(x, [&](auto const& v) { return loss(v, g, b, r); }), tolerance) == "");
        CHECK(first_difference("gamma_grad", gamma_grad.host(),
                               numeric_gradient(g, [&](auto const& v) { return loss(x, v, b, r); }), tolerance) == "");
        CHECK(first_difference("beta_grad", beta_grad.host(),
                               numeric_gradient(b, [&](auto const& v) { return loss(x, g, v, r); }), tolerance) == "");
        if (with_residual)
          CHECK(first_difference("residual_grad", residual_grad.host(),
                                 numeric_gradient(r, [&](auto const& v) { return loss(x, g, b, v); }),
                                 tolerance) == "");
      }
}

TEMPLATE_TEST_CASE("batch norm backward accumulates and works in place", "[batch_norm]", float, double)
{
  Space const exec;
  double const unit = sizeof(TestType) == 4 ? 4e-6 : 1e-14;
  for (BatchNormShape const shape : {BatchNormShape{129, 20}, BatchNormShape{37, 513}})
    for (bool const relu : {false, true}) {
      Activation const activation = relu ? Activation::relu : Activation::identity;
      auto run = make_run<TestType>(shape, true);
      run.forward(exec, activation, run.dst);
      auto const size = size_of(shape);
      auto const channels = static_cast<std::size_t>(shape.channels);
      auto const dy = random_values<TestType>(8, size);
      Values<TestType> const dst_grad(dy), dx(size), dr(size), gamma_grad(channels), beta_grad(channels);
      run.backward(exec, activation, dst_grad, dx, false, dr, false, gamma_grad, beta_grad);
      auto const plain = dx.host(), plain_residual = dr.host();
      auto const with_start = [](std::vector<TestType> start, std::vector<TestType> const& more) {
        for (std::size_t i = 0; i < start.size(); ++i)
          start[i] += more[i];
        return start;
      };
      auto const start = random_values<TestType>(9, size);
      for (bool const accumulate : {false, true})
        for (bool const accumulate_residual : {false, true}) {
          Values<TestType> const src_grad(start), residual_grad(start);
          run.backward(exec, activation, dst_grad, src_grad, accumulate, residual_grad, accumulate_residual, gamma_grad,
                       beta_grad);
          CHECK(first_difference("src_grad", src_grad.host(), accumulate ? with_start(start, plain) : plain, unit) ==
                "");
          CHECK(first_difference("residual_grad", residual_grad.host(),
                                 accumulate_residual ? with_start(start, plain_residual) : plain_residual, unit) == "");
        }
      Values<TestType> const accumulated(start);
      run.backward(exec, activation, dst_grad, accumulated, true, Values<TestType>(), false, gamma_grad, beta_grad);
      CHECK(first_difference("no residual", accumulated.host(), with_start(start, plain), unit) == "");
      run.backward(exec, activation, dst_grad, dst_grad, false, Values<TestType>(), false, gamma_grad, beta_grad);
      CHECK(first_bit_difference("in place", dst_grad.host(), plain) == "");
    }
}

TEMPLATE_TEST_CASE("batch norm at inference: the gradient of its input", "[batch_norm]", float, double)
{
  Space const exec;
  double const unit = sizeof(TestType) == 4 ? 4e-6 : 1e-14;
  for (BatchNormShape const shape : shapes)
    for (bool const relu : {false, true})
      for (bool const accumulate : {false, true}) {
        INFO(shape.rows << " rows, " << shape.channels << " channels, relu " << relu << ", accumulate " << accumulate);
        auto const channels = static_cast<std::size_t>(shape.channels);
        auto const y = random_values<TestType>(1, size_of(shape)), dy = random_values<TestType>(2, size_of(shape)),
                   start = random_values<TestType>(3, size_of(shape));
        auto const g = random_values<TestType>(4, channels), v = random_values<TestType>(5, channels, 0.5, 4);
        std::vector<double> expected(size_of(shape));
        for (std::size_t i = 0; i < expected.size(); ++i) {
          double const scale =
              static_cast<double>(g[i % channels]) / std::sqrt(static_cast<double>(v[i % channels]) + 1e-3);
          if (!relu || y[i] > 0) expected[i] = scale * static_cast<double>(dy[i]);
          if (accumulate) expected[i] += static_cast<double>(start[i]);
        }
        Activation const activation = relu ? Activation::relu : Activation::identity;
        Values<TestType> const dst(relu ? y : std::vector<TestType>()), dst_grad(dy), gamma(g), variance(v),
            src_grad(start);
        batch_norm_backward_inference<Space, TestType>(exec, shape, dst, dst_grad, gamma, TestType(1e-3), variance,
                                                       activation, src_grad, accumulate);
        CHECK(first_difference("src_grad", src_grad.host(), expected, unit) == "");
        if (accumulate) continue;
        batch_norm_backward_inference<Space, TestType>(exec, shape, dst, dst_grad, gamma, TestType(1e-3), variance,
                                                       activation, dst_grad, false);
        CHECK(first_bit_difference("in place", dst_grad.host(), src_grad.host()) == "");
      }
}

TEMPLATE_TEST_CASE("batch norm gives the same bits on every instance", "[batch_norm][threads]", float, double)
{
  for (BatchNormShape const shape : {BatchNormShape{129, 20}, BatchNormShape{9001, 16}, BatchNormShape{300, 130}}) {
    INFO(shape.rows << " rows, " << shape.channels << " channels");
    CHECK(instance_difference("batch norm", [&](Space const& exec) {
            auto run = make_run<TestType>(shape, true);
            run.forward(exec, Activation::relu, run.dst);
            auto const channels = static_cast<std::size_t>(shape.channels);
            Values<TestType> const dy(random_values<TestType>(8, size_of(shape))), dx(size_of(shape)),
                dr(size_of(shape)), dg(channels), db(channels);
            run.backward(exec, Activation::relu, dy, dx, false, dr, false, dg, db);
            std::vector<TestType> all;
            std::vector<Values<TestType> const*> const parts{&run.moments,
                                                             &run.saved_mean,
                                                             &run.saved_inverse_deviation,
                                                             &run.running_mean,
                                                             &run.running_variance,
                                                             &run.dst,
                                                             &dx,
                                                             &dr,
                                                             &dg,
                                                             &db};
            CHECK(run.arrivals.host() == std::vector<int>(channels, 0));
            for (auto const* part : parts) {
              auto const values = part->host();
              all.insert(all.end(), values.begin(), values.end());
            }
            return all;
          }) == "");
  }
}

#ifndef NASTURTIUM_EMULATED_DEVICE // too many values for it
TEST_CASE("batch norm whose chunks are merged apart agrees with its definition on every instance", "[batch_norm]")
{
  // Neither the moments' 17 chunks of 2048 channels nor the 132 of the gradients are left to one thread.
  BatchNormShape const shape{2100, 2048};
  static_assert(2100 / moment_chunk_rows * 2048 > 32000);
  std::vector<float> first;
  for (auto const& exec : instances()) {
    auto run = make_run<float>(shape, false);
    run.forward(exec, Activation::identity, run.dst);
    Reference const reference(shape, run.src.host(), run.gamma.host(), run.beta.host(),
                              static_cast<double>(run.epsilon), {}, false);
    // As in the test of the definition above: ten units of 2e-6, twenty for the deviation.
    CHECK(first_difference("mean", run.saved_mean.host(), reference.mean, 2e-5) == "");
    CHECK(first_difference("inverse deviation", run.saved_inverse_deviation.host(), reference.inverse_deviation, 0,
                           4e-5) == "");
    auto const channels = static_cast<std::size_t>(shape.channels);
    auto const x = run.src.host();
    auto const g = random_values<float>(8, size_of(shape));
    Values<float> const dy(g), dx(size_of(shape)), none, dg(channels), db(channels);
    run.backward(exec, Activation::identity, dy, dx, false, none, false, dg, db);
    std::vector<double> gamma_grad(channels), beta_grad(channels);
    for (std::size_t i = 0; i < g.size(); ++i) {
      auto const c = i % channels;
      beta_grad[c] += static_cast<double>(g[i]);
      gamma_grad[c] +=
          static_cast<double>(g[i]) * (static_cast<double>(x[i]) - reference.mean[c]) * reference.inverse_deviation[c];
    }
    // 2100 summands of size 1: a partial sum of 50 rounds by 4e-6, and the 2100 roundings walk to some 2e-4.
    CHECK(first_difference("gamma_grad", dg.host(), gamma_grad, 2e-3) == "");
    CHECK(first_difference("beta_grad", db.host(), beta_grad, 2e-3) == "");
    auto all = run.dst.host();
    std::vector<Values<float> const*> const parts{&dx, &dg, &db, &run.running_variance};
    for (auto const* part : parts) {
      auto const values = part->host();
      all.insert(all.end(), values.begin(), values.end());
    }
    if (first.empty()) first = all;
    CHECK(all == first);
    CHECK(run.arrivals.host() == std::vector<int>(channels, 0));
  }
}
#endif

TEST_CASE("batch norm of nothing does nothing, and wrong calls are errors", "[batch_norm]")
{
  Space const exec;
  auto run = make_run<float>({0, 3}, false);
  run.forward(exec, Activation::relu, run.dst);
  CHECK(run.running_mean.host() == std::vector<float>(3, 0.5f));
  auto other = make_run<float>({4, 3}, false);
  CHECK_THROWS_AS(other.forward(exec, Activation::tanh, other.dst), Error);
  CHECK_THROWS_AS(other.forward(exec, Activation::relu, Values<float>(5)), Error);
  Values<float> const nothing, four(4);
  batch_norm_backward_inference<Space, float>(exec, {0, 4}, nothing, nothing, four, 1e-3f, four, Activation::relu,
                                              nothing, false);
  CHECK_THROWS_AS((batch_norm_backward_inference<Space, float>(exec, {2, 4}, nothing, four, four, 1e-3f, four,
                                                               Activation::identity, four, false)),
                  Error);
}
