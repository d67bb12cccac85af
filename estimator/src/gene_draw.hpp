// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One gene of the table, for generators and mutations.
#pragma once

#include <nasturtium/estimator/genome.hpp>

namespace nasturtium::estimator::impl {

/// `weights` by GeneKind, instead of those of the options.
Gene draw_gene(GeneratorOptions const& options, std::array<double, gene_kinds> const& weights, Random& random);
inline Gene draw_gene(GeneratorOptions const& options, Random& random)
{
  return draw_gene(options, options.weights, random);
}

} // namespace nasturtium::estimator::impl
