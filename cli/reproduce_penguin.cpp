// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce penguin: fitness prediction (PEng4NN, PENGUIN).
#include "penguin.hpp"
#include "reproduce.hpp"

#include <nasturtium/core/signal.hpp>
#include <nasturtium/predictor/presets.hpp>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium reproduce penguin --scale smoke --out runs/penguin-smoke      # a minute, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run\n"
    "  nasturtium reproduce penguin --scale laptop --datasets fashion-mnist --searches nsga-net-narrow \\\n"
    "      --out runs/penguin";

} // namespace

int reproduce_penguin(Invocation const& call)
{
  PenguinPlan asked;
  asked.networks = asked.epochs = 0;
  asked.images = -1;
  ExperimentCall it("penguin");
  VerbParser parser("reproduce penguin", "Fitness prediction in three searches (PEng4NN, PENGUIN).", examples);
  CLI::App& app = parser.app();
  it.add_to(app);
  app.add_option("--searches", asked.searches, "Which searches, in their own spaces")
      ->delimiter(',')
      ->option_text("menndl,evocnn,nsga-net,nsga-net-narrow");
  app.add_option("--datasets", asked.datasets, "Data sets; by default those of the scale that are there")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--presets", asked.presets, "Methods to replay (nasturtium predict --help)")
      ->delimiter(',')
      ->option_text("PRESET,...");
  app.add_option("--live", asked.live, "Engine that stops networks when the search runs again; none: no such run")
      ->option_text("PRESET [nasturtium]");
  app.add_option("--live-searches", asked.live_searches, "Searches that run again with it; all where not given")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--networks", asked.networks, "In each search; 0: as the scale has it")->type_name("N");
  app.add_option("--epochs", asked.epochs, "Of a full training; 0: as the scale has it")->type_name("N");
  app.add_option("--images", asked.images, "For training and validation; -1: as the scale has it")->type_name("N");
  app.add_option("--seed", asked.seed, "Of everything random")->capture_default_str()->type_name("N");
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = penguin_plan(it.scale);
  require(asked.networks >= 0 && asked.epochs >= 0, "--networks and --epochs must be at least 1");
  if (asked.networks > 0) plan.networks = asked.networks;
  if (asked.epochs > 0) plan.epochs = asked.epochs;
  if (asked.images >= 0) {
    plan.images = asked.images;
    plan.images_of_a_class = 0;
  }
  if (!asked.searches.empty()) plan.searches = asked.searches;
  if (!asked.datasets.empty()) plan.datasets = asked.datasets;
  if (!asked.presets.empty()) plan.presets = asked.presets;
  plan.live = asked.live;
  plan.live_searches = asked.live_searches;
  plan.seed = asked.seed;
  plan.data_dir = it.data_dir;
  plan.out = it.out();
  for (auto const& name : plan.presets)
    predictor::preset(name);
  predictor::preset(plan.live);
  if (!it.begin(call, penguin_work(plan))) return exit_success;
  auto const cells = run_penguin(plan, it.trainer(), call);
  if (!cells) return it.interrupted();
  return it.finish(penguin_report(*cells, plan,
                                  provenance_of(call, plan.seed, it.trainer().backend, {{"scale", plan.scale}}),
                                  "nasturtium: fitness prediction"),
                   penguin_methods(*cells).text() + '\n' + penguin_live(*cells).text());
}

} // namespace nasturtium::cli
