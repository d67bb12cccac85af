// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nn/support/small_data.hpp"
#include "support/compare.hpp"
#include "support/temporary.hpp"

#include <nasturtium/nn/predictor.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <thread>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::test;
using nasturtium::testing::first_bit_difference;

namespace {

datasets::Dataset const& data()
{
  static auto const dataset = patch_dataset({8, 8, 1}, 4, 1, 37);
  return dataset;
}

Weights const& weights()
{
  static auto const made = initial_weights(small_network(), 3);
  return made;
}

InputMoments moments()
{
  return {data().mean, data().deviation};
}

std::vector<float> evaluated(int batch)
{
  std::vector<float> logits;
  evaluate({}, small_network(), weights(), data(), data().validation, batch, 1, &logits);
  return logits;
}

std::vector<float> run_all(InferenceSession& session, Images const& images)
{
  std::vector<float> outputs(37 * 4);
  for (int first = 0; first < 37; first += session.batch()) {
    auto const count = std::min(session.batch(), 37 - first);
    session.run(images.part(static_cast<std::size_t>(first) * 64, static_cast<std::size_t>(count) * 64),
                std::span(outputs).subspan(static_cast<std::size_t>(first) * 4));
  }
  return outputs;
}

} // namespace

TEST_CASE("a session has the bits of evaluate, on any number of threads", "[predictor]")
{
  auto const& samples = data().validation;
  for (int const batch : {1, 8, 37, 64}) {
    for (int const threads : {0, 1}) {
      INFO("batch " << batch << ", threads " << threads);
      std::vector<float> outputs, again;
      // A session of one thread belongs to the thread that makes it.
      std::thread([&] {
        InferenceSession session({.threads = threads, .batch = batch}, small_network(), weights(), moments());
        CHECK(session.outputs() == 4);
        CHECK(session.sample_size() == 64);
        CHECK(session.bytes() > 0);
        outputs = run_all(session, {samples.bytes, {}});
        again = run_all(session, {samples.bytes, {}});
      }).join();
      CHECK(first_bit_difference("outputs", outputs, evaluated(batch)) == "");
      CHECK(first_bit_difference("second run", again, outputs) == "");
    }
  }
}

TEST_CASE("floats are normalised as bytes are", "[predictor]")
{
  std::vector<float> const values(data().validation.bytes.begin(), data().validation.bytes.end());
  InferenceSession session({.batch = 16}, small_network(), weights(), moments());
  auto const from_bytes = run_all(session, {data().validation.bytes, {}});
  CHECK(first_bit_difference("floats", run_all(session, {{}, values}), from_bytes) == "");
  // Without moments the values are taken as they are.
  std::vector<float> normal;
  for (float const value : values)
    normal.push_back((value - data().mean[0]) / data().deviation[0]);
  InferenceSession plain({.batch = 16}, small_network(), weights());
  auto const outputs = run_all(plain, {{}, normal});
  float worst = 0, largest = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    worst = std::max(worst, std::abs(outputs[i] - from_bytes[i]));
    largest = std::max(largest, std::abs(from_bytes[i]));
  }
  CHECK(worst <= 1e-5f * largest); // one rounding more in the input
  CHECK(largest > 0);
}

TEST_CASE("rows of a buffer: logits, and their softmax summed with weights", "[predictor]")
{
  auto const backend = available_backends().front();
  InferenceSession session({.batch = 10}, small_network(), weights(), moments());
  RowBuffer logits(backend, 12, 4), sum(backend, 12, 4);
  Images const images{data().validation.bytes, {}};
  session.run(images.part(0, 640), logits, 0);
  session.run(images.part(640, 128), logits, 10);
  session.add_softmax(logits, 12, 0.25, false, sum);
  session.add_softmax(logits, 12, 0.5, true, sum);
  std::vector<float> z(48), p(48);
  logits.read(12, z);
  sum.read(12, p);
  auto expected = evaluated(10);
  expected.resize(48);
  CHECK(first_bit_difference("logits", std::vector<float>(z.begin(), z.begin() + 40),
                             std::vector<float>(expected.begin(), expected.begin() + 40)) == "");
  for (std::size_t row = 0; row < 12; ++row) {
    double total = 0, exact_total = 0;
    for (std::size_t k = 0; k < 4; ++k)
      exact_total += std::exp(static_cast<double>(z[4 * row + k]));
    for (std::size_t k = 0; k < 4; ++k) {
      CHECK(std::abs(p[4 * row + k] - 0.75 * std::exp(static_cast<double>(z[4 * row + k])) / exact_total) < 1e-6);
      total += p[4 * row + k];
    }
    CHECK(std::abs(total - 0.75) < 1e-6);
  }
}

TEST_CASE("what does not fit a session is an error", "[predictor]")
{
  auto const make = [](InferenceOptions const& options, InputMoments const& input = {}) {
    return error_of([&] { InferenceSession(options, small_network(), weights(), input); });
  };
  CHECK(make({.batch = 0}) == "inference: batch must be positive, got 0");
  CHECK(make({.batch = 1}, {{1, 2}, {1, 2}}) == "inference: 2 means and 2 deviations for 1 channels");
  CHECK(make({.batch = 1}, {{1}, {0}}) == "inference: deviation 0 is not positive");
  CHECK(make({.batch = 1, .memory_limit_bytes = 100}).starts_with("inference: the network needs "));
  Weights incomplete = weights();
  incomplete.erase(incomplete.begin());
  CHECK(error_of([&] { InferenceSession({}, small_network(), incomplete); }).starts_with("weights: "));

  InferenceSession session({.batch = 2}, small_network(), weights());
  std::vector<std::uint8_t> const bytes(3 * 64);
  std::vector<float> outputs(8);
  CHECK(error_of([&] { session.run({bytes, {}}, outputs); }) == "inference: 192 values are not up to 2 samples of 64");
  CHECK(error_of([&] { session.run(Images{bytes, {}}.part(0, 65), outputs); }) ==
        "inference: 65 values are not up to 2 samples of 64");
  CHECK(error_of([&] { session.run(Images{bytes, {}}.part(0, 128), std::span(outputs).first(7)); }) ==
        "inference: 2 x 4 outputs do not fit 7");
  RowBuffer narrow(available_backends().front(), 4, 3);
  CHECK(error_of([&] { session.run(Images{bytes, {}}.part(0, 64), narrow, 0); }) != "no error");
  CHECK(error_of([&] { session.add_softmax(narrow, 1, 1, false, narrow); }) != "no error");
  CHECK(error_of([&] { narrow.read(5, outputs); }) != "no error");
  session.run(Images{bytes, {}}.part(0, 0), outputs); // none is fine
}

TEST_CASE("initial weights are those of a training", "[predictor]")
{
  CHECK(same_bits(initial_weights(small_network(), 3), weights()));
  CHECK(!same_bits(initial_weights(small_network(), 4), weights()));
  check_weights(weights(), small_network(), true, "weights");
}
