// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The host back end of the contraction engine.
#pragma once

#include "contraction/host_depthwise.hpp"
#include "contraction/host_product.hpp"
#include "contraction/host_weights.hpp"

#include <nasturtium/core/error.hpp>

namespace nasturtium::kernels::impl::host {

template <class ExecSpace, class Real>
std::size_t workspace(Pass pass, Conv2dShape const& shape)
{
  return pass == Pass::backward_weights ? weight_workspace<ExecSpace, Real>(shape)
                                        : product_workspace<ExecSpace, Real>(pass, shape);
}

template <class ExecSpace, class Real>
void run(ExecSpace const& exec, std::string const& label, Contraction<Real> const& problem, Workspace<ExecSpace> memory)
{
  if (problem.pass == Pass::backward_weights) {
    run_weights(exec, label, problem, memory);
  } else {
    run_product(exec, label, problem, memory);
  }
}

} // namespace nasturtium::kernels::impl::host
