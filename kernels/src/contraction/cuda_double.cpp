// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "contraction/cuda_launch.hpp"

#ifdef KOKKOS_ENABLE_CUDA

namespace nasturtium::kernels::impl::cuda {

template void launch<double, MathMode::full>(Kokkos::Cuda const&, std::string const&,
                                             std::span<Contraction<double> const>, std::span<std::byte* const>,
                                             std::optional<TileShape>);

} // namespace nasturtium::kernels::impl::cuda

#endif
