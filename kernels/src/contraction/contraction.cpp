// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "contraction/contraction.hpp"

#include "contraction/cuda.hpp"
#include "contraction/direct.hpp"
#include "contraction/host.hpp"
#include "contraction/kokkos_kernels.hpp"
#include "instantiate.hpp"
#include "launch.hpp"
#include "reference/contraction.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <array>
#include <vector>

namespace nasturtium::kernels::impl {

namespace {

bool accept_all(Layer, Pass, Conv2dShape const&)
{
  return true;
}
bool accept_depthwise(Layer, Pass, Conv2dShape const& shape)
{
  return host::is_depthwise(shape);
}
bool accept_grouped(Layer, Pass, Conv2dShape const& shape)
{
  return shape.groups > 1;
}
#ifdef NASTURTIUM_HAVE_KOKKOSKERNELS
bool accept_filled_dense(Layer layer, Pass, Conv2dShape const& shape)
{
  return layer == Layer::dense && shape.batch > 0;
}
#endif
std::size_t no_workspace(Pass, Conv2dShape const&)
{
  return 0;
}

template <class ExecSpace, class Real>
void run_reference(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem,
                   Workspace<ExecSpace>)
{
  reference::run(exec, label, problem);
}

#ifdef KOKKOS_ENABLE_CUDA
template <class Real>
void run_cuda_list(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<Real> const> list,
                   std::span<std::byte* const> workspaces)
{
  cuda::contract<Real>(exec, label, list, workspaces);
}
template <class Real>
void run_cuda(Kokkos::Cuda const& exec, std::string const& label, Contraction<Real> const& problem,
              Workspace<Kokkos::Cuda> workspace)
{
  std::byte* const memory = workspace.data();
  run_cuda_list<Real>(exec, label, std::span(&problem, 1), std::span(&memory, 1));
}
bool accept_cuda(Layer, Pass pass, Conv2dShape const& shape)
{
  return cuda::accepts_shape(pass, shape);
}
template <class Real, cuda::TileShape tiles>
void run_tiles_list(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<Real> const> list,
                    std::span<std::byte* const> workspaces)
{
  cuda::contract<Real>(exec, label, list, workspaces, tiles);
}
template <class Real, cuda::TileShape tiles>
void run_tiles(Kokkos::Cuda const& exec, std::string const& label, Contraction<Real> const& problem,
               Workspace<Kokkos::Cuda> workspace)
{
  std::byte* const memory = workspace.data();
  run_tiles_list<Real, tiles>(exec, label, std::span(&problem, 1), std::span(&memory, 1));
}
template <class Real, cuda::TileShape tiles>
bool accept_tiles(Layer, Pass pass, Conv2dShape const& shape)
{
  return cuda::accepts_tiles<Real>(tiles, pass, shape);
}
#endif

/// The ordered list of a space: the first that accepts a problem runs it.
template <class ExecSpace, class Real>
constexpr auto implementation_list()
{
  using Entry = Implementation<ExecSpace, Real>;
  constexpr Entry reference{"reference", accept_all, no_workspace, run_reference<ExecSpace, Real>};
  if constexpr (is_host_space<ExecSpace>) {
    return std::array{
        Entry{"depthwise", accept_depthwise, host::depthwise_workspace<ExecSpace, Real>,
              host::run_depthwise<ExecSpace, Real>, nullptr, true},
        Entry{"native", accept_all, host::workspace<ExecSpace, Real>, host::run<ExecSpace, Real>, nullptr, true},
#ifdef NASTURTIUM_HAVE_KOKKOSKERNELS
        Entry{"kokkos_kernels", accept_filled_dense, no_workspace, run_kokkos_kernels<ExecSpace, Real>},
#endif
        Entry{"direct", accept_grouped, direct::workspace<Real>, direct::run<ExecSpace, Real>}, reference};
  }
#ifdef KOKKOS_ENABLE_CUDA
  else if constexpr (std::is_same_v<ExecSpace, Kokkos::Cuda>) {
    using cuda::TileShape;
    return std::array{Entry{"tiles", accept_cuda, cuda::workspace<Real>, run_cuda<Real>, run_cuda_list<Real>, true},
                      Entry{"tiles-wide", accept_tiles<Real, TileShape::wide>, cuda::workspace<Real>,
                            run_tiles<Real, TileShape::wide>, run_tiles_list<Real, TileShape::wide>, true},
                      Entry{"tiles-narrow", accept_tiles<Real, TileShape::narrow>, cuda::workspace<Real>,
                            run_tiles<Real, TileShape::narrow>, run_tiles_list<Real, TileShape::narrow>, true},
                      Entry{"tiles-small", accept_tiles<Real, TileShape::small>, cuda::workspace<Real>,
                            run_tiles<Real, TileShape::small>, run_tiles_list<Real, TileShape::small>, true},
                      Entry{"direct", accept_grouped, direct::workspace<Real>, direct::run<ExecSpace, Real>},
                      reference};
  }
#endif
  else {
    return std::array{reference};
  }
}
template <class ExecSpace, class Real>
inline constexpr auto implementations = implementation_list<ExecSpace, Real>();

/// "nasturtium::conv2d_forward[native]" for every layer, pass and implementation of a space; made once, so that a call
/// does not touch the heap.
template <class ExecSpace, class Real>
std::string const& label(Layer layer, Pass pass, std::size_t implementation)
{
  constexpr std::size_t count = implementations<ExecSpace, Real>.size();
  static auto const labels = [] {
    std::array<std::string, 2 * 3 * count> made;
    std::size_t next = 0;
    for (char const* of : {"conv2d_", "dense_"}) {
      for (char const* which : {"forward[", "backward_data[", "backward_weights["}) {
        for (auto const& entry : implementations<ExecSpace, Real>)
          made[next++] = concat("nasturtium::", of, which, entry.name, "]");
      }
    }
    return made;
  }();
  return labels[(static_cast<std::size_t>(layer) * 3 + static_cast<std::size_t>(pass)) * count + implementation];
}

void check(Conv2dShape const& s)
{
  require(s.batch >= 0 && s.in_height > 0 && s.in_width > 0 && s.in_channels > 0 && s.out_channels > 0 &&
              s.kernel_height > 0 && s.kernel_width > 0 && s.stride_height > 0 && s.stride_width > 0 &&
              s.dilation_height > 0 && s.dilation_width > 0,
          "convolution: extents must be positive, got batch ", s.batch, ", input ", s.in_height, "x", s.in_width, "x",
          s.in_channels, ", ", s.out_channels, " filters ", s.kernel_height, "x", s.kernel_width, ", stride ",
          s.stride_height, "x", s.stride_width, ", dilation ", s.dilation_height, "x", s.dilation_width);
  require(s.pad_top >= 0 && s.pad_bottom >= 0 && s.pad_left >= 0 && s.pad_right >= 0,
          "convolution: padding must not be negative, got ", s.pad_top, " ", s.pad_bottom, " ", s.pad_left, " ",
          s.pad_right);
  require(s.groups > 0 && s.in_channels % s.groups == 0 && s.out_channels % s.groups == 0, "convolution: groups ",
          s.groups, " must divide ", s.in_channels, " input channels and ", s.out_channels, " filters");
  require(s.in_height + s.pad_top + s.pad_bottom > s.dilation_height * (s.kernel_height - 1) &&
              s.in_width + s.pad_left + s.pad_right > s.dilation_width * (s.kernel_width - 1),
          "convolution: kernel ", s.kernel_height, "x", s.kernel_width, " with dilation ", s.dilation_height, "x",
          s.dilation_width, " is larger than the padded input ", s.in_height + s.pad_top + s.pad_bottom, "x",
          s.in_width + s.pad_left + s.pad_right);
}

/// A contraction as a value, or several that one implementation runs as a list.
template <class ExecSpace, class Real>
class ContractionLaunch final : public Launch<ExecSpace>
{
public:
  ContractionLaunch(std::string const& label, std::size_t implementation, Contraction<Real> const& problem,
                    Workspace<ExecSpace> const& workspace)
      : m_label(&label), m_implementation(implementation), m_problems{problem}, m_workspaces{workspace.data()},
        m_workspace_bytes(workspace.extent(0))
  {
  }
  std::pair<std::type_index, int> kind() const override
  {
    return {typeid(ContractionLaunch), static_cast<int>(m_implementation) * 3 + static_cast<int>(m_problems[0].pass)};
  }
  std::unique_ptr<Launch<ExecSpace>> copy() const override { return std::make_unique<ContractionLaunch>(*this); }
  std::unique_ptr<Launch<ExecSpace>> fuse(std::span<Launch<ExecSpace> const* const> all) const override
  {
    if (entry().run_list == nullptr) return std::make_unique<LaunchesInTurn<ExecSpace>>(all);
    auto fused = std::make_unique<ContractionLaunch>(*this);
    fused->m_problems.clear(), fused->m_workspaces.clear();
    for (auto const* const launch : all) {
      auto const& one = static_cast<ContractionLaunch const&>(*launch);
      fused->m_problems.insert(fused->m_problems.end(), one.m_problems.begin(), one.m_problems.end());
      fused->m_workspaces.insert(fused->m_workspaces.end(), one.m_workspaces.begin(), one.m_workspaces.end());
    }
    return fused;
  }
  void run(ExecSpace const& exec) const override
  {
    if (m_problems.size() > 1)
      entry().run_list(exec, *m_label, m_problems, m_workspaces);
    else
      entry().run(exec, *m_label, m_problems[0], Workspace<ExecSpace>(m_workspaces[0], m_workspace_bytes));
  }

private:
  std::string const* m_label;
  std::size_t m_implementation;
  std::vector<Contraction<Real>> m_problems; ///< at least one
  std::vector<std::byte*> m_workspaces;
  std::size_t m_workspace_bytes; ///< of a single one

  auto const& entry() const { return implementations<ExecSpace, Real>[m_implementation]; }
};

} // namespace

template <class ExecSpace, class Real>
void contract(ExecSpace const& exec, Layer layer, std::string_view implementation, Contraction<Real> const& problem,
              Workspace<ExecSpace> workspace)
{
  check(problem.shape);
  require(problem.activation == Activation::identity || problem.activation == Activation::relu,
          "contraction: its activation is identity or relu, got ", static_cast<int>(problem.activation));
  require(!problem.statistics.moments || problem.activation == Activation::identity,
          "contraction: statistics go with identity alone");
  auto const& list = implementations<ExecSpace, Real>;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto const& entry = list[i];
    if (!implementation.empty() && implementation != entry.name) continue;
    if (!entry.accepts(layer, problem.pass, problem.shape)) continue;
    std::size_t const needed = entry.workspace(problem.pass, problem.shape);
    require(workspace.extent(0) >= needed, "contraction: workspace of ", workspace.extent(0), " bytes, ", needed,
            " needed");
    auto const& name = label<ExecSpace, Real>(layer, problem.pass, i);
    // Implementations of devices without lists launch by for_items, which records.
    if (auto* const launches = recording<ExecSpace>;
        launches && (is_host_space<ExecSpace> || entry.run_list != nullptr)) {
      launches->push_back(std::make_unique<ContractionLaunch<ExecSpace, Real>>(name, i, problem, workspace));
    } else {
      entry.run(exec, name, problem, workspace);
    }
    if (problem.statistics.mean != nullptr && !entry.merges)
      merge_statistics(exec, problem.statistics, problem.shape.out_rows(), problem.shape.out_channels);
    return;
  }
  fail("contraction: no implementation \"", implementation, "\" for this problem");
}

template <class ExecSpace, class Real>
std::size_t contraction_workspace(Layer layer, Pass pass, Conv2dShape const& shape)
{
  check(shape);
  std::size_t bytes = 0;
  for (auto const& entry : implementations<ExecSpace, Real>) {
    if (entry.accepts(layer, pass, shape)) bytes = std::max(bytes, entry.workspace(pass, shape));
  }
  return bytes;
}

template <class ExecSpace, class Real>
std::vector<std::string_view> contraction_implementations(Layer layer, Pass pass, Conv2dShape const& shape)
{
  check(shape);
  std::vector<std::string_view> names;
  for (auto const& entry : implementations<ExecSpace, Real>) {
    if (entry.accepts(layer, pass, shape)) names.emplace_back(entry.name);
  }
  return names;
}

#define NASTURTIUM_CONTRACTION(ExecSpace, Real)                                                                        \
  template void contract<ExecSpace, Real>(ExecSpace const&, Layer, std::string_view, Contraction<Real> const&,         \
                                          Workspace<ExecSpace>);                                                       \
  template std::size_t contraction_workspace<ExecSpace, Real>(Layer, Pass, Conv2dShape const&);                        \
  template std::vector<std::string_view> contraction_implementations<ExecSpace, Real>(Layer, Pass, Conv2dShape const&);
NASTURTIUM_INSTANTIATE(NASTURTIUM_CONTRACTION)

} // namespace nasturtium::kernels::impl
