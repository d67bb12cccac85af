// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The losses of every ensemble that gets one more member, on a device. Host-only interface.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <memory>
#include <span>

namespace nasturtium::nn {

namespace impl {
class ScoringDevice;
}

/// An ensemble whose prediction is the mean of its members' probabilities, a member counting as often as it was added.
/// Its mean negative log-likelihood needs only the probabilities of the true classes: the columns. All backends and all
/// thread counts give the same bits.
class CandidateScores
{
public:
  /// `columns` holds models * samples probabilities, the samples of one model in a row; it is copied to the device.
  /// Throws Error for values outside [0, 1], for no samples, and where the backends are not up.
  CandidateScores(TrainerOptions const& trainer, std::int64_t samples, std::span<float const> columns);
  ~CandidateScores();
  CandidateScores(CandidateScores&&) noexcept;
  CandidateScores& operator=(CandidateScores&&) noexcept;

  /// Starts again from no member at all.
  void clear();
  /// One more copy, or several, of a model.
  void add(int model, int count = 1);
  /// losses[i] = -(1/N) sum over samples of ln max(p, 1e-12), p of the ensemble with one more copy of candidates[i].
  /// O(candidates * samples).
  void losses(std::span<std::int32_t const> candidates, std::span<double> losses);

private:
  std::unique_ptr<impl::ScoringDevice> m_device;
};

} // namespace nasturtium::nn
