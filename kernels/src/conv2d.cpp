// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "contraction/contraction.hpp"
#include "instantiate.hpp"

namespace nasturtium::kernels {

template <class ExecSpace, class Real>
std::size_t conv2d_forward_workspace(Conv2dShape const& shape)
{
  return impl::contraction_workspace<ExecSpace, Real>(impl::Layer::conv2d, Pass::forward, shape);
}

template <class ExecSpace, class Real>
std::size_t conv2d_backward_data_workspace(Conv2dShape const& shape)
{
  return impl::contraction_workspace<ExecSpace, Real>(impl::Layer::conv2d, Pass::backward_data, shape);
}

template <class ExecSpace, class Real>
std::size_t conv2d_backward_weights_workspace(Conv2dShape const& shape)
{
  return impl::contraction_workspace<ExecSpace, Real>(impl::Layer::conv2d, Pass::backward_weights, shape);
}

template <class ExecSpace, class Real>
std::vector<std::string_view> conv2d_implementations(Pass pass, Conv2dShape const& shape)
{
  return impl::contraction_implementations<ExecSpace, Real>(impl::Layer::conv2d, pass, shape);
}

template <class ExecSpace, class Real>
void conv2d_forward(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                    Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> weights,
                    Buffer<ExecSpace, Real const> bias, Activation activation, Buffer<ExecSpace, Real> dst,
                    BatchStatistics<ExecSpace, Real> const& statistics, Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::forward;
  problem.shape = shape;
  problem.a = src.data();
  problem.b = weights.data();
  problem.c = dst.data();
  problem.bias = impl::optional(bias);
  problem.activation = activation;
  problem.statistics =
      impl::Statistics<Real>("conv2d_forward", statistics, problem.shape.out_rows(), problem.shape.out_channels);
  impl::contract(exec, impl::Layer::conv2d, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void conv2d_forward(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> src,
                    Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real const> bias, Activation activation,
                    Buffer<ExecSpace, Real> dst, BatchStatistics<ExecSpace, Real> const& statistics,
                    Workspace<ExecSpace> workspace)
{
  conv2d_forward<ExecSpace, Real>(exec, std::string_view(), shape, src, weights, bias, activation, dst, statistics,
                                  workspace);
}

template <class ExecSpace, class Real>
void conv2d_backward_data(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                          Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real const> weights,
                          Buffer<ExecSpace, Real> src_grad, bool accumulate, Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::backward_data;
  problem.shape = shape;
  problem.a = dst_grad.data();
  problem.b = weights.data();
  problem.c = src_grad.data();
  problem.accumulate = accumulate;
  impl::contract(exec, impl::Layer::conv2d, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void conv2d_backward_data(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                          Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real> src_grad, bool accumulate,
                          Workspace<ExecSpace> workspace)
{
  conv2d_backward_data<ExecSpace, Real>(exec, std::string_view(), shape, dst_grad, weights, src_grad, accumulate,
                                        workspace);
}

template <class ExecSpace, class Real>
void conv2d_backward_weights(ExecSpace const& exec, std::string_view implementation, Conv2dShape const& shape,
                             Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> dst_grad,
                             Buffer<ExecSpace, Real> weights_grad, Buffer<ExecSpace, Real> bias_grad,
                             Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::backward_weights;
  problem.shape = shape;
  problem.a = src.data();
  problem.b = dst_grad.data();
  problem.c = weights_grad.data();
  problem.bias_grad = impl::optional(bias_grad);
  impl::contract(exec, impl::Layer::conv2d, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void conv2d_backward_weights(ExecSpace const& exec, Conv2dShape const& shape, Buffer<ExecSpace, Real const> src,
                             Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> weights_grad,
                             Buffer<ExecSpace, Real> bias_grad, Workspace<ExecSpace> workspace)
{
  conv2d_backward_weights<ExecSpace, Real>(exec, std::string_view(), shape, src, dst_grad, weights_grad, bias_grad,
                                           workspace);
}

#define NASTURTIUM_CONV2D(ExecSpace, Real)                                                                             \
  template void conv2d_forward<ExecSpace, Real>(ExecSpace const&, std::string_view, Conv2dShape const&,                \
                                                Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,          \
                                                Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>,    \
                                                BatchStatistics<ExecSpace, Real> const&, Workspace<ExecSpace>);        \
  template void conv2d_forward<ExecSpace, Real>(ExecSpace const&, Conv2dShape const&, Buffer<ExecSpace, Real const>,   \
                                                Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,          \
                                                Activation, Buffer<ExecSpace, Real>,                                   \
                                                BatchStatistics<ExecSpace, Real> const&, Workspace<ExecSpace>);        \
  template std::size_t conv2d_forward_workspace<ExecSpace, Real>(Conv2dShape const&);                                  \
  template void conv2d_backward_data<ExecSpace, Real>(ExecSpace const&, std::string_view, Conv2dShape const&,          \
                                                      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,    \
                                                      Buffer<ExecSpace, Real>, bool, Workspace<ExecSpace>);            \
  template void conv2d_backward_data<ExecSpace, Real>(ExecSpace const&, Conv2dShape const&,                            \
                                                      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,    \
                                                      Buffer<ExecSpace, Real>, bool, Workspace<ExecSpace>);            \
  template std::size_t conv2d_backward_data_workspace<ExecSpace, Real>(Conv2dShape const&);                            \
  template void conv2d_backward_weights<ExecSpace, Real>(                                                              \
      ExecSpace const&, std::string_view, Conv2dShape const&, Buffer<ExecSpace, Real const>,                           \
      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, Workspace<ExecSpace>);          \
  template void conv2d_backward_weights<ExecSpace, Real>(                                                              \
      ExecSpace const&, Conv2dShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,              \
      Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, Workspace<ExecSpace>);                                         \
  template std::size_t conv2d_backward_weights_workspace<ExecSpace, Real>(Conv2dShape const&);                         \
  template std::vector<std::string_view> conv2d_implementations<ExecSpace, Real>(Pass, Conv2dShape const&);
NASTURTIUM_INSTANTIATE(NASTURTIUM_CONV2D)

} // namespace nasturtium::kernels
