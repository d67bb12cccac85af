// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/ensemble/plan_suite.hpp>

#include <nasturtium/core/splitmix.hpp>

#include <algorithm>
#include <cmath>

namespace nasturtium::ensemble {

namespace {

struct CostModel
{
  double overhead, work;       ///< milliseconds, a batch and a sample
  double saturation;           ///< samples below which a GPU is not faster
  double weights, activations; ///< megabytes, once and a sample
};

} // namespace

std::vector<PlanSuite> const& plan_suites()
{
  static std::vector<PlanSuite> const suites{
      {"2 GPUs, 3 models, 1.3x", 2, 3, 1.3, false}, {"2 GPUs, 3 models, 2x", 2, 3, 2, false},
      {"2 GPUs, 3 models, 4x", 2, 3, 4, false},     {"2 GPUs, 4 models, 2x", 2, 4, 2, false},
      {"3 GPUs, 3 models, 2x", 3, 3, 2, false},     {"2 GPUs + CPU, 3 models, 2x", 2, 3, 2, true}};
  return suites;
}

PlanningProblem suite_problem(PlanSuite const& suite, std::uint64_t seed)
{
  SplitMix random(seed);
  PlanningProblem problem;
  problem.batches = {8, 32, 128};
  std::vector<CostModel> models;
  double total = 0, largest = 0;
  for (int m = 0; m < suite.models; ++m) {
    CostModel model{};
    model.overhead = 1 + 3 * random.unit();
    model.work = 0.05 * std::pow(20.0, random.unit());
    model.saturation = std::pow(2.0, 2 + 4 * random.unit());
    model.weights = 50 * std::pow(10.0, random.unit());
    model.activations = std::pow(10.0, random.unit());
    double const need = model.weights + problem.batches[0] * model.activations;
    total += need;
    largest = std::max(largest, need);
    models.push_back(model);
    problem.models.push_back("m" + std::to_string(m));
  }
  constexpr double mega = 1e6, milli = 1e-3;
  double const limit = mega * std::max(suite.slack * total / suite.gpus, 1.02 * largest);

  DeviceClass gpu{"gpu", {}};
  for (int active = 1; active <= suite.models; ++active)
    gpu.gain.push_back(1 + 0.1 * (1 - 1.0 / active));
  problem.classes.push_back(gpu);
  if (suite.cpu) problem.classes.push_back({"cpu", {1.0}});
  for (int d = 0; d < suite.gpus + (suite.cpu ? 1 : 0); ++d) {
    bool const is_gpu = d < suite.gpus;
    auto const name = is_gpu ? "gpu" + std::to_string(d) : std::string("cpu");
    problem.devices.push_back({name, is_gpu ? 0 : 1, d});
    problem.memories.push_back({name, is_gpu ? limit : 4 * limit});
  }
  for (std::size_t c = 0; c < problem.classes.size(); ++c) {
    for (auto const& model : models) {
      for (int const batch : problem.batches) {
        double const time = c == 0 ? model.overhead + model.work * std::max<double>(batch, model.saturation)
                                   : 0.1 + 15 * model.work * batch;
        problem.profile.push_back({milli * time, mega * (model.weights + model.activations * batch)});
      }
    }
  }
  return problem;
}

} // namespace nasturtium::ensemble
