// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium estimate evolve, nasturtium estimate fit: networks are timed for a training set, and a model learns from
// it.
#include "estimate_model.hpp"

#include "timing.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/program.hpp>
#include <nasturtium/estimator/step_model.hpp>

#include <filesystem>
#include <iostream>
#include <memory>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace estimator;

struct EvolveOptions
{
  CoevolutionOptions evolution;
  DeviceOptions device;
  std::string out;
  int probes = 100;
  bool full = false, programs = false, whole_range = false;
};

struct FitOptions
{
  std::vector<std::string> archives;
  std::string out = "runs/estimator.json", level = "physics";
  StepModelOptions model;
  bool mix = false;
};

int evolve(EvolveOptions options, Invocation const& call)
{
  options.evolution.ranges = options.whole_range ? GeneratorOptions{} : laptop_ranges();
  check(options.evolution);
  require(options.probes >= 1, "--probes must be at least 1, got ", options.probes);
  auto const trainer = options.device.trainer();
  auto const runtime = options.device.start(call);
  catch_interrupts();
  create_directories(options.out);
  auto const file = [&](char const* name) { return (fs::path(options.out) / name).string(); };
  if (!is_file(file("device.json"))) write_file(file("device.json"), to_json(probe_device(trainer)));
  auto const device = parse_device(read_file(file("device.json")), file("device.json"));
  auto const timing = measure_preset(options.full ? "full" : "quick");
  auto const again = [] {
    std::cerr << "nasturtium: interrupted; the same command goes on\n";
    return exit_interrupted;
  };
  constexpr std::int64_t probes_lineage = 1'000'000'000; // far from the founders' numbers
  auto const probes = timed(file("probes.jsonl"),
                            random_samples("uniform", options.probes, options.evolution.ranges,
                                           options.evolution.seed + 1'000'000, probes_lineage),
                            timing, trainer, device);
  if (!probes) return again();
  Progress progress(options.evolution.strategy, options.evolution.networks, "networks");
  auto const evolution = coevolved(file("timings.jsonl"), options.evolution, examples(*probes), timing, trainer, device,
                                   [&](Coevolution const&) { progress.advance(); });
  progress.finish();
  if (!evolution) return again();
  Table table({{"generation"},
               {"networks"},
               {"failures"},
               {"device s", 1},
               {"probe MAPE %", 1},
               {"a", 2},
               {"mutation", 2},
               {"immigrants", 2},
               {"crossover", 2},
               {"size sd", 2}});
  for (auto const& it : evolution->log())
    table.add_row({std::int64_t{it.generation}, std::int64_t{it.networks}, std::int64_t{it.failures}, it.device_seconds,
                   100 * it.error, it.operators.a, it.operators.p_mut, it.operators.immigrants, it.operators.p_cross,
                   it.operators.size_sd});
  write_file(file("generations.csv"), table.csv());
  auto const archive = read_archive(file("timings.jsonl"));
  write_csv(file("timings.csv"), archive);
  write_hdf5(file("timings.h5"), archive);
  if (options.programs) {
    create_directories(file("programs"));
    for (std::size_t i = 0; i < archive.samples.size(); ++i) {
      auto const stem = (fs::path(file("programs")) / std::to_string(i)).string();
      write_file(stem + ".json", nn::spec::to_json(archive.samples[i].workload.architecture));
      write_file(stem + ".py", pytorch_program(archive.samples[i].workload));
    }
  }
  std::cout << table.text() << "\nNext: nasturtium estimate fit " << file("timings.jsonl") << '\n';
  return exit_success;
}

int fit(FitOptions options)
{
  options.model.level = parse_level(options.level, "--level");
  Archive all;
  for (auto const& path : options.archives)
    merge(all, read_archive(path), path, options.mix);
  std::vector<NamedExample> examples;
  auto const rows = estimator::examples(all);
  for (std::size_t i = 0, next = 0; i < all.samples.size(); ++i) {
    auto const& sample = all.samples[i];
    if (sample.measurement.status != MeasureStatus::timed) continue;
    std::string name = sample.workload.architecture.name;
    if (name.empty()) name = concat("sample ", i);
    examples.push_back({std::move(name), rows.at(next++)});
  }
  auto const model = StepModel::fit(examples, options.model);
  if (auto const folder = fs::path(options.out).parent_path().string(); !folder.empty()) create_directories(folder);
  write_file(options.out, model.save());
  // Errors where nothing was fitted: on the calibration part.
  auto const metrics = error_metrics(model.calibration().first, model.calibration().second);
  Table table({{"model"}, {"trained on"}, {"held out"}, {"MAPE %", 1}, {"median %", 1}, {"p90 %", 1}, {"Spearman", 3}});
  table.add_row({model.method(), model.trained(), metrics.count, 100 * metrics.mape, 100 * metrics.median,
                 100 * metrics.p90, metrics.spearman});
  std::cout << table.text() << "\nWritten: " << options.out << "\nNext: nasturtium estimate lenet --batch 32 --model "
            << options.out << '\n';
  return exit_success;
}

} // namespace

void add_estimate_model(CLI::App& app, Invocation const& call, std::function<int()>& action)
{
  auto const evolving = std::make_shared<EvolveOptions>();
  auto& evolution = evolving->evolution;
  auto* const evolver = app.add_subcommand("evolve", "Time networks that are drawn or evolved for a training set");
  evolver->callback([&action, &call, evolving] { action = [evolving, &call] { return evolve(*evolving, call); }; });
  evolver->add_option("--out", evolving->out, "Folder: device, probes, timings, generations; the same call goes on")
      ->required()
      ->type_name("DIR");
  evolver
      ->add_option("--strategy", evolution.strategy,
                   "random, random-skewed, hard, hard-half, easy, contribution, disagreement, spread")
      ->capture_default_str()
      ->type_name("NAME");
  evolver->add_option("--generator", evolution.generator, "Of founders and immigrants")
      ->option_text("uniform|skewed [uniform]");
  evolver->add_option("--operators", evolution.operators, "How they follow the estimator's error")
      ->option_text("dynamic|static|inverse [dynamic]");
  evolver->add_option("--networks", evolution.networks, "Timed ones in all; 0: no limit")
      ->capture_default_str()
      ->type_name("N");
  evolver->add_option("--seconds", evolution.seconds, "Of device time in all; 0: no limit")
      ->capture_default_str()
      ->type_name("S");
  evolver->add_option("--population", evolution.population, "Children of a generation")
      ->capture_default_str()
      ->type_name("N");
  evolver->add_option("--founders", evolution.founders, "Random networks to begin with")
      ->capture_default_str()
      ->type_name("N");
  evolver->add_option("--probes", evolving->probes, "Random networks that measure the estimator in the loop")
      ->capture_default_str()
      ->type_name("N");
  evolver->add_option("--seed", evolution.seed, "Of everything random")->capture_default_str()->type_name("N");
  evolver->add_flag("--full", evolving->full, "A second and more for each network instead of ten steps");
  evolver->add_flag("--whole-range", evolving->whole_range,
                    "Networks as large as the reference's (images up to 64, batches up to 128), for a GPU");
  evolver->add_flag("--programs", evolving->programs, "Write every network as architecture and as a PyTorch program");
  evolving->device.add_to(*evolver);

  auto const fitting = std::make_shared<FitOptions>();
  auto* const fitter = app.add_subcommand("fit", "Make a model of archives of timed networks");
  fitter->callback([&action, fitting] { action = [fitting] { return fit(*fitting); }; });
  fitter->add_option("ARCHIVE", fitting->archives, "Files of estimate measure --archive or estimate evolve")
      ->required();
  fitter->add_option("--out", fitting->out, "The model")->capture_default_str()->type_name("FILE");
  std::string names;
  for (auto const& name : estimator_names())
    names += (names.empty() ? "" : ", ") + name;
  fitter->add_option("--method", fitting->model.method, names)->capture_default_str()->type_name("NAME");
  fitter->add_option("--level", fitting->level, "What it sees of a network")
      ->option_text("minimal|short|rich|physics [physics]");
  fitter->add_option("--seed", fitting->model.seed, "Of split and fit")->capture_default_str()->type_name("N");
  fitter->add_flag("--mix", fitting->mix, "Timings of several devices or builds in one model");
}

} // namespace nasturtium::cli
