// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dense layers by KokkosBlas::gemm, which goes on to the BLAS that Kokkos Kernels was built with. One entry of the
// list of implementations, chosen by name alone: a contender for the benchmarks and a second opinion for the tests. Its
// epilogues are passes of their own, since gemm has none.
#pragma once

#include "contraction/problem.hpp"

#ifdef NASTURTIUM_HAVE_KOKKOSKERNELS
#include "parallel.hpp"

#include <KokkosBlas3_gemm.hpp>
#include <Kokkos_Profiling_ScopedRegion.hpp>
#include <nasturtium/kernels/batch_norm.hpp>

#include <string>

namespace nasturtium::kernels::impl {

/// dst = activation(dst + bias), row by row.
template <class ExecSpace, class Real>
void add_bias(ExecSpace const& exec, std::string const& label, Index rows, int columns, Real const* bias, bool relu,
              Real* dst)
{
  for_items(
      exec, label, rows, rows_per_block(columns), KOKKOS_LAMBDA(Index begin, Index end) {
        for (Index i = begin * columns; i < end * columns; ++i) {
          Real const value = bias ? dst[i] + bias[i % columns] : dst[i];
          dst[i] = relu && value < Real(0) ? Real(0) : value;
        }
      });
}

/// sums[column] = sum over the rows in ascending order.
template <class ExecSpace, class Real>
void sum_columns(ExecSpace const& exec, std::string const& label, Index rows, int columns, Real const* src, Real* sums)
{
  for_items(
      exec, label, columns, rows_per_block(rows), KOKKOS_LAMBDA(Index begin, Index end) {
        for (Index column = begin; column < end; ++column) {
          Real sum = 0;
          for (Index row = 0; row < rows; ++row)
            sum += src[row * columns + column];
          sums[column] = sum;
        }
      });
}

template <class ExecSpace, class Real>
void run_kokkos_kernels(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
                        Workspace<ExecSpace>)
{
  using Unmanaged = Kokkos::MemoryTraits<Kokkos::Unmanaged>;
  using Source = Kokkos::View<Real const**, Kokkos::LayoutRight, typename ExecSpace::memory_space, Unmanaged>;
  using Result = Kokkos::View<Real**, Kokkos::LayoutRight, typename ExecSpace::memory_space, Unmanaged>;
  int const batch = problem.shape.batch;
  int const in = problem.shape.in_channels;
  int const out = problem.shape.out_channels;
  Kokkos::Profiling::ScopedRegion const region(label);
  switch (problem.pass) {
  case Pass::forward:
    KokkosBlas::gemm(exec, "N", "N", Real(1), Source(problem.a, batch, in), Source(problem.b, in, out), Real(0),
                     Result(problem.c, batch, out));
    if (problem.bias || problem.activation == Activation::relu)
      add_bias(exec, label, batch, out, problem.bias, problem.activation == Activation::relu, problem.c);
    if (problem.statistics.moments) {
      BatchStatistics<ExecSpace, Real> wanted;
      wanted.moments = Buffer<ExecSpace, Real>(problem.statistics.moments, 2 * moment_chunks(batch) * out);
      batch_norm_statistics<ExecSpace, Real>(exec, {batch, out},
                                             Buffer<ExecSpace, Real const>(problem.c, Index{batch} * out), wanted);
    }
    break;
  case Pass::backward_data:
    KokkosBlas::gemm(exec, "N", "T", Real(1), Source(problem.a, batch, out), Source(problem.b, in, out),
                     problem.accumulate ? Real(1) : Real(0), Result(problem.c, batch, in));
    break;
  case Pass::backward_weights:
    KokkosBlas::gemm(exec, "T", "N", Real(1), Source(problem.a, batch, in), Source(problem.b, batch, out), Real(0),
                     Result(problem.c, in, out));
    if (problem.bias_grad) sum_columns(exec, label, batch, out, problem.b, problem.bias_grad);
    break;
  }
}

} // namespace nasturtium::kernels::impl
#endif
