// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Timing of a kernel's calls.
#pragma once

#include <Kokkos_Core.hpp>
#include <benchmark/benchmark.h>

#include <chrono>

namespace nasturtium::bench {

/// Seconds of a call: on a host each is waited for, on a device many are queued, as a program does. The first is not
/// counted.
template <class Space, class Call>
double seconds_per_call(benchmark::State& state, Call const& call)
{
  constexpr bool device = !Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename Space::memory_space>::accessible;
  constexpr int calls = device ? 100 : 1;
  call();
  Kokkos::fence();
  auto const begin = std::chrono::steady_clock::now();
  while (state.KeepRunningBatch(calls)) {
    for (int i = 0; i < calls; ++i)
      call();
    Kokkos::fence();
  }
  std::chrono::duration<double> const elapsed = std::chrono::steady_clock::now() - begin;
  return elapsed.count() / static_cast<double>(state.iterations());
}

} // namespace nasturtium::bench
