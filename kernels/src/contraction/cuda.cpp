// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "contraction/cuda.hpp"

#include "contraction/cuda_plan.hpp"

#include <nasturtium/kernels/math_mode.hpp>

#ifdef KOKKOS_ENABLE_CUDA

namespace nasturtium::kernels::impl::cuda {

template <class Real, MathMode mode>
void launch(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<Real> const> list,
            std::span<std::byte* const> workspaces, std::optional<TileShape> tiles);

bool accepts_shape(Pass pass, Conv2dShape const& s)
{
  int const columns = (pass == Pass::backward_data ? s.in_channels : s.out_channels) / s.groups;
  return accepts(s) && (s.groups == 1 || columns >= 8);
}

template <class Real>
bool accepts_tiles(TileShape tiles, Pass pass, Conv2dShape const& s)
{
  return accepts_shape(pass, s) && s.batch > 0 && possible_tiles<Real>(tiles, true) == tiles &&
         pass_plan<Real>(pass, s, false).shape != tiles;
}
template bool accepts_tiles<float>(TileShape, Pass, Conv2dShape const&);
template bool accepts_tiles<double>(TileShape, Pass, Conv2dShape const&);

template <class Real>
std::size_t workspace(Pass pass, Conv2dShape const& shape)
{
  return workspace_bytes<Real>(pass, shape);
}
template std::size_t workspace<float>(Pass, Conv2dShape const&);
template std::size_t workspace<double>(Pass, Conv2dShape const&);

template <>
void contract(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<double> const> list,
              std::span<std::byte* const> workspaces, std::optional<TileShape> tiles)
{
  launch<double, MathMode::full>(exec, label, list, workspaces, tiles);
}

template <>
void contract(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<float> const> list,
              std::span<std::byte* const> workspaces, std::optional<TileShape> tiles)
{
  switch (math_mode()) {
  case MathMode::full:
    return launch<float, MathMode::full>(exec, label, list, workspaces, tiles);
  case MathMode::tf32:
    return launch<float, MathMode::tf32>(exec, label, list, workspaces, tiles);
  case MathMode::bf16:
    return launch<float, MathMode::bf16>(exec, label, list, workspaces, tiles);
  }
}

} // namespace nasturtium::kernels::impl::cuda

#endif
