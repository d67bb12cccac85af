// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/genome.hpp>
#include <nasturtium/estimator/step_model.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>

using namespace nasturtium;
using namespace nasturtium::estimator;

namespace {

Device const cpu{"cpu", 1e11, 2e10, 1e-6, 1, 0, 0};

/// Random networks with times of a made-up device: three times the roofline, with 10 % of noise.
std::vector<NamedExample> made_up(int count, Device const& device, std::uint64_t seed)
{
  GeneratorOptions ranges;
  ranges.max_genes = 6;
  ranges.sides = {8, 16};
  ranges.max_filters = 32;
  ranges.max_log2_batch = 3;
  Random random(seed);
  std::vector<NamedExample> all;
  for (auto const& individual : draw("uniform", count, ranges, random)) {
    auto description = describe(individual.workload);
    double const seconds = 3 * roofline(description, device).seconds() * std::exp(0.1 * random.normal());
    std::string name = "net-" + std::to_string(all.size());
    all.push_back({std::move(name), {std::move(description), device, seconds, static_cast<std::int64_t>(all.size())}});
  }
  return all;
}

std::string error_of(auto const& call)
{
  try {
    call();
  } catch (Error const& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("a model of a device answers, and answers the same after its file", "[step-model]")
{
  auto const examples = made_up(500, cpu, 1);
  StepModelOptions options;
  options.method = "log-linear";
  auto const model = StepModel::fit(examples, options);
  CHECK(model.trained() + model.calibrated() == 500);
  CHECK(model.calibrated() > 100);
  auto const back = StepModel::load(model.save(), "model");
  for (auto const& test : made_up(20, cpu, 2)) {
    auto const& description = test.example.description;
    auto const one = model.estimate(description, "cpu"), two = back.estimate(description, "cpu");
    CHECK(one.seconds == two.seconds);
    CHECK(one.quantiles == two.quantiles);
    CHECK(one.in_range == two.in_range);
    REQUIRE(one.neighbours.size() == 5);
    CHECK(one.neighbours.front().name == two.neighbours.front().name);
    CHECK(one.neighbours.front().distance <= one.neighbours.back().distance);
    auto const [low, high] = model.interval(description, "cpu", 0.9);
    CHECK(low < one.seconds);
    CHECK(one.seconds < high);
    CHECK(model.limit(description, "cpu", 0.05) >= model.limit(description, "cpu", 0.2));
    CHECK(std::isinf(model.limit(description, "cpu", 0.0001))); // needs 9,999 networks
  }
}

TEST_CASE("intervals hold on networks that the model did not see", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto const model = StepModel::fit(made_up(600, cpu, 3), options);
  int inside = 0, below = 0;
  auto const tests = made_up(400, cpu, 4);
  for (auto const& test : tests) {
    auto const [low, high] = model.interval(test.example.description, "cpu", 0.9);
    inside += low <= test.example.seconds && test.example.seconds <= high;
    below += test.example.seconds <= model.limit(test.example.description, "cpu", 0.1);
  }
  CHECK(inside > 0.84 * 400);
  CHECK(inside < 0.96 * 400);
  CHECK(below > 0.84 * 400);
}

TEST_CASE("networks unlike the training are told apart", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto const model = StepModel::fit(made_up(300, cpu, 5), options);
  int inside = 0;
  for (auto const& test : made_up(100, cpu, 6))
    inside += model.estimate(test.example.description, "cpu").in_range;
  CHECK(inside > 60);
  auto const vgg = describe({nn::spec::load_architecture("vgg32"), 512, Optimiser::adam});
  auto const estimate = model.estimate(vgg, "cpu");
  CHECK_FALSE(estimate.in_range);
  CHECK_FALSE(estimate.outside.empty());
}

TEST_CASE("a device is added from a few timings there", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto model = StepModel::fit(made_up(300, cpu, 7), options);
  Device fast = cpu;
  fast.name = "fast";
  std::vector<Example> probes;
  for (auto const& it : made_up(20, cpu, 8)) {
    auto probe = it.example;
    probe.device = fast;
    probe.seconds /= 4;
    probes.push_back(std::move(probe));
  }
  CHECK(error_of([&] { (void)model.device("fast"); }).find("cpu") != std::string::npos);
  model.adapt(fast, probes);
  auto const& description = probes.front().description;
  double const ratio = model.estimate(description, "cpu").seconds / model.estimate(description, "fast").seconds;
  CHECK(ratio > 3);
  CHECK(ratio < 5);
  CHECK(StepModel::load(model.save(), "model").estimate(description, "fast").seconds ==
        model.estimate(description, "fast").seconds);
}

TEST_CASE("probes without a time leave the model as it was", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto model = StepModel::fit(made_up(40, cpu, 14), options);
  auto const before = model.save();
  Device other = cpu;
  other.name = "other";
  std::vector<Example> probes;
  CHECK(error_of([&] { model.adapt(other, probes); }).find("none were given") != std::string::npos);
  for (auto const& it : made_up(3, cpu, 15))
    probes.push_back(it.example);
  for (double const bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    probes[1].seconds = bad;
    CHECK(error_of([&] { model.adapt(other, probes); }).find("probe 1: the time") != std::string::npos);
    CHECK(model.save() == before);
  }
  // A device that is known is probed again: its scale is the new one.
  probes = {probes[0]};
  double const known = model.estimate(probes[0].description, "cpu").seconds;
  probes[0].seconds = 2 * known;
  model.adapt(cpu, probes);
  CHECK(model.devices().size() == 1);
  CHECK(std::abs(model.estimate(probes[0].description, "cpu").seconds / known - 2) < 1e-9);
}

TEST_CASE("a risk or a level that is none is refused", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto const model = StepModel::fit(made_up(40, cpu, 16), options);
  auto const description = made_up(1, cpu, 17).front().example.description;
  for (double const bad : {0.0, 1.0, -0.1, std::nan("")}) {
    CHECK_THROWS_AS(model.limit(description, "cpu", bad), Error);
    CHECK_THROWS_AS(model.interval(description, "cpu", bad), Error);
  }
  CHECK(error_of([&] { (void)model.estimate(description, "gpu"); }).find("cpu") != std::string::npos);
}

TEST_CASE("what cannot become a model is refused", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  CHECK(error_of([&] { StepModel::fit(made_up(10, cpu, 9), options); }).find("20") != std::string::npos);
  auto one_family = made_up(60, cpu, 10);
  for (auto& it : one_family)
    it.example.lineage = it.example.lineage < 40 ? 7 : it.example.lineage;
  CHECK(error_of([&] { StepModel::fit(one_family, options); }).find("lineage 7") != std::string::npos);
  options.method = "oracle";
  CHECK(error_of([&] { StepModel::fit(made_up(60, cpu, 11), options); }).find("oracle") != std::string::npos);
}

TEST_CASE("a damaged model file is an error, never a crash", "[step-model]")
{
  StepModelOptions options;
  options.method = "log-linear";
  auto const text = StepModel::fit(made_up(40, cpu, 12), options).save();
  auto const description = made_up(1, cpu, 13).front().example.description;
  int errors = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    auto const draw = random_block(3, Purpose::synthetic, 0, i);
    auto damaged = text;
    std::size_t const at = draw.word[0] % damaged.size();
    if (i % 3 == 0)
      damaged.resize(at);
    else if (i % 3 == 1)
      damaged.erase(at, 1 + draw.word[1] % 30);
    else
      damaged[at] = "0-9e{}[],:\"x"[draw.word[1] % 12];
    try {
      auto const model = StepModel::load(damaged, "m");
      double const seconds = model.estimate(description, "cpu").seconds;
      // What is taken is a whole model: it is saved, and read again.
      CHECK(StepModel::load(model.save(), "m").estimate(description, "cpu").seconds == seconds);
    } catch (Error const& error) {
      ++errors;
      CHECK_FALSE(std::string(error.what()).empty());
    }
  }
  CHECK(errors > 150);
  CHECK(errors < 300);
}
