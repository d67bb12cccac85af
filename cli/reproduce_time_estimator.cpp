// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce time-estimator: how long a training step takes (after Pinel et al.).
#include "reproduce.hpp"
#include "time_estimator.hpp"

#include <nasturtium/core/signal.hpp>

#include <algorithm>
#include <tuple>

namespace nasturtium::cli {

namespace {

constexpr char const* examples = "  nasturtium reproduce time-estimator --scale smoke        # a minute\n"
                                 "  nasturtium reproduce time-estimator --scale laptop --dry-run\n"
                                 "  nasturtium reproduce time-estimator --scale laptop --seeds 3 --out runs/estimator";

} // namespace

int reproduce_time_estimator(Invocation const& call)
{
  EstimatorPlan asked;
  asked.seeds = asked.networks = asked.pool = asked.tests = 0;
  std::vector<int> devices;
  ExperimentCall it("time-estimator");
  VerbParser parser("reproduce time-estimator",
                    "How long a training step takes, from drawn or evolved networks (Pinel et al.).", examples);
  CLI::App& app = parser.app();
  it.add_to(app);
  app.add_option("--devices", devices, "Thread counts, each a device; strategies run on the first")
      ->delimiter(',')
      ->option_text("N,...");
  app.add_option("--seeds", asked.seeds, "Of each strategy; 0: as the scale has it")->type_name("N");
  app.add_option("--networks", asked.networks, "Of each strategy and seed; 0: as the scale has it")->type_name("N");
  app.add_option("--pool", asked.pool, "Random networks of each device; 0: as the scale has it")->type_name("N");
  app.add_option("--tests", asked.tests, "Random networks to test on; 0: as the scale has it")->type_name("N");
  app.add_option("--seed", asked.seed, "Of everything random")->capture_default_str()->type_name("N");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = estimator_plan(it.scale);
  for (auto const& [text, value, target] : {std::tuple{"--seeds", asked.seeds, &plan.seeds},
                                            {"--networks", asked.networks, &plan.networks},
                                            {"--pool", asked.pool, &plan.pool},
                                            {"--tests", asked.tests, &plan.tests}}) {
    require(value >= 0, text, " must not be negative, got ", value);
    if (value > 0) *target = value;
  }
  if (!devices.empty()) plan.threads = devices;
  for (int const threads : plan.threads)
    require(threads >= 0, "--devices must not be negative, got ", threads);
  plan.seed = asked.seed;
  plan.out = it.out();
  it.device.threads = *std::max_element(plan.threads.begin(), plan.threads.end());
  if (!it.begin(call, estimator_work(plan))) return exit_success;
  auto const trainer = it.trainer();
  auto const run = run_time_estimator(plan, trainer);
  if (!run) return it.interrupted();
  auto const report = time_estimator_report(*run, plan, trainer,
                                            provenance_of(call, plan.seed, trainer.backend, {{"scale", plan.scale}}));
  return it.finish(report, report.find_table("accuracy-short")->text() +
                               "\nEvolved training sets, MAPE % on random networks (a), at equal count and equal "
                               "device seconds:\n\n" +
                               report.find_table("strategies-short")->text());
}

} // namespace nasturtium::cli
