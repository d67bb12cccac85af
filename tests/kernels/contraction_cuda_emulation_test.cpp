// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA back end of the contraction without a GPU: its index maps, fragments, tiles, epilogues, slices and lists,
// run on the host against the reference. Builds with CUDA leave it out: there the other tests run the device itself.
#include <Kokkos_Core.hpp>
#ifndef KOKKOS_ENABLE_CUDA

#include "cuda_emulation.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <random>
#include <set>
#include <string>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::kernels::impl::cuda;
using nasturtium::kernels::impl::Contraction;

namespace {

using Host = Kokkos::DefaultHostExecutionSpace;

std::string text(Conv2dShape const& s)
{
  auto const pair = [](int a, int b) { return std::to_string(a) + "x" + std::to_string(b); };
  return "n" + std::to_string(s.batch) + " in " + pair(s.in_height, s.in_width) + "x" + std::to_string(s.in_channels) +
         " out " + std::to_string(s.out_channels) + " kernel " + pair(s.kernel_height, s.kernel_width) + " stride " +
         pair(s.stride_height, s.stride_width) + " pad " + std::to_string(s.pad_top) + std::to_string(s.pad_bottom) +
         std::to_string(s.pad_left) + std::to_string(s.pad_right) + " dilation " +
         pair(s.dilation_height, s.dilation_width) + " groups " + std::to_string(s.groups);
}

/// Data and result of one pass. Small integers: products and sums are exact in float, and in TF32 and bf16 as well.
template <class Real>
struct Case
{
  Conv2dShape shape;
  Pass pass;
  bool epilogue; ///< bias and relu, or moments; accumulation; bias gradient
  bool moments = false;
  std::vector<Real> a, b, c, bias, moment, bias_grad;
  std::vector<Real> mean, deviation, running_mean, running_variance; ///< statistics, with the moments
  std::vector<int> arrivals;

  Case(Conv2dShape const& s, Pass p, bool with_epilogue, bool with_moments, unsigned seed, bool integers = true)
      : shape(s), pass(p), epilogue(with_epilogue), moments(with_moments && p == Pass::forward)
  {
    std::mt19937 random(seed);
    auto const fill = [&](std::vector<Real>& v, Index size) {
      v.resize(static_cast<std::size_t>(size));
      for (Real& x : v)
        x = integers ? static_cast<Real>(static_cast<int>(random() % 7) - 3)
                     : static_cast<Real>(std::uniform_real_distribution<double>(-1, 1)(random));
    };
    fill(a, p == Pass::backward_data ? s.out_size() : s.in_size());
    fill(b, p == Pass::backward_weights ? s.out_size() : s.weights_size());
    fill(c, p == Pass::forward ? s.out_size() : p == Pass::backward_data ? s.in_size() : s.weights_size());
    fill(bias, s.out_channels);
    fill(bias_grad, s.out_channels);
    fill(moment, moment_chunks(s.out_rows()) * 2 * s.out_channels);
    for (auto* const values : {&mean, &deviation, &running_mean, &running_variance})
      fill(*values, moments ? s.out_channels : 0);
    arrivals.assign(mean.size(), 0);
  }
  BatchStatistics<Host, Real> statistics()
  {
    BatchStatistics<Host, Real> its;
    if (!moments) return its;
    auto const out = [](auto& v) { return Buffer<Host, Real>(v.data(), v.size()); };
    its.moments = out(moment), its.mean = out(mean), its.inverse_deviation = out(deviation);
    its.running_mean = out(running_mean), its.running_variance = out(running_variance);
    its.epsilon = Real(1e-5), its.momentum = Real(0.9);
    its.arrivals = Buffer<Host, int>(arrivals.data(), arrivals.size());
    return its;
  }
  Contraction<Real> contraction()
  {
    Contraction<Real> problem;
    problem.pass = pass;
    problem.shape = shape;
    problem.a = a.data(), problem.b = b.data(), problem.c = c.data();
    if (pass == Pass::forward && epilogue) problem.bias = bias.data();
    if (pass == Pass::forward && epilogue && !moments) problem.activation = Activation::relu;
    problem.statistics = impl::Statistics<Real>("test", statistics(), shape.out_rows(), shape.out_channels);
    if (pass == Pass::backward_data) problem.accumulate = epilogue;
    if (pass == Pass::backward_weights && epilogue) problem.bias_grad = bias_grad.data();
    return problem;
  }
  /// What the reference makes of the same data.
  Case reference() const
  {
    Case r = *this;
    auto const view = [](auto const& v) { return Buffer<Host, Real const>(v.data(), v.size()); };
    auto const out = [](auto& v) { return Buffer<Host, Real>(v.data(), v.size()); };
    Buffer<Host, Real const> const none;
    Buffer<Host, Real> const nowhere;
    Workspace<Host> const workspace;
    Host const exec;
    switch (pass) {
    case Pass::forward:
      conv2d_forward<Host, Real>(exec, "reference", shape, view(a), view(b), epilogue ? view(bias) : none,
                                 epilogue && !moments ? Activation::relu : Activation::identity, out(r.c),
                                 r.statistics(), workspace);
      break;
    case Pass::backward_data:
      conv2d_backward_data<Host, Real>(exec, "reference", shape, view(a), view(b), out(r.c), epilogue, workspace);
      break;
    case Pass::backward_weights:
      conv2d_backward_weights<Host, Real>(exec, "reference", shape, view(a), view(b), out(r.c),
                                          epilogue ? out(r.bias_grad) : nowhere, workspace);
      break;
    }
    exec.fence();
    return r;
  }
};

template <class Real, MathMode mode>
int emulate(std::vector<Contraction<Real>> const& list, std::optional<TileShape> tiles = {})
{
  int launches = 0;
  bool all_idle = true;
  std::size_t bytes = 0;
  for (auto const& c : list)
    bytes += workspace_bytes<Real>(c.pass, c.shape);
  std::vector<double> workspace(bytes / sizeof(double) + 1, std::numeric_limits<double>::quiet_NaN());
  std::vector<std::byte*> memory;
  for (auto* next = reinterpret_cast<std::byte*>(workspace.data()); auto const& c : list) {
    memory.push_back(next);
    next += workspace_bytes<Real>(c.pass, c.shape);
  }
  std::span<Contraction<Real> const> const span(list);
  auto const tiles_of = [&](Contraction<Real> const& c) { return tiles ? tiles : chosen_shape(c); };
  switch (list.front().pass) {
  case Pass::forward:
    run_list(EmulatedLaunch<Real, Pass::forward, mode>{&launches, &all_idle}, span, memory, tiles_of);
    break;
  case Pass::backward_data:
    run_list(EmulatedLaunch<Real, Pass::backward_data, mode>{&launches, &all_idle}, span, memory, tiles_of);
    break;
  case Pass::backward_weights:
    run_list(EmulatedLaunch<Real, Pass::backward_weights, mode>{&launches, &all_idle}, span, memory, tiles_of);
    break;
  }
  CHECK(all_idle);
  return launches;
}

/// Index of the first difference, -1 if there is none.
template <class Real>
Index first_difference(std::vector<Real> const& a, std::vector<Real> const& b)
{
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i])) return static_cast<Index>(i);
  return -1;
}

Conv2dShape conv(int batch, int size, int in, int out, int kernel, int stride, int pad, int groups = 1)
{
  Conv2dShape s;
  s.batch = batch, s.in_height = s.in_width = size, s.in_channels = in, s.out_channels = out;
  s.kernel_height = s.kernel_width = kernel, s.stride_height = s.stride_width = stride;
  s.pad_top = s.pad_bottom = s.pad_left = s.pad_right = pad, s.groups = groups;
  return s;
}

Conv2dShape dense(int batch, int in, int out)
{
  return conv(batch, 1, in, out, 1, 1, 0);
}

template <class Real, MathMode mode>
void check_exact(Conv2dShape const& shape, unsigned seed)
{
  INFO(text(shape));
  for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights})
    for (bool const epilogue : {false, true}) {
      INFO("pass " << static_cast<int>(pass) << " epilogue " << epilogue);
      Case<Real> mine(shape, pass, epilogue, false, seed);
      auto const expected = mine.reference();
      emulate<Real, mode>({mine.contraction()});
      CHECK(first_difference(mine.c, expected.c) == -1);
      if (pass == Pass::backward_weights) CHECK(first_difference(mine.bias_grad, expected.bias_grad) == -1);
    }
}

template <class Real, MathMode mode>
void check_shapes()
{
  unsigned seed = 1;
  Conv2dShape odd = conv(2, 9, 5, 7, 3, 2, 1);
  odd.kernel_width = 4, odd.in_width = 12, odd.pad_bottom = 3, odd.pad_left = 0, odd.stride_width = 3,
  odd.dilation_height = 2;
  Conv2dShape holes = conv(1, 8, 4, 4, 1, 3, 0); // most input pixels belong to no output pixel
  Conv2dShape dilated = conv(1, 13, 4, 8, 3, 2, 2);
  dilated.dilation_height = dilated.dilation_width = 2; // stride and dilation share a divisor
  for (auto const& shape : {conv(1, 1, 1, 1, 1, 1, 0), conv(2, 7, 3, 5, 3, 1, 1), conv(1, 8, 16, 40, 3, 1, 1),
                            conv(2, 8, 8, 16, 3, 2, 1), odd, holes, dilated, conv(1, 6, 16, 32, 3, 1, 1, 2),
                            conv(1, 5, 6, 9, 3, 1, 1, 3), dense(3, 50, 10), dense(65, 36, 33), dense(2, 800, 12)})
    check_exact<Real, mode>(shape, ++seed);
}

} // namespace

TEST_CASE("CUDA contraction: division by an invariant")
{
  std::mt19937 random(3);
  int const last = std::numeric_limits<int>::max();
  for (int d : {1, 2, 3, 5, 7, 10, 64, 100, 127, 128, 129, 784, 1000, 65535, 65536, 1 << 30, (1 << 30) + 1, last}) {
    FastDivide const divide(d);
    for (int n : {0, 1, d - 1, d, last - 1, last})
      CHECK(divide.quotient(n) == n / d);
    for (int i = 0; i < 2000; ++i) {
      int const n = static_cast<int>(random() >> 1);
      if (divide.quotient(n) != n / d) FAIL(n << " / " << d);
    }
  }
}

TEST_CASE("CUDA contraction: an image as a matrix")
{
  ImageMap map;
  Conv2dShape const s = conv(2, 5, 3, 4, 3, 2, 1);
  map.pixels_per_image = FastDivide(s.out_height() * s.out_width()), map.pixels_per_line = FastDivide(s.out_width());
  map.channels = FastDivide(3), map.taps_per_line = FastDivide(3);
  map.stride_y = map.stride_x = 2, map.origin_y = map.origin_x = -1;
  map.height = map.width = 5, map.pixel_stride = 3;
  std::vector<float> const image(static_cast<std::size_t>(s.in_size()));
  int row = 0, zeros = 0;
  for (int n = 0; n < 2; ++n)
    for (int oh = 0; oh < s.out_height(); ++oh)
      for (int ow = 0; ow < s.out_width(); ++ow, ++row)
        for (int k = 0; k < 27; ++k) {
          int const ih = oh * 2 - 1 + k / 9, iw = ow * 2 - 1 + k / 3 % 3, ic = k % 3;
          bool const inside = ih >= 0 && ih < 5 && iw >= 0 && iw < 5;
          float const* const expected =
              inside ? &image[static_cast<std::size_t>(((n * 5 + ih) * 5 + iw) * 3 + ic)] : nullptr;
          zeros += !inside;
          CHECK(map.at(image.data(), map.pixel(row, 18), map.tap(k, 27)) == expected);
        }
  CHECK(zeros > 0);
  CHECK(map.at(image.data(), map.pixel(18, 18), map.tap(13, 27)) == nullptr);
  CHECK(map.at(image.data(), map.pixel(4, 18), map.tap(27, 27)) == nullptr);
  CHECK(map.at(image.data(), map.pixel(18, 18), map.tap(27, 27)) == nullptr);
}

// The tables of the PTX ISA, in its own words: groupID = laneid >> 2, threadID_in_group = laneid % 4.
TEST_CASE("CUDA contraction: fragments lie where the PTX ISA says")
{
  using Tf32 = Fragment<MathMode::tf32>;
  using Bf16 = Fragment<MathMode::bf16>;
  std::set<int> a8, b8, a16, b16, c;
  for (int lane = 0; lane < 32; ++lane) {
    int const group = lane >> 2, in_group = lane % 4;
    for (int i = 0; i < 4; ++i) {
      CHECK(Tf32::a_row(lane, i) == (i == 0 || i == 2 ? group : group + 8));
      CHECK(Tf32::a_depth(lane, i) == (i == 0 || i == 1 ? in_group : in_group + 4));
      CHECK(sum_row(lane, i) == (i < 2 ? group : group + 8));
      CHECK(sum_column(lane, i) == in_group * 2 + (i & 1));
      a8.insert(Tf32::a_row(lane, i) * 8 + Tf32::a_depth(lane, i));
      c.insert(sum_row(lane, i) * 8 + sum_column(lane, i));
    }
    for (int i = 0; i < 2; ++i) {
      CHECK(Tf32::b_depth(lane, i) == (i == 0 ? in_group : in_group + 4));
      CHECK(Tf32::b_column(lane) == group);
      b8.insert(Tf32::b_depth(lane, i) * 8 + Tf32::b_column(lane));
    }
    for (int i = 0; i < 8; ++i) { // elements of a, two in a register
      CHECK(Bf16::a_row(lane, i / 2) == (i < 2 || (i >= 4 && i < 6) ? group : group + 8));
      CHECK(Bf16::a_depth(lane, i / 2) + i % 2 == in_group * 2 + (i & 1) + (i < 4 ? 0 : 8));
      a16.insert(Bf16::a_row(lane, i / 2) * 16 + Bf16::a_depth(lane, i / 2) + i % 2);
    }
    for (int i = 0; i < 4; ++i) {
      CHECK(Bf16::b_depth(lane, i / 2) + i % 2 == in_group * 2 + (i & 1) + (i < 2 ? 0 : 8));
      CHECK(Bf16::b_column(lane) == group);
      b16.insert((Bf16::b_depth(lane, i / 2) + i % 2) * 8 + Bf16::b_column(lane));
    }
  }
  CHECK(a8.size() == 16 * 8); // each element in exactly one lane
  CHECK(b8.size() == 8 * 8);
  CHECK(a16.size() == 16 * 16);
  CHECK(b16.size() == 16 * 8);
  CHECK(c.size() == 16 * 8);
}

TEST_CASE("CUDA contraction: rounding of operands")
{
  using Tf32 = Fragment<MathMode::tf32>;
  using Bf16 = Fragment<MathMode::bf16>;
  auto const tf32 = [](float x) { return Tf32::unpack(Tf32::pack(&x), 0); };
  auto const bf16 = [](float x) {
    float const pair[2] = {x, -x};
    std::uint32_t const bits = Bf16::pack(pair);
    CHECK(Bf16::unpack(bits, 1) == -Bf16::unpack(bits, 0));
    return Bf16::unpack(bits, 0);
  };
  CHECK(tf32(1.0f) == 1.0f);
  CHECK(tf32(1.0f + 0x1p-10f) == 1.0f + 0x1p-10f);
  CHECK(tf32(1.0f + 0x1p-11f) == 1.0f + 0x1p-10f); // a tie goes away from zero
  CHECK(tf32(-1.0f - 0x1p-11f) == -1.0f - 0x1p-10f);
  CHECK(tf32(1.0f + 0x1.8p-12f) == 1.0f);
  CHECK(bf16(1.0f + 0x1p-7f) == 1.0f + 0x1p-7f);
  CHECK(bf16(1.0f + 0x1p-8f) == 1.0f); // a tie goes to even
  CHECK(bf16(1.0f + 0x1.8p-7f) == 1.0f + 0x1p-6f);
  CHECK(bf16(1.0f + 0x1.4p-8f) == 1.0f + 0x1p-7f);
  CHECK(std::isinf(tf32(std::numeric_limits<float>::infinity())));
  CHECK(std::isnan(tf32(std::numeric_limits<float>::quiet_NaN())));
  float const nan[2] = {std::numeric_limits<float>::quiet_NaN(), 1.0f};
  CHECK(std::isnan(Bf16::unpack(Bf16::pack(nan), 0)));
}

TEST_CASE("CUDA contraction: float32 tiles agree with the reference")
{
  check_shapes<float, MathMode::full>();
}
TEST_CASE("CUDA contraction: double tiles agree with the reference")
{
  check_shapes<double, MathMode::full>();
}
TEST_CASE("CUDA contraction: TF32 tiles agree with the reference")
{
  check_shapes<float, MathMode::tf32>();
}
TEST_CASE("CUDA contraction: bf16 tiles agree with the reference")
{
  check_shapes<float, MathMode::bf16>();
}

TEST_CASE("CUDA contraction: every tile shape and slices come up and agree")
{
  // Few channels and a shallow depth, many pixels: large tiles without much work for the host.
  Conv2dShape const wide = conv(3, 64, 4, 64, 1, 1, 0), narrow = conv(4, 80, 4, 20, 1, 1, 0),
                    deep = conv(3, 40, 4, 8, 1, 1, 0);
  CHECK(pass_plan<float>(Pass::forward, wide, true).shape == TileShape::wide);
  CHECK(pass_plan<float>(Pass::forward, narrow, false).shape == TileShape::narrow);
  CHECK(pass_plan<float>(Pass::forward, deep, false).shape == TileShape::small);
  CHECK(pass_plan<float>(Pass::backward_weights, deep, false).slices > 4);
  CHECK(pass_plan<float>(Pass::forward, dense(2, 800, 12), false).slices > 1);
  check_exact<float, MathMode::full>(narrow, 31);
  check_exact<float, MathMode::tf32>(deep, 32);
  for (bool const epilogue : {false, true}) {
    Case<float> full(wide, Pass::forward, epilogue, true, 33), tensor = full;
    auto const expected = full.reference();
    emulate<float, MathMode::full>({full.contraction()});
    emulate<float, MathMode::bf16>({tensor.contraction()});
    CHECK(first_difference(full.c, expected.c) == -1);
    CHECK(first_difference(tensor.c, expected.c) == -1);
    CHECK(first_difference(full.moment, tensor.moment) == -1);
  }
}

namespace {

/// Rounding shows the order of sums: random values, compared to the last bit.
template <class Real, MathMode mode>
void check_tiles_change_nothing(Conv2dShape const& shape)
{
  INFO(text(shape));
  for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights})
    for (bool const moments : {false, true}) {
      if (moments && pass != Pass::forward) continue;
      Case<Real> const given(shape, pass, true, moments, 41, false);
      Case<Real> planned = given;
      emulate<Real, mode>({planned.contraction()});
      for (TileShape const tiles : {TileShape::wide, TileShape::narrow, TileShape::small}) {
        INFO("pass " << static_cast<int>(pass) << ", tiles " << static_cast<int>(tiles) << ", moments " << moments);
        Case<Real> asked = given;
        emulate<Real, mode>({asked.contraction()}, tiles);
        CHECK(first_difference(asked.c, planned.c) == -1);
        CHECK(first_difference(asked.moment, planned.moment) == -1);
        CHECK(first_difference(asked.mean, planned.mean) == -1);
        CHECK(first_difference(asked.deviation, planned.deviation) == -1);
        CHECK(first_difference(asked.bias_grad, planned.bias_grad) == -1);
      }
    }
}

} // namespace

TEST_CASE("CUDA contraction: no shape of the tiles changes a bit")
{
  // Vectors of channels and odd ones; slices; strides; groups.
  for (auto const& shape : {conv(2, 12, 16, 72, 3, 1, 1), conv(3, 9, 5, 33, 3, 1, 1), conv(1, 17, 8, 40, 3, 2, 1),
                            conv(2, 8, 32, 32, 3, 1, 1, 2), dense(2, 800, 12)}) {
    check_tiles_change_nothing<float, MathMode::full>(shape);
    check_tiles_change_nothing<float, MathMode::tf32>(shape);
    check_tiles_change_nothing<double, MathMode::full>(shape);
  }
  check_tiles_change_nothing<float, MathMode::bf16>(conv(2, 12, 16, 72, 3, 1, 1));
  CHECK(possible_tiles<float>(TileShape::wide, false) == TileShape::narrow);
  CHECK(possible_tiles<double>(TileShape::wide, true) == TileShape::narrow);
  CHECK(possible_tiles<float>(TileShape::wide, true) == TileShape::wide);
}

TEST_CASE("CUDA contraction: moments of what is written")
{
  for (auto const& shape :
       {conv(3, 9, 4, 33, 3, 1, 1), conv(1, 16, 3, 8, 3, 1, 1, 1), conv(2, 10, 8, 24, 3, 1, 0, 2)}) {
    INFO(text(shape));
    Case<float> mine(shape, Pass::forward, true, true, 5, false);
    auto const expected = mine.reference();
    emulate<float, MathMode::full>({mine.contraction()});
    // Sums of at most 128 values of size about 3, in another order: 128 units in the last place, generously.
    auto const close = [](std::vector<float> const& got, std::vector<float> const& wanted) {
      for (std::size_t i = 0; i < got.size(); ++i)
        CHECK(std::abs(got[i] - wanted[i]) <= 2e-5f * std::max(1.0f, std::abs(wanted[i])));
    };
    close(mine.moment, expected.moment);
    close(mine.mean, expected.mean);
    close(mine.deviation, expected.deviation);
    close(mine.running_mean, expected.running_mean);
    close(mine.running_variance, expected.running_variance);
    CHECK(mine.arrivals == std::vector<int>(mine.arrivals.size(), 0));
  }
}

TEST_CASE("CUDA contraction: float32 sums in ascending order, one fused multiply-add after another")
{
  Case<float> mine(dense(5, 100, 9), Pass::forward, false, false, 6, false);
  emulate<float, MathMode::full>({mine.contraction()});
  for (std::size_t row = 0; row < 5; ++row)
    for (std::size_t column = 0; column < 9; ++column) {
      float sum = 0;
      for (std::size_t k = 0; k < 100; ++k)
        sum = std::fma(mine.a[row * 100 + k], mine.b[k * 9 + column], sum);
      CHECK(mine.c[row * 9 + column] == sum);
    }
}

TEST_CASE("CUDA contraction: a population is one launch and changes nothing")
{
  std::vector<Conv2dShape> shapes;
  for (int i = 0; i < 7; ++i)
    shapes.push_back(conv(1 + i % 2, 6 + i, 4 + 4 * (i % 3), 8, 3, 1, 1));
  for (auto const& [pass, moments] :
       {std::pair(Pass::forward, false), std::pair(Pass::forward, true), std::pair(Pass::backward_data, false),
        std::pair(Pass::backward_weights, false)}) {
    std::vector<Case<float>> alone, together;
    for (std::size_t i = 0; i < shapes.size(); ++i)
      alone.emplace_back(shapes[i], pass, true, moments, static_cast<unsigned>(i), false);
    together = alone;
    std::vector<Contraction<float>> list;
    for (auto& c : alone)
      emulate<float, MathMode::full>({c.contraction()});
    for (auto& c : together)
      list.push_back(c.contraction());
    CHECK(emulate<float, MathMode::full>(list) == 1);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      CHECK(first_difference(alone[i].c, together[i].c) == -1);
      CHECK(first_difference(alone[i].bias_grad, together[i].bias_grad) == -1);
      CHECK(first_difference(alone[i].mean, together[i].mean) == -1);
      CHECK(first_difference(alone[i].deviation, together[i].deviation) == -1);
      CHECK(together[i].arrivals == std::vector<int>(together[i].arrivals.size(), 0));
    }
  }
}

TEST_CASE("CUDA contraction: chosen tiles are taken, shape by shape, share launches and change nothing")
{
  forget_tile_choices();
  std::vector<Conv2dShape> shapes;
  for (int i = 0; i < 6; ++i)
    shapes.push_back(conv(2, 6 + i, 8, 16, 3, 1, 1));
  for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
    std::vector<Case<float>> planned, chosen;
    for (std::size_t i = 0; i < shapes.size(); ++i)
      planned.emplace_back(shapes[i], pass, true, false, static_cast<unsigned>(i), false);
    chosen = planned;
    std::vector<Contraction<float>> before, after;
    for (auto& c : planned)
      before.push_back(c.contraction());
    CHECK(emulate<float, MathMode::full>(before) == 1);
    // Every second one another shape; those of a shape are launched together, wherever they stand.
    for (std::size_t i = 0; i < shapes.size(); ++i)
      choose_tiles({TileProblem::of<float>(pass, shapes[i]), i % 2 == 0 ? Tiles::narrow : Tiles::planned});
    for (auto& c : chosen)
      after.push_back(c.contraction());
    CHECK(emulate<float, MathMode::full>(after) == 2);
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      CHECK(first_difference(planned[i].c, chosen[i].c) == -1);
      CHECK(first_difference(planned[i].bias_grad, chosen[i].bias_grad) == -1);
    }
  }
  forget_tile_choices();
}

TEST_CASE("CUDA contraction: an unaligned operand gives the same bits")
{
  Case<float> aligned_case(conv(2, 6, 8, 12, 3, 1, 1), Pass::forward, true, false, 8, false), shifted = aligned_case;
  shifted.a.insert(shifted.a.begin(), 0.0f);
  auto contraction = shifted.contraction();
  ++contraction.a;
  emulate<float, MathMode::full>({aligned_case.contraction()});
  emulate<float, MathMode::full>({contraction});
  CHECK(first_difference(aligned_case.c, shifted.c) == -1);
}

TEST_CASE("CUDA contraction: an empty batch")
{
  Case<float> forward(conv(0, 6, 8, 12, 3, 1, 1), Pass::forward, true, false, 9);
  CHECK(emulate<float, MathMode::full>({forward.contraction()}) == 0);
  Case<float> weights(conv(0, 6, 8, 12, 3, 1, 1), Pass::backward_weights, true, false, 9);
  weights.a.resize(1), weights.b.resize(1);
  emulate<float, MathMode::full>({weights.contraction()});
  CHECK(weights.c == std::vector<float>(weights.c.size(), 0.0f));
  CHECK(weights.bias_grad == std::vector<float>(12, 0.0f));
}

#endif
