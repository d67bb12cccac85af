// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/probe.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

namespace nasturtium::kernels {
namespace impl {

template <class Real>
struct Triad
{
  Real scalar;
  Real const* b;
  Real const* c;
  Real* a;
  KOKKOS_FUNCTION void operator()(Index begin, Index end) const
  {
    NASTURTIUM_INDEPENDENT
    for (Index i = begin; i < end; ++i)
      a[i] = b[i] + scalar * c[i];
  }
};

struct Nothing
{
  KOKKOS_FUNCTION void operator()(Index) const {}
};

} // namespace impl

template <class ExecSpace, class Real>
void triad(ExecSpace const& exec, Real scalar, Buffer<ExecSpace, Real const> b, Buffer<ExecSpace, Real const> c,
           Buffer<ExecSpace, Real> a)
{
  static std::string const label = "nasturtium::triad";
  auto const count = static_cast<Index>(a.extent(0));
  impl::require_extent("triad", "b", b, count);
  impl::require_extent("triad", "c", c, count);
  impl::for_elements(exec, label, count, impl::Triad<Real>{scalar, b.data(), c.data(), a.data()});
}

template <class ExecSpace>
void empty_launch(ExecSpace const& exec)
{
  static std::string const label = "nasturtium::empty_launch";
  Index const items = impl::is_host_space<ExecSpace> ? static_cast<Index>(exec.concurrency()) : 1;
  Kokkos::parallel_for(
      impl::launch_label(label),
      Kokkos::RangePolicy<ExecSpace, Kokkos::Schedule<Kokkos::Static>, Kokkos::IndexType<Index>>(exec, 0, items),
      impl::Nothing{});
}

#define NASTURTIUM_TRIAD(ExecSpace, Real)                                                                              \
  template void triad<ExecSpace, Real>(ExecSpace const&, Real, Buffer<ExecSpace, Real const>,                          \
                                       Buffer<ExecSpace, Real const>, Buffer<ExecSpace, Real>);
NASTURTIUM_INSTANTIATE(NASTURTIUM_TRIAD)

#define NASTURTIUM_EMPTY_LAUNCH(ExecSpace, Unused) template void empty_launch<ExecSpace>(ExecSpace const&);
NASTURTIUM_INSTANTIATE_SERIAL(NASTURTIUM_EMPTY_LAUNCH, )
NASTURTIUM_INSTANTIATE_OPENMP(NASTURTIUM_EMPTY_LAUNCH, )
NASTURTIUM_INSTANTIATE_CUDA(NASTURTIUM_EMPTY_LAUNCH, )

} // namespace nasturtium::kernels
