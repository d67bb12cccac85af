// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One tile of one contraction, as a block of threads computes it: panels of a and b are copied to shared memory several
// steps ahead (asynchronously, zeros for padding), each thread or warp multiplies from there into registers, and the
// epilogue goes through shared memory so that c is written in whole lines.
//
// The code is written against a block of threads that is either the device's (DeviceBlock in cuda_launch.hpp) or the
// host's (EmulatedBlock in cuda_emulation.hpp): `block.each(f)` runs f(thread, registers) for the calling thread, or
// for all of them one after another; `barrier`, `copy`, `commit`, `wait` and `multiply` are what their names say.
//
// Order of summation, for every element of c: depth ascending within a slice (MathMode::full: one fused multiply-add
// after another, starting from zero; tensor cores: one instruction of 8 or 16 depths after another), then slices
// ascending. Neither the shape of the tile nor the vector width nor other problems of the launch enter.
#pragma once

#include "cuda_fragment.hpp"
#include "cuda_problem.hpp"
#include "cuda_tile_shape.hpp"

namespace nasturtium::kernels::impl::cuda {

inline constexpr int block_threads = 256;

/// Which tile of which group and slice a block works on.
struct TileIndex
{
  int group, slice, down, across;
  template <class Real>
  KOKKOS_INLINE_FUNCTION static TileIndex of(Problem<Real> const& p, int tile)
  {
    int const row = tile / p.tiles_across, plane = row / p.tiles_down;
    return {plane / p.slices, plane % p.slices, row % p.tiles_down, tile % p.tiles_across};
  }
};

/// `count` neighbours that are read or written at once.
template <class Real, int count>
struct alignas(sizeof(Real) * count) Pack
{
  Real value[count];
};
template <int count, class Real>
KOKKOS_INLINE_FUNCTION Pack<Real, count> load_pack(Real const* from)
{
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<Pack<Real, count> const*>(from);
#else
  Pack<Real, count> pack;
  for (int i = 0; i < count; ++i)
    pack.value[i] = from[i];
  return pack;
#endif
}
template <class Real, int count>
KOKKOS_INLINE_FUNCTION void store_pack(Real* to, Pack<Real, count> const& pack)
{
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<Pack<Real, count>*>(to) = pack;
#else
  for (int i = 0; i < count; ++i)
    to[i] = pack.value[i];
#endif
}

/// A panel of an operand in shared memory, `extent` rows of a (columns of b) by `steps` of the depth, and how the
/// threads of a block fetch it `vector` neighbours at a time. Lines are padded so that reading fragments meets no bank
/// conflict.
template <class Operand, class Real, MathMode mode, int extent, int steps, int vector>
struct Panel
{
  static constexpr bool depth_contiguous = Operand::depth_contiguous;
  static constexpr int length = depth_contiguous ? steps : extent;
  static constexpr int lines = depth_contiguous ? extent : steps;
  static constexpr int quarter = 16 / static_cast<int>(sizeof(Real)); // of 64 bytes: keeps lines aligned to 16 bytes
  static constexpr bool wide_padding =
      mode == MathMode::tf32 ? !depth_contiguous : mode == MathMode::bf16 && depth_contiguous;
  static constexpr int pitch = length + (wide_padding ? 2 : 1) * quarter;
  static constexpr int size = lines * pitch;

  static constexpr int across = length / vector;
  static constexpr int lines_per_pass = block_threads / across;
  static constexpr int passes = (lines + lines_per_pass - 1) / lines_per_pass;
  static_assert(length % vector == 0 && block_threads % across == 0);

  /// What a thread remembers from step to step of the rows (columns) that it fetches.
  struct Cursor
  {
    typename Operand::Outer outer[depth_contiguous ? passes : 1];
  };

  KOKKOS_INLINE_FUNCTION static constexpr int at(int outer, int k)
  {
    return depth_contiguous ? outer * pitch + k : k * pitch + outer;
  }

  KOKKOS_INLINE_FUNCTION static void begin(Problem<Real> const& p, int thread, int first, Cursor& cursor)
  {
    if constexpr (depth_contiguous) {
      NASTURTIUM_UNROLL
      for (int pass = 0; pass < passes; ++pass)
        cursor.outer[pass] = Operand::outer(p, first + thread / across + pass * lines_per_pass);
    } else {
      cursor.outer[0] = Operand::outer(p, first + thread % across * vector);
    }
  }

  template <class Block>
  KOKKOS_INLINE_FUNCTION static void fetch(Block& block, Problem<Real> const& p, Real const* data, int thread,
                                           Cursor const& cursor, int k, int end, Real* shared)
  {
    int const line = thread / across, within = thread % across * vector;
    if constexpr (depth_contiguous) {
      auto const depth = Operand::depth(p, k + within, end);
      NASTURTIUM_UNROLL
      for (int pass = 0; pass < passes; ++pass)
        if (line + pass * lines_per_pass < lines)
          block.template copy<vector>(shared + (line + pass * lines_per_pass) * pitch + within,
                                      Operand::at(p, data, cursor.outer[pass], depth), data);
    } else {
      NASTURTIUM_UNROLL
      for (int pass = 0; pass < passes; ++pass)
        if (line + pass * lines_per_pass < lines)
          block.template copy<vector>(
              shared + (line + pass * lines_per_pass) * pitch + within,
              Operand::at(p, data, cursor.outer[0], Operand::depth(p, k + line + pass * lines_per_pass, end)), data);
    }
  }
};

/// The product of two panels on the SIMT units: 16 x 16 threads, each with a block of the tile of its own.
template <class PanelA, class PanelB, class Real, MathMode mode, int rows, int columns, int steps>
struct Multiplier
{
  static constexpr int down = rows / 16, across = columns / 16;
  static constexpr int sums = down * across;
  static constexpr int vector = 16 / static_cast<int>(sizeof(Real));
  struct Fragments
  {
  };

  /// Threads take neighbours where neighbours lie in memory, else every sixteenth: no bank conflicts either way.
  template <class P, int count>
  KOKKOS_INLINE_FUNCTION static constexpr int place(int lane, int j)
  {
    constexpr int run = P::depth_contiguous ? 1 : (count < vector ? count : vector);
    return lane * run + j % run + 16 * run * (j / run);
  }
  KOKKOS_INLINE_FUNCTION static int row(int thread, int i) { return place<PanelA, down>(thread / 16, i / across); }
  KOKKOS_INLINE_FUNCTION static int column(int thread, int i) { return place<PanelB, across>(thread % 16, i % across); }

  template <class P, int count>
  KOKKOS_INLINE_FUNCTION static void load(Real const* shared, int lane, int k, Real (&to)[count][vector])
  {
    if constexpr (P::depth_contiguous) {
      NASTURTIUM_UNROLL
      for (int j = 0; j < count; ++j) {
        auto const pack = load_pack<vector>(shared + P::at(place<P, count>(lane, j), k));
        NASTURTIUM_UNROLL
        for (int w = 0; w < vector; ++w)
          to[j][w] = pack.value[w];
      }
    } else {
      constexpr int run = count < vector ? count : vector;
      NASTURTIUM_UNROLL
      for (int w = 0; w < vector; ++w)
        NASTURTIUM_UNROLL
      for (int j = 0; j < count; j += run) {
        auto const pack = load_pack<run>(shared + P::at(place<P, count>(lane, j), k + w));
        NASTURTIUM_UNROLL
        for (int i = 0; i < run; ++i)
          to[j + i][w] = pack.value[i];
      }
    }
  }

  template <class Block>
  KOKKOS_INLINE_FUNCTION static void multiply(Block& block, Real const* a, Real const* b)
  {
    block.each([&](int thread, auto& registers) {
      NASTURTIUM_UNROLL
      for (int k = 0; k < steps; k += vector) {
        Real left[down][vector], right[across][vector];
        load<PanelA>(a, thread / 16, k, left);
        load<PanelB>(b, thread % 16, k, right);
        NASTURTIUM_UNROLL
        for (int w = 0; w < vector; ++w)
          NASTURTIUM_UNROLL
        for (int i = 0; i < down; ++i)
          NASTURTIUM_UNROLL
        for (int j = 0; j < across; ++j)
          registers.sum[i * across + j] = Kokkos::fma(left[i][w], right[j][w], registers.sum[i * across + j]);
      }
    });
  }
};

/// The same on the tensor cores: 4 x 2 warps, each with (rows / 64) x (columns / 16) products of 16 x 8.
template <class PanelA, class PanelB, MathMode mode, int rows, int columns, int steps>
  requires(mode != MathMode::full)
struct Multiplier<PanelA, PanelB, float, mode, rows, columns, steps>
{
  using F = Fragment<mode>;
  static constexpr int down = rows / 64, across = columns / 16;
  static constexpr int sums = down * across * 4;
  struct Fragments
  {
    std::uint32_t a[down][4], b[across][2];
  };

  KOKKOS_INLINE_FUNCTION static int first_row(int thread) { return thread / 64 * (16 * down); }
  KOKKOS_INLINE_FUNCTION static int first_column(int thread) { return thread / 32 % 2 * (8 * across); }
  KOKKOS_INLINE_FUNCTION static int row(int thread, int i)
  {
    return first_row(thread) + 16 * (i / (4 * across)) + sum_row(thread % 32, i % 4);
  }
  KOKKOS_INLINE_FUNCTION static int column(int thread, int i)
  {
    return first_column(thread) + 8 * (i / 4 % across) + sum_column(thread % 32, i % 4);
  }

  template <class P>
  KOKKOS_INLINE_FUNCTION static std::uint32_t load(float const* shared, int outer, int k)
  {
    float value[F::packed];
    if constexpr (P::depth_contiguous) {
      auto const pack = load_pack<F::packed>(shared + P::at(outer, k));
      for (int i = 0; i < F::packed; ++i)
        value[i] = pack.value[i];
    } else {
      for (int i = 0; i < F::packed; ++i)
        value[i] = shared[P::at(outer, k + i)];
    }
    return F::pack(value);
  }

  template <class Block>
  KOKKOS_INLINE_FUNCTION static void multiply(Block& block, float const* a, float const* b)
  {
    NASTURTIUM_UNROLL
    for (int k = 0; k < steps; k += F::depth) {
      block.each([&](int thread, auto& registers) {
        int const lane = thread % 32;
        NASTURTIUM_UNROLL
        for (int i = 0; i < down; ++i)
          NASTURTIUM_UNROLL
        for (int r = 0; r < 4; ++r)
          registers.fragments.a[i][r] =
              load<PanelA>(a, first_row(thread) + 16 * i + F::a_row(lane, r), k + F::a_depth(lane, r));
        NASTURTIUM_UNROLL
        for (int j = 0; j < across; ++j)
          NASTURTIUM_UNROLL
        for (int r = 0; r < 2; ++r)
          registers.fragments.b[j][r] =
              load<PanelB>(b, first_column(thread) + 8 * j + F::b_column(lane), k + F::b_depth(lane, r));
      });
      block.template multiply<F, down, across>();
    }
  }
};

/// A tile of a pass: `run` computes it. `shape` is the tile's, `vector` the number of neighbours (channels) that are
/// moved at once: all pointers are aligned to that many elements and all channel counts are multiples of it.
template <class Real_, Pass pass, MathMode mode, TileShape shape, int vector>
struct Tile
{
  using Real = Real_;
  static_assert(mode == MathMode::full || sizeof(Real) == 4);
  static constexpr int rows = tile_rows(shape), columns = tile_columns(shape);
  static constexpr int steps = 64 / static_cast<int>(sizeof(Real));
  using PanelA = Panel<typename Operands<pass>::A, Real, mode, rows, steps, vector>;
  using PanelB = Panel<typename Operands<pass>::B, Real, mode, columns, steps, vector>;
  using Product = Multiplier<PanelA, PanelB, Real, mode, rows, columns, steps>;

  // Shared memory: `stages` pairs of panels; then, in the same place, the tile of c and two sums a thread. It stays
  // below 46 KiB, which every GPU gives without asking, Kokkos' own share included.
  static constexpr int stage_size = PanelA::size + PanelB::size;
  static constexpr int shared_limit = 46 * 1024 / static_cast<int>(sizeof(Real));
  static constexpr int stages = shared_limit / stage_size < 4 ? shared_limit / stage_size : 4;
  static constexpr int pitch = columns + 16 / static_cast<int>(sizeof(Real));
  static constexpr int epilogue_size = rows * pitch + 2 * block_threads;
  static constexpr int shared_size = stages * stage_size > epilogue_size ? stages* stage_size : epilogue_size;
  static_assert(stages >= 2 && shared_size <= shared_limit);

  struct Registers
  {
    typename PanelA::Cursor a;
    typename PanelB::Cursor b;
    typename Product::Fragments fragments;
    Real sum[Product::sums];
    Real column_sum;
  };

  template <class Block>
  KOKKOS_INLINE_FUNCTION static void run(Block& block, Real* shared, Problem<Real> const& p, TileIndex const& tile)
  {
    int const first_row = tile.down * rows, first_column = tile.across * columns;
    int const begin = tile.slice * p.slice_depth;
    int const end = begin + p.slice_depth < p.depth ? begin + p.slice_depth : p.depth;
    int const panels = end > begin ? (end - begin + steps - 1) / steps : 0;
    Real const* const a = p.a + static_cast<Index>(tile.group) * p.a_group;
    Real const* const b = p.b + static_cast<Index>(tile.group) * p.b_group;
    bool const sum_columns = pass == Pass::backward_weights && p.bias_grad != nullptr && tile.down == 0;

    block.each([&](int thread, Registers& r) {
      PanelA::begin(p, thread, first_row, r.a);
      PanelB::begin(p, thread, first_column, r.b);
      NASTURTIUM_UNROLL
      for (int i = 0; i < Product::sums; ++i)
        r.sum[i] = Real(0);
      r.column_sum = Real(0);
    });
    auto const fetch = [&](int panel) {
      if (panel < panels) {
        Real* const stage = shared + panel % stages * stage_size;
        int const k = begin + panel * steps;
        block.each([&](int thread, Registers& r) {
          PanelA::fetch(block, p, a, thread, r.a, k, end, stage);
          PanelB::fetch(block, p, b, thread, r.b, k, end, stage + PanelA::size);
        });
      }
      block.commit(); // an empty group where nothing is left, so that the count in `wait` holds to the end
    };
    for (int panel = 0; panel < stages - 1; ++panel)
      fetch(panel);
    for (int panel = 0; panel < panels; ++panel) {
      block.template wait<stages - 2>();
      block.barrier(); // this panel has arrived everywhere, and everyone is done with the one that is overwritten next
      fetch(panel + stages - 1);
      Real const* const stage = shared + panel % stages * stage_size;
      Product::multiply(block, stage, stage + PanelA::size);
      if (sum_columns)
        block.each([&](int thread, Registers& r) {
          if (thread < columns)
            for (int k = 0; k < steps; ++k)
              r.column_sum += stage[PanelA::size + PanelB::at(thread, k)];
        });
    }
    block.template wait<0>();
    block.barrier();
    store(block, shared, p, tile, first_row, first_column, sum_columns);
  }

private:
  template <class Block>
  KOKKOS_INLINE_FUNCTION static void store(Block& block, Real* shared, Problem<Real> const& p, TileIndex const& tile,
                                           int first_row, int first_column, bool sum_columns)
  {
    int const rows_left = p.rows - first_row < rows ? p.rows - first_row : rows;
    int const columns_left = p.columns - first_column < columns ? p.columns - first_column : columns;
    Real* const partial =
        p.partial + static_cast<Index>(tile.group * p.slices + tile.slice) * p.partial_rows() * p.columns;
    bool const whole = p.slices == 1;

    block.each([&](int thread, Registers& r) {
      NASTURTIUM_UNROLL
      for (int i = 0; i < Product::sums; ++i) {
        int const column = Product::column(thread, i);
        Real value = r.sum[i];
        if (pass == Pass::forward && whole) {
          if (p.bias != nullptr && column < columns_left)
            value += p.bias[tile.group * p.column_group + first_column + column];
          if (p.relu && value < Real(0)) value = Real(0);
        }
        shared[Product::row(thread, i) * pitch + column] = value;
      }
      if (sum_columns && thread < columns_left) {
        if (whole)
          p.bias_grad[tile.group * p.column_group + first_column + thread] = r.column_sum;
        else
          partial[static_cast<Index>(p.rows) * p.columns + first_column + thread] = r.column_sum;
      }
    });
    block.barrier();

    block.each([&](int thread, Registers&) {
      for (int i = thread; i < rows * (columns / vector); i += block_threads) {
        int const row = i / (columns / vector), column = i % (columns / vector) * vector;
        if (row >= rows_left || column >= columns_left) continue;
        auto pack = load_pack<vector>(shared + row * pitch + column);
        Real* to = whole ? p.c + static_cast<Index>(tile.group) * p.c_group + p.row_offset(first_row + row)
                         : partial + static_cast<Index>(first_row + row) * p.columns;
        to += first_column + column;
        if (pass == Pass::backward_data && whole && p.accumulate) {
          auto const old = load_pack<vector>(static_cast<Real const*>(to));
          for (int j = 0; j < vector; ++j)
            pack.value[j] += old.value[j];
        }
        store_pack(to, pack);
      }
    });
    if constexpr (pass == Pass::forward && rows == moment_chunk_rows) {
      if (p.statistics.moments != nullptr) moments(block, shared, p, tile, first_column, rows_left, columns_left);
      if (p.statistics.mean != nullptr) merge_moments(block, shared, p, tile, first_column, columns_left);
    }
  }

  /// The last of a column of tiles merges the moments of its channels.
  template <class Block>
  KOKKOS_INLINE_FUNCTION static void merge_moments(Block& block, Real* shared, Problem<Real> const& p,
                                                   TileIndex const& tile, int first_column, int columns_left)
  {
    static_assert(block_threads == column_lanes * column_slots && shared_size * sizeof(Real) >= merge_scratch_bytes);
    int* const counter = p.statistics.arrivals + tile.group * p.tiles_across + tile.across;
    if (!last_team_to_arrive(block, reinterpret_cast<int*>(shared), counter, p.tiles_down)) return;
    int const first = tile.group * p.column_group + first_column;
    merge_on_device(block, reinterpret_cast<double*>(shared), p.statistics, p.rows, p.target.stride, first,
                    first + columns_left);
  }

  /// Mean and sum of squared deviations of each column of the tile in shared memory. `parts` threads share a column:
  /// each sums every parts-th row, and the parts are added in order.
  template <class Block>
  KOKKOS_INLINE_FUNCTION static void moments(Block& block, Real* shared, Problem<Real> const& p, TileIndex const& tile,
                                             int first_column, int rows_left, int columns_left)
  {
    constexpr int parts = block_threads / columns;
    Real* const sums = shared + rows * pitch;
    Real* const squares = sums + block_threads;
    auto const mean_of = [=](int column) {
      Real sum = Real(0);
      for (int part = 0; part < parts; ++part)
        sum += sums[part * columns + column];
      return sum / static_cast<Real>(rows_left);
    };
    block.each([&](int thread, Registers&) {
      Real sum = Real(0);
      for (int row = thread / columns; row < rows_left; row += parts)
        sum += shared[row * pitch + thread % columns];
      sums[thread] = sum;
    });
    block.barrier();
    block.each([&](int thread, Registers&) {
      Real const mean = mean_of(thread % columns);
      Real square = Real(0);
      for (int row = thread / columns; row < rows_left; row += parts) {
        Real const deviation = shared[row * pitch + thread % columns] - mean;
        square += deviation * deviation;
      }
      squares[thread] = square;
    });
    block.barrier();
    block.each([&](int thread, Registers&) {
      if (thread >= columns_left) return;
      Real square = Real(0);
      for (int part = 0; part < parts; ++part)
        square += squares[part * columns + thread];
      Index const stride = p.target.stride;
      Real* const to =
          p.statistics.moments + tile.down * 2 * stride + tile.group * p.column_group + first_column + thread;
      to[0] = mean_of(thread);
      to[stride] = square;
    });
  }
};

/// Adds the slices of a problem in order and applies what the tiles have left: bias, relu, accumulation. `i` counts the
/// elements of [group][row][column]; row `rows` is the bias gradient.
template <class Real>
KOKKOS_INLINE_FUNCTION void finish_element(Problem<Real> const& p, int i)
{
  int const row_of_all = i / p.columns, column = i - row_of_all * p.columns;
  int const group = row_of_all / p.partial_rows(), row = row_of_all - group * p.partial_rows();
  Index const slice_size = static_cast<Index>(p.partial_rows()) * p.columns;
  Real const* from = p.partial + group * p.slices * slice_size + static_cast<Index>(row) * p.columns + column;
  Real value = Real(0);
  for (int slice = 0; slice < p.slices; ++slice)
    value += from[slice * slice_size];
  if (row == p.rows) {
    p.bias_grad[group * p.column_group + column] = value;
    return;
  }
  if (p.bias != nullptr) value += p.bias[group * p.column_group + column];
  if (p.relu && value < Real(0)) value = Real(0);
  Real& to = p.c[static_cast<Index>(group) * p.c_group + p.row_offset(row) + column];
  to = p.accumulate ? to + value : value;
}

} // namespace nasturtium::kernels::impl::cuda
