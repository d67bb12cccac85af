// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Backward-weights on the host: dW[depth][column] = sum over pixels of A[pixel][depth] * dY[pixel][column], an outer
// product per pixel, accumulated in register tiles of (depth, column).
//
// The pixels are cut into slices, their number a function of the shape alone; slices are summed in ascending order at
// the end. Inside a slice pixels are summed in ascending order. So neither threads nor blocking change a bit.
#pragma once

#include "contraction/host_product.hpp"

namespace nasturtium::kernels::impl::host {

/// Slices of the pixels: partial sums are worth their traffic from about a thousand pixels a slice on.
inline int weight_slices(Conv2dShape const& s)
{
  int slices = 1;
  while (slices < 16 && s.out_rows() >= 2048 * slices)
    slices *= 2;
  return slices;
}

/// Pixels whose panel of dY (16 columns of floats: 8 KiB) stays in the L1 cache.
inline constexpr Index weight_pixels = 128;
/// Depth rows are shared out among workers in units that all tile heights divide.
inline constexpr Index weight_unit = height_multiple;

template <class Real>
struct WeightScratch
{
  static std::size_t bytes(Correlation const& c, Gather const& gather)
  {
    Index const rows = block_rows<Real>(gather);
    return cache_lines(static_cast<std::size_t>(block_rows_limit + c.depth()) * sizeof(Index)) +
           cache_lines(static_cast<std::size_t>(weight_pixels) * max_width * vector_bytes) +
           cache_lines(static_cast<std::size_t>(gather.slab_size(rows)) * sizeof(Real));
  }
  WeightScratch(std::byte* memory, Correlation const& c)
      : a_rows(reinterpret_cast<Index*>(memory)), depth(a_rows + block_rows_limit),
        panel(reinterpret_cast<Real*>(
            memory + cache_lines(static_cast<std::size_t>(block_rows_limit + c.depth()) * sizeof(Index)))),
        slab(panel + weight_pixels * max_width * lanes<Real>)
  {
  }
  Index* a_rows;
  Index* depth;
  Real* panel;
  Real* slab;
};

template <class Real>
struct WeightWork
{
  Contraction<Real> problem;
  Real* partials;      // [slices][weights], null with one slice
  Real* bias_partials; // [slices][out_channels], likewise
  std::byte* scratch;
  std::size_t scratch_bytes;
  int slices;
  int workers;

  void operator()(int worker) const
  {
    std::byte* const memory = scratch + static_cast<std::size_t>(worker) * scratch_bytes;
    for (int group = 0; group < problem.shape.groups; ++group) {
      Correlation const c = forward_correlation(problem.shape, group);
      Gather const gather(c);
      WeightScratch<Real> const mine(memory, c);
      Index d = 0;
      for (int i = 0; i < c.taps_y; ++i) {
        for (int j = 0; j < c.taps_x; ++j) {
          for (int channel = 0; channel < c.channels; ++channel)
            mine.depth[d++] = gather.offset(i, j, channel);
        }
      }
      // One row of units, slice after slice: most workers get whole slices, and few slices are cut by depth.
      Index const units = (c.depth() + weight_unit - 1) / weight_unit;
      Range const all = share(units * slices, 1, worker, workers);
      for (Index unit = all.first; unit < all.last;) {
        Index const slice = unit / units;
        Index const last = std::min(all.last, (slice + 1) * units);
        run_slice(c, gather, mine, slice, (unit - slice * units) * weight_unit,
                  std::min(c.depth(), (last - slice * units) * weight_unit));
        unit = last;
      }
    }
  }

private:
  void run_slice(Correlation const& c, Gather const& gather, WeightScratch<Real> const& mine, Index slice,
                 Index depth_first, Index depth_last) const
  {
    Index const out = problem.shape.out_channels;
    Real* const to = (partials ? partials + slice * problem.shape.weights_size() : problem.c) + c.c_first;
    Real* const bias = !problem.bias_grad || depth_first > 0
                           ? nullptr
                           : (bias_partials ? bias_partials + slice * out : problem.bias_grad) + c.c_first;
    if (bias) std::fill_n(bias, c.columns, Real(0));
    Panels<Real> const panels(c.columns);
    Index const begin = c.rows() * slice / slices;
    Index const end = c.rows() * (slice + 1) / slices;
    Index const step = block_rows<Real>(gather);
    for (Index first = begin; first < end; first += step) {
      Index const last = std::min(first + step, end);
      Real const* const a = gather.block(problem.a, first, last, mine.slab, mine.a_rows);
      for (Index pixel = first; pixel < last; pixel += weight_pixels) {
        int const pixels = static_cast<int>(std::min(weight_pixels, last - pixel));
        Real const* const dy = problem.b + pixel * out + c.c_first;
        if (bias) add_columns(dy, pixels, out, c.columns, bias);
        for (int panel = 0; panel < panels.count(); ++panel) {
          run_panel(panels, panel, a, mine.a_rows + (pixel - first), pixels, dy, mine, to, depth_first, depth_last,
                    pixel == begin);
        }
      }
    }
  }

  void run_panel(Panels<Real> const& panels, int number, Real const* a, Index const* a_rows, int pixels, Real const* dy,
                 WeightScratch<Real> const& mine, Real* to, Index depth_first, Index depth_last, bool from_zero) const
  {
    Index const out = problem.shape.out_channels;
    int const width = panels.width(number);
    int const full = width * lanes<Real>;
    int const valid = panels.valid(number);
    int const column = panels.first_column(number);
    auto const& tiles = outer_tile_table<Real>[static_cast<std::size_t>(width - 1)];
    Index const height = tile_height(width);
    Index const depth = depth_last - depth_first;
    Index const tile_count = (depth + height - 1) / height;

    // A packed panel has no missing columns and no power of two from one row to the next.
    Real const* b = dy + column;
    Index b_stride = out;
    if (valid < full || (tile_count > 8 && out != full)) {
      for (int pixel = 0; pixel < pixels; ++pixel) {
        std::copy_n(b + pixel * out, valid, mine.panel + pixel * full);
        std::fill_n(mine.panel + pixel * full + valid, full - valid, Real(0));
      }
      b = mine.panel;
      b_stride = full;
    }
    alignas(64) Real side[max_height * max_width * lanes<Real>];
    for (Index tile = 0; tile < tile_count; ++tile) {
      // Tiles of equal heights, so that none is too low to hide the latency.
      Index const first = depth_first + depth * tile / tile_count;
      Index const rows = depth_first + depth * (tile + 1) / tile_count - first;
      Real* const c = to + first * out + column;
      auto const run = tiles[static_cast<std::size_t>(rows - 1)];
      if (valid == full) {
        run(pixels, a, mine.depth + first, a_rows, b, b_stride, c, out, from_zero);
      } else {
        if (!from_zero) {
          for (Index i = 0; i < rows; ++i) {
            std::copy_n(c + i * out, valid, side + i * full);
            std::fill_n(side + i * full + valid, full - valid, Real(0));
          }
        }
        run(pixels, a, mine.depth + first, a_rows, b, b_stride, side, full, from_zero);
        for (Index i = 0; i < rows; ++i)
          std::copy_n(side + i * full, valid, c + i * out);
      }
    }
  }

  /// sums[column] += values[row][column], rows in ascending order.
  static void add_columns(Real const* values, int rows, Index stride, int columns, Real* sums)
  {
    constexpr int n = lanes<Real>;
    int column = 0;
    for (; column + n <= columns; column += n) {
      Vector<Real> sum = load(sums + column);
      for (int row = 0; row < rows; ++row)
        sum += load(values + row * stride + column);
      store(sums + column, sum);
    }
    for (; column < columns; ++column) {
      Real sum = sums[column];
      for (int row = 0; row < rows; ++row)
        sum += values[row * stride + column];
      sums[column] = sum;
    }
  }
};

/// to[i] = sum over slices of partials[slice][i], slices in ascending order.
template <class Real>
struct SliceSum
{
  Real const* partials;
  Real* to;
  Index size;
  Real const* bias_partials;
  Real* bias_to;
  Index bias_size;
  int slices;
  int workers;

  void operator()(int worker) const
  {
    sum(partials, to, size, share(size, 64, worker, workers));
    if (bias_to && worker == 0) sum(bias_partials, bias_to, bias_size, {0, bias_size});
  }

private:
  void sum(Real const* from, Real* result, Index stride, Range range) const
  {
    constexpr int n = lanes<Real>;
    Index i = range.first;
    for (; i + n <= range.last; i += n) {
      Vector<Real> value = load(from + i);
      for (int slice = 1; slice < slices; ++slice)
        value += load(from + slice * stride + i);
      store(result + i, value);
    }
    for (; i < range.last; ++i) {
      Real value = from[i];
      for (int slice = 1; slice < slices; ++slice)
        value += from[slice * stride + i];
      result[i] = value;
    }
  }
};

template <class Real>
std::size_t weight_scratch(Conv2dShape const& shape)
{
  Correlation const c = forward_correlation(shape, 0);
  return WeightScratch<Real>::bytes(c, Gather(c));
}

/// Bytes of the partial sums: weights, then bias.
template <class Real>
std::size_t weight_partials(Conv2dShape const& shape)
{
  int const slices = weight_slices(shape);
  if (slices == 1) return 0;
  return cache_lines(static_cast<std::size_t>(slices * shape.weights_size()) * sizeof(Real)) +
         cache_lines(static_cast<std::size_t>(slices * shape.out_channels) * sizeof(Real));
}

template <class ExecSpace, class Real>
std::size_t weight_workspace(Conv2dShape const& shape)
{
  return weight_partials<Real>(shape) + most_workers<ExecSpace>() * weight_scratch<Real>(shape);
}

template <class ExecSpace, class Real>
void run_weights(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
                 Workspace<ExecSpace> workspace)
{
  Conv2dShape const& shape = problem.shape;
  if (shape.batch == 0) {
    std::fill_n(problem.c, shape.weights_size(), Real(0));
    if (problem.bias_grad) std::fill_n(problem.bias_grad, shape.out_channels, Real(0));
    return;
  }
  int const slices = weight_slices(shape);
  std::size_t const partial_bytes = weight_partials<Real>(shape);
  std::size_t const scratch_bytes = weight_scratch<Real>(shape);
  Real* const partials = slices > 1 ? reinterpret_cast<Real*>(workspace.data()) : nullptr;
  Real* const bias_partials =
      slices > 1 ? partials + cache_lines(static_cast<std::size_t>(slices * shape.weights_size()) * sizeof(Real)) /
                                  sizeof(Real)
                 : nullptr;
  int const slots = static_cast<int>((workspace.extent(0) - partial_bytes) / scratch_bytes);
  int const workers = std::min(available_workers(exec, shape.flops()), slots);
  run_workers(exec, label, workers,
              WeightWork<Real>{problem, partials, bias_partials, workspace.data() + partial_bytes, scratch_bytes,
                               slices, workers});
  if (slices == 1) return;
  int const adders = shape.weights_size() * slices > 64 * 1024 ? workers : 1;
  run_workers(exec, label, adders,
              SliceSum<Real>{partials, problem.c, shape.weights_size(), bias_partials, problem.bias_grad,
                             shape.out_channels, slices, adders});
}

} // namespace nasturtium::kernels::impl::host
