// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block of CUDA threads on the host: the templates of the CUDA contraction run on it unchanged, one thread after
// another from barrier to barrier. It is unkind on purpose: shared memory starts as NaN, an asynchronous copy leaves
// NaN in its place until the thread waits for it and reads its source no earlier than that, and the order of the
// threads changes from phase to phase.
#pragma once

#include "contraction/cuda_schedule.hpp"

#include <cstddef>
#include <deque>
#include <limits>
#include <vector>

namespace nasturtium::kernels::impl::cuda {

template <class Registers, class Real>
class EmulatedBlock
{
public:
  template <class F>
  void each(F const& f)
  {
    m_backwards = !m_backwards;
    for (int i = 0; i < block_threads; ++i) {
      int const thread = m_backwards ? block_threads - 1 - i : i;
      f(thread, m_registers[static_cast<std::size_t>(thread)]);
    }
  }
  void barrier() {}
  template <int count>
  void copy(Real* shared, Real const* from, Real const*)
  {
    for (int i = 0; i < count; ++i)
      shared[i] = std::numeric_limits<Real>::quiet_NaN();
    m_open.push_back({shared, from, count});
  }
  void commit()
  {
    m_groups.push_back(m_open);
    m_open.clear();
  }
  template <std::size_t pending>
  void wait()
  {
    for (; m_groups.size() > pending; m_groups.pop_front())
      for (Copy const& c : m_groups.front())
        for (int i = 0; i < c.count; ++i)
          c.to[i] = c.from ? c.from[i] : Real(0);
  }
  template <class F, int down, int across>
  void multiply()
  {
    for (std::size_t warp = 0; warp < block_threads / 32; ++warp)
      for (int i = 0; i < down; ++i)
        for (int j = 0; j < across; ++j) {
          float* d[32];
          std::uint32_t const *a[32], *b[32];
          for (std::size_t lane = 0; lane < 32; ++lane) {
            Registers& r = m_registers[warp * 32 + lane];
            d[lane] = r.sum + (i * across + j) * 4;
            a[lane] = r.fragments.a[i];
            b[lane] = r.fragments.b[j];
          }
          multiply_on_host<F>(d, a, b);
        }
  }
  bool idle() const { return m_groups.empty() && m_open.empty(); }

private:
  struct Copy
  {
    Real* to;
    Real const* from;
    int count;
  };
  std::vector<Registers> m_registers{block_threads};
  std::vector<Copy> m_open;
  std::deque<std::vector<Copy>> m_groups;
  bool m_backwards = false;
};

/// Runs lists of problems as the device would, and counts the launches.
template <class Real, Pass pass, MathMode mode>
struct EmulatedLaunch
{
  int* launches;
  bool* all_idle; ///< whether every block had waited for all of its copies

  void tiles(ProblemList<Real> const& list, TileShape shape, int vector) const
  {
    ++*launches;
    constexpr int wide = 16 / static_cast<int>(sizeof(Real));
    if (vector == wide)
      tiles<wide>(list, shape);
    else
      tiles<1>(list, shape);
  }
  void finish(ProblemList<Real> const& list) const
  {
    ++*launches;
    for (int item = list.items() - 1; item >= 0; --item) {
      int const i = list.find(item);
      finish_element(list.problem[i], item - list.first[i]);
    }
  }

private:
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
    for (int item = list.items() - 1; item >= 0; --item) {
      int const i = list.find(item);
      std::vector<Real> shared(T::shared_size, std::numeric_limits<Real>::quiet_NaN());
      EmulatedBlock<typename T::Registers, Real> block;
      T::run(block, shared.data(), list.problem[i], TileIndex::of(list.problem[i], item - list.first[i]));
      *all_idle = *all_idle && block.idle();
    }
  }
};

} // namespace nasturtium::kernels::impl::cuda
