// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The fused multiply-add peak of this machine, measured: chains of dependent operations in registers on all threads.
#pragma once

#include <Kokkos_Core.hpp>
#include <Kokkos_Timer.hpp>

#include <algorithm>

namespace nasturtium::bench {

// nvcc does not know the pragma; the compiler behind it unrolls loops this short by itself.
#ifdef __CUDACC__
#define NASTURTIUM_UNROLL_CHAINS
#else
#define NASTURTIUM_UNROLL_CHAINS _Pragma("GCC unroll 12")
#endif

#if defined(__AVX512F__)
typedef float PeakVector __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef float PeakVector __attribute__((vector_size(32)));
#else
typedef float PeakVector __attribute__((vector_size(16)));
#endif

struct PeakWork
{
  static constexpr int chains = 12;
  static constexpr int steps = 200000;
  float* sink;

  void operator()(int worker) const
  {
    PeakVector sum[chains];
    NASTURTIUM_UNROLL_CHAINS
    for (int i = 0; i < chains; ++i)
      sum[i] = PeakVector{} + static_cast<float>(i);
    PeakVector const factor = PeakVector{} + 0.999f;
    PeakVector const addend = PeakVector{} + 0.001f;
    for (int step = 0; step < steps; ++step) {
      NASTURTIUM_UNROLL_CHAINS
      for (int i = 0; i < chains; ++i) {
        sum[i] = sum[i] * factor + addend;
        asm volatile("" : "+x"(sum[i])); // every operation is done, none is folded
      }
    }
    PeakVector all{};
    NASTURTIUM_UNROLL_CHAINS
    for (int i = 0; i < chains; ++i)
      all += sum[i];
    float total = 0;
    for (std::size_t lane = 0; lane < sizeof(PeakVector) / sizeof(float); ++lane)
      total += all[lane];
    sink[worker] = total;
  }
};

/// FLOP per second of all threads of the default instance together, the best of some short runs.
inline double measure_peak(int repetitions = 10)
{
  int const workers = Kokkos::DefaultHostExecutionSpace().concurrency();
  Kokkos::View<float*, Kokkos::HostSpace> const sink("sink", workers);
  double best = 0;
  for (int i = 0; i < repetitions; ++i) {
    Kokkos::Timer const timer;
    Kokkos::parallel_for("nasturtium::bench::peak",
                         Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace>(0, workers, Kokkos::ChunkSize(1)),
                         PeakWork{sink.data()});
    Kokkos::fence();
    double const flops = 2.0 * PeakWork::chains * PeakWork::steps * (sizeof(PeakVector) / sizeof(float)) * workers;
    best = std::max(best, flops / timer.seconds());
  }
  return best;
}

} // namespace nasturtium::bench
