// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Batch normalisation. On hosts a tensor of few channels is walked as one long run against parameters that are repeated
// to a pattern of whole rows, so that the inner loop is long whatever the number of channels. Sums are taken per fixed
// chunk of rows and merged in chunk order in double.
#include <nasturtium/kernels/batch_norm.hpp>

#include "batch_statistics.hpp"
#include "instantiate.hpp"
#include "parallel.hpp"

namespace nasturtium::kernels {
namespace impl {

/// Longest pattern, and the length that short rows are repeated to reach.
inline constexpr int pattern_capacity = 512;

/// How [0, channels) is cut into tiles of at most pattern_capacity, and how many whole rows one pattern spans.
struct Pattern
{
  int first; // channel
  int width; // channels
  int rows;  // rows per pattern; 1 unless the tile is the whole row
  KOKKOS_FUNCTION Pattern(int channels, int first_channel)
      : first(first_channel),
        width(channels - first_channel < pattern_capacity ? channels - first_channel : pattern_capacity),
        rows(width == channels ? pattern_capacity / width : 1)
  {
  }
};

/// Repeats the first `width` values until `length` are there.
template <class Real>
KOKKOS_FUNCTION void repeat(Real* values, int width, int length)
{
  for (int i = width; i < length; ++i)
    values[i] = values[i - width];
}

/// Adds the values of each channel in ascending row order into the first `width` of them.
template <class Real>
KOKKOS_FUNCTION void fold(Real* values, int width, int length)
{
  for (int i = width; i < length; i += width)
    for (int c = 0; c < width; ++c)
      values[c] += values[i + c];
}

// ---- moments -------------------------------------------------------------------------------------------------------

template <class Real>
struct HostMoments
{
  Index rows;
  int channels;
  Real const* src;
  Statistics<Real> statistics;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index chunk = begin; chunk < end; ++chunk)
      for (int c = 0; c < channels; c += pattern_capacity)
        tile(chunk, Pattern(channels, c));
    if (statistics.mean != nullptr &&
        last_to_arrive(statistics.arrivals, static_cast<int>(end - begin), static_cast<int>(moment_chunks(rows))))
      merge_on_host(statistics, rows, channels, 0, channels);
  }

  KOKKOS_FUNCTION void tile(Index chunk, Pattern const& pattern) const
  {
    Index const first = chunk * moment_chunk_rows;
    Index const count = rows - first < moment_chunk_rows ? rows - first : moment_chunk_rows;
    int const width = pattern.width;
    Index const span = pattern.rows < count ? pattern.rows : count;
    int const length = static_cast<int>(span) * width;
    Real mean[pattern_capacity], sum[pattern_capacity], squares[pattern_capacity];
    for (int i = 0; i < length; ++i)
      sum[i] = 0;
    Real const* const top = src + first * channels + pattern.first;
    for (Index row = 0; row < count; row += span) {
      Real const* const values = top + row * channels;
      int const n = static_cast<int>(count - row < span ? count - row : span) * width;
      for (int i = 0; i < n; ++i)
        sum[i] += values[i];
    }
    fold(sum, width, length);
    Real const scale = Real(1) / static_cast<Real>(count);
    for (int c = 0; c < width; ++c)
      mean[c] = sum[c] * scale;
    repeat(mean, width, length);
    for (int i = 0; i < length; ++i)
      sum[i] = squares[i] = 0;
    for (Index row = 0; row < count; row += span) {
      Real const* const values = top + row * channels;
      int const n = static_cast<int>(count - row < span ? count - row : span) * width;
      for (int i = 0; i < n; ++i) {
        Real const deviation = values[i] - mean[i];
        sum[i] += deviation;
        squares[i] += deviation * deviation;
      }
    }
    fold(sum, width, length);
    fold(squares, width, length);
    // What the first sum lost to rounding is the mean of the deviations (corrected two-pass; Chan et al., 1983).
    Real* const to = statistics.moments + chunk * 2 * channels + pattern.first;
    for (int c = 0; c < width; ++c) {
      Real const correction = sum[c] * scale;
      to[c] = mean[c] + correction;
      to[channels + c] = squares[c] - sum[c] * correction;
    }
  }
};

/// The sum over the slots of a lane, in slot order; every thread of the lane gets it.
template <class Team, class Real>
KOKKOS_FUNCTION Real column_total(Team const& team, Real* scratch, int lane, int slot, Real value)
{
  scratch[slot * column_lanes + lane] = value;
  team.team_barrier();
  Real sum = 0;
  for (int s = 0; s < column_slots; ++s)
    sum += scratch[s * column_lanes + lane];
  team.team_barrier();
  return sum;
}

template <class Real>
struct DeviceMoments
{
  Index rows;
  int channels;
  Real const* src;
  Statistics<Real> statistics;

  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    int const blocks = (channels + column_lanes - 1) / column_lanes;
    Index const chunk = team.league_rank() / blocks;
    int const lane = team.team_rank() % column_lanes;
    int const slot = team.team_rank() / column_lanes;
    int const block = static_cast<int>(team.league_rank() % blocks), c = block * column_lanes + lane;
    Index const first = chunk * moment_chunk_rows;
    Index const last = first + moment_chunk_rows < rows ? first + moment_chunk_rows : rows;
    void* const shared = team.team_shmem().get_shmem(std::size_t{merge_scratch_bytes});
    auto* const scratch = static_cast<Real*>(shared);

    Real sum = 0;
    if (c < channels)
      for (Index row = first + slot; row < last; row += column_slots)
        sum += src[row * channels + c];
    Real const scale = Real(1) / static_cast<Real>(last - first);
    Real const mean = column_total(team, scratch, lane, slot, sum) * scale;
    Real squares = 0;
    sum = 0;
    if (c < channels)
      for (Index row = first + slot; row < last; row += column_slots) {
        Real const deviation = src[row * channels + c] - mean;
        sum += deviation;
        squares += deviation * deviation;
      }
    sum = column_total(team, scratch, lane, slot, sum);
    squares = column_total(team, scratch, lane, slot, squares);
    if (slot == 0 && c < channels) {
      Real const correction = sum * scale;
      statistics.moments[chunk * 2 * channels + c] = mean + correction;
      statistics.moments[chunk * 2 * channels + channels + c] = squares - sum * correction;
    }
    if (statistics.mean == nullptr) return;
    TeamThreads<Team> threads{team};
    if (!last_team_to_arrive(threads, static_cast<int*>(shared), statistics.arrivals + block,
                             static_cast<int>(moment_chunks(rows))))
      return;
    int const begin = block * column_lanes;
    merge_on_device(threads, static_cast<double*>(shared), statistics, rows, channels, begin,
                    begin + column_lanes < channels ? begin + column_lanes : channels);
  }
};

// ---- normalisation -------------------------------------------------------------------------------------------------

template <class Real, bool inference>
struct Affine
{
  Real const* gamma;
  Real const* beta;
  Real const* mean;
  Real const* deviation; // saved inverse deviation in training, running variance in inference
  Real epsilon;
  KOKKOS_FUNCTION Real scale(int c) const
  {
    if constexpr (inference)
      return gamma[c] / Kokkos::sqrt(deviation[c] + epsilon);
    else
      return gamma[c] * deviation[c];
  }
};

/// dst = activation((src - mean) * scale + beta + residual). Items are rows on hosts and elements on devices.
template <class Real, bool inference, bool with_residual, bool with_relu, bool by_row>
struct Normalise
{
  int channels;
  Affine<Real, inference> affine;
  Real const* src;
  Real const* residual;
  Real* dst;

  KOKKOS_FUNCTION void write(Index i, Real value) const
  {
    if constexpr (with_residual) value += residual[i];
    if constexpr (with_relu) value = value < Real(0) ? Real(0) : value;
    dst[i] = value;
  }

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    if constexpr (by_row) {
      for (int c = 0; c < channels; c += pattern_capacity)
        tile(begin, end, Pattern(channels, c));
    } else {
      for (Index i = begin; i < end; ++i) {
        int c;
        divide(i, channels, c);
        write(i, (src[i] - affine.mean[c]) * affine.scale(c) + affine.beta[c]);
      }
    }
  }

  KOKKOS_FUNCTION void tile(Index begin, Index end, Pattern const& pattern) const
  {
    Real mean[pattern_capacity], scale[pattern_capacity], shift[pattern_capacity];
    int const width = pattern.width;
    for (int c = 0; c < width; ++c) {
      mean[c] = affine.mean[pattern.first + c];
      scale[c] = affine.scale(pattern.first + c);
      shift[c] = affine.beta[pattern.first + c];
    }
    Index const span = pattern.rows < end - begin ? pattern.rows : end - begin;
    int const length = static_cast<int>(span) * width;
    repeat(mean, width, length);
    repeat(scale, width, length);
    repeat(shift, width, length);
    for (Index row = begin; row < end; row += span) {
      Index const here = end - row < span ? end - row : span;
      Index const base = row * channels + pattern.first;
      int const n = static_cast<int>(here) * width;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < n; ++i)
        write(base + i, (src[base + i] - mean[i]) * scale[i] + shift[i]);
    }
  }
};

template <class ExecSpace, class Real, bool inference>
void normalise(ExecSpace const& exec, std::string const& label, BatchNormShape const& shape,
               Affine<Real, inference> const& affine, Real const* src, Real const* residual, Activation activation,
               Real* dst)
{
  constexpr bool by_row = is_host_space<ExecSpace>;
  Index const items = by_row ? shape.rows : shape.rows * shape.channels;
  Index const grain = rows_per_block(shape.channels);
  bool const relu = activation == Activation::relu;
  if (residual != nullptr && relu)
    for_items(exec, label, items, grain,
              Normalise<Real, inference, true, true, by_row>{shape.channels, affine, src, residual, dst});
  else if (residual != nullptr)
    for_items(exec, label, items, grain,
              Normalise<Real, inference, true, false, by_row>{shape.channels, affine, src, residual, dst});
  else if (relu)
    for_items(exec, label, items, grain,
              Normalise<Real, inference, false, true, by_row>{shape.channels, affine, src, residual, dst});
  else
    for_items(exec, label, items, grain,
              Normalise<Real, inference, false, false, by_row>{shape.channels, affine, src, residual, dst});
}

// ---- backward ------------------------------------------------------------------------------------------------------

/// Rows whose gradients are summed as one chunk: about block_elements values, a function of the width alone.
constexpr Index backward_chunk_rows(int channels)
{
  return rows_per_block(channels) < 16 ? 16 : rows_per_block(channels);
}
constexpr Index backward_chunks(BatchNormShape const& shape)
{
  Index const rows = backward_chunk_rows(shape.channels);
  return (shape.rows + rows - 1) / rows;
}

/// The sums of the chunks, [chunk][2][channels], and what becomes of them.
template <class Real>
struct GradientSums
{
  int channels;
  Index chunks;
  Real* partial;
  Real const* inverse_deviation;
  Real* gamma_grad;
  Real* beta_grad;
  int* arrivals;

  KOKKOS_FUNCTION void finish(int c, double sum, double product) const
  {
    beta_grad[c] = static_cast<Real>(sum);
    gamma_grad[c] = static_cast<Real>(product * static_cast<double>(inverse_deviation[c]));
  }
  KOKKOS_FUNCTION void merge_on_host(int begin, int end) const
  {
    for (int first = begin; first < end; first += merge_lanes) {
      int const width = end - first < merge_lanes ? end - first : merge_lanes;
      double sum[merge_lanes] = {}, product[merge_lanes] = {};
      for (Index chunk = 0; chunk < chunks; ++chunk) {
        Real const* const from = partial + chunk * 2 * channels + first;
        for (int c = 0; c < width; ++c) {
          sum[c] += static_cast<double>(from[c]);
          product[c] += static_cast<double>(from[channels + c]);
        }
      }
      for (int c = 0; c < width; ++c)
        finish(first + c, sum[c], product[c]);
    }
  }
  /// The channels of one block, by column_lanes x column_slots threads.
  template <class Team>
  KOKKOS_FUNCTION void merge_on_device(Team const& team, double* scratch, int c) const
  {
    int const lane = team.team_rank() % column_lanes;
    int const slot = team.team_rank() / column_lanes;
    double sum = 0, product = 0;
    if (c < channels)
      for (Index chunk = slot; chunk < chunks; chunk += column_slots) {
        sum += static_cast<double>(partial[chunk * 2 * channels + c]);
        product += static_cast<double>(partial[chunk * 2 * channels + channels + c]);
      }
    sum = column_total(team, scratch, lane, slot, sum);
    product = column_total(team, scratch, lane, slot, product);
    if (slot == 0 && c < channels) finish(c, sum, product);
  }
};

/// Per chunk the sums of g and of g * (src - mean), g the gradient behind the activation; the last one merges them.
template <class Real, bool with_relu>
struct HostBackwardSums
{
  Index rows;
  int channels;
  Real const* src;
  Real const* dst;
  Real const* dst_grad;
  Real const* mean;
  GradientSums<Real> sums;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index chunk = begin; chunk < end; ++chunk)
      for (int c = 0; c < channels; c += pattern_capacity)
        tile(chunk, Pattern(channels, c));
    if (merged_by_last(sums.chunks, channels) &&
        last_to_arrive(sums.arrivals, static_cast<int>(end - begin), static_cast<int>(sums.chunks)))
      sums.merge_on_host(0, channels);
  }

  KOKKOS_FUNCTION void tile(Index chunk, Pattern const& pattern) const
  {
    Index const first = chunk * backward_chunk_rows(channels);
    Index const left = rows - first;
    Index const count = left < backward_chunk_rows(channels) ? left : backward_chunk_rows(channels);
    int const width = pattern.width;
    Index const span = pattern.rows < count ? pattern.rows : count;
    int const length = static_cast<int>(span) * width;
    Real center[pattern_capacity], sum[pattern_capacity], product[pattern_capacity];
    for (int c = 0; c < width; ++c)
      center[c] = mean[pattern.first + c];
    repeat(center, width, length);
    for (int i = 0; i < length; ++i)
      sum[i] = product[i] = 0;
    for (Index row = 0; row < count; row += span) {
      Index const here = count - row < span ? count - row : span;
      Index const base = (first + row) * channels + pattern.first;
      int const n = static_cast<int>(here) * width;
      Real const* const x = src + base;
      Real const* const dy = dst_grad + base;
      Real const* const y = with_relu ? dst + base : nullptr;
      for (int i = 0; i < n; ++i) {
        Real g = dy[i];
        if constexpr (with_relu) g = y[i] > Real(0) ? g : Real(0);
        sum[i] += g;
        product[i] += g * (x[i] - center[i]);
      }
    }
    fold(sum, width, length);
    fold(product, width, length);
    Real* const to = sums.partial + chunk * 2 * channels + pattern.first;
    for (int c = 0; c < width; ++c) {
      to[c] = sum[c];
      to[channels + c] = product[c];
    }
  }
};

template <class Real>
struct HostMergeGradients
{
  GradientSums<Real> sums;
  // Items are groups of merge_lanes channels.
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    int const last = static_cast<int>(end) * merge_lanes;
    sums.merge_on_host(static_cast<int>(begin) * merge_lanes, last < sums.channels ? last : sums.channels);
  }
};

template <class Real, bool with_relu>
struct DeviceBackwardSums
{
  Index rows;
  int channels;
  Real const* src;
  Real const* dst;
  Real const* dst_grad;
  Real const* mean;
  GradientSums<Real> sums;

  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    int const blocks = (channels + column_lanes - 1) / column_lanes;
    Index const chunk = team.league_rank() / blocks;
    int const lane = team.team_rank() % column_lanes;
    int const slot = team.team_rank() / column_lanes;
    int const block = static_cast<int>(team.league_rank() % blocks), c = block * column_lanes + lane;
    Index const first = chunk * backward_chunk_rows(channels);
    Index const last = first + backward_chunk_rows(channels) < rows ? first + backward_chunk_rows(channels) : rows;
    void* const shared = team.team_shmem().get_shmem(column_lanes * column_slots * sizeof(double));
    auto* const scratch = static_cast<Real*>(shared);
    Real sum = 0, product = 0;
    if (c < channels) {
      Real const center = mean[c];
      for (Index row = first + slot; row < last; row += column_slots) {
        Index const i = row * channels + c;
        Real g = dst_grad[i];
        if constexpr (with_relu) g = dst[i] > Real(0) ? g : Real(0);
        sum += g;
        product += g * (src[i] - center);
      }
    }
    sum = column_total(team, scratch, lane, slot, sum);
    product = column_total(team, scratch, lane, slot, product);
    if (slot == 0 && c < channels) {
      sums.partial[chunk * 2 * channels + c] = sum;
      sums.partial[chunk * 2 * channels + channels + c] = product;
    }
    TeamThreads<Team> threads{team};
    if (last_team_to_arrive(threads, static_cast<int*>(shared), sums.arrivals + block, static_cast<int>(sums.chunks)))
      sums.merge_on_device(team, static_cast<double*>(shared), c);
  }
};

/// src_grad = gamma / deviation * (g - beta_grad / rows - normalised src * gamma_grad / rows); residual_grad = g.
template <class Real, bool with_relu, bool by_row>
struct BackwardElements
{
  Index rows;
  int channels;
  Real const* src;
  Real const* dst;
  Real const* dst_grad;
  Real const* gamma;
  Real const* mean;
  Real const* inverse_deviation;
  Real const* gamma_grad;
  Real const* beta_grad;
  Real* src_grad;
  bool accumulate;
  Real* residual_grad;
  bool accumulate_residual;

  KOKKOS_FUNCTION Real masked(Index i) const
  {
    // Loaded in any case: a load under a condition would keep the loop from being vectorised.
    Real const g = dst_grad[i];
    if constexpr (with_relu)
      return dst[i] > Real(0) ? g : Real(0);
    else
      return g;
  }

  // The gradient is scale * g + slope * (x - mean) + offset.
  KOKKOS_FUNCTION void coefficients(int c, Real& scale, Real& slope, Real& offset) const
  {
    scale = gamma[c] * inverse_deviation[c];
    Real const share = -scale / static_cast<Real>(rows);
    slope = share * gamma_grad[c] * inverse_deviation[c];
    offset = share * beta_grad[c];
  }

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    if constexpr (by_row) {
      for (int c = 0; c < channels; c += pattern_capacity) {
        Pattern const pattern(channels, c);
        if (residual_grad == nullptr)
          accumulate ? tile<true, false, false>(begin, end, pattern) : tile<false, false, false>(begin, end, pattern);
        else if (accumulate_residual)
          accumulate ? tile<true, true, true>(begin, end, pattern) : tile<false, true, true>(begin, end, pattern);
        else
          accumulate ? tile<true, true, false>(begin, end, pattern) : tile<false, true, false>(begin, end, pattern);
      }
    } else {
      for (Index i = begin; i < end; ++i) {
        int c;
        divide(i, channels, c);
        Real scale, slope, offset;
        coefficients(c, scale, slope, offset);
        Real const g = masked(i);
        Real const gradient = scale * g + (slope * (src[i] - mean[c]) + offset);
        if (residual_grad != nullptr) residual_grad[i] = accumulate_residual ? residual_grad[i] + g : g;
        src_grad[i] = accumulate ? src_grad[i] + gradient : gradient;
      }
    }
  }

  template <bool add, bool with_residual, bool add_residual>
  KOKKOS_FUNCTION void tile(Index begin, Index end, Pattern const& pattern) const
  {
    Real center[pattern_capacity], scale[pattern_capacity], slope[pattern_capacity], offset[pattern_capacity];
    int const width = pattern.width;
    for (int c = 0; c < width; ++c) {
      center[c] = mean[pattern.first + c];
      coefficients(pattern.first + c, scale[c], slope[c], offset[c]);
    }
    Index const span = pattern.rows < end - begin ? pattern.rows : end - begin;
    int const length = static_cast<int>(span) * width;
    repeat(center, width, length);
    repeat(scale, width, length);
    repeat(slope, width, length);
    repeat(offset, width, length);
    for (Index row = begin; row < end; row += span) {
      Index const here = end - row < span ? end - row : span;
      Index const base = row * channels + pattern.first;
      int const n = static_cast<int>(here) * width;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < n; ++i) {
        Real const g = masked(base + i);
        Real const gradient = scale[i] * g + (slope[i] * (src[base + i] - center[i]) + offset[i]);
        if constexpr (with_residual) residual_grad[base + i] = add_residual ? residual_grad[base + i] + g : g;
        src_grad[base + i] = add ? src_grad[base + i] + gradient : gradient;
      }
    }
  }
};

/// src_grad = (accumulate ? src_grad : 0) + scale * g, of statistics that are constants.
template <class Real, bool with_relu, bool accumulate, bool by_row>
struct ScaleElements
{
  int channels;
  Affine<Real, true> affine;
  Real const* dst;
  Real const* dst_grad;
  Real* src_grad;

  KOKKOS_FUNCTION void write(Index i, Real scale) const
  {
    Real g = dst_grad[i];
    if constexpr (with_relu) g = dst[i] > Real(0) ? g : Real(0);
    src_grad[i] = accumulate ? src_grad[i] + scale * g : scale * g;
  }

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    if constexpr (by_row) {
      for (int c = 0; c < channels; c += pattern_capacity)
        tile(begin, end, Pattern(channels, c));
    } else {
      for (Index i = begin; i < end; ++i) {
        int c;
        divide(i, channels, c);
        write(i, affine.scale(c));
      }
    }
  }

  KOKKOS_FUNCTION void tile(Index begin, Index end, Pattern const& pattern) const
  {
    Real scale[pattern_capacity];
    for (int c = 0; c < pattern.width; ++c)
      scale[c] = affine.scale(pattern.first + c);
    Index const span = pattern.rows < end - begin ? pattern.rows : end - begin;
    repeat(scale, pattern.width, static_cast<int>(span) * pattern.width);
    for (Index row = begin; row < end; row += span) {
      Index const here = end - row < span ? end - row : span;
      Index const base = row * channels + pattern.first;
      int const n = static_cast<int>(here) * pattern.width;
      NASTURTIUM_INDEPENDENT
      for (int i = 0; i < n; ++i)
        write(base + i, scale[i]);
    }
  }
};

/// A team of column_lanes x column_slots threads per entry of the league, with `scratch` bytes of shared memory.
template <class ExecSpace, class Body>
void for_columns(ExecSpace const& exec, std::string const& label, Index league, std::size_t scratch, Body const& body)
{
  for_teams(exec, label, league, column_lanes * column_slots, scratch, body);
}

constexpr Index column_blocks(int channels)
{
  return (channels + column_lanes - 1) / column_lanes;
}

inline void require_shape(char const* op, BatchNormShape const& shape, Activation activation)
{
  if (shape.rows < 0 || shape.channels < 1)
    fail("kernels::", op, ": ", shape.rows, " rows of ", shape.channels, " channels");
  if (activation != Activation::identity && activation != Activation::relu)
    fail("kernels::", op, ": activation ", static_cast<int>(activation), " is neither identity nor relu");
}

} // namespace impl

template <class ExecSpace, class Real>
std::size_t batch_norm_workspace(BatchNormShape const& shape)
{
  return static_cast<std::size_t>(impl::backward_chunks(shape) * 2 * shape.channels) * sizeof(Real);
}

template <class ExecSpace, class Real>
void batch_norm_statistics(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                           BatchStatistics<ExecSpace, Real> const& statistics)
{
  static std::string const label = "nasturtium::batch_norm_statistics";
  constexpr char const* op = "batch_norm_statistics";
  impl::require_shape(op, shape, Activation::identity);
  impl::Statistics<Real> const to(op, statistics, shape.rows, shape.channels);
  if (to.moments == nullptr) return;
  Index const chunks = moment_chunks(shape.rows);
  impl::require_extent(op, "src", src, shape.rows * shape.channels);
  if constexpr (impl::is_host_space<ExecSpace>) {
    Index const grain = impl::rows_per_block(moment_chunk_rows * shape.channels);
    bool const apart = !impl::merged_by_last(chunks, shape.channels);
    impl::for_items(exec, label, chunks, grain,
                    impl::HostMoments<Real>{shape.rows, shape.channels, src.data(), apart ? to.moments_alone() : to});
    if (apart) impl::merge_statistics(exec, to, shape.rows, shape.channels);
  } else {
    impl::for_columns(exec, label, chunks * impl::column_blocks(shape.channels), impl::merge_scratch_bytes,
                      impl::DeviceMoments<Real>{shape.rows, shape.channels, src.data(), to});
  }
}

template <class ExecSpace, class Real>
void batch_norm_forward_train(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                              Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> beta,
                              Buffer<ExecSpace, Real const> mean, Buffer<ExecSpace, Real const> inverse_deviation,
                              Buffer<ExecSpace, Real const> residual, Activation activation,
                              Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::batch_norm_forward_train";
  constexpr char const* op = "batch_norm_forward_train";
  impl::require_shape(op, shape, activation);
  Index const size = shape.rows * shape.channels;
  impl::require_extent(op, "src", src, size);
  impl::require_extent(op, "dst", dst, size);
  if (residual.extent(0) != 0) impl::require_extent(op, "residual", residual, size);
  impl::Affine<Real, false> const affine{gamma.data(), beta.data(), mean.data(), inverse_deviation.data(), Real(0)};
  impl::normalise(exec, label, shape, affine, src.data(), residual.extent(0) != 0 ? residual.data() : nullptr,
                  activation, dst.data());
}

template <class ExecSpace, class Real>
void batch_norm_forward_inference(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                                  Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> beta, Real epsilon,
                                  Buffer<ExecSpace, Real const> running_mean,
                                  Buffer<ExecSpace, Real const> running_variance,
                                  Buffer<ExecSpace, Real const> residual, Activation activation,
                                  Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::batch_norm_forward_inference";
  constexpr char const* op = "batch_norm_forward_inference";
  impl::require_shape(op, shape, activation);
  Index const size = shape.rows * shape.channels;
  impl::require_extent(op, "src", src, size);
  impl::require_extent(op, "dst", dst, size);
  if (residual.extent(0) != 0) impl::require_extent(op, "residual", residual, size);
  impl::Affine<Real, true> const affine{gamma.data(), beta.data(), running_mean.data(), running_variance.data(),
                                        epsilon};
  impl::normalise(exec, label, shape, affine, src.data(), residual.extent(0) != 0 ? residual.data() : nullptr,
                  activation, dst.data());
}

namespace impl {

template <bool with_relu, class ExecSpace, class Real>
void batch_norm_backward(ExecSpace const& exec, BatchNormShape const& shape, Real const* src, Real const* dst,
                         Real const* dst_grad, Real const* gamma, Real const* mean, Real const* inverse_deviation,
                         Real* src_grad, bool accumulate, Real* residual_grad, bool accumulate_residual,
                         Real* gamma_grad, Real* beta_grad, Real* partial, int* arrivals)
{
  static std::string const sums_label = "nasturtium::batch_norm_backward_sums";
  static std::string const merge_label = "nasturtium::batch_norm_backward_merge";
  static std::string const label = "nasturtium::batch_norm_backward";
  constexpr bool host = is_host_space<ExecSpace>;
  Index const chunks = backward_chunks(shape);
  GradientSums<Real> const sums{shape.channels, chunks, partial, inverse_deviation, gamma_grad, beta_grad, arrivals};
  if constexpr (host) {
    for_items(exec, sums_label, chunks, 1,
              HostBackwardSums<Real, with_relu>{shape.rows, shape.channels, src, dst, dst_grad, mean, sums});
    if (!merged_by_last(chunks, shape.channels))
      for_items(exec, merge_label, (shape.channels + merge_lanes - 1) / merge_lanes, 1, HostMergeGradients<Real>{sums});
  } else {
    for_columns(exec, sums_label, chunks * column_blocks(shape.channels), column_lanes * column_slots * sizeof(double),
                DeviceBackwardSums<Real, with_relu>{shape.rows, shape.channels, src, dst, dst_grad, mean, sums});
  }
  for_items(exec, label, host ? shape.rows : shape.rows * shape.channels, rows_per_block(shape.channels),
            BackwardElements<Real, with_relu, host>{shape.rows, shape.channels, src, dst, dst_grad, gamma, mean,
                                                    inverse_deviation, gamma_grad, beta_grad, src_grad, accumulate,
                                                    residual_grad, accumulate_residual});
}

} // namespace impl

template <class ExecSpace, class Real>
void batch_norm_backward(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                         Buffer<ExecSpace, Real const> dst, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> saved_mean,
                         Buffer<ExecSpace, Real const> saved_inverse_deviation, Activation activation,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate, Buffer<ExecSpace, Real> residual_grad,
                         bool accumulate_residual, Buffer<ExecSpace, Real> gamma_grad,
                         Buffer<ExecSpace, Real> beta_grad, Workspace<ExecSpace> workspace,
                         Buffer<ExecSpace, int> arrivals)
{
  constexpr char const* op = "batch_norm_backward";
  impl::require_shape(op, shape, activation);
  if (shape.rows == 0) return;
  Index const size = shape.rows * shape.channels;
  bool const relu = activation == Activation::relu;
  impl::require_extent(op, "src", src, size);
  if (relu) impl::require_extent(op, "dst", dst, size);
  impl::require_extent(op, "dst_grad", dst_grad, size);
  impl::require_extent(op, "src_grad", src_grad, size);
  if (residual_grad.extent(0) != 0) impl::require_extent(op, "residual_grad", residual_grad, size);
  impl::require_extent(op, "workspace", workspace, static_cast<Index>(batch_norm_workspace<ExecSpace, Real>(shape)));
  impl::require_extent(op, "arrivals", arrivals, shape.channels);
  auto* const partial = reinterpret_cast<Real*>(workspace.data());
  Real* const residual = residual_grad.extent(0) != 0 ? residual_grad.data() : nullptr;
  if (relu)
    impl::batch_norm_backward<true>(exec, shape, src.data(), dst.data(), dst_grad.data(), gamma.data(),
                                    saved_mean.data(), saved_inverse_deviation.data(), src_grad.data(), accumulate,
                                    residual, accumulate_residual, gamma_grad.data(), beta_grad.data(), partial,
                                    arrivals.data());
  else
    impl::batch_norm_backward<false>(exec, shape, src.data(), dst.data(), dst_grad.data(), gamma.data(),
                                     saved_mean.data(), saved_inverse_deviation.data(), src_grad.data(), accumulate,
                                     residual, accumulate_residual, gamma_grad.data(), beta_grad.data(), partial,
                                     arrivals.data());
}

template <class ExecSpace, class Real>
void batch_norm_backward_inference(ExecSpace const& exec, BatchNormShape const& shape,
                                   Buffer<ExecSpace, Real const> dst, Buffer<ExecSpace, Real const> dst_grad,
                                   Buffer<ExecSpace, Real const> gamma, Real epsilon,
                                   Buffer<ExecSpace, Real const> running_variance, Activation activation,
                                   Buffer<ExecSpace, Real> src_grad, bool accumulate)
{
  static std::string const label = "nasturtium::batch_norm_backward_inference";
  constexpr char const* op = "batch_norm_backward_inference";
  impl::require_shape(op, shape, activation);
  Index const size = shape.rows * shape.channels;
  bool const relu = activation == Activation::relu;
  if (relu) impl::require_extent(op, "dst", dst, size);
  impl::require_extent(op, "dst_grad", dst_grad, size);
  impl::require_extent(op, "src_grad", src_grad, size);
  constexpr bool by_row = impl::is_host_space<ExecSpace>;
  auto const launch = [&]<bool with_relu, bool add>() {
    impl::Affine<Real, true> const affine{gamma.data(), nullptr, nullptr, running_variance.data(), epsilon};
    impl::for_items(exec, label, by_row ? shape.rows : size, impl::rows_per_block(shape.channels),
                    impl::ScaleElements<Real, with_relu, add, by_row>{shape.channels, affine, dst.data(),
                                                                      dst_grad.data(), src_grad.data()});
  };
  if (relu)
    accumulate ? launch.template operator()<true, true>() : launch.template operator()<true, false>();
  else
    accumulate ? launch.template operator()<false, true>() : launch.template operator()<false, false>();
}

#define NASTURTIUM_BATCH_NORM(ExecSpace, Real)                                                                         \
  template std::size_t batch_norm_workspace<ExecSpace, Real>(BatchNormShape const&);                                   \
  template void batch_norm_statistics<ExecSpace, Real>(ExecSpace const&, BatchNormShape const&,                        \
                                                       Buffer<ExecSpace, Real const>,                                  \
                                                       BatchStatistics<ExecSpace, Real> const&);                       \
  template void batch_norm_forward_train<ExecSpace, Real>(                                                             \
      ExecSpace const&, BatchNormShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,                     \
      Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>);                                             \
  template void batch_norm_forward_inference<ExecSpace, Real>(                                                         \
      ExecSpace const&, BatchNormShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
      Buffer<ExecSpace, Real const>, Real, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,               \
      Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>);                                             \
  template void batch_norm_backward_inference<ExecSpace, Real>(                                                        \
      ExecSpace const&, BatchNormShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
      Buffer<ExecSpace, Real const>, Real, Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>, bool);  \
  template void batch_norm_backward<ExecSpace, Real>(                                                                  \
      ExecSpace const&, BatchNormShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,                     \
      Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>, bool, Buffer<ExecSpace, Real>, bool,         \
      Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, Workspace<ExecSpace>, Buffer<ExecSpace, int>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_BATCH_NORM)

} // namespace nasturtium::kernels
