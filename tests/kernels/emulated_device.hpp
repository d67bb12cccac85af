// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device on the host, to run the device forms of the memory-bound kernels without a GPU: what test_device compiles
// the kernels for. Elements run in a random order. The threads of a team are fibers that switch at barriers alone, in a
// random order from barrier to barrier, so that a value that is read without a barrier behind its writing is often not
// there yet; shared memory starts as NaN. What this cannot show: the compiler's and the hardware's own faults, speed.
#pragma once

#include <nasturtium/core/philox.hpp>
#include <nasturtium/kernels/types.hpp>

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::testing {

struct EmulatedDevice
{
  using memory_space = Kokkos::HostSpace;
};

/// A random order of 0 ... count - 1, another one at every call.
inline std::vector<std::int64_t> random_order(std::int64_t count)
{
  static std::uint64_t call = 0;
  ++call;
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::int64_t i = count - 1; i > 0; --i) {
    auto const word = random_block(1, Purpose::synthetic, 9, call << 32 | static_cast<std::uint64_t>(i)).word[0];
    auto const other = to_below(word, static_cast<std::uint32_t>(i + 1));
    std::swap(order[static_cast<std::size_t>(i)], order[other]);
  }
  return order;
}

/// One team's threads as fibers.
class Fibers
{
public:
  explicit Fibers(int count) : m_fibers(static_cast<std::size_t>(count))
  {
    for (auto& fiber : m_fibers)
      fiber.stack.reset(new char[stack_bytes]);
  }

  /// Runs body(rank) on every fiber to its end.
  void run(std::function<void(int)> const& body)
  {
    m_body = &body;
    current() = this;
    for (auto& fiber : m_fibers) {
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = stack_bytes;
      fiber.context.uc_link = &m_main;
      fiber.ended = false;
      makecontext(&fiber.context, &Fibers::enter, 0);
    }
    for (bool any = true; any;) { // from barrier to barrier
      any = false;
      for (auto const rank : random_order(static_cast<std::int64_t>(m_fibers.size()))) {
        auto& fiber = m_fibers[static_cast<std::size_t>(rank)];
        if (fiber.ended) continue;
        m_running = static_cast<int>(rank);
        swapcontext(&m_main, &fiber.context);
        any = any || !fiber.ended;
      }
    }
  }

  /// From within a fiber: until all others have come as far or ended.
  void barrier() { swapcontext(&m_fibers[static_cast<std::size_t>(m_running)].context, &m_main); }

private:
  static constexpr std::size_t stack_bytes = 64 * 1024;

  struct Fiber
  {
    ucontext_t context{};
    std::unique_ptr<char[]> stack;
    bool ended = true;
  };

  std::vector<Fiber> m_fibers;
  ucontext_t m_main{};
  std::function<void(int)> const* m_body = nullptr;
  int m_running = 0;

  static Fibers*& current()
  {
    static Fibers* fibers = nullptr;
    return fibers;
  }
  static void enter()
  {
    auto& self = *current();
    int const rank = self.m_running;
    (*self.m_body)(rank);
    self.m_fibers[static_cast<std::size_t>(rank)].ended = true;
  }
};

/// What a functor of launch_teams sees of its team.
class EmulatedTeam
{
public:
  EmulatedTeam(Fibers& fibers, int league_rank, int team_rank, std::vector<double>& shared)
      : m_fibers(fibers), m_league_rank(league_rank), m_team_rank(team_rank), m_shared(shared)
  {
  }

  int league_rank() const { return m_league_rank; }
  int team_rank() const { return m_team_rank; }
  void team_barrier() const { m_fibers.barrier(); }
  EmulatedTeam const& team_shmem() const { return *this; }
  void* get_shmem(std::size_t bytes) const
  {
    std::size_t const begin = m_used;
    m_used += (bytes + sizeof(double) - 1) / sizeof(double);
    return m_used <= m_shared.size() ? m_shared.data() + begin : nullptr; // as on a device
  }

private:
  Fibers& m_fibers;
  int m_league_rank, m_team_rank;
  std::vector<double>& m_shared;
  mutable std::size_t m_used = 0;
};

/// Tells a Kokkos tool of a launch while it lives.
class EmulatedLaunch
{
public:
  explicit EmulatedLaunch(std::string const& label) : m_told(Kokkos::Tools::profileLibraryLoaded())
  {
    if (m_told) Kokkos::Tools::beginParallelFor(label, 0, &m_id);
  }
  ~EmulatedLaunch()
  {
    if (m_told) Kokkos::Tools::endParallelFor(m_id);
  }
  EmulatedLaunch(EmulatedLaunch const&) = delete;
  EmulatedLaunch& operator=(EmulatedLaunch const&) = delete;

private:
  bool m_told;
  std::uint64_t m_id = 0;
};

template <class Functor>
void launch_range(EmulatedDevice const&, std::string const& label, kernels::Index count, Functor const& functor)
{
  EmulatedLaunch const launch(label);
  for (auto const item : random_order(count))
    functor(item);
}

template <class Functor>
void launch_teams(EmulatedDevice const&, std::string const& label, kernels::Index teams, int threads,
                  std::size_t scratch, Functor const& functor)
{
  EmulatedLaunch const launch(label);
  Fibers fibers(threads);
  std::vector<double> shared;
  for (auto const league : random_order(teams)) {
    shared.assign((scratch + sizeof(double) - 1) / sizeof(double), std::numeric_limits<double>::quiet_NaN());
    fibers.run([&](int rank) { functor(EmulatedTeam(fibers, static_cast<int>(league), rank, shared)); });
  }
}

} // namespace nasturtium::testing

namespace nasturtium::kernels::impl {

template <>
inline constexpr bool is_host_space<nasturtium::testing::EmulatedDevice> = false;

} // namespace nasturtium::kernels::impl
