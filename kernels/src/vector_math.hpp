// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Elementary functions without branches or calls, so that loops over them vectorise on hosts. The float32 versions are
// good to a few units in the last place (errors below); double, and every device, takes the accurate library functions.
#pragma once

#include <Kokkos_Core.hpp>

#include <cstdint>

namespace nasturtium::kernels::impl {

/// e^x; relative error below 2e-7, denormal results kept, overflow to infinity, NaN stays NaN.
KOKKOS_INLINE_FUNCTION float vector_exp(float x)
{
#ifdef __CUDA_ARCH__
  return Kokkos::exp(x);
#else
  // x = n ln 2 + r, |r| <= ln 2 / 2; n comes from the low mantissa bits of a sum with 1.5 * 2^23. Out of range all of
  // this is garbage that the last line replaces: clamping x first would end in branches, and no vectors.
  constexpr float magic = 12582912.0f;
  float const shifted = x * 1.44269504f + magic;
  float const n = shifted - magic;
  float const r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  // Taylor's series to the 7th power: the first term left out is below 6e-9 of the sum.
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n as the product of two powers, so that neither overflows nor a denormal result is lost.
  std::int32_t const exponent = Kokkos::bit_cast<std::int32_t>(shifted) - 0x4B400000;
  std::int32_t const half = exponent >> 1;
  auto const power = [](std::int32_t e) { return Kokkos::bit_cast<float>(static_cast<std::uint32_t>(e + 127) << 23); };
  float const value = p * power(half) * power(exponent - half);
  float const bounded = x > 88.8f ? __builtin_huge_valf() : value;
  return x < -104.0f ? 0.0f : bounded;
#endif
}
KOKKOS_INLINE_FUNCTION double vector_exp(double x)
{
  return Kokkos::exp(x);
}

/// tanh x; absolute and relative error below 3e-7.
KOKKOS_INLINE_FUNCTION float vector_tanh(float x)
{
#ifdef __CUDA_ARCH__
  return Kokkos::tanh(x);
#else
  float const size = x < 0 ? -x : x;
  float const e = vector_exp(2.0f * size);
  float const large = 1.0f - 2.0f / (e + 1.0f);
  // Near zero that difference cancels: the continued fraction of tanh, truncated, is exact to 1e-8 for |x| < 0.6.
  float const s = x * x;
  float const small = size * (s * (s * 21.0f + 1260.0f) + 10395.0f) / (s * (s * (s + 210.0f) + 4725.0f) + 10395.0f);
  float const value = size < 0.6f ? small : large;
  return x < 0 ? -value : value;
#endif
}
KOKKOS_INLINE_FUNCTION double vector_tanh(double x)
{
  return Kokkos::tanh(x);
}

/// e^x - 1 for x <= 0, from tanh(x / 2), which does not cancel near zero.
template <class Real>
KOKKOS_INLINE_FUNCTION Real vector_expm1(Real x)
{
  Real const t = vector_tanh(x * Real(0.5));
  return Real(2) * t / (Real(1) - t);
}
KOKKOS_INLINE_FUNCTION double vector_expm1(double x)
{
  return Kokkos::expm1(x);
}

/// erf x; absolute error below 4e-7 (Abramowitz and Stegun, 7.1.26, in float32).
KOKKOS_INLINE_FUNCTION float vector_erf(float x)
{
#ifdef __CUDA_ARCH__
  return Kokkos::erf(x);
#else
  float const size = x < 0 ? -x : x;
  float const t = 1.0f / (1.0f + 0.3275911f * size);
  float const p =
      t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  float const value = 1.0f - p * vector_exp(-size * size);
  return x < 0 ? -value : value;
#endif
}
KOKKOS_INLINE_FUNCTION double vector_erf(double x)
{
  return Kokkos::erf(x);
}

} // namespace nasturtium::kernels::impl
