// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Fully connected layers: (batch, in) x (in, out), forward and both backward passes; the plain matrix product
// underneath.
#pragma once

#include <nasturtium/kernels/conv2d.hpp>

namespace nasturtium::kernels {

struct DenseShape
{
  int batch = 1;
  int in = 1;
  int out = 1;
  constexpr double flops() const { return 2.0 * batch * in * out; }
};

/// The convolution that a dense layer is: 1 x 1 of images of 1 x 1.
constexpr Conv2dShape as_convolution(DenseShape const& shape)
{
  Conv2dShape conv;
  conv.batch = shape.batch;
  conv.in_channels = shape.in;
  conv.out_channels = shape.out;
  return conv;
}

/// Bytes of workspace that any of the three passes needs.
template <class ExecSpace, class Real>
std::size_t dense_workspace(DenseShape const& shape);

/// dst = activation(src * weights + bias); `bias` may be empty; `activation` is identity or relu.
/// `statistics` as in conv2d_forward, with batch rows; may be empty.
template <class ExecSpace, class Real>
void dense_forward(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> src,
                   Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real const> bias, Activation activation,
                   Buffer<ExecSpace, Real> dst, BatchStatistics<ExecSpace, Real> const& statistics,
                   Workspace<ExecSpace> workspace);

/// src_grad = (accumulate ? src_grad : 0) + dst_grad * weights^T.
template <class ExecSpace, class Real>
void dense_backward_data(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real> src_grad, bool accumulate,
                         Workspace<ExecSpace> workspace);

/// weights_grad = src^T * dst_grad; bias_grad = column sums of dst_grad unless it is empty. Both are overwritten.
template <class ExecSpace, class Real>
void dense_backward_weights(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> src,
                            Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> weights_grad,
                            Buffer<ExecSpace, Real> bias_grad, Workspace<ExecSpace> workspace);

} // namespace nasturtium::kernels
