// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the gate must accept (cuda_gate.sh --self-test).
#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels::impl {

struct Scale
{
  float* values;
  float factor;
  KOKKOS_FUNCTION void operator()(Index i) const { values[i] = Kokkos::exp(values[i] * factor); }
};

void scale(Kokkos::Cuda const& exec, Index count, float* values)
{
  Kokkos::parallel_for("nasturtium::scale", Kokkos::RangePolicy<Kokkos::Cuda, Kokkos::IndexType<Index>>(exec, 0, count),
                       Scale{values, 2.0f});
}

} // namespace nasturtium::kernels::impl
