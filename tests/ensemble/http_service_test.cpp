// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/http_client.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/calibration.hpp>
#include <nasturtium/ensemble/http_service.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;

namespace {

constexpr std::size_t sample_size = 32; // 4 x 4 x 2
constexpr char const* json_type = "application/json";
constexpr char const* raw_type = "application/octet-stream";

nn::spec::Architecture member_architecture(int units)
{
  return nn::spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 4, "width": 4, "channels": 2},
          "nodes": [{"id": "a", "op": "dense", "units": )" +
          std::to_string(units) + R"(, "inputs": ["input"]},
                    {"id": "r", "op": "relu", "inputs": ["a"]},
                    {"id": "f", "op": "dense", "units": 3, "inputs": ["r"]}],
          "output": {"classes": 3}})",
      "member");
}

std::vector<ServedModel> members()
{
  std::vector<ServedModel> models;
  for (int m = 0; m < 2; ++m) {
    auto const architecture = member_architecture(5 + m);
    models.push_back({concat("m", m), architecture,
                      std::make_shared<nn::Weights const>(nn::initial_weights(architecture, 1 + std::uint64_t(m))),
                      1.0 + m});
  }
  return models;
}

Deployment deployment()
{
  Deployment made;
  made.library = "library";
  made.members = {{"m0", 1}, {"m1", 2}};
  made.temperature = 0.7;
  made.height = made.width = 4;
  made.channels = 2;
  made.classes = 3;
  made.class_names = {"ant", "bee", "cow"};
  made.moments = {{100, 120}, {50, 60}};
  ServingDevice device;
  device.name = "host";
  made.devices = {device};
  made.plan.devices = {"host"};
  made.plan.models = {"m0", "m1"};
  made.plan.allocation = Allocation(1, 2);
  made.plan.allocation.batch = {8, 8};
  return made;
}

/// A service that runs in a thread of its own.
struct Running
{
  Deployment deployed = deployment();
  EnsembleServer server;
  HttpService service;
  std::thread thread;

  explicit Running(HttpOptions const& options = {}, ServingOptions const& serving = {})
      : server(members(), deployed.devices, deployed.plan, deployed.moments, serving),
        service(deployed, server, options), thread([this] { service.run(); })
  {
  }
  ~Running()
  {
    service.stop();
    if (thread.joinable()) thread.join();
  }
};

std::vector<float> samples(std::size_t count, std::uint64_t seed)
{
  Random random(seed);
  std::vector<float> values(count * sample_size);
  for (float& value : values)
    value = static_cast<float>(random.below(256));
  return values;
}

std::string raw_of(std::vector<float> const& values)
{
  return {reinterpret_cast<char const*>(values.data()), values.size() * sizeof(float)};
}

std::string json_of(std::vector<float> const& values, bool nested)
{
  std::string text = "{\"inputs\": [";
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::size_t const at = i % sample_size;
    if (at == 0) text += i == 0 ? "[" : ", [";
    if (nested && at % 8 == 0) text += at == 0 ? "[" : "]], [";
    if (nested && at % 2 == 0) text += at % 8 == 0 ? "[" : "], [";
    if (!(nested ? at % 2 == 0 : at == 0)) text += ", ";
    text += shortest(values[i]);
    if (at + 1 == sample_size) text += nested ? "]]]" : "]";
  }
  return text + "]}";
}

/// What a service must answer: the members' mean, with the temperature.
std::vector<double> expected(EnsembleServer& server, std::vector<float> const& values)
{
  auto const pooled = server.predict({{}, values});
  std::vector<double> const probabilities(pooled.begin(), pooled.end());
  std::vector<std::int32_t> const labels(pooled.size() / 3, 0);
  return apply_temperature({probabilities, 3, labels}, deployment().temperature);
}

std::vector<double> probabilities_of(HttpAnswer const& answer)
{
  std::vector<double> values;
  auto const document = json::parse(answer.body, "answer");
  for (auto const& row : document.at("probabilities").as_array())
    for (auto const& value : row.as_array())
      values.push_back(value.to_number<double>());
  return values;
}

double difference(std::vector<double> const& left, std::vector<double> const& right)
{
  if (left.size() != right.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < left.size(); ++i)
    largest = std::max(largest, std::abs(left[i] - right[i]));
  return largest;
}

std::string error_in(HttpAnswer const& answer)
{
  auto const document = json::parse(answer.body, "answer");
  return std::string(document.at("error").as_string());
}

} // namespace

TEST_CASE("http: all formats give the calibrated predictions of the ensemble", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  Running it;
  HttpClient client(it.service.port());
  for (std::size_t const count : {1, 2, 7, 130}) {
    auto const values = samples(count, count);
    auto const wanted = expected(it.server, values);
    for (bool const nested : {false, true}) {
      auto const answer = client.request("POST", "/predict", json_of(values, nested), json_type);
      REQUIRE(answer.status == 200);
      CHECK(difference(probabilities_of(answer), wanted) < 1e-6);
      auto const document = json::parse(answer.body, "answer");
      CHECK(document.at("classes").as_int64() == 3);
      REQUIRE(document.at("labels").as_array().size() == count);
      for (std::size_t i = 0; i < count; ++i) {
        auto const best = std::max_element(wanted.begin() + 3 * i, wanted.begin() + 3 * i + 3) - wanted.begin() - 3 * i;
        CHECK(document.at("labels").at(i).as_int64() == static_cast<std::int64_t>(best));
        CHECK(document.at("names").at(i).as_string() == deployment().class_names[best]);
      }
    }
    auto const raw = client.request("POST", "/predict", raw_of(values), raw_type, raw_type);
    REQUIRE(raw.status == 200);
    REQUIRE(raw.body.size() == count * 3 * sizeof(float));
    std::vector<float> back(count * 3);
    std::memcpy(back.data(), raw.body.data(), raw.body.size());
    CHECK(difference({back.begin(), back.end()}, wanted) < 1e-6);
    std::string const bytes(values.begin(), values.end());
    auto const small = client.request("POST", "/predict?dtype=uint8", bytes, raw_type);
    REQUIRE(small.status == 200);
    CHECK(difference(probabilities_of(small), wanted) < 1e-6);
  }
  auto const described = json::parse(client.request("GET", "/v1/ensemble").body, "answer");
  CHECK(described.at("members").as_array().size() == 2);
  CHECK(described.at("input").at("channels").as_int64() == 2);
  CHECK_FALSE(described.as_object().contains("library"));
  CHECK(json::parse(client.request("GET", "/healthz").body, "answer").at("status").as_string() == "ok");
}

TEST_CASE("http: every mistake has its status and says what is wrong", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  HttpOptions options;
  options.max_samples = 4;
  options.max_queued = 8;
  Running it(options);
  HttpClient client(it.service.port());
  auto const good = json_of(samples(1, 3), false);
  auto const replaced = [&](std::string const& from, std::string const& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  auto nan = samples(2, 4);
  nan[40] = NAN;
  struct Case
  {
    std::string body, type, path, method;
    int status;
    std::string says;
  };
  for (auto const& [body, type, path, method, status, says] :
       std::vector<Case>{{"{", json_type, "/predict", "POST", 400, "not JSON"},
                         {"[]", json_type, "/predict", "POST", 400, "object"},
                         {"{}", json_type, "/predict", "POST", 400, "inputs"},
                         {"", json_type, "/predict", "POST", 400, "not JSON"},
                         {"{\"inputs\": []}", json_type, "/predict", "POST", 400, "no samples"},
                         {"{\"inputs\": 3}", json_type, "/predict", "POST", 400, "inputs"},
                         {"{\"inputs\": [3]}", json_type, "/predict", "POST", 400, "sample 0"},
                         {"{\"inputs\": [[1, 2]]}", json_type, "/predict", "POST", 400, "2 values instead of 32"},
                         {"{\"inputs\": [[[1, 2]]]}", json_type, "/predict", "POST", 400, "1 rows instead of 4"},
                         {replaced("[[", "[[\"x\", "), json_type, "/predict", "POST", 400, "33 values"},
                         {replaced("[[", "[[1e999, "), json_type, "/predict", "POST", 400, "sample 0"},
                         {replaced("}", ", \"model\": 1}"), json_type, "/predict", "POST", 400, "model"},
                         {json_of(samples(5, 1), false), json_type, "/predict", "POST", 413, "at most 4"},
                         {raw_of(samples(5, 1)), raw_type, "/predict", "POST", 413, "at most 4"},
                         {"abc", raw_type, "/predict", "POST", 400, "3 bytes"},
                         {"", raw_type, "/predict", "POST", 400, "no samples"},
                         {raw_of(nan), raw_type, "/predict", "POST", 400, "sample 1"},
                         {raw_of(nan), raw_type, "/predict?dtype=int16", "POST", 400, "int16"},
                         {std::string(200000, ' '), json_type, "/predict", "POST", 413, "too large"},
                         {good, "text/plain", "/predict", "POST", 415, "text/plain"},
                         {good, "", "/predict", "POST", 415, "Content-Type"},
                         {"", "", "/predict", "GET", 405, "POST"},
                         {"", "", "/metrics", "POST", 405, "GET"},
                         {"", "", "/predictions", "GET", 404, "/predictions"}}) {
    INFO(method << " " << path << " " << body.substr(0, 60));
    auto const answer = client.request(method, path, body, type);
    CHECK(answer.status == status);
    CHECK(error_in(answer).find(says) != std::string::npos);
    INFO(error_in(answer));
    CHECK(client.request("POST", "/predict", good, json_type).status == 200);
  }
  // What is no HTTP ends its own connection alone.
  for (std::string const& garbage : {std::string("GARBAGE\r\n\r\n"), std::string(5000, 'x') + "\r\n\r\n",
                                     std::string("\r\n\r\n"), std::string("POST /predict HTTP/9.9\r\n\r\n")}) {
    HttpClient other(it.service.port());
    auto const answer = other.raw(garbage);
    CHECK((answer.status == 0 || (answer.status >= 400 && answer.status < 506)));
    CHECK(client.request("POST", "/predict", good, json_type).status == 200);
  }
  HttpClient cut(it.service.port());
  cut.raw("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"inp",
          true);
  CHECK(client.request("POST", "/predict", good, json_type).status == 200);
}

TEST_CASE("http: requests of many connections are served together, each with its own answer", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  HttpOptions options;
  options.max_delay_microseconds = 20000;
  Running it(options);
  constexpr int clients = 8, rounds = 10;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> inputs;
  std::vector<std::vector<double>> wanted;
  for (int i = 0; i < clients * rounds; ++i) {
    inputs.push_back(samples(1 + static_cast<std::size_t>(i) % 5, static_cast<std::uint64_t>(i)));
    wanted.push_back(expected(it.server, inputs.back()));
  }
  for (int c = 0; c < clients; ++c)
    threads.emplace_back([&, c] {
      HttpClient client(it.service.port());
      for (int round = 0; round < rounds; ++round) {
        auto const i = static_cast<std::size_t>(c * rounds + round);
        auto const answer = client.request("POST", "/predict", json_of(inputs[i], false), json_type);
        wrong += answer.status != 200 || difference(probabilities_of(answer), wanted[i]) > 1e-6;
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(wrong == 0);
  auto const statistics = it.service.statistics();
  CHECK(statistics.predictions == clients * rounds);
  CHECK(statistics.batches < clients * rounds / 2);
  CHECK(statistics.answers.at(200) == clients * rounds);
  CHECK(statistics.in_flight == 0);
  CHECK(statistics.latency(0.5) <= statistics.latency(0.99));
  CHECK(statistics.latency(0.99) < 20);
  HttpClient client(it.service.port());
  auto const metrics = client.request("GET", "/metrics").body;
  CHECK(metrics.find(concat("nasturtium_http_requests_total{code=\"200\"} ", clients * rounds, "\n")) !=
        std::string::npos);
  CHECK(metrics.find(concat("nasturtium_prediction_seconds_count ", clients * rounds, "\n")) != std::string::npos);
  CHECK(metrics.find(concat("le=\"+Inf\"} ", clients * rounds, "\n")) != std::string::npos);
}

TEST_CASE("http: a member that fails is told to those it failed for, and the service goes on", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  std::atomic<bool> broken = false;
  ServingOptions serving;
  serving.before_segment = [&](std::string const& model, std::string const&, std::int64_t) {
    if (broken && model == "m1") throw std::runtime_error("the card has gone");
  };
  Running it({}, serving);
  HttpClient client(it.service.port());
  auto const body = json_of(samples(2, 9), false);
  CHECK(client.request("POST", "/predict", body, json_type).status == 200);
  broken = true;
  auto const failed = client.request("POST", "/predict", body, json_type);
  CHECK(failed.status == 500);
  for (char const* const part : {"m1", "host", "the card has gone"})
    CHECK(error_in(failed).find(part) != std::string::npos);
  broken = false;
  CHECK(client.request("POST", "/predict", body, json_type).status == 200);
}

TEST_CASE("http: what waits is bounded, and what was accepted is answered when the service stops", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  std::mutex mutex;
  std::condition_variable change;
  bool open = false;
  std::atomic<int> entered = 0;
  ServingOptions serving;
  serving.before_segment = [&](std::string const&, std::string const&, std::int64_t) {
    ++entered;
    std::unique_lock lock(mutex);
    change.wait(lock, [&] { return open; });
  };
  HttpOptions options;
  options.max_samples = 4;
  options.max_queued = 8;
  Running it(options, serving);
  auto const body = json_of(samples(4, 2), false);
  std::atomic<int> answered[600] = {};
  std::vector<std::thread> threads;
  auto const send = [&] {
    threads.emplace_back([&] {
      HttpClient client(it.service.port());
      auto const answer = client.request("POST", "/predict", body, json_type);
      ++answered[answer.status];
    });
  };
  auto const wait_until = [](auto const& condition) {
    for (int i = 0; i < 5000 && !condition(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return condition();
  };
  send(); // is being served, and held up
  REQUIRE(wait_until([&] { return entered > 0; }));
  send();
  send(); // these two fill the queue
  REQUIRE(wait_until([&] { return it.service.statistics().queued == 8; }));
  HttpClient client(it.service.port());
  auto const refused = client.request("POST", "/predict", body, json_type);
  CHECK(refused.status == 503);
  CHECK(HttpClient::header(refused, "retry-after") == "1");
  it.service.stop();
  {
    std::lock_guard const lock(mutex);
    open = true;
  }
  change.notify_all();
  for (auto& thread : threads)
    thread.join();
  it.thread.join();
  CHECK(answered[200] == 3);
  HttpClient late(it.service.port());
  CHECK(late.request("GET", "/healthz").status == 0);
}

TEST_CASE("http: options and addresses that cannot be", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  auto const message = [](auto const& change) {
    HttpOptions options;
    change(options);
    return error_of([&] { Running const it(options); });
  };
  CHECK(message([](auto& it) { it.port = 70000; }).find("70000") != std::string::npos);
  CHECK(message([](auto& it) { it.connections = 0; }).find("connections") != std::string::npos);
  CHECK(message([](auto& it) { it.max_samples = 0; }).find("max_samples") != std::string::npos);
  CHECK(message([](auto& it) { it.max_queued = 1; }).find("max_queued") != std::string::npos);
  CHECK(message([](auto& it) { it.max_delay_microseconds = -1; }).find("max_delay") != std::string::npos);
  CHECK(message([](auto& it) { it.host = "nowhere.invalid"; }).find("nowhere.invalid") != std::string::npos);
  Running first;
  CHECK(message([&](auto& it) { it.port = first.service.port(); }).find("something else") != std::string::npos);
}

TEST_CASE("http: a stop at any moment ends the service, before it listens as well", "[http]")
{
  if (!http_available()) SKIP("this build has no HTTP server");
  for (int turn = 0; turn < 200; ++turn) {
    Running it; // stopped by its destructor, often before its thread has begun
    if (turn % 3 == 1) std::this_thread::yield();
    if (turn % 3 == 2) std::this_thread::sleep_for(std::chrono::microseconds(50 * (turn % 20)));
    it.service.stop();
  }
  auto deployed = deployment();
  EnsembleServer server(members(), deployed.devices, deployed.plan, deployed.moments, {});
  HttpService service(deployed, server, {});
  service.stop();
  service.run(); // returns at once
  CHECK(service.statistics().predictions == 0);
}
