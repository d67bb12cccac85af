// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The device under the tiles: a block of threads, asynchronous copies to shared memory, tensor cores, and the Kokkos
// launch.
#pragma once

#include "cuda_schedule.hpp"
#include "launch.hpp"

#include <nasturtium/core/error.hpp>

#include <string>

#ifdef KOKKOS_ENABLE_CUDA

namespace nasturtium::kernels::impl::cuda {

/// The block that the calling thread belongs to.
template <class Registers, class Member>
struct DeviceBlock
{
  Member const& member;
  int thread;
  Registers registers;

  __device__ DeviceBlock(Member const& team) : member(team), thread(team.team_rank()) {}

  template <class F>
  __device__ __forceinline__ void each(F const& f)
  {
    f(thread, registers);
  }
  __device__ __forceinline__ void barrier() { member.team_barrier(); }

  /// Starts a copy of `count` neighbours, or of zeros where `from` is null; `any` is some valid address.
  template <int count, class Real>
  __device__ __forceinline__ void copy(Real* shared, Real const* from, Real const* any)
  {
    constexpr int bytes = count * static_cast<int>(sizeof(Real));
#if __CUDA_ARCH__ >= 800
    auto const to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    auto const source = from != nullptr ? from : any;
    int const valid = from != nullptr ? bytes : 0;
    if constexpr (bytes == 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(source), "r"(valid) : "memory");
    else
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(source), "n"(bytes), "r"(valid)
                   : "memory");
#else
    for (int i = 0; i < count; ++i)
      shared[i] = from != nullptr ? from[i] : Real(0);
    (void)bytes;
    (void)any;
#endif
  }
  __device__ __forceinline__ void commit()
  {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  }
  /// Until all but the last `pending` groups of this thread's copies have arrived.
  template <int pending>
  __device__ __forceinline__ void wait()
  {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
  }
  template <class F, int down, int across>
  __device__ __forceinline__ void multiply()
  {
#if defined(__CUDA_ARCH__)
    NASTURTIUM_UNROLL
    for (int i = 0; i < down; ++i)
      NASTURTIUM_UNROLL
    for (int j = 0; j < across; ++j) {
      float(&d)[4] = *reinterpret_cast<float(*)[4]>(&registers.sum[(i * across + j) * 4]);
      F::multiply(d, registers.fragments.a[i], registers.fragments.b[j]);
    }
#endif
  }
};

template <class T, class Real>
struct TileKernel
{
  using Policy = Kokkos::TeamPolicy<Kokkos::Cuda, Kokkos::LaunchBounds<block_threads, 2>, Kokkos::IndexType<int>>;
  using Member = typename Policy::member_type;

  ProblemList<Real> list;

  __device__ void operator()(Member const& member) const
  {
    int const item = member.league_rank(), i = list.find(item);
    Problem<Real> const& problem = list.problem[i];
    auto* const shared =
        static_cast<Real*>(member.team_scratch(0).get_shmem_aligned(T::shared_size * sizeof(Real), 16));
    DeviceBlock<typename T::Registers, Member> block(member);
    T::run(block, shared, problem, TileIndex::of(problem, item - list.first[i]));
  }
};

template <class Real>
struct FinishKernel
{
  ProblemList<Real> list;

  __device__ void operator()(int item) const
  {
    int const i = list.find(item);
    finish_element(list.problem[i], item - list.first[i]);
  }
};

/// Launches of one pass on an instance.
template <class Real, Pass pass, MathMode mode>
struct DeviceLaunch
{
  Kokkos::Cuda const& exec;
  std::string const& label;

  void tiles(ProblemList<Real> const& list, TileShape shape, int vector) const
  {
    constexpr int wide = 16 / static_cast<int>(sizeof(Real));
    if (vector == wide)
      tiles<wide>(list, shape);
    else
      tiles<1>(list, shape);
  }
  void finish(ProblemList<Real> const& list) const
  {
    Kokkos::parallel_for(full_label(),
                         by_argument(Kokkos::RangePolicy<Kokkos::Cuda, Kokkos::IndexType<int>>(exec, 0, list.items())),
                         FinishKernel<Real>{list});
  }

private:
  /// With the arithmetic, where a tool listens; made for it alone, since a step must not touch the heap.
  std::string full_label() const
  {
    if (!Kokkos::Tools::profileLibraryLoaded()) return {};
    return label + (sizeof(Real) == 8        ? "[double]"
                    : mode == MathMode::tf32 ? "[tf32]"
                    : mode == MathMode::bf16 ? "[bf16]"
                                             : "[float32]");
  }
  template <int vector>
  void tiles(ProblemList<Real> const& list, TileShape shape) const
  {
    if (shape == TileShape::small)
      run<Tile<Real, pass, mode, TileShape::small, vector>>(list);
    else if (shape == TileShape::narrow)
      run<Tile<Real, pass, mode, TileShape::narrow, vector>>(list);
    else if constexpr (sizeof(Real) == 4 && vector > 1)
      run<Tile<Real, pass, mode, TileShape::wide, vector>>(list);
  }
  template <class T>
  void run(ProblemList<Real> const& list) const
  {
    using Kernel = TileKernel<T, Real>;
    typename Kernel::Policy policy(exec, list.items(), block_threads);
    policy.set_scratch_size(0, Kokkos::PerTeam(static_cast<int>(T::shared_size * sizeof(Real)) + 16));
    Kokkos::parallel_for(full_label(), by_argument(policy), Kernel{list});
  }
};

/// Instantiated in one source file for each mode, to spread the work of the compiler. `tiles` is asked for, or else
/// what was chosen (tile_choice.hpp).
template <class Real, MathMode mode>
void launch(Kokkos::Cuda const& exec, std::string const& label, std::span<Contraction<Real> const> list,
            std::span<std::byte* const> workspaces, std::optional<TileShape> tiles)
{
  if (list.empty()) return;
  auto const tiles_of = [&](Contraction<Real> const& c) { return tiles ? tiles : chosen_shape(c); };
  switch (list.front().pass) {
  case Pass::forward:
    return run_list(DeviceLaunch<Real, Pass::forward, mode>{exec, label}, list, workspaces, tiles_of);
  case Pass::backward_data:
    return run_list(DeviceLaunch<Real, Pass::backward_data, mode>{exec, label}, list, workspaces, tiles_of);
  case Pass::backward_weights:
    return run_list(DeviceLaunch<Real, Pass::backward_weights, mode>{exec, label}, list, workspaces, tiles_of);
  }
}

} // namespace nasturtium::kernels::impl::cuda

#endif
