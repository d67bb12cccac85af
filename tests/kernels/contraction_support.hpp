// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolutions and dense layers on plain vectors, for the tests.
#pragma once

#include <nasturtium/core/philox.hpp>
#include <nasturtium/kernels/implementation.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

namespace nasturtium::tests {

using kernels::Activation;
using kernels::Conv2dShape;
using kernels::DenseShape;
using kernels::Index;
using kernels::Pass;
using Space = Kokkos::DefaultExecutionSpace;

template <class Real>
using Values = std::vector<Real>;

template <class Real>
using DeviceValues = Kokkos::View<Real*, Kokkos::LayoutRight, Space::memory_space>;

template <class Real>
DeviceValues<Real> to_device(Values<Real> const& values)
{
  DeviceValues<Real> device("test", values.size());
  Kokkos::View<Real const*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> const host(values.data(),
                                                                                                        values.size());
  Kokkos::deep_copy(device, host);
  return device;
}

template <class Real>
Values<Real> to_host(DeviceValues<Real> const& device)
{
  Values<Real> values(device.extent(0));
  Kokkos::View<Real*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> const host(values.data(),
                                                                                                  values.size());
  Kokkos::deep_copy(host, device);
  return values;
}

/// Integers in [-2, 2]: every sum in the tests is exact in float.
template <class Real>
Values<Real> integers(Index size, std::uint32_t stream)
{
  Values<Real> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<Real>(to_below(random_block(1, Purpose::synthetic, stream, i).word[0], 5)) - 2;
  }
  return values;
}

/// Uniform in [-1, 1).
template <class Real>
Values<Real> reals(Index size, std::uint32_t stream)
{
  Values<Real> values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<Real>(2 * to_unit_float(random_block(2, Purpose::synthetic, stream, i).word[0]) - 1);
  }
  return values;
}

template <class Real>
struct Layer
{
  Conv2dShape shape;
  Values<Real> src, weights, bias, dst_grad;
};

template <class Real>
Layer<Real> integer_layer(Conv2dShape const& shape)
{
  return {shape, integers<Real>(shape.in_size(), 1), integers<Real>(shape.weights_size(), 2),
          integers<Real>(shape.out_channels, 3), integers<Real>(shape.out_size(), 4)};
}
template <class Real>
Layer<Real> real_layer(Conv2dShape const& shape)
{
  return {shape, reals<Real>(shape.in_size(), 1), reals<Real>(shape.weights_size(), 2),
          reals<Real>(shape.out_channels, 3), reals<Real>(shape.out_size(), 4)};
}

/// Scratch memory filled with something that must not matter.
inline DeviceValues<std::byte> garbage(std::size_t bytes)
{
  DeviceValues<std::byte> memory("workspace", bytes + 64);
  Kokkos::deep_copy(memory, std::byte{0x7f});
  return memory;
}
inline kernels::Workspace<Space> aligned(DeviceValues<std::byte> const& memory)
{
  std::size_t const skip = (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
  return kernels::Workspace<Space>(memory.data() + skip, memory.extent(0) - 64);
}

/// Bitwise equal up to the sign of zero; NaN never equals.
template <class Real>
void require_equal(Values<Real> const& got, Values<Real> const& expected)
{
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(got[i] == expected[i])) {
      CAPTURE(i, got[i], expected[i]);
      FAIL("values differ");
    }
  }
}

template <class Real>
struct Forward
{
  Values<Real> dst, moments;
  Values<Real> mean, inverse_deviation, running_mean, running_variance; ///< where statistics are wanted
};

template <class T>
DeviceValues<T> zeros(Index size)
{
  return DeviceValues<T>("zeros", static_cast<std::size_t>(size));
}

/// Outputs start as NaN, so that what is not written shows.
template <class Real>
DeviceValues<Real> unset(Index size)
{
  DeviceValues<Real> view("unset", static_cast<std::size_t>(size));
  Kokkos::deep_copy(view, std::numeric_limits<Real>::quiet_NaN());
  return view;
}

template <class Real>
Forward<Real> forward(Layer<Real> const& layer, std::string_view implementation, bool with_bias, Activation activation,
                      bool with_statistics, Space const& exec = Space())
{
  auto const src = to_device(layer.src), weights = to_device(layer.weights), bias = to_device(layer.bias);
  auto const dst = unset<Real>(layer.shape.out_size());
  Index const channels = with_statistics ? layer.shape.out_channels : 0;
  auto const moments = unset<Real>(kernels::moment_chunks(layer.shape.out_rows()) * 2 * channels);
  bool const any = layer.shape.batch > 0; // else there is nothing to write
  auto const mean = any ? unset<Real>(channels) : zeros<Real>(channels),
             deviation = any ? unset<Real>(channels) : zeros<Real>(channels);
  auto const running_mean = zeros<Real>(channels), running_variance = zeros<Real>(channels);
  auto const arrivals = zeros<int>(channels);
  auto const memory = garbage(kernels::conv2d_forward_workspace<Space, Real>(layer.shape));
  kernels::conv2d_forward<Space, Real>(
      exec, implementation, layer.shape, src, weights,
      with_bias ? kernels::Buffer<Space, Real const>(bias) : kernels::Buffer<Space, Real const>(), activation, dst,
      {moments, mean, deviation, running_mean, running_variance, Real(1e-5), Real(0.9), arrivals}, aligned(memory));
  exec.fence();
  require_equal(to_host(arrivals), Values<int>(static_cast<std::size_t>(channels), 0));
  return {to_host(dst),       to_host(moments),      to_host(mean),
          to_host(deviation), to_host(running_mean), to_host(running_variance)};
}

template <class Real>
Values<Real> backward_data(Layer<Real> const& layer, std::string_view implementation, bool accumulate,
                           Space const& exec = Space())
{
  auto const dst_grad = to_device(layer.dst_grad), weights = to_device(layer.weights);
  auto const src_grad = accumulate ? to_device(layer.src) : unset<Real>(layer.shape.in_size());
  auto const memory = garbage(kernels::conv2d_backward_data_workspace<Space, Real>(layer.shape));
  kernels::conv2d_backward_data<Space, Real>(exec, implementation, layer.shape, dst_grad, weights, src_grad, accumulate,
                                             aligned(memory));
  exec.fence();
  return to_host(src_grad);
}

template <class Real>
struct Gradients
{
  Values<Real> weights, bias;
};

template <class Real>
Gradients<Real> backward_weights(Layer<Real> const& layer, std::string_view implementation, bool with_bias,
                                 Space const& exec = Space())
{
  auto const src = to_device(layer.src), dst_grad = to_device(layer.dst_grad);
  auto const weights_grad = unset<Real>(layer.shape.weights_size());
  auto const bias_grad = unset<Real>(with_bias ? layer.shape.out_channels : 0);
  auto const memory = garbage(kernels::conv2d_backward_weights_workspace<Space, Real>(layer.shape));
  kernels::conv2d_backward_weights<Space, Real>(exec, implementation, layer.shape, src, dst_grad, weights_grad,
                                                bias_grad, aligned(memory));
  exec.fence();
  return {to_host(weights_grad), to_host(bias_grad)};
}

/// |got - expected| <= tolerance, absolutely.
template <class Real>
void require_close(Values<Real> const& got, Values<Real> const& expected, double tolerance)
{
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!(std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])) <= tolerance)) {
      CAPTURE(i, got[i], expected[i], tolerance);
      FAIL("values differ");
    }
  }
}

/// Rounding of two sums of n products of values in [-1, 1) in different orders. Partial sums walk to about sqrt(n) / 3
/// and each addition rounds by half an epsilon of that, so errors walk to about n * epsilon / 8; four times eight of
/// that.
template <class Real>
double rounding(double n)
{
  return 4 * (n + 8) * std::numeric_limits<Real>::epsilon();
}

} // namespace nasturtium::tests

namespace nasturtium::kernels {

inline std::ostream& operator<<(std::ostream& stream, Conv2dShape const& s)
{
  return stream << "batch " << s.batch << ", input " << s.in_height << "x" << s.in_width << "x" << s.in_channels << ", "
                << s.out_channels << " filters " << s.kernel_height << "x" << s.kernel_width << ", stride "
                << s.stride_height << "x" << s.stride_width << ", padding " << s.pad_top << " " << s.pad_bottom << " "
                << s.pad_left << " " << s.pad_right << ", dilation " << s.dilation_height << "x" << s.dilation_width
                << ", groups " << s.groups;
}

} // namespace nasturtium::kernels
