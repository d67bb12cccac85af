// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chunk c of the samples belongs to slot c % selection_slots; each (slot, lane) has a product of its own, and these are
// multiplied pairwise in the end. On a device a (slot, lane) is a thread of the candidate's team; a host takes a few
// candidates at a time.
#include <nasturtium/kernels/ensemble_selection.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

namespace nasturtium::kernels {
namespace impl {

inline constexpr int selection_slots = 4;
inline constexpr int selection_width = selection_slots * selection_lanes;
inline constexpr int selection_scratch_bytes = selection_width * 16; // a double and an int64 each

/// product *= factor, where the product's exponent is moved to `exponent`; both are positive and normal.
KOKKOS_FORCEINLINE_FUNCTION void multiply_into(double& product, std::int64_t& exponent, double factor)
{
  auto const bits = Kokkos::bit_cast<std::uint64_t>(product * factor);
  exponent += static_cast<std::int64_t>(bits >> 52) - 1023;
  product = Kokkos::bit_cast<double>((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
}

template <class Real>
struct LikelihoodOperands
{
  Index stride;
  Real const* columns;
  double const* sums;
  std::int32_t const* candidates;
  double floor;
  double* mantissas;
  std::int64_t* exponents;
};

/// Candidates that a host takes through the samples side by side: a chunk of the sums is read once for all of them, and
/// as many columns are under way from memory.
inline constexpr int host_candidates = 8;

template <class Real>
struct HostLikelihoods
{
  static constexpr int cache_line_values = 64 / sizeof(Real);
  LikelihoodOperands<Real> on;
  Index count;

  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    for (Index group = begin; group < end; ++group) {
      Index const first = group * host_candidates;
      run(first, static_cast<int>(count - first < host_candidates ? count - first : host_candidates));
    }
  }

  KOKKOS_FUNCTION void run(Index first, int together) const
  {
    double products[host_candidates][selection_width];
    std::int64_t exponents[host_candidates][selection_width];
    for (int k = 0; k < together; ++k)
      for (int i = 0; i < selection_width; ++i) {
        products[k][i] = 1;
        exponents[k][i] = 0;
      }
    for (Index chunk = 0; chunk * selection_chunk < on.stride; ++chunk) {
      int const slot = static_cast<int>(chunk % selection_slots) * selection_lanes;
      for (int k = 0; k < together; ++k)
        multiply_chunk(on.columns + on.candidates[first + k] * on.stride + chunk * selection_chunk,
                       on.sums + chunk * selection_chunk, products[k] + slot, exponents[k] + slot);
    }
    for (int k = 0; k < together; ++k) {
      for (int half = selection_width / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) {
          exponents[k][i] += exponents[k][i + half];
          multiply_into(products[k][i], exponents[k][i], products[k][i + half]);
        }
      on.mantissas[first + k] = products[k][0];
      on.exponents[first + k] = exponents[k][0];
    }
  }

  KOKKOS_FUNCTION void multiply_chunk(Real const* q, double const* s, double* products, std::int64_t* exponents) const
  {
    double own[selection_lanes];
    for (double& product : own)
      product = 1;
    for (int factor = 0; factor < selection_factors; ++factor, s += selection_lanes, q += selection_lanes) {
#if defined(__GNUC__)
      // The hardware's prefetcher loses a column at every change to the next one.
      for (int line = 0; line < selection_lanes; line += cache_line_values)
        KOKKOS_IF_ON_HOST((__builtin_prefetch(q + selection_chunk + line);))
#endif
      NASTURTIUM_INDEPENDENT
      for (int lane = 0; lane < selection_lanes; ++lane) {
        double const value = s[lane] + static_cast<double>(q[lane]);
        own[lane] *= value > on.floor ? value : on.floor;
      }
    }
    NASTURTIUM_INDEPENDENT
    for (int lane = 0; lane < selection_lanes; ++lane)
      multiply_into(products[lane], exponents[lane], own[lane]);
  }
};

template <class Real>
struct DeviceLikelihoods
{
  LikelihoodOperands<Real> on;

  template <class Team>
  KOKKOS_FUNCTION void operator()(Team const& team) const
  {
    int const item = team.league_rank(), rank = team.team_rank();
    Real const* const column = on.columns + on.candidates[item] * on.stride;
    auto* const products = static_cast<double*>(team.team_shmem().get_shmem(std::size_t{selection_scratch_bytes}));
    auto* const exponents = reinterpret_cast<std::int64_t*>(products + selection_width);
    double product = 1;
    std::int64_t exponent = 0;
    int const slot = rank / selection_lanes, lane = rank % selection_lanes;
    for (Index at = slot * selection_chunk + lane; at < on.stride; at += selection_slots * selection_chunk) {
      double own = 1;
      for (int factor = 0; factor < selection_factors; ++factor) {
        Index const i = at + factor * selection_lanes;
        double const value = on.sums[i] + static_cast<double>(column[i]);
        own *= value > on.floor ? value : on.floor;
      }
      multiply_into(product, exponent, own);
    }
    products[rank] = product;
    exponents[rank] = exponent;
    for (int half = selection_width / 2; half > 0; half /= 2) {
      team.team_barrier();
      if (rank >= half) continue;
      exponents[rank] += exponents[rank + half];
      multiply_into(products[rank], exponents[rank], products[rank + half]);
    }
    if (rank != 0) return;
    on.mantissas[item] = products[0];
    on.exponents[item] = exponents[0];
  }
};

template <class Real>
struct AddColumn
{
  Real const* column;
  double count;
  double* sums;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i)
      sums[i] +=
          count * static_cast<double>(column[i]); // exact products of float columns: contracted or not, same bits
  }
};

} // namespace impl

template <class ExecSpace, class Real>
void candidate_likelihoods(ExecSpace const& exec, Index samples, Buffer<ExecSpace, Real const> columns,
                           Buffer<ExecSpace, double const> sums, Buffer<ExecSpace, std::int32_t const> candidates,
                           double floor, Buffer<ExecSpace, double> mantissas, Buffer<ExecSpace, std::int64_t> exponents)
{
  static std::string const label = "nasturtium::candidate_likelihoods";
  constexpr char const* op = "candidate_likelihoods";
  if (samples < 1 || !(floor > 0)) fail("kernels::", op, ": ", samples, " samples, floor ", floor);
  auto const count = static_cast<Index>(candidates.extent(0));
  Index const stride = selection_stride(samples);
  impl::require_extent(op, "columns", columns, stride);
  impl::require_extent(op, "sums", sums, stride);
  impl::require_extent(op, "mantissas", mantissas, count);
  impl::require_extent(op, "exponents", exponents, count);
  if (count == 0) return;
  impl::LikelihoodOperands<Real> const on{stride, columns.data(),   sums.data(),     candidates.data(),
                                          floor,  mantissas.data(), exponents.data()};
  if constexpr (impl::is_host_space<ExecSpace>) {
    impl::for_items(exec, label, (count + impl::host_candidates - 1) / impl::host_candidates,
                    impl::rows_per_block(impl::host_candidates * stride), impl::HostLikelihoods<Real>{on, count});
  } else {
    impl::for_teams(exec, label, count, impl::selection_width, impl::selection_scratch_bytes,
                    impl::DeviceLikelihoods<Real>{on});
  }
}

template <class ExecSpace, class Real>
void add_column(ExecSpace const& exec, Index samples, Buffer<ExecSpace, Real const> columns, int column, int count,
                Buffer<ExecSpace, double> sums)
{
  static std::string const label = "nasturtium::add_column";
  constexpr char const* op = "add_column";
  if (samples < 1 || column < 0) fail("kernels::", op, ": ", samples, " samples, column ", column);
  Index const stride = selection_stride(samples);
  impl::require_extent(op, "columns", columns, (Index{column} + 1) * stride);
  impl::require_extent(op, "sums", sums, samples);
  impl::for_elements(exec, label, samples,
                     impl::AddColumn<Real>{columns.data() + column * stride, static_cast<double>(count), sums.data()});
}

#define NASTURTIUM_ENSEMBLE_SELECTION(ExecSpace, Real)                                                                 \
  template void candidate_likelihoods<ExecSpace, Real>(                                                                \
      ExecSpace const&, Index, Buffer<ExecSpace, Real const>, Buffer<ExecSpace, double const>,                         \
      Buffer<ExecSpace, std::int32_t const>, double, Buffer<ExecSpace, double>, Buffer<ExecSpace, std::int64_t>);      \
  template void add_column<ExecSpace, Real>(ExecSpace const&, Index, Buffer<ExecSpace, Real const>, int, int,          \
                                            Buffer<ExecSpace, double>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_ENSEMBLE_SELECTION)

} // namespace nasturtium::kernels
