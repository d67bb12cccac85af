// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "contraction/contraction.hpp"
#include "instantiate.hpp"

#include <algorithm>

namespace nasturtium::kernels {

template <class ExecSpace, class Real>
std::size_t dense_workspace(DenseShape const& shape)
{
  std::size_t bytes = 0;
  for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
    bytes =
        std::max(bytes, impl::contraction_workspace<ExecSpace, Real>(impl::Layer::dense, pass, as_convolution(shape)));
  }
  return bytes;
}

template <class ExecSpace, class Real>
std::vector<std::string_view> dense_implementations(Pass pass, DenseShape const& shape)
{
  return impl::contraction_implementations<ExecSpace, Real>(impl::Layer::dense, pass, as_convolution(shape));
}

template <class ExecSpace, class Real>
void dense_forward(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                   Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> weights,
                   Buffer<ExecSpace, Real const> bias, Activation activation, Buffer<ExecSpace, Real> dst,
                   BatchStatistics<ExecSpace, Real> const& statistics, Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::forward;
  problem.shape = as_convolution(shape);
  problem.a = src.data();
  problem.b = weights.data();
  problem.c = dst.data();
  problem.bias = impl::optional(bias);
  problem.activation = activation;
  problem.statistics =
      impl::Statistics<Real>("dense_forward", statistics, problem.shape.out_rows(), problem.shape.out_channels);
  impl::contract(exec, impl::Layer::dense, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void dense_forward(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> src,
                   Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real const> bias, Activation activation,
                   Buffer<ExecSpace, Real> dst, BatchStatistics<ExecSpace, Real> const& statistics,
                   Workspace<ExecSpace> workspace)
{
  dense_forward<ExecSpace, Real>(exec, std::string_view(), shape, src, weights, bias, activation, dst, statistics,
                                 workspace);
}

template <class ExecSpace, class Real>
void dense_backward_data(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                         Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real const> weights,
                         Buffer<ExecSpace, Real> src_grad, bool accumulate, Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::backward_data;
  problem.shape = as_convolution(shape);
  problem.a = dst_grad.data();
  problem.b = weights.data();
  problem.c = src_grad.data();
  problem.accumulate = accumulate;
  impl::contract(exec, impl::Layer::dense, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void dense_backward_data(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> dst_grad,
                         Buffer<ExecSpace, Real const> weights, Buffer<ExecSpace, Real> src_grad, bool accumulate,
                         Workspace<ExecSpace> workspace)
{
  dense_backward_data<ExecSpace, Real>(exec, std::string_view(), shape, dst_grad, weights, src_grad, accumulate,
                                       workspace);
}

template <class ExecSpace, class Real>
void dense_backward_weights(ExecSpace const& exec, std::string_view implementation, DenseShape const& shape,
                            Buffer<ExecSpace, Real const> src, Buffer<ExecSpace, Real const> dst_grad,
                            Buffer<ExecSpace, Real> weights_grad, Buffer<ExecSpace, Real> bias_grad,
                            Workspace<ExecSpace> workspace)
{
  impl::Contraction<Real> problem;
  problem.pass = Pass::backward_weights;
  problem.shape = as_convolution(shape);
  problem.a = src.data();
  problem.b = dst_grad.data();
  problem.c = weights_grad.data();
  problem.bias_grad = impl::optional(bias_grad);
  impl::contract(exec, impl::Layer::dense, implementation, problem, workspace);
}

template <class ExecSpace, class Real>
void dense_backward_weights(ExecSpace const& exec, DenseShape const& shape, Buffer<ExecSpace, Real const> src,
                            Buffer<ExecSpace, Real const> dst_grad, Buffer<ExecSpace, Real> weights_grad,
                            Buffer<ExecSpace, Real> bias_grad, Workspace<ExecSpace> workspace)
{
  dense_backward_weights<ExecSpace, Real>(exec, std::string_view(), shape, src, dst_grad, weights_grad, bias_grad,
                                          workspace);
}

#define NASTURTIUM_DENSE(ExecSpace, Real)                                                                              \
  template void dense_forward<ExecSpace, Real>(ExecSpace const&, std::string_view, DenseShape const&,                  \
                                               Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
                                               Buffer<ExecSpace, Real const>, Activation, Buffer<ExecSpace, Real>,     \
                                               BatchStatistics<ExecSpace, Real> const&, Workspace<ExecSpace>);         \
  template void dense_forward<ExecSpace, Real>(ExecSpace const&, DenseShape const&, Buffer<ExecSpace, Real const>,     \
                                               Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,           \
                                               Activation, Buffer<ExecSpace, Real>,                                    \
                                               BatchStatistics<ExecSpace, Real> const&, Workspace<ExecSpace>);         \
  template void dense_backward_data<ExecSpace, Real>(ExecSpace const&, std::string_view, DenseShape const&,            \
                                                     Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,     \
                                                     Buffer<ExecSpace, Real>, bool, Workspace<ExecSpace>);             \
  template void dense_backward_data<ExecSpace, Real>(ExecSpace const&, DenseShape const&,                              \
                                                     Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,     \
                                                     Buffer<ExecSpace, Real>, bool, Workspace<ExecSpace>);             \
  template void dense_backward_weights<ExecSpace, Real>(                                                               \
      ExecSpace const&, std::string_view, DenseShape const&, Buffer<ExecSpace, Real const>,                            \
      Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, Workspace<ExecSpace>);          \
  template void dense_backward_weights<ExecSpace, Real>(                                                               \
      ExecSpace const&, DenseShape const&, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real const>,               \
      Buffer<ExecSpace, Real>, Buffer<ExecSpace, Real>, Workspace<ExecSpace>);                                         \
  template std::size_t dense_workspace<ExecSpace, Real>(DenseShape const&);                                            \
  template std::vector<std::string_view> dense_implementations<ExecSpace, Real>(Pass, DenseShape const&);
NASTURTIUM_INSTANTIATE(NASTURTIUM_DENSE)

} // namespace nasturtium::kernels
