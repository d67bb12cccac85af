// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The statistics of a batch, as a batch normalisation needs them: what the kernel that writes the values gives as a
// by-product (conv2d_forward, dense_forward), or batch_norm_statistics alone.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// Where the statistics of a (rows, channels) tensor go. Sums are taken per chunk of moment_chunk_rows rows and merged
/// in a fixed order in double (Chan, Golub and LeVeque, 1979). The merging is no launch of its own where the
/// implementation can help it: the last team of the launch to end does it, whichever that is.
template <class ExecSpace, class Real>
struct BatchStatistics
{
  /// Per chunk the mean and the sum of squared deviations, [moment_chunks(rows)][2][channels]. Empty where nothing is
  /// wanted.
  Buffer<ExecSpace, Real> moments;
  /// (channels): the batch's mean, and 1 / sqrt(its biased variance + epsilon). Empty where the moments are all that is
  /// wanted; what follows is not read then.
  Buffer<ExecSpace, Real> mean, inverse_deviation;
  /// (channels): become momentum * running + (1 - momentum) * batch, with the unbiased variance (as PyTorch does; its
  /// momentum is one minus ours).
  Buffer<ExecSpace, Real> running_mean, running_variance;
  Real epsilon = 0, momentum = 0;
  /// (channels) zeros, which count the teams that are done; zeros again afterwards, so that launches that follow one
  /// another on an instance share them.
  Buffer<ExecSpace, int> arrivals;
};

} // namespace nasturtium::kernels
