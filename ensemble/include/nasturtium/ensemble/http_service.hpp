// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A deployed ensemble behind a local HTTP endpoint. Requests of several connections that wait at the same time are
// served together. Endpoints, formats and errors: docs/ensembles-serving.md.
#pragma once

#include <nasturtium/ensemble/deployment.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

struct HttpOptions
{
  std::string host = "127.0.0.1";
  int port = 0;                     ///< 0: a free one
  int connections = 32;             ///< that are answered at the same time, >= 1; more wait
  int max_samples = 4096;           ///< of a request, >= 1
  std::int64_t max_queued = 65536;  ///< samples that wait, >= max_samples; what comes beyond them is refused with 503
  int max_delay_microseconds = 200; ///< that a request waits for others to be served with, where none is running, >= 0
};

/// What happened since the start.
struct HttpStatistics
{
  std::map<int, std::int64_t> answers; ///< by status
  std::int64_t predictions = 0;        ///< requests that were predicted
  std::int64_t samples = 0;            ///< of these
  std::int64_t batches = 0;            ///< calls of the ensemble
  std::int64_t in_flight = 0;          ///< requests that are being answered
  std::int64_t queued = 0;             ///< samples that wait
  double seconds = 0;                  ///< since the start
  double latency_sum = 0;              ///< of predictions, seconds
  /// An upper bound of a quantile of the latency of predictions, within 6 %, in seconds; 0 without any.
  double latency(double quantile) const;
  std::vector<std::int64_t> latency_counts; ///< in buckets of latency_edge
  static double latency_edge(std::size_t bucket);
};

/// True where this build has an HTTP server (cpp-httplib).
bool http_available();

class HttpService
{
public:
  /// Binds to the address. `server` serves `deployment`; it must outlive the object. Throws Error for
  /// options out of range, for an address that cannot be had, and where this build has no HTTP server.
  HttpService(Deployment const& deployment, EnsembleServer& server, HttpOptions const& options);
  ~HttpService();
  HttpService(HttpService const&) = delete;
  HttpService& operator=(HttpService const&) = delete;

  int port() const;
  /// Answers requests until stop(); what was accepted until then is answered. Call once.
  void run();
  void stop(); ///< from any thread, any number of times
  HttpStatistics statistics() const;

private:
  class Implementation;
  std::unique_ptr<Implementation> m_implementation;
};

} // namespace nasturtium::ensemble
