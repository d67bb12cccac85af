// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The server as a process under load from this one: nothing lost, nothing wrong, every mistake told.
#include "process.hpp"
#include "support/http_client.hpp"

#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/calibration.hpp>
#include <nasturtium/ensemble/http_service.hpp>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

constexpr int side = 8, classes = 4, different = 64;
constexpr char const* images = "synthetic:count=300:test=64:height=8:width=8:classes=4:noise=60";

/// The line that a server prints first.
int port_of(Process& server, std::string const& out)
{
  for (int i = 0; i < 10000 && server.running(); ++i) {
    std::string const text = read(out);
    if (auto const end = text.find('\n'); end != std::string::npos)
      return static_cast<int>(json::parse(text.substr(0, end), "first line").at("port").as_int64());
    sleep_ms(1);
  }
  return 0;
}

/// A request that is wrong, and its status.
struct Mistake
{
  std::string method, path, body, type;
  int status;
};

std::vector<Mistake> mistakes(std::string const& good)
{
  std::string const json = "application/json", raw = "application/octet-stream";
  std::string nan(side * side * sizeof(float), '\0');
  float const value = NAN;
  std::memcpy(nan.data() + 20, &value, sizeof value);
  return {{"POST", "/predict", good.substr(0, good.size() / 2), json, 400},
          {"POST", "/predict", "{}", json, 400},
          {"POST", "/predict", "{\"inputs\": [[1, 2, 3]]}", json, 400},
          {"POST", "/predict", "{\"inputs\": [\"image\"]}", json, 400},
          {"POST", "/predict", "{\"inputs\": [[[1, 2], [3, 4]]]}", json, 400},
          {"POST", "/predict", "\xff\xfe", json, 400},
          {"POST", "/predict?dtype=uint8", std::string(side * side + 1, 'x'), raw, 400},
          {"POST", "/predict?dtype=complex", std::string(side * side, 'x'), raw, 400},
          {"POST", "/predict", nan, raw, 400},
          {"POST", "/predict?dtype=uint8", std::string(side * side * 17, 'x'), raw, 413},
          {"POST", "/predict", good, "text/html", 415},
          {"GET", "/predict", "", "", 405},
          {"DELETE", "/metrics", "", "", 405},
          {"POST", "/predicts", good, json, 404}};
}

} // namespace

TEST_CASE("ensemble serve: ten thousand requests, malformed ones among them")
{
  if (!ensemble::http_available()) SKIP("this build has no HTTP server");
  Folder const folder;
  for (auto const& call : std::vector<std::vector<std::string>>{
           {"ensemble", "search", "--dataset", images, "--validation", "0.4", "--space", "residual-narrow", "--trials",
            "8", "--epochs", "3", "--threads", "1", "--out", folder / "run"},
           {"ensemble", "select", folder / "run", "--preset", "top-k", "--threads", "1"},
           {"ensemble", "plan", folder / "run", "--take", "best", "--batches", "1,16", "--seconds", "0.001",
            "--samples", "0", "--devices", "1"}}) {
    auto const result = run(call);
    INFO(result.err);
    REQUIRE(result.status == 0);
  }
  Process server({"ensemble", "serve", folder / "run", "--port", "0", "--max-samples", "16", "--json"},
                 {.stdout_path = folder / "out"});
  int const port = port_of(server, folder / "out");
  REQUIRE(port > 0);

  // Every image alone, before there is any load: what its answer must be later.
  std::vector<std::string> bodies;
  std::vector<std::vector<float>> answers;
  std::mt19937 random(7);
  HttpClient first(port);
  for (int i = 0; i < different; ++i) {
    std::string image(side * side, '\0');
    for (char& pixel : image)
      pixel = static_cast<char>(random());
    auto const answer =
        first.request("POST", "/predict?dtype=uint8", image, "application/octet-stream", "application/octet-stream");
    REQUIRE(answer.status == 200);
    REQUIRE(answer.body.size() == classes * sizeof(float));
    std::vector<float> row(classes);
    std::memcpy(row.data(), answer.body.data(), answer.body.size());
    float sum = 0;
    for (float const p : row)
      sum += p;
    CHECK(std::abs(sum - 1) < 1e-5F);
    bodies.push_back(image);
    answers.push_back(row);
  }
  CHECK(answers.front() != answers.back());

  auto const as_json = [&](int image) {
    std::string text = "{\"inputs\": [[";
    for (std::size_t i = 0; i < bodies[static_cast<std::size_t>(image)].size(); ++i)
      text +=
          (i == 0 ? "" : ",") + std::to_string(static_cast<unsigned char>(bodies[static_cast<std::size_t>(image)][i]));
    return text + "]]}";
  };
  auto const wrong_ones = mistakes(as_json(0));
  constexpr int clients = 6, requests = 1700;
  std::atomic<int> lost = 0, wrong = 0, wrong_status = 0;
  std::array<std::atomic<int>, 600> statuses{};
  std::vector<std::thread> threads;
  for (int c = 0; c < clients; ++c)
    threads.emplace_back([&, c] {
      std::mt19937 own(static_cast<unsigned>(c));
      HttpClient client(port);
      for (int i = 0; i < requests; ++i) {
        if (own() % 10 == 0) {
          auto const& bad = wrong_ones[own() % wrong_ones.size()];
          auto const answer = client.request(bad.method, bad.path, bad.body, bad.type);
          lost += answer.status == 0;
          wrong_status += answer.status != bad.status;
          wrong_status += answer.body.find("\"error\"") == std::string::npos;
          ++statuses[static_cast<std::size_t>(answer.status)];
          continue;
        }
        if (own() % 200 == 0) { // what is no HTTP, on connections of its own
          HttpClient(port).raw("NONSENSE\r\n\r\n");
          HttpClient(port).raw("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", true);
        }
        int const image = static_cast<int>(own() % different);
        std::vector<float> row(classes);
        HttpAnswer answer;
        if (own() % 2 == 0) {
          answer = client.request("POST", "/predict?dtype=uint8", bodies[static_cast<std::size_t>(image)],
                                  "application/octet-stream", "application/octet-stream");
          if (answer.body.size() == classes * sizeof(float))
            std::memcpy(row.data(), answer.body.data(), answer.body.size());
        } else {
          answer = client.request("POST", "/predict", as_json(image), "application/json");
          if (answer.status == 200) {
            auto const document = json::parse(answer.body, "answer");
            for (std::size_t k = 0; k < classes; ++k)
              row[k] = document.at("probabilities").at(0).at(k).to_number<float>();
          }
        }
        lost += answer.status == 0;
        ++statuses[static_cast<std::size_t>(answer.status)];
        bool same = answer.status == 200;
        for (std::size_t k = 0; k < classes; ++k)
          same = same && std::abs(row[k] - answers[static_cast<std::size_t>(image)][k]) < 1e-5F;
        wrong += !same;
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(lost == 0);
  CHECK(wrong == 0);
  CHECK(wrong_status == 0);
  CHECK(statuses[400] > 100);
  CHECK(statuses[200] > 8000);

  auto const metrics = first.request("GET", "/metrics").body;
  std::string const good = std::to_string(statuses[200] + different);
  CHECK(metrics.find("nasturtium_prediction_seconds_count " + good + "\n") != std::string::npos);
  CHECK(metrics.find("nasturtium_queued_samples 0\n") != std::string::npos);
  server.signal(SIGTERM);
  auto const ended = server.wait();
  INFO(ended.err);
  CHECK(ended.status == 0);
  std::string const out = read(folder / "out");
  auto const last = json::parse(out.substr(out.find('\n') + 1), "last line");
  CHECK(last.at("predictions").as_int64() == statuses[200] + different);
  CHECK(last.at("samples").as_int64() == statuses[200] + different);
  for (int const status : {404, 405, 413, 415})
    CHECK(last.at("answers").at(std::to_string(status)).as_int64() == statuses[static_cast<std::size_t>(status)]);
  CHECK(HttpClient(port).request("GET", "/healthz").status == 0);
}

TEST_CASE("ensemble serve: what cannot be served is told")
{
  Folder const folder;
  std::string const broken = folder.write("broken.json", "{\"format\": \"nasturtium-ensemble-plan\"}");
  for (auto const& [words, expected] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{folder.path()}, "deployment.json"}, {{broken}, "broken.json"}, {{folder / "none.json"}, "none.json"}}) {
    std::vector<std::string> call{"ensemble", "serve"};
    call.insert(call.end(), words.begin(), words.end());
    auto const refused = run(call);
    INFO(refused.err);
    CHECK(refused.status == 2);
    CHECK(refused.err.find(expected) != std::string::npos);
  }
}
