// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The whole network against central differences, against the reference interpreter and against itself.
#include "../../nn/src/network.hpp"
#include "support/random_architecture.hpp"
#include "support/reference_network.hpp"

#include <nasturtium/core/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstring>

using namespace nasturtium;
using namespace nasturtium::nn;
using ExecSpace = Kokkos::DefaultHostExecutionSpace;
template <class Real>
using Network = impl::Network<ExecSpace, Real>;
template <class T>
using Buffer = kernels::Buffer<ExecSpace, T>;

namespace {

/// A network with a batch of its own in memory.
template <class Real>
struct Bench
{
  int batch;
  Network<Real> network;
  std::vector<Real> images, targets;
  std::vector<std::int32_t> labels;
  std::vector<double> metrics = std::vector<double>(kernels::metric_count);

  Bench(spec::Architecture const& architecture, int size, bool training, std::vector<std::string> const& frozen = {})
      : batch(size), network(ExecSpace(), architecture, std::vector<int>{size}, training, 2, 0, frozen)
  {
    auto const values = test::random_values(11, size * architecture.input.size());
    images.assign(values.begin(), values.end());
    for (int i = 0; i < size; ++i)
      labels.push_back(architecture.classes > 0 ? (i * 7) % architecture.classes : 0);
    auto const wanted = test::random_values(12, std::int64_t{size} * std::max(1, architecture.regression));
    targets.assign(wanted.begin(), wanted.end());
    network.load(test::random_weights(architecture, 5));
  }

  void forward(bool training)
  {
    auto const to = network.images(batch, training);
    std::copy(images.begin(), images.end(), to.data());
    network.forward(batch, training, {3, 0, 17});
    network.exec().fence();
  }

  double loss(bool training = true)
  {
    forward(training);
    std::fill(metrics.begin(), metrics.end(), 0.0);
    network.loss(batch, training, Buffer<std::int32_t const>(labels.data(), labels.size()),
                 Buffer<Real const>(targets.data(), targets.size()), 0.1, 1,
                 Buffer<double>(metrics.data(), metrics.size()));
    network.exec().fence();
    return metrics[0] / metrics[3];
  }

  void backward()
  {
    network.backward(batch, {3, 0, 17});
    network.exec().fence();
  }
};

/// Compares the gradients of all trained weights (every `stride`th) with central differences, in double.
void check_gradients(spec::Architecture const& architecture, int batch, int stride,
                     std::vector<std::string> const& frozen = {})
{
  Bench<double> bench(architecture, batch, true, frozen);
  bench.loss();
  // What a pass must not read is poison.
  bench.backward();
  auto const gradients = bench.network.flat_gradients();
  std::vector<double> const analytic(gradients.data(), gradients.data() + gradients.size());
  double scale = 0;
  for (double const value : analytic)
    scale = std::max(scale, std::abs(value));
  INFO(spec::to_json(architecture));
  REQUIRE(std::isfinite(scale));
  REQUIRE(scale > 0);
  auto const weights = bench.network.flat_weights();
  for (auto const& parameter : bench.network.plan().parameters) {
    if (!parameter.trained) continue;
    for (std::int64_t i = 0; i < parameter.count; i += stride) {
      auto& weight = weights(parameter.offset + i);
      double const kept = weight;
      double numeric = 0;
      // A step across a kink of relu or max pooling spoils one difference; with a smaller step it is gone.
      bool close = false;
      for (double step = 1e-5; !close && step > 1e-8; step *= 0.1) {
        weight = kept + step;
        double const above = bench.loss();
        weight = kept - step;
        double const below = bench.loss();
        weight = kept;
        numeric = (above - below) / (2 * step);
        // Rounding of the loss (1e-16) over the step, plus the third derivative times the step squared.
        double const tolerance = 1e-14 / step + 1e-7 * std::max(1.0, scale);
        close = std::abs(numeric - analytic[parameter.offset + i]) <= tolerance;
      }
      INFO(parameter.node << "/" << parameter.name << "[" << i << "]: analytic " << analytic[parameter.offset + i]
                          << ", numeric " << numeric);
      REQUIRE(close);
    }
  }
}

spec::Architecture parse(std::string const& nodes, std::string const& output)
{
  return spec::parse_architecture(
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 6, "width": 7, "channels": 2},
    "nodes": [)" +
          nodes + R"(], "output": )" + output + "}",
      "test");
}

/// Every op of the format, every fusion, and every way to share a value.
spec::Architecture everything()
{
  return parse(R"(
    {"id": "b0", "op": "batch_norm", "inputs": ["input"]},
    {"id": "c1", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["b0"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]},
    {"id": "r1", "op": "relu", "inputs": ["b1"]},
    {"id": "c2", "op": "conv2d", "filters": 4, "kernel": 3, "groups": 2, "bias": false, "inputs": ["r1"]},
    {"id": "b2", "op": "batch_norm", "inputs": ["c2"]},
    {"id": "s2", "op": "add", "inputs": ["b2", "r1"]},
    {"id": "r2", "op": "relu", "inputs": ["s2"]},
    {"id": "c3", "op": "conv2d", "filters": 4, "kernel": [3, 2], "groups": 4, "dilation": [2, 1], "inputs": ["r2"]},
    {"id": "g3", "op": "gelu", "inputs": ["c3"]},
    {"id": "l3", "op": "silu", "inputs": ["r2"]},
    {"id": "k3", "op": "concat", "inputs": ["g3", "l3", "r1", "g3"]},
    {"id": "y3", "op": "leaky_relu", "slope": 0.2, "inputs": ["k3"]},
    {"id": "a3", "op": "avg_pool2d", "kernel": 3, "stride": 2, "padding": "same", "inputs": ["y3"]},
    {"id": "c4", "op": "conv2d", "filters": 5, "kernel": 3, "padding": [2, 1, 0, 1], "inputs": ["a3"]},
    {"id": "r4", "op": "relu", "inputs": ["c4"]},
    {"id": "m4", "op": "max_pool2d", "kernel": 2, "stride": 1, "inputs": ["r4"]},
    {"id": "t4", "op": "tanh", "inputs": ["m4"]},
    {"id": "e4", "op": "elu", "inputs": ["m4"]},
    {"id": "i4", "op": "identity", "inputs": ["e4"]},
    {"id": "z4", "op": "sigmoid", "inputs": ["i4"]},
    {"id": "d4", "op": "dropout", "rate": 0.3, "inputs": ["t4"]},
    {"id": "s4", "op": "add", "inputs": ["d4", "z4", "i4", "d4"]},
    {"id": "b4", "op": "batch_norm", "inputs": ["s4"]},
    {"id": "c5", "op": "conv2d", "filters": 5, "kernel": 1, "inputs": ["b4"]},
    {"id": "b5", "op": "batch_norm", "inputs": ["c5"]},
    {"id": "c6", "op": "conv2d", "filters": 5, "kernel": 1, "inputs": ["b4"]},
    {"id": "b6", "op": "batch_norm", "inputs": ["c6"]},
    {"id": "s6", "op": "add", "inputs": ["b5", "b6"]},
    {"id": "p6", "op": "global_avg_pool", "inputs": ["s6"]},
    {"id": "f6", "op": "flatten", "inputs": ["s6"]},
    {"id": "h6", "op": "dense", "units": 6, "inputs": ["f6"]},
    {"id": "r6", "op": "relu", "inputs": ["h6"]},
    {"id": "h7", "op": "dense", "units": 6, "bias": false, "inputs": ["r6"]},
    {"id": "b7", "op": "batch_norm", "inputs": ["h7"]},
    {"id": "k7", "op": "concat", "inputs": ["p6", "b7"]},
    {"id": "n8", "op": "slice", "begin": 2, "size": 4, "inputs": ["k7"]},
    {"id": "n9", "op": "slice", "begin": 0, "size": 3, "inputs": ["k7"]},
    {"id": "q9", "op": "pad_channels", "channels": 11, "inputs": ["n9"]},
    {"id": "s9", "op": "add", "inputs": ["q9", "k7"]},
    {"id": "k9", "op": "concat", "inputs": ["s9", "n8"]},
    {"id": "out", "op": "dense", "units": 3, "inputs": ["k9"]})",
               R"({"classes": 3})");
}

template <class Real>
void check_inference(spec::Architecture const& architecture, int batch, double tolerance)
{
  Bench<Real> bench(architecture, batch, false);
  bench.forward(false);
  auto const logits = bench.network.logits(batch, false);
  std::vector<double> const images(bench.images.begin(), bench.images.end());
  auto const expected = test::reference_inference(architecture, test::random_weights(architecture, 5), batch, images);
  REQUIRE(logits.size() == expected.size());
  double scale = 1;
  for (double const value : expected)
    scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(architecture.name << ", value " << i);
    REQUIRE(std::abs(static_cast<double>(logits(i)) - expected[i]) <= tolerance * scale);
  }
}

/// Memory that a pass does not own holds NaN: a value read before it is written would show.
template <class Real>
void check_no_stale_reads(spec::Architecture const& architecture, int batch,
                          std::vector<std::string> const& frozen = {})
{
  Bench<Real> bench(architecture, batch, true, frozen);
  double const first = bench.loss();
  bench.backward();
  auto const gradients = bench.network.flat_gradients();
  std::vector<Real> const before(gradients.data(), gradients.data() + gradients.size());
  // The arena is what images(...) points into; poison it all through the plan's largest extent.
  auto const& layout = bench.network.plan().training;
  auto* const arena =
      reinterpret_cast<std::byte*>(bench.network.images(batch, true).data()) - layout.blocks[layout.value[0]].offset;
  std::memset(arena, 0xff, static_cast<std::size_t>(layout.bytes));
  double const second = bench.loss();
  bench.backward();
  CHECK(first == second);
  CHECK(std::memcmp(before.data(), gradients.data(), before.size() * sizeof(Real)) == 0);
}

} // namespace

TEST_CASE("network: gradients of a graph with every op agree with central differences")
{
  check_gradients(everything(), 5, 1);
  check_no_stale_reads<float>(everything(), 5);
}

TEST_CASE("network: gradients where values are shared in odd ways")
{
  // The same value twice in a sum and in a concatenation; an output that is also read inside; regression.
  check_gradients(parse(R"(
    {"id": "c", "op": "conv2d", "filters": 3, "kernel": 3, "stride": 2, "inputs": ["input"]},
    {"id": "two", "op": "add", "inputs": ["c", "c"]}, {"id": "k", "op": "concat", "inputs": ["two", "two"]},
    {"id": "b", "op": "batch_norm", "inputs": ["k"]}, {"id": "r", "op": "relu", "inputs": ["b"]},
    {"id": "s", "op": "add", "inputs": ["k", "r", "k"]},
    {"id": "p", "op": "max_pool2d", "kernel": 2, "stride": 1, "padding": "same", "inputs": ["s"]},
    {"id": "fc", "op": "dense", "units": 2, "inputs": ["p"]})",
                        R"({"regression": 2})"),
                  3, 1);
  // A residual that is the image itself (no gradient wanted), and pooled images.
  check_gradients(parse(R"(
    {"id": "c", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "b", "op": "batch_norm", "inputs": ["c"]}, {"id": "s", "op": "add", "inputs": ["input", "b"]},
    {"id": "r", "op": "relu", "inputs": ["s"]}, {"id": "p", "op": "max_pool2d", "kernel": 2, "inputs": ["r"]},
    {"id": "q", "op": "max_pool2d", "kernel": 2, "inputs": ["input"]}, {"id": "k", "op": "concat", "inputs": ["p", "q"]},
    {"id": "fc", "op": "dense", "units": 4, "inputs": ["k"]}, {"id": "t", "op": "tanh", "inputs": ["fc"]})",
                        R"({"classes": 4})"),
                  3, 1);
}

TEST_CASE("network: gradients of random graphs agree with central differences")
{
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    auto const architecture = test::random_architecture(seed, 14);
    if (spec::infer(architecture).parameter_count > 20000) continue;
    INFO("seed " << seed);
    check_gradients(architecture, 3, 1 + static_cast<int>(spec::infer(architecture).parameter_count / 60));
    check_no_stale_reads<double>(architecture, 3);
  }
}

namespace {

/// Ids of the nodes that own weights, or of the batch norms alone.
std::vector<std::string> owners(spec::Architecture const& architecture, bool batch_norms_only = false)
{
  std::vector<std::string> ids;
  for (auto const& info : spec::infer(architecture).nodes) {
    auto const& node = architecture.nodes[info.node];
    if (batch_norms_only ? std::holds_alternative<spec::BatchNorm>(node.op) : !info.parameters.empty())
      ids.push_back(node.id);
  }
  return ids;
}

/// Some owners by the seed, never all of them.
std::vector<std::string> some_owners(spec::Architecture const& architecture, std::uint64_t seed)
{
  test::Dice dice(seed);
  auto ids = owners(architecture);
  ids.erase(ids.begin() + dice.below(static_cast<int>(ids.size())));
  std::vector<std::string> some;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(some), [&](std::string const&) { return !dice.one_in(3); });
  return some;
}

} // namespace

TEST_CASE("network: gradients beside frozen layers agree with central differences", "[frozen]")
{
  // Frozen batch norms: of the image, with a residual and a masked one, behind a trained and a frozen convolution, of a
  // vector; frozen convolutions with and without something trained upstream.
  for (std::vector<std::string> const& frozen : {std::vector<std::string>{"b0", "b2", "c3", "h6"},
                                                 {"c1", "b1", "c2", "b6", "b7", "h7"},
                                                 {"b0", "c1", "b1", "c2", "b2", "c3", "c4", "b4", "b5"},
                                                 {"b1", "b2", "b4", "b5", "b6", "b7", "out"}}) {
    check_gradients(everything(), 5, 1, frozen);
    check_no_stale_reads<float>(everything(), 5, frozen);
  }
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    auto const architecture = test::random_architecture(seed, 14);
    if (spec::infer(architecture).parameter_count > 20000) continue;
    INFO("seed " << seed);
    auto const frozen = some_owners(architecture, seed);
    check_gradients(architecture, 3, 1 + static_cast<int>(spec::infer(architecture).parameter_count / 60), frozen);
    check_no_stale_reads<double>(architecture, 3, frozen);
  }
}

TEST_CASE("network: frozen batch norms in training are the plain interpreter's", "[frozen]")
{
  for (std::uint64_t seed = 0; seed <= 30; ++seed) {
    auto architecture = seed == 0 ? everything() : test::random_architecture(seed, 16);
    for (auto& node : architecture.nodes) {
      if (auto* const dropout = std::get_if<spec::Dropout>(&node.op)) dropout->rate = 0;
    }
    INFO("seed " << seed);
    Bench<double> bench(architecture, 3, true, owners(architecture, true));
    bench.forward(true);
    auto const logits = bench.network.logits(3, true);
    auto const expected =
        test::reference_inference(architecture, test::random_weights(architecture, 5), 3, bench.images);
    REQUIRE(logits.size() == expected.size());
    double scale = 1;
    for (double const value : expected)
      scale = std::max(scale, std::abs(value));
    for (std::size_t i = 0; i < expected.size(); ++i)
      REQUIRE(std::abs(logits(i) - expected[i]) <= 1e-11 * scale);
  }
}

namespace {

/// Steps with frozen layers against steps that train everything, after each of which the layers are put back.
template <class Real>
void check_put_back(spec::Architecture const& architecture, std::vector<std::string> const& frozen,
                    OptimiserOptions const& options)
{
  auto const start = test::random_weights(architecture, 5);
  auto const is_frozen = [&](std::string const& id) {
    return std::find(frozen.begin(), frozen.end(), id) != frozen.end();
  };
  Weights kept;
  std::copy_if(start.begin(), start.end(), std::inserter(kept, kept.end()),
               [&](auto const& entry) { return is_frozen(entry.first.first); });
  Bench<Real> with(architecture, 4, true, frozen), without(architecture, 4, true);
  for (int step = 1; step <= 3; ++step) {
    for (auto* const bench : {&with, &without}) {
      bench->loss();
      bench->backward();
      bench->network.update(options, 0.01, step);
      bench->network.exec().fence();
    }
    without.network.load(kept);
    REQUIRE(with.metrics == without.metrics);
  }
  auto const a = with.network.weights(), b = without.network.weights();
  for (auto const& [key, tensor] : a) {
    INFO(key.first << "/" << key.second);
    CHECK(tensor.values == b.at(key).values);
    // As the bits of Real that were loaded.
    if (!is_frozen(key.first)) continue;
    for (std::size_t i = 0; i < tensor.values.size(); ++i)
      REQUIRE(tensor.values[i] == static_cast<double>(static_cast<Real>(start.at(key).values[i])));
  }
}

} // namespace

TEST_CASE("network: training beside frozen layers is training and putting them back, bit for bit", "[frozen]")
{
  // Without batch norms, whose frozen kind is another function.
  auto const architecture = parse(R"(
    {"id": "c1", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["input"]},
    {"id": "r1", "op": "relu", "inputs": ["c1"]}, {"id": "m1", "op": "max_pool2d", "kernel": 2, "inputs": ["r1"]},
    {"id": "c2", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["m1"]},
    {"id": "t2", "op": "tanh", "inputs": ["c2"]}, {"id": "s2", "op": "add", "inputs": ["t2", "m1"]},
    {"id": "c3", "op": "conv2d", "filters": 4, "kernel": 1, "groups": 4, "inputs": ["s2"]},
    {"id": "r3", "op": "relu", "inputs": ["c3"]}, {"id": "h4", "op": "dense", "units": 6, "inputs": ["r3"]},
    {"id": "d4", "op": "dropout", "rate": 0.3, "inputs": ["h4"]},
    {"id": "out", "op": "dense", "units": 3, "inputs": ["d4"]})",
                                  R"({"classes": 3})");
  for (auto const kind : {OptimiserKind::sgd, OptimiserKind::adam, OptimiserKind::adamw, OptimiserKind::rmsprop}) {
    OptimiserOptions options;
    options.kind = kind;
    options.weight_decay = 0.1;
    for (std::vector<std::string> const& frozen :
         {std::vector<std::string>{"c1"}, {"c2", "h4"}, {"c1", "c2"}, {"c1", "c2", "c3", "h4"}, {"out"}}) {
      check_put_back<float>(architecture, frozen, options);
      check_put_back<double>(architecture, frozen, options);
    }
  }
}

TEST_CASE("network: inference agrees with the plain interpreter")
{
  // Double: the order of summation alone differs. Float: about 1e-7 per layer, growing with depth.
  for (auto const& name : spec::zoo_names()) {
    auto const architecture = spec::load_architecture(name);
    check_inference<double>(architecture, 2, 1e-11);
    check_inference<float>(architecture, 1, 2e-4);
  }
  check_inference<double>(everything(), 4, 1e-11);
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    check_inference<double>(test::random_architecture(seed, 16), 3, 1e-11);
  }
}

TEST_CASE("network: weights go in and out unchanged")
{
  auto const architecture = everything();
  Network<float> network(ExecSpace(), architecture, std::vector<int>{2}, true, 2, 0);
  auto const weights = test::random_weights(architecture, 9);
  network.load(weights);
  auto const back = network.weights();
  REQUIRE(back.size() == weights.size());
  for (auto const& [key, tensor] : weights) {
    CHECK(back.at(key).extent == tensor.extent);
    CHECK(back.at(key).values == tensor.values);
  }
  // Some only: the others stay.
  auto const one = *weights.begin();
  auto changed = one.second;
  changed.values[0] = 4;
  network.load(Weights{{one.first, changed}});
  auto const after = network.weights();
  for (auto const& [key, tensor] : after)
    CHECK(tensor.values == (key == one.first ? changed.values : weights.at(key).values));
}

TEST_CASE("network: the initialiser is that of the seed and leaves biases alone")
{
  auto const architecture = everything();
  auto const make = [&](std::uint64_t seed) {
    Network<float> network(ExecSpace(), architecture, std::vector<int>{2}, true, 1, 0);
    network.initialise("he_normal", seed);
    return network.weights();
  };
  auto const a = make(1), b = make(1), c = make(2);
  for (auto const& [key, tensor] : a) {
    CHECK(b.at(key).values == tensor.values);
    if (key.second == "kernel") {
      CHECK(c.at(key).values != tensor.values);
    } else {
      double const fill = key.second == "gamma" || key.second == "moving_variance" ? 1 : 0;
      for (double const value : tensor.values)
        CHECK(value == fill);
    }
  }
}

TEST_CASE("network: a memory limit is honoured before anything is allocated")
{
  auto const architecture = everything();
  Network<float> const fits(ExecSpace(), architecture, std::vector<int>{8}, true, 1, 0);
  CHECK_NOTHROW(Network<float>(ExecSpace(), architecture, std::vector<int>{8}, true, 1, fits.bytes()));
  CHECK_THROWS_AS(Network<float>(ExecSpace(), architecture, std::vector<int>{8}, true, 1, fits.bytes() - 1),
                  impl::OutOfMemory);
}
