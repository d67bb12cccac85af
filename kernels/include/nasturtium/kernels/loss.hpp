// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Losses with their gradients in one kernel, and the metrics that are counted on the way.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// Sums over the samples seen so far, kept on the device and read once an epoch.
/// sums[0] loss, sums[1] samples whose top class is the label, sums[2] samples whose label is among the top k,
/// sums[3] samples. Double, so that an epoch's sum is exact enough in float32 runs as well.
inline constexpr int metric_count = 4;

/// Bytes of workspace that a loss needs.
template <class ExecSpace, class Real>
std::size_t loss_workspace(int batch);

/// Softmax and cross-entropy with label smoothing (target = (1 - smoothing) * one-hot + smoothing / classes), mean over
/// the batch. Writes logits_grad unless it is empty; adds to `metrics` (metric_count); top_k <= classes.
template <class ExecSpace, class Real>
void softmax_cross_entropy(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits,
                           Buffer<ExecSpace, std::int32_t const> labels, Real smoothing, int top_k,
                           Buffer<ExecSpace, Real> logits_grad, Buffer<ExecSpace, double> metrics,
                           Workspace<ExecSpace> workspace);

/// Mean squared error, mean over batch and width (as PyTorch's MSELoss). Writes values_grad unless it is empty; adds
/// the loss (as mean per sample) and the count to `metrics`.
template <class ExecSpace, class Real>
void mean_squared_error(ExecSpace const& exec, int batch, int width, Buffer<ExecSpace, Real const> values,
                        Buffer<ExecSpace, Real const> targets, Buffer<ExecSpace, Real> values_grad,
                        Buffer<ExecSpace, double> metrics, Workspace<ExecSpace> workspace);

/// Row-wise softmax; dst may be logits.
template <class ExecSpace, class Real>
void softmax(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits,
             Buffer<ExecSpace, Real> dst);

/// dst = weight * softmax(logits) row by row, or dst += that where `add`: one member's share of an ensemble's
/// prediction, in one kernel. The exponentials of a row are divided by their sum and weighted in one multiplication.
template <class ExecSpace, class Real>
void weighted_softmax(ExecSpace const& exec, int batch, int classes, Buffer<ExecSpace, Real const> logits, Real weight,
                      bool add, Buffer<ExecSpace, Real> dst);

} // namespace nasturtium::kernels
