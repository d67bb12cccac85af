// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One contraction as every back end takes it. With rows = batch * out_height * out_width output pixels ("pixels"),
// depth = (kernel_height, kernel_width, in_channels / groups) and columns = out_channels / groups, per group:
//
//   forward            c[pixel][column]  = activation(sum over depth of image(a)[pixel][depth] * b[depth][column] +
//   bias) backward_data      c[input pixel][channel] (+)= sum over taps and columns of a[pixel][column] * b[tap,
//   channel][column] backward_weights   c[depth][column]  = sum over pixels of image(a)[pixel][depth] *
//   b[pixel][column],
//                      bias_grad[column] = sum over pixels of b[pixel][column]
//
// image(a)[pixel][kh, kw, ic] is a[n][oh * stride + kh * dilation - pad_top][ow * ...][ic], zero outside of the image.
// A dense layer is the 1x1 convolution of 1x1 images: batch rows, in_channels = in, out_channels = out.
#pragma once

#include "batch_statistics.hpp"

#include <nasturtium/kernels/implementation.hpp>

namespace nasturtium::kernels::impl {

template <class Real>
struct Contraction
{
  Pass pass = Pass::forward;
  Conv2dShape shape;

  Real const* a = nullptr; ///< forward, backward_weights: src (NHWC); backward_data: dst_grad (NHWC)
  Real const* b = nullptr; ///< forward, backward_data: weights (HWIO); backward_weights: dst_grad
  Real* c = nullptr;       ///< forward: dst; backward_data: src_grad; backward_weights: weights_grad

  // Epilogues; what does not belong to the pass stays at its default.
  Real const* bias = nullptr;                   ///< forward: (out_channels) or null
  Activation activation = Activation::identity; ///< forward: identity or relu
  Statistics<Real> statistics;                  ///< forward: of c
  bool accumulate = false;                      ///< backward_data: add to c instead of overwriting it
  Real* bias_grad = nullptr;                    ///< backward_weights: (out_channels) or null
};

} // namespace nasturtium::kernels::impl
