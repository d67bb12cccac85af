// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "request_batcher.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/ensemble/http_service.hpp>
#include <nasturtium/ensemble/score.hpp>

#ifdef NASTURTIUM_HAS_HTTPLIB
#include <httplib.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace nasturtium::ensemble {

namespace {

constexpr std::size_t latency_buckets = 282; // 40 a decade, from 10 us to 100 s; the last has no end

} // namespace

double HttpStatistics::latency_edge(std::size_t bucket)
{
  if (bucket + 1 >= latency_buckets) return std::numeric_limits<double>::infinity();
  return 1e-5 * std::pow(10.0, static_cast<double>(bucket) / 40.0);
}

double HttpStatistics::latency(double quantile) const
{
  if (predictions == 0) return 0;
  auto const wanted = quantile * static_cast<double>(predictions);
  double seen = 0;
  for (std::size_t bucket = 0; bucket < latency_counts.size(); ++bucket) {
    seen += static_cast<double>(latency_counts[bucket]);
    if (seen >= wanted) return latency_edge(bucket);
  }
  return latency_edge(latency_buckets - 1);
}

bool http_available()
{
#ifdef NASTURTIUM_HAS_HTTPLIB
  return true;
#else
  return false;
#endif
}

#ifdef NASTURTIUM_HAS_HTTPLIB

namespace {

constexpr char const* json_type = "application/json";
constexpr char const* raw_type = "application/octet-stream";

/// What a request got wrong.
struct Refusal
{
  int status;
  std::string message;
};

template <class... Parts>
[[noreturn]] void refuse(int status, Parts const&... parts)
{
  throw Refusal{status, concat(parts...)};
}

std::string error_body(std::string const& message)
{
  return json::compact(json::Object{{"error", message}}) + "\n";
}

/// "application/json" of "application/json; charset=utf-8".
std::string media_type(std::string const& header)
{
  std::string type = header.substr(0, header.find(';'));
  while (!type.empty() && type.back() == ' ')
    type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

/// Adds a sample's values: a flat array, or one that is nested as height x width x channels (channels of 1 may be left
/// out).
void read_sample(json::Value const& value, std::array<std::int64_t, 3> const& shape, std::string const& what,
                 std::vector<float>& values)
{
  auto const add = [&](json::Value const& item) {
    double const number = json::to_number(item, what);
    float const rounded = static_cast<float>(number);
    require(std::isfinite(rounded), what, ": ", shortest(number), " is too large");
    values.push_back(rounded);
  };
  auto const& items = json::to_array(value, what);
  std::int64_t const size = shape[0] * shape[1] * shape[2];
  auto const expect = [&](json::Array const& array, std::int64_t length, char const* axis) {
    require(static_cast<std::int64_t>(array.size()) == length, what, " has ", array.size(), " ", axis, " instead of ",
            length);
  };
  if (items.empty() || !items.front().is_array()) {
    expect(items, size, "values");
    for (auto const& item : items)
      add(item);
    return;
  }
  expect(items, shape[0], "rows");
  for (auto const& row : items) {
    auto const& columns = json::to_array(row, what);
    expect(columns, shape[1], "columns");
    for (auto const& column : columns) {
      if (shape[2] == 1 && !column.is_array()) {
        add(column);
        continue;
      }
      auto const& channels = json::to_array(column, what);
      expect(channels, shape[2], "channels");
      for (auto const& channel : channels)
        add(channel);
    }
  }
}

} // namespace

class HttpService::Implementation
{
public:
  Implementation(Deployment const& deployment, EnsembleServer& server, HttpOptions const& options)
      : m_deployment(deployment), m_options(options), m_shape{deployment.height, deployment.width, deployment.channels},
        m_classes(server.classes()), m_latencies(latency_buckets, 0),
        m_batcher(server, static_cast<int>(m_shape[0] * m_shape[1] * m_shape[2]), options.max_queued,
                  options.max_delay_microseconds)
  {
    require(deployment.classes == m_classes, "serving: the deployment has ", deployment.classes,
            " classes, the server ", m_classes);
    configure();
    add_routes();
    if (options.port == 0) {
      m_port = m_http.bind_to_any_port(options.host);
      require(m_port > 0, "serving: no port of ", quoted(options.host), " can be had");
    } else {
      require(m_http.bind_to_port(options.host, options.port), "serving: port ", options.port, " of ",
              quoted(options.host), " cannot be had; does something else listen there?");
      m_port = options.port;
    }
  }

  int port() const { return m_port; }

  void run()
  {
    {
      std::lock_guard const lock(m_run_mutex);
      if (m_run != Run::not_started) return;
      m_run = Run::started;
    }
    m_http.listen_after_bind();
    std::lock_guard const lock(m_run_mutex);
    m_run = Run::finished;
  }

  /// httplib forgets a stop that comes before it listens, so this one waits for that moment.
  void stop()
  {
    std::unique_lock lock(m_run_mutex);
    if (std::exchange(m_stopped, true)) return;
    while (m_run == Run::started && !m_http.is_running()) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      lock.lock();
    }
    if (m_run == Run::started) m_http.stop();
    m_run = Run::finished; // a run that has not begun never does
  }

  HttpStatistics statistics() const
  {
    HttpStatistics statistics;
    {
      std::lock_guard const lock(m_mutex);
      statistics.answers = m_answers;
      statistics.predictions = m_predictions;
      statistics.samples = m_samples;
      statistics.in_flight = m_in_flight;
      statistics.latency_sum = m_latency_sum;
      statistics.latency_counts = m_latencies;
    }
    statistics.queued = m_batcher.queued();
    statistics.batches = m_batcher.batches();
    statistics.seconds = m_clock.seconds();
    return statistics;
  }

private:
  using Request = httplib::Request;
  using Response = httplib::Response;

  Deployment m_deployment;
  HttpOptions m_options;
  std::array<std::int64_t, 3> m_shape;
  int m_classes;
  int m_port = 0;
  Stopwatch m_clock;

  enum class Run { not_started, started, finished };
  std::mutex m_run_mutex;
  Run m_run = Run::not_started;
  bool m_stopped = false;

  mutable std::mutex m_mutex;
  std::map<int, std::int64_t> m_answers;
  std::int64_t m_predictions = 0, m_samples = 0, m_in_flight = 0;
  double m_latency_sum = 0;
  std::vector<std::int64_t> m_latencies;

  impl::RequestBatcher m_batcher;
  httplib::Server m_http; ///< the last member: its threads use the others

  std::int64_t sample_size() const { return m_shape[0] * m_shape[1] * m_shape[2]; }

  void configure()
  {
    auto const connections = static_cast<std::size_t>(m_options.connections);
    m_http.new_task_queue = [connections] { return new httplib::ThreadPool(connections); };
    // A number of JSON takes up to some twenty characters.
    constexpr std::int64_t characters = 24, envelope = 1 << 16;
    m_http.set_payload_max_length(
        static_cast<std::size_t>(m_options.max_samples * sample_size() * characters + envelope));
    m_http.set_tcp_nodelay(true);
    m_http.set_socket_options([](int socket) { // not SO_REUSEPORT: two services would share a port without a word
      int const on = 1;
      ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    m_http.set_read_timeout(10);
    m_http.set_write_timeout(10);
    m_http.set_keep_alive_max_count(1000000);
    m_http.set_keep_alive_timeout(5);
    m_http.set_error_handler([](Request const& request, Response& response) {
      if (!response.body.empty()) return httplib::Server::HandlerResponse::Unhandled;
      std::string message;
      switch (response.status) {
      case 400:
        message = "the request is no valid HTTP";
        break;
      case 404:
        message = concat("there is no ", quoted(request.path, 64),
                         "; there are /predict, /v1/ensemble, /healthz and /metrics");
        break;
      case 413:
        message = "the body is too large";
        break;
      default:
        message = httplib::status_message(response.status);
      }
      response.set_content(error_body(message), json_type);
      return httplib::Server::HandlerResponse::Handled;
    });
    m_http.set_exception_handler([](Request const&, Response& response, std::exception_ptr const& thrown) {
      std::string message;
      try {
        std::rethrow_exception(thrown);
      } catch (std::exception const& error) {
        message = concat("internal error: ", error.what());
      } catch (...) {
        message = "internal error";
      }
      response.status = 500;
      response.set_content(error_body(message), json_type);
    });
    // Before the answer is written: who has it finds it counted. A logger would come after that.
    m_http.set_post_routing_handler([this](Request const&, Response const& response) {
      std::lock_guard const lock(m_mutex);
      ++m_answers[response.status];
    });
  }

  void add_routes()
  {
    m_http.Post("/predict", [this](Request const& request, Response& response) { answer(request, response); });
    m_http.Get("/healthz", [this](Request const&, Response& response) {
      json::Object object;
      object["status"] = "ok";
      object["version"] = version();
      object["members"] = static_cast<std::int64_t>(m_deployment.members.size());
      object["devices"] = static_cast<std::int64_t>(m_deployment.devices.size());
      object["seconds"] = m_clock.seconds();
      response.set_content(json::compact(object) + "\n", json_type);
    });
    m_http.Get("/metrics", [this](Request const&, Response& response) {
      response.set_content(metrics(), "text/plain; version=0.0.4");
    });
    m_http.Get("/v1/ensemble",
               [this](Request const&, Response& response) { response.set_content(description(), json_type); });
    auto const other_method = [](char const* allowed) {
      return [allowed](Request const& request, Response& response) {
        response.status = 405;
        response.set_header("Allow", allowed);
        response.set_content(error_body(concat(request.method, " is not for ", request.path, "; ", allowed, " is")),
                             json_type);
      };
    };
    m_http.Get("/predict", other_method("POST"));
    m_http.Put("/predict", other_method("POST"));
    m_http.Patch("/predict", other_method("POST"));
    m_http.Delete("/predict", other_method("POST"));
    for (char const* const path : {"/healthz", "/metrics", "/v1/ensemble"}) {
      m_http.Post(path, other_method("GET"));
      m_http.Put(path, other_method("GET"));
      m_http.Delete(path, other_method("GET"));
    }
  }

  /// What clients need to know; without paths of this machine.
  std::string description() const
  {
    auto object = json::parse(to_json(m_deployment), "deployment").as_object();
    for (char const* const field : {"format", "version", "library", "devices", "segment_size"})
      object.erase(field);
    object.at("input").as_object().erase("moments");
    object["max_samples"] = m_options.max_samples;
    return json::pretty(object);
  }

  std::string metrics() const
  {
    auto const now = statistics();
    std::string text;
    auto const add = [&](std::string const& name, char const* kind, char const* help, std::string const& lines) {
      text += concat("# HELP nasturtium_", name, " ", help, "\n# TYPE nasturtium_", name, " ", kind, "\n", lines);
    };
    auto const one = [&](std::string const& name, char const* kind, char const* help, double value) {
      add(name, kind, help, concat("nasturtium_", name, " ", shortest(value), "\n"));
    };
    std::string answers;
    for (auto const& [status, count] : now.answers)
      answers += concat("nasturtium_http_requests_total{code=\"", status, "\"} ", count, "\n");
    add("http_requests_total", "counter", "Requests answered, by status.", answers);
    one("samples_total", "counter", "Samples predicted.", static_cast<double>(now.samples));
    one("batches_total", "counter", "Calls of the ensemble; each serves all requests that waited.",
        static_cast<double>(now.batches));
    one("in_flight_requests", "gauge", "Predictions being answered.", static_cast<double>(now.in_flight));
    one("queued_samples", "gauge", "Samples that wait.", static_cast<double>(now.queued));
    one("uptime_seconds", "gauge", "Since the start.", now.seconds);
    std::string buckets;
    std::int64_t seen = 0;
    for (std::size_t bucket = 0; bucket < now.latency_counts.size(); ++bucket) {
      seen += now.latency_counts[bucket];
      bool const last = bucket + 1 == now.latency_counts.size();
      if (bucket % 20 != 0 && !last) continue;
      buckets += concat("nasturtium_prediction_seconds_bucket{le=\"",
                        last ? "+Inf" : shortest(HttpStatistics::latency_edge(bucket)), "\"} ", seen, "\n");
    }
    buckets += concat("nasturtium_prediction_seconds_sum ", shortest(now.latency_sum),
                      "\nnasturtium_prediction_seconds_count ", now.predictions, "\n");
    add("prediction_seconds", "histogram", "From a request's arrival to its answer.", buckets);
    return text;
  }

  std::vector<float> from_json(std::string const& body) const
  {
    std::vector<float> values;
    try {
      auto const document = json::parse(body, "body");
      json::Reader reader(document, "body");
      auto const& inputs = reader.array("inputs");
      check_count(static_cast<std::int64_t>(inputs.size()));
      values.reserve(inputs.size() * static_cast<std::size_t>(sample_size()));
      std::size_t number = 0;
      for (auto const& input : inputs)
        read_sample(input, m_shape, concat("body: field 'inputs': sample ", number++), values);
      reader.finish();
    } catch (Error const& error) {
      refuse(400, error.what());
    }
    return values;
  }

  std::vector<float> from_raw(Request const& request) const
  {
    std::string const type = request.has_param("dtype") ? request.get_param_value("dtype") : "float32";
    if (type != "float32" && type != "uint8") refuse(400, "dtype must be float32 or uint8, got ", quoted(type, 64));
    std::string const& body = request.body;
    auto const bytes = static_cast<std::int64_t>(body.size());
    std::int64_t const sample_bytes = sample_size() * (type == "uint8" ? 1 : 4);
    if (bytes % sample_bytes != 0)
      refuse(400, "the body has ", bytes, " bytes, no whole number of samples of ", sample_bytes, " bytes (",
             m_shape[0], " x ", m_shape[1], " x ", m_shape[2], " ", type, ")");
    check_count(bytes / sample_bytes);
    std::vector<float> values(static_cast<std::size_t>(bytes / sample_bytes * sample_size()));
    if (type == "uint8") {
      std::transform(body.begin(), body.end(), values.begin(), [](char c) { return static_cast<unsigned char>(c); });
      return values;
    }
    static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian");
    std::memcpy(values.data(), body.data(), body.size());
    auto const bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
    if (bad != values.end()) refuse(400, "sample ", (bad - values.begin()) / sample_size(), ": a value is ", *bad);
    return values;
  }

  void check_count(std::int64_t samples) const
  {
    if (samples == 0) refuse(400, "there are no samples");
    if (samples > m_options.max_samples)
      refuse(413, "there are ", samples, " samples, at most ", m_options.max_samples, " are served at a time");
  }

  /// softmax(ln max(p, 1e-12) / T), as selection calibrates.
  void calibrate(std::vector<float>& probabilities) const
  {
    if (m_deployment.temperature == 1) return;
    auto const classes = static_cast<std::size_t>(m_classes);
    std::vector<double> row(classes);
    for (std::size_t first = 0; first < probabilities.size(); first += classes) {
      double sum = 0, most = -std::numeric_limits<double>::infinity();
      for (std::size_t c = 0; c < classes; ++c) {
        row[c] = std::log(std::max<double>(probabilities[first + c], least_probability)) / m_deployment.temperature;
        most = std::max(most, row[c]);
      }
      for (double& value : row)
        sum += value = std::exp(value - most);
      for (std::size_t c = 0; c < classes; ++c)
        probabilities[first + c] = static_cast<float>(row[c] / sum);
    }
  }

  void answer(Request const& request, Response& response)
  {
    Stopwatch const clock;
    {
      std::lock_guard const lock(m_mutex);
      ++m_in_flight;
    }
    std::int64_t samples = 0;
    try {
      samples = predict(request, response);
    } catch (Refusal const& refusal) {
      response.status = refusal.status;
      if (refusal.status == 503) response.set_header("Retry-After", "1");
      response.set_content(error_body(refusal.message), json_type);
    }
    std::lock_guard const lock(m_mutex);
    --m_in_flight;
    if (samples == 0) return;
    double const seconds = clock.seconds();
    ++m_predictions;
    m_samples += samples;
    m_latency_sum += seconds;
    std::size_t bucket = 0;
    while (seconds > HttpStatistics::latency_edge(bucket))
      ++bucket;
    ++m_latencies[bucket];
  }

  std::int64_t predict(Request const& request, Response& response)
  {
    std::string const type = media_type(request.get_header_value("Content-Type"));
    if (type != json_type && type != raw_type)
      refuse(415, "Content-Type must be ", json_type, " or ", raw_type, ", got ", quoted(type, 64));
    auto const values = type == json_type ? from_json(request.body) : from_raw(request);
    std::vector<float> probabilities;
    std::string message;
    switch (m_batcher.predict(values, probabilities, message)) {
    case impl::RequestBatcher::Outcome::full:
      refuse(503, "too many samples wait; try again");
    case impl::RequestBatcher::Outcome::stopped:
      refuse(503, "the service is shutting down");
    case impl::RequestBatcher::Outcome::failed:
      refuse(500, message);
    case impl::RequestBatcher::Outcome::served:
      break;
    }
    calibrate(probabilities);
    if (media_type(request.get_header_value("Accept")) == raw_type)
      response.set_content(
          std::string(reinterpret_cast<char const*>(probabilities.data()), probabilities.size() * sizeof(float)),
          raw_type);
    else
      response.set_content(json_answer(probabilities), json_type);
    return static_cast<std::int64_t>(values.size()) / sample_size();
  }

  std::string json_answer(std::vector<float> const& probabilities) const
  {
    auto const classes = static_cast<std::size_t>(m_classes);
    json::Array rows, labels, names;
    for (std::size_t first = 0; first < probabilities.size(); first += classes) {
      auto const begin = probabilities.begin() + static_cast<std::ptrdiff_t>(first);
      auto const best = std::max_element(begin, begin + m_classes) - begin;
      rows.push_back(json::Array(begin, begin + m_classes));
      labels.push_back(static_cast<std::int64_t>(best));
      if (!m_deployment.class_names.empty())
        names.push_back(json::Value(m_deployment.class_names[static_cast<std::size_t>(best)]));
    }
    json::Object object;
    object["classes"] = m_classes;
    object["labels"] = std::move(labels);
    if (!names.empty()) object["names"] = std::move(names);
    object["probabilities"] = std::move(rows);
    return json::compact(object) + "\n";
  }
};

#else

class HttpService::Implementation
{
public:
  Implementation(Deployment const&, EnsembleServer&, HttpOptions const&)
  {
    fail("serving: this build has no HTTP server (cpp-httplib was not found)");
  }
  int port() const { return 0; }
  void run() {}
  void stop() {}
  HttpStatistics statistics() const { return {}; }
};

#endif

HttpService::HttpService(Deployment const& deployment, EnsembleServer& server, HttpOptions const& options)
{
  require(options.port >= 0 && options.port < 65536, "serving: port must be in [0, 65535], got ", options.port);
  require(options.connections >= 1 && options.connections <= 4096, "serving: connections must be in [1, 4096], got ",
          options.connections);
  require(options.max_samples >= 1 && options.max_samples <= 1'000'000,
          "serving: max_samples must be in [1, 1000000], got ", options.max_samples);
  require(options.max_queued >= options.max_samples, "serving: max_queued must be at least max_samples, got ",
          options.max_queued);
  require(options.max_delay_microseconds >= 0 && options.max_delay_microseconds <= 10'000'000,
          "serving: max_delay must be in [0, 10000000] microseconds, got ", options.max_delay_microseconds);
  m_implementation = std::make_unique<Implementation>(deployment, server, options);
}

HttpService::~HttpService() = default;

int HttpService::port() const
{
  return m_implementation->port();
}

void HttpService::run()
{
  m_implementation->run();
}

void HttpService::stop()
{
  m_implementation->stop();
}

HttpStatistics HttpService::statistics() const
{
  return m_implementation->statistics();
}

} // namespace nasturtium::ensemble
