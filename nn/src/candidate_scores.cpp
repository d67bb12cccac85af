// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "population.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/ensemble_selection.hpp>
#include <nasturtium/nn/candidate_scores.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace nasturtium::nn {

namespace impl {

class ScoringDevice
{
public:
  explicit ScoringDevice(int models) : m_models(models) {}
  virtual ~ScoringDevice() = default;
  ScoringDevice(ScoringDevice const&) = delete;
  ScoringDevice& operator=(ScoringDevice const&) = delete;

  virtual void clear() = 0;
  virtual void add(int model, int count) = 0;
  virtual void losses(std::span<std::int32_t const> candidates, std::span<double> losses) = 0;
  int models() const { return m_models; }

private:
  int m_models;
};

} // namespace impl

namespace {

constexpr double least_probability = 1e-12;

template <class ExecSpace>
class Scores final : public impl::ScoringDevice
{
public:
  Scores(ExecSpace const& exec, std::int64_t samples, std::span<float const> columns)
      : ScoringDevice(static_cast<int>(static_cast<std::int64_t>(columns.size()) / samples)), m_exec(exec),
        m_samples(samples), m_stride(kernels::selection_stride(samples))
  {
    auto const count = static_cast<std::size_t>(models());
    auto const stride = static_cast<std::size_t>(m_stride);
    m_columns = make<float>("columns", count * stride);
    m_sums = make<double>("sums", stride);
    m_candidates = make<std::int32_t>("candidates", count);
    m_mantissas = make<double>("mantissas", count);
    m_exponents = make<std::int64_t>("exponents", count);
    m_host_mantissas = HostArray<double>("nasturtium::candidate_scores::host_mantissas", count);
    m_host_exponents = HostArray<std::int64_t>("nasturtium::candidate_scores::host_exponents", count);
    m_no_sums = HostArray<double>("nasturtium::candidate_scores::no_sums", stride);
    std::fill(m_no_sums.data() + samples, m_no_sums.data() + stride, 1.0);
    auto const padded = Kokkos::create_mirror_view(Kokkos::HostSpace(), m_columns);
    std::fill(padded.data(), padded.data() + padded.size(), 0.0f);
    for (std::int64_t model = 0; model < models(); ++model)
      std::copy_n(columns.data() + model * samples, samples, padded.data() + model * m_stride);
    Kokkos::deep_copy(m_exec, m_columns, padded);
    m_exec.fence("nasturtium::candidate_scores: columns on the device");
    Scores::clear();
  }

  void clear() override
  {
    m_picks = 0;
    Kokkos::deep_copy(m_exec, m_sums, m_no_sums);
  }

  void add(int model, int count) override
  {
    m_picks += count;
    kernels::add_column<ExecSpace, float>(m_exec, m_samples, m_columns, model, count, m_sums);
  }

  void losses(std::span<std::int32_t const> candidates, std::span<double> losses) override
  {
    std::size_t const count = candidates.size();
    kernels::Buffer<ExecSpace, std::int32_t> const chosen(m_candidates.data(), count);
    Kokkos::deep_copy(m_exec, chosen,
                      Kokkos::View<std::int32_t const*, Kokkos::LayoutRight, Kokkos::HostSpace,
                                   Kokkos::MemoryTraits<Kokkos::Unmanaged>>(candidates.data(), count));
    double const total = m_picks + 1.0;
    kernels::candidate_likelihoods<ExecSpace, float>(m_exec, m_samples, m_columns, m_sums, chosen,
                                                     least_probability * total, m_mantissas, m_exponents);
    Kokkos::deep_copy(m_exec, m_host_mantissas, m_mantissas);
    Kokkos::deep_copy(m_exec, m_host_exponents, m_exponents);
    m_exec.fence("nasturtium::candidate_scores: losses read");
    // The one logarithm of a candidate is the host's, whatever the device.
    for (std::size_t i = 0; i < count; ++i) {
      double const sum = std::log(m_host_mantissas(i)) + static_cast<double>(m_host_exponents(i)) * std::numbers::ln2;
      losses[i] = std::log(total) - sum / static_cast<double>(m_samples);
    }
  }

private:
  template <class T>
  using Array = Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  template <class T>
  using HostArray = Kokkos::View<T*, Kokkos::LayoutRight, Kokkos::HostSpace>;

  template <class T>
  Array<T> make(char const* what, std::size_t count) const
  {
    std::string const label = concat("nasturtium::candidate_scores::", what);
    return Array<T>(Kokkos::view_alloc(m_exec, Kokkos::WithoutInitializing, label), count);
  }

  ExecSpace m_exec;
  std::int64_t m_samples, m_stride;
  int m_picks = 0;
  Array<float> m_columns;
  Array<double> m_sums, m_mantissas;
  Array<std::int32_t> m_candidates;
  Array<std::int64_t> m_exponents;
  HostArray<double> m_no_sums, m_host_mantissas;
  HostArray<std::int64_t> m_host_exponents;
};

} // namespace

CandidateScores::CandidateScores(TrainerOptions const& trainer, std::int64_t samples, std::span<float const> columns)
{
  require(samples > 0, "candidate scores: there must be samples, got ", samples);
  require(static_cast<std::int64_t>(columns.size()) % samples == 0, "candidate scores: ", columns.size(),
          " values are no whole columns of ", samples, " samples");
  for (float const value : columns)
    require(value >= 0 && value <= 1, "candidate scores: probabilities must be in [0, 1], got ", value);
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    m_device = std::make_unique<Scores<ExecSpace>>(impl::make_instance<ExecSpace>(trainer.threads), samples, columns);
  });
}

CandidateScores::~CandidateScores() = default;
CandidateScores::CandidateScores(CandidateScores&&) noexcept = default;
CandidateScores& CandidateScores::operator=(CandidateScores&&) noexcept = default;

void CandidateScores::clear()
{
  m_device->clear();
}

void CandidateScores::add(int model, int count)
{
  require(model >= 0 && model < m_device->models() && count >= 0, "candidate scores: ", count, " copies of model ",
          model, " of ", m_device->models());
  m_device->add(model, count);
}

void CandidateScores::losses(std::span<std::int32_t const> candidates, std::span<double> losses)
{
  require(candidates.size() <= losses.size() && candidates.size() <= static_cast<std::size_t>(m_device->models()),
          "candidate scores: ", candidates.size(), " candidates of ", m_device->models(), " models, room for ",
          losses.size(), " losses");
  for (std::int32_t const model : candidates)
    require(model >= 0 && model < m_device->models(), "candidate scores: model ", model, " of ", m_device->models());
  m_device->losses(candidates, losses);
}

} // namespace nasturtium::nn
