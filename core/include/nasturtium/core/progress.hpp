// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Progress of long work on stderr: a bar with rate and time left on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <mutex>
#include <string>

namespace nasturtium {

enum class ProgressStyle {
  automatic, ///< bar where stderr is a terminal, else lines
  bar,
  lines,
  quiet
};

/// May be updated from several threads.
class Progress
{
public:
  /// `total` steps of `unit` ("images"); 0: unknown. `seconds_between_lines` holds for plain lines.
  Progress(std::string label, std::int64_t total, std::string unit = "steps",
           ProgressStyle style = ProgressStyle::automatic, std::ostream* stream = nullptr,
           double seconds_between_lines = 5);
  ~Progress(); ///< finishes
  Progress(Progress const&) = delete;
  Progress& operator=(Progress const&) = delete;

  void advance(std::int64_t steps = 1, std::string const& note = {});
  void set(std::int64_t done, std::string const& note = {}); ///< note: e.g. "loss 0.31"; an empty one keeps the last
  /// Prints a line of its own, above the bar.
  void message(std::string const& line);
  /// Prints the last state and ends the bar's line. Later updates do nothing.
  void finish();

private:
  void update(std::int64_t done, std::string const& note);
  void print(bool last);
  std::string state_text() const;

  std::string m_label, m_unit, m_note;
  std::int64_t m_total;
  std::int64_t m_done = 0;
  ProgressStyle m_style;
  std::ostream* m_stream;
  double m_interval;
  double m_start, m_last_print;
  std::size_t m_last_width = 0;
  bool m_printed = false;
  bool m_finished = false;
  std::mutex m_mutex;
};

} // namespace nasturtium
