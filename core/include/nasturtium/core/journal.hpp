// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An append-only file of JSON lines that survives a kill at any moment.
#pragma once

#include <nasturtium/core/json.hpp>

#include <string>
#include <vector>

namespace nasturtium {

enum class Sync {
  no, ///< survives the death of the process
  yes ///< survives the death of the machine (fsync after every event)
};

/// Appends one line per event with a single write each. An existing journal is continued; a torn last line is cut off.
class JournalWriter
{
public:
  explicit JournalWriter(std::string path, Sync sync = Sync::no);
  ~JournalWriter();
  JournalWriter(JournalWriter const&) = delete;
  JournalWriter& operator=(JournalWriter const&) = delete;

  void append(json::Value const& event);

private:
  std::string m_path;
  Sync m_sync;
  int m_descriptor = -1;
};

/// All events. A last line without its "\n" (a writer was killed) is left out; any other bad line throws with its
/// number.
std::vector<json::Value> read_journal(std::string const& path);

} // namespace nasturtium
