// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The implementations behind conv2d_* and dense_*, for tests and benchmarks. Each pass has an ordered list; the first
// implementation that accepts the shape runs; "reference" accepts everything and closes every list. The profiling label
// of the kernel names the one that ran: "nasturtium::conv2d_forward[native]".
#pragma once

#include <nasturtium/kernels/conv2d.hpp>
#include <nasturtium/kernels/dense.hpp>

#include <string_view>
#include <vector>

namespace nasturtium::kernels {

enum class Pass { forward, backward_data, backward_weights };

/// Names of the implementations that accept this shape, the one that runs by default first.
template <class ExecSpace, class Real>
std::vector<std::string_view> conv2d_implementations(Pass pass, Conv2dShape const& shape);
template <class ExecSpace, class Real>
std::vector<std::string_view> dense_implementations(Pass pass, DenseShape const& shape);

/// As the functions of the same name without `implementation`, which names the one to run; throws Error when no
/// implementation of that name accepts the shape. The workspace is the same.
template <class ExecSpace, class Real>
void conv2d_forward(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                    Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> weights,
                    Buffer<ExecSpace, Real const> bias, Activation activation, Buffer<ExecSpace, Real> dst,
                    BatchStatistics<ExecSpace, Real> const& statistics, Workspace<ExecSpace> workspace);
template <class ExecSpace, class Real>
void conv2d_backward_data(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                          Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real const> weights,
                          Buffer<ExecSpace, Real> src_grad, bool accumulate, Workspace<ExecSpace> workspace);
template <class ExecSpace, class Real>
void conv2d_backward_weights(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                             Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> dst_grad,
                             Buffer<ExecSpace, Real> weights_grad, Buffer<ExecSpace, Real> bias_grad,
                             Workspace<ExecSpace> workspace);
template <class ExecSpace, class Real>
void dense_forward(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                   Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> weights,
                   Buffer<ExecSpace, Real const> bias, Activation activation, Buffer<ExecSpace, Real> dst,
                   BatchStatistics<ExecSpace, Real> const& statistics, Workspace<ExecSpace> workspace);
template <class ExecSpace, class Real>
void dense_backward_data(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                         Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real const> weights,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate, Workspace<ExecSpace> workspace);
template <class ExecSpace, class Real>
void dense_backward_weights(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                            Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> dst_grad,
                            Buffer<ExecSpace, Real> weights_grad, Buffer<ExecSpace, Real> bias_grad,
                            Workspace<ExecSpace> workspace);

} // namespace nasturtium::kernels
