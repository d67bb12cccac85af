// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The contraction as the CUDA back end sees it: c[row][column] = sum over depth of a(row, depth) * b(depth, column),
// with index maps that say where in an image, a matrix or a weight tensor an element of a, b or c lies. Everything here
// runs on the device and on the host alike, so that the host tests run the very templates that the device runs.
#pragma once

#include "problem.hpp"

#include <Kokkos_Core.hpp>

#include <cstdint>

// Loops over registers have to be unrolled, else the registers become memory.
#if defined(__CUDA_ARCH__)
#define NASTURTIUM_UNROLL _Pragma("unroll")
#else
#define NASTURTIUM_UNROLL
#endif

namespace nasturtium::kernels::impl::cuda {

/// Quotients by a divisor known before the launch (Granlund and Montgomery, PLDI 1994), exact for 0 <= n < 2^31.
struct FastDivide
{
  std::uint32_t divisor = 1, multiplier = 1u << 31, shift = 31;

  FastDivide() = default;
  explicit FastDivide(int by) : divisor(static_cast<std::uint32_t>(by))
  {
    int bits = 0;
    while ((std::uint64_t{1} << bits) < divisor)
      ++bits;
    shift = static_cast<std::uint32_t>(31 + bits);
    multiplier = static_cast<std::uint32_t>(((std::uint64_t{1} << shift) + divisor - 1) / divisor);
  }
  KOKKOS_INLINE_FUNCTION int quotient(int n) const
  {
    return static_cast<int>((static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * multiplier) >> shift);
  }
  KOKKOS_INLINE_FUNCTION int times(int n) const { return n * static_cast<int>(divisor); }
};

/// Added to a coordinate it leaves every image; two of them still fit an int.
inline constexpr int outside = -(1 << 29);

/// A row of pixels(a): first pixel of its image, and the coordinates that tap (0, 0) reads.
struct Pixel
{
  int image, y, x;
};

/// A step of the depth: what it adds to the coordinates, and the channel.
struct Tap
{
  int y, x, channel;
};

/// An NHWC image seen as the matrix (pixels of a convolution's result) x (taps, channels), without that matrix
/// existing. Pixel (n, qy, qx) and tap (ty, tx, c) meet at image n, (qy * stride + origin + ty * dilation, the same in
/// x), channel c. Dilations are negative in the backward pass of the data.
struct ImageMap
{
  FastDivide pixels_per_image, pixels_per_line, channels, taps_per_line;
  int stride_y = 1, stride_x = 1, origin_y = 0, origin_x = 0, dilation_y = 1, dilation_x = 1;
  int height = 1, width = 1, pixel_stride = 1;

  KOKKOS_INLINE_FUNCTION Pixel pixel(int row, int rows) const
  {
    if (row >= rows) return {0, outside, outside};
    int const n = pixels_per_image.quotient(row), rest = row - pixels_per_image.times(n);
    int const y = pixels_per_line.quotient(rest), x = rest - pixels_per_line.times(y);
    return {n * height * width, y * stride_y + origin_y, x * stride_x + origin_x};
  }
  KOKKOS_INLINE_FUNCTION Tap tap(int k, int depth) const
  {
    if (k >= depth) return {outside, outside, 0};
    int const t = channels.quotient(k), channel = k - channels.times(t);
    int const y = taps_per_line.quotient(t), x = t - taps_per_line.times(y);
    return {y * dilation_y, x * dilation_x, channel};
  }
  /// The element, or null in the padding.
  template <class Real>
  KOKKOS_INLINE_FUNCTION Real const* at(Real const* data, Pixel const& p, Tap const& t) const
  {
    int const y = p.y + t.y, x = p.x + t.x;
    if (static_cast<unsigned>(y) >= static_cast<unsigned>(height) ||
        static_cast<unsigned>(x) >= static_cast<unsigned>(width))
      return nullptr;
    return data + static_cast<Index>(p.image + y * width + x) * pixel_stride + t.channel;
  }
};

/// HWIO weights seen as the matrix (taps, out channels) x (in channels) of the backward pass of the data, with the taps
/// first + step * j of the kernel alone.
struct WeightMap
{
  FastDivide channels, taps_per_line; ///< out channels of the group; taps of a kernel line that take part
  int first_y = 0, first_x = 0, step_y = 1, step_x = 1;
  int kernel_width = 1, tap_stride = 1, channel_stride = 1;

  KOKKOS_INLINE_FUNCTION int row(int k) const
  {
    int const t = channels.quotient(k), channel = k - channels.times(t);
    int const y = taps_per_line.quotient(t), x = t - taps_per_line.times(y);
    return ((first_y + step_y * y) * kernel_width + first_x + step_x * x) * tap_stride + channel;
  }
};

/// Where row m of c lies: m * stride, or the pixels first + step * q of an image.
struct TargetMap
{
  bool linear = true;
  int stride = 1; ///< elements from a row (pixel) to the next
  int height = 1, width = 1, first_y = 0, first_x = 0, step_y = 1, step_x = 1;
};

/// One contraction on the device. Groups are a further index of tiles: each of a, b, c, bias moves on by its group
/// stride.
template <class Real>
struct Problem
{
  Real const* a = nullptr;
  Real const* b = nullptr;
  Real* c = nullptr;
  Real const* bias = nullptr;  ///< per column, or null
  Statistics<Real> statistics; ///< of c; need tiles of moment_chunk_rows rows, one slice
  Real* bias_grad = nullptr;   ///< column sums of b, or null
  Real* partial = nullptr;     ///< [group][slice][rows + (bias_grad ? 1 : 0)][columns] where slices > 1
  int rows = 0, columns = 0, depth = 0;
  int groups = 1, a_group = 0, b_group = 0, c_group = 0, column_group = 0;
  int slices = 1, slice_depth = 0; ///< slice s sums the depths [s, s + 1) * slice_depth; the slices are added in order
  int tiles_down = 0, tiles_across = 0;
  int b_stride = 1; ///< elements from a row of the matrix b to the next
  bool relu = false, accumulate = false;
  ImageMap image;
  WeightMap weights;
  TargetMap target;

  KOKKOS_INLINE_FUNCTION int tiles() const { return groups * slices * tiles_down * tiles_across; }
  KOKKOS_INLINE_FUNCTION int partial_rows() const { return rows + (bias_grad != nullptr ? 1 : 0); }
  KOKKOS_INLINE_FUNCTION Index row_offset(int row) const
  {
    if (target.linear) return static_cast<Index>(row) * target.stride;
    int const n = image.pixels_per_image.quotient(row), rest = row - image.pixels_per_image.times(n);
    int const y = image.pixels_per_line.quotient(rest), x = rest - image.pixels_per_line.times(y);
    int const line = n * target.height + target.first_y + target.step_y * y;
    return (static_cast<Index>(line) * target.width + target.first_x + target.step_x * x) * target.stride;
  }
};

// The operands. `Outer` is what is known of a row of a (a column of b), `Depth` of a step of the depth; `at` is where
// they meet, null where the element is zero. `depth_contiguous` tells along which of the two neighbours lie in memory.

/// a of forward and backward_data: an image's pixels are rows.
struct PixelRows
{
  static constexpr bool depth_contiguous = true;
  using Outer = Pixel;
  using Depth = Tap;
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Outer outer(Problem<Real> const& p, int row)
  {
    return p.image.pixel(row, p.rows);
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Depth depth(Problem<Real> const& p, int k, int end)
  {
    return p.image.tap(k, end);
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Real const* at(Problem<Real> const& p, Real const* data, Outer const& o, Depth const& d)
  {
    return p.image.at(data, o, d);
  }
};

/// a of backward_weights: the same matrix transposed.
struct TapRows
{
  static constexpr bool depth_contiguous = false;
  using Outer = Tap;
  using Depth = Pixel;
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Outer outer(Problem<Real> const& p, int row)
  {
    return p.image.tap(row, p.rows);
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Depth depth(Problem<Real> const& p, int k, int end)
  {
    return p.image.pixel(k, end);
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Real const* at(Problem<Real> const& p, Real const* data, Outer const& o, Depth const& d)
  {
    return p.image.at(data, d, o);
  }
};

/// b of forward (weights) and backward_weights (dst_grad): a row-major matrix (depth, columns).
struct MatrixColumns
{
  static constexpr bool depth_contiguous = false;
  using Outer = int;
  using Depth = Index;
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Outer outer(Problem<Real> const& p, int column)
  {
    return column < p.columns ? column : -1;
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Depth depth(Problem<Real> const& p, int k, int end)
  {
    return k < end ? static_cast<Index>(k) * p.b_stride : Index{-1};
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Real const* at(Problem<Real> const&, Real const* data, Outer const& o, Depth const& d)
  {
    return o < 0 || d < 0 ? nullptr : data + d + o;
  }
};

/// b of backward_data: weights, flipped and transposed.
struct FlippedWeights
{
  static constexpr bool depth_contiguous = true;
  using Outer = int;
  using Depth = int;
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Outer outer(Problem<Real> const& p, int column)
  {
    return column < p.columns ? column * p.weights.channel_stride : -1;
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Depth depth(Problem<Real> const& p, int k, int end)
  {
    return k < end ? p.weights.row(k) : -1;
  }
  template <class Real>
  KOKKOS_INLINE_FUNCTION static Real const* at(Problem<Real> const&, Real const* data, Outer const& o, Depth const& d)
  {
    return o < 0 || d < 0 ? nullptr : data + static_cast<Index>(o) + d;
  }
};

template <Pass pass>
struct Operands;
template <>
struct Operands<Pass::forward>
{
  using A = PixelRows;
  using B = MatrixColumns;
};
template <>
struct Operands<Pass::backward_data>
{
  using A = PixelRows;
  using B = FlippedWeights;
};
template <>
struct Operands<Pass::backward_weights>
{
  using A = TapRows;
  using B = MatrixColumns;
};

} // namespace nasturtium::kernels::impl::cuda
