// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the benchmarks of kernels share: timing of calls, and how a program of theirs ends.
#pragma once

#include <Kokkos_Core.hpp>
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <exception>

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

/// The body of main: run(argc, argv), or one message and status 2 where it throws (no device that this build could run
/// on, an argument that cannot be).
inline int run_or_tell(char const* name, int (*run)(int, char**), int argc, char** argv)
{
  try {
    return run(argc, argv);
  } catch (std::exception const& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 2;
  }
}

} // namespace nasturtium::bench
