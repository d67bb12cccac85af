// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the gate must reject (cuda_gate.sh --self-test): a kernel that calls a function of the host.
#include <nasturtium/kernels/types.hpp>

#include <cstdlib>

namespace nasturtium::kernels::impl {

struct Noise
{
  float* values;
  KOKKOS_FUNCTION void operator()(Index i) const { values[i] = static_cast<float>(std::rand()); }
};

void noise(Kokkos::Cuda const& exec, Index count, float* values)
{
  Kokkos::parallel_for("nasturtium::noise", Kokkos::RangePolicy<Kokkos::Cuda, Kokkos::IndexType<Index>>(exec, 0, count),
                       Noise{values});
}

} // namespace nasturtium::kernels::impl
