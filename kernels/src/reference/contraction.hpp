// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The plain implementation of every contraction, on every backend: one work item per element of the result, sums in
// ascending order. It is what the fast back ends are tested against and what closes their lists.
#pragma once

#include "contraction/problem.hpp"
#include "parallel.hpp"

#include <string>

namespace nasturtium::kernels::impl::reference {

/// One element of dst: (pixel, out channel).
template <class Real>
struct Forward
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index element) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int const oc = static_cast<int>(element % s.out_channels);
    Index const pixel = element / s.out_channels;
    int const ow = static_cast<int>(pixel % s.out_width());
    int const oh = static_cast<int>(pixel / s.out_width() % s.out_height());
    Index const n = pixel / s.out_width() / s.out_height();
    Real sum = 0;
    for (int kh = 0; kh < s.kernel_height; ++kh) {
      int const ih = oh * s.stride_height + kh * s.dilation_height - s.pad_top;
      if (ih < 0 || ih >= s.in_height) continue;
      for (int kw = 0; kw < s.kernel_width; ++kw) {
        int const iw = ow * s.stride_width + kw * s.dilation_width - s.pad_left;
        if (iw < 0 || iw >= s.in_width) continue;
        Real const* const x =
            problem.a + ((n * s.in_height + ih) * s.in_width + iw) * s.in_channels + oc / group_out * group_in;
        Real const* const w = problem.b + Index{kh * s.kernel_width + kw} * group_in * s.out_channels + oc;
        for (int ic = 0; ic < group_in; ++ic)
          sum += x[ic] * w[Index{ic} * s.out_channels];
      }
    }
    if (problem.bias) sum += problem.bias[oc];
    if (problem.activation == Activation::relu) sum = sum < 0 ? Real(0) : sum; // NaN stays
    problem.c[element] = sum;
  }
};

/// Mean and sum of squared deviations of one (chunk, channel).
template <class Real>
struct Moments
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index item) const
  {
    Index const channels = problem.shape.out_channels;
    Index const channel = item % channels;
    Index const chunk = item / channels;
    Index const begin = chunk * moment_chunk_rows;
    Index const rows = problem.shape.out_rows();
    Index const end = begin + moment_chunk_rows < rows ? begin + moment_chunk_rows : rows;
    Real sum = 0;
    for (Index row = begin; row < end; ++row)
      sum += problem.c[row * channels + channel];
    Real const mean = sum / static_cast<Real>(end - begin);
    Real squares = 0;
    for (Index row = begin; row < end; ++row) {
      Real const deviation = problem.c[row * channels + channel] - mean;
      squares += deviation * deviation;
    }
    problem.statistics.moments[2 * chunk * channels + channel] = mean;
    problem.statistics.moments[(2 * chunk + 1) * channels + channel] = squares;
  }
};

/// One element of src_grad: (input pixel, in channel).
template <class Real>
struct BackwardData
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index element) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int const ic = static_cast<int>(element % s.in_channels);
    Index const pixel = element / s.in_channels;
    int const iw = static_cast<int>(pixel % s.in_width);
    int const ih = static_cast<int>(pixel / s.in_width % s.in_height);
    Index const n = pixel / s.in_width / s.in_height;
    int const group = ic / group_in;
    Real sum = 0;
    for (int kh = 0; kh < s.kernel_height; ++kh) {
      int const y = ih + s.pad_top - kh * s.dilation_height;
      if (y < 0 || y % s.stride_height != 0 || y / s.stride_height >= s.out_height()) continue;
      for (int kw = 0; kw < s.kernel_width; ++kw) {
        int const x = iw + s.pad_left - kw * s.dilation_width;
        if (x < 0 || x % s.stride_width != 0 || x / s.stride_width >= s.out_width()) continue;
        Index const out_pixel = (n * s.out_height() + y / s.stride_height) * s.out_width() + x / s.stride_width;
        Real const* const dy = problem.a + out_pixel * s.out_channels + group * group_out;
        Real const* const w = problem.b +
                              (Index{kh * s.kernel_width + kw} * group_in + ic % group_in) * s.out_channels +
                              group * group_out;
        for (int oc = 0; oc < group_out; ++oc)
          sum += dy[oc] * w[oc];
      }
    }
    problem.c[element] = problem.accumulate ? problem.c[element] + sum : sum;
  }
};

/// One element of weights_grad: (kh, kw, in channel of the group, out channel).
template <class Real>
struct BackwardWeights
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index element) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int const oc = static_cast<int>(element % s.out_channels);
    int const ic = static_cast<int>(element / s.out_channels % group_in) + oc / group_out * group_in;
    int const tap = static_cast<int>(element / s.out_channels / group_in);
    int const kh = tap / s.kernel_width;
    int const kw = tap % s.kernel_width;
    Real sum = 0;
    for (Index n = 0; n < s.batch; ++n) {
      for (int oh = 0; oh < s.out_height(); ++oh) {
        int const ih = oh * s.stride_height + kh * s.dilation_height - s.pad_top;
        if (ih < 0 || ih >= s.in_height) continue;
        for (int ow = 0; ow < s.out_width(); ++ow) {
          int const iw = ow * s.stride_width + kw * s.dilation_width - s.pad_left;
          if (iw < 0 || iw >= s.in_width) continue;
          sum += problem.a[((n * s.in_height + ih) * s.in_width + iw) * s.in_channels + ic] *
                 problem.b[((n * s.out_height() + oh) * s.out_width() + ow) * s.out_channels + oc];
        }
      }
    }
    problem.c[element] = sum;
  }
};

/// One element of bias_grad.
template <class Real>
struct BackwardBias
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index channel) const
  {
    Real sum = 0;
    for (Index row = 0; row < problem.shape.out_rows(); ++row)
      sum += problem.b[row * problem.shape.out_channels + channel];
    problem.bias_grad[channel] = sum;
  }
};

template <class Functor>
struct EachItem
{
  using not_fused = void; // nobody wants it fast
  Functor functor;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item)
      functor(item);
  }
};

template <class ExecSpace, class Functor>
void launch(ExecSpace const& exec, std::string const& label, Index items, Functor const& functor)
{
  for_items(exec, label, items, 1, EachItem<Functor>{functor});
}

/// Runs one contraction; needs no workspace.
template <class ExecSpace, class Real>
void run(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem)
{
  Conv2dShape const& s = problem.shape;
  switch (problem.pass) {
  case Pass::forward:
    launch(exec, label, s.out_size(), Forward<Real>{problem});
    if (problem.statistics.moments)
      launch(exec, label, moment_chunks(s.out_rows()) * s.out_channels, Moments<Real>{problem});
    break;
  case Pass::backward_data:
    launch(exec, label, s.in_size(), BackwardData<Real>{problem});
    break;
  case Pass::backward_weights:
    launch(exec, label, s.weights_size(), BackwardWeights<Real>{problem});
    if (problem.bias_grad) launch(exec, label, s.out_channels, BackwardBias<Real>{problem});
    break;
  }
}

} // namespace nasturtium::kernels::impl::reference
