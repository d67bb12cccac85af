// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "training_cost.hpp"

#include <nasturtium/estimator/measure.hpp>
#include <nasturtium/nas/random.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace nasturtium::cli {

using namespace estimator;

namespace {

double batches(std::int64_t samples, nn::TrainOptions const& options)
{
  std::int64_t const whole = (samples + options.batch_size - 1) / options.batch_size;
  return static_cast<double>(whole);
}

} // namespace

std::string calibrate(StepModel& model, nn::TrainerOptions const& trainer, std::vector<Workload> const& probes,
                      nn::Precision precision)
{
  auto const device = probe_device(trainer);
  auto timing = measure_preset("quick");
  timing.max_seconds = 0.3;
  timing.cap_step_seconds = 60; // the heavy networks are those that matter
  timing.precision = precision;
  std::vector<Example> timed;
  std::string reason = "there is none";
  for (auto const& workload : probes) {
    auto const it = measure(workload, trainer, timing);
    if (it.status == MeasureStatus::timed)
      timed.push_back({describe(workload), device, it.median, 0});
    else
      reason = it.reason;
  }
  require(!timed.empty(), "no network could be timed to scale the estimator to this machine: ", reason);
  model.adapt(device, timed);
  return device.name;
}

std::vector<Workload> probes_of(nas::SearchConfig const& config, int count)
{
  auto const space = nas::make_space(config.space, config.task);
  nas::Random random(config.settings.seed, 0x70726f62); // a stream that no question has
  std::vector<Workload> probes;
  for (int i = 0; i < count; ++i)
    probes.push_back(
        {space->decode(space->sample(random)), config.training.batch_size, to_optimiser(config.training.optimiser)});
  return probes;
}

double whole_epochs(nn::TrainOptions const& options, datasets::Dataset const& dataset)
{
  auto const epochs = static_cast<double>(options.epochs);
  double const limit = static_cast<double>(options.max_steps) / batches(dataset.train.count, options);
  return options.max_steps > 0 ? std::min(epochs, limit) : epochs;
}

nas::TrainingCost training_cost(std::shared_ptr<StepModel const> model, std::string device,
                                nn::TrainOptions const& options, datasets::Dataset const& dataset)
{
  double const epochs = whole_epochs(options, dataset);
  double const steps = epochs * (batches(dataset.train.count, options) +
                                 options.validations_per_epoch * batches(dataset.validation.count, options) / 3);
  return [model = std::move(model), device = std::move(device), steps, batch = options.batch_size,
          optimiser = to_optimiser(options.optimiser)](nn::spec::Architecture const& architecture) {
    return steps * model->seconds(describe({architecture, batch, optimiser}), device);
  };
}

} // namespace nasturtium::cli
