// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/compare.hpp"
#include "support/temporary.hpp"

#include <nasturtium/ensemble/profiling.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::ensemble;
using namespace nasturtium::test;
using nasturtium::testing::first_bit_difference;
using nasturtium::testing::first_difference;

namespace {

constexpr std::size_t sample_size = 36;
constexpr int classes = 5;

/// One convolution and one dense layer; 6 x 6 x 1 images.
nn::spec::Architecture member_architecture(int filters)
{
  return nn::spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 6, "width": 6, "channels": 1},
          "nodes": [{"id": "c", "op": "conv2d", "filters": )" +
          std::to_string(filters) + R"(, "kernel": 3, "inputs": ["input"]},
                    {"id": "r", "op": "relu", "inputs": ["c"]},
                    {"id": "f", "op": "dense", "units": 5, "inputs": ["r"]}],
          "output": {"classes": 5}})",
      "member");
}

std::vector<ServedModel> members()
{
  std::vector<ServedModel> models;
  for (int m = 0; m < 3; ++m) {
    auto const architecture = member_architecture(4 + 4 * m);
    auto weights =
        std::make_shared<nn::Weights const>(nn::initial_weights(architecture, 10 + static_cast<unsigned>(m)));
    models.push_back({"m" + std::to_string(m), architecture, weights, 1.0 + m});
  }
  return models;
}

std::vector<ServingDevice> devices()
{
  std::vector<ServingDevice> made(2);
  made[0].name = "a";
  made[1].name = "b";
  return made;
}

Plan plan_of(std::vector<std::vector<int>> const& rows)
{
  Plan plan;
  plan.devices = {"a", "b"};
  plan.models = {"m0", "m1", "m2"};
  plan.allocation = Allocation(2, 3);
  for (int d = 0; d < 2; ++d)
    for (int m = 0; m < 3; ++m)
      plan.allocation.at(d, m) = rows[static_cast<std::size_t>(d)][static_cast<std::size_t>(m)];
  return plan;
}

/// Everything everywhere, with different batches; a batch that does not divide the segment.
Plan wide_plan()
{
  return plan_of({{8, 0, 7}, {16, 32, 3}});
}

nn::InputMoments moments()
{
  return {{120}, {70}};
}

std::vector<std::uint8_t> const& bytes()
{
  static auto const made = [] {
    std::vector<std::uint8_t> values(1000 * sample_size);
    Random random(5);
    for (auto& value : values)
      value = static_cast<std::uint8_t>(random.below(256));
    return values;
  }();
  return made;
}

nn::Images images(std::size_t samples)
{
  return nn::Images{bytes(), {}}.part(0, samples * sample_size);
}

/// By definition, from sessions of batch 1, in double.
std::vector<double> by_definition(std::size_t samples)
{
  auto const models = members();
  std::vector<double> sum(samples * classes, 0);
  double total = 0;
  for (auto const& model : models)
    total += model.weight;
  for (auto const& model : models) {
    nn::InferenceSession session({.batch = 1}, model.architecture, *model.weights, moments());
    std::vector<float> z(classes);
    for (std::size_t i = 0; i < samples; ++i) {
      session.run(images(samples).part(i * sample_size, sample_size), z);
      double norm = 0;
      for (float const value : z)
        norm += std::exp(static_cast<double>(value));
      for (std::size_t k = 0; k < classes; ++k)
        sum[i * classes + k] += model.weight / total * std::exp(static_cast<double>(z[k])) / norm;
    }
  }
  return sum;
}

} // namespace

TEST_CASE("a served ensemble is the weighted mean of its members' softmaxes", "[runtime]")
{
  for (std::size_t const samples : {0, 1, 50, 51, 517}) {
    INFO(samples << " samples");
    auto const expected = by_definition(samples);
    for (bool const fixed : {false, true}) {
      EnsembleServer server(members(), devices(), wide_plan(), moments(), {.segment_size = 50, .fixed_order = fixed});
      CHECK(server.classes() == classes);
      CHECK(first_difference("probabilities", server.predict(images(samples)), expected, 1e-6) == "");
    }
  }
}

TEST_CASE("fixed order has the bits of the sequential reference", "[runtime]")
{
  for (auto const& plan : {wide_plan(), plan_of({{8, 8, 8}, {0, 0, 0}}), plan_of({{0, 0, 5}, {64, 1, 0}})}) {
    INFO(matrix_table(plan).text());
    SequentialEnsemble reference(members(), devices(), plan, moments(), 64);
    EnsembleServer server(members(), devices(), plan, moments(), {.segment_size = 64, .fixed_order = true});
    EnsembleServer loose(members(), devices(), plan, moments(), {.segment_size = 64});
    auto const expected = reference.predict(images(700));
    for (int i = 0; i < 3; ++i)
      CHECK(first_bit_difference("fixed", server.predict(images(700)), expected) == "");
    CHECK(first_difference("loose", loose.predict(images(700)), expected, 1e-6) == "");
  }
}

TEST_CASE("the orders of models and devices in a plan do not matter", "[runtime]")
{
  auto plan = wide_plan();
  auto const expected = SequentialEnsemble(members(), devices(), plan, moments()).predict(images(200));
  Plan turned;
  turned.devices = {"b", "idle", "a"};
  turned.models = {"m2", "m0", "m1"};
  turned.allocation = Allocation(3, 3);
  for (int m = 0; m < 3; ++m) {
    turned.allocation.at(0, m) = plan.allocation.at(1, (m + 2) % 3);
    turned.allocation.at(2, m) = plan.allocation.at(0, (m + 2) % 3);
  }
  EnsembleServer server(members(), devices(), turned, moments(), {.fixed_order = true});
  CHECK(first_bit_difference("turned", server.predict(images(200)), expected) == "");
}

TEST_CASE("results leave in order, and the window holds samples back", "[runtime]")
{
  for (int const window : {1, 2, 5}) {
    std::atomic<std::int64_t> released = 0, too_early = 0;
    // Fast and slow members: without a window the fast ones would run far ahead.
    auto const before = [&](std::string const& model, std::string const&, std::int64_t segment) {
      if (segment >= released + window) ++too_early;
      if (model == "m2") std::this_thread::sleep_for(std::chrono::microseconds(300));
    };
    EnsembleServer server(members(), devices(), wide_plan(), moments(),
                          {.segment_size = 32, .window = window, .before_segment = before});
    CHECK(server.window() == window);
    std::int64_t next = 0, wrong = 0;
    server.serve(images(1000), [&](std::int64_t first, std::span<float const> part) {
      wrong += first != next;
      next = first + static_cast<std::int64_t>(part.size()) / classes;
      ++released; // while the receiver holds it, no further segment begins
    });
    CHECK(next == 1000);
    CHECK(wrong == 0);
    CHECK(too_early == 0);
    auto const statistics = server.statistics();
    CHECK(statistics.segments == 32);
    CHECK(statistics.most_in_flight <= window);
    CHECK(statistics.most_in_flight >= 1);
    CHECK(statistics.latencies.size() == 32);
    CHECK(*std::min_element(statistics.latencies.begin(), statistics.latencies.end()) > 0);
  }
  EnsembleServer server(members(), devices(), wide_plan(), moments());
  CHECK(server.window() == 10); // five cells
  CHECK(server.segment_size() == 128);
  EnsembleServer small(members(), devices(), plan_of({{8, 200, 8}, {0, 0, 0}}), moments());
  CHECK(small.window() == 6);
  CHECK(small.segment_size() == 200); // never below the largest batch
}

TEST_CASE("one transfer for each device and segment", "[runtime]")
{
  EnsembleServer server(members(), devices(), plan_of({{8, 8, 0}, {0, 0, 8}}), moments(), {.segment_size = 20});
  server.predict(images(95));
  auto const statistics = server.statistics();
  CHECK(statistics.device_transfers == std::vector<std::int64_t>{5, 5});
  CHECK(statistics.device_segments == std::vector<std::int64_t>{10, 5});
}

TEST_CASE("a trace holds every member's work on every segment, one after another in each cell", "[runtime]")
{
  EnsembleServer untraced(members(), devices(), wide_plan(), moments(), {.segment_size = 40});
  untraced.predict(images(100));
  CHECK(untraced.statistics().spans.empty());
  for (bool const fixed : {false, true}) {
    EnsembleServer server(members(), devices(), wide_plan(), moments(),
                          {.segment_size = 40, .fixed_order = fixed, .trace = true});
    for (int request = 0; request < 2; ++request) {
      server.predict(images(395));
      auto const statistics = server.statistics();
      auto const& spans = statistics.spans;
      REQUIRE(spans.size() == std::size_t{3} * 10); // of this request alone
      std::set<std::pair<int, std::int64_t>> seen;
      std::vector<double> cell_ended(std::size_t{2} * 3, 0);
      for (auto const& span : spans) {
        seen.emplace(span.model, span.segment);
        CHECK(wide_plan().allocation.at(span.device, span.model) > 0);
        auto& ended = cell_ended[static_cast<std::size_t>(3 * span.device + span.model)];
        CHECK(span.begun >= ended);
        CHECK(span.ended >= span.begun);
        ended = span.ended;
      }
      CHECK(seen.size() == spans.size());
      CHECK(std::all_of(seen.begin(), seen.end(), [](auto const& it) { return it.second >= 0 && it.second < 10; }));
    }
  }
}

TEST_CASE("a member that fails fails the request with its reason, and the next one is served", "[runtime]")
{
  for (bool const fixed : {false, true}) {
    std::atomic<bool> broken = true;
    auto const before = [&](std::string const& model, std::string const&, std::int64_t segment) {
      if (broken && model == "m1" && segment == 3) throw std::runtime_error("the device fell off");
    };
    EnsembleServer server(members(), devices(), wide_plan(), moments(),
                          {.segment_size = 16, .fixed_order = fixed, .before_segment = before});
    std::int64_t seen = 0;
    auto const count = [&](std::int64_t, std::span<float const>) { ++seen; };
    CHECK(error_of([&] { server.serve(images(1000), count); }) ==
          "serving: model 'm1' on device 'b': the device fell off");
    CHECK(seen <= 3);
    broken = false;
    auto const expected = SequentialEnsemble(members(), devices(), wide_plan(), moments(), 16).predict(images(300));
    CHECK(first_difference("after a failure", server.predict(images(300)), expected, 1e-6) == "");
  }
  auto const throws = [](std::string const&, std::string const&, std::int64_t) { throw 7; };
  EnsembleServer server(members(), devices(), plan_of({{8, 8, 8}, {0, 0, 0}}), moments(), {.before_segment = throws});
  CHECK(error_of([&] { server.predict(images(10)); }).ends_with("on device 'a': unknown failure"));
}

TEST_CASE("what the receiver throws comes back", "[runtime]")
{
  EnsembleServer server(members(), devices(), wide_plan(), moments(), {.segment_size = 16});
  int calls = 0;
  auto const sink = [&](std::int64_t, std::span<float const>) {
    if (++calls == 4) throw std::out_of_range("full");
  };
  CHECK_THROWS_AS(server.serve(images(500), sink), std::out_of_range);
  CHECK(calls == 4);
  CHECK(server.predict(images(100)).size() == 100 * classes);
}

TEST_CASE("a server ends cleanly: idle, at work, twice", "[runtime]")
{
  {
    EnsembleServer idle(members(), devices(), wide_plan(), moments());
  }
  EnsembleServer server(members(), devices(), wide_plan(), moments(), {.segment_size = 8});
  std::atomic<int> seen = 0;
  std::string error;
  std::thread client([&] {
    error = error_of([&] {
      server.serve(images(1000), [&](std::int64_t, std::span<float const>) {
        ++seen;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    });
  });
  while (seen == 0)
    std::this_thread::yield();
  server.shutdown();
  client.join();
  CHECK(error == "serving: the server was shut down");
  CHECK(seen < 125);
  server.shutdown();
  CHECK(error_of([&] { server.predict(images(1)); }) == "serving: the server was shut down");
}

TEST_CASE("requests of several threads take turns", "[runtime]")
{
  EnsembleServer server(members(), devices(), wide_plan(), moments(), {.segment_size = 16, .fixed_order = true});
  auto const expected = server.predict(images(200));
  std::vector<std::string> differences(4);
  std::vector<std::thread> clients;
  for (auto& difference : differences)
    clients.emplace_back(
        [&] { difference = first_bit_difference("probabilities", server.predict(images(200)), expected); });
  for (auto& client : clients)
    client.join();
  for (auto const& difference : differences)
    CHECK(difference == "");
}

TEST_CASE("what cannot be served is an error", "[runtime]")
{
  auto const error_with = [](auto const& spoil) {
    auto models = members();
    auto made = devices();
    auto plan = wide_plan();
    auto input = moments();
    ServingOptions options;
    spoil(models, made, plan, input, options);
    return error_of([&] { EnsembleServer(models, made, plan, input, options); });
  };
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) { m[1].name = "m0"; }) ==
        "serving: model 'm0' is there twice");
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) { m.pop_back(); }) ==
        "serving: the plan has 3 models, but 2 are given");
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) { m[2].name = "other"; }) ==
        "serving: the plan's model 'm2' is not given");
  CHECK(error_with([](auto&, auto& d, auto&, auto&, auto&) { d[1].name = "c"; }) ==
        "serving: the plan's device 'b' is not given");
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) { m[0].weight = -1; }) ==
        "serving: model 'm0': weight -1 is negative or not finite");
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) {
          for (auto& model : m)
            model.weight = 0;
        }) == "serving: all weights are 0");
  CHECK(error_with([](auto&, auto&, auto&, auto&, auto& o) { o.segment_size = 0; }) ==
        "serving: segment_size must be positive, got 0");
  CHECK(error_with([](auto&, auto&, auto&, auto&, auto& o) { o.window = -1; }) ==
        "serving: window must not be negative, got -1");
  // Failures of the cells' threads, at the start.
  CHECK(error_with([](auto&, auto&, auto&, auto& i, auto&) {
          i.mean = {1, 2};
        }).find("inference: 2 means and 1 deviations for 1 channels") != std::string::npos);
  CHECK(error_with([](auto& m, auto&, auto&, auto&, auto&) {
          m[1].weights = std::make_shared<nn::Weights const>();
        }).starts_with("serving: model 'm1' on device 'b': weights: "));
#ifdef __linux__
  CHECK(error_with([](auto&, auto& d, auto&, auto&, auto&) {
          d[1].cores = {100000};
        }).starts_with("serving: device 'b': core 100000 of "));
#endif
  EnsembleServer server(members(), devices(), wide_plan(), moments());
  CHECK(error_of([&] { server.predict(nn::Images{bytes(), {}}.part(0, 37)); }) ==
        "serving: 37 values are no whole number of samples of 36");
}

TEST_CASE("a profile is measured, planned and served", "[runtime]")
{
  auto bound = devices();
#ifdef __linux__
  bound[0].cores = {0};
#endif
  ProfilingOptions options;
  options.batches = {4, 16};
  options.seconds = 0;
  options.probe_seconds = 0.005;
  options.probe_rounds = 1;
  options.host_bytes = 1e9;
  auto const problem = measure_profile(members(), bound, options);
  CHECK(problem.classes.size() == 1); // two devices of one kind
  REQUIRE(problem.classes[0].gain.size() == 4);
  for (double const gain : problem.classes[0].gain)
    CHECK(gain > 0);
  REQUIRE(problem.profile.size() == 6);
  for (auto const& measured : problem.profile) {
    CHECK(measured.seconds > 0);
    CHECK(measured.seconds < 1);
    CHECK(measured.bytes > 100);
  }
  CHECK(problem.memories.size() == 1);
  CHECK(problem.memories[0].limit_bytes == 0.9e9);
  auto const answer = plan_allocation(problem);
  REQUIRE(!answer.plans.empty());
  EnsembleServer server(members(), bound, answer.plans[0], moments());
  CHECK(first_difference("probabilities", server.predict(images(60)), by_definition(60), 1e-6) == "");
  options.batches = {16, 4};
  CHECK(error_of([&] { measure_profile(members(), bound, options); }) ==
        "profiling: the batches must be positive and increase");
}
