// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CUDA back end of the contraction, as its callers see it. Light to include: the kernels are in cuda_*.cpp.
#pragma once

#include "contraction/cuda_tile_shape.hpp"
#include "contraction/problem.hpp"

#include <Kokkos_Core.hpp>

#include <optional>
#include <span>
#include <string>

#ifdef KOKKOS_ENABLE_CUDA

namespace nasturtium::kernels::impl::cuda {

/// Whether tiles do well on the shape: not where a group has so few filters that most of a tile would be idle.
bool accepts_shape(Pass pass, Conv2dShape const& shape);

/// Whether the shape is accepted, and tiles of this shape can be had that the plan does not take by itself.
template <class Real>
bool accepts_tiles(TileShape tiles, Pass pass, Conv2dShape const& shape);

/// Bytes of workspace of one contraction.
template <class Real>
std::size_t workspace(Pass pass, Conv2dShape const& shape);

/// Runs contractions of one pass, a population, in as few launches as their tiles allow; each has a workspace of its
/// own. float computes in math_mode(). `tiles` asks for a shape other than the plan's or the chosen one
/// (tile_choice.hpp); neither is heard where moments are made.
template <class Real>
void contract(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<Real> const> list,
              std::span<std::byte* const> workspaces, std::optional<TileShape> tiles = {});

} // namespace nasturtium::kernels::impl::cuda

#endif
