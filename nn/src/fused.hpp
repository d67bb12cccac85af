// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several trainings in step on one instance: what their steps launch of one kind is one launch, whatever their shapes
// (kernels/launch_list.hpp). The launches are recorded once for every set of trainings and kinds of steps, so that they
// are packed anew when one ends or comes.
#pragma once

#include "population.hpp"
#include "step_queue.hpp"
#include "trainer_candidate.hpp"

#include <nasturtium/kernels/launch_list.hpp>

#include <algorithm>
#include <list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace nasturtium::nn::impl {

/// A training that takes part in a turn.
struct FusedMember
{
  std::uint64_t id = 0; ///< no other training ever has it
  Training* training = nullptr;
  std::optional<Outcome> ended; ///< set by a turn
};

template <class ExecSpace>
class FusedTurns
{
public:
  /// All trainings must be on this instance.
  explicit FusedTurns(ExecSpace const& exec) : m_exec(exec) {}

  /// Launches a few steps of all, looks where a look is due and reports where a report is due. The time that passes is
  /// shared out equally.
  void run(std::span<FusedMember> members)
  {
    Clock clock;
    Members stepping, reporting;
    for (auto& member : members) {
      member.ended = member.training->prepare();
      if (!member.ended) stepping.push_back(&member);
    }
    if (stepping.empty()) return;
    step(stepping);
    for (auto* const member : stepping) {
      if (!member->training->look_due()) continue;
      member->ended = member->training->look();
      if (!member->ended && member->training->report_due()) reporting.push_back(member);
    }
    for (double const share = clock.lap() / static_cast<double>(stepping.size()); auto* const member : stepping)
      member->training->spend(share);
    validate(reporting);
    for (auto* const member : reporting)
      member->ended = member->training->report();
  }

  /// A training has ended: what was recorded with it is of no use any more.
  void forget(std::uint64_t id)
  {
    auto const has = [&](Program const& program) {
      return std::any_of(program.key.begin(), program.key.end(), [&](auto const& it) { return it.first == id; });
    };
    if (std::none_of(m_programs.begin(), m_programs.end(), has)) return;
    m_exec.fence("nasturtium::fused: a recording is given up");
    m_programs.remove_if(has);
  }

private:
  /// Steps between two looks at the caller's wish to stop and at time limits: on hosts, where a launch waits, one.
  static constexpr std::int64_t most_steps = has_cores<ExecSpace>() ? 1 : steps_in_a_row;

  using Members = std::vector<FusedMember*>;
  using Key = std::vector<std::pair<std::uint64_t, Training::Kind>>;

  struct Program
  {
    Key key;
    kernels::FusedLaunches<ExecSpace> launches;
    Replay<ExecSpace> replay;

    Program(Key its, std::span<kernels::LaunchList<ExecSpace> const> lists) : key(std::move(its)), launches(lists) {}
  };
  /// Kept: full batches, last batches and validations of the present set, and what is between two of them.
  static constexpr std::size_t most_programs = 8;

  ExecSpace m_exec;
  std::list<Program> m_programs; ///< the last used first

  /// As many steps as all have ready. Where some have come to an epoch's shorter last batch and others have not, these
  /// step alone and the others wait: so they are in step again, and there are few sets of kinds to record.
  void step(Members const& members)
  {
    Key key;
    std::int64_t steps = most_steps;
    for (auto const* const member : members) {
      auto const [kind, most] = member->training->ready();
      key.emplace_back(member->id, kind);
      steps = std::min(steps, most);
    }
    auto const at_rest = [](auto const& it) { return it.second == Training::rest_step; };
    if (std::any_of(key.begin(), key.end(), at_rest) && !std::all_of(key.begin(), key.end(), at_rest)) {
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (at_rest(key[i])) members[i]->training->replay();
      }
      return;
    }
    launch(key, members, steps);
    for (auto* const member : members)
      member->training->advance(steps);
  }

  void validate(Members const& reporting)
  {
    Clock clock;
    Members members;
    Key key;
    for (auto* const member : reporting) {
      if (!member->training->begin_validation()) continue;
      members.push_back(member);
      key.emplace_back(member->id, Training::validation);
    }
    if (members.empty()) return;
    if (members.size() == 1)
      launch_validation(*members.front()->training); // who reports alone does so at times of its own
    else
      launch(key, members, 1);
    for (auto* const member : members)
      member->training->read_validation();
    for (double const share = clock.lap() / static_cast<double>(members.size()); auto* const member : members)
      member->training->spend_validating(share);
  }

  /// `times` times what the key says.
  void launch(Key const& key, std::span<FusedMember* const> members, std::int64_t times)
  {
    auto found = std::find_if(m_programs.begin(), m_programs.end(), [&](auto const& it) { return it.key == key; });
    if (found == m_programs.end()) {
      std::vector<kernels::LaunchList<ExecSpace>> lists(members.size());
      for (std::size_t i = 0; i < members.size(); ++i) {
        auto const& training = *members[i]->training;
        for (int part = 0; part < training.parts(key[i].second); ++part)
          lists[i].record([&] { training.launch(key[i].second, part); });
      }
      if (m_programs.size() == most_programs) {
        m_exec.fence("nasturtium::fused: a recording is given up");
        m_programs.pop_back();
      }
      m_programs.emplace_front(key, lists);
    } else {
      m_programs.splice(m_programs.begin(), m_programs, found);
    }
    auto& program = m_programs.front();
    for (std::int64_t done = 0; done < times;)
      done += program.replay.run(m_exec, times - done, [&] { program.launches.run(m_exec); });
  }
};

} // namespace nasturtium::nn::impl
