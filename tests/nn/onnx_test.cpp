// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX files: what ONNX Runtime computes with them is what the network computes.

#include "support/random_architecture.hpp"
#include "support/reference_network.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/nn/onnx.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <set>

#ifdef NASTURTIUM_TEST_ONNXRUNTIME
#include <onnxruntime_cxx_api.h>
#endif

#ifdef NASTURTIUM_TEST_ONNX_CHECKER
// From onnx/checker.h, which needs the headers of Protocol Buffers as well.
namespace onnx::checker {
void check_model(std::string const& model_path, bool full_check, bool skip_opset_compatibility_check,
                 bool check_custom_domain);
}
#endif

using namespace nasturtium;
using namespace nasturtium::nn;
using nasturtium::test::error_of;
using nasturtium::test::TemporaryFolder;

namespace {

/// Silences std::cerr: where ONNX Runtime shares libonnx with the checker, both register all operators, and the second
/// writes a line for each of them.
class Quiet
{
public:
  Quiet() : m_old(std::cerr.rdbuf(nullptr)) {}
  ~Quiet()
  {
    std::cerr.rdbuf(m_old);
    std::cerr.clear();
  }
  Quiet(Quiet const&) = delete;
  Quiet& operator=(Quiet const&) = delete;

private:
  std::streambuf* m_old;
};

#ifdef NASTURTIUM_TEST_ONNXRUNTIME
Ort::Env& environment()
{
  Quiet const quiet;
  static Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "nasturtium");
  return environment;
}

std::vector<double> run_onnx(std::string const& path, spec::Shape const& image, int batch,
                             std::vector<double> const& images)
{
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetGraphOptimizationLevel(ORT_ENABLE_BASIC);
  Ort::Session session(environment(), path.c_str(), options);
  std::vector<float> values(images.begin(), images.end());
  std::vector<std::int64_t> const extent{batch, image.height, image.width, image.channels};
  Ort::Value const input =
      Ort::Value::CreateTensor<float>(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault), values.data(),
                                      values.size(), extent.data(), extent.size());
  char const* const input_name = "input";
  char const* const output_name = "output";
  std::vector<Ort::Value> outputs = session.Run(Ort::RunOptions{nullptr}, &input_name, &input, 1, &output_name, 1);
  auto const info = outputs.at(0).GetTensorTypeAndShapeInfo();
  REQUIRE(info.GetShape().size() == 2);
  REQUIRE(info.GetShape()[0] == batch);
  float const* const result = outputs.at(0).GetTensorData<float>();
  return {result, result + info.GetElementCount()};
}
#else
std::vector<double> run_onnx(std::string const&, spec::Shape const&, int, std::vector<double> const&)
{
  SKIP("built without ONNX Runtime");
  return {};
}
#endif

/// What ONNX's checker, with shape inference, has against a file; "" where it is content or missing.
std::string complaint(std::string const& path)
{
#ifdef NASTURTIUM_TEST_ONNX_CHECKER
  Quiet const quiet;
  try {
    onnx::checker::check_model(path, true, false, true);
  } catch (std::exception const& error) {
    return error.what();
  }
#endif
  return path.empty() ? "no path" : "";
}

/// Largest difference as a fraction of the largest value (at least 1).
double difference(std::vector<double> const& a, std::vector<double> const& b)
{
  REQUIRE(a.size() == b.size());
  double scale = 1, largest = 0;
  for (double const value : b)
    scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::isfinite(a[i]) ? std::abs(a[i] - b[i]) : INFINITY);
  return largest / scale;
}

// float32 against double: sums of up to 3,136 products (cnn2's first dense layer) and some twenty layers on end leave
// about 1e-6 of the largest output; a wrong layout, padding or order is wrong by about 1.
constexpr double tolerance = 2e-5;

} // namespace

TEST_CASE("ONNX Runtime agrees on every network of the zoo")
{
  TemporaryFolder const folder;
  for (std::string const& name : spec::zoo_names()) {
    INFO(name);
    spec::Architecture const architecture = spec::load_architecture(name);
    Weights const weights = test::random_weights(architecture, 11);
    int const batch = spec::infer(architecture).forward_flops < 2e7 ? 2 : 1; // the plain loops take their time
    std::vector<double> const images = test::random_values(3, batch * architecture.input.size());
    std::vector<double> const expected = test::reference_inference(architecture, weights, batch, images);

    std::size_t const logit_count = expected.size();
    datasets::Dataset dataset;
    dataset.height = architecture.input.height;
    dataset.width = architecture.input.width;
    dataset.channels = architecture.input.channels;
    dataset.classes = architecture.classes;
    dataset.target_width = architecture.regression;
    dataset.mean.assign(static_cast<std::size_t>(dataset.channels), 0);
    dataset.deviation.assign(static_cast<std::size_t>(dataset.channels), 1);
    dataset.test.count = batch;
    dataset.test.values.assign(images.begin(), images.end());
    if (dataset.classes != 0)
      dataset.test.labels.assign(batch, 0);
    else
      dataset.test.targets.assign(logit_count, 0);
    std::vector<float> logits;
    evaluate(TrainerOptions{}, architecture, weights, dataset, dataset.test, batch, 1, &logits);
    CHECK(difference({logits.begin(), logits.end()}, expected) < tolerance);

    export_onnx(folder / "net.onnx", architecture, weights);
    std::string const objection = complaint(folder / "net.onnx");
    INFO(objection);
    CHECK(objection.empty());
    CHECK(difference(run_onnx(folder / "net.onnx", architecture.input, batch, images), expected) < tolerance);
  }
}

TEST_CASE("ONNX Runtime agrees on random graphs of all ops")
{
  TemporaryFolder const folder;
  std::set<std::string> ops;
  double worst = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    spec::Architecture const architecture = test::random_architecture(seed, static_cast<int>(4 + seed % 24));
    INFO(spec::to_json(architecture));
    Weights const weights = test::random_weights(architecture, seed);
    int const batch = seed % 3 == 0 ? 1 : 3;
    std::vector<double> const images = test::random_values(seed + 1, batch * architecture.input.size());
    export_onnx(folder / "net.onnx", architecture, weights, batch != 1);
    std::string const objection = complaint(folder / "net.onnx");
    INFO(objection);
    CHECK(objection.empty());
    double const off = difference(run_onnx(folder / "net.onnx", architecture.input, batch, images),
                                  test::reference_inference(architecture, weights, batch, images));
    CHECK(off < tolerance);
    worst = std::max(worst, off);
    for (spec::Node const& node : architecture.nodes)
      ops.insert(spec::op_name(node.op));
  }
  CHECK(ops.size() == 20);
  CHECK(worst > 0); // something was compared
}

TEST_CASE("an ONNX export needs all weights and a place to go")
{
  TemporaryFolder const folder;
  spec::Architecture const architecture = spec::load_architecture("mlp");
  Weights weights = test::random_weights(architecture, 1);
  CHECK(error_of([&] { export_onnx("/nowhere/net.onnx", architecture, weights); }).find("/nowhere/net.onnx") !=
        std::string::npos);
  weights.erase({"fc2", "bias"});
  CHECK(error_of([&] { export_onnx(folder / "net.onnx", architecture, weights); }) ==
        (folder / "net.onnx") + ": node 'fc2': 'bias' is missing");
  CHECK_FALSE(is_file(folder / "net.onnx"));
}
