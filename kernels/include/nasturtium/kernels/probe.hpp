// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels that say how fast a device is, and nothing else.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// a = b + scalar * c (McCalpin's STREAM triad): three values of traffic per element.
template <class ExecSpace, class Real>
void triad(ExecSpace const& exec, Real scalar, Buffer<ExecSpace, Real const> b, Buffer<ExecSpace, Real const> c,
           Buffer<ExecSpace, Real> a);

/// A kernel that does nothing on every thread of the instance (on a device: in one block).
template <class ExecSpace>
void empty_launch(ExecSpace const& exec);

} // namespace nasturtium::kernels
