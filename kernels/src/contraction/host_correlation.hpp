// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one geometry that all dense host contractions are cut into: a correlation of an NHWC image with a regular grid of
// taps. Forward is one per group; backward-data is one per group and residue class of input pixels modulo the stride,
// so that no product with a zero is ever formed.
#pragma once

#include "contraction/host_launch.hpp"
#include "contraction/host_tile.hpp"
#include "contraction/problem.hpp"

#include <algorithm>
#include <numeric>
#include <type_traits>

namespace nasturtium::kernels::impl::host {

struct Correlation
{
  // The source image: `channels` of the `pitch` channels of a pixel, from first_channel on.
  Index batch;
  int height, width;
  Index pitch, first_channel;
  int channels;
  // Grid pixel (y, x), tap (i, j) reads source pixel (origin_y + y * stride_y + i * step_y, ...).
  int origin_y, origin_x;
  int stride_y, stride_x;
  int taps_y, taps_x;
  int step_y, step_x;
  int grid_y, grid_x;
  // Where the columns of grid pixel (n, y, x) are: c_first + n * c_image + y * c_row + x * c_pixel.
  Index c_first, c_image, c_row, c_pixel;
  int columns;
  // Where the weight of tap (i, j), channel, column is: w_first + i * w_y + j * w_x + channel * w_channel + column *
  // w_column.
  Index w_first, w_y, w_x, w_channel, w_column;

  Index rows() const { return batch * grid_y * grid_x; }
  Index depth() const { return Index{taps_y} * taps_x * channels; }
  int window_y() const { return (grid_y - 1) * stride_y + (taps_y - 1) * step_y + 1; }
  int window_x() const { return (grid_x - 1) * stride_x + (taps_x - 1) * step_x + 1; }
  /// Whether every tap of every grid pixel is inside of the image.
  bool inside() const
  {
    return depth() == 0 ||
           (origin_y >= 0 && origin_x >= 0 && origin_y + window_y() <= height && origin_x + window_x() <= width);
  }
};

inline Correlation forward_correlation(Conv2dShape const& s, int group)
{
  int const in = s.in_channels / s.groups;
  int const out = s.out_channels / s.groups;
  Correlation c;
  c.batch = s.batch;
  c.height = s.in_height;
  c.width = s.in_width;
  c.pitch = s.in_channels;
  c.first_channel = Index{group} * in;
  c.channels = in;
  c.origin_y = -s.pad_top;
  c.origin_x = -s.pad_left;
  c.stride_y = s.stride_height;
  c.stride_x = s.stride_width;
  c.taps_y = s.kernel_height;
  c.taps_x = s.kernel_width;
  c.step_y = s.dilation_height;
  c.step_x = s.dilation_width;
  c.grid_y = s.out_height();
  c.grid_x = s.out_width();
  c.c_first = Index{group} * out;
  c.c_pixel = s.out_channels;
  c.c_row = c.c_pixel * c.grid_x;
  c.c_image = c.c_row * c.grid_y;
  c.columns = out;
  c.w_first = Index{group} * out;
  c.w_column = 1;
  c.w_channel = s.out_channels;
  c.w_x = c.w_channel * in;
  c.w_y = c.w_x * s.kernel_width;
  return c;
}

/// One dimension of a residue class: input positions residue + j * stride, j < count, see the output positions
/// j + origin + t * step, t < taps, through the kernel positions last - t * kernel_step.
struct ResidueClass
{
  int count, taps, origin, step, last, kernel_step;
};
inline ResidueClass residue_class(int residue, int extent, int kernel, int stride, int dilation, int pad)
{
  int const divisor = std::gcd(stride, dilation);
  ResidueClass result{};
  result.count = residue < extent ? (extent - residue + stride - 1) / stride : 0;
  result.kernel_step = stride / divisor;
  result.step = dilation / divisor;
  int first = 0;
  while (first < kernel && (residue + pad - first * dilation) % stride != 0)
    ++first;
  if (first < kernel) {
    result.taps = (kernel - 1 - first) / result.kernel_step + 1;
    result.last = first + (result.taps - 1) * result.kernel_step;
    result.origin = (residue + pad - result.last * dilation) / stride;
  }
  return result;
}

inline Correlation backward_correlation(Conv2dShape const& s, int group, int residue_y, int residue_x)
{
  int const in = s.in_channels / s.groups;
  int const out = s.out_channels / s.groups;
  ResidueClass const y =
      residue_class(residue_y, s.in_height, s.kernel_height, s.stride_height, s.dilation_height, s.pad_top);
  ResidueClass const x =
      residue_class(residue_x, s.in_width, s.kernel_width, s.stride_width, s.dilation_width, s.pad_left);
  Correlation c;
  c.batch = s.batch;
  c.height = s.out_height();
  c.width = s.out_width();
  c.pitch = s.out_channels;
  c.first_channel = Index{group} * out;
  c.channels = out;
  c.origin_y = y.origin;
  c.origin_x = x.origin;
  c.stride_y = c.stride_x = 1;
  c.taps_y = y.taps;
  c.taps_x = x.taps;
  c.step_y = y.step;
  c.step_x = x.step;
  c.grid_y = y.count;
  c.grid_x = x.count;
  Index const row = Index{s.in_width} * s.in_channels;
  c.c_first = residue_y * row + Index{residue_x} * s.in_channels + Index{group} * in;
  c.c_pixel = Index{s.stride_width} * s.in_channels;
  c.c_row = s.stride_height * row;
  c.c_image = s.in_height * row;
  c.columns = in;
  Index const tap = Index{in} * s.out_channels;
  c.w_channel = 1;
  c.w_column = s.out_channels;
  c.w_x = -x.kernel_step * tap;
  c.w_y = -y.kernel_step * s.kernel_width * tap;
  c.w_first = (Index{y.last} * s.kernel_width + x.last) * tap + Index{group} * out;
  return c;
}

/// Residue classes of input pixels along each axis that hold any: a stride may be larger than the image.
inline Index classes_y(Conv2dShape const& s)
{
  return std::min(s.stride_height, s.in_height);
}
inline Index classes_x(Conv2dShape const& s)
{
  return std::min(s.stride_width, s.in_width);
}

inline Index correlation_count(Pass pass, Conv2dShape const& s)
{
  return pass == Pass::backward_data ? s.groups * classes_y(s) * classes_x(s) : s.groups;
}
inline Correlation correlation(Pass pass, Conv2dShape const& s, Index number)
{
  if (pass != Pass::backward_data) return forward_correlation(s, static_cast<int>(number));
  Index const classes = classes_y(s) * classes_x(s);
  return backward_correlation(s, static_cast<int>(number / classes), static_cast<int>(number % classes / classes_x(s)),
                              static_cast<int>(number % classes_x(s)));
}

/// Where a worker finds the taps of a block of grid pixels: in the source itself, or in a slab, a copy of the part of
/// the source that the block needs, with zeros around the image. In a slab, and in a source that is taken whole, a row
/// of taps is one contiguous run: three channels by three taps are nine values in a row.
class Gather
{
public:
  explicit Gather(Correlation const& c) : m_c(c), m_direct(c.inside())
  {
    m_pixel = m_direct ? c.pitch : c.channels;
    m_row = m_pixel * (m_direct ? c.width : c.window_x());
  }

  bool direct() const { return m_direct; }

  /// Values that the slab of a block of `rows` grid pixels takes at most.
  Index slab_size(Index rows) const
  {
    if (m_direct || m_c.rows() == 0) return 0;
    Index const lines = std::min((rows + m_c.grid_x - 2) / m_c.grid_x + 1, m_c.batch * m_c.grid_y);
    Index const images = (lines + m_c.grid_y - 2) / m_c.grid_y;
    Index const between = std::max(0, m_c.window_y() - m_c.grid_y * m_c.stride_y);
    return ((lines - 1) * m_c.stride_y + images * between + Index{m_c.taps_y - 1} * m_c.step_y + 1) * m_row;
  }

  /// Fills the slab where there is one and a_rows[0 .. last - first); returns what a_rows are relative to.
  template <class Real>
  Real const* block(Real const* source, Index first, Index last, Real* slab, Index* a_rows) const
  {
    Index const line = first / m_c.grid_x;
    Index n = line / m_c.grid_y;
    int y = static_cast<int>(line % m_c.grid_y);
    int x = static_cast<int>(first % m_c.grid_x);
    Index const window = m_direct ? m_c.height : m_c.window_y();
    Index const begin = m_direct ? 0 : n * window + Index{y} * m_c.stride_y;
    Index const lines_first = n * window + Index{y} * m_c.stride_y - begin;
    Index base = lines_first * m_row;
    for (Index row = first; row < last; ++row) {
      a_rows[row - first] = base + x * m_c.stride_x * m_pixel;
      if (++x == m_c.grid_x) {
        x = 0;
        if (++y == m_c.grid_y) {
          y = 0;
          ++n;
        }
        base = (n * window + Index{y} * m_c.stride_y - begin) * m_row;
      }
    }
    if (m_direct) {
      return source + (Index{m_c.origin_y} * m_c.width + m_c.origin_x) * m_c.pitch + m_c.first_channel;
    }
    Index const last_line = (last - 1) / m_c.grid_x;
    Index const end = last_line / m_c.grid_y * window + last_line % m_c.grid_y * m_c.stride_y +
                      Index{m_c.taps_y - 1} * m_c.step_y + 1;
    fill(source, begin, end, slab);
    return slab;
  }

  /// Where depth index (tap_y, tap_x, channel) is relative to a row.
  Index offset(int tap_y, int tap_x, int channel) const
  {
    return Index{tap_y} * m_c.step_y * m_row + Index{tap_x} * m_c.step_x * m_pixel + channel;
  }

  /// Calls visit(DepthBlock, first depth index) over the depth in ascending order, in blocks of about `limit` values;
  /// once with an empty block where there is no depth at all.
  template <class Visit>
  void for_each_depth_block(int limit, Visit const& visit) const
  {
    if (m_c.depth() == 0) {
      visit(DepthBlock{0, 0, 0, 0}, Index{0});
      return;
    }
    bool const fused = m_c.taps_x == 1 || (m_pixel == m_c.channels && m_c.step_x == 1);
    int const outer = fused ? 1 : m_c.taps_y;
    int const runs = fused ? m_c.taps_y : m_c.taps_x;
    int const length = fused ? m_c.taps_x * m_c.channels : m_c.channels;
    Index const outer_stride = m_c.step_y * m_row;
    Index const run_stride = fused ? m_c.step_y * m_row : m_c.step_x * m_pixel;
    int const group = balanced(runs, std::max(1, limit / length));
    int const piece = balanced(length, limit);
    Index depth = 0;
    for (int o = 0; o < outer; ++o) {
      for (int run = 0; run < runs; run += group) {
        for (int k = 0; k < length; k += piece) {
          DepthBlock const block{o * outer_stride + run * run_stride + k, run_stride, std::min(group, runs - run),
                                 std::min(piece, length - k)};
          visit(block, depth);
          depth += Index{block.runs} * block.length;
        }
      }
    }
  }

private:
  /// The size of parts when `items` are cut into as few and as equal parts as `limit` allows.
  static int balanced(int items, int limit)
  {
    int const parts = (items + limit - 1) / limit;
    return (items + parts - 1) / parts;
  }

  template <class Real>
  void fill(Real const* source, Index begin, Index end, Real* slab) const
  {
    int const window_y = m_c.window_y();
    int const window_x = m_c.window_x();
    int const left = std::clamp(-m_c.origin_x, 0, window_x);
    int const right = std::clamp(m_c.width - m_c.origin_x, left, window_x);
    Index n = begin / window_y;
    int y = static_cast<int>(begin % window_y);
    for (Index line = begin; line < end; ++line, slab += m_row) {
      int const in_y = m_c.origin_y + y;
      if (in_y < 0 || in_y >= m_c.height || n >= m_c.batch) {
        std::fill_n(slab, m_row, Real(0));
      } else {
        Real const* from =
            source + ((n * m_c.height + in_y) * m_c.width + m_c.origin_x + left) * m_c.pitch + m_c.first_channel;
        std::fill_n(slab, left * m_pixel, Real(0));
        if (m_c.pitch == m_pixel) {
          std::copy_n(from, (right - left) * m_pixel, slab + left * m_pixel);
        } else {
          for (int x = left; x < right; ++x, from += m_c.pitch)
            std::copy_n(from, m_pixel, slab + x * m_pixel);
        }
        std::fill_n(slab + right * m_pixel, (window_x - right) * m_pixel, Real(0));
      }
      if (++y == window_y) {
        y = 0;
        ++n;
      }
    }
  }

  Correlation m_c;
  bool m_direct;
  Index m_pixel; // values from one pixel to the next
  Index m_row;   // values from one line to the next
};

#if defined(__GNUC__) && !defined(__CUDACC__)
#define NASTURTIUM_TRANSPOSE 1
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

/// to[j * to_stride + i] = from[i * from_stride + j] for i, j < 8.
inline void transpose_eight(float const* from, Index from_stride, float* to, Index to_stride)
{
  Eight row[8], pair[8], four[8];
  NASTURTIUM_UNROLL for (int i = 0; i < 8; ++i) row[i] = *reinterpret_cast<Eight const*>(from + i * from_stride);
  NASTURTIUM_UNROLL for (int i = 0; i < 8; i += 2)
  {
    pair[i] = __builtin_shufflevector(row[i], row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = __builtin_shufflevector(row[i], row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  NASTURTIUM_UNROLL for (int i = 0; i < 8; i += 4)
  {
    NASTURTIUM_UNROLL for (int j = 0; j < 2; ++j)
    {
      four[i + 2 * j] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
      four[i + 2 * j + 1] = __builtin_shufflevector(pair[i + j], pair[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  NASTURTIUM_UNROLL for (int i = 0; i < 4; ++i)
  {
    *reinterpret_cast<Eight*>(to + i * to_stride) =
        __builtin_shufflevector(four[i], four[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Eight*>(to + (i + 4) * to_stride) =
        __builtin_shufflevector(four[i], four[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#endif

/// to[k * full + column] = from[k * k_stride + column * column_stride] for k < count, column < valid; zeros up to
/// `full`. One of the two strides is one.
template <class Real>
void pack_panel(Real const* from, Index k_stride, Index column_stride, int count, int valid, int full, Real* to)
{
  if (column_stride == 1) {
    if (valid == full) {
      constexpr int n = lanes<Real>;
      for (int k = 0; k < count; ++k) {
        for (int j = 0; j < full; j += n)
          store(to + k * full + j, load(from + k * k_stride + j));
      }
      return;
    }
    for (int k = 0; k < count; ++k) {
      std::copy_n(from + k * k_stride, valid, to + k * full);
      std::fill_n(to + k * full + valid, full - valid, Real(0));
    }
    return;
  }
  int column = 0;
#ifdef NASTURTIUM_TRANSPOSE
  if constexpr (std::is_same_v<Real, float>) {
    if (k_stride == 1) {
      for (; column + 8 <= valid; column += 8) {
        Real const* const source = from + column * column_stride;
        int k = 0;
        for (; k + 8 <= count; k += 8)
          transpose_eight(source + k, column_stride, to + k * full + column, full);
        for (; k < count; ++k) {
          for (int i = 0; i < 8; ++i)
            to[k * full + column + i] = source[i * column_stride + k];
        }
      }
    }
  }
#endif
  for (; column < valid; ++column) {
    Real const* const source = from + column * column_stride;
    for (int k = 0; k < count; ++k)
      to[k * full + column] = source[k * k_stride];
  }
  for (; column < full; ++column) {
    for (int k = 0; k < count; ++k)
      to[k * full + column] = 0;
  }
}

/// Copies depth rows [first, last) of the weights into panels: panel p is [depth][width * lanes] from
/// first_column(p) * depth on; missing columns are zeros.
template <class Real>
void pack_weights(Correlation const& c, Real const* weights, Index first, Index last, Real* packed)
{
  Panels<Real> const panels(c.columns);
  Index const depth = c.depth();
  // Whole stretches of channels of one tap at a time.
  for (Index d = first; d < last;) {
    int const channel = static_cast<int>(d % c.channels);
    int const count = static_cast<int>(std::min<Index>(c.channels - channel, last - d));
    Index const tap = d / c.channels;
    Real const* const source =
        weights + c.w_first + tap / c.taps_x * c.w_y + tap % c.taps_x * c.w_x + channel * c.w_channel;
    for (int p = 0; p < panels.count(); ++p) {
      int const full = panels.width(p) * lanes<Real>;
      pack_panel(source + panels.first_column(p) * c.w_column, c.w_channel, c.w_column, count, panels.valid(p), full,
                 packed + panels.first_column(p) * depth + d * full);
    }
    d += count;
  }
}

/// Values that the packed weights take.
template <class Real>
Index packed_size(Correlation const& c)
{
  return c.depth() * Panels<Real>(c.columns).padded();
}

} // namespace nasturtium::kernels::impl::host
