// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/elementwise.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

constexpr Activation all_activations[] = {Activation::identity, Activation::relu,   Activation::leaky_relu,
                                          Activation::elu,      Activation::gelu,   Activation::silu,
                                          Activation::tanh,     Activation::sigmoid};
// None, one, a prime, a block and one more, several blocks.
constexpr std::size_t sizes[] = {0, 1, 13, 8193, 30011};

double reference(Activation activation, double slope, double x)
{
  switch (activation) {
  case Activation::identity:
    return x;
  case Activation::relu:
    return x > 0 ? x : 0;
  case Activation::leaky_relu:
    return x > 0 ? x : slope * x;
  case Activation::elu:
    return x > 0 ? x : std::expm1(x);
  case Activation::gelu:
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  case Activation::silu:
    return x / (1 + std::exp(-x));
  case Activation::tanh:
    return std::tanh(x);
  case Activation::sigmoid:
    return 1 / (1 + std::exp(-x));
  }
  return 0;
}

template <class Real>
std::vector<double> reference(Activation activation, Real slope, std::vector<Real> const& x)
{
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    y[i] = reference(activation, static_cast<double>(slope), static_cast<double>(x[i]));
  return y;
}

// float32: a few units in the last place of the vector functions, and erf's 4e-7; double: the library's own rounding.
template <class Real>
double tolerance()
{
  return sizeof(Real) == 4 ? 1e-6 : 1e-14;
}

} // namespace

TEMPLATE_TEST_CASE("activations have the values of their formulas", "[elementwise]", float, double)
{
  Space const exec;
  for (Activation const activation : all_activations)
    for (std::size_t const size : sizes) {
      INFO("activation " << static_cast<int>(activation) << ", size " << size);
      auto const x = random_values<TestType>(1, size, -12, 12);
      TestType const slope = TestType(0.125);
      auto const expected = reference(activation, slope, x);
      Values<TestType> const src(x), dst(size);
      activation_forward<Space, TestType>(exec, activation, slope, src, dst);
      CHECK(first_difference("dst", dst.host(), expected, tolerance<TestType>(), tolerance<TestType>()) == "");
      activation_forward<Space, TestType>(exec, activation, slope, src, src); // in place
      CHECK(first_bit_difference("in place", src.host(), dst.host()) == "");
    }
}

TEMPLATE_TEST_CASE("activations are right at the ends of the range and pass NaN", "[elementwise]", float, double)
{
  Space const exec;
  TestType const inf = std::numeric_limits<TestType>::infinity();
  TestType const nan = std::numeric_limits<TestType>::quiet_NaN();
  std::vector<TestType> const x{0,    TestType(-1e-6), TestType(1e-6), -100, 100, -1000,
                                1000, TestType(-87.5), TestType(88.5)};
  for (Activation const activation : all_activations) {
    INFO("activation " << static_cast<int>(activation));
    Values<TestType> const src(x), dst(x.size());
    activation_forward<Space, TestType>(exec, activation, TestType(0.5), src, dst);
    // Absolute: gelu and silu vanish at the far left, elu and tanh must keep their relative accuracy near zero.
    auto const expected = reference(activation, TestType(0.5), x);
    CHECK(first_difference("dst", dst.host(), expected, sizeof(TestType) == 4 ? 1e-11 : 1e-30,
                           activation == Activation::gelu ? 1e-5 : tolerance<TestType>()) == "");
    Values<TestType> const odd(std::vector<TestType>{nan}), out(1);
    activation_forward<Space, TestType>(exec, activation, TestType(0.5), odd, out);
    CHECK(std::isnan(out.host()[0]));
  }
  for (Activation const activation : {Activation::tanh, Activation::sigmoid}) {
    Values<TestType> const src(std::vector<TestType>{inf, -inf}), dst(2);
    activation_forward<Space, TestType>(exec, activation, TestType(0), src, dst);
    CHECK(dst.host() == std::vector<TestType>{1, TestType(activation == Activation::tanh ? -1 : 0)});
  }
}

TEST_CASE("activation gradients agree with central differences", "[elementwise][gradient]")
{
  Space const exec;
  std::size_t const size = 40;
  // Away from the kinks at zero, where the derivative does not exist.
  auto x = random_values<double>(2, size, 0.1, 4);
  for (std::size_t i = 0; i < size; i += 2)
    x[i] = -x[i];
  auto const weights = random_values<double>(3, size);
  for (Activation const activation : all_activations) {
    INFO("activation " << static_cast<int>(activation));
    double const slope = 0.2;
    auto const forward = [&](std::vector<double> const& values) {
      Values<double> const src(values), dst(size);
      activation_forward<Space, double>(exec, activation, slope, src, dst);
      return dst.host();
    };
    auto const expected =
        numeric_gradient(x, [&](std::vector<double> const& values) { return dot(forward(values), weights); });
    Values<double> const saved(activation_backward_needs_src(activation) ? x : forward(x));
    Values<double> const dst_grad(weights), src_grad(size);
    activation_backward<Space, double>(exec, activation, slope, saved, dst_grad, src_grad, false);
    // h^2 times a third derivative of order one, and 1e-16 / h of cancellation.
    CHECK(first_difference("src_grad", src_grad.host(), expected, 1e-9) == "");
    auto doubled = src_grad.host();
    for (double& value : doubled)
      value *= 2;
    activation_backward<Space, double>(exec, activation, slope, saved, dst_grad, src_grad, true);
    CHECK(first_difference("accumulated", src_grad.host(), doubled, 1e-15, 1e-15) == "");
    activation_backward<Space, double>(exec, activation, slope, saved, dst_grad, dst_grad, false); // in place
    for (double& value : doubled)
      value /= 2;
    CHECK(first_difference("in place", dst_grad.host(), doubled, 0, 1e-15) == "");
  }
}

TEMPLATE_TEST_CASE("activations give the same bits on every instance", "[elementwise][threads]", float, double)
{
  std::size_t const size = 50021;
  Values<TestType> const x(random_values<TestType>(4, size, -3, 3)), dy(random_values<TestType>(5, size));
  for (Activation const activation : all_activations) {
    CHECK(instance_difference("forward", [&](Space const& exec) {
            Values<TestType> const y(size);
            activation_forward<Space, TestType>(exec, activation, TestType(0.1), x, y);
            return y.host();
          }) == "");
    CHECK(instance_difference("backward", [&](Space const& exec) {
            Values<TestType> const dx(size);
            activation_backward<Space, TestType>(exec, activation, TestType(0.1), x, dy, dx, false);
            return dx.host();
          }) == "");
  }
}

TEMPLATE_TEST_CASE("dropout keeps what its key says, and scales it", "[elementwise]", float, double)
{
  Space const exec;
  DropoutKey const key{12345, 7, 3};
  for (double const rate : {0.0, 0.25, 0.5, 0.9})
    for (std::size_t const size :
         {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{65}, std::size_t{40007}}) {
      INFO("rate " << rate << ", size " << size);
      auto const x = random_values<TestType>(6, size, 0.5, 1.5);
      std::vector<TestType> expected(size);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < size; ++i) {
        auto const block = random_block(key.seed, Purpose::dropout, key.node, key.step << 32 | i / 4);
        bool const keep = to_unit_float(block.word[i % 4]) >= static_cast<float>(rate);
        expected[i] = keep ? x[i] * (TestType(1) / (TestType(1) - static_cast<TestType>(rate))) : TestType(0);
        kept += keep;
      }
      Values<TestType> const src(x), dst(size);
      dropout<Space, TestType>(exec, key, static_cast<TestType>(rate), src, dst, false);
      CHECK(first_bit_difference("dst", dst.host(), expected) == "");
      dropout<Space, TestType>(exec, key, static_cast<TestType>(rate), src, dst, true);
      auto doubled = expected;
      for (TestType& value : doubled)
        value *= 2;
      CHECK(first_difference("accumulated", dst.host(), doubled, 0, 1e-6) == "");
      // Five standard deviations of a binomial count.
      double const mean = static_cast<double>(size) * (1 - rate);
      CHECK(std::abs(static_cast<double>(kept) - mean) <= 5 * std::sqrt(mean * rate) + 1e-9);
    }
  Values<TestType> const src(random_values<TestType>(6, 1000)), first(1000), second(1000);
  dropout<Space, TestType>(exec, key, TestType(0.5), src, first, false);
  for (DropoutKey const other : {DropoutKey{12346, 7, 3}, DropoutKey{12345, 8, 3}, DropoutKey{12345, 7, 4}}) {
    dropout<Space, TestType>(exec, other, TestType(0.5), src, second, false);
    CHECK(first_bit_difference("another key", second.host(), first.host()) != "");
  }
  CHECK(instance_difference("dropout", [&](Space const& space) {
          Values<TestType> const x(random_values<TestType>(7, 60013)), y(60013);
          dropout<Space, TestType>(space, key, TestType(0.3), x, y, false);
          return y.host();
        }) == "");
  CHECK_THROWS_AS((dropout<Space, TestType>(exec, key, TestType(1), src, first, false)), Error);
}

TEMPLATE_TEST_CASE("add, copy and fill are exact", "[elementwise]", float, double)
{
  Space const exec;
  for (std::size_t const size : sizes) {
    INFO("size " << size);
    auto const x = random_integers<TestType>(8, size, -99, 99);
    auto const y = random_integers<TestType>(9, size, -99, 99);
    std::vector<TestType> sum(size);
    for (std::size_t i = 0; i < size; ++i)
      sum[i] = x[i] + y[i];
    Values<TestType> const a(x), b(y), dst(size);
    add<Space, TestType>(exec, a, b, dst);
    CHECK(first_difference("add", dst.host(), sum) == "");
    copy<Space, TestType>(exec, a, dst, false);
    CHECK(first_difference("copy", dst.host(), x) == "");
    copy<Space, TestType>(exec, b, dst, true);
    CHECK(first_difference("accumulating copy", dst.host(), sum) == "");
    add<Space, TestType>(exec, a, b, a);
    CHECK(first_difference("add in place", a.host(), sum) == "");
    fill<Space, TestType>(exec, TestType(3), dst);
    CHECK(first_difference("fill", dst.host(), std::vector<TestType>(size, TestType(3))) == "");
  }
}

TEMPLATE_TEST_CASE("channels are concatenated and taken apart", "[elementwise]", float, double)
{
  Space const exec;
  for (int const rows : {0, 1, 13, 700})
    for (int const left : {1, 3, 16}) {
      int const right = 5, all = left + right;
      INFO("rows " << rows << ", channels " << left << " + " << right);
      auto const x = random_integers<TestType>(10, static_cast<std::size_t>(rows * left), -99, 99);
      auto const y = random_integers<TestType>(11, static_cast<std::size_t>(rows * right), -99, 99);
      std::vector<TestType> joined;
      for (int row = 0; row < rows; ++row) {
        joined.insert(joined.end(), x.begin() + row * left, x.begin() + (row + 1) * left);
        joined.insert(joined.end(), y.begin() + row * right, y.begin() + (row + 1) * right);
      }
      Values<TestType> const a(x), b(y), dst(joined.size()), back(y.size());
      copy_channels<Space, TestType>(exec, rows, left, a, left, 0, dst, all, 0, false);
      copy_channels<Space, TestType>(exec, rows, right, b, right, 0, dst, all, left, false);
      CHECK(first_difference("concat", dst.host(), joined) == "");
      copy_channels<Space, TestType>(exec, rows, right, dst, all, left, back, right, 0, false);
      CHECK(first_difference("backward", back.host(), y) == "");
      copy_channels<Space, TestType>(exec, rows, right, dst, all, left, back, right, 0, true);
      auto doubled = y;
      for (TestType& value : doubled)
        value *= 2;
      CHECK(first_difference("accumulated", back.host(), doubled) == "");
    }
  // Padding: exactly the row and zeros, whatever was there before.
  for (int const channels : {0, 1, 7, 100})
    for (int const offset : {0, 1, 13})
      for (int const behind : {0, 1, 30})
        for (int const rows : {0, 1, 13, 300}) {
          int const all = offset + channels + behind;
          auto const x = random_values<TestType>(1, static_cast<std::size_t>(rows) * channels);
          std::vector<TestType> expected(static_cast<std::size_t>(rows) * all);
          for (std::size_t i = 0; i < x.size(); ++i)
            expected[i / channels * all + offset + i % channels] = x[i];
          Values<TestType> const src(x), dst(std::vector<TestType>(expected.size(), TestType(5)));
          pad_channels<Space, TestType>(exec, rows, channels, src, dst, all, offset);
          CHECK(first_difference("padded", dst.host(), expected) == "");
        }
  Values<TestType> const small(3), large(8);
  CHECK_THROWS_AS((pad_channels<Space, TestType>(exec, 1, 3, small, large, 8, 6)), Error);
  CHECK_THROWS_AS((pad_channels<Space, TestType>(exec, 2, 3, small, large, 8, 0)), Error);
  CHECK_THROWS_AS((copy_channels<Space, TestType>(exec, 1, 3, small, 3, 0, large, 8, 6, false)), Error);
  CHECK_THROWS_AS((copy_channels<Space, TestType>(exec, 2, 3, small, 3, 0, large, 8, 0, false)), Error);
}
