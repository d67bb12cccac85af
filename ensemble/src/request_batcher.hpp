// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Serves requests of many threads together: what waits while the ensemble works is its next call.
#pragma once

#include <nasturtium/ensemble/runtime.hpp>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace nasturtium::ensemble::impl {

class RequestBatcher
{
public:
  enum class Outcome { served, full, stopped, failed };

  RequestBatcher(EnsembleServer& server, int sample_size, std::int64_t max_queued, int max_delay_microseconds);
  ~RequestBatcher(); ///< serves what waits

  /// Probabilities of the samples (NHWC values, a whole number of samples). Blocks until they are there. `failed`: the
  /// reason is in `message`.
  Outcome predict(std::vector<float> const& values, std::vector<float>& probabilities, std::string& message);

  /// What comes from now on is refused.
  void stop();
  std::int64_t queued() const;
  std::int64_t batches() const;

private:
  struct Request
  {
    std::vector<float> const* values;
    std::vector<float>* probabilities;
    std::string message{};
    bool failed = false, done = false;
  };

  void work();
  void serve(std::vector<Request*> const& requests);

  EnsembleServer& m_server;
  std::size_t m_sample_size, m_classes;
  std::int64_t m_max_queued;
  int m_max_delay;
  std::int64_t m_enough; ///< samples that need not wait for more

  mutable std::mutex m_mutex;
  std::condition_variable m_arrived, m_answered;
  std::deque<Request*> m_waiting;
  std::int64_t m_queued = 0, m_batches = 0;
  bool m_stopping = false;
  std::vector<float> m_values; ///< of the requests that are served together
  std::thread m_worker;        ///< the last member: it uses the others
};

} // namespace nasturtium::ensemble::impl
