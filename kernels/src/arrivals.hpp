// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who of a launch comes last: the teams (blocks, workers) of a launch write partial results, and the one that is done
// last adds them up, instead of a second launch. Who that is changes from run to run; what it adds, and in which order,
// does not.
#pragma once

#include <Kokkos_Core.hpp>

#include <atomic>

namespace nasturtium::kernels::impl {

/// Adds `done` to the counter; true for whoever makes it `all`. What the others wrote before their calls is visible to
/// that one afterwards, and the counter is zero again. For one thread of a team, with a barrier on either side where
/// others of the team have written or will read.
KOKKOS_INLINE_FUNCTION bool last_to_arrive(int* counter, int done, int all)
{
  int before = 0;
  KOKKOS_IF_ON_HOST((before = std::atomic_ref<int>(*counter).fetch_add(done, std::memory_order_acq_rel);))
  KOKKOS_IF_ON_DEVICE(
      (Kokkos::memory_fence(); before = Kokkos::atomic_fetch_add(counter, done); Kokkos::memory_fence();))
  if (before + done != all) return false;
  *counter = 0;
  return true;
}

/// The same for a team, every thread of which calls it and gets the answer. `word` is shared memory that no thread of
/// the team uses any more; neither does one when this returns. `threads`: see TeamThreads (batch_statistics.hpp).
template <class Threads>
KOKKOS_INLINE_FUNCTION bool last_team_to_arrive(Threads& threads, int* word, int* counter, int teams)
{
  threads.barrier();
  threads.each([&](int thread, auto&&...) {
    if (thread == 0) *word = last_to_arrive(counter, 1, teams) ? 1 : 0;
  });
  threads.barrier();
  bool const last = *word != 0;
  threads.barrier();
  return last;
}

} // namespace nasturtium::kernels::impl
