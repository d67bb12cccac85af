// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The micro-kernels of the host back end, on the compiler's vector extensions: register tiles of `height` rows and
// `width` vectors of columns. Heights are chosen so that accumulators, one row of B and one broadcast fit the register
// file, and so that at least eight accumulators hide the latency of a fused multiply-add.
#pragma once

#include <nasturtium/kernels/types.hpp>

#include <array>
#include <utility>

#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define NASTURTIUM_UNROLL _Pragma("GCC unroll 16")
#define NASTURTIUM_UNROLL_DEPTH _Pragma("GCC unroll 4")
#elif defined(__clang__) && !defined(__CUDACC__)
#define NASTURTIUM_UNROLL _Pragma("clang loop unroll(full)")
#define NASTURTIUM_UNROLL_DEPTH _Pragma("clang loop unroll_count(4)")
#else
#define NASTURTIUM_UNROLL
#define NASTURTIUM_UNROLL_DEPTH
#endif

namespace nasturtium::kernels::impl::host {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
inline constexpr int vector_registers = 32;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
inline constexpr int vector_registers = 16;
#else
inline constexpr int vector_bytes = 16;
inline constexpr int vector_registers = 16;
#endif

/// A register of Reals that may be loaded from and stored to any aligned Real.
template <class Real>
struct VectorOf
{
  typedef Real type __attribute__((vector_size(vector_bytes), aligned(alignof(Real)), may_alias));
};
template <class Real>
using Vector = typename VectorOf<Real>::type;

template <class Real>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(Real));

template <class Real>
inline Vector<Real> load(Real const* from)
{
  return *reinterpret_cast<Vector<Real> const*>(from);
}
template <class Real>
inline void store(Real* to, Vector<Real> value)
{
  *reinterpret_cast<Vector<Real>*>(to) = value;
}

/// Vectors of the widest tile.
inline constexpr int max_width = 3;
/// Rows of the tallest tile of a width: 8, 6, 4 with 16 registers; 12, 12, 8 with 32.
constexpr int tile_height(int width)
{
  if (vector_registers == 32) return width == 3 ? 8 : 12;
  return width == 1 ? 8 : width == 2 ? 6 : 4;
}
inline constexpr int max_height = 12;
/// A multiple of all tile heights: blocks of that many rows have no partial tile.
inline constexpr int height_multiple = 24;

/// Columns cut into panels of one, two or three vectors: twos, and a three in front where their number is odd.
template <class Real>
struct Panels
{
  int columns;
  int vectors;

  constexpr explicit Panels(int columns_) : columns(columns_), vectors((columns_ + lanes<Real> - 1) / lanes<Real>) {}
  constexpr bool odd() const { return vectors % 2 == 1 && vectors > 1; }
  constexpr int count() const { return vectors == 1 ? 1 : vectors / 2; }
  constexpr int width(int panel) const { return vectors == 1 ? 1 : panel == 0 && odd() ? 3 : 2; }
  constexpr int first_vector(int panel) const { return 2 * panel + (panel > 0 && odd() ? 1 : 0); }
  constexpr int first_column(int panel) const { return first_vector(panel) * lanes<Real>; }
  /// Columns of the panel that exist; the rest of its lanes is padding.
  constexpr int valid(int panel) const
  {
    int const left = columns - first_column(panel);
    int const full = width(panel) * lanes<Real>;
    return left < full ? left : full;
  }
  /// Columns with padding.
  constexpr int padded() const { return vectors * lanes<Real>; }
};

/// A stretch of the depth: `runs` runs of `length` values each, `stride` apart in A, from `offset` on.
struct DepthBlock
{
  Index offset;
  Index stride;
  int runs;
  int length;
};

/// C tile = start + A * B, with A's rows at a + a_rows[r] + block, B packed as [depth][width * lanes], C's rows at
/// c + c_rows[r]. `start` is a row of values, or null to start from C itself.
template <class Real, int height, int width>
void product_tile(DepthBlock const& block, Real const* a, Index const* a_rows, Real const* b, Real* c,
                  Index const* c_rows, Real const* start, bool relu)
{
  constexpr int n = lanes<Real>;
  Vector<Real> sum[height][width];
  if (start) {
    NASTURTIUM_UNROLL for (int j = 0; j < width; ++j)
    {
      Vector<Real> const value = load(start + j * n);
      NASTURTIUM_UNROLL for (int i = 0; i < height; ++i) sum[i][j] = value;
    }
  } else {
    NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
    {
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] = load(c + c_rows[i] + j * n);
    }
  }
  Real const* row[height];
  NASTURTIUM_UNROLL for (int i = 0; i < height; ++i) row[i] = a + a_rows[i] + block.offset;
  for (int run = 0; run < block.runs; ++run) {
    Index const begin = run * block.stride;
    Index const end = begin + block.length;
    NASTURTIUM_UNROLL_DEPTH for (Index k = begin; k < end; ++k)
    {
      Vector<Real> right[width];
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) right[j] = load(b + j * n);
      b += width * n;
      NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
      {
        Real const left = row[i][k];
        NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] += left * right[j];
      }
    }
  }
  if (relu) {
    Vector<Real> const zero{};
    NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
    {
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] = sum[i][j] < zero ? zero : sum[i][j]; // NaN stays
    }
  }
  NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
  {
    NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) store(c + c_rows[i] + j * n, sum[i][j]);
  }
}

/// C tile = (from_zero ? 0 : C) + sum over pixels of A^T * B: row r of C takes a[depth[r] + a_rows[pixel]], columns are
/// b[pixel * b_stride + ...].
template <class Real, int height, int width>
void outer_tile(int pixels, Real const* a, Index const* depth, Index const* a_rows, Real const* b, Index b_stride,
                Real* c, Index c_stride, bool from_zero)
{
  constexpr int n = lanes<Real>;
  Vector<Real> sum[height][width];
  if (from_zero) {
    NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
    {
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] = Vector<Real>{};
    }
  } else {
    NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
    {
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] = load(c + i * c_stride + j * n);
    }
  }
  Real const* row[height];
  NASTURTIUM_UNROLL for (int i = 0; i < height; ++i) row[i] = a + depth[i];
  NASTURTIUM_UNROLL_DEPTH for (int pixel = 0; pixel < pixels; ++pixel)
  {
    Index const k = a_rows[pixel];
    Vector<Real> right[width];
    NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) right[j] = load(b + j * n);
    b += b_stride;
    NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
    {
      Real const left = row[i][k];
      NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) sum[i][j] += left * right[j];
    }
  }
  NASTURTIUM_UNROLL for (int i = 0; i < height; ++i)
  {
    NASTURTIUM_UNROLL for (int j = 0; j < width; ++j) store(c + i * c_stride + j * n, sum[i][j]);
  }
}

template <class Real>
using ProductTile = void (*)(DepthBlock const&, Real const*, Index const*, Real const*, Real*, Index const*,
                             Real const*, bool);
template <class Real>
using OuterTile = void (*)(int, Real const*, Index const*, Index const*, Real const*, Index, Real*, Index, bool);

template <class Real, int width, std::size_t... height>
constexpr auto product_tiles(std::index_sequence<height...>)
{
  return std::array<ProductTile<Real>, max_height>{&product_tile<Real, static_cast<int>(height) + 1, width>...};
}
template <class Real, int width, std::size_t... height>
constexpr auto outer_tiles(std::index_sequence<height...>)
{
  return std::array<OuterTile<Real>, max_height>{&outer_tile<Real, static_cast<int>(height) + 1, width>...};
}

/// The micro-kernel for [width - 1][height - 1].
template <class Real>
inline constexpr std::array<std::array<ProductTile<Real>, max_height>, max_width> product_tile_table = {
    product_tiles<Real, 1>(std::make_index_sequence<tile_height(1)>()),
    product_tiles<Real, 2>(std::make_index_sequence<tile_height(2)>()),
    product_tiles<Real, 3>(std::make_index_sequence<tile_height(3)>())};
template <class Real>
inline constexpr std::array<std::array<OuterTile<Real>, max_height>, max_width> outer_tile_table = {
    outer_tiles<Real, 1>(std::make_index_sequence<tile_height(1)>()),
    outer_tiles<Real, 2>(std::make_index_sequence<tile_height(2)>()),
    outer_tiles<Real, 3>(std::make_index_sequence<tile_height(3)>())};

} // namespace nasturtium::kernels::impl::host
