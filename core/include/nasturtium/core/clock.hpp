// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Time: what passes, and what the calendar says.
#pragma once

#include <string>

namespace nasturtium {

/// Seconds of a clock that never goes back; only differences mean something.
double steady_seconds();

/// "2026-01-31T12:34:56Z"
std::string utc_timestamp();

/// Seconds for people: "0.8 s", "12 s", "3 min 05 s", "2 h 10 min".
std::string human_seconds(double seconds);

/// Seconds since it was made or last restarted.
class Stopwatch
{
public:
  Stopwatch() : m_start(steady_seconds()) {}
  double seconds() const { return steady_seconds() - m_start; }
  void restart() { m_start = steady_seconds(); }

private:
  double m_start;
};

} // namespace nasturtium
