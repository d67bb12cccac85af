// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Initial weights from the counter-based generator: the same on every backend.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

enum class Initialiser {
  he_normal,
  he_uniform,
  glorot_normal,
  glorot_uniform,
  lecun_normal,
  lecun_uniform,
  orthogonal
};

/// Fills `dst`, seen as a (fan_in rows, fan_out columns) matrix for orthogonal (rows = count / columns where
/// columns = out channels), from (seed, Purpose::weights, node, element). Variance: He 2 / fan_in (He et al., ICCV
/// 2015), Glorot 2 / (fan_in + fan_out) (AISTATS 2010), LeCun 1 / fan_in (1998); normals are not truncated. Drawn in
/// float32 whatever Real is. Computed on the host and copied once: complete at return (set-up, not the hot path).
template <class ExecSpace, class Real>
void initialise(ExecSpace const& exec, Initialiser kind, std::uint64_t seed, std::uint32_t node, Index fan_in,
                Index fan_out, Index columns, Buffer<ExecSpace, Real> dst);

} // namespace nasturtium::kernels
