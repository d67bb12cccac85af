// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forward and backward-data on the host: rows (grid pixels) by columns (channels), weights packed once per call.
//
//   a worker's share of the rows -> blocks whose slab fits the L2 cache -> depth blocks, so that a panel of B stays in
//   L1
//   -> panels -> register tiles; the epilogue while the block is in the cache.
//
// Every element is summed over the depth in ascending order, whatever the blocking: results do not depend on it.
#pragma once

#include "contraction/host_correlation.hpp"

namespace nasturtium::kernels::impl::host {

/// Depth of a block: 288 rows of 16 floats are 18 KiB, a bit more than half of a small L1 cache.
inline constexpr int depth_limit = 288;
/// Rows of a block at most, and bytes of slab that a block should not exceed.
inline constexpr Index block_rows_limit = 768;
inline constexpr Index slab_bytes_limit = 192 * 1024;

template <class Real>
Index block_rows(Gather const& gather)
{
  Index rows = block_rows_limit;
  while (rows > moment_chunk_rows && gather.slab_size(rows) * static_cast<Index>(sizeof(Real)) > slab_bytes_limit) {
    rows -= moment_chunk_rows;
  }
  return rows;
}

/// One panel of columns of a block of rows and depth.
template <class Real>
struct PanelProduct
{
  Contraction<Real> const& problem;
  Correlation const& correlation;

  /// A at a + a_rows[row] + block, B packed at b, C at problem.c + c_rows[row] + column; `depth` is the first of the
  /// block.
  void operator()(int number, Index rows, DepthBlock const& block, Index depth, Real const* a, Index const* a_rows,
                  Real const* b, Index const* c_rows) const
  {
    constexpr int widest = max_width * lanes<Real>;
    Panels<Real> const panels(correlation.columns);
    int const width = panels.width(number);
    int const full = width * lanes<Real>;
    int const valid = panels.valid(number);
    int const column = panels.first_column(number);
    Real* const c = problem.c + column;
    bool const is_last = depth + Index{block.runs} * block.length == correlation.depth();
    bool const relu = is_last && problem.activation == Activation::relu;

    alignas(64) Real start_row[widest] = {};
    Real const* start = nullptr;
    if (depth == 0 && !problem.accumulate) {
      start = start_row;
      if (problem.bias) std::copy_n(problem.bias + correlation.c_first + column, valid, start_row);
    }

    int const height = tile_height(width);
    auto const& tiles = product_tile_table<Real>[static_cast<std::size_t>(width - 1)];
    if (valid == full) {
      for (Index row = 0; row < rows; row += height) {
        Index const count = std::min<Index>(height, rows - row);
        tiles[static_cast<std::size_t>(count - 1)](block, a, a_rows + row, b, c, c_rows + row, start, relu);
      }
      return;
    }
    // The last columns go through a full tile on the side.
    alignas(64) Real side[max_height * widest] = {};
    Index side_rows[max_height];
    for (int i = 0; i < height; ++i)
      side_rows[i] = Index{i} * full;
    for (Index row = 0; row < rows; row += height) {
      Index const count = std::min<Index>(height, rows - row);
      if (!start) {
        for (Index i = 0; i < count; ++i)
          std::copy_n(c + c_rows[row + i], valid, side + side_rows[i]);
      }
      tiles[static_cast<std::size_t>(count - 1)](block, a, a_rows + row, b, side, side_rows, start, relu);
      for (Index i = 0; i < count; ++i)
        std::copy_n(side + side_rows[i], valid, c + c_rows[row + i]);
    }
  }
};

/// c_rows of grid pixels [first, last).
inline void destination_rows(Correlation const& c, Index first, Index last, Index* c_rows)
{
  Index const line = first / c.grid_x;
  Index n = line / c.grid_y;
  int y = static_cast<int>(line % c.grid_y);
  int x = static_cast<int>(first % c.grid_x);
  Index base = c.c_first + n * c.c_image + y * c.c_row;
  for (Index row = first; row < last; ++row) {
    c_rows[row - first] = base + x * c.c_pixel;
    if (++x == c.grid_x) {
      x = 0;
      if (++y == c.grid_y) {
        y = 0;
        ++n;
      }
      base = c.c_first + n * c.c_image + y * c.c_row;
    }
  }
}

/// Mean and sum of squared deviations of a panel of columns over a chunk of rows, in two passes over values that are in
/// the cache. Four sums a column, rows taken in turn, hide the latency of the additions; the order is always the same.
template <class Real, int width>
void panel_moments(Real const* values, Index rows, Index stride, Real* mean, Real* squares)
{
  constexpr int n = lanes<Real>;
  constexpr int turns = 4;
  Real const count = static_cast<Real>(rows);
  Index const whole = rows / turns * turns;
  for (int j = 0; j < width; ++j) {
    Real const* const column = values + j * n;
    Vector<Real> sum[turns] = {};
    for (Index row = 0; row < whole; row += turns) {
      NASTURTIUM_UNROLL for (int i = 0; i < turns; ++i) sum[i] += load(column + (row + i) * stride);
    }
    for (Index row = whole; row < rows; ++row)
      sum[0] += load(column + row * stride);
    Vector<Real> const average = ((sum[0] + sum[1]) + (sum[2] + sum[3])) / count;
    Vector<Real> square[turns] = {};
    for (Index row = 0; row < whole; row += turns) {
      NASTURTIUM_UNROLL for (int i = 0; i < turns; ++i)
      {
        Vector<Real> const deviation = load(column + (row + i) * stride) - average;
        square[i] += deviation * deviation;
      }
    }
    for (Index row = whole; row < rows; ++row) {
      Vector<Real> const deviation = load(column + row * stride) - average;
      square[0] += deviation * deviation;
    }
    store(mean + j * n, average);
    store(squares + j * n, (square[0] + square[1]) + (square[2] + square[3]));
  }
}

/// Moments of rows [first, last) and the columns of the panels; `first` is the begin of a chunk. A column is always
/// summed by the same code as part of the same panel, whoever does it.
template <class Real>
void block_moments(Contraction<Real> const& problem, Correlation const& c, int first_panel, int last_panel, Index first,
                   Index last)
{
  constexpr int widest = max_width * lanes<Real>;
  Panels<Real> const panels(c.columns);
  Index const channels = problem.shape.out_channels;
  for (Index row = first; row < last; row += moment_chunk_rows) {
    Index const rows = std::min(moment_chunk_rows, last - row);
    for (int number = first_panel; number < last_panel; ++number) {
      int const full = panels.width(number) * lanes<Real>;
      int const valid = panels.valid(number);
      Index const column = c.c_first + panels.first_column(number);
      Real const* values = problem.c + row * channels + column;
      Index stride = channels;
      alignas(64) Real side[moment_chunk_rows * widest];
      if (valid < full) {
        for (Index i = 0; i < rows; ++i) {
          std::copy_n(values + i * stride, valid, side + i * full);
          std::fill_n(side + i * full + valid, full - valid, Real(0));
        }
        values = side;
        stride = full;
      }
      alignas(64) Real result[2 * widest];
      auto const moments = panels.width(number) == 1   ? &panel_moments<Real, 1>
                           : panels.width(number) == 2 ? &panel_moments<Real, 2>
                                                       : &panel_moments<Real, 3>;
      moments(values, rows, stride, result, result + widest);
      Real* const to = problem.statistics.moments + row / moment_chunk_rows * 2 * channels + column;
      std::copy_n(result, valid, to);
      std::copy_n(result + widest, valid, to + channels);
    }
  }
}

/// A worker's own memory: offsets of a block's rows in A and C, and the slab.
template <class Real>
struct ProductScratch
{
  static std::size_t bytes(Gather const& gather)
  {
    Index const rows = block_rows<Real>(gather);
    return cache_lines(2 * block_rows_limit * sizeof(Index)) +
           cache_lines(static_cast<std::size_t>(gather.slab_size(rows)) * sizeof(Real));
  }
  explicit ProductScratch(std::byte* memory)
      : a_rows(reinterpret_cast<Index*>(memory)), c_rows(a_rows + block_rows_limit),
        slab(reinterpret_cast<Real*>(memory + cache_lines(2 * block_rows_limit * sizeof(Index))))
  {
  }
  Index* a_rows;
  Index* c_rows;
  Real* slab;
};

template <class Real>
std::size_t product_scratch(Pass pass, Conv2dShape const& shape)
{
  std::size_t bytes = 0;
  Index const count = correlation_count(pass, shape) / shape.groups; // all groups are alike
  for (Index i = 0; i < count; ++i)
    bytes = std::max(bytes, ProductScratch<Real>::bytes(Gather(correlation(pass, shape, i))));
  return bytes;
}

template <class Real>
std::size_t product_packed(Pass pass, Conv2dShape const& shape)
{
  Index size = 0;
  Index const count = correlation_count(pass, shape);
  for (Index i = 0; i < count; ++i)
    size += packed_size<Real>(correlation(pass, shape, i));
  return cache_lines(static_cast<std::size_t>(size) * sizeof(Real));
}

template <class Real>
struct PackWork
{
  Contraction<Real> problem;
  Real* packed;
  int workers;

  void operator()(int worker) const
  {
    Real* to = packed;
    Index const count = correlation_count(problem.pass, problem.shape);
    for (Index i = 0; i < count; ++i) {
      Correlation const c = correlation(problem.pass, problem.shape, i);
      Range const rows = share(c.depth(), 16, worker, workers);
      pack_weights(c, problem.b, rows.first, rows.last, to);
      to += packed_size<Real>(c);
    }
  }
};

template <class Real>
struct ProductWork
{
  Contraction<Real> problem;
  Real const* packed;
  std::byte* scratch;
  std::size_t scratch_bytes;
  int workers;

  void operator()(int worker) const
  {
    ProductScratch<Real> const memory(scratch + static_cast<std::size_t>(worker) * scratch_bytes);
    Real const* panels = packed;
    Index const count = correlation_count(problem.pass, problem.shape);
    for (Index i = 0; i < count; ++i) {
      Correlation const c = correlation(problem.pass, problem.shape, i);
      if (c.rows() > 0) run(c, panels, memory, worker);
      panels += packed_size<Real>(c);
    }
  }

private:
  void run(Correlation const& c, Real const* panels, ProductScratch<Real> const& memory, int worker) const
  {
    // Rows are shared out first; what is left of the workers shares the columns.
    Index const granule = problem.statistics.moments ? moment_chunk_rows : height_multiple;
    Panels<Real> const packed_panels(c.columns);
    int const panel_count = packed_panels.count();
    int const row_parts = static_cast<int>(std::min<Index>(workers, (c.rows() + granule - 1) / granule));
    int const column_parts = std::min(workers / row_parts, panel_count);
    if (worker >= row_parts * column_parts) return;
    Range const rows = share(c.rows(), granule, worker % row_parts, row_parts);
    int const first_panel = panel_count * (worker / row_parts) / column_parts;
    int const last_panel = panel_count * (worker / row_parts + 1) / column_parts;

    Gather const gather(c);
    PanelProduct<Real> const product{problem, c};
    Index const step = block_rows<Real>(gather);
    for (Index first = rows.first; first < rows.last; first += step) {
      Index const last = std::min(first + step, rows.last);
      Real const* const a = gather.block(problem.a, first, last, memory.slab, memory.a_rows);
      destination_rows(c, first, last, memory.c_rows);
      gather.for_each_depth_block(depth_limit, [&](DepthBlock const& block, Index depth) {
        for (int panel = first_panel; panel < last_panel; ++panel) {
          Real const* const b =
              panels + packed_panels.first_column(panel) * c.depth() + depth * packed_panels.width(panel) * lanes<Real>;
          product(panel, last - first, block, depth, a, memory.a_rows, b, memory.c_rows);
        }
      });
      if (problem.statistics.moments) block_moments(problem, c, first_panel, last_panel, first, last);
    }
  }
};

/// A plain matrix product, of few enough rows that B is better packed block by block where it is used.
inline bool is_matrix(Pass pass, Conv2dShape const& s)
{
  bool const point = s.in_height == 1 && s.in_width == 1 && s.kernel_height == 1 && s.kernel_width == 1 &&
                     s.out_height() == 1 && s.out_width() == 1 && s.pad_top == 0 && s.pad_left == 0;
  return point && s.groups == 1 && correlation_count(pass, s) == 1;
}

/// Rows of A and depth that stay in the L2 cache while the panels pass by.
inline constexpr Index matrix_rows = 240;

template <class Real>
struct MatrixWork
{
  Contraction<Real> problem;
  std::byte* scratch;
  int workers;

  /// Row offsets, a panel of B, a block of A.
  static constexpr std::size_t offsets_bytes = cache_lines(2 * matrix_rows * sizeof(Index));
  static constexpr std::size_t panel_bytes = cache_lines(std::size_t{depth_limit} * max_width * vector_bytes);
  static constexpr std::size_t block_bytes = cache_lines(std::size_t{matrix_rows} * (depth_limit + 16) * sizeof(Real));
  static constexpr std::size_t scratch_bytes = offsets_bytes + panel_bytes + block_bytes;

  void operator()(int worker) const
  {
    Correlation const c = correlation(problem.pass, problem.shape, 0);
    Panels<Real> const panels(c.columns);
    // Columns are shared out where that is fair, else rows.
    Index const granule = problem.statistics.moments ? moment_chunk_rows : height_multiple;
    bool const by_columns =
        panels.count() % workers == 0 || panels.count() >= 8 * workers || c.rows() < granule * workers;
    int const column_parts = by_columns ? std::min(workers, panels.count()) : 1;
    int const row_parts = by_columns ? 1 : workers;
    if (worker >= column_parts * row_parts) return;
    Range const rows = by_columns ? Range{0, c.rows()} : share(c.rows(), granule, worker, row_parts);
    int const part = by_columns ? worker : 0;
    int const first_panel = panels.count() * part / column_parts;
    int const last_panel = panels.count() * (part + 1) / column_parts;

    std::byte* const memory = scratch + static_cast<std::size_t>(worker) * scratch_bytes;
    Index* const a_rows = reinterpret_cast<Index*>(memory);
    Index* const c_rows = a_rows + matrix_rows;
    Real* const panel = reinterpret_cast<Real*>(memory + offsets_bytes);
    Real* const copy = reinterpret_cast<Real*>(memory + offsets_bytes + panel_bytes);

    Gather const gather(c);
    PanelProduct<Real> const product{problem, c};
    // Rows a multiple of 2 KiB apart fall into a few sets of the L1 cache: many panels repay a copy that spreads them.
    bool const copied = c.pitch * static_cast<Index>(sizeof(Real)) % 2048 == 0 && last_panel - first_panel >= 8;
    for (Index first = rows.first; first < rows.last; first += matrix_rows) {
      Index const last = std::min(first + matrix_rows, rows.last);
      destination_rows(c, first, last, c_rows);
      gather.for_each_depth_block(depth_limit, [&](DepthBlock block, Index depth) {
        Real const* a = problem.a + first * c.pitch;
        Index const pitch = copied ? block.length + 16 : c.pitch;
        if (copied) {
          for (Index row = 0; row < last - first; ++row) {
            std::copy_n(a + row * c.pitch + block.offset, block.length, copy + row * pitch);
          }
          a = copy;
          block.offset = 0;
        }
        for (Index row = 0; row < last - first; ++row)
          a_rows[row] = row * pitch;
        for (int number = first_panel; number < last_panel; ++number) {
          int const full = panels.width(number) * lanes<Real>;
          pack_panel(problem.b + depth * c.w_channel + panels.first_column(number) * c.w_column, c.w_channel,
                     c.w_column, block.length, panels.valid(number), full, panel);
          product(number, last - first, block, depth, a, a_rows, panel, c_rows);
        }
      });
    }
    if (problem.statistics.moments) block_moments(problem, c, first_panel, last_panel, rows.first, rows.last);
  }
};

template <class ExecSpace, class Real>
std::size_t product_workspace(Pass pass, Conv2dShape const& shape)
{
  auto const slots = most_workers<ExecSpace>();
  if (is_matrix(pass, shape)) return slots * MatrixWork<Real>::scratch_bytes;
  return product_packed<Real>(pass, shape) + slots * product_scratch<Real>(pass, shape);
}

template <class ExecSpace, class Real>
void run_product(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
                 Workspace<ExecSpace> workspace)
{
  if (problem.shape.batch == 0) return;
  int const useful = available_workers(exec, problem.shape.flops());
  if (is_matrix(problem.pass, problem.shape)) {
    int const workers = std::min(useful, static_cast<int>(workspace.extent(0) / MatrixWork<Real>::scratch_bytes));
    run_workers(exec, label, workers, problem, MatrixWork<Real>{problem, workspace.data(), workers});
    return;
  }
  std::size_t const packed_bytes = product_packed<Real>(problem.pass, problem.shape);
  std::size_t const scratch_bytes = product_scratch<Real>(problem.pass, problem.shape);
  Real* const packed = reinterpret_cast<Real*>(workspace.data());
  int const workers = std::min(useful, static_cast<int>((workspace.extent(0) - packed_bytes) / scratch_bytes));

  // Packing is a copy of four bytes a cycle or so: a second thread is worth it from some tens of kilobytes on.
  int const packers = packed_bytes > 128 * 1024 ? workers : 1;
  run_workers(exec, label, packers, PackWork<Real>{problem, packed, packers});
  run_workers(exec, label, workers, problem,
              ProductWork<Real>{problem, packed, workspace.data() + packed_bytes, scratch_bytes, workers});
}

} // namespace nasturtium::kernels::impl::host
