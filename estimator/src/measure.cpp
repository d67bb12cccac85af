// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/measure.hpp>

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/nn/device_probe.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace nasturtium::estimator {
namespace {

void check(MeasureOptions const& options)
{
  require(options.blocks >= 1, "measuring: blocks must be at least 1, got ", options.blocks);
  require(options.min_warmup >= 1 && options.max_warmup >= options.min_warmup,
          "measuring: min_warmup must be at least 1 and at most max_warmup, got ", options.min_warmup, " and ",
          options.max_warmup);
  require(options.min_steps >= 1, "measuring: min_steps must be at least 1, got ", options.min_steps);
  require(options.min_seconds >= 0 && options.max_seconds > 0 && options.cap_step_seconds > 0,
          "measuring: seconds must be positive, got min_seconds ", options.min_seconds, ", max_seconds ",
          options.max_seconds, ", cap_step_seconds ", options.cap_step_seconds);
}

double seconds_of(nn::Stepper& stepper, std::int64_t steps)
{
  Stopwatch const watch;
  stepper.run(steps);
  return watch.seconds();
}

/// Steps until two successive ones differ by less than 10 %; seconds of the faster of them, or nothing where a step is
/// over the cap (`slow` tells). The first step pays for first touches, so it may take twice as long.
std::optional<double> warm_up(nn::Stepper& stepper, MeasureOptions const& options, Stopwatch const& total, double& slow)
{
  double previous = 0;
  for (int i = 1;; ++i) {
    double const seconds = seconds_of(stepper, 1);
    if (seconds > (i == 1 ? 2 : 1) * options.cap_step_seconds) {
      slow = seconds;
      return std::nullopt;
    }
    bool const steady = i > 1 && std::abs(seconds - previous) < 0.1 * previous;
    bool const spent = total.seconds() > 0.5 * options.max_seconds && i > 1;
    if ((i >= options.min_warmup && steady) || i >= options.max_warmup || spent)
      return i > 1 ? std::min(previous, seconds) : seconds;
    previous = seconds;
  }
}

/// Block means. What is missing in steps and seconds is shared out over the blocks that are left, so that an estimate
/// of the step that was wrong is made up for.
std::vector<double> time_blocks(nn::Stepper& stepper, MeasureOptions const& options, Stopwatch const& total,
                                double step_seconds, std::int64_t& steps)
{
  std::vector<double> samples;
  double spent = 0;
  for (int left = options.blocks; left > 0; --left) {
    double const fast = std::max(step_seconds, 1e-9);
    auto const share = [&](double missing) { return std::ceil(missing / left); };
    double const wanted =
        std::max(share(static_cast<double>(options.min_steps - steps)), share((options.min_seconds - spent) / fast));
    double const affordable = std::floor((options.max_seconds - total.seconds()) / left / fast);
    auto const count = static_cast<std::int64_t>(std::max(1.0, std::min(wanted, affordable)));
    double const seconds = seconds_of(stepper, count);
    samples.push_back(seconds / static_cast<double>(count));
    step_seconds = std::min(step_seconds, samples.back());
    spent += seconds;
    steps += count;
  }
  return samples;
}

/// Of the blocks; 0 for one.
double standard_deviation(std::vector<double> const& samples)
{
  if (samples.size() < 2) return 0;
  double const center = mean(samples);
  double sum = 0;
  for (double const sample : samples)
    sum += (sample - center) * (sample - center);
  return std::sqrt(sum / static_cast<double>(samples.size() - 1));
}

} // namespace

std::string name(MeasureStatus status)
{
  switch (status) {
  case MeasureStatus::timed:
    return "timed";
  case MeasureStatus::over_cap:
    return "over_cap";
  case MeasureStatus::out_of_memory:
    return "out_of_memory";
  case MeasureStatus::invalid:
    return "invalid";
  }
  return {};
}

MeasureStatus parse_measure_status(std::string const& text, std::string const& source)
{
  for (auto const status :
       {MeasureStatus::timed, MeasureStatus::over_cap, MeasureStatus::out_of_memory, MeasureStatus::invalid})
    if (name(status) == text) return status;
  fail(source, ": status must be timed, over_cap, out_of_memory or invalid, got ", quoted(text));
}

MeasureOptions measure_preset(std::string const& name)
{
  MeasureOptions options;
  if (name == "full") return options;
  require(name == "quick", "measuring: preset must be full or quick, got ", quoted(name));
  options.min_warmup = 2;
  options.min_steps = 10;
  options.min_seconds = 0;
  return options;
}

Measurement measure(Workload const& workload, nn::TrainerOptions const& trainer, MeasureOptions const& options)
{
  check(options);
  Stopwatch const total;
  Measurement result;
  auto const failed = [&](MeasureStatus status, std::string reason) {
    result.status = status;
    result.reason = std::move(reason);
    result.total_seconds = total.seconds();
    return result;
  };
  nn::TrainOptions train;
  train.batch_size = workload.batch;
  train.precision = options.precision;
  // Hosts promise memory that they do not have, and kill who touches it.
  train.memory_limit_bytes = std::max<std::int64_t>(1, nn::device_memory(trainer.backend).free);
  try {
    train.optimiser = to_options(workload.optimiser);
  } catch (Error const& error) {
    return failed(MeasureStatus::invalid, error.what());
  }
  auto made = nn::Stepper::make(trainer, workload.architecture, train);
  if (!made.stepper) {
    return failed(made.status == nn::Status::out_of_memory ? MeasureStatus::out_of_memory : MeasureStatus::invalid,
                  made.reason);
  }
  auto& stepper = *made.stepper;
  result.bytes = stepper.bytes();
  double slow = 0;
  auto const step_seconds = warm_up(stepper, options, total, slow);
  if (!step_seconds) {
    return failed(MeasureStatus::over_cap,
                  concat("a step took ", fixed(slow, 3), " s, the cap is ", shortest(options.cap_step_seconds), " s"));
  }
  auto const samples = time_blocks(stepper, options, total, *step_seconds, result.steps);
  result.median = median(samples);
  result.min = *std::min_element(samples.begin(), samples.end());
  result.sd = standard_deviation(samples);
  result.total_seconds = total.seconds();
  return result;
}

Device probe_device(nn::TrainerOptions const& trainer, std::string const& name)
{
  auto const identity = nn::device_identity(trainer);
  auto const speed = nn::device_speed(trainer);
  Device device;
  device.name = !name.empty()                                ? name
                : trainer.backend == nn::BackendKind::openmp ? concat("openmp-", identity.cores)
                                                             : nn::name(trainer.backend);
  device.peak_flops = speed.flops;
  device.bandwidth = speed.bandwidth;
  device.launch_seconds = speed.launch_seconds;
  device.cores = identity.cores;
  device.clock_mhz = identity.clock_mhz;
  device.memory_bytes = nn::device_memory(trainer.backend).total;
  return device;
}

} // namespace nasturtium::estimator
