// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "plan_estimate.hpp"

#include "timing.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/estimator/measure.hpp>
#include <nasturtium/estimator/step_model.hpp>
#include <nasturtium/nas/random.hpp>
#include <nasturtium/nas/search_space.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::cli {

namespace {

using namespace estimator;

constexpr double weight_bytes = 4, file_overhead = 20000; ///< of an HDF5 file with its attributes

double parameters_of(std::vector<Workload> const& sample)
{
  std::vector<double> counts;
  for (auto const& workload : sample)
    counts.push_back(static_cast<double>(nn::spec::infer(workload.architecture).parameter_count));
  return mean(counts);
}

} // namespace

PlanEstimate estimate_plan(std::vector<PlannedTraining> const& work, std::string const& model_path,
                           nn::TrainerOptions const& trainer)
{
  PlanEstimate estimate;
  std::optional<StepModel> model;
  std::string const device = device_name(trainer);
  if (!model_path.empty()) {
    model = StepModel::load(read_file(model_path), model_path);
    auto const& known = model->devices();
    if (std::none_of(known.begin(), known.end(), [&](Device const& it) { return it.name == device; })) model.reset();
  }
  int timed = 0;
  for (auto const& kind : work) {
    estimate.networks += kind.networks;
    if (!kind.timed) estimate.epochs += kind.epochs;
    if (kind.sample.empty()) continue;
    estimate.bytes += kind.files * (weight_bytes * parameters_of(kind.sample) + file_overhead);
    auto options = measure_preset(kind.measure);
    options.max_seconds = std::min(options.max_seconds, 2.0);
    std::vector<double> per_image, whole;
    for (auto const& workload : kind.sample) {
      if (model && !kind.timed) {
        per_image.push_back(model->estimate(describe(workload), device).seconds / workload.batch);
        continue;
      }
      auto const it = measure(workload, trainer, options);
      if (it.status != MeasureStatus::timed) continue;
      ++timed;
      per_image.push_back(it.median / workload.batch);
      whole.push_back(it.total_seconds);
    }
    if (per_image.empty()) continue;
    estimate.seconds += kind.timed ? kind.networks * mean(whole) : kind.epochs * kind.images * mean(per_image);
  }
  estimate.basis = timed == 0 ? "by the estimator" : concat(timed, " networks timed now");
  return estimate;
}

std::vector<Workload> sample_of_space(std::string const& space, datasets::Dataset const& dataset, int batch, int count)
{
  auto const made = nas::make_space(
      space, {{dataset.height, dataset.width, dataset.channels}, dataset.classes, dataset.target_width});
  nas::Random random(1);
  std::vector<Workload> sample;
  for (int i = 0; i < count; ++i)
    sample.push_back({made->decode(made->sample(random)), batch, Optimiser::adam});
  return sample;
}

} // namespace nasturtium::cli
