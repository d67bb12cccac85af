// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one entrance to the contraction engine, behind conv2d_* and dense_*.
#pragma once

#include "contraction/problem.hpp"

#include <span>
#include <string>

namespace nasturtium::kernels::impl {

enum class Layer { conv2d, dense };

/// The pointer to a buffer that may be empty; null then.
template <class View>
auto optional(View const& view)
{
  return view.extent(0) == 0 ? nullptr : view.data();
}

/// One entry of the ordered list of implementations.
template <class ExecSpace, class Real>
struct Implementation
{
  char const* name;
  bool (*accepts)(Layer, Pass, Conv2dShape const&);
  std::size_t (*workspace)(Pass, Conv2dShape const&);
  void (*run)(ExecSpace const&, std::string const& label, Contraction<Real> const&, Workspace<ExecSpace>);
  /// Contractions of one pass together, each with its own workspace; null where that gains nothing.
  void (*run_list)(ExecSpace const&, std::string const& label, std::span<Contraction<Real> const>,
                   std::span<std::byte* const> workspaces) = nullptr;
  /// Its forward pass merges the statistics of the batch; else contract() does, by a launch of its own.
  bool merges = false;
};

/// Runs the first implementation that accepts the problem, or the one that is named; puts it on the list where the
/// thread records (launch_list.hpp).
template <class ExecSpace, class Real>
void contract(ExecSpace const& exec, Layer layer, std::string_view implementation, Contraction<Real> const& problem,
              Workspace<ExecSpace> workspace);

/// Bytes of workspace, enough for every implementation that accepts the problem.
template <class ExecSpace, class Real>
std::size_t contraction_workspace(Layer layer, Pass pass, Conv2dShape const& shape);

/// Names of those that accept the problem, in order.
template <class ExecSpace, class Real>
std::vector<std::string_view> contraction_implementations(Layer layer, Pass pass, Conv2dShape const& shape);

} // namespace nasturtium::kernels::impl
