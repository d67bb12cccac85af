// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "kernels/contraction_support.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <thread>

#if defined(KOKKOS_ENABLE_OPENMP) && !defined(KOKKOS_ENABLE_CUDA) // where Space is OpenMP
#include <omp.h>
#endif

namespace nasturtium::tests {
namespace {

/// Square images, kernels, strides and paddings: (batch, channels, size) -> filters.
Conv2dShape square(int batch, int in, int size, int out, int kernel, int stride, int pad)
{
  Conv2dShape s;
  s.batch = batch;
  s.in_channels = in;
  s.in_height = s.in_width = size;
  s.out_channels = out;
  s.kernel_height = s.kernel_width = kernel;
  s.stride_height = s.stride_width = stride;
  s.pad_top = s.pad_bottom = s.pad_left = s.pad_right = pad;
  return s;
}

Conv2dShape grouped(Conv2dShape s, int groups)
{
  s.groups = groups;
  return s;
}

/// The layers of the six networks of the zoo at small batches, and what breaks tiles: one, primes, tile plus one.
std::vector<Conv2dShape> shapes()
{
  std::vector<Conv2dShape> list = {
      square(2, 1, 28, 20, 5, 1, 0),
      square(3, 20, 12, 50, 5, 1, 0), // lenet
      square(2, 1, 28, 32, 3, 1, 1),
      square(2, 32, 14, 64, 3, 1, 1), // cnn2
      square(1, 3, 32, 32, 3, 1, 1),
      square(1, 32, 20, 32, 3, 1, 1), // vgg32
      square(2, 64, 16, 64, 3, 1, 1),
      square(3, 128, 8, 128, 3, 1, 1),
      square(1, 3, 32, 16, 3, 1, 1),
      square(2, 16, 32, 32, 3, 2, 1), // resnet20
      square(2, 16, 32, 32, 1, 2, 0),
      square(3, 32, 16, 64, 3, 2, 1),
      square(1, 3, 32, 24, 3, 1, 1),
      square(1, 24, 16, 40, 3, 1, 1), // odd
      square(2, 40, 16, 50, 5, 1, 2),
      square(2, 64, 16, 64, 1, 1, 0),
      square(2, 256, 4, 256, 3, 1, 1),
      square(0, 8, 8, 8, 3, 1, 1), // no image at all
      square(1, 1, 1, 1, 1, 1, 0),
      square(1, 1, 1, 1, 3, 1, 1),
      square(1, 7, 5, 11, 3, 1, 1),
      square(5, 13, 7, 17, 3, 1, 1),
      square(1, 5, 7, 33, 1, 1, 0),
      square(1, 300, 3, 25, 3, 1, 1),
      square(2, 5, 9, 9, 3, 3, 0),
      square(2, 5, 9, 9, 2, 3, 1), // strides beyond the kernel
      square(3, 8, 6, 8, 5, 1, 4), // padding beyond the kernel
      grouped(square(2, 8, 9, 12, 3, 1, 1), 4),
      grouped(square(2, 6, 8, 6, 3, 2, 1), 2),
      grouped(square(2, 24, 8, 24, 3, 1, 1), 24),
      grouped(square(2, 10, 9, 10, 3, 2, 1), 10),
      grouped(square(40, 19, 8, 19, 5, 1, 2), 19),
      grouped(square(2, 9, 7, 18, 3, 1, 1), 9),
  };
  Conv2dShape one_d = square(3, 6, 1, 10, 1, 1, 0);
  one_d.in_width = 50;
  one_d.kernel_width = 7;
  one_d.pad_left = 6;
  list.push_back(one_d);
  return list;
}

std::vector<Conv2dShape> random_shapes(int count)
{
  std::vector<Conv2dShape> list;
  for (std::uint64_t i = 0; static_cast<int>(list.size()) < count; ++i) {
    std::uint32_t draw = 0;
    auto const pick = [&](int low, int high) {
      auto const word = random_block(7, Purpose::synthetic, draw++, i).word[0];
      return low + static_cast<int>(to_below(word, static_cast<std::uint32_t>(high - low + 1)));
    };
    Conv2dShape s;
    s.batch = pick(1, 4);
    s.groups = pick(0, 2) == 0 ? pick(1, 5) : 1;
    s.in_channels = s.groups * pick(1, 20);
    s.out_channels = s.groups * pick(1, 40);
    s.in_height = pick(1, 13);
    s.in_width = pick(1, 17);
    s.kernel_height = pick(1, 5);
    s.kernel_width = pick(1, 5);
    s.stride_height = pick(1, 4);
    s.stride_width = pick(1, 4);
    s.dilation_height = pick(1, 3);
    s.dilation_width = pick(1, 3);
    s.pad_top = pick(0, 4);
    s.pad_bottom = pick(0, 4);
    s.pad_left = pick(0, 4);
    s.pad_right = pick(0, 4);
    if (s.in_height + s.pad_top + s.pad_bottom > s.dilation_height * (s.kernel_height - 1) &&
        s.in_width + s.pad_left + s.pad_right > s.dilation_width * (s.kernel_width - 1)) {
      list.push_back(s);
    }
  }
  return list;
}

/// Every implementation against the reference on integers: exactly equal.
template <class Real>
void check_exactly(Conv2dShape const& shape)
{
  CAPTURE(shape);
  auto const layer = integer_layer<Real>(shape);
  auto const plain = forward(layer, "reference", false, Activation::identity, false);
  auto const full = forward(layer, "reference", true, Activation::relu, false);
  for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::forward, shape)) {
    CAPTURE(name);
    require_equal(forward(layer, name, false, Activation::identity, false).dst, plain.dst);
    require_equal(forward(layer, name, true, Activation::relu, false).dst, full.dst);
  }
  for (bool const accumulate : {false, true}) {
    auto const expected = backward_data(layer, "reference", accumulate);
    for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::backward_data, shape)) {
      CAPTURE(name, accumulate);
      require_equal(backward_data(layer, name, accumulate), expected);
    }
  }
  auto const expected = backward_weights(layer, "reference", true);
  for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::backward_weights, shape)) {
    CAPTURE(name);
    auto const gradients = backward_weights(layer, name, true);
    require_equal(gradients.weights, expected.weights);
    require_equal(gradients.bias, expected.bias);
    require_equal(backward_weights(layer, name, false).weights, expected.weights);
  }
}

/// Every implementation against the reference on reals, with the statistics of the batch.
template <class Real>
void check_closely(Conv2dShape const& shape)
{
  CAPTURE(shape);
  auto const layer = real_layer<Real>(shape);
  double const depth = static_cast<double>(shape.weights_size()) / shape.out_channels;
  auto const expected = forward(layer, "reference", true, Activation::identity, true);
  for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::forward, shape)) {
    CAPTURE(name);
    auto const result = forward(layer, name, true, Activation::identity, true);
    require_close(result.dst, expected.dst, rounding<Real>(depth));
    // 128 squared deviations of values of size sqrt(depth).
    require_close(result.moments, expected.moments, rounding<Real>(depth) * 128 * std::sqrt(depth));
    require_close(result.mean, expected.mean, rounding<Real>(depth));
    require_close(result.running_mean, expected.running_mean, rounding<Real>(depth));
    // Squares of values of size sqrt(depth). An error d of the variance moves 1 / sqrt(v) by d / (2 sqrt(v)^3); twenty
    // times that, and not where the variance is all rounding.
    require_close(result.running_variance, expected.running_variance, rounding<Real>(depth) * std::sqrt(depth));
    for (std::size_t c = 0; c < expected.mean.size(); ++c) {
      auto const wanted = static_cast<double>(expected.inverse_deviation[c]);
      if (wanted > 10) continue;
      CHECK(std::abs(static_cast<double>(result.inverse_deviation[c]) - wanted) <=
            rounding<Real>(depth) * std::sqrt(depth) * wanted * wanted * wanted * 10);
    }
  }
  auto const src_grad = backward_data(layer, "reference", true);
  for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::backward_data, shape)) {
    CAPTURE(name);
    require_close(backward_data(layer, name, true), src_grad,
                  rounding<Real>(depth / shape.in_channels * shape.groups * shape.out_channels));
  }
  auto const gradients = backward_weights(layer, "reference", true);
  for (auto const name : kernels::conv2d_implementations<Space, Real>(Pass::backward_weights, shape)) {
    CAPTURE(name);
    auto const result = backward_weights(layer, name, true);
    require_close(result.weights, gradients.weights, rounding<Real>(static_cast<double>(shape.out_rows())));
    require_close(result.bias, gradients.bias, rounding<Real>(static_cast<double>(shape.out_rows())));
  }
}

/// Loss = sum of dst * dst_grad is linear in src, weights and bias: central differences are exact up to rounding.
void check_gradients(Conv2dShape const& shape)
{
  CAPTURE(shape);
  auto layer = real_layer<double>(shape);
  auto const loss = [&] {
    auto const dst = forward(layer, {}, true, Activation::identity, false).dst;
    double sum = 0;
    for (std::size_t i = 0; i < dst.size(); ++i)
      sum += dst[i] * layer.dst_grad[i];
    return sum;
  };
  auto const check = [&](Values<double>& parameters, Values<double> const& gradient) {
    REQUIRE(parameters.size() == gradient.size());
    double const step = 1e-3;
    for (std::size_t i = 0; i < parameters.size(); i += 1 + parameters.size() / 9) {
      double const old = parameters[i];
      parameters[i] = old + step;
      double const above = loss();
      parameters[i] = old - step;
      double const below = loss();
      parameters[i] = old;
      // Losses are sums of some thousands of terms of size one: 1e-12 of rounding over a step of 1e-3.
      CAPTURE(i, gradient[i]);
      REQUIRE(std::abs((above - below) / (2 * step) - gradient[i]) < 1e-8);
    }
  };
  auto const gradients = backward_weights(layer, {}, true);
  auto const src_grad = backward_data(layer, {}, false);
  check(layer.weights, gradients.weights);
  check(layer.bias, gradients.bias);
  check(layer.src, src_grad);
}

} // namespace

TEST_CASE("convolutions are exact on small integers", "[conv2d]")
{
  for (auto const& shape : shapes()) {
    check_exactly<float>(shape);
    if (shape.flops() < 5e6) check_exactly<double>(shape);
  }
}

TEST_CASE("convolutions of random shapes are exact on small integers", "[conv2d]")
{
  for (auto const& shape : random_shapes(50)) {
    check_exactly<float>(shape);
    check_exactly<double>(shape);
  }
}

TEST_CASE("convolutions agree with the reference on reals", "[conv2d]")
{
  for (auto const& shape : shapes()) {
    if (shape.flops() < 4e7) check_closely<float>(shape);
  }
  // So many chunks of so many channels that hosts do not leave their merging to one worker.
  static_assert(32 * 32 * 32 / kernels::moment_chunk_rows * 132 > 32768);
  check_closely<float>(square(32, 4, 32, 132, 1, 1, 0));
  for (auto const& shape : random_shapes(15))
    check_closely<double>(shape);
}

TEST_CASE("convolution gradients agree with central differences", "[conv2d]")
{
  auto list = random_shapes(4);
  list.push_back(square(2, 3, 8, 10, 3, 1, 1));
  list.push_back(square(2, 4, 9, 5, 3, 2, 1));
  list.push_back(grouped(square(2, 6, 7, 6, 3, 1, 1), 6));
  for (auto const& shape : list)
    check_gradients(shape);
}

TEST_CASE("the reference convolution does what its definition says", "[conv2d]")
{
  // 1 2 3 / 4 5 6 / 7 8 9 with the kernel 1 2 / 3 4 and padding left and top of one.
  Conv2dShape s = square(1, 1, 3, 1, 2, 1, 0);
  s.pad_top = s.pad_left = 1;
  Layer<float> const layer{s, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4}, {0}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};
  require_equal(forward(layer, "reference", false, Activation::identity, false).dst,
                Values<float>{4, 11, 18, 18, 37, 47, 36, 67, 77});
  require_equal(backward_data(layer, "reference", false), Values<float>{5, 2, 0, 3, 5, 2, 0, 3, 4});
  require_equal(backward_weights(layer, "reference", true).weights, Values<float>{6, 8, 12, 15});
}

TEST_CASE("a NaN passes through every convolution with its relu", "[conv2d]")
{
  for (int const groups : {1, 4, 8}) {
    auto layer = real_layer<float>(grouped(square(1, 8, 5, 8, 3, 1, 1), groups));
    layer.src[(2 * 5 + 2) * 8 + 3] = std::numeric_limits<float>::quiet_NaN(); // in the middle, channel 3
    for (auto const implementation : kernels::conv2d_implementations<Space, float>(Pass::forward, layer.shape)) {
      auto const got = forward(layer, implementation, true, Activation::relu, false).dst;
      CAPTURE(groups, implementation);
      int const seen = 8 / groups; // filters that see channel 3
      CHECK(std::count_if(got.begin(), got.end(), [](float value) { return std::isnan(value); }) == 9 * seen);
    }
  }
}

TEST_CASE("strides larger than the image, with as many groups as would overflow their product", "[conv2d]")
{
  Conv2dShape shape = grouped(square(2, 256, 3, 256, 1, 4096, 0), 256);
  check_exactly<float>(shape);
  check_exactly<float>(grouped(shape, 128));
}

#if defined(KOKKOS_ENABLE_OPENMP) && !defined(KOKKOS_ENABLE_CUDA) // where Space is OpenMP
TEST_CASE("the number of threads changes no bit of a convolution", "[conv2d]")
{
  std::vector<Conv2dShape> const list = {square(9, 16, 16, 24, 3, 1, 1), square(40, 3, 32, 20, 5, 1, 2),
                                         square(3, 40, 16, 50, 5, 1, 2), square(8, 128, 8, 128, 3, 1, 1),
                                         square(5, 16, 32, 32, 3, 2, 1), grouped(square(9, 32, 16, 32, 3, 1, 1), 32)};
  for (auto const& shape : list) {
    CAPTURE(shape);
    auto const layer = real_layer<float>(shape);
    auto const all = [&](Space const& exec) {
      auto result = forward(layer, {}, true, Activation::identity, true, exec);
      auto gradients = backward_weights(layer, {}, true, exec);
      return std::array<Values<float>, 8>{result.dst,
                                          result.moments,
                                          result.mean,
                                          result.inverse_deviation,
                                          result.running_variance,
                                          backward_data(layer, {}, false, exec),
                                          gradients.weights,
                                          gradients.bias};
    };
    auto const many = all(Space());
    std::array<Values<float>, 8> one;
    std::thread([&] {
      omp_set_num_threads(1);
      one = all(Kokkos::OpenMP(1));
    }).join();
    for (std::size_t i = 0; i < many.size(); ++i) {
      CAPTURE(i);
      require_equal(one[i], many[i]);
    }
  }
}
#endif

TEST_CASE("impossible convolutions are refused", "[conv2d]")
{
  auto const workspace = [](Conv2dShape const& s) { return kernels::conv2d_forward_workspace<Space, float>(s); };
  CHECK_THROWS_AS(workspace(square(1, 3, 4, 8, 5, 1, 0)), Error);
  CHECK_THROWS_AS(workspace(grouped(square(1, 3, 4, 8, 1, 1, 0), 2)), Error);
  CHECK_THROWS_AS(workspace(square(-1, 3, 4, 8, 1, 1, 0)), Error);
  auto const layer = integer_layer<float>(square(1, 3, 4, 8, 1, 1, 0));
  CHECK_THROWS_AS(forward(layer, "no such", false, Activation::identity, false), Error);
  CHECK_THROWS_AS(forward(layer, {}, false, Activation::gelu, false), Error);
}

} // namespace nasturtium::tests
