// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Explicit instantiation of the kernels for every backend that Kokkos was built with, in float and double:
//
//   #define NASTURTIUM_RELU(ExecSpace, Real) template void relu<ExecSpace, Real>(ExecSpace const&, ...);
//   NASTURTIUM_INSTANTIATE(NASTURTIUM_RELU)
//
// stands at the end of a source file, inside namespace nasturtium::kernels.
#pragma once

#include <Kokkos_Core.hpp>

#include <type_traits>

// The tests' stand-in for a GPU takes CUDA's place, and the others are left out.
#ifdef NASTURTIUM_EMULATED_DEVICE
#define NASTURTIUM_INSTANTIATE_SERIAL(MACRO, ...)
#define NASTURTIUM_INSTANTIATE_OPENMP(MACRO, ...)
#define NASTURTIUM_INSTANTIATE_CUDA(MACRO, ...) MACRO(nasturtium::testing::EmulatedDevice, __VA_ARGS__)
#else

#ifdef KOKKOS_ENABLE_SERIAL
#define NASTURTIUM_INSTANTIATE_SERIAL(MACRO, ...) MACRO(Kokkos::Serial, __VA_ARGS__)
#else
#define NASTURTIUM_INSTANTIATE_SERIAL(MACRO, ...)
#endif

#ifdef KOKKOS_ENABLE_OPENMP
#define NASTURTIUM_INSTANTIATE_OPENMP(MACRO, ...) MACRO(Kokkos::OpenMP, __VA_ARGS__)
#else
#define NASTURTIUM_INSTANTIATE_OPENMP(MACRO, ...)
#endif

#ifdef KOKKOS_ENABLE_CUDA
#define NASTURTIUM_INSTANTIATE_CUDA(MACRO, ...) MACRO(Kokkos::Cuda, __VA_ARGS__)
#else
#define NASTURTIUM_INSTANTIATE_CUDA(MACRO, ...)
#endif

#endif

/// MACRO(ExecSpace, Real) for every enabled backend and both precisions.
#define NASTURTIUM_INSTANTIATE(MACRO)                                                                                  \
  NASTURTIUM_INSTANTIATE_SERIAL(MACRO, float)                                                                          \
  NASTURTIUM_INSTANTIATE_SERIAL(MACRO, double)                                                                         \
  NASTURTIUM_INSTANTIATE_OPENMP(MACRO, float)                                                                          \
  NASTURTIUM_INSTANTIATE_OPENMP(MACRO, double)                                                                         \
  NASTURTIUM_INSTANTIATE_CUDA(MACRO, float)                                                                            \
  NASTURTIUM_INSTANTIATE_CUDA(MACRO, double)

namespace nasturtium::kernels::impl {

/// Whether the space runs plain host code: its kernels may use std:: and the host back end of the contraction.
template <class ExecSpace>
inline constexpr bool is_host_space = std::is_same_v<typename ExecSpace::memory_space, Kokkos::HostSpace>;

} // namespace nasturtium::kernels::impl

#ifdef NASTURTIUM_EMULATED_DEVICE
#include "kernels/emulated_device.hpp"
#endif
