// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many small networks on one device. A single one fills a fraction of a GPU, so several are trained at once: each on a
// stream of its own (interleaved), or all in common launches (fused.hpp). One thread of the host launches a turn of
// each and then looks after them in order; whoever ends makes room for the next. Any mixture of networks can share the
// device.
#pragma once

#include "fused.hpp"
#include "population.hpp"
#include "trainer_candidate.hpp"

#include <Kokkos_Core.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace nasturtium::nn::impl {

/// Candidates in flight where the caller does not say: the hardware has so many queues for streams.
inline constexpr int default_in_flight = 32;

/// An instance whose work does not wait for that of others, where the backend has such.
template <class ExecSpace>
ExecSpace make_stream(int threads)
{
#ifdef KOKKOS_ENABLE_CUDA
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Cuda>)
    return Kokkos::Experimental::partition_space(Kokkos::Cuda(), 1)[0];
#endif
  return make_instance<ExecSpace>(threads);
}

/// A candidate with its index, and its training or the result that says what is wrong with it.
struct Started
{
  int index;
  std::unique_ptr<Candidate const> candidate;
  std::unique_ptr<Training> training;
  TrainResult failure;
  bool may_fit_later = false; ///< it failed for want of memory that others may hold
};

/// `Make`: make(exec, started) sets training or failure.
template <class ExecSpace, class Make>
class Interleaver
{
public:
  Interleaver(TrainerOptions const& options, Make const& make) : m_make(make)
  {
    require(options.in_flight >= 0, "in_flight must not be negative, got ", options.in_flight);
    int const in_flight = options.in_flight > 0 ? options.in_flight : default_in_flight;
    if (options.policy == PopulationPolicy::fused) {
      m_streams.assign(in_flight, make_stream<ExecSpace>(options.threads));
      m_fused.emplace(m_streams.front());
    } else {
      for (int i = 0; i < in_flight; ++i)
        m_streams.push_back(make_stream<ExecSpace>(options.threads));
    }
  }

  void add(int index, Candidate candidate)
  {
    m_waiting.push_back({index, std::make_unique<Candidate const>(std::move(candidate)), nullptr, {}, false});
  }

  std::optional<std::pair<int, TrainResult>> next()
  {
    for (;;) {
      fill();
      if (!m_ended.empty()) {
        auto ended = std::move(m_ended.front());
        m_ended.pop_front();
        return ended;
      }
      if (m_running.empty()) return std::nullopt;
      if (m_fused)
        take_fused_turn();
      else
        take_turns();
      std::erase_if(m_running, [](auto const& it) { return it.started.training == nullptr; });
    }
  }

private:
  struct Running
  {
    Started started;
    ExecSpace exec;
    std::uint64_t id = 0; ///< its own
  };

  Make m_make;
  std::vector<ExecSpace> m_streams; ///< free ones
  bool m_full = false;              ///< the first that waits found no memory, and nobody has ended since
  std::deque<Started> m_waiting;
  std::vector<Running> m_running; ///< where they are interleaved, a turn of each has been launched
  std::uint64_t m_ids = 0;
  std::optional<FusedTurns<ExecSpace>> m_fused;
  std::deque<std::pair<int, TrainResult>> m_ended;

  /// Starts what waits on the streams that are free. A candidate that finds no memory waits for the end of another.
  void fill()
  {
    while (!m_waiting.empty() && !m_streams.empty() && !m_full) {
      auto& first = m_waiting.front();
      auto const exec = m_streams.back();
      m_make(exec, first);
      if (!first.training) {
        m_full = first.may_fit_later && !m_running.empty();
        if (m_full) return;
        m_ended.emplace_back(first.index, std::move(first.failure));
        m_waiting.pop_front();
        continue;
      }
      m_streams.pop_back();
      m_running.push_back({std::move(first), exec, m_ids++});
      m_waiting.pop_front();
      if (m_fused) continue;
      if (auto const ended = launch_turn(*m_running.back().started.training)) {
        end(m_running.back(), *ended);
        m_running.pop_back();
      }
    }
  }

  void take_turns()
  {
    for (auto& it : m_running) {
      auto ended = finish_turn(*it.started.training);
      if (!ended) ended = launch_turn(*it.started.training);
      if (ended) end(it, *ended);
    }
  }

  void take_fused_turn()
  {
    std::vector<FusedMember> members;
    for (auto const& it : m_running)
      members.push_back({it.id, it.started.training.get(), std::nullopt});
    m_fused->run(members);
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (members[i].ended) end(m_running[i], *members[i].ended);
    }
  }

  void end(Running& it, Outcome const& outcome)
  {
    m_ended.emplace_back(it.started.index, it.started.training->result(outcome));
    it.started.training.reset(); // before its candidate
    if (m_fused) m_fused->forget(it.id);
    m_streams.push_back(it.exec);
    m_full = false;
  }
};

} // namespace nasturtium::nn::impl
