// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/predictor.hpp>

#include "network.hpp"
#include "population.hpp"
#include "trainer_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/loss.hpp>

#include <algorithm>
#include <numeric>

namespace nasturtium::nn {

class RowBuffer::Implementation
{
public:
  virtual ~Implementation() = default;
  virtual float* data() const = 0;
  virtual void read(std::size_t count, float* to) const = 0;
};

class InferenceSession::Implementation
{
public:
  virtual ~Implementation() = default;
  virtual std::int64_t bytes() const = 0;
  virtual void run(Images const& images, int count, float* to, bool to_host) = 0;
  virtual void add_softmax(float const* logits, int rows, float weight, bool add, float* sum) const = 0;
};

namespace {

using HostFloats =
    Kokkos::View<float*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

template <class ExecSpace>
class RowBufferOn final : public RowBuffer::Implementation
{
public:
  explicit RowBufferOn(std::size_t count)
      : m_values(Kokkos::view_alloc(Kokkos::WithoutInitializing, std::string("nasturtium::rows")), count)
  {
  }

  float* data() const override { return m_values.data(); }

  void read(std::size_t count, float* to) const override
  {
    if constexpr (impl::has_cores<ExecSpace>()) {
      std::copy_n(m_values.data(), count, to);
    } else {
      ExecSpace const exec;
      Kokkos::deep_copy(exec, HostFloats(to, count), Kokkos::subview(m_values, std::pair(std::size_t{0}, count)));
      exec.fence("nasturtium::rows: read");
    }
  }

private:
  Kokkos::View<float*, Kokkos::LayoutRight, typename ExecSpace::memory_space> m_values;
};

template <class ExecSpace>
class SessionOn final : public InferenceSession::Implementation
{
public:
  SessionOn(ExecSpace const& exec, InferenceOptions const& options, spec::Architecture const& architecture,
            Weights const& weights, InputMoments const& moments, int outputs)
      : m_exec(exec), m_outputs(outputs),
        m_shape{architecture.input.height, architecture.input.width, architecture.input.channels},
        m_sample_size(architecture.input.size()), m_host_identity(impl::identity_order(options.batch)),
        m_identity(exec, m_host_identity, "nasturtium::predictor::identity"),
        m_normaliser(exec, architecture.input.channels, moments.mean, moments.deviation),
        m_network(exec, architecture, sizes_up_to(options.batch), false, 0, options.memory_limit_bytes)
  {
    if constexpr (!impl::has_cores<ExecSpace>()) {
      auto const count = static_cast<std::size_t>(options.batch * m_sample_size);
      m_bytes = decltype(m_bytes)(
          Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::predictor::bytes")), count);
      m_values = decltype(m_values)(
          Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::predictor::values")), count);
    }
    m_network.load(weights);
    m_exec.fence("nasturtium::predictor: ready");
  }

  std::int64_t bytes() const override { return m_network.bytes(); }

  void run(Images const& images, int count, float* to, bool to_host) override
  {
    // Kokkos takes labels as strings: made once, since a call must not touch the heap.
    static std::string const label = "nasturtium::predictor: outputs ready";
    auto const input = m_network.images(count, false);
    if (!images.bytes.empty()) {
      kernels::gather_images<ExecSpace, float>(m_exec, m_shape, on_device(images.bytes, m_bytes), m_identity.buffer(),
                                               0, count, m_normaliser.scale(), m_normaliser.shift(), input);
    } else {
      kernels::gather_values<ExecSpace, float>(m_exec, m_shape, on_device(images.values, m_values), m_identity.buffer(),
                                               0, count, m_normaliser.scale(), m_normaliser.shift(), input);
    }
    m_network.forward(count, false);
    auto const logits = m_network.logits(count, false);
    auto const size = static_cast<std::size_t>(count) * m_outputs;
    if constexpr (impl::has_cores<ExecSpace>()) {
      m_exec.fence(label);
      std::copy_n(logits.data(), size, to);
    } else {
      if (to_host)
        Kokkos::deep_copy(m_exec, HostFloats(to, size), logits);
      else
        Kokkos::deep_copy(m_exec, kernels::Buffer<ExecSpace, float>(to, size), logits);
      m_exec.fence(label);
    }
  }

  void add_softmax(float const* logits, int rows, float weight, bool add, float* sum) const override
  {
    static std::string const label = "nasturtium::predictor: sum ready";
    auto const size = static_cast<std::size_t>(rows) * m_outputs;
    kernels::weighted_softmax<ExecSpace, float>(m_exec, rows, m_outputs,
                                                kernels::Buffer<ExecSpace, float const>(logits, size), weight, add,
                                                kernels::Buffer<ExecSpace, float>(sum, size));
    m_exec.fence(label);
  }

private:
  template <class T>
  using Staging = Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;

  ExecSpace m_exec;
  int m_outputs;
  kernels::AugmentShape m_shape;
  std::int64_t m_sample_size;
  std::vector<std::int32_t> m_host_identity;
  impl::Resident<ExecSpace, std::int32_t> m_identity;
  impl::Normaliser<ExecSpace, float> m_normaliser;
  impl::Network<ExecSpace, float> m_network;
  Staging<std::uint8_t> m_bytes; ///< where samples on a device wait; none on hosts
  Staging<float> m_values;

  /// The last batch of a split may have any size.
  static std::vector<int> sizes_up_to(int batch)
  {
    std::vector<int> sizes(batch);
    std::iota(sizes.begin(), sizes.end(), 1);
    return sizes;
  }

  /// The samples where kernels can read them.
  template <class T>
  kernels::Buffer<ExecSpace, T const> on_device(std::span<T const> host, Staging<T> const& staging) const
  {
    if constexpr (impl::has_cores<ExecSpace>()) {
      return kernels::Buffer<ExecSpace, T const>(host.data(), host.size());
    } else {
      kernels::Buffer<ExecSpace, T> const part(staging.data(), host.size());
      Kokkos::View<T const*, Kokkos::LayoutRight, Kokkos::HostSpace, Kokkos::MemoryTraits<Kokkos::Unmanaged>> const
          source(host.data(), host.size());
      Kokkos::deep_copy(m_exec, part, source);
      return part;
    }
  }
};

} // namespace

RowBuffer::RowBuffer(BackendKind backend, int rows, int width) : m_backend(backend), m_rows(rows), m_width(width)
{
  require(rows > 0 && width > 0, "row buffer: ", rows, " rows of ", width, " values");
  impl::with_backend(backend, [&]<class ExecSpace>() {
    try {
      m_implementation = std::make_unique<RowBufferOn<ExecSpace>>(static_cast<std::size_t>(rows) * width);
    } catch (std::exception const&) { // Kokkos throws a type of its own that depends on its version
      fail("row buffer: the device does not have memory for ", rows, " rows of ", width, " values");
    }
  });
}

RowBuffer::~RowBuffer() = default;
RowBuffer::RowBuffer(RowBuffer&&) noexcept = default;
RowBuffer& RowBuffer::operator=(RowBuffer&&) noexcept = default;

void RowBuffer::read(int rows, std::span<float> to) const
{
  auto const count = static_cast<std::size_t>(rows) * m_width;
  require(rows >= 0 && rows <= m_rows && to.size() >= count, "row buffer: ", rows, " of ", m_rows, " rows of ", m_width,
          " values do not fit ", to.size());
  m_implementation->read(count, to.data());
}

InferenceSession::InferenceSession(InferenceOptions const& options, spec::Architecture const& architecture,
                                   Weights const& weights, InputMoments const& moments)
    : m_options(options), m_outputs(architecture.classes > 0 ? architecture.classes : architecture.regression),
      m_sample_size(architecture.input.size())
{
  require(options.batch > 0, "inference: batch must be positive, got ", options.batch);
  require(moments.mean.size() == moments.deviation.size() &&
              (moments.mean.empty() || moments.mean.size() == std::size_t(architecture.input.channels)),
          "inference: ", moments.mean.size(), " means and ", moments.deviation.size(), " deviations for ",
          architecture.input.channels, " channels");
  for (float const deviation : moments.deviation)
    require(deviation > 0, "inference: deviation ", deviation, " is not positive");
  spec::infer(architecture);
  check_weights(weights, architecture, true, "weights");
  impl::with_backend(options.backend, [&]<class ExecSpace>() {
    auto const exec = options.threads == 1 ? impl::make_single_threaded_instance<ExecSpace>()
                                           : impl::make_instance<ExecSpace>(options.threads);
    try {
      m_implementation =
          std::make_unique<SessionOn<ExecSpace>>(exec, options, architecture, weights, moments, m_outputs);
    } catch (impl::OutOfMemory const& error) {
      fail("inference: ", error.what());
    }
  });
}

InferenceSession::~InferenceSession() = default;
InferenceSession::InferenceSession(InferenceSession&&) noexcept = default;
InferenceSession& InferenceSession::operator=(InferenceSession&&) noexcept = default;

std::int64_t InferenceSession::bytes() const
{
  return m_implementation->bytes();
}

int InferenceSession::count(Images const& images) const
{
  auto const values = static_cast<std::int64_t>(images.size());
  require(values % m_sample_size == 0 && values <= m_sample_size * m_options.batch, "inference: ", values,
          " values are not up to ", m_options.batch, " samples of ", m_sample_size);
  return static_cast<int>(values / m_sample_size);
}

void InferenceSession::run(Images const& images, std::span<float> outputs)
{
  int const samples = count(images);
  require(outputs.size() >= static_cast<std::size_t>(samples) * m_outputs, "inference: ", samples, " x ", m_outputs,
          " outputs do not fit ", outputs.size());
  if (samples > 0) m_implementation->run(images, samples, outputs.data(), true);
}

void InferenceSession::run(Images const& images, RowBuffer& outputs, int first_row)
{
  int const samples = count(images);
  require(outputs.backend() == m_options.backend && outputs.width() == m_outputs && first_row >= 0 &&
              first_row + samples <= outputs.rows(),
          "inference: rows ", first_row, " to ", first_row + samples, " x ", m_outputs, " on ", name(m_options.backend),
          " do not fit a buffer of ", outputs.rows(), " x ", outputs.width(), " on ", name(outputs.backend()));
  if (samples == 0) return;
  float* const to = outputs.implementation().data() + static_cast<std::size_t>(first_row) * m_outputs;
  m_implementation->run(images, samples, to, false);
}

void InferenceSession::add_softmax(RowBuffer const& logits, int rows, double weight, bool add, RowBuffer& sum) const
{
  for (RowBuffer const* buffer : {&logits, static_cast<RowBuffer const*>(&sum)}) {
    require(buffer->backend() == m_options.backend && buffer->width() == m_outputs && rows >= 0 &&
                rows <= buffer->rows(),
            "inference: ", rows, " x ", m_outputs, " on ", name(m_options.backend), " do not fit a buffer of ",
            buffer->rows(), " x ", buffer->width(), " on ", name(buffer->backend()));
  }
  m_implementation->add_softmax(logits.implementation().data(), rows, static_cast<float>(weight), add,
                                sum.implementation().data());
}

Weights initial_weights(spec::Architecture const& architecture, std::uint64_t seed, std::string const& initialiser)
{
  spec::infer(architecture);
  Weights weights;
  impl::with_backend(available_backends().front(), [&]<class ExecSpace>() {
    std::vector<int> const one{1};
    impl::Network<ExecSpace, float> network(ExecSpace(), architecture, one, false, 0, 0);
    network.initialise(initialiser, seed);
    weights = network.weights();
  });
  return weights;
}

} // namespace nasturtium::nn
