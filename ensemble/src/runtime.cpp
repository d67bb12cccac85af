// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The server. A slot holds a segment on its way; there are as many as the window is wide, used in turns. The thread
// that serves fills slots and queues their numbers; a cell works on a segment, adds its share to the sum of its device,
// and counts down; who counts to zero adds the devices up and says that the slot is done.
#include "segment_queue.hpp"
#include "served_ensemble.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace nasturtium::ensemble {

namespace {

/// A device's part of a segment.
struct DeviceSum
{
  std::mutex mutex; ///< of everything below
  bool begun = false;
  nn::RowBuffer sum;
  // Fixed order: what has come, and the next member whose turn it is.
  std::vector<nn::RowBuffer> logits; ///< per model; empty in the order of arrival
  std::vector<bool> arrived;
  int next = 0;

  DeviceSum(impl::ServedEnsemble const& ensemble, int device, bool fixed_order)
      : sum(ensemble.devices[device].backend, ensemble.segment_size, ensemble.classes)
  {
    if (!fixed_order) return;
    arrived.resize(ensemble.models.size());
    for (std::size_t m = 0; m < ensemble.models.size(); ++m)
      logits.emplace_back(ensemble.devices[device].backend, ensemble.segment_size, ensemble.classes);
  }
};

struct Slot
{
  std::deque<DeviceSum> devices; // not to be moved
  std::atomic<int> members_left{0};
  std::int64_t segment = 0;
  int rows = 0;
  nn::Images images;
  std::vector<float> part, probabilities;
  double begun = 0;  ///< seconds on the server's clock
  bool done = false; ///< guarded by the server's mutex
};

} // namespace

class EnsembleServer::Implementation
{
public:
  Implementation(impl::ServedEnsemble ensemble, ServingOptions options)
      : m_ensemble(std::move(ensemble)), m_options(std::move(options)),
        m_window(m_options.window > 0 ? m_options.window : std::max(4, 2 * static_cast<int>(m_ensemble.cells.size())))
  {
    require(m_options.window >= 0, "serving: window must not be negative, got ", m_options.window);
    auto const values = static_cast<std::size_t>(m_ensemble.segment_size) * m_ensemble.classes;
    for (int i = 0; i < m_window; ++i) {
      auto& slot = m_slots.emplace_back();
      for (int d = 0; d < static_cast<int>(m_ensemble.devices.size()); ++d)
        slot.devices.emplace_back(m_ensemble, d, m_options.fixed_order);
      slot.part.resize(values);
      slot.probabilities.resize(values);
    }
    auto const queues = m_options.fixed_order ? m_ensemble.cells.size() : m_ensemble.models.size();
    for (std::size_t i = 0; i < queues; ++i)
      m_queues.emplace_back(m_window);
    m_statistics.device_transfers.resize(m_ensemble.devices.size());
    m_statistics.device_segments.resize(m_ensemble.devices.size());
    start();
  }

  ~Implementation() { shutdown(); }

  impl::ServedEnsemble const& ensemble() const { return m_ensemble; }
  int window() const { return m_window; }

  ServingStatistics statistics() const
  {
    std::lock_guard const lock(m_mutex);
    return m_statistics;
  }

  void serve(nn::Images const& images, ServingSink const& sink)
  {
    std::lock_guard const turn(m_request_mutex);
    std::int64_t const samples = m_ensemble.sample_count(images);
    std::int64_t const segments = (samples + m_ensemble.segment_size - 1) / m_ensemble.segment_size;
    {
      std::lock_guard const lock(m_mutex);
      require(!m_closed, closed_reason);
      m_failed = false;
      m_statistics.latencies.clear();
      m_statistics.latencies.reserve(static_cast<std::size_t>(segments));
      m_statistics.spans.clear();
      if (m_options.trace) m_statistics.spans.reserve(static_cast<std::size_t>(segments) * m_ensemble.models.size());
      m_request_begun = m_clock.seconds();
    }
    std::exception_ptr sink_error;
    std::int64_t begun = 0, released = 0;
    for (; released < segments; ++released) {
      while (begun < segments && begun < released + m_window && !m_failed)
        begin(begun++, images, samples);
      auto& slot = slot_of(released);
      {
        std::unique_lock lock(m_mutex);
        m_statistics.most_in_flight = std::max(m_statistics.most_in_flight, begun - released);
        m_changed.wait(lock, [&] { return slot.done || m_failed; });
        if (m_failed) break;
      }
      try {
        sink(released * m_ensemble.segment_size,
             std::span(slot.probabilities).first(static_cast<std::size_t>(slot.rows) * m_ensemble.classes));
      } catch (...) {
        sink_error = std::current_exception();
        fail_request("the receiver failed");
        break;
      }
      std::lock_guard const lock(m_mutex);
      ++m_statistics.segments;
      m_statistics.latencies.push_back(m_clock.seconds() - slot.begun);
    }
    // Nobody may touch the images when this returns.
    int dropped = 0;
    if (released < segments)
      for (auto& queue : m_queues)
        dropped += queue.clear();
    std::unique_lock lock(m_mutex);
    m_items -= dropped;
    m_changed.wait(lock, [&] { return m_items == 0; });
    if (sink_error) std::rethrow_exception(sink_error);
    require(released == segments, m_reason);
  }

  void shutdown()
  {
    {
      std::lock_guard const lock(m_mutex);
      m_closed = true;
    }
    fail_request(closed_reason);
    std::lock_guard const turn(m_request_mutex);
    stop();
  }

private:
  static constexpr char const* closed_reason = "serving: the server was shut down";

  impl::ServedEnsemble m_ensemble;
  ServingOptions m_options;
  int m_window;
  Stopwatch m_clock;
  std::deque<Slot> m_slots; // neither these nor the queues can be moved
  std::deque<impl::SegmentQueue> m_queues;
  std::vector<std::thread> m_threads;

  std::mutex m_request_mutex; ///< held while a request is served
  mutable std::mutex m_mutex; ///< of everything below
  std::condition_variable m_changed;
  std::size_t m_ready = 0;  ///< threads that are up, or have failed to be
  std::int64_t m_items = 0; ///< pieces of work queued or at work
  bool m_closed = false;
  double m_request_begun = 0; ///< seconds on the clock
  std::string m_reason;
  std::atomic<bool> m_failed{false}; ///< written under the mutex
  ServingStatistics m_statistics;

  Slot& slot_of(std::int64_t segment) { return m_slots[static_cast<std::size_t>(segment % m_window)]; }

  void start()
  {
    for (std::size_t i = 0; i < m_ensemble.cells.size(); ++i)
      m_threads.emplace_back([this, i] { work(static_cast<int>(i)); });
    std::unique_lock lock(m_mutex);
    m_changed.wait(lock, [&] { return m_ready == m_threads.size(); });
    if (!m_failed) return;
    lock.unlock();
    stop();
    throw Error(m_reason);
  }

  void stop()
  {
    for (auto& queue : m_queues)
      queue.close();
    for (auto& thread : m_threads)
      thread.join();
    m_threads.clear();
  }

  /// The first failure of a request is its reason.
  void fail_request(std::string reason)
  {
    std::lock_guard const lock(m_mutex);
    if (!m_failed) m_reason = std::move(reason);
    m_failed = true;
    m_changed.notify_all();
  }

  void begin(std::int64_t segment, nn::Images const& images, std::int64_t samples)
  {
    auto& slot = slot_of(segment);
    std::int64_t const first = segment * m_ensemble.segment_size;
    slot.segment = segment;
    slot.rows = static_cast<int>(std::min<std::int64_t>(m_ensemble.segment_size, samples - first));
    auto const size = static_cast<std::size_t>(m_ensemble.sample_size);
    slot.images = images.part(first * size, slot.rows * size);
    slot.members_left = static_cast<int>(m_ensemble.models.size());
    for (auto& device : slot.devices) {
      device.begun = false;
      device.next = 0;
      std::fill(device.arrived.begin(), device.arrived.end(), false);
    }
    slot.begun = m_clock.seconds();
    {
      std::lock_guard const lock(m_mutex);
      slot.done = false;
      m_items += static_cast<std::int64_t>(m_ensemble.models.size());
    }
    for (int m = 0; m < static_cast<int>(m_ensemble.models.size()); ++m)
      m_queues[m_options.fixed_order ? m_ensemble.fixed_cell(m, segment) : m].push(segment);
  }

  /// The thread of a cell.
  void work(int index)
  {
    auto const& cell = m_ensemble.cells[index];
    std::unique_ptr<nn::InferenceSession> session;
    std::unique_ptr<nn::RowBuffer> logits; // of the order of arrival: a segment is added as soon as it is there
    try {
      impl::pin_to_cores(m_ensemble.devices[cell.device]);
      session = std::make_unique<nn::InferenceSession>(m_ensemble.session(cell));
      if (!m_options.fixed_order) {
        logits = std::make_unique<nn::RowBuffer>(m_ensemble.devices[cell.device].backend, m_ensemble.segment_size,
                                                 m_ensemble.classes);
      }
    } catch (std::exception const& error) {
      fail_request(error.what());
    }
    {
      std::lock_guard const lock(m_mutex);
      ++m_ready;
      m_changed.notify_all();
    }
    auto& queue = m_queues[m_options.fixed_order ? index : cell.model];
    while (auto const segment = queue.pop()) {
      bool const dropped = m_failed;
      bool complete = false;
      double const begun = m_clock.seconds();
      if (!dropped) {
        try {
          complete = work_on(slot_of(*segment), cell, *session, logits.get());
        } catch (std::exception const& error) {
          fail_request(concat("serving: ", m_ensemble.name(cell), ": ", error.what()));
        } catch (...) {
          fail_request(concat("serving: ", m_ensemble.name(cell), ": unknown failure"));
        }
      }
      std::lock_guard const lock(m_mutex);
      if (!dropped) ++m_statistics.device_segments[cell.device];
      if (!dropped && m_options.trace) {
        m_statistics.spans.push_back(
            {cell.device, cell.model, *segment, begun - m_request_begun, m_clock.seconds() - m_request_begun});
      }
      if (complete) slot_of(*segment).done = true;
      --m_items;
      if (complete || m_items == 0) m_changed.notify_all();
    }
  }

  /// One member's share of a segment; true where it was the last one.
  bool work_on(Slot& slot, impl::ServedCell const& cell, nn::InferenceSession& session, nn::RowBuffer* own)
  {
    if (m_options.before_segment) {
      m_options.before_segment(m_ensemble.models[cell.model].name, m_ensemble.devices[cell.device].name, slot.segment);
    }
    auto& device = slot.devices[cell.device];
    auto& logits = own != nullptr ? *own : device.logits[cell.model];
    impl::run_segment(session, slot.images, slot.rows, logits);
    {
      std::lock_guard const lock(device.mutex);
      if (m_options.fixed_order) {
        device.arrived[cell.model] = true;
        add_in_order(slot, cell.device, session);
      } else {
        session.add_softmax(logits, slot.rows, m_ensemble.shares[cell.model], device.begun, device.sum);
        device.begun = true;
      }
    }
    if (slot.members_left.fetch_sub(1) != 1) return false;
    add_devices(slot);
    return true;
  }

  /// Adds the members that have come, up to the first of this device that has not.
  void add_in_order(Slot& slot, int device, nn::InferenceSession& session)
  {
    auto& it = slot.devices[device];
    for (; it.next < static_cast<int>(m_ensemble.models.size()); ++it.next) {
      if (m_ensemble.cells[m_ensemble.fixed_cell(it.next, slot.segment)].device != device) continue;
      if (!it.arrived[it.next]) return;
      session.add_softmax(it.logits[it.next], slot.rows, m_ensemble.shares[it.next], it.begun, it.sum);
      it.begun = true;
    }
  }

  /// One transfer from each device that has a part in the segment.
  void add_devices(Slot& slot)
  {
    auto const count = static_cast<std::size_t>(slot.rows) * m_ensemble.classes;
    bool first = true;
    for (std::size_t d = 0; d < slot.devices.size(); ++d) {
      auto& device = slot.devices[d];
      std::lock_guard const lock(device.mutex);
      if (!device.begun) continue;
      device.sum.read(slot.rows, first ? slot.probabilities : slot.part);
      if (!first)
        for (std::size_t i = 0; i < count; ++i)
          slot.probabilities[i] += slot.part[i];
      first = false;
      std::lock_guard const statistics_lock(m_mutex);
      ++m_statistics.device_transfers[d];
    }
  }
};

EnsembleServer::EnsembleServer(std::vector<ServedModel> models, std::vector<ServingDevice> devices, Plan const& plan,
                               nn::InputMoments moments, ServingOptions options)
{
  int const segment_size = options.segment_size;
  m_implementation = std::make_unique<Implementation>(
      impl::ServedEnsemble(std::move(models), std::move(devices), plan, std::move(moments), segment_size),
      std::move(options));
}

EnsembleServer::~EnsembleServer() = default;

void EnsembleServer::serve(nn::Images const& images, ServingSink const& sink)
{
  m_implementation->serve(images, sink);
}

std::vector<float> EnsembleServer::predict(nn::Images const& images)
{
  auto const& ensemble = m_implementation->ensemble();
  std::vector<float> probabilities(static_cast<std::size_t>(ensemble.sample_count(images)) * ensemble.classes);
  m_implementation->serve(images, [&](std::int64_t first, std::span<float const> part) {
    std::copy(part.begin(), part.end(), probabilities.begin() + first * ensemble.classes);
  });
  return probabilities;
}

void EnsembleServer::shutdown()
{
  m_implementation->shutdown();
}

int EnsembleServer::classes() const
{
  return m_implementation->ensemble().classes;
}

int EnsembleServer::segment_size() const
{
  return m_implementation->ensemble().segment_size;
}

int EnsembleServer::window() const
{
  return m_implementation->window();
}

ServingStatistics EnsembleServer::statistics() const
{
  return m_implementation->statistics();
}

} // namespace nasturtium::ensemble
