// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium demo: the papers' first experiment on real images, in minutes: a search whose networks train to the end,
// what each method would have saved of it, and the same search with an engine that stops networks.
#include "penguin.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/run_folder.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/datasets/registry.hpp>

#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples = "  nasturtium demo\n"
                                 "  nasturtium demo --networks 12 --epochs 6 --out /tmp/demo   # half a minute";

PenguinPlan demo_plan()
{
  PenguinPlan plan;
  plan.scale = "demo";
  plan.searches = {"menndl"};
  plan.datasets = {"fashion-mnist"};
  plan.presets = {"penguin", "a4nn", "nasturtium"};
  plan.networks = 40;
  plan.epochs = 10;
  plan.images = 2000;
  plan.out = "results/demo";
  return plan;
}

/// The command that made a run folder; empty where it does not say.
std::string command_of(std::string const& path)
{
  std::string const file = (fs::path(path) / "provenance.json").string();
  if (!is_file(file)) return {};
  auto const provenance = json::parse_file(file);
  auto const* const object = provenance.if_object();
  auto const* const command = object ? object->if_contains("command_line") : nullptr;
  return command && command->is_string() ? std::string(command->get_string()) : std::string();
}

/// A demo that was finished, or was asked for with other options, is begun again; one that was interrupted goes on.
void clear_earlier(PenguinPlan const& plan, std::string const& command)
{
  bool again = true;
  std::vector<fs::path> runs;
  for (char const* const run : {"recorded", "live-nasturtium"}) {
    fs::path const path = fs::path(plan.out) / "menndl-fashion-mnist" / run;
    again = again && is_file((path / "trials.csv").string());
    if (RunFolder::exists(path.string())) runs.push_back(path);
  }
  for (auto const& path : runs) {
    auto const made_by = command_of(path.string());
    require(made_by.starts_with("nasturtium demo"), path.string(),
            ": holds a run that is not the demo's; choose another --out");
    again = again || made_by != command;
  }
  if (!again) return;
  for (auto const& path : runs)
    fs::remove_all(path);
}

} // namespace

int demo(Invocation const& call)
{
  auto plan = demo_plan();
  DeviceOptions device;
  bool as_json = false;
  VerbParser parser("demo", "A Fashion-MNIST search with and without prediction: tables, curves, a page.", examples);
  CLI::App& app = parser.app();
  app.add_option("--out", plan.out, "Folder of the report and of both runs; an earlier demo there is replaced")
      ->capture_default_str()
      ->type_name("DIR");
  app.add_option("--networks", plan.networks, "Of the search")->capture_default_str()->type_name("N");
  app.add_option("--epochs", plan.epochs, "Of a full training")->capture_default_str()->type_name("N");
  app.add_option("--images", plan.images, "For training and validation; 0: all 60,000")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--seed", plan.seed, "Of everything random")->capture_default_str()->type_name("N");
  app.add_option("--data-dir", plan.data_dir, "Folder to look for Fashion-MNIST first")->type_name("DIR");
  app.add_flag("--json", as_json, "The tables as JSON on stdout");
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  require(plan.networks >= 1, "--networks must be at least 1, got ", plan.networks);
  require(plan.epochs >= 1, "--epochs must be at least 1, got ", plan.epochs);
  require(plan.images >= 0, "--images must be >= 0, got ", plan.images);
  require(!datasets::locate(datasets::find_entry("fashion-mnist"), plan.data_dir).empty(),
          "demo needs the images of Fashion-MNIST: install Debian's package dataset-fashion-mnist, or run 'nasturtium "
          "datasets download fashion-mnist', or name a folder with its four IDX files with --data-dir");

  catch_interrupts();
  Stopwatch const total;
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const provenance = provenance_of(call, plan.seed, trainer.backend, {{"scale", plan.scale}});
  clear_earlier(plan, provenance.command_line);
  auto const cells = run_penguin(plan, trainer, call);
  if (!cells) {
    std::cerr << "nasturtium: interrupted; the same command again goes on: " << provenance.command_line << '\n';
    return exit_interrupted;
  }
  penguin_report(*cells, plan, provenance, "nasturtium: a search that wastes fewer epochs").write(plan.out);
  std::string const page = (fs::path(plan.out) / "index.html").string();
  if (as_json) {
    json::Object object;
    object["out"] = plan.out;
    object["replayed"] = read_file((fs::path(plan.out) / "replayed.csv").string());
    object["live"] = read_file((fs::path(plan.out) / "live.csv").string());
    object["seconds"] = total.seconds();
    object["page"] = page;
    std::cout << json::pretty(object);
  } else {
    std::cout << '\n'
              << penguin_methods(*cells).text() << '\n'
              << penguin_live(*cells).text() << "\nDone in " << human_seconds(total.seconds())
              << ". To look at: " << page << '\n';
  }
  return exit_success;
}

} // namespace nasturtium::cli
