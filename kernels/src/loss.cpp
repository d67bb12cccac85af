// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Losses. Items are blocks of samples on hosts and single samples on devices; each writes its sums to the workspace,
// and one more kernel adds them to the metrics in order.
#include <nasturtium/kernels/loss.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"
#include "vector_math.hpp"

namespace nasturtium::kernels {
namespace impl {

/// Sums per item: loss, top-1 hits, top-k hits.
inline constexpr int loss_sums = 3;
/// Samples of an item on hosts.
inline constexpr int host_loss_rows = 32;
/// Values that a host exponentiates in one loop, across samples.
inline constexpr int exp_capacity = 512;

template <class ExecSpace>
inline constexpr int loss_rows = is_host_space<ExecSpace> ? host_loss_rows : 1;

template <class ExecSpace>
constexpr Index loss_items(Index batch)
{
  return (batch + loss_rows<ExecSpace> - 1) / loss_rows<ExecSpace>;
}

template <class Real>
KOKKOS_FUNCTION Real largest(Real const* values, int count)
{
  Real best = values[0];
  for (int i = 1; i < count; ++i)
    best = values[i] > best ? values[i] : best;
  return best;
}

/// exps = e^(logits - largest) for `rows` rows, one long loop over all of them.
template <class Real>
KOKKOS_FUNCTION void exponentials(Real const* logits, int rows, int classes, Real* exps)
{
  for (int row = 0; row < rows; ++row) {
    Real const peak = largest(logits + row * classes, classes);
    for (int k = 0; k < classes; ++k)
      exps[row * classes + k] = logits[row * classes + k] - peak;
  }
  for (int i = 0; i < rows * classes; ++i)
    exps[i] = vector_exp(exps[i]);
}

template <class Real>
KOKKOS_FUNCTION Real sum_of(Real const* values, int count)
{
  Real sum = 0;
  for (int i = 0; i < count; ++i)
    sum += values[i];
  return sum;
}

template <class Real, int item_rows>
struct SoftmaxCrossEntropy
{
  Index batch;
  int classes;
  Real const* logits;
  std::int32_t const* labels;
  Real smoothing;
  int top_k;
  Real* logits_grad; // may be null
  double* partial;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      Index const first = item * item_rows;
      Index const last = first + item_rows < batch ? first + item_rows : batch;
      double sums[loss_sums] = {};
      Index row = first;
      if constexpr (item_rows > 1) {
        Real exps[exp_capacity];
        Index const step = exp_capacity / classes; // none where a single sample is too long
        for (; step > 0 && row < last; row += step) {
          int const rows = static_cast<int>(last - row < step ? last - row : step);
          exponentials(logits + row * classes, rows, classes, exps);
          for (int i = 0; i < rows; ++i)
            sample(row + i, exps + i * classes, sums);
        }
      }
      for (; row < last; ++row)
        sample(row, nullptr, sums);
      for (int i = 0; i < loss_sums; ++i)
        partial[item * loss_sums + i] = sums[i];
    }
  }

  /// One sample; `exps` holds its e^(logit - largest), or is null where they are computed as they are needed.
  KOKKOS_FUNCTION void sample(Index row, Real const* exps, double* sums) const
  {
    Real const* const x = logits + row * classes;
    Real const peak = largest(x, classes);
    Real total = 0, shifted = 0;
    if (exps != nullptr)
      total = sum_of(exps, classes);
    else
      for (int k = 0; k < classes; ++k)
        total += vector_exp(x[k] - peak);
    if (smoothing > Real(0))
      for (int k = 0; k < classes; ++k)
        shifted += x[k] - peak;

    int const label = labels[row];
    Real const uniform = smoothing / static_cast<Real>(classes);
    Real const own = Real(1) - smoothing;
    sums[0] += static_cast<double>(Kokkos::log(total) - own * (x[label] - peak) - uniform * shifted);
    // Classes before the label; a NaN counts as before it, so that a diverged network scores nothing.
    int before = 0;
    for (int k = 0; k < label; ++k)
      before += !(x[k] < x[label]);
    for (int k = label + 1; k < classes; ++k)
      before += !(x[k] <= x[label]);
    sums[1] += before < 1;
    sums[2] += before < top_k;

    if (logits_grad == nullptr) return;
    Real* const to = logits_grad + row * classes;
    Real const mean = Real(1) / static_cast<Real>(batch);
    Real const scale = mean / total;
    Real const target = own * mean;
    if (exps != nullptr)
      for (int k = 0; k < classes; ++k)
        to[k] = exps[k] * scale - uniform * mean;
    else
      for (int k = 0; k < classes; ++k)
        to[k] = vector_exp(x[k] - peak) * scale - uniform * mean;
    to[label] -= target;
  }
};

template <class Real, int item_rows>
struct MeanSquaredError
{
  Index batch;
  int width;
  Real const* values;
  Real const* targets;
  Real* values_grad; // may be null
  double* partial;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    Real const scale = static_cast<Real>(2.0 / (static_cast<double>(batch) * width));
    for (Index item = begin; item < end; ++item) {
      Index const first = item * item_rows * width;
      Index const last = (item + 1) * item_rows < batch ? (item + 1) * item_rows * width : batch * width;
      double sum = 0;
      for (Index i = first; i < last; ++i) {
        Real const difference = values[i] - targets[i];
        sum += static_cast<double>(difference) * static_cast<double>(difference);
        if (values_grad != nullptr) values_grad[i] = scale * difference;
      }
      partial[item * loss_sums] = sum / width;
      partial[item * loss_sums + 1] = partial[item * loss_sums + 2] = 0;
    }
  }
};

/// metrics += the items' sums and the number of samples.
struct MergeMetrics
{
  Index items;
  Index batch;
  double const* partial;
  double* metrics;
  KOKKOS_FUNCTION void operator()(Index, Index) const
  {
    double sums[loss_sums] = {};
    for (Index item = 0; item < items; ++item)
      for (int i = 0; i < loss_sums; ++i)
        sums[i] += partial[item * loss_sums + i];
    for (int i = 0; i < loss_sums; ++i)
      metrics[i] += sums[i];
    metrics[loss_sums] += static_cast<double>(batch);
  }
};

/// The same on a device: one team, its threads' sums added pairwise in a fixed order.
inline constexpr int merge_threads = 128;
struct DeviceMergeMetrics
{
  Index items;
  Index batch;
  double const* partial;
  double* metrics;
  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    auto* const scratch = static_cast<double*>(team.team_shmem().get_shmem(merge_threads * loss_sums * sizeof(double)));
    int const rank = team.team_rank();
    double sums[loss_sums] = {};
    for (Index item = rank; item < items; item += merge_threads)
      for (int i = 0; i < loss_sums; ++i)
        sums[i] += partial[item * loss_sums + i];
    for (int i = 0; i < loss_sums; ++i)
      scratch[i * merge_threads + rank] = sums[i];
    for (int half = merge_threads / 2; half > 0; half /= 2) {
      team.team_barrier();
      if (rank < half)
        for (int i = 0; i < loss_sums; ++i)
          scratch[i * merge_threads + rank] += scratch[i * merge_threads + rank + half];
    }
    if (rank != 0) return;
    for (int i = 0; i < loss_sums; ++i)
      metrics[i] += scratch[i * merge_threads];
    metrics[loss_sums] += static_cast<double>(batch);
  }
};

template <class ExecSpace>
void merge_metrics(ExecSpace const& exec, std::string const& label, Index batch, double const* partial, double* metrics)
{
  Index const items = loss_items<ExecSpace>(batch);
  if constexpr (is_host_space<ExecSpace>) {
    for_items(exec, label, 1, 1, MergeMetrics{items, batch, partial, metrics});
  } else {
    for_teams(exec, label, 1, merge_threads, merge_threads * loss_sums * sizeof(double),
              DeviceMergeMetrics{items, batch, partial, metrics});
  }
}

template <class Real>
struct Softmax
{
  int classes;
  Real const* logits;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index row = begin; row < end; ++row) {
      Real const* const x = logits + row * classes;
      Real* const y = dst + row * classes;
      Real const peak = largest(x, classes);
      NASTURTIUM_INDEPENDENT
      for (int k = 0; k < classes; ++k)
        y[k] = vector_exp(x[k] - peak);
      Real const scale = Real(1) / sum_of(y, classes);
      for (int k = 0; k < classes; ++k)
        y[k] *= scale;
    }
  }
};

/// `buffered`: the exponentials of a row that is not too long are kept between sum and result.
template <class Real, bool buffered>
struct WeightedSoftmax
{
  int classes;
  Real const* logits;
  Real weight;
  bool add;
  Real* dst;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index row = begin; row < end; ++row) {
      Real const* const x = logits + row * classes;
      if constexpr (buffered) {
        if (classes <= exp_capacity) {
          Real exps[exp_capacity];
          exponentials(x, 1, classes, exps);
          Real const scale = weight / sum_of(exps, classes);
          store(row, [&](int k) { return scale * exps[k]; });
          continue;
        }
      }
      Real const peak = largest(x, classes);
      Real total = 0;
      for (int k = 0; k < classes; ++k)
        total += vector_exp(x[k] - peak);
      Real const scale = weight / total;
      store(row, [&](int k) { return scale * vector_exp(x[k] - peak); });
    }
  }

  template <class Value>
  KOKKOS_FUNCTION void store(Index row, Value const& value) const
  {
    Real* const y = dst + row * classes;
    if (add) {
      for (int k = 0; k < classes; ++k)
        y[k] += value(k);
    } else {
      for (int k = 0; k < classes; ++k)
        y[k] = value(k);
    }
  }
};

} // namespace impl

template <class ExecSpace, class Real>
std::size_t loss_workspace(int batch)
{
  return static_cast<std::size_t>(impl::loss_items<ExecSpace>(batch) * impl::loss_sums) * sizeof(double);
}

template <class ExecSpace, class Real>
void softmax_cross_entropy(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits,
                           Buffer<ExecSpace, std::int32_t const> labels, Real smoothing, int top_k,
                           Buffer<ExecSpace, Real> logits_grad, Buffer<ExecSpace, double> metrics,
                           Workspace<ExecSpace> workspace)
{
  static std::string const label = "nasturtium::softmax_cross_entropy";
  static std::string const merge_label = "nasturtium::softmax_cross_entropy_merge";
  constexpr char const* op = "softmax_cross_entropy";
  if (batch < 0 || classes < 1 || top_k < 1 || top_k > classes)
    fail("kernels::", op, ": ", batch, " samples, ", classes, " classes, top ", top_k);
  if (batch == 0) return;
  Index const size = Index{batch} * classes;
  impl::require_extent(op, "logits", logits, size);
  impl::require_extent(op, "labels", labels, batch);
  if (logits_grad.extent(0) != 0) impl::require_extent(op, "logits_grad", logits_grad, size);
  impl::require_extent(op, "metrics", metrics, metric_count);
  impl::require_extent(op, "workspace", workspace, static_cast<Index>(loss_workspace<ExecSpace, Real>(batch)));
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  constexpr int rows = impl::loss_rows<ExecSpace>;
  impl::for_items(exec, label, impl::loss_items<ExecSpace>(batch), impl::rows_per_block(Index{8} * rows * classes),
                  impl::SoftmaxCrossEntropy<Real, rows>{batch, classes, logits.data(), labels.data(), smoothing, top_k,
                                                        logits_grad.extent(0) != 0 ? logits_grad.data() : nullptr,
                                                        partial});
  impl::merge_metrics(exec, merge_label, batch, partial, metrics.data());
}

template <class ExecSpace, class Real>
void mean_squared_error(ExecSpace const& exec, int batch, int width, Buffer<ExecSpace, Real const> values,
                        Buffer<ExecSpace, Real const> targets, Buffer<ExecSpace, Real> values_grad,
                        Buffer<ExecSpace, double> metrics, Workspace<ExecSpace> workspace)
{
  static std::string const label = "nasturtium::mean_squared_error";
  static std::string const merge_label = "nasturtium::mean_squared_error_merge";
  constexpr char const* op = "mean_squared_error";
  if (batch < 0 || width < 1) fail("kernels::", op, ": ", batch, " samples of width ", width);
  if (batch == 0) return;
  Index const size = Index{batch} * width;
  impl::require_extent(op, "values", values, size);
  impl::require_extent(op, "targets", targets, size);
  if (values_grad.extent(0) != 0) impl::require_extent(op, "values_grad", values_grad, size);
  impl::require_extent(op, "metrics", metrics, metric_count);
  impl::require_extent(op, "workspace", workspace, static_cast<Index>(loss_workspace<ExecSpace, Real>(batch)));
  auto* const partial = reinterpret_cast<double*>(workspace.data());
  constexpr int rows = impl::loss_rows<ExecSpace>;
  impl::for_items(exec, label, impl::loss_items<ExecSpace>(batch), impl::rows_per_block(Index{rows} * width),
                  impl::MeanSquaredError<Real, rows>{batch, width, values.data(), targets.data(),
                                                     values_grad.extent(0) != 0 ? values_grad.data() : nullptr,
                                                     partial});
  impl::merge_metrics(exec, merge_label, batch, partial, metrics.data());
}

template <class ExecSpace, class Real>
void softmax(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits,
             Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::softmax";
  if (batch < 0 || classes < 1) fail("kernels::softmax: ", batch, " samples, ", classes, " classes");
  impl::require_extent("softmax", "logits", logits, Index{batch} * classes);
  impl::require_extent("softmax", "dst", dst, Index{batch} * classes);
  impl::for_items(exec, label, batch, impl::rows_per_block(Index{8} * classes),
                  impl::Softmax<Real>{classes, logits.data(), dst.data()});
}

template <class ExecSpace, class Real>
void weighted_softmax(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits, Real weight,
                      bool add, Buffer<ExecSpace, Real> dst)
{
  static std::string const label = "nasturtium::weighted_softmax";
  if (batch < 0 || classes < 1) fail("kernels::weighted_softmax: ", batch, " samples, ", classes, " classes");
  impl::require_extent("weighted_softmax", "logits", logits, Index{batch} * classes);
  impl::require_extent("weighted_softmax", "dst", dst, Index{batch} * classes);
  impl::for_items(
      exec, label, batch, impl::rows_per_block(Index{8} * classes),
      impl::WeightedSoftmax<Real, impl::is_host_space<ExecSpace>>{classes, logits.data(), weight, add, dst.data()});
}

#define NASTURTIUM_LOSS(ExecSpace, Real)                                                                               \
  template std::size_t loss_workspace<ExecSpace, Real>(int);                                                           \
  template void softmax_cross_entropy<ExecSpace, Real>(                                                                \
      ExecSpace const&, int, int, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, std::int32_t const>, Real, int,     \
      Buffer<ExecSpace, Real>, Buffer<ExecSpace, double>, Workspace<ExecSpace>);                                       \
  template void mean_squared_error<ExecSpace, Real>(ExecSpace const&, int, int, Buffer<ExecSpace, Real const>,         \
                                                    Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>,            \
                                                    Buffer<ExecSpace, double>, Workspace<ExecSpace>);                  \
  template void softmax<ExecSpace, Real>(ExecSpace const&, int, int, Buffer<ExecSpace, Real const>,                    \
                                         Buffer<ExecSpace, Real>);                                                     \
  template void weighted_softmax<ExecSpace, Real>(ExecSpace const&, int, int, Buffer<ExecSpace, Real const>, Real,     \
                                                  bool, Buffer<ExecSpace, Real>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_LOSS)

} // namespace nasturtium::kernels
