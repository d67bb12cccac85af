// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a contraction to the problems of a launch: extents, index maps, shape of the tiles, slices of the depth. All are
// functions of the contraction alone, never of the device or of other contractions of the launch, so neither changes a
// result. Host code without Kokkos kernels.
#pragma once

#include "cuda_tile.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

namespace nasturtium::kernels::impl::cuda {

/// Tiles that fill the GPU that this was designed for: two for each of the 132 multiprocessors of an H200.
inline constexpr int wanted_tiles = 264;

struct Plan
{
  TileShape shape = TileShape::small;
  int rows = 0, columns = 0, depth = 0;
  int slices = 1, slice_depth = 0;
};

constexpr int ceil_divide(int a, int b)
{
  return (a + b - 1) / b;
}

/// Tile and slices for one problem of `groups` groups. `split` allows more than one slice.
template <class Real>
Plan make_plan(int rows, int columns, int depth, int groups, bool moments, bool split)
{
  Plan plan;
  plan.rows = rows, plan.columns = columns, plan.depth = depth;
  auto const tiles = [&](TileShape s) {
    return ceil_divide(rows, tile_rows(s)) * ceil_divide(columns, tile_columns(s)) * groups;
  };
  // Columns that a wide tile would compute for nothing count; doubles have no room for wide tiles.
  int const wide = tile_columns(TileShape::wide), narrow = tile_columns(TileShape::narrow);
  bool const fits_wide =
      sizeof(Real) == 4 && ceil_divide(columns, narrow) * narrow == ceil_divide(columns, wide) * wide;
  plan.shape = fits_wide ? TileShape::wide : TileShape::narrow;
  if (!moments && (rows <= tile_rows(TileShape::small) || tiles(plan.shape) < wanted_tiles / 2))
    plan.shape = TileShape::small;

  int const least = 256; // depth below which a slice is not worth its pass over the partial sums
  int const slices = std::min({ceil_divide(wanted_tiles, std::max(1, tiles(plan.shape))), depth / least, 128});
  plan.slice_depth = depth;
  if (split && slices > 1) {
    plan.slice_depth = ceil_divide(ceil_divide(depth, slices), 64) * 64;
    plan.slices = ceil_divide(depth, plan.slice_depth);
  }
  return plan;
}

/// Whether all indices fit the 32 bits that the kernels count in.
inline bool accepts(Conv2dShape const& s)
{
  double const limit = static_cast<double>(1 << 28);
  double const pixels =
      static_cast<double>(s.batch) * std::max(double(s.in_height) * s.in_width, double(s.out_height()) * s.out_width());
  return s.batch >= 0 && pixels < limit && static_cast<double>(s.weights_size()) < limit && s.in_height < limit &&
         s.in_width < limit;
}

/// The plan of a pass; of the backward pass of the data with strides, of its largest class.
template <class Real>
Plan pass_plan(Pass pass, Conv2dShape const& s, bool moments)
{
  int const taps = s.kernel_height * s.kernel_width, in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  int const pixels = static_cast<int>(s.out_rows());
  switch (pass) {
  case Pass::forward:
    return make_plan<Real>(pixels, out, taps * in, s.groups, moments, !moments);
  case Pass::backward_weights:
    return make_plan<Real>(taps * in, out, pixels, s.groups, false, true);
  case Pass::backward_data:
    break;
  }
  return make_plan<Real>(s.batch * s.in_height * s.in_width, in, taps * out, s.groups, false,
                         s.stride_height == 1 && s.stride_width == 1);
}

/// Bytes of partial sums.
template <class Real>
std::size_t workspace_bytes(Pass pass, Conv2dShape const& s)
{
  if (s.batch == 0) return 0;
  Plan const plan = pass_plan<Real>(pass, s, false);
  if (plan.slices == 1) return 0;
  std::size_t const rows = static_cast<std::size_t>(plan.rows) + (pass == Pass::backward_weights ? 1 : 0);
  return (rows * plan.columns * plan.slices * s.groups * sizeof(Real) + 63) / 64 * 64;
}

/// What the backward pass of the data along one axis has for the input coordinates first + stride * q: those kernel
/// taps first_tap + step * j whose products land there; output coordinate q + origin + dilation * j takes part.
struct ResidueClass
{
  int first = 0, count = 0;              ///< input coordinates
  int first_tap = 0, step = 1, taps = 0; ///< taps
  int origin = 0, dilation = 0;

  ResidueClass(int residue, int extent, int kernel, int stride, int dilate, int pad)
  {
    first = ((residue - pad) % stride + stride) % stride;
    count = first < extent ? (extent - 1 - first) / stride + 1 : 0;
    int const common = std::gcd(stride, dilate);
    step = stride / common;
    while (first_tap < step && first_tap * dilate % stride != residue)
      ++first_tap;
    if (first_tap < step && first_tap < kernel) taps = (kernel - 1 - first_tap) / step + 1;
    if (taps > 0) origin = (first + pad - first_tap * dilate) / stride; // exact by the choice of the tap
    dilation = -(dilate / common);
  }
};

template <class Real>
bool aligned(void const* pointer, int vector)
{
  return reinterpret_cast<std::uintptr_t>(pointer) % (sizeof(Real) * static_cast<std::size_t>(vector)) == 0;
}

/// The shape nearest to `wanted` that there is: wide tiles leave no registers for doubles or for elements that are
/// fetched one by one.
template <class Real>
TileShape possible_tiles(TileShape wanted, bool vectors)
{
  return wanted == TileShape::wide && (sizeof(Real) > 4 || !vectors) ? TileShape::narrow : wanted;
}

/// Calls f(problem, tile shape, vector) for each problem that the contraction consists of; `workspace` has
/// workspace_bytes; `tiles` in place of the plan's shape where no moments are asked for.
template <class Real, class F>
void for_each_problem(Contraction<Real> const& c, std::byte* workspace, F const& f, std::optional<TileShape> tiles = {})
{
  Conv2dShape const& s = c.shape;
  int const in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  int const wide = 16 / static_cast<int>(sizeof(Real));
  bool const vectors = in % wide == 0 && out % wide == 0 && aligned<Real>(c.a, wide) && aligned<Real>(c.b, wide) &&
                       aligned<Real>(c.c, wide);

  Problem<Real> p;
  p.a = c.a, p.b = c.b, p.c = c.c;
  p.groups = s.groups;
  p.accumulate = c.accumulate;
  auto const emit = [&](Plan plan) {
    // Moments are summed within a tile: those of another shape would differ in rounding.
    if (tiles && p.statistics.moments == nullptr) plan.shape = *tiles;
    plan.shape = possible_tiles<Real>(plan.shape, vectors);
    p.rows = plan.rows, p.columns = plan.columns, p.depth = plan.depth;
    p.slices = plan.slices, p.slice_depth = plan.slice_depth;
    p.tiles_down = ceil_divide(p.rows, tile_rows(plan.shape));
    p.tiles_across = ceil_divide(p.columns, tile_columns(plan.shape));
    p.partial = p.slices > 1 ? reinterpret_cast<Real*>(workspace) : nullptr;
    if (p.rows > 0) f(p, plan.shape, vectors ? wide : 1);
  };

  if (c.pass == Pass::backward_data) {
    p.a_group = out, p.b_group = out, p.c_group = in, p.column_group = in;
    p.image.channels = p.weights.channels = FastDivide(out);
    p.image.height = s.out_height(), p.image.width = s.out_width(), p.image.pixel_stride = s.out_channels;
    p.weights.kernel_width = s.kernel_width;
    p.weights.tap_stride = in * s.out_channels, p.weights.channel_stride = s.out_channels;
    p.target.stride = s.in_channels;
    p.target.linear = s.stride_height == 1 && s.stride_width == 1;
    p.target.height = s.in_height, p.target.width = s.in_width;
    p.target.step_y = s.stride_height, p.target.step_x = s.stride_width;
    for (int ry = 0; ry < s.stride_height; ++ry)
      for (int rx = 0; rx < s.stride_width; ++rx) {
        ResidueClass const y(ry, s.in_height, s.kernel_height, s.stride_height, s.dilation_height, s.pad_top);
        ResidueClass const x(rx, s.in_width, s.kernel_width, s.stride_width, s.dilation_width, s.pad_left);
        int const taps = y.taps * x.taps;
        if (y.count == 0 || x.count == 0 || (taps == 0 && c.accumulate)) continue;
        p.image.pixels_per_image = FastDivide(y.count * x.count), p.image.pixels_per_line = FastDivide(x.count);
        p.image.taps_per_line = p.weights.taps_per_line = FastDivide(std::max(1, x.taps));
        p.image.origin_y = y.origin, p.image.origin_x = x.origin;
        p.image.dilation_y = y.dilation, p.image.dilation_x = x.dilation;
        p.weights.first_y = y.first_tap, p.weights.first_x = x.first_tap;
        p.weights.step_y = y.step, p.weights.step_x = x.step;
        p.target.first_y = y.first, p.target.first_x = x.first;
        emit(make_plan<Real>(s.batch * y.count * x.count, in, taps * out, s.groups, false, p.target.linear));
      }
    return;
  }

  p.image.pixels_per_image = FastDivide(std::max(1, s.out_height() * s.out_width()));
  p.image.pixels_per_line = FastDivide(std::max(1, s.out_width()));
  p.image.channels = FastDivide(in);
  p.image.taps_per_line = FastDivide(s.kernel_width);
  p.image.stride_y = s.stride_height, p.image.stride_x = s.stride_width;
  p.image.origin_y = -s.pad_top, p.image.origin_x = -s.pad_left;
  p.image.dilation_y = s.dilation_height, p.image.dilation_x = s.dilation_width;
  p.image.height = s.in_height, p.image.width = s.in_width, p.image.pixel_stride = s.in_channels;
  p.a_group = in, p.b_group = out, p.c_group = out, p.column_group = out;
  p.b_stride = s.out_channels;
  p.target.stride = s.out_channels;
  if (c.pass == Pass::forward) {
    p.bias = c.bias;
    p.relu = c.activation == Activation::relu;
    p.statistics = c.statistics;
  } else {
    p.bias_grad = c.bias_grad;
  }
  emit(pass_plan<Real>(c.pass, s, p.statistics.moments != nullptr));
}

} // namespace nasturtium::kernels::impl::cuda
