// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Depthwise convolution (one filter per channel) on the host: vectors of channels, several pixels or taps at a time.
// Geometry, slabs and slices are those of the dense contractions; there is no depth to sum over but the taps.
#pragma once

#include "contraction/host_weights.hpp"

namespace nasturtium::kernels::impl::host {

inline bool is_depthwise(Conv2dShape const& s)
{
  return s.groups > 1 && s.groups == s.in_channels && s.groups == s.out_channels;
}

/// The correlation of all channels at once; its w_* are the places of taps of channel zero.
inline Correlation depthwise_correlation(Pass pass, Conv2dShape const& s, Index number)
{
  Correlation c = correlation(pass, s, number);
  c.channels = c.columns = s.in_channels;
  return c;
}
inline Index depthwise_count(Pass pass, Conv2dShape const& s)
{
  return correlation_count(pass, s) / s.groups;
}

/// Value is a vector of channels or, for the last channels, a single Real.
template <class Value, class Real>
inline Value get(Real const* from)
{
  if constexpr (std::is_same_v<Value, Real>) {
    return *from;
  } else {
    return load(from);
  }
}
template <class Real>
inline void put(Real* to, Real value)
{
  *to = value;
}
template <class Real>
inline void put(Real* to, Vector<Real> value)
{
  store(to, value);
}

inline constexpr int depthwise_pixels = 8;
inline constexpr int depthwise_taps = 9;

/// C of `pixels` grid pixels and one Value of channels.
template <class Value, class Real, int pixels>
void depthwise_tile(Correlation const& c, Gather const& gather, Contraction<Real> const& problem, Real const* a,
                    Index const* a_rows, Index const* c_rows, int channel)
{
  Value sum[pixels];
  NASTURTIUM_UNROLL for (int i = 0; i < pixels; ++i)
  {
    sum[i] = problem.accumulate ? get<Value>(problem.c + c_rows[i] + channel)
             : problem.bias     ? get<Value>(problem.bias + channel)
                                : Value{};
  }
  for (int ty = 0; ty < c.taps_y; ++ty) {
    for (int tx = 0; tx < c.taps_x; ++tx) {
      Value const weight = get<Value>(problem.b + c.w_first + ty * c.w_y + tx * c.w_x + channel);
      Real const* const from = a + gather.offset(ty, tx, channel);
      NASTURTIUM_UNROLL for (int i = 0; i < pixels; ++i) sum[i] += get<Value>(from + a_rows[i]) * weight;
    }
  }
  if (problem.activation == Activation::relu) {
    Value const zero{};
    NASTURTIUM_UNROLL for (int i = 0; i < pixels; ++i) sum[i] = sum[i] < zero ? zero : sum[i]; // NaN stays
  }
  NASTURTIUM_UNROLL for (int i = 0; i < pixels; ++i) put(problem.c + c_rows[i] + channel, sum[i]);
}

template <class Real>
struct DepthwiseWork
{
  Contraction<Real> problem;
  std::byte* scratch;
  std::size_t scratch_bytes;
  int workers;

  void operator()(int worker) const
  {
    ProductScratch<Real> const memory(scratch + static_cast<std::size_t>(worker) * scratch_bytes);
    for (Index i = 0; i < depthwise_count(problem.pass, problem.shape); ++i) {
      Correlation const c = depthwise_correlation(problem.pass, problem.shape, i);
      if (c.rows() == 0) continue;
      Gather const gather(c);
      Range const rows =
          share(c.rows(), problem.statistics.moments ? moment_chunk_rows : depthwise_pixels, worker, workers);
      Index const step = block_rows<Real>(gather);
      for (Index first = rows.first; first < rows.last; first += step) {
        Index const last = std::min(first + step, rows.last);
        Real const* const a = gather.block(problem.a, first, last, memory.slab, memory.a_rows);
        destination_rows(c, first, last, memory.c_rows);
        run_block(c, gather, a, memory, last - first);
        if (problem.statistics.moments) block_moments(problem, c, 0, Panels<Real>(c.columns).count(), first, last);
      }
    }
  }

private:
  void run_block(Correlation const& c, Gather const& gather, Real const* a, ProductScratch<Real> const& memory,
                 Index rows) const
  {
    using Wide = Vector<Real>;
    int const whole = c.columns / lanes<Real> * lanes<Real>;
    Index row = 0;
    for (; row + depthwise_pixels <= rows; row += depthwise_pixels) {
      for (int channel = 0; channel < whole; channel += lanes<Real>) {
        depthwise_tile<Wide, Real, depthwise_pixels>(c, gather, problem, a, memory.a_rows + row, memory.c_rows + row,
                                                     channel);
      }
      for (int channel = whole; channel < c.columns; ++channel) {
        depthwise_tile<Real, Real, depthwise_pixels>(c, gather, problem, a, memory.a_rows + row, memory.c_rows + row,
                                                     channel);
      }
    }
    for (; row < rows; ++row) {
      for (int channel = 0; channel < whole; channel += lanes<Real>) {
        depthwise_tile<Wide, Real, 1>(c, gather, problem, a, memory.a_rows + row, memory.c_rows + row, channel);
      }
      for (int channel = whole; channel < c.columns; ++channel) {
        depthwise_tile<Real, Real, 1>(c, gather, problem, a, memory.a_rows + row, memory.c_rows + row, channel);
      }
    }
  }
};

/// dW of `taps` taps, whose places are at `offsets`, and one Value of channels: sums over pixels, from C on.
template <class Value, class Real, int taps>
void depthwise_outer(Index pixels, Real const* a, Index const* offsets, Index const* a_rows, Real const* dy,
                     Index stride, Real* c, bool from_zero)
{
  Value sum[taps];
  NASTURTIUM_UNROLL for (int i = 0; i < taps; ++i) sum[i] = from_zero ? Value{} : get<Value>(c + i * stride);
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    Value const value = get<Value>(dy + pixel * stride);
    Real const* const from = a + a_rows[pixel];
    NASTURTIUM_UNROLL for (int i = 0; i < taps; ++i) sum[i] += get<Value>(from + offsets[i]) * value;
  }
  NASTURTIUM_UNROLL for (int i = 0; i < taps; ++i) put(c + i * stride, sum[i]);
}

template <class Real>
struct DepthwiseWeightWork
{
  Contraction<Real> problem;
  Real* partials;
  Real* bias_partials;
  std::byte* scratch;
  std::size_t scratch_bytes;
  int slices;
  int workers;

  void operator()(int worker) const
  {
    ProductScratch<Real> const memory(scratch + static_cast<std::size_t>(worker) * scratch_bytes);
    Correlation const c = depthwise_correlation(Pass::backward_weights, problem.shape, 0);
    Gather const gather(c);
    // Units of one vector of channels, slice after slice; the last unit of a slice has the channels that fill no
    // vector.
    Index const units = (c.columns + lanes<Real> - 1) / lanes<Real>;
    Range const all = share(units * slices, 1, worker, workers);
    for (Index unit = all.first; unit < all.last;) {
      Index const slice = unit / units;
      Index const last = std::min(all.last, (slice + 1) * units);
      run_slice(c, gather, memory, slice, static_cast<int>(unit - slice * units) * lanes<Real>,
                std::min(c.columns, static_cast<int>(last - slice * units) * lanes<Real>));
      unit = last;
    }
  }

private:
  void run_slice(Correlation const& c, Gather const& gather, ProductScratch<Real> const& memory, Index slice,
                 int first_channel, int last_channel) const
  {
    Real* const to = partials ? partials + slice * problem.shape.weights_size() : problem.c;
    Real* const bias = !problem.bias_grad ? nullptr
                       : bias_partials    ? bias_partials + slice * c.columns
                                          : problem.bias_grad;
    Index const begin = c.rows() * slice / slices;
    Index const end = c.rows() * (slice + 1) / slices;
    Index const step = block_rows<Real>(gather);
    for (Index first = begin; first < end; first += step) {
      Index const last = std::min(first + step, end);
      Real const* const a = gather.block(problem.a, first, last, memory.slab, memory.a_rows);
      Real const* const dy = problem.b + first * c.columns;
      bool const from_zero = first == begin;
      int channel = first_channel;
      for (; channel + lanes<Real> <= last_channel; channel += lanes<Real>) {
        run_channels<Vector<Real>>(c, gather, memory, a, dy, last - first, to, bias, channel, from_zero);
      }
      for (; channel < last_channel; ++channel) {
        run_channels<Real>(c, gather, memory, a, dy, last - first, to, bias, channel, from_zero);
      }
    }
  }

  template <class Value>
  void run_channels(Correlation const& c, Gather const& gather, ProductScratch<Real> const& memory, Real const* a,
                    Real const* dy, Index pixels, Real* to, Real* bias, int channel, bool from_zero) const
  {
    Index const taps = Index{c.taps_y} * c.taps_x;
    Index offsets[depthwise_taps];
    for (Index tap = 0; tap < taps;) {
      Index const count = taps - tap >= depthwise_taps ? depthwise_taps : taps - tap >= 3 ? 3 : 1;
      for (Index i = 0; i < count; ++i) {
        offsets[i] =
            gather.offset(static_cast<int>((tap + i) / c.taps_x), static_cast<int>((tap + i) % c.taps_x), channel);
      }
      auto const outer = count == depthwise_taps ? &depthwise_outer<Value, Real, depthwise_taps>
                         : count == 3            ? &depthwise_outer<Value, Real, 3>
                                                 : &depthwise_outer<Value, Real, 1>;
      outer(pixels, a, offsets, memory.a_rows, dy + channel, c.columns, to + tap * c.columns + channel, from_zero);
      tap += count;
    }
    if (bias) {
      Value sum = from_zero ? Value{} : get<Value>(bias + channel);
      for (Index pixel = 0; pixel < pixels; ++pixel)
        sum += get<Value>(dy + pixel * c.columns + channel);
      put(bias + channel, sum);
    }
  }
};

template <class Real>
std::size_t depthwise_scratch(Pass pass, Conv2dShape const& shape)
{
  std::size_t bytes = 0;
  for (Index i = 0; i < depthwise_count(pass, shape); ++i) {
    bytes = std::max(bytes, ProductScratch<Real>::bytes(Gather(depthwise_correlation(pass, shape, i))));
  }
  return bytes;
}

template <class ExecSpace, class Real>
std::size_t depthwise_workspace(Pass pass, Conv2dShape const& shape)
{
  return (pass == Pass::backward_weights ? weight_partials<Real>(shape) : 0) +
         most_workers<ExecSpace>() * depthwise_scratch<Real>(pass, shape);
}

template <class ExecSpace, class Real>
void run_depthwise(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
                   Workspace<ExecSpace> workspace)
{
  Conv2dShape const& shape = problem.shape;
  if (shape.batch == 0) {
    if (problem.pass == Pass::backward_weights) run_weights(exec, label, problem, workspace);
    return;
  }
  std::size_t const scratch_bytes = depthwise_scratch<Real>(problem.pass, shape);
  if (problem.pass != Pass::backward_weights) {
    int const workers =
        std::min(available_workers(exec, shape.flops()), static_cast<int>(workspace.extent(0) / scratch_bytes));
    run_workers(exec, label, workers, problem, DepthwiseWork<Real>{problem, workspace.data(), scratch_bytes, workers});
    return;
  }
  int const slices = weight_slices(shape);
  std::size_t const partial_bytes = weight_partials<Real>(shape);
  int const workers = std::min(available_workers(exec, shape.flops()),
                               static_cast<int>((workspace.extent(0) - partial_bytes) / scratch_bytes));
  Real* const partials = slices > 1 ? reinterpret_cast<Real*>(workspace.data()) : nullptr;
  Real* const bias_partials =
      slices > 1 ? partials + cache_lines(static_cast<std::size_t>(slices * shape.weights_size()) * sizeof(Real)) /
                                  sizeof(Real)
                 : nullptr;
  run_workers(exec, label, workers,
              DepthwiseWeightWork<Real>{problem, partials, bias_partials, workspace.data() + partial_bytes,
                                        scratch_bytes, slices, workers});
  if (slices == 1) return;
  run_workers(exec, label, 1,
              SliceSum<Real>{partials, problem.c, shape.weights_size(), bias_partials, problem.bias_grad,
                             shape.out_channels, slices, 1});
}

} // namespace nasturtium::kernels::impl::host
