// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NASTURTIUM_FOR_EACH_BACKEND(MACRO) expands MACRO(ExecSpace) for every backend that Kokkos was built with.
#pragma once

#include <Kokkos_Core.hpp>

#ifdef KOKKOS_ENABLE_SERIAL
#define NASTURTIUM_IF_SERIAL(MACRO) MACRO(Kokkos::Serial)
#else
#define NASTURTIUM_IF_SERIAL(MACRO)
#endif
#ifdef KOKKOS_ENABLE_OPENMP
#define NASTURTIUM_IF_OPENMP(MACRO) MACRO(Kokkos::OpenMP)
#else
#define NASTURTIUM_IF_OPENMP(MACRO)
#endif
#ifdef KOKKOS_ENABLE_CUDA
#define NASTURTIUM_IF_CUDA(MACRO) MACRO(Kokkos::Cuda)
#else
#define NASTURTIUM_IF_CUDA(MACRO)
#endif

#define NASTURTIUM_FOR_EACH_BACKEND(MACRO)                                                                             \
  NASTURTIUM_IF_SERIAL(MACRO) NASTURTIUM_IF_OPENMP(MACRO) NASTURTIUM_IF_CUDA(MACRO)
