// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every kernel has in common. Conventions of the whole folder:
//  * Free functions, execution space instance first; work is enqueued on that instance and nothing is fenced.
//  * Nothing is allocated: whoever calls passes a workspace of at least the bytes that the op's `..._workspace`
//  function
//    names; its content is meaningless before and after.
//  * Images are NHWC, convolution weights HWIO (height, width, in / groups, out), dense weights (in, out), row-major.
//  * The results are a function of the arguments alone: no thread count, no neighbour and no schedule changes a bit.
//  * `ExecSpace` and `Real` (float or double) are given explicitly: `kernels::relu<Kokkos::OpenMP, float>(exec, ...)`;
//    both are instantiated in the library for every backend that Kokkos was built with.
#pragma once

#include <Kokkos_Core.hpp>

#include <cstddef>
#include <cstdint>

namespace nasturtium::kernels {

using Index = std::int64_t;

/// A flat run of values that somebody else owns.
template <class ExecSpace, class T>
using Buffer =
    Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space, Kokkos::MemoryTraits<Kokkos::Unmanaged>>;

/// Scratch memory that somebody else owns, aligned to 64 bytes.
template <class ExecSpace>
using Workspace = Buffer<ExecSpace, std::byte>;

enum class Activation { identity, relu, leaky_relu, elu, gelu, silu, tanh, sigmoid };

/// Rows of a (rows, channels) tensor whose moments are summed as one chunk. Fixed, so that the order of summation is.
inline constexpr Index moment_chunk_rows = 128;

/// Chunks that `rows` rows make.
constexpr Index moment_chunks(Index rows)
{
  return (rows + moment_chunk_rows - 1) / moment_chunk_rows;
}

} // namespace nasturtium::kernels
