// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

namespace nasturtium {
namespace {

std::size_t terminal_width()
{
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

} // namespace

Progress::Progress(std::string label, std::int64_t total, std::string unit, ProgressStyle style, std::ostream* stream,
                   double seconds_between_lines)
    : m_label(std::move(label)), m_unit(std::move(unit)), m_total(total), m_style(style),
      m_stream(stream != nullptr ? stream : &std::cerr), m_interval(seconds_between_lines), m_start(steady_seconds()),
      m_last_print(m_start)
{
  if (m_style == ProgressStyle::automatic)
    m_style = ::isatty(STDERR_FILENO) ? ProgressStyle::bar : ProgressStyle::lines;
  if (m_style == ProgressStyle::bar) m_interval = 0.1;
}

Progress::~Progress()
{
  finish();
}

void Progress::advance(std::int64_t steps, std::string const& note)
{
  std::lock_guard const lock(m_mutex);
  update(m_done + steps, note);
}

void Progress::set(std::int64_t done, std::string const& note)
{
  std::lock_guard const lock(m_mutex);
  update(done, note);
}

void Progress::update(std::int64_t done, std::string const& note)
{
  m_done = done;
  if (!note.empty()) m_note = note;
  if (m_style == ProgressStyle::quiet || m_finished || steady_seconds() - m_last_print < m_interval) return;
  print(false);
}

std::string Progress::state_text() const
{
  double const elapsed = std::max(steady_seconds() - m_start, 1e-9);
  double const rate = static_cast<double>(m_done) / elapsed;
  std::string text = std::to_string(m_done);
  if (m_total > 0) text += "/" + std::to_string(m_total);
  text += " " + m_unit + ", " + fixed(rate, rate < 10 ? 2 : 0) + "/s";
  if (m_total > 0 && m_done > 0 && m_done < m_total && !m_finished)
    text += ", " + human_seconds(static_cast<double>(m_total - m_done) / rate) + " left";
  else
    text += ", " + human_seconds(elapsed);
  if (!m_note.empty()) text += ", " + m_note;
  return text;
}

void Progress::print(bool last)
{
  m_last_print = steady_seconds();
  m_printed = true;
  if (m_style == ProgressStyle::lines) {
    *m_stream << m_label + ": " + state_text() + "\n" << std::flush;
    return;
  }
  std::string line = m_label + " ";
  if (m_total > 0) {
    constexpr std::int64_t cells = 20;
    auto const filled = static_cast<std::size_t>(std::clamp<std::int64_t>(m_done * cells / m_total, 0, cells));
    line += "[" + std::string(filled, '#') + std::string(cells - filled, '.') + "] ";
  }
  line += state_text();
  std::size_t const width = terminal_width() - 1;
  if (line.size() > width) line.resize(width);
  std::string const blanks(m_last_width > line.size() ? m_last_width - line.size() : 0, ' ');
  m_last_width = line.size();
  *m_stream << "\r" + line + blanks + (last ? "\n" : "") << std::flush;
}

void Progress::message(std::string const& line)
{
  std::lock_guard const lock(m_mutex);
  if (m_style == ProgressStyle::quiet) return;
  if (m_style == ProgressStyle::bar && m_last_width > 0) {
    *m_stream << "\r" + std::string(m_last_width, ' ') + "\r";
    m_last_width = 0;
  }
  *m_stream << line + "\n" << std::flush;
}

void Progress::finish()
{
  std::lock_guard const lock(m_mutex);
  if (m_finished) return;
  m_finished = true;
  // Work that was over before anything was printed has nothing to tell.
  if (m_style != ProgressStyle::quiet && (m_printed || m_done > 0)) print(true);
}

} // namespace nasturtium
