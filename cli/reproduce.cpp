// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium reproduce: the papers' experiments.
#include "ensembles.hpp"
#include "penguin.hpp"
#include "time_estimator.hpp"
#include "training_options.hpp"
#include "weight_transfer.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <tuple>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples =
    "  nasturtium reproduce penguin --scale smoke --out runs/penguin-smoke      # a minute, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run\n"
    "  nasturtium reproduce weight-transfer --scale smoke\n"
    "  nasturtium reproduce EXPERIMENT --help";

constexpr char const* penguin_examples =
    "  nasturtium reproduce penguin --scale smoke --out runs/penguin-smoke      # a minute, synthetic images\n"
    "  nasturtium reproduce penguin --scale laptop --dry-run\n"
    "  nasturtium reproduce penguin --scale laptop --datasets fashion-mnist --searches nsga-net-narrow \\\n"
    "      --out runs/penguin";

constexpr char const* transfer_examples =
    "  nasturtium reproduce weight-transfer --scale smoke       # a minute, synthetic images\n"
    "  nasturtium reproduce weight-transfer --scale laptop --dry-run\n"
    "  nasturtium reproduce weight-transfer --scale laptop --tasks lenet11:fashion-mnist --out runs/transfer";

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
  penguin_report(*cells, plan, provenance_of(call, plan.seed, trainer.backend, {{"scale", plan.scale}}),
                 "nasturtium: fitness prediction")
      .write(plan.out);
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

int reproduce_penguin(Invocation const& call)
{
  PenguinPlan asked;
  asked.networks = asked.epochs = 0;
  asked.images = -1;
  DeviceOptions device;
  std::string scale = "smoke";
  bool dry_run = false, as_json = false;
  VerbParser parser("reproduce penguin", "Fitness prediction in three searches (PEng4NN, PENGUIN).", penguin_examples);
  CLI::App& app = parser.app();
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
  app.add_option("--live-searches", asked.live_searches, "Searches that run again with it; all where not given")
      ->delimiter(',')
      ->option_text("NAME,...");
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
  plan.live_searches = asked.live_searches;
  plan.seed = asked.seed;
  plan.data_dir = asked.data_dir;
  plan.out = asked.out.empty() ? "runs/penguin-" + scale : asked.out;
  for (auto const& name : plan.presets)
    predictor::preset(name);
  predictor::preset(plan.live);
  return penguin(plan, device, dry_run, as_json, call);
}

int reproduce_weight_transfer(Invocation const& call)
{
  TransferPlan asked;
  asked.seeds = asked.evaluations = asked.top = 0;
  asked.together_seeds = -1;
  asked.provider.clear();
  DeviceOptions device;
  std::string scale = "smoke";
  std::vector<std::string> tasks;
  double learning_rate = 0;
  bool dry_run = false, as_json = false;
  VerbParser parser("reproduce weight-transfer", "Selective weight transfer in aging evolution (Liu et al. 2021).",
                    transfer_examples);
  CLI::App& app = parser.app();
  app.add_option("--scale", scale, "smoke: a minute; laptop: two cores, hours; node: a GPU; paper: as published")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", asked.out, "Folder of all runs and tables; what is there already is not run again")
      ->type_name("DIR");
  app.add_option("--tasks", tasks, "Of the scale's tasks; a data set may be named with its files, SPACE:cifar10:A:B")
      ->delimiter(',')
      ->option_text("SPACE:DATASET,...");
  app.add_option("--arms", asked.arms, "none and matchers (nasturtium search --help), also MATCHER-frozen, -permuted")
      ->delimiter(',')
      ->option_text("ARM,...");
  app.add_option("--provider", asked.provider, "Who gives its weights")->option_text("parent|nearest|random [parent]");
  app.add_option("--seeds", asked.seeds, "Paired searches of each arm; 0: as the scale has it")->type_name("N");
  app.add_option(
         "--first-seed", asked.first_seed,
         "The first of them: processes with seeds of their own may share --out, and a last call makes the tables")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--evaluations", asked.evaluations, "Candidates of a search; 0: as the scale has it")->type_name("N");
  app.add_option(
         "--together", asked.together_seeds,
         "Seeds of the searches with transfer and prediction together, on the first task; -1: as the scale has it")
      ->type_name("N");
  app.add_option("--top", asked.top, "Candidates that are trained fully; 0: as the scale has it")->type_name("N");
  app.add_option("--learning-rate", learning_rate, "Of evaluations and full training; 0: as the scale has it")
      ->type_name("X");
  app.add_option("--data-dir", asked.data_dir, "Folder to look for data sets first")->type_name("DIR");
  app.add_flag("--dry-run", dry_run, "Print the plan alone");
  app.add_flag("--json", as_json, "The tables as JSON on stdout");
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = transfer_plan(scale);
  require(asked.seeds >= 0 && asked.evaluations >= 0 && asked.top >= 0,
          "--seeds, --evaluations and --top must not be negative");
  require(asked.first_seed >= 1, "--first-seed must be at least 1, got ", asked.first_seed);
  plan.first_seed = asked.first_seed;
  if (asked.seeds > 0) plan.seeds = asked.seeds;
  if (asked.evaluations > 0) plan.evaluations = asked.evaluations;
  if (asked.top > 0) plan.top = asked.top;
  if (asked.together_seeds >= 0) plan.together_seeds = asked.together_seeds;
  if (!asked.arms.empty()) plan.arms = asked.arms;
  if (!asked.provider.empty()) plan.provider = asked.provider;
  if (!tasks.empty()) {
    std::vector<TransferTask> chosen;
    for (auto const& text : tasks) {
      auto const colon = text.find(':');
      require(colon != std::string::npos, "--tasks: ", quoted(text), " is not SPACE:DATASET");
      std::string const space = text.substr(0, colon), dataset = text.substr(colon + 1);
      auto const same = [&](TransferTask const& it) { return it.space == space; };
      auto const found = std::find_if(plan.tasks.begin(), plan.tasks.end(), same);
      chosen.push_back(found == plan.tasks.end() ? plan.tasks.front() : *found);
      chosen.back().space = space;
      chosen.back().dataset = dataset;
    }
    plan.tasks = std::move(chosen);
  }
  require(std::isfinite(learning_rate) && learning_rate >= 0, "--learning-rate must be >= 0, got ", learning_rate);
  if (learning_rate > 0)
    for (auto& task : plan.tasks)
      task.learning_rate = learning_rate;
  plan.data_dir = asked.data_dir;
  plan.out = asked.out.empty() ? "runs/weight-transfer-" + scale : asked.out;
  std::cerr << "plan: " << plan.tasks.size() << " tasks x " << plan.seeds << " seeds x " << plan.arms.size()
            << " arms of " << plan.evaluations << " candidates; the best " << plan.top
            << " of each trained fully; --out " << plan.out << '\n';
  if (dry_run) return exit_success;
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const cells = run_transfer(plan, trainer, call);
  if (!cells) {
    std::cerr << "nasturtium: interrupted; the same command goes on\n";
    return exit_interrupted;
  }
  transfer_report(*cells, plan, provenance_of(call, 1, trainer.backend, {{"scale", plan.scale}})).write(plan.out);
  auto const file = [&](char const* name) { return (fs::path(plan.out) / name).string(); };
  if (as_json) {
    json::Object object;
    object["out"] = plan.out;
    for (char const* const name : {"scores", "full", "controls", "ranks", "overhead"})
      object[name] = read_file(file((std::string(name) + ".csv").c_str()));
    std::cout << json::pretty(object);
  } else {
    std::cout << transfer_scores(*cells, plan).text() << '\n'
              << transfer_full(*cells).text() << "\nTo look at: " << file("index.html") << '\n';
  }
  return exit_success;
}

constexpr char const* estimator_examples =
    "  nasturtium reproduce time-estimator --scale smoke        # a minute\n"
    "  nasturtium reproduce time-estimator --scale laptop --dry-run\n"
    "  nasturtium reproduce time-estimator --scale laptop --seeds 3 --out runs/estimator";

int reproduce_time_estimator(Invocation const& call)
{
  EstimatorPlan asked;
  asked.seeds = asked.networks = asked.pool = asked.tests = 0;
  DeviceOptions device;
  std::string scale = "smoke";
  std::vector<int> devices;
  bool dry_run = false, as_json = false;
  VerbParser parser("reproduce time-estimator",
                    "How long a training step takes, from drawn or evolved networks (Pinel et al.).",
                    estimator_examples);
  CLI::App& app = parser.app();
  app.add_option("--scale", scale, "smoke: a minute; laptop: an hour; node: a GPU; paper: more networks")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", asked.out, "Folder of all timings and tables; what is there already is not timed again")
      ->type_name("DIR");
  app.add_option("--devices", devices, "Thread counts, each a device; strategies run on the first")
      ->delimiter(',')
      ->option_text("N,...");
  app.add_option("--seeds", asked.seeds, "Of each strategy; 0: as the scale has it")->type_name("N");
  app.add_option("--networks", asked.networks, "Of each strategy and seed; 0: as the scale has it")->type_name("N");
  app.add_option("--pool", asked.pool, "Random networks of each device; 0: as the scale has it")->type_name("N");
  app.add_option("--tests", asked.tests, "Random networks to test on; 0: as the scale has it")->type_name("N");
  app.add_option("--seed", asked.seed, "Of everything random")->capture_default_str()->type_name("N");
  app.add_flag("--dry-run", dry_run, "Print the plan alone");
  app.add_flag("--json", as_json, "The tables as JSON on stdout");
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = estimator_plan(scale);
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
  plan.out = asked.out.empty() ? "runs/time-estimator-" + scale : asked.out;
  auto const random = static_cast<std::int64_t>(plan.threads.size()) * (plan.pool + plan.tests) + plan.probes;
  auto const evolved = static_cast<std::int64_t>(plan.arms.size()) * plan.seeds * plan.networks;
  std::cerr << "plan: " << random << " random networks on " << plan.threads.size() << " devices, then "
            << plan.arms.size() << " strategies x " << plan.seeds << " seeds x " << plan.networks
            << " networks = " << evolved << ", steps of at most " << 1e3 * plan.cap_step_seconds << " ms; --out "
            << plan.out << '\n';
  if (dry_run) return exit_success;
  device.threads = *std::max_element(plan.threads.begin(), plan.threads.end());
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const run = run_time_estimator(plan, trainer);
  if (!run) {
    std::cerr << "nasturtium: interrupted; the same command goes on\n";
    return exit_interrupted;
  }
  auto const report = time_estimator_report(*run, plan, trainer,
                                            provenance_of(call, plan.seed, trainer.backend, {{"scale", plan.scale}}));
  report.write(plan.out);
  if (as_json)
    std::cout << json::pretty(report.to_json());
  else
    std::cout << report.find_table("accuracy-short")->text()
              << "\nEvolved training sets, MAPE % on random networks (a), at equal count and equal device seconds:\n\n"
              << report.find_table("strategies-short")->text()
              << "\nTo look at: " << (fs::path(plan.out) / "index.html").string() << '\n';
  return exit_success;
}

constexpr char const* ensembles_examples =
    "  nasturtium reproduce ensembles --scale smoke        # a minute, synthetic images\n"
    "  nasturtium reproduce ensembles --scale laptop --dry-run\n"
    "  nasturtium reproduce ensembles --scale laptop --datasets fashion-mnist --out runs/ensembles";

int reproduce_ensembles(Invocation const& call)
{
  EnsemblesPlan asked;
  asked.seeds = asked.trials = asked.random_trials = asked.most_epochs = 0;
  asked.served = asked.deep = -1;
  DeviceOptions device;
  std::string scale = "smoke";
  std::vector<std::string> datasets;
  bool dry_run = false, as_json = false;
  VerbParser parser("reproduce ensembles",
                    "Searches that fill a library, ensembles of it, plans to serve them (Pochelu et al. 2022).",
                    ensembles_examples);
  CLI::App& app = parser.app();
  app.add_option("--scale", scale, "smoke: a minute; laptop: two cores, hours; node: a GPU; paper: more of it")
      ->option_text("smoke|laptop|node|paper [smoke]");
  app.add_option("--out", asked.out, "Folder of all runs and tables; what is there already is not run again")
      ->type_name("DIR");
  app.add_option("--datasets", datasets, "Of the scale's data sets, or others")
      ->delimiter(',')
      ->option_text("NAME,...");
  app.add_option("--arms", asked.arms, "Searches: asha, asha-loss, asha-stop, sha-sync, hyperband, pasha, random")
      ->delimiter(',')
      ->option_text("ARM,...");
  app.add_option("--seeds", asked.seeds, "Of each search; 0: as the scale has it")->type_name("N");
  app.add_option("--trials", asked.trials, "Of the searches that halve; 0: as the scale has it")->type_name("N");
  app.add_option("--random-trials", asked.random_trials, "Of random search; 0: as the scale has it")->type_name("N");
  app.add_option("--epochs", asked.most_epochs, "Of a network that is trained to the end; 0: as the scale has it")
      ->type_name("N");
  app.add_option("--deep", asked.deep, "Members of the deep ensemble; -1: as the scale has it")->type_name("N");
  app.add_option("--served", asked.served, "Ensembles that are planned and served; -1: as the scale has it")
      ->type_name("N");
  app.add_option("--data-dir", asked.data_dir, "Folder to look for data sets first")->type_name("DIR");
  app.add_flag("--dry-run", dry_run, "Print the plan alone");
  app.add_flag("--json", as_json, "The tables as JSON on stdout");
  device.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  auto plan = ensembles_plan(scale);
  for (auto const& [text, value, target] : {std::tuple{"--seeds", asked.seeds, &plan.seeds},
                                            {"--trials", asked.trials, &plan.trials},
                                            {"--random-trials", asked.random_trials, &plan.random_trials},
                                            {"--epochs", asked.most_epochs, &plan.most_epochs}}) {
    require(value >= 0, text, " must not be negative, got ", value);
    if (value > 0) *target = value;
  }
  if (asked.deep >= 0) plan.deep = asked.deep;
  if (asked.served >= 0) plan.served = asked.served;
  if (!asked.arms.empty()) plan.arms = asked.arms;
  if (!datasets.empty()) {
    std::vector<EnsemblesTask> chosen;
    for (auto const& name : datasets) {
      auto const found = std::find_if(plan.tasks.begin(), plan.tasks.end(),
                                      [&](EnsemblesTask const& it) { return it.dataset == short_name(name); });
      chosen.push_back(found == plan.tasks.end() ? plan.tasks.front() : *found);
      chosen.back().dataset = name;
    }
    plan.tasks = std::move(chosen);
  }
  plan.data_dir = asked.data_dir;
  plan.out = asked.out.empty() ? "runs/ensembles-" + scale : asked.out;
  std::cerr << "plan: " << plan.tasks.size() << " data sets x " << plan.seeds << " seeds x " << plan.arms.size()
            << " searches of about " << plan.random_trials * plan.most_epochs << " epochs, deep ensembles of "
            << plan.deep << "; --out " << plan.out << '\n';
  if (dry_run) return exit_success;
  auto const runtime = device.start(call);
  auto const trainer = device.trainer();
  auto const cells = run_ensembles(plan, trainer, call);
  if (!cells) {
    std::cerr << "nasturtium: interrupted; the same command goes on\n";
    return exit_interrupted;
  }
  auto const report =
      ensembles_report(*cells, plan, trainer, provenance_of(call, 1, trainer.backend, {{"scale", plan.scale}}));
  report.write(plan.out);
  if (as_json)
    std::cout << json::pretty(report.to_json());
  else
    std::cout << report.find_table("search")->text() << '\n'
              << report.find_table("quality")->text()
              << "\nTo look at: " << (fs::path(plan.out) / "index.html").string() << '\n';
  return exit_success;
}

struct Experiment
{
  char const* name;
  int (*run)(Invocation const&);
};
constexpr Experiment experiments[] = {{"penguin", reproduce_penguin},
                                      {"weight-transfer", reproduce_weight_transfer},
                                      {"time-estimator", reproduce_time_estimator},
                                      {"ensembles", reproduce_ensembles}};

} // namespace

int reproduce(Invocation const& call)
{
  for (auto const& experiment : experiments)
    if (!call.arguments.empty() && call.arguments.front() == experiment.name) {
      Invocation inner = call;
      inner.arguments.erase(inner.arguments.begin());
      return experiment.run(inner);
    }
  std::string experiment;
  VerbParser parser("reproduce", "Runs an experiment of a paper: trains, compares, writes tables and a page.",
                    examples);
  parser
      ->add_option(
          "EXPERIMENT", experiment,
          "penguin: fitness prediction in three searches; weight-transfer: starting from earlier weights; "
          "time-estimator: how long a step takes; ensembles: from searches to serving; its own options stand behind it")
      ->required()
      ->option_text("penguin|weight-transfer|time-estimator|ensembles (required)");
  parser->allow_extras();
  if (!parser.parse(call)) return exit_success;
  fail("reproduce: unknown experiment ", quoted(experiment), " (penguin, weight-transfer, time-estimator, ensembles)");
}

} // namespace nasturtium::cli
