// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble serve: a deployment behind a local HTTP endpoint.
#include "ensemble.hpp"
#include "ensemble_library.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/ensemble/http_service.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <thread>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace ensemble;

constexpr char const* examples = "  nasturtium ensemble serve runs/library --port 8080\n"
                                 "  curl http://127.0.0.1:8080/v1/ensemble\n"
                                 "  curl -H 'Content-Type: application/octet-stream' --data-binary @image.raw \\\n"
                                 "      'http://127.0.0.1:8080/predict?dtype=uint8'";

Table summary(HttpStatistics const& statistics)
{
  Table table({{"requests"},
               {"answered 200"},
               {"refused"},
               {"failed"},
               {"samples"},
               {"batches"},
               {"samples/s", 1},
               {"p50 ms", 2},
               {"p95 ms", 2},
               {"p99 ms", 2}});
  std::int64_t all = 0, good = 0, refused = 0, failed = 0;
  for (auto const& [status, count] : statistics.answers) {
    all += count;
    (status < 400 ? good : status < 500 ? refused : failed) += count;
  }
  table.add_row({all, good, refused, failed, statistics.samples, statistics.batches,
                 static_cast<double>(statistics.samples) / std::max(1e-9, statistics.seconds),
                 1e3 * statistics.latency(0.5), 1e3 * statistics.latency(0.95), 1e3 * statistics.latency(0.99)});
  return table;
}

json::Value to_json(HttpStatistics const& statistics)
{
  json::Object object, answers;
  for (auto const& [status, count] : statistics.answers)
    answers[std::to_string(status)] = count;
  object["answers"] = std::move(answers);
  object["predictions"] = statistics.predictions;
  object["samples"] = statistics.samples;
  object["batches"] = statistics.batches;
  object["seconds"] = statistics.seconds;
  object["p50_seconds"] = statistics.latency(0.5);
  object["p95_seconds"] = statistics.latency(0.95);
  object["p99_seconds"] = statistics.latency(0.99);
  return object;
}

} // namespace

int ensemble_serve(Invocation const& call)
{
  std::string place;
  HttpOptions options;
  options.port = 8080;
  bool fixed_order = false, as_json = false;
  VerbParser parser("ensemble serve", "Answers requests for predictions over HTTP until Ctrl-C.", examples);
  CLI::App& app = parser.app();
  app.add_option("FOLDER", place, "Folder with a deployment.json (nasturtium ensemble plan), or such a file")
      ->required()
      ->option_text("PATH (required)");
  app.add_option("--host", options.host, "Address to listen at")->capture_default_str()->type_name("ADDRESS");
  app.add_option("--port", options.port, "0: a free one")->capture_default_str()->type_name("N");
  app.add_option("--connections", options.connections, "That are answered at the same time; more wait")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--max-samples", options.max_samples, "Of a request")->capture_default_str()->type_name("N");
  app.add_option("--queue", options.max_queued, "Samples that may wait; what comes beyond them gets status 503")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--max-delay", options.max_delay_microseconds,
                 "Microseconds that a request waits for others, to be served with them")
      ->capture_default_str()
      ->type_name("N");
  app.add_flag("--fixed-order", fixed_order, "Bits that do not depend on the order of arrival");
  app.add_flag("--json", as_json, "Address and, at the end, statistics as JSON lines on stdout");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto const deployment =
      load_deployment(fs::is_directory(place) ? (fs::path(place) / "deployment.json").string() : place);
  auto models = load_models(deployment);
  DeviceOptions device;
  device.threads = host_cores();
  auto const runtime = device.start(call);
  ServingOptions serving;
  serving.segment_size = deployment.segment_size;
  serving.fixed_order = fixed_order;
  EnsembleServer server(std::move(models), deployment.devices, deployment.plan, deployment.moments, serving);
  HttpService service(deployment, server, options);
  std::cerr << "nasturtium: " << deployment.members.size() << " models at http://" << options.host << ':'
            << service.port() << " (POST /predict; GET /v1/ensemble, /healthz, /metrics); Ctrl-C ends\n";
  if (as_json) std::cout << json::compact(json::Object{{"host", options.host}, {"port", service.port()}}) << std::endl;
  std::atomic<bool> ended = false;
  std::thread watcher([&] {
    while (!interrupted() && !ended)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    service.stop();
  });
  service.run();
  ended = true;
  watcher.join();
  auto const statistics = service.statistics();
  if (as_json)
    std::cout << json::compact(to_json(statistics)) << '\n';
  else
    std::cout << summary(statistics).text();
  require(interrupted(), "serving: the listening socket failed");
  return exit_success;
}

} // namespace nasturtium::cli
