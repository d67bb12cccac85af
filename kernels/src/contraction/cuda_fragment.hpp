// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The tensor cores' warp-wide product d = a * b + d of a 16 x depth and a depth x 8 matrix, in float32 sums:
// mma.sync.m16n8k8 (TF32) and m16n8k16 (bf16). Each lane holds some elements of each matrix; which ones is laid down in
// the PTX ISA, "Matrix fragments for mma.m16n8k8 / mma.m16n8k16", and written here as functions. The host side of
// `multiply` decodes all 32 lanes' registers by these functions and multiplies.
#pragma once

#include <nasturtium/kernels/math_mode.hpp>

#include <Kokkos_Core.hpp>

#include <cstdint>

namespace nasturtium::kernels::impl::cuda {

/// Row and column of a lane's i-th sum (i < 4) in the 16 x 8 result; the same in both modes.
KOKKOS_INLINE_FUNCTION constexpr int sum_row(int lane, int i)
{
  return lane / 4 + 8 * (i / 2);
}
KOKKOS_INLINE_FUNCTION constexpr int sum_column(int lane, int i)
{
  return 2 * (lane % 4) + i % 2;
}

template <MathMode mode>
struct Fragment;

/// Registers of a lane: 4 of a, 2 of b, one TF32 value in each.
template <>
struct Fragment<MathMode::tf32>
{
  static constexpr int depth = 8;
  static constexpr int packed = 1; ///< values in a register

  KOKKOS_INLINE_FUNCTION static constexpr int a_row(int lane, int i) { return lane / 4 + 8 * (i % 2); }
  KOKKOS_INLINE_FUNCTION static constexpr int a_depth(int lane, int i) { return lane % 4 + 4 * (i / 2); }
  KOKKOS_INLINE_FUNCTION static constexpr int b_depth(int lane, int i) { return lane % 4 + 4 * i; }
  KOKKOS_INLINE_FUNCTION static constexpr int b_column(int lane) { return lane / 4; }

  /// Rounds to nearest, ties away from zero.
  KOKKOS_INLINE_FUNCTION static std::uint32_t pack(float const* value)
  {
#if defined(__CUDA_ARCH__)
    std::uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value[0]));
    return bits;
#else
    auto const bits = Kokkos::bit_cast<std::uint32_t>(value[0]);
    bool const finite = (bits & 0x7f800000u) != 0x7f800000u;
    return finite ? (bits + 0x1000u) & ~0x1fffu : bits;
#endif
  }
  static float unpack(std::uint32_t bits, int) { return Kokkos::bit_cast<float>(bits & ~0x1fffu); }

#if defined(__CUDA_ARCH__)
  __device__ static void multiply(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2])
  {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif
};

/// Registers of a lane: 4 of a, 2 of b, two bf16 values in each, the one of the smaller depth in the lower half.
template <>
struct Fragment<MathMode::bf16>
{
  static constexpr int depth = 16;
  static constexpr int packed = 2;

  KOKKOS_INLINE_FUNCTION static constexpr int a_row(int lane, int i) { return lane / 4 + 8 * (i % 2); }
  KOKKOS_INLINE_FUNCTION static constexpr int a_depth(int lane, int i) { return 2 * (lane % 4) + 8 * (i / 2); }
  KOKKOS_INLINE_FUNCTION static constexpr int b_depth(int lane, int i) { return 2 * (lane % 4) + 8 * i; }
  KOKKOS_INLINE_FUNCTION static constexpr int b_column(int lane) { return lane / 4; }

  /// Rounds to nearest, ties to even.
  KOKKOS_INLINE_FUNCTION static std::uint32_t pack(float const* value)
  {
#if defined(__CUDA_ARCH__)
    std::uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(value[1]), "f"(value[0]));
    return bits;
#else
    return round(value[0]) | round(value[1]) << 16;
#endif
  }
  static float unpack(std::uint32_t bits, int half) { return Kokkos::bit_cast<float>((bits >> (16 * half)) << 16); }

#if defined(__CUDA_ARCH__)
  __device__ static void multiply(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2])
  {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif

private:
  KOKKOS_INLINE_FUNCTION static std::uint32_t round(float value)
  {
    auto const bits = Kokkos::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu; // not a number
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  }
};

/// One warp's product on the host: a[lane], b[lane], d[lane] are the lanes' registers.
template <class F>
void multiply_on_host(float* const (&d)[32], std::uint32_t const* const (&a)[32], std::uint32_t const* const (&b)[32])
{
  float left[16][F::depth] = {}, right[F::depth][8] = {};
  for (int lane = 0; lane < 32; ++lane)
    for (int half = 0; half < F::packed; ++half) {
      for (int i = 0; i < 4; ++i)
        left[F::a_row(lane, i)][F::a_depth(lane, i) + half] = F::unpack(a[lane][i], half);
      for (int i = 0; i < 2; ++i)
        right[F::b_depth(lane, i) + half][F::b_column(lane)] = F::unpack(b[lane][i], half);
    }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < F::depth; ++k)
        d[lane][i] += left[sum_row(lane, i)][k] * right[k][sum_column(lane, i)];
}

} // namespace nasturtium::kernels::impl::cuda
