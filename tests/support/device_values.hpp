// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test data on the device, drawn from the counter-based generator, and the execution space instances to try.
#pragma once

#include <nasturtium/core/philox.hpp>
#include <nasturtium/kernels/types.hpp>

#include "support/compare.hpp"
#ifdef NASTURTIUM_EMULATED_DEVICE
#include "instantiate.hpp"
#endif

#include <limits>
#include <type_traits>
#include <vector>

namespace nasturtium::testing {

#ifdef NASTURTIUM_EMULATED_DEVICE
using Space = EmulatedDevice;
#else
using Space = Kokkos::DefaultExecutionSpace;
#endif

/// Values on the device; converts to the Buffers that kernels take.
template <class T>
class Values
{
public:
  Values() : Values(0) {}
  /// Unset: NaN or the largest value, so that what a kernel leaves out shows.
  explicit Values(std::size_t count)
      : Values(std::vector<T>(count, std::is_floating_point_v<T> ? std::numeric_limits<T>::quiet_NaN()
                                                                 : std::numeric_limits<T>::max()))
  {
  }
  Values(std::vector<T> const& values) : m_view("nasturtium::test", values.size())
  {
    auto const mirror = Kokkos::create_mirror_view(m_view);
    for (std::size_t i = 0; i < values.size(); ++i)
      mirror(i) = values[i];
    Kokkos::deep_copy(m_view, mirror);
  }

  operator kernels::Buffer<Space, T>() const { return kernels::Buffer<Space, T>(m_view.data(), m_view.extent(0)); }
  operator kernels::Buffer<Space, T const>() const
  {
    return kernels::Buffer<Space, T const>(m_view.data(), m_view.extent(0));
  }

  /// The values, when all work is done.
  std::vector<T> host() const
  {
    Kokkos::fence();
    auto const mirror = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), m_view);
    std::vector<T> values(mirror.extent(0));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = mirror(i);
    return values;
  }

private:
  Kokkos::View<T*, Kokkos::LayoutRight, typename Space::memory_space> m_view;
};

/// Workspace of `bytes` bytes, full of NaN to show who trusts its content.
class Scratch
{
public:
  explicit Scratch(std::size_t bytes) : m_values(bytes / sizeof(double) + 1), m_bytes(bytes) {}
  operator kernels::Workspace<Space>() const
  {
    kernels::Buffer<Space, double> const buffer = m_values;
    return kernels::Workspace<Space>(reinterpret_cast<std::byte*>(buffer.data()), m_bytes);
  }

private:
  Values<double> m_values;
  std::size_t m_bytes;
};

/// `count` numbers uniform in [low, high).
template <class Real>
std::vector<Real> random_values(std::uint64_t seed, std::size_t count, double low = -1, double high = 1)
{
  std::vector<Real> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    float const unit = to_unit_float(random_block(seed, Purpose::synthetic, 0, i).word[0]);
    values[i] = static_cast<Real>(low + (high - low) * static_cast<double>(unit));
  }
  return values;
}

/// `count` integers in [low, high]: sums of a few thousand of them are exact in float32, in any order.
template <class T>
std::vector<T> random_integers(std::uint64_t seed, std::size_t count, int low, int high)
{
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<T>(low + static_cast<int>(to_below(random_block(seed, Purpose::synthetic, 1, i).word[0],
                                                               static_cast<std::uint32_t>(high - low + 1))));
  return values;
}

/// Instances that must give the same bits: all threads, one, two.
inline std::vector<Space> instances()
{
  std::vector<Space> spaces{Space()};
#if defined(KOKKOS_ENABLE_OPENMP) && !defined(KOKKOS_ENABLE_CUDA) &&                                                   \
    !defined(NASTURTIUM_EMULATED_DEVICE) // where Space is OpenMP
  if constexpr (std::is_same_v<Space, Kokkos::OpenMP>) {
    spaces.push_back(Kokkos::OpenMP(1));
    spaces.push_back(Kokkos::OpenMP(2));
  }
#endif
  return spaces;
}

/// Empty where run(exec), which returns a vector of values, gives the same bits on every instance.
template <class Run>
std::string instance_difference(std::string const& label, Run const& run)
{
  auto const spaces = instances();
  auto const expected = run(spaces[0]);
  for (std::size_t i = 0; i < spaces.size(); ++i)
    if (auto text = first_bit_difference(label, run(spaces[i]), expected); !text.empty())
      return "instance " + std::to_string(i) + ": " + text;
  return {};
}

/// Central differences of the scalar function `f` of a vector; exact to O(h^2).
template <class Function>
std::vector<double> numeric_gradient(std::vector<double> x, Function const& f, double h = 1e-5)
{
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    double const kept = x[i];
    x[i] = kept + h;
    double const above = f(x);
    x[i] = kept - h;
    double const below = f(x);
    x[i] = kept;
    gradient[i] = (above - below) / (2 * h);
  }
  return gradient;
}

/// The inner product.
template <class A, class B>
double dot(std::vector<A> const& a, std::vector<B> const& b)
{
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

} // namespace nasturtium::testing
