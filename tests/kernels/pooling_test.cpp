// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/pooling.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

Pool2dShape make(int batch, int height, int width, int channels, int kernel_height, int kernel_width, int stride_height,
                 int stride_width, int top = 0, int bottom = 0, int left = 0, int right = 0)
{
  return {batch,         height,       width, channels, kernel_height, kernel_width,
          stride_height, stride_width, top,   bottom,   left,          right};
}

/// The common 2 x 2, odd extents, gaps between windows, overlap, asymmetric padding, channels beyond one block.
std::vector<Pool2dShape> shapes()
{
  return {make(1, 1, 1, 1, 1, 1, 1, 1),
          make(2, 4, 4, 3, 2, 2, 2, 2),
          make(3, 7, 5, 20, 2, 2, 2, 2),
          make(2, 6, 8, 515, 2, 2, 2, 2),
          make(2, 9, 7, 5, 3, 3, 2, 2, 1, 1, 1, 1),
          make(2, 8, 8, 10, 3, 2, 1, 3, 1, 0, 0, 1),
          make(2, 10, 10, 4, 2, 3, 4, 4),
          make(1, 5, 5, 7, 5, 5, 1, 1, 2, 2, 2, 2),
          make(1, 1, 23, 6, 1, 4, 1, 2, 0, 0, 1, 2),
          make(2, 3, 3, 2, 2, 2, 2, 2, 1, 1, 0, 1),
          make(0, 4, 4, 3, 2, 2, 2, 2),
          make(2, 4, 4, 9, 2, 2, 1, 1),
          make(40, 16, 16, 33, 2, 2, 2, 2),
          make(1, 6, 6, 3, 3, 2, 2, 2)};
}

std::string describe(Pool2dShape const& s)
{
  std::string text;
  for (int const n : {s.batch, s.in_height, s.in_width, s.channels, s.kernel_height, s.kernel_width, s.stride_height,
                      s.stride_width, s.pad_top, s.pad_bottom, s.pad_left, s.pad_right})
    text += std::to_string(n) + " ";
  return text;
}

/// Calls visit(output index, input index, tap, taps inside the image) for every pair of an output and an input of it.
template <class Visit>
void for_taps(Pool2dShape const& s, Visit const& visit)
{
  for (int n = 0; n < s.batch; ++n)
    for (int oh = 0; oh < s.out_height(); ++oh)
      for (int ow = 0; ow < s.out_width(); ++ow)
        for (int c = 0; c < s.channels; ++c) {
          struct Tap
          {
            std::size_t in;
            int place;
          };
          std::vector<Tap> taps;
          for (int kh = 0; kh < s.kernel_height; ++kh)
            for (int kw = 0; kw < s.kernel_width; ++kw) {
              int const ih = oh * s.stride_height - s.pad_top + kh;
              int const iw = ow * s.stride_width - s.pad_left + kw;
              if (ih < 0 || ih >= s.in_height || iw < 0 || iw >= s.in_width) continue;
              taps.push_back({static_cast<std::size_t>(((n * s.in_height + ih) * s.in_width + iw) * s.channels + c),
                              kh * s.kernel_width + kw});
            }
          auto const out = static_cast<std::size_t>(((n * s.out_height() + oh) * s.out_width() + ow) * s.channels + c);
          for (Tap const& tap : taps)
            visit(out, tap.in, tap.place, taps.size());
        }
}

std::size_t in_size(Pool2dShape const& s)
{
  return static_cast<std::size_t>(s.in_size());
}
std::size_t out_size(Pool2dShape const& s)
{
  return static_cast<std::size_t>(s.out_size());
}

} // namespace

TEMPLATE_TEST_CASE("max pooling is exact, forward and backward", "[pooling]", float, double)
{
  Space const exec;
  for (Pool2dShape const& shape : shapes()) {
    INFO(describe(shape));
    // Few distinct values: ties in every window.
    auto const x = random_integers<TestType>(1, in_size(shape), -3, 3);
    auto const dy = random_integers<TestType>(2, out_size(shape), -9, 9);
    auto const start = random_integers<TestType>(3, in_size(shape), -9, 9);
    std::vector<TestType> best(out_size(shape));
    std::vector<std::uint8_t> places(out_size(shape), 255);
    std::vector<std::size_t> from(out_size(shape));
    for_taps(shape, [&](std::size_t out, std::size_t in, int place, std::size_t) {
      if (places[out] != 255 && !(x[in] > best[out])) return;
      best[out] = x[in];
      places[out] = static_cast<std::uint8_t>(place);
      from[out] = in;
    });
    std::vector<TestType> gradient(in_size(shape), 0), sum = start;
    for (std::size_t out = 0; out < from.size(); ++out) {
      gradient[from[out]] += dy[out];
      sum[from[out]] += dy[out];
    }
    Values<TestType> const src(x), dst(out_size(shape)), dst_grad(dy), src_grad(in_size(shape)), accumulated(start);
    Values<std::uint8_t> const argmax(out_size(shape));
    max_pool2d_forward<Space, TestType>(exec, shape, src, dst, argmax);
    CHECK(first_difference("dst", dst.host(), best) == "");
    CHECK(first_difference("argmax", argmax.host(), places) == "");
    Values<TestType> const inference(out_size(shape));
    max_pool2d_forward<Space, TestType>(exec, shape, src, inference, Values<std::uint8_t>());
    CHECK(first_difference("without argmax", inference.host(), best) == "");
    max_pool2d_backward<Space, TestType>(exec, shape, dst_grad, argmax, src_grad, false);
    CHECK(first_difference("src_grad", src_grad.host(), gradient) == "");
    max_pool2d_backward<Space, TestType>(exec, shape, dst_grad, argmax, accumulated, true);
    CHECK(first_difference("accumulated", accumulated.host(), sum) == "");
  }
}

TEMPLATE_TEST_CASE("average pooling agrees with its definition, forward and backward", "[pooling]", float, double)
{
  Space const exec;
  // Sums of at most 25 numbers below 1, in another order.
  double const unit = sizeof(TestType) == 4 ? 1e-6 : 1e-14;
  for (Pool2dShape const& shape : shapes()) {
    INFO(describe(shape));
    auto const x = random_values<TestType>(4, in_size(shape)), dy = random_values<TestType>(5, out_size(shape)),
               start = random_values<TestType>(6, in_size(shape));
    std::vector<double> mean(out_size(shape), 0), gradient(in_size(shape), 0), sum(start.begin(), start.end());
    for_taps(shape, [&](std::size_t out, std::size_t in, int, std::size_t taps) {
      mean[out] += static_cast<double>(x[in]) / static_cast<double>(taps);
      gradient[in] += static_cast<double>(dy[out]) / static_cast<double>(taps);
      sum[in] += static_cast<double>(dy[out]) / static_cast<double>(taps);
    });
    Values<TestType> const src(x), dst(out_size(shape)), dst_grad(dy), src_grad(in_size(shape)), accumulated(start);
    avg_pool2d_forward<Space, TestType>(exec, shape, src, dst);
    CHECK(first_difference("dst", dst.host(), mean, unit) == "");
    avg_pool2d_backward<Space, TestType>(exec, shape, dst_grad, src_grad, false);
    CHECK(first_difference("src_grad", src_grad.host(), gradient, unit) == "");
    avg_pool2d_backward<Space, TestType>(exec, shape, dst_grad, accumulated, true);
    CHECK(first_difference("accumulated", accumulated.host(), sum, unit) == "");
  }
}

TEMPLATE_TEST_CASE("global average pooling agrees with its definition", "[pooling]", float, double)
{
  Space const exec;
  // Sums of up to 256 numbers below 1.
  double const unit = sizeof(TestType) == 4 ? 1e-6 : 1e-14;
  for (int const batch : {0, 1, 13, 65})
    for (int const pixels : {1, 7, 256})
      for (int const channels : {1, 10, 64}) {
        INFO(batch << " images, " << pixels << " pixels, " << channels << " channels");
        auto const in = static_cast<std::size_t>(batch * pixels * channels);
        auto const out = static_cast<std::size_t>(batch * channels);
        auto const x = random_values<TestType>(7, in), dy = random_values<TestType>(8, out),
                   start = random_values<TestType>(9, in);
        std::vector<double> mean(out, 0), gradient(in), sum(in);
        for (std::size_t i = 0; i < in; ++i) {
          auto const n = static_cast<std::size_t>(channels);
          std::size_t const to = i / (static_cast<std::size_t>(pixels) * n) * n + i % n;
          mean[to] += static_cast<double>(x[i]) / pixels;
          gradient[i] = static_cast<double>(dy[to]) / pixels;
          sum[i] = static_cast<double>(start[i]) + gradient[i];
        }
        Values<TestType> const src(x), dst(out), dst_grad(dy), src_grad(in), accumulated(start);
        global_avg_pool_forward<Space, TestType>(exec, batch, pixels, channels, src, dst);
        CHECK(first_difference("dst", dst.host(), mean, unit) == "");
        global_avg_pool_backward<Space, TestType>(exec, batch, pixels, channels, dst_grad, src_grad, false);
        CHECK(first_difference("src_grad", src_grad.host(), gradient, unit) == "");
        global_avg_pool_backward<Space, TestType>(exec, batch, pixels, channels, dst_grad, accumulated, true);
        CHECK(first_difference("accumulated", accumulated.host(), sum, unit) == "");
      }
}

TEST_CASE("pooling gradients agree with central differences", "[pooling][gradient]")
{
  Space const exec;
  for (Pool2dShape const& shape : {make(1, 4, 4, 2, 2, 2, 2, 2), make(1, 5, 4, 2, 3, 3, 2, 1, 1, 1, 1, 0)}) {
    INFO(describe(shape));
    // Far enough apart for no maximum to change by h.
    auto x = random_values<double>(10, in_size(shape));
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = std::round(x[i] * 1000) / 1000 + 1e-5 * static_cast<double>(i);
    auto const weights = random_values<double>(11, out_size(shape));
    Values<double> const dst_grad(weights), src_grad(x.size());
    Values<std::uint8_t> const argmax(out_size(shape));
    auto const max = [&](std::vector<double> const& values) {
      Values<double> const src(values), dst(out_size(shape));
      max_pool2d_forward<Space, double>(exec, shape, src, dst, argmax);
      return dot(dst.host(), weights);
    };
    auto const average = [&](std::vector<double> const& values) {
      Values<double> const src(values), dst(out_size(shape));
      avg_pool2d_forward<Space, double>(exec, shape, src, dst);
      return dot(dst.host(), weights);
    };
    max(x);
    max_pool2d_backward<Space, double>(exec, shape, dst_grad, argmax, src_grad, false);
    // Piecewise linear: cancellation alone, 1e-16 / h.
    CHECK(first_difference("max", src_grad.host(), numeric_gradient(x, max, 1e-6), 1e-8) == "");
    avg_pool2d_backward<Space, double>(exec, shape, dst_grad, src_grad, false);
    CHECK(first_difference("average", src_grad.host(), numeric_gradient(x, average, 1e-6), 1e-8) == "");
  }
}

TEST_CASE("pooling gives the same bits on every instance", "[pooling][threads]")
{
  Pool2dShape const shape = make(9, 17, 19, 13, 3, 3, 2, 2, 1, 1, 1, 1);
  Values<float> const x(random_values<float>(12, in_size(shape))), dy(random_values<float>(13, out_size(shape)));
  CHECK(instance_difference("pooling", [&](Space const& exec) {
          Values<float> const y(out_size(shape)), dx(in_size(shape)), global(9 * 13);
          Values<std::uint8_t> const argmax(out_size(shape));
          max_pool2d_forward<Space, float>(exec, shape, x, y, argmax);
          max_pool2d_backward<Space, float>(exec, shape, dy, argmax, dx, false);
          avg_pool2d_backward<Space, float>(exec, shape, dy, dx, true);
          global_avg_pool_forward<Space, float>(exec, 9, 17 * 19, 13, dx, global);
          auto all = dx.host();
          for (auto const& part : {y.host(), global.host()})
            all.insert(all.end(), part.begin(), part.end());
          return all;
        }) == "");
}

TEST_CASE("pooling refuses windows without pixels and buffers too small", "[pooling]")
{
  Space const exec;
  Values<float> const some(64);
  Values<std::uint8_t> const bytes(64);
  auto const forward = [&](Pool2dShape const& shape) {
    max_pool2d_forward<Space, float>(exec, shape, some, some, bytes);
  };
  CHECK_THROWS_AS(forward(make(1, 4, 4, 1, 2, 2, 2, 2, 2, 0, 0, 0)), Error);
  CHECK_THROWS_AS(forward(make(1, 1, 1, 1, 2, 2, 2, 2)), Error);
  CHECK_THROWS_AS(forward(make(1, 16, 16, 1, 2, 2, 2, 2)), Error);
  CHECK_THROWS_AS(forward(make(1, 17, 17, 1, 17, 17, 1, 1)), Error);
}
