// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace nasturtium::ensemble::impl {

/// Numbers of segments that wait for a cell: first in, first out, never more than its capacity.
class SegmentQueue
{
public:
  explicit SegmentQueue(int capacity) : m_ring(capacity) {}

  /// Waits for room; false where the queue is closed.
  bool push(std::int64_t segment)
  {
    std::unique_lock lock(m_mutex);
    m_changed.wait(lock, [&] { return m_closed || m_count < m_ring.size(); });
    if (m_closed) return false;
    m_ring[(m_first + m_count++) % m_ring.size()] = segment;
    m_changed.notify_all();
    return true;
  }

  /// Waits for a segment; none where the queue is closed.
  std::optional<std::int64_t> pop()
  {
    std::unique_lock lock(m_mutex);
    m_changed.wait(lock, [&] { return m_closed || m_count > 0; });
    if (m_closed) return std::nullopt;
    auto const segment = m_ring[m_first];
    m_first = (m_first + 1) % m_ring.size();
    --m_count;
    m_changed.notify_all();
    return segment;
  }

  /// Drops what waits; how many there were.
  int clear()
  {
    std::lock_guard const lock(m_mutex);
    auto const dropped = static_cast<int>(m_count);
    m_count = 0;
    m_changed.notify_all();
    return dropped;
  }

  /// Nobody waits any more, and nothing is handed out.
  void close()
  {
    std::lock_guard const lock(m_mutex);
    m_closed = true;
    m_changed.notify_all();
  }

private:
  std::mutex m_mutex;
  std::condition_variable m_changed;
  std::vector<std::int64_t> m_ring;
  std::size_t m_first = 0, m_count = 0;
  bool m_closed = false;
};

} // namespace nasturtium::ensemble::impl
