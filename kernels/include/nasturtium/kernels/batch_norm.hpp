// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Batch normalisation (Ioffe and Szegedy, ICML 2015) over the rows of a (rows, channels) tensor, fused with the
// activation that follows it and with the residual that is added in between: dst = activation(bn(src) + residual).
#pragma once

#include <nasturtium/kernels/batch_statistics.hpp>

namespace nasturtium::kernels {

struct BatchNormShape
{
  Index rows = 1; ///< batch * height * width
  int channels = 1;
};

/// Bytes of workspace that batch_norm_backward needs.
template <class ExecSpace, class Real>
std::size_t batch_norm_workspace(BatchNormShape const& shape);

/// Statistics of src, of a kind that conv2d_forward and dense_forward give as a by-product.
template <class ExecSpace, class Real>
void batch_norm_statistics(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                           BatchStatistics<ExecSpace, Real> const& statistics);

/// Training: normalises by the batch's `mean` and `inverse_deviation` (channels each), which batch_norm_statistics or
/// the contraction that wrote src has given. `residual` (rows * channels) may be empty. `activation` is identity or
/// relu. dst may be src.
template <class ExecSpace, class Real>
void batch_norm_forward_train(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                              Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> beta,
                              Buffer<ExecSpace, Real const> mean, Buffer<ExecSpace, Real const> inverse_deviation,
                              Buffer<ExecSpace, Real const> residual, Activation activation,
                              Buffer<ExecSpace, Real> dst);

/// Inference: normalises by the running statistics. dst may be src.
template <class ExecSpace, class Real>
void batch_norm_forward_inference(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                                  Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> beta, Real epsilon,
                                  Buffer<ExecSpace, Real const> running_mean,
                                  Buffer<ExecSpace, Real const> running_variance,
                                  Buffer<ExecSpace, Real const> residual, Activation activation,
                                  Buffer<ExecSpace, Real> dst);

/// Backward of the inference pass, whose statistics do not depend on src: src_grad = (accumulate ? src_grad : 0) +
/// gamma / sqrt(running_variance + epsilon) * dst_grad behind the activation. `dst` is the pass's output, read for the
/// mask of relu alone (may be empty with identity). src_grad may be dst_grad where nothing is accumulated.
template <class ExecSpace, class Real>
void batch_norm_backward_inference(ExecSpace const& exec, BatchNormShape const& shape,
                                   Buffer<ExecSpace, Real const> dst, Buffer<ExecSpace, Real const> dst_grad,
                                   Buffer<ExecSpace, Real const> gamma, Real epsilon,
                                   Buffer<ExecSpace, Real const> running_variance, Activation activation,
                                   Buffer<ExecSpace, Real> src_grad, bool accumulate);

/// Backward of the training pass. `src` is its input, `dst` its output (read for the mask of relu alone; may be empty
/// with identity). Writes gamma_grad and beta_grad; src_grad = (accumulate ? src_grad : 0) + gradient;
/// residual_grad (empty where there was no residual) = (accumulate_residual ? residual_grad : 0) + masked dst_grad.
/// src_grad may be dst_grad where neither is accumulated. `arrivals` as in BatchStatistics.
template <class ExecSpace, class Real>
void batch_norm_backward(ExecSpace const& exec, BatchNormShape const& shape, Buffer<ExecSpace, Real const> src,
                         Buffer<ExecSpace, Real const> dst, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real const> gamma, Buffer<ExecSpace, Real const> saved_mean,
                         Buffer<ExecSpace, Real const> saved_inverse_deviation, Activation activation,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate, Buffer<ExecSpace, Real> residual_grad,
                         bool accumulate_residual, Buffer<ExecSpace, Real> gamma_grad,
                         Buffer<ExecSpace, Real> beta_grad, Workspace<ExecSpace> workspace,
                         Buffer<ExecSpace, int> arrivals);

} // namespace nasturtium::kernels
