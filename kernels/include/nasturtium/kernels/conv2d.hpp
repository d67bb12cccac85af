// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolution of NHWC images with HWIO weights, forward and both backward passes; 1-D convolution is height 1.
#pragma once

#include <nasturtium/kernels/batch_statistics.hpp>

namespace nasturtium::kernels {

/// Extents of a convolution. Padding is explicit; "same" and "valid" are resolved by nn::spec.
struct Conv2dShape
{
  int batch = 1;
  int in_height = 1, in_width = 1, in_channels = 1;
  int out_channels = 1;
  int kernel_height = 1, kernel_width = 1;
  int stride_height = 1, stride_width = 1;
  int pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  int dilation_height = 1, dilation_width = 1;
  int groups = 1; ///< divides in_channels and out_channels; in_channels == groups is a depthwise convolution

  constexpr int out_height() const
  {
    return (in_height + pad_top + pad_bottom - dilation_height * (kernel_height - 1) - 1) / stride_height + 1;
  }
  constexpr int out_width() const
  {
    return (in_width + pad_left + pad_right - dilation_width * (kernel_width - 1) - 1) / stride_width + 1;
  }
  constexpr Index out_rows() const { return Index{batch} * out_height() * out_width(); }
  constexpr Index in_size() const { return Index{batch} * in_height * in_width * in_channels; }
  constexpr Index out_size() const { return out_rows() * out_channels; }
  constexpr Index weights_size() const
  {
    return Index{kernel_height} * kernel_width * (in_channels / groups) * out_channels;
  }
  /// Floating-point operations of one pass, padded taps counted, a multiply-add as two.
  constexpr double flops() const { return 2.0 * static_cast<double>(out_rows()) * static_cast<double>(weights_size()); }
};

/// Bytes of workspace that conv2d_forward needs.
template <class ExecSpace, class Real>
std::size_t conv2d_forward_workspace(Conv2dShape const& shape);

/// dst = activation(src * weights + bias).
/// `bias` (out_channels) may be empty. `activation` is identity or relu.
/// `statistics` may be empty ({}); else they are those of the values written to dst, a tensor of (out_rows,
/// out_channels). They go with identity alone.
template <class ExecSpace, class Real>
void conv2d_forward(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> src,
                    Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real const> bias, Activation activation,
                    Buffer<ExecSpace, Real> dst, BatchStatistics<ExecSpace, Real> const& statistics,
                    Workspace<ExecSpace> workspace);

/// Bytes of workspace that conv2d_backward_data needs.
template <class ExecSpace, class Real>
std::size_t conv2d_backward_data_workspace(Conv2dShape const& shape);

/// src_grad = (accumulate ? src_grad : 0) + the gradient with respect to src.
template <class ExecSpace, class Real>
void conv2d_backward_data(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                          Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real> src_grad, bool accumulate,
                          Workspace<ExecSpace> workspace);

/// Bytes of workspace that conv2d_backward_weights needs.
template <class ExecSpace, class Real>
std::size_t conv2d_backward_weights_workspace(Conv2dShape const& shape);

/// weights_grad = the gradient with respect to weights; bias_grad likewise unless it is empty. Both are overwritten.
template <class ExecSpace, class Real>
void conv2d_backward_weights(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> src,
                             Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> weights_grad,
                             Buffer<ExecSpace, Real> bias_grad, Workspace<ExecSpace> workspace);

} // namespace nasturtium::kernels
