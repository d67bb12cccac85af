// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium ensemble search: successive halving that fills a library of models.
#include "ensemble.hpp"
#include "ensemble_library.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium ensemble search --dataset fashion-mnist --subset 5000 --validation 0.2 --space residual-narrow \\\n"
    "      --trials 60 --out runs/library\n"
    "  nasturtium ensemble search --resume runs/library\n"
    "  nasturtium ensemble search --dataset synthetic --validation 0.2 --trials 200 --dry-run";

struct Options
{
  DeviceOptions device;
  DataChoice data;
  nas::HalvingSearchConfig config;
  std::string out, resume, preset, rank, objective = "loss", logits = "float16";
  double quota_gigabytes = 0;
  bool last_only = false, dry_run = false, json = false;
};

/// Bytes of the checkpoint of a network of this space: the mean of some.
double checkpoint_bytes(nas::HalvingSearchConfig const& config)
{
  constexpr int some = 50;
  constexpr double values_per_parameter = 3; // weights and up to two moments of the optimiser
  nas::ResidualSpace const space(config.space, config.task);
  double parameters = 0;
  for (int trial = 0; trial < some; ++trial)
    parameters +=
        static_cast<double>(nn::spec::infer(space.sample(config.halving.seed, trial).architecture).parameter_count);
  return values_per_parameter * sizeof(float) * parameters / some;
}

void print_plan(nas::HalvingSearchConfig const& config, ensemble::LibrarySplits const& splits,
                ensemble::LogitPrecision precision)
{
  auto const plan = nas::plan(config.halving);
  auto const logits = ensemble::ModelLibrary::logit_bytes(splits, precision, plan.checkpoints);
  std::cerr << plan.text(checkpoint_bytes(config)) << "library: " << grouped(plan.checkpoints)
            << " models at most, their predictions of " << grouped(static_cast<std::int64_t>(splits.select.size()))
            << " + " << grouped(static_cast<std::int64_t>(splits.check.size())) << " + "
            << grouped(static_cast<std::int64_t>(splits.test.size())) << " samples take "
            << fixed(static_cast<double>(logits) / 1e6, 1) << " MB\n";
}

Table best_models(std::vector<ensemble::LibraryModel> models, std::size_t count)
{
  std::stable_sort(models.begin(), models.end(), [](auto const& a, auto const& b) { return a.loss < b.loss; });
  Table table({{"model"}, {"state"}, {"epochs"}, {"loss", 4}, {"parameters"}, {"MFLOP", 3}});
  for (std::size_t i = 0; i < std::min(count, models.size()); ++i) {
    auto const& it = models[i];
    table.add_row({it.id, it.paused ? "paused" : "complete", it.epochs, it.loss, it.parameters, it.flops / 1e6});
  }
  return table;
}

int run(nas::HalvingFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
        Options const& options)
{
  auto const held_out = ensemble::split_held_out(dataset, held_out_seed);
  auto const precision =
      options.logits == "float32" ? ensemble::LogitPrecision::float32 : ensemble::LogitPrecision::float16;
  std::string const path = folder.file("library");
  auto library = ensemble::ModelLibrary::exists(path)
                     ? ensemble::ModelLibrary::open(path)
                     : ensemble::ModelLibrary::create(path, ensemble::splits_of(dataset, held_out), precision);
  print_plan(folder.config(), library.splits(), library.precision());
  ensemble::HalvingLibrary filler(library, dataset, held_out, trainer);
  HalvingWatcher watcher("search", folder.config(), &filler);
  Stopwatch const clock;
  auto const result = nas::run_halving(folder, dataset, trainer, watcher, [] { return interrupted(); });
  watcher.finish();
  ensemble::Eviction eviction;
  if (options.quota_gigabytes > 0) eviction = library.evict(std::llround(1e9 * options.quota_gigabytes), "flops", {});
  auto const models = library.list();
  if (options.json) {
    json::Object object;
    object["run"] = folder.path();
    object["library"] = path;
    object["interrupted"] = result.interrupted;
    object["trials"] = static_cast<std::int64_t>(result.trials.size());
    object["epochs"] = result.epochs;
    object["models"] = static_cast<std::int64_t>(models.size());
    object["evicted"] = static_cast<std::int64_t>(eviction.ids.size());
    object["seconds"] = clock.seconds();
    std::cout << json::pretty(object);
  }
  if (!eviction.reason.empty()) std::cerr << "nasturtium: " << eviction.reason << '\n';
  if (!eviction.ids.empty())
    std::cerr << "nasturtium: " << eviction.ids.size() << " models were removed to keep the quota\n";
  if (result.interrupted) {
    std::cerr << "nasturtium: interrupted; go on with: nasturtium ensemble search --resume " << folder.path() << '\n';
    return exit_interrupted;
  }
  if (!options.json) {
    std::cout << best_models(models, 10).text() << '\n'
              << models.size() << " models of " << result.trials.size() << " trials after " << grouped(result.epochs)
              << " epochs; trained to the end, the trials would have taken "
              << grouped(static_cast<std::int64_t>(result.trials.size()) * folder.config().halving.most_epochs)
              << ".\nNext: nasturtium ensemble select " << folder.path() << '\n';
  }
  return models.empty() ? exit_failure : exit_success;
}

int resume(Options& options, Invocation const& call)
{
  auto const runtime = options.device.start(call);
  auto folder = nas::HalvingFolder::open(options.resume);
  auto const& config = folder.config();
  auto trainer = options.device.trainer();
  require(options.device.backend.empty() || trainer.backend == config.backend, options.resume,
          ": was begun with --backend ", nn::name(config.backend), "; another one would not end with the same bits");
  trainer.backend = config.backend;
  auto const dataset = load_data_of(config, options.resume, options.data.data_dir);
  return run(folder, dataset, trainer, options);
}

} // namespace

int ensemble_search(Invocation const& call)
{
  Options options;
  auto& config = options.config;
  auto& halving = config.halving;
  halving.rank = nas::RankRule::stratified;
  halving.trials = 60;
  options.preset = nas::name(halving.preset);
  options.rank = nas::name(halving.rank);
  VerbParser parser("ensemble search", "Trains many networks a little, the best of them more; all stay in a library.",
                    examples);
  CLI::App& app = parser.app();
  app.add_option("--preset", options.preset,
                 "Who goes on when: asha-promote, asha-stop, sha-sync, hyperband, pasha, random-full (docs/halving.md)")
      ->option_text("NAME [asha-promote]");
  app.add_option("--rank", options.rank, "What is better: by loss; by fronts in loss and cost; by loss in cost thirds")
      ->option_text("loss|nondominated|stratified [stratified]");
  app.add_option("--trials", halving.trials, "Configurations; 0 with hyperband: one pass over its brackets")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--epochs", halving.most_epochs, "R: of a network that is trained to the end")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--least-epochs", halving.least_epochs, "r: of the lowest rung")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--eta", halving.eta, "One of so many goes on to the next rung")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--brackets", halving.brackets, "asha: bracket s begins at rung s")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--space", config.space, "Networks and how they are trained (docs/halving.md)")
      ->option_text("residual|residual-narrow [residual]");
  app.add_option("--objective", options.objective, "Of the validation split")->option_text("loss|error [loss]");
  app.add_option("--seed", halving.seed, "Of the configurations")->capture_default_str()->type_name("N");
  app.add_option("--workers", config.workers,
                 "Networks that are trained side by side, with a thread each (on a GPU: a stream each)")
      ->capture_default_str()
      ->type_name("N");
  app.add_option("--logits", options.logits, "Precision of the predictions in the library")
      ->option_text("float16|float32 [float16]");
  app.add_option("--quota", options.quota_gigabytes, "Of the library, in GB, kept at the end; 0: none")
      ->type_name("GB");
  app.add_flag("--last-only", options.last_only, "Keep the last checkpoint of a trial alone");
  app.add_option("--out", options.out, "Folder of the search; its library is DIR/library")->type_name("DIR");
  app.add_option("--resume", options.resume, "Go on with this search; all else stands in its folder")->type_name("DIR");
  app.add_flag("--dry-run", options.dry_run, "Print the plan alone");
  app.add_flag("--json", options.json, "Print the result as JSON on stdout");
  options.device.add_to(app);
  options.data.add_to(app);
  if (!parser.parse(call)) return exit_success;
  catch_interrupts();
  require(options.logits == "float16" || options.logits == "float32", "--logits must be float16 or float32, got ",
          quoted(options.logits));
  require(std::isfinite(options.quota_gigabytes) && options.quota_gigabytes >= 0 && options.quota_gigabytes < 1e9,
          "--quota must be >= 0, got ", options.quota_gigabytes);
  if (!options.resume.empty()) {
    refuse_beside_resume(app, {"--quota"});
    return resume(options, call);
  }
  halving.preset = nas::parse_halving_preset(options.preset, "--preset");
  halving.rank = nas::parse_rank_rule(options.rank, "--rank");
  require(options.objective == "loss" || options.objective == "error", "--objective must be loss or error, got ",
          quoted(options.objective));
  config.objective = options.objective == "loss" ? nas::HalvingObjective::loss : nas::HalvingObjective::error;
  config.keep_all = !options.last_only;
  auto const trainer = options.device.trainer();
  config.backend = trainer.backend;
  auto const dataset = options.data.load();
  require(dataset.classes > 0, dataset.name, ": an ensemble search needs classes");
  auto const splits = ensemble::splits_of(dataset, ensemble::split_held_out(dataset, held_out_seed));
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes};
  config.data = to_json(options.data);
  config.data_checksum = dataset.checksum;
  nas::check(config);
  if (options.dry_run) {
    print_plan(config, splits,
               options.logits == "float32" ? ensemble::LogitPrecision::float32 : ensemble::LogitPrecision::float16);
    return exit_success;
  }
  require(!options.out.empty(), "--out is required (or --dry-run)");
  auto const runtime = options.device.start(call);
  if (interrupted()) return exit_interrupted;
  auto folder =
      nas::HalvingFolder::create(options.out, config,
                                 provenance_of(call, halving.seed, trainer.backend,
                                               {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}}));
  return run(folder, dataset, trainer, options);
}

} // namespace nasturtium::cli
