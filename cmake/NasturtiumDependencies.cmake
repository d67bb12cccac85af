# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Every dependency is looked for on the system first. What is missing and small enough is then built from the release named
# here, taken by version and hash; FETCHCONTENT_SOURCE_DIR_<NAME> gives a local copy instead, where there is no internet.
include(FetchContent)
if(POLICY CMP0167)
  cmake_policy(SET CMP0167 NEW) # Boost by its own configuration file
endif()

# nasturtium_dependency(NAME MINIMUM URL SHA256 [options for find_package...])
macro(nasturtium_dependency name minimum url sha256)
  FetchContent_Declare(${name}
    URL ${url} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP ON SYSTEM
    FIND_PACKAGE_ARGS ${minimum} ${ARGN})
  FetchContent_MakeAvailable(${name})
endmacro()

option(NASTURTIUM_FETCH_CUDA "Enable CUDA in a Kokkos that CMake has to build itself" OFF)
option(NASTURTIUM_KOKKOS_KERNELS "Offer Kokkos Kernels' gemm as one more implementation of dense layers" OFF)

if(DEFINED FETCHCONTENT_SOURCE_DIR_KOKKOS OR NASTURTIUM_FETCH_CUDA)
  # A Kokkos of our own: its options must be known before it is configured. They change nothing where one is found.
  find_package(OpenMP QUIET COMPONENTS CXX)
  set(Kokkos_ENABLE_SERIAL ON CACHE BOOL "")
  set(Kokkos_ENABLE_OPENMP ${OpenMP_CXX_FOUND} CACHE BOOL "")
  set(Kokkos_ENABLE_CUDA ${NASTURTIUM_FETCH_CUDA} CACHE BOOL "")
  set(Kokkos_ENABLE_CUDA_CONSTEXPR ${NASTURTIUM_FETCH_CUDA} CACHE BOOL "")
  set(Kokkos_ARCH_NATIVE ${NASTURTIUM_NATIVE} CACHE BOOL "")
endif()
nasturtium_dependency(Kokkos 4.6
  https://github.com/kokkos/kokkos/releases/download/5.0.0/kokkos-5.0.0.tar.gz
  c45f3e19c3eb71fc8b7210cb04cac658015fc1839e7cc0571f7406588ff9bcef)
if(NASTURTIUM_FETCH_CUDA AND NOT Kokkos_ENABLE_CUDA)
  message(FATAL_ERROR "The Kokkos that was found (${Kokkos_DIR}) has no CUDA. Point Kokkos_ROOT to one that has, or let "
    "CMake build one: -DCMAKE_DISABLE_FIND_PACKAGE_Kokkos=ON, or without internet -DFETCHCONTENT_SOURCE_DIR_KOKKOS=DIR")
endif()
if(NASTURTIUM_KOKKOS_KERNELS)
  nasturtium_dependency(KokkosKernels ""
    https://github.com/kokkos/kokkos-kernels/releases/download/5.0.0/kokkos-kernels-5.0.0.tar.gz
    e1d7e7040b86f141004126c3fa5711f28697803d921c3558d82192a32156b1b2)
endif()

if(NASTURTIUM_PROGRAM)
  find_package(Boost 1.81 REQUIRED COMPONENTS json)
  find_package(HDF5 REQUIRED COMPONENTS C)
  find_package(ZLIB REQUIRED)
  nasturtium_dependency(CLI11 2.3
    https://github.com/CLIUtils/CLI11/archive/v2.4.2.tar.gz
    f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a)
  # XXH3 names the objects of the weight store: one header, nothing to link.
  find_path(NASTURTIUM_XXHASH_INCLUDE_DIR xxhash.h)
  mark_as_advanced(NASTURTIUM_XXHASH_INCLUDE_DIR)
  if(NOT NASTURTIUM_XXHASH_INCLUDE_DIR)
    FetchContent_Declare(xxhash
      URL https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.3.tar.gz
      URL_HASH SHA256=aae608dfe8213dfd05d909a57718ef82f30722c392344583d3f39050c7f29a80
      DOWNLOAD_EXTRACT_TIMESTAMP ON SOURCE_SUBDIR nothing-to-build)
    FetchContent_MakeAvailable(xxhash)
    set(NASTURTIUM_XXHASH_INCLUDE_DIR ${xxhash_SOURCE_DIR})
  endif()
endif()
if(NASTURTIUM_TESTS)
  nasturtium_dependency(Catch2 3
    https://github.com/catchorg/Catch2/archive/refs/tags/v3.8.0.tar.gz
    1ab2de20460d4641553addfdfe6acd4109d871d5531f8f519a52ea4926303087)
  if(DEFINED catch2_SOURCE_DIR)
    list(APPEND CMAKE_MODULE_PATH "${catch2_SOURCE_DIR}/extras")
  endif()
  include(Catch)
endif()
if(NASTURTIUM_BENCHMARKS)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE BOOL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE BOOL "")
  nasturtium_dependency(benchmark 1.7
    https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
    32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981)
endif()
