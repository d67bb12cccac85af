// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The data set on the device, and the way from there to batches and from batches to metrics.
#pragma once

#include "network.hpp"

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace nasturtium::nn::impl {

/// A host array on the device. Where the device uses host memory it is the array itself, which must outlive this.
template <class ExecSpace, class T>
class Resident
{
public:
  Resident() = default;

  /// Complete at return.
  Resident(ExecSpace const& exec, std::span<T const> host, char const* label) { assign(exec, host, label); }

  /// Other values. The copy keeps its place where it keeps its size, as recorded launches need it; nothing may be using
  /// it. Complete at return.
  void assign(ExecSpace const& exec, std::span<T const> host, char const* label)
  {
    m_data = host.data();
    m_count = host.size();
    if constexpr (!Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecSpace::memory_space>::accessible) {
      if (m_copy.size() != host.size() || m_copy.data() == nullptr)
        m_copy = Memory(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string(label)), host.size());
      Kokkos::View<T const*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>> const
          source(host.data(), host.size());
      Kokkos::deep_copy(exec, m_copy, source);
      exec.fence("nasturtium::trainer: array copied to the device");
      m_data = m_copy.data();
    } else {
      (void)exec;
      (void)label;
    }
  }

  kernels::Buffer<ExecSpace, T const> buffer() const { return kernels::Buffer<ExecSpace, T const>(m_data, m_count); }

private:
  using Memory = Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  Memory m_copy;
  T const* m_data = nullptr;
  std::size_t m_count = 0;
};

/// One split on the device.
template <class ExecSpace>
struct ResidentSamples
{
  std::int64_t count = 0;
  Resident<ExecSpace, std::uint8_t> bytes;
  Resident<ExecSpace, float> values, targets;
  Resident<ExecSpace, std::int32_t> labels;

  ResidentSamples(ExecSpace const& exec, datasets::Samples const& samples)
      : count(samples.count), bytes(exec, samples.bytes, "nasturtium::dataset::bytes"),
        values(exec, samples.values, "nasturtium::dataset::values"),
        targets(exec, samples.targets, "nasturtium::dataset::targets"),
        labels(exec, samples.labels, "nasturtium::dataset::labels")
  {
  }
};

/// Sizes of the batches that a split of `count` samples is cut into: the full one and the last one.
inline std::vector<int> batch_sizes(std::int64_t count, int batch_size)
{
  std::vector<int> sizes;
  if (count >= batch_size) sizes.push_back(batch_size);
  if (count % batch_size != 0) sizes.push_back(static_cast<int>(count % batch_size));
  return sizes;
}

/// Throws Error where samples do not have the extents that the data set claims, or where the architecture does not fit.
void check_fit(datasets::Dataset const& dataset, datasets::Samples const& samples, char const* split,
               spec::Architecture const& architecture);

/// Normalisation as a multiplication and an addition per channel: (x - mean) / deviation.
template <class ExecSpace, class Real>
class Normaliser
{
public:
  /// Without measured moments the values are taken as they are.
  Normaliser(ExecSpace const& exec, int channels, std::vector<float> const& mean, std::vector<float> const& deviation)
      : m_host_scale(channels, Real(1)), m_host_shift(channels, Real(0))
  {
    for (std::size_t c = 0; c < std::min(mean.size(), m_host_scale.size()); ++c) {
      double const width = deviation.at(c);
      m_host_scale[c] = static_cast<Real>(1 / width);
      m_host_shift[c] = static_cast<Real>(-static_cast<double>(mean[c]) / width);
    }
    m_scale = {exec, m_host_scale, "nasturtium::batch::scale"};
    m_shift = {exec, m_host_shift, "nasturtium::batch::shift"};
  }
  Normaliser(Normaliser const&) = delete; // the buffers may refer to the host arrays
  Normaliser& operator=(Normaliser const&) = delete;

  kernels::Buffer<ExecSpace, Real const> scale() const { return m_scale.buffer(); }
  kernels::Buffer<ExecSpace, Real const> shift() const { return m_shift.buffer(); }

private:
  std::vector<Real> m_host_scale, m_host_shift;
  Resident<ExecSpace, Real> m_scale, m_shift;
};

/// Makes batches in a network's memory: gathers, augments and normalises samples, gathers labels or targets.
template <class ExecSpace, class Real>
class BatchMaker
{
public:
  BatchMaker(ExecSpace const& exec, datasets::Dataset const& dataset, int max_batch)
      : m_exec(exec), m_shape{dataset.height, dataset.width, dataset.channels}, m_target_width(dataset.target_width),
        m_normaliser(exec, dataset.channels, dataset.mean, dataset.deviation)
  {
    m_host_ones.assign(std::max(1, m_target_width), Real(1));
    m_host_zeros.assign(std::max(1, m_target_width), Real(0));
    m_ones = {exec, m_host_ones, "nasturtium::batch::ones"};
    m_zeros = {exec, m_host_zeros, "nasturtium::batch::zeros"};
    m_labels = Kokkos::View<std::int32_t*, Kokkos::LayoutRight, typename ExecSpace::memory_space>(
        Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::batch::labels")), max_batch);
    if (m_target_width == 0) return;
    m_targets = Kokkos::View<Real*, Kokkos::LayoutRight, typename ExecSpace::memory_space>(
        Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::batch::targets")),
        std::size_t(max_batch) * m_target_width);
  }
  BatchMaker(BatchMaker const&) = delete; // the buffers may refer to the host arrays
  BatchMaker& operator=(BatchMaker const&) = delete;

  using Indices = kernels::Buffer<ExecSpace, std::int32_t const>;

  /// Samples indices[first .. first + batch) to `images`, their labels or targets to this object's buffers. Where
  /// `current` is given (device memory), it stands for `epoch` and `first`.
  void make(ResidentSamples<ExecSpace> const& samples, AugmentOptions const& augment, std::uint64_t seed, int epoch,
            Indices indices, std::int64_t first, int batch, kernels::Buffer<ExecSpace, Real> images,
            kernels::StepState const* current = nullptr) const
  {
    auto shape = m_shape;
    shape.crop_padding = augment.crop_padding;
    shape.flip = augment.flip;
    shape.cutout = augment.cutout;
    shape.seed = seed;
    shape.epoch = static_cast<std::uint32_t>(epoch);
    shape.current = current;
    if (auto const bytes = samples.bytes.buffer(); bytes.size() > 0) {
      kernels::gather_images<ExecSpace, Real>(m_exec, shape, bytes, indices, first, batch, m_normaliser.scale(),
                                              m_normaliser.shift(), images);
    } else {
      kernels::gather_values<ExecSpace, Real>(m_exec, shape, samples.values.buffer(), indices, first, batch,
                                              m_normaliser.scale(), m_normaliser.shift(), images);
    }
    if (auto const labels = samples.labels.buffer(); labels.size() > 0) {
      kernels::gather_labels<ExecSpace>(m_exec, labels, indices, first, batch,
                                        kernels::Buffer<ExecSpace, std::int32_t>(m_labels.data(), batch), current);
    } else if (m_target_width > 0) {
      kernels::AugmentShape targets;
      targets.channels = m_target_width;
      targets.current = current;
      kernels::gather_values<ExecSpace, Real>(
          m_exec, targets, samples.targets.buffer(), indices, first, batch, m_ones.buffer(), m_zeros.buffer(),
          kernels::Buffer<ExecSpace, Real>(m_targets.data(), std::size_t(batch) * m_target_width));
    }
  }

  kernels::Buffer<ExecSpace, std::int32_t const> labels(int batch) const
  {
    return kernels::Buffer<ExecSpace, std::int32_t const>(m_labels.data(), batch);
  }
  kernels::Buffer<ExecSpace, Real const> targets(int batch) const
  {
    return kernels::Buffer<ExecSpace, Real const>(m_targets.data(), std::size_t(batch) * m_target_width);
  }

private:
  ExecSpace m_exec;
  kernels::AugmentShape m_shape;
  int m_target_width;
  Normaliser<ExecSpace, Real> m_normaliser;
  std::vector<Real> m_host_ones, m_host_zeros;
  Resident<ExecSpace, Real> m_ones, m_zeros;
  Kokkos::View<std::int32_t*, Kokkos::LayoutRight, typename ExecSpace::memory_space> m_labels;
  Kokkos::View<Real*, Kokkos::LayoutRight, typename ExecSpace::memory_space> m_targets;
};

using MetricSums = std::array<double, kernels::metric_count>;

/// Metrics of single steps, kept on the device and read many at a time.
template <class ExecSpace>
class MetricLog
{
public:
  MetricLog(ExecSpace const& exec, int capacity)
      : m_exec(exec),
        m_device(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::metrics")),
                 std::size_t(capacity) * kernels::metric_count),
        m_host(Kokkos::create_mirror_view(Kokkos::HostSpace(), m_device))
  {
    clear();
  }

  /// Zeroed sums for one more step.
  kernels::Buffer<ExecSpace, double> next()
  {
    return kernels::Buffer<ExecSpace, double>(m_device.data() + std::size_t(m_used++) * kernels::metric_count,
                                              kernels::metric_count);
  }

  /// Waits for the instance, appends what was logged and starts anew.
  void read(std::vector<MetricSums>& log)
  {
    if (m_host.data() != m_device.data()) Kokkos::deep_copy(m_exec, m_host, m_device);
    m_exec.fence("nasturtium::metrics: read");
    for (int i = 0; i < m_used; ++i) {
      MetricSums sums;
      std::copy_n(m_host.data() + std::size_t(i) * kernels::metric_count, sums.size(), sums.begin());
      log.push_back(sums);
    }
    clear();
  }

private:
  using Memory = Kokkos::View<double*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  using HostMemory = Kokkos::View<double*, Kokkos::LayoutRight, Kokkos::HostSpace>;

  ExecSpace m_exec;
  int m_used = 0;
  Memory m_device;
  HostMemory m_host;

  void clear()
  {
    m_used = 0;
    kernels::fill<ExecSpace, double>(m_exec, 0.0, kernels::Buffer<ExecSpace, double>(m_device.data(), m_device.size()));
  }
};

/// Mean loss, accuracy and top-k accuracy of sums; the accuracies are NaN for regression.
struct Metrics
{
  double loss = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();
  double top_k = std::numeric_limits<double>::quiet_NaN();
};
Metrics to_metrics(MetricSums const& sums, bool classification);

/// 0, 1, ..., count - 1.
std::vector<std::int32_t> identity_order(std::int64_t count);

/// Order of the training samples in an epoch: Fisher and Yates with numbers of (seed, shuffle, epoch).
std::vector<std::int32_t> shuffled_order(std::int64_t count, std::uint64_t seed, int epoch);

/// Inference over the samples [first, first + batch) of a split; adds to `metrics` with plain cross-entropy.
template <class ExecSpace, class Real>
void infer_batch(Network<ExecSpace, Real> const& network, BatchMaker<ExecSpace, Real> const& maker,
                 ResidentSamples<ExecSpace> const& samples, kernels::Buffer<ExecSpace, std::int32_t const> identity,
                 std::int64_t first, int batch, int top_k, kernels::Buffer<ExecSpace, double> metrics)
{
  maker.make(samples, {}, 0, 0, identity, first, batch, network.images(batch, false));
  network.forward(batch, false);
  network.loss(batch, false, maker.labels(batch), maker.targets(batch), 0, top_k, metrics);
}

/// Inference over a split in its order; adds to `metrics` with plain cross-entropy. `each_batch` is called after every
/// batch with (first sample, batch).
template <class ExecSpace, class Real, class EachBatch>
void infer_split(Network<ExecSpace, Real> const& network, BatchMaker<ExecSpace, Real> const& maker,
                 ResidentSamples<ExecSpace> const& samples, kernels::Buffer<ExecSpace, std::int32_t const> identity,
                 int batch_size, int top_k, kernels::Buffer<ExecSpace, double> metrics, EachBatch const& each_batch)
{
  for (std::int64_t first = 0; first < samples.count; first += batch_size) {
    int const batch = static_cast<int>(std::min<std::int64_t>(batch_size, samples.count - first));
    infer_batch(network, maker, samples, identity, first, batch, top_k, metrics);
    each_batch(first, batch);
  }
}

} // namespace nasturtium::nn::impl
