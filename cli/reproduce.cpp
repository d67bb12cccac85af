// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce: the papers' experiments.
#include "penguin.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples =
    "  nasturtium reproduce penguin --scale smoke --out runs/penguin-smoke      # a minute, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run\n"
    "  nasturtium reproduce penguin --scale laptop --datasets fashion-mnist --searches nsga-net-narrow \\\n"
    "      --out runs/penguin";

void print_plan(PenguinPlan const& plan)
{
  auto const cells = plan.searches.size() * plan.datasets.size();
  auto const epochs = cells * static_cast<std::size_t>(plan.networks) * static_cast<std::size_t>(plan.epochs);
  std::cerr << "plan: " << plan.searches.size() << " searches x " << plan.datasets.size() << " data sets, "
            << plan.networks << " networks x " << plan.epochs << " epochs each to the end"
            << (plan.live == "none" ? "" : ", then once more with " + plan.live) << ", at most "
            << (plan.live == "none" ? 1 : 2) * epochs << " epochs in all; --out " << plan.out << '\n';
}

int penguin(PenguinPlan const& plan, DeviceOptions const& device, bool dry_run, bool as_json, Invocation const& call)
{
  print_plan(plan);
  if (dry_run) return exit_success;
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const cells = run_penguin(plan, trainer, call);
  if (!cells) {
    std::cerr << "nasturtium: interrupted; the same command goes on\n";
    return exit_interrupted;
  }
  write_penguin(*cells, plan, provenance_of(call, plan.seed, trainer.backend, {{"scale", plan.scale}}),
                "nasturtium: fitness prediction");
  auto const file = [&](char const* name) { return (fs::path(plan.out) / name).string(); };
  if (as_json) {
    json::Object object;
    object["out"] = plan.out;
    object["replayed"] = read_file(file("replayed.csv"));
    object["live"] = read_file(file("live.csv"));
    std::cout << json::pretty(object);
  } else {
    std::cout << penguin_methods(*cells).text() << '\n'
              << penguin_live(*cells).text() << "\nTo look at: " << file("index.html") << '\n';
  }
  return exit_success;
}

} // namespace

int reproduce(Invocation const& call)
{
  PenguinPlan asked;
  asked.networks = asked.epochs = 0;
  asked.images = -1;
  DeviceOptions device;
  std::string experiment, scale = "smoke";
  bool dry_run = false, as_json = false;
  VerbParser parser("reproduce", "Runs an experiment of a paper: trains, compares, writes tables, figures and a page.",
                    examples);
  CLI::App& app = parser.app();
  app.add_option("experiment", experiment, "penguin: fitness prediction in three searches")
      ->required()
      ->option_text("penguin (required)");
  app.add_option("--scale", scale, "smoke: a minute; laptop: two cores, hours; node: a GPU; paper: as published")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", asked.out, "Folder of all runs and tables; what is there already is not run again")
      ->type_name("DIR");
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
  app.add_option("--networks", asked.networks, "In each search; 0: as the scale has it")->type_name("N");
  app.add_option("--epochs", asked.epochs, "Of a full training; 0: as the scale has it")->type_name("N");
  app.add_option("--images", asked.images, "For training and validation; -1: as the scale has it")->type_name("N");
  app.add_option("--data-dir", asked.data_dir, "Folder to look for data sets first")->type_name("DIR");
  app.add_option("--seed", asked.seed, "Of everything random")->capture_default_str()->type_name("N");
  app.add_flag("--dry-run", dry_run, "Print the plan alone");
  app.add_flag("--json", as_json, "The tables as JSON on stdout");
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  require(experiment == "penguin", "reproduce: unknown experiment ", quoted(experiment), " (penguin)");
  auto plan = penguin_plan(scale);
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
  plan.seed = asked.seed;
  plan.data_dir = asked.data_dir;
  plan.out = asked.out.empty() ? "runs/penguin-" + scale : asked.out;
  for (auto const& name : plan.presets)
    predictor::preset(name);
  predictor::preset(plan.live);
  return penguin(plan, device, dry_run, as_json, call);
}

} // namespace nasturtium::cli
