// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "kernels/contraction_support.hpp"

#include <thread>

#if defined(KOKKOS_ENABLE_OPENMP) && !defined(KOKKOS_ENABLE_CUDA) // where Space is OpenMP
#include <omp.h>
#endif

namespace nasturtium::tests {
namespace {

/// The results of all passes of a dense layer, by one implementation of each (empty: the default).
template <class Real>
struct DenseResults
{
  Values<Real> dst, activated, moments, mean, src_grad, accumulated, weights_grad, bias_grad;
};

template <class Real>
DenseResults<Real> run_dense(DenseShape const& s, std::string_view name, bool integer, Space const& exec = Space())
{
  auto const values = [&](Index size, std::uint32_t stream) {
    return to_device(integer ? integers<Real>(size, stream) : reals<Real>(size, stream));
  };
  Index const batch = s.batch;
  auto const src = values(batch * s.in, 1), weights = values(Index{s.in} * s.out, 2), bias = values(s.out, 3),
             dst_grad = values(batch * s.out, 4), accumulated = values(batch * s.in, 5);
  auto const dst = unset<Real>(batch * s.out), activated = unset<Real>(batch * s.out),
             moments = unset<Real>(kernels::moment_chunks(batch) * 2 * s.out),
             mean = zeros<Real>(batch > 0 ? s.out : 0), deviation = zeros<Real>(s.out),
             running_mean = zeros<Real>(s.out), running_variance = zeros<Real>(s.out),
             src_grad = unset<Real>(batch * s.in), weights_grad = unset<Real>(Index{s.in} * s.out),
             bias_grad = unset<Real>(s.out);
  auto const memory = garbage(kernels::dense_workspace<Space, Real>(s));
  kernels::Workspace<Space> const workspace = aligned(memory);
  kernels::Buffer<Space, Real> const none;
  kernels::dense_forward<Space, Real>(
      exec, name, s, src, weights, none, Activation::identity, dst,
      {moments, mean, deviation, running_mean, running_variance, Real(1e-5), Real(0.9), zeros<int>(s.out)}, workspace);
  kernels::dense_forward<Space, Real>(exec, name, s, src, weights, bias, Activation::relu, activated, {}, workspace);
  kernels::dense_backward_data<Space, Real>(exec, name, s, dst_grad, weights, src_grad, false, workspace);
  kernels::dense_backward_data<Space, Real>(exec, name, s, dst_grad, weights, accumulated, true, workspace);
  kernels::dense_backward_weights<Space, Real>(exec, name, s, src, dst_grad, weights_grad, bias_grad, workspace);
  exec.fence();
  return {to_host(dst),      to_host(activated),   to_host(moments),      to_host(mean),
          to_host(src_grad), to_host(accumulated), to_host(weights_grad), to_host(bias_grad)};
}

std::vector<DenseShape> shapes()
{
  return {
      {0, 5, 7},     {1, 1, 1},     {1, 784, 256}, {32, 784, 256}, {32, 256, 128}, {32, 128, 10},
      {7, 800, 50},  {6, 3136, 16}, {31, 500, 10}, {33, 64, 10},   {17, 50, 10},   {5, 13, 1},
      {130, 17, 33}, {300, 64, 40}, {257, 31, 24}, {64, 289, 25},  {12, 512, 300}, {25, 1024, 272},
  };
}

} // namespace

TEST_CASE("dense layers are exact on small integers", "[dense]")
{
  auto const check = [](auto real, DenseShape const& s) {
    using Real = decltype(real);
    CAPTURE(s.batch, s.in, s.out);
    auto const expected = run_dense<Real>(s, "reference", true);
    for (auto const name : kernels::dense_implementations<Space, Real>(Pass::forward, s)) {
      CAPTURE(name);
      auto const got = run_dense<Real>(s, name, true);
      require_equal(got.dst, expected.dst);
      require_equal(got.activated, expected.activated);
      require_equal(got.src_grad, expected.src_grad);
      require_equal(got.accumulated, expected.accumulated);
      require_equal(got.weights_grad, expected.weights_grad);
      require_equal(got.bias_grad, expected.bias_grad);
    }
  };
  for (auto const& s : shapes()) {
    check(float{}, s);
    check(double{}, s);
  }
}

TEST_CASE("dense layers agree with the reference on reals", "[dense]")
{
  for (auto const& s : shapes()) {
    CAPTURE(s.batch, s.in, s.out);
    auto const expected = run_dense<float>(s, "reference", false);
    auto const got = run_dense<float>(s, {}, false);
    require_close(got.dst, expected.dst, rounding<float>(s.in));
    require_close(got.moments, expected.moments, rounding<float>(s.in) * 128 * std::sqrt(s.in));
    require_close(got.mean, expected.mean, rounding<float>(s.in));
    require_close(got.activated, expected.activated, rounding<float>(s.in));
    require_close(got.accumulated, expected.accumulated, rounding<float>(s.out));
    require_close(got.weights_grad, expected.weights_grad, rounding<float>(s.batch));
    require_close(got.bias_grad, expected.bias_grad, rounding<float>(s.batch));
  }
}

#if defined(KOKKOS_ENABLE_OPENMP) && !defined(KOKKOS_ENABLE_CUDA) // where Space is OpenMP
TEST_CASE("the number of threads changes no bit of a dense layer", "[dense]")
{
  for (DenseShape const& s : {DenseShape{32, 784, 256}, DenseShape{100, 800, 500}, DenseShape{500, 300, 10}}) {
    CAPTURE(s.batch, s.in, s.out);
    auto const many = run_dense<float>(s, {}, false);
    DenseResults<float> one;
    std::thread([&] {
      omp_set_num_threads(1);
      one = run_dense<float>(s, {}, false, Kokkos::OpenMP(1));
    }).join();
    require_equal(one.dst, many.dst);
    require_equal(one.moments, many.moments);
    require_equal(one.mean, many.mean);
    require_equal(one.src_grad, many.src_grad);
    require_equal(one.weights_grad, many.weights_grad);
    require_equal(one.bias_grad, many.bias_grad);
  }
}
#endif

} // namespace nasturtium::tests
