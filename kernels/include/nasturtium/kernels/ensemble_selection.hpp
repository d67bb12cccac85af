// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One step of greedy ensemble selection: the likelihood of every ensemble that gets one more member.
//
// The mean of -ln(p_i) needs no logarithm per sample: the product of all p_i does, with its exponent counted apart.
// Additions, comparisons and products are all that happens here, each rounded as IEEE 754 says and in an order that the
// number of samples alone decides. So every backend gives the same bits, and selection picks the same members.
#pragma once

#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// Samples are taken in chunks of lanes * factors; a lane multiplies `factors` values before it looks at the exponent:
/// 16 values of at least 1e-12 stay far from underflow, 16 of at most 2^60 from overflow.
inline constexpr int selection_lanes = 32;
inline constexpr int selection_factors = 16;
inline constexpr Index selection_chunk = Index{selection_lanes} * selection_factors;

/// Values between the starts of two columns of `samples` samples: whole chunks.
constexpr Index selection_stride(Index samples)
{
  return (samples + selection_chunk - 1) / selection_chunk * selection_chunk;
}

/// For each of `candidates` (numbers of columns): the product over all samples i of max(sums[i] + column[i], floor) as
/// mantissa * 2^exponent, mantissa in [1, 2). Columns lie selection_stride(samples) apart in `columns`; behind the last
/// sample they hold 0, and `sums` 1, which are factors of 1. One team a candidate. O(candidates * samples).
template <class ExecSpace, class Real>
void candidate_likelihoods(ExecSpace const& exec, Index samples, Buffer<ExecSpace, Real const> columns,
                           Buffer<ExecSpace, double const> sums, Buffer<ExecSpace, std::int32_t const> candidates,
                           double floor, Buffer<ExecSpace, double> mantissas,
                           Buffer<ExecSpace, std::int64_t> exponents);

/// sums += count * column.
template <class ExecSpace, class Real>
void add_column(ExecSpace const& exec, Index samples, Buffer<ExecSpace, Real const> columns, int column, int count,
                Buffer<ExecSpace, double> sums);

} // namespace nasturtium::kernels
