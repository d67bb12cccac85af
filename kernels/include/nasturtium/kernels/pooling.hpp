// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Maximum, average and global average pooling of NHWC images.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

struct Pool2dShape
{
  int batch = 1;
  int in_height = 1, in_width = 1, channels = 1;
  int kernel_height = 2, kernel_width = 2;
  int stride_height = 2, stride_width = 2;
  int pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;

  constexpr int out_height() const { return (in_height + pad_top + pad_bottom - kernel_height) / stride_height + 1; }
  constexpr int out_width() const { return (in_width + pad_left + pad_right - kernel_width) / stride_width + 1; }
  constexpr Index in_size() const { return Index{batch} * in_height * in_width * channels; }
  constexpr Index out_size() const { return Index{batch} * out_height() * out_width() * channels; }
};

/// Largest value of each window; `argmax` (out_size) takes its place in the window (row * kernel_width + column), the
/// first of equals. Padding never wins. `argmax` may be empty (inference).
template <class ExecSpace, class Real>
void max_pool2d_forward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst, Buffer<ExecSpace, std::uint8_t> argmax);

/// src_grad = (accumulate ? src_grad : 0) + gradient; gathers, so overlapping windows are summed in a fixed order.
template <class ExecSpace, class Real>
void max_pool2d_backward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, std::uint8_t const> argmax, Buffer<ExecSpace, Real> src_grad,
                         bool accumulate);

/// Mean over the pixels of each window that lie inside the image (padding is not counted).
template <class ExecSpace, class Real>
void avg_pool2d_forward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst);

template <class ExecSpace, class Real>
void avg_pool2d_backward(ExecSpace const& exec, Pool2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate);

/// Mean over all `pixels` of each image: (batch, pixels, channels) -> (batch, channels).
template <class ExecSpace, class Real>
void global_avg_pool_forward(ExecSpace const& exec, int batch, int pixels, int channels,
                             Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real> dst);

template <class ExecSpace, class Real>
void global_avg_pool_backward(ExecSpace const& exec, int batch, int pixels, int channels,
                              Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> src_grad,
                              bool accumulate);

} // namespace nasturtium::kernels
