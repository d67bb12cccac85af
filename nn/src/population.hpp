// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How a population shares the cores of a host. The kernels' results do not depend on the number of threads, so neither
// policy changes a bit of any candidate.
#pragma once

#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <Kokkos_Core.hpp>
#ifdef KOKKOS_ENABLE_OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nasturtium::nn::impl {

/// Calls f<ExecSpace>() for the backend; throws Error for one that this build lacks or that is not up.
template <class F>
void with_backend(BackendKind backend, F const& f)
{
  require(Kokkos::is_initialized() && !Kokkos::is_finalized(), "the backends are not up (nn::Runtime brings them up)");
  switch (backend) {
  case BackendKind::serial:
#ifdef KOKKOS_ENABLE_SERIAL
    f.template operator()<Kokkos::Serial>();
    return;
#else
    break;
#endif
  case BackendKind::openmp:
#ifdef KOKKOS_ENABLE_OPENMP
    f.template operator()<Kokkos::OpenMP>();
    return;
#else
    break;
#endif
  case BackendKind::cuda:
#ifdef KOKKOS_ENABLE_CUDA
    f.template operator()<Kokkos::Cuda>();
    return;
#else
    break;
#endif
  }
  fail("backend '", name(backend), "' is not part of this build");
}

/// The instance for one candidate at a time. `threads` 0: all.
template <class ExecSpace>
ExecSpace make_instance(int threads)
{
  ExecSpace const all;
  require(threads >= 0, "threads must not be negative, got ", threads);
#ifdef KOKKOS_ENABLE_OPENMP
  if constexpr (std::is_same_v<ExecSpace, Kokkos::OpenMP>) {
    require(threads <= all.concurrency(), "threads: ", threads, " are more than the ", all.concurrency(),
            " that the backend was started with");
    if (threads > 0 && threads != all.concurrency()) return Kokkos::OpenMP(threads);
  }
#endif
  return all;
}

/// An instance for the calling thread alone.
template <class ExecSpace>
ExecSpace make_single_threaded_instance()
{
#ifdef KOKKOS_ENABLE_OPENMP
  if constexpr (std::is_same_v<ExecSpace, Kokkos::OpenMP>) {
    omp_set_num_threads(1); // of this thread alone
    return Kokkos::OpenMP(1);
  }
#endif
#ifdef KOKKOS_ENABLE_SERIAL
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Serial>) return Kokkos::Serial(Kokkos::NewInstance{});
#endif
  return ExecSpace();
}

/// Whether candidates can be trained side by side, each on a core of its own.
template <class ExecSpace>
constexpr bool has_cores()
{
  return Kokkos::SpaceAccessibility<Kokkos::HostSpace, typename ExecSpace::memory_space>::accessible;
}

/// Calls work(exec, i) for every i < count. An exception stops what has not begun; `on_exception` is told at once, and
/// the first one is thrown again when all work has ended.
template <class ExecSpace, class Work, class OnException>
void run_population(TrainerOptions const& options, int count, Work const& work, OnException const& on_exception)
{
  int cores = options.threads > 0 ? options.threads : ExecSpace().concurrency();
#ifdef KOKKOS_ENABLE_SERIAL
  // A serial instance has one thread, but there may be as many instances as there are cores.
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Serial>) {
    int const available = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    require(options.threads <= available, "threads: ", options.threads, " are more than the ", available,
            " cores of this machine");
    if (options.threads == 0) cores = available;
  }
#endif
  int const workers = std::min(count, std::max(1, cores));
  if (options.policy == PopulationPolicy::one_after_another) {
    auto const exec = make_instance<ExecSpace>(options.threads);
    for (int i = 0; i < count; ++i)
      work(exec, i);
    return;
  }
  std::atomic<int> next = 0;
  std::exception_ptr first_exception;
  std::mutex mutex;
  auto const worker = [&] {
    try {
      auto const exec = make_single_threaded_instance<ExecSpace>();
      for (int i = next++; i < count; i = next++)
        work(exec, i);
    } catch (...) {
      std::lock_guard const lock(mutex);
      if (!first_exception) first_exception = std::current_exception();
      next = count;
      on_exception();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < workers; ++i)
    threads.emplace_back(worker);
  for (auto& thread : threads)
    thread.join();
  if (first_exception) std::rethrow_exception(first_exception);
}

} // namespace nasturtium::nn::impl
