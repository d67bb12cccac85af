// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Grouped and depthwise convolution for devices, where a group is too narrow for a tile of a matrix product: a thread
// per output value, neighbours along the channels, so that every load is a whole line. The gradient of the weights has
// few values and many pixels; it is cut into slices of pixels (a function of the shape alone), whose sums are added in
// order by a second launch. On hosts it can be asked for by name, which is how it is tested.
#pragma once

#include "contraction/problem.hpp"
#include "parallel.hpp"
#include "reference/contraction.hpp"

#include <string>

namespace nasturtium::kernels::impl::direct {

/// Pixels of a slice, and how many slices there are at most.
inline constexpr Index slice_rows = 256, most_slices = 1024;

inline Index rows_per_slice(Conv2dShape const& s)
{
  Index const least = (s.out_rows() + most_slices - 1) / most_slices;
  return least > slice_rows ? least : slice_rows;
}
inline Index slices(Conv2dShape const& s)
{
  Index const rows = rows_per_slice(s);
  return s.out_rows() > 0 ? (s.out_rows() + rows - 1) / rows : 1;
}
/// Values of a slice: of the weights, then of the bias.
inline Index slice_values(Conv2dShape const& s)
{
  return s.weights_size() + s.out_channels;
}

/// Bytes of workspace.
template <class Real>
std::size_t workspace(Pass pass, Conv2dShape const& s)
{
  if (pass != Pass::backward_weights || slices(s) == 1) return 0;
  return static_cast<std::size_t>(slices(s) * slice_values(s)) * sizeof(Real);
}

template <class Real>
struct Forward
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index element = begin; element < end; ++element)
      problem.c[element] = value(element);
  }

  KOKKOS_FUNCTION Real value(Index element) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int oc, ow, oh;
    Index const n = divide(divide(divide(element, s.out_channels, oc), s.out_width(), ow), s.out_height(), oh);
    Real const* const image = problem.a + n * s.in_height * s.in_width * s.in_channels + oc / group_out * group_in;
    Real sum = 0;
    for (int kh = 0; kh < s.kernel_height; ++kh) {
      int const ih = oh * s.stride_height + kh * s.dilation_height - s.pad_top;
      if (ih < 0 || ih >= s.in_height) continue;
      for (int kw = 0; kw < s.kernel_width; ++kw) {
        int const iw = ow * s.stride_width + kw * s.dilation_width - s.pad_left;
        if (iw < 0 || iw >= s.in_width) continue;
        Real const* const x = image + (Index{ih} * s.in_width + iw) * s.in_channels;
        Real const* const w = problem.b + Index{kh * s.kernel_width + kw} * group_in * s.out_channels + oc;
        for (int ic = 0; ic < group_in; ++ic)
          sum += x[ic] * w[Index{ic} * s.out_channels];
      }
    }
    if (problem.bias) sum += problem.bias[oc];
    if (problem.activation == Activation::relu) sum = sum < 0 ? Real(0) : sum; // NaN stays
    return sum;
  }
};

template <class Real>
struct BackwardData
{
  Contraction<Real> problem;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index element = begin; element < end; ++element) {
      Real const sum = value(element);
      problem.c[element] = problem.accumulate ? problem.c[element] + sum : sum;
    }
  }

  KOKKOS_FUNCTION Real value(Index element) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int ic, iw, ih, of_group;
    Index const n = divide(divide(divide(element, s.in_channels, ic), s.in_width, iw), s.in_height, ih);
    auto const group = static_cast<int>(divide(ic, group_in, of_group));
    Real const* const gradient = problem.a + n * s.out_height() * s.out_width() * s.out_channels + group * group_out;
    Real const* const weights = problem.b + Index{of_group} * s.out_channels + group * group_out;
    Real sum = 0;
    for (int kh = 0; kh < s.kernel_height; ++kh) {
      int const y = ih + s.pad_top - kh * s.dilation_height;
      if (y < 0 || y % s.stride_height != 0 || y / s.stride_height >= s.out_height()) continue;
      for (int kw = 0; kw < s.kernel_width; ++kw) {
        int const x = iw + s.pad_left - kw * s.dilation_width;
        if (x < 0 || x % s.stride_width != 0 || x / s.stride_width >= s.out_width()) continue;
        Real const* const dy =
            gradient + (Index{y / s.stride_height} * s.out_width() + x / s.stride_width) * s.out_channels;
        Real const* const w = weights + Index{kh * s.kernel_width + kw} * group_in * s.out_channels;
        for (int oc = 0; oc < group_out; ++oc)
          sum += dy[oc] * w[oc];
      }
    }
    return sum;
  }
};

/// Items are the values of all slices; one slice writes to the gradients themselves.
template <class Real>
struct BackwardWeights
{
  Contraction<Real> problem;
  Real* partial; ///< null: one slice
  Index rows, values;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index item = begin; item < end; ++item) {
      Index const slice = item / values;
      Index const element = item - slice * values;
      Index const weights = values - problem.shape.out_channels;
      Index const first = slice * rows;
      Index const all = problem.shape.out_rows();
      Index const last = first + rows < all ? first + rows : all;
      Real const sum = element < weights ? weight(element, first, last) : bias(element - weights, first, last);
      if (partial)
        partial[item] = sum;
      else if (element < weights)
        problem.c[element] = sum;
      else if (problem.bias_grad)
        problem.bias_grad[element - weights] = sum;
    }
  }

  KOKKOS_FUNCTION Real weight(Index element, Index first, Index last) const
  {
    Conv2dShape const& s = problem.shape;
    int const group_in = s.in_channels / s.groups;
    int const group_out = s.out_channels / s.groups;
    int oc, of_group, kw;
    Index const tap = divide(divide(element, s.out_channels, oc), group_in, of_group);
    auto const kh = static_cast<int>(divide(tap, s.kernel_width, kw));
    int const ic = oc / group_out * group_in + of_group;
    int const down = kh * s.dilation_height - s.pad_top, across = kw * s.dilation_width - s.pad_left;
    int ow, oh;
    Index n = divide(divide(first, s.out_width(), ow), s.out_height(), oh);
    Real sum = 0;
    for (Index row = first; row < last; ++row) {
      int const ih = oh * s.stride_height + down, iw = ow * s.stride_width + across;
      if (ih >= 0 && ih < s.in_height && iw >= 0 && iw < s.in_width)
        sum += problem.a[((n * s.in_height + ih) * s.in_width + iw) * s.in_channels + ic] *
               problem.b[row * s.out_channels + oc];
      if (++ow < s.out_width()) continue;
      ow = 0;
      if (++oh < s.out_height()) continue;
      oh = 0;
      ++n;
    }
    return sum;
  }

  KOKKOS_FUNCTION Real bias(Index oc, Index first, Index last) const
  {
    Real sum = 0;
    if (problem.bias_grad)
      for (Index row = first; row < last; ++row)
        sum += problem.b[row * problem.shape.out_channels + oc];
    return sum;
  }
};

/// Adds the slices of a value in their order.
template <class Real>
struct AddSlices
{
  Contraction<Real> problem;
  Real const* partial;
  Index count, values;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    Index const weights = values - problem.shape.out_channels;
    for (Index element = begin; element < end; ++element) {
      Real sum = 0;
      for (Index slice = 0; slice < count; ++slice)
        sum += partial[slice * values + element];
      if (element < weights)
        problem.c[element] = sum;
      else if (problem.bias_grad)
        problem.bias_grad[element - weights] = sum;
    }
  }
};

template <class ExecSpace, class Real>
void run(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
         Workspace<ExecSpace> workspace)
{
  Conv2dShape const& s = problem.shape;
  constexpr Index grain = 64; // of values on hosts
  switch (problem.pass) {
  case Pass::forward:
    for_items(exec, label, s.out_size(), grain, Forward<Real>{problem});
    if (problem.statistics.moments)
      reference::launch(exec, label, moment_chunks(s.out_rows()) * s.out_channels, reference::Moments<Real>{problem});
    break;
  case Pass::backward_data:
    for_items(exec, label, s.in_size(), grain, BackwardData<Real>{problem});
    break;
  case Pass::backward_weights: {
    Index const count = slices(s), values = slice_values(s);
    auto* const partial = count > 1 ? reinterpret_cast<Real*>(workspace.data()) : nullptr;
    for_items(exec, label, count * values, grain, BackwardWeights<Real>{problem, partial, rows_per_slice(s), values});
    if (partial) for_items(exec, label, values, grain, AddSlices<Real>{problem, partial, count, values});
    break;
  }
  }
}

} // namespace nasturtium::kernels::impl::direct
