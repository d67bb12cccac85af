// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Decisions of successive halving that survive a kill at any moment: every event is in a file before its action is
// given out, and the file is replayed to go on. JSON lines of core/journal.hpp: each is one write, a line without its
// end was torn and is dropped, people can read them; what they lack, the exact bits of a value and a checksum, are two
// fields. Format: docs/halving.md.
#pragma once

#include <nasturtium/core/journal.hpp>
#include <nasturtium/nas/halving.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::nas {

class HalvingJournal
{
public:
  /// Begins a journal, or goes on with the one at `path`: its events are fed to a new state machine, and the actions
  /// must come out as recorded. Throws Error naming file, record and field for a journal of other settings, a damaged
  /// record, and an action that these events do not lead to.
  HalvingJournal(std::string path, HalvingSettings const& settings, Sync sync = Sync::yes);

  /// As Halving::apply, journaled: the event is on disk when the action comes back, and so is the action. After an
  /// Error of the disk the object is of no use any more.
  std::optional<HalvingAction> apply(HalvingEvent const& event);

  Halving const& halving() const { return m_halving; }
  /// Events that were found in the file, in their order.
  std::vector<HalvingEvent> const& replayed() const { return m_replayed; }

private:
  std::string m_path;
  Halving m_halving;
  std::vector<HalvingEvent> m_replayed;
  std::optional<HalvingAction> m_unrecorded; ///< of the last event that was replayed
  std::int64_t m_sequence = 0;               ///< of the last record
  std::unique_ptr<JournalWriter> m_writer;

  void replay(std::vector<json::Value> const& lines);
  void append(std::string_view type, HalvingEvent const& event);
  void append(HalvingAction const& action, int worker);
};

} // namespace nasturtium::nas
