// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "request_batcher.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <span>

namespace nasturtium::ensemble::impl {

RequestBatcher::RequestBatcher(EnsembleServer& server, int sample_size, std::int64_t max_queued,
                               int max_delay_microseconds)
    : m_server(server), m_sample_size(static_cast<std::size_t>(sample_size)),
      m_classes(static_cast<std::size_t>(server.classes())), m_max_queued(max_queued),
      m_max_delay(max_delay_microseconds), m_enough(static_cast<std::int64_t>(server.segment_size()) * server.window()),
      m_worker([this] { work(); })
{
}

RequestBatcher::~RequestBatcher()
{
  stop();
  m_worker.join();
}

void RequestBatcher::stop()
{
  std::lock_guard const lock(m_mutex);
  m_stopping = true;
  m_arrived.notify_all();
}

std::int64_t RequestBatcher::queued() const
{
  std::lock_guard const lock(m_mutex);
  return m_queued;
}

std::int64_t RequestBatcher::batches() const
{
  std::lock_guard const lock(m_mutex);
  return m_batches;
}

RequestBatcher::Outcome RequestBatcher::predict(std::vector<float> const& values, std::vector<float>& probabilities,
                                                std::string& message)
{
  auto const samples = static_cast<std::int64_t>(values.size() / m_sample_size);
  probabilities.resize(static_cast<std::size_t>(samples) * m_classes);
  Request request{&values, &probabilities};
  std::unique_lock lock(m_mutex);
  if (m_stopping) return Outcome::stopped;
  if (m_queued + samples > m_max_queued) return Outcome::full;
  m_queued += samples;
  m_waiting.push_back(&request);
  m_arrived.notify_one();
  m_answered.wait(lock, [&] { return request.done; });
  message = std::move(request.message);
  return request.failed ? Outcome::failed : Outcome::served;
}

void RequestBatcher::work()
{
  std::unique_lock lock(m_mutex);
  for (;;) {
    m_arrived.wait(lock, [&] { return m_stopping || !m_waiting.empty(); });
    if (m_waiting.empty()) return;
    m_arrived.wait_for(lock, std::chrono::microseconds(m_max_delay),
                       [&] { return m_stopping || m_queued >= m_enough; });
    std::vector<Request*> requests(m_waiting.begin(), m_waiting.end());
    m_waiting.clear();
    m_queued = 0;
    lock.unlock();
    serve(requests);
    lock.lock();
    for (Request* const request : requests)
      request->done = true;
    m_answered.notify_all();
  }
}

void RequestBatcher::serve(std::vector<Request*> const& requests)
{
  {
    std::lock_guard const lock(m_mutex);
    ++m_batches;
  }
  // Rows come in order: the requests take them one after another.
  std::size_t current = 0, filled = 0;
  try {
    m_values.clear();
    for (Request const* const request : requests)
      m_values.insert(m_values.end(), request->values->begin(), request->values->end());
    m_server.serve({{}, m_values}, [&](std::int64_t, std::span<float const> rows) {
      while (!rows.empty()) {
        auto& to = *requests[current]->probabilities;
        std::size_t const count = std::min(rows.size(), to.size() - filled);
        std::copy_n(rows.begin(), count, to.begin() + static_cast<std::ptrdiff_t>(filled));
        rows = rows.subspan(count);
        filled += count;
        if (filled < to.size()) continue;
        ++current;
        filled = 0;
      }
    });
  } catch (std::exception const& error) {
    if (requests.size() == 1) {
      requests.front()->failed = true;
      requests.front()->message = error.what();
      return;
    }
    for (Request* const request : requests) // what failed for one shall not fail for all
      serve({request});
  }
}

} // namespace nasturtium::ensemble::impl
