// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a search expects of a candidate's whole training.
#include "training_cost.hpp"

#include <nasturtium/datasets/registry.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <memory>

using namespace nasturtium;
using namespace nasturtium::cli;

namespace {

/// A model that knows networks of one kind on a device "here"; times grow with the operations.
estimator::StepModel model_of_times(nas::SearchConfig const& config)
{
  estimator::Device device;
  device.name = "here";
  device.peak_flops = 1e11;
  device.bandwidth = 1e10;
  device.launch_seconds = 1e-5;
  device.cores = 1;
  std::vector<estimator::NamedExample> examples;
  for (auto const& workload : probes_of(config, 40)) {
    auto description = estimator::describe(workload);
    double flops = 0;
    for (auto const& layer : description.layers)
      flops += layer.forward_flops;
    auto const number = static_cast<std::int64_t>(examples.size());
    examples.push_back({"network", {std::move(description), device, 1e-4 + flops * 3e-11, number}});
  }
  estimator::StepModelOptions options;
  options.method = "log-linear";
  return estimator::StepModel::fit(examples, options);
}

} // namespace

TEST_CASE("training cost: steps of all epochs and a third of a step for every batch of a validation")
{
  auto dataset = datasets::load("synthetic:height=8:width=8:classes=3:count=400:test=0:noise=60");
  datasets::split_validation(dataset, 0.25, 1);
  REQUIRE(dataset.train.count == 300);
  nas::SearchConfig config;
  config.space = "menndl";
  config.task = {{8, 8, 1}, 3};
  auto& training = config.training;
  training.epochs = 20;
  training.batch_size = 32; // 10 steps an epoch, 4 batches of a validation
  CHECK(whole_epochs(training, dataset) == 20);

  auto const model = std::make_shared<estimator::StepModel const>(model_of_times(config));
  auto const network = probes_of(config, 1).front();
  double const step = model->seconds(estimator::describe(network), "here");
  CHECK(step == model->estimate(estimator::describe(network), "here").seconds);
  auto const steps = [&] { return training_cost(model, "here", training, dataset)(network.architecture) / step; };
  auto const close = [](double got, double wanted) { return std::abs(got - wanted) < 1e-9 * wanted; };
  CHECK(close(steps(), 20 * (10 + 4.0 / 3)));
  training.validations_per_epoch = 2;
  CHECK(close(steps(), 20 * (10 + 8.0 / 3)));
  training.max_steps = 50; // five epochs
  CHECK(whole_epochs(training, dataset) == 5);
  CHECK(close(steps(), 5 * (10 + 8.0 / 3)));
  training.max_steps = 1000; // no limit
  CHECK(close(steps(), 20 * (10 + 8.0 / 3)));

  CHECK_THROWS_AS(training_cost(model, "elsewhere", training, dataset)(network.architecture), Error);
}
