// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that touch each element once: activations, dropout, sums, channel concatenation, copies.
#pragma once

#include <nasturtium/kernels/step_state.hpp>
#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// dst = f(src). `slope` is leaky_relu's (elu's alpha is 1; gelu is the exact erf form). dst may be src.
template <class ExecSpace, class Real>
void activation_forward(ExecSpace const& exec, Activation activation, Real slope, Buffer<ExecSpace, Real const> src,
                        Buffer<ExecSpace, Real> dst);

/// True where activation_backward reads the op's input (gelu, silu), false where its output is enough.
constexpr bool activation_backward_needs_src(Activation activation)
{
  return activation == Activation::gelu || activation == Activation::silu;
}

/// src_grad = (accumulate ? src_grad : 0) + dst_grad * f'. `saved` is the op's input where
/// activation_backward_needs_src, else its output. src_grad may be dst_grad where nothing is accumulated.
template <class ExecSpace, class Real>
void activation_backward(ExecSpace const& exec, Activation activation, Real slope, Buffer<ExecSpace, Real const> saved,
                         Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> src_grad, bool accumulate);

/// Dropout's stream of random numbers: element i of node `node` at step `step` is kept or not by (seed, node, step, i).
struct DropoutKey
{
  std::uint64_t seed = 0;
  std::uint32_t node = 0;
  std::uint64_t step = 0;
  StepState const* current = nullptr; ///< in device memory; where it is given, its step is taken
};

/// dst = src / (1 - rate) where the element is kept, else 0; 0 <= rate < 1. The mask is not stored: the same call on
/// dst_grad is the backward pass. With `accumulate`, dst is added to.
template <class ExecSpace, class Real>
void dropout(ExecSpace const& exec, DropoutKey key, Real rate, Buffer<ExecSpace, Real const> src,
             Buffer<ExecSpace, Real> dst, bool accumulate);

/// dst = a + b, dst may be either.
template <class ExecSpace, class Real>
void add(ExecSpace const& exec, Buffer<ExecSpace, Real const> a, Buffer<ExecSpace, Real const> b,
         Buffer<ExecSpace, Real> dst);

/// dst = (accumulate ? dst : 0) + src.
template <class ExecSpace, class Real>
void copy(ExecSpace const& exec, Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real> dst, bool accumulate);

/// dst = value.
template <class ExecSpace, class Real>
void fill(ExecSpace const& exec, Real value, Buffer<ExecSpace, Real> dst);

/// Copies the channels [src_offset, src_offset + channels) of each row of src (src_channels wide) to
/// [dst_offset, ...) of each row of dst (dst_channels wide): one input of a concatenation, or its backward pass.
template <class ExecSpace, class Real>
void copy_channels(ExecSpace const& exec, Index rows, int channels, Buffer<ExecSpace, Real const> src, int src_channels,
                   int src_offset, Buffer<ExecSpace, Real> dst, int dst_channels, int dst_offset, bool accumulate);

/// Copies each row of src (channels wide) to the channels [dst_offset, dst_offset + channels) of the row of dst
/// (dst_channels wide) and makes the others zero: padding, or the backward pass of a slice.
template <class ExecSpace, class Real>
void pad_channels(ExecSpace const& exec, Index rows, int channels, Buffer<ExecSpace, Real const> src,
                  Buffer<ExecSpace, Real> dst, int dst_channels, int dst_offset);

} // namespace nasturtium::kernels
