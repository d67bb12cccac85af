// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs the experiment; ensembles_report.cpp says what came out.
#include "ensembles.hpp"

#include "serving_contest.hpp"
#include "serving_timeline.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/ensemble/deployment.hpp>
#include <nasturtium/ensemble/front_report.hpp>
#include <nasturtium/ensemble/profiling.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
using namespace ensemble;

constexpr char const* library_arm = "asha";
constexpr int inference_batch = 128;

/// What an arm's name stands for.
nas::HalvingSettings settings_of(std::string const& arm, EnsemblesPlan const& plan, int seed)
{
  nas::HalvingSettings settings;
  settings.most_epochs = plan.most_epochs;
  settings.trials = plan.trials;
  settings.seed = static_cast<std::uint64_t>(seed);
  if (arm == library_arm) {
    settings.rank = nas::RankRule::stratified;
  } else if (arm == "random") {
    settings.preset = nas::HalvingPreset::random_full;
    settings.trials = plan.random_trials;
  } else if (arm == "hyperband") {
    settings.preset = nas::HalvingPreset::hyperband;
    settings.trials = 0;
  } else if (arm != "asha-loss") {
    settings.preset = nas::parse_halving_preset(arm, "--arms");
  }
  return settings;
}

nas::HalvingSearchConfig config_of(EnsemblesTask const& task, EnsemblesPlan const& plan, std::string const& arm,
                                   int seed, datasets::Dataset const& dataset, DataChoice const& data,
                                   nn::BackendKind backend)
{
  nas::HalvingSearchConfig config;
  config.halving = settings_of(arm, plan, seed);
  config.space = task.space;
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes};
  config.keep_all = arm == library_arm;
  config.backend = backend;
  config.data = to_json(data);
  config.data_checksum = dataset.checksum;
  return config;
}

/// `data` says what was loaded; nothing where it is not there.
std::optional<datasets::Dataset> load_data(EnsemblesTask const& task, EnsemblesPlan const& plan, DataChoice& data)
{
  data.dataset = task.dataset;
  data.data_dir = plan.data_dir;
  data.validation = task.validation;
  data.subset = task.images;
  data.test_subset = task.test_images;
  return data.load_or_leave_out();
}

ModelLibrary library_at(std::string const& path, datasets::Dataset const& dataset, HeldOut const& held_out)
{
  return ModelLibrary::create(path, splits_of(dataset, held_out));
}

/// Trial of the network with the least loss; -1: none.
int best_trial(ModelLibrary const& library)
{
  int best = -1;
  double least = std::numeric_limits<double>::infinity();
  for (auto const& model : library.list())
    if (model.loss < least) {
      least = model.loss;
      best = static_cast<int>(parse_integer(model.id.substr(1, model.id.find('-') - 1)).value_or(-1));
    }
  return best;
}

/// The best network trained with other seeds: a deep ensemble ("Simple and scalable predictive uncertainty estimation
/// using deep ensembles", Lakshminarayanan et al., NeurIPS 2017). False where Ctrl-C ended it.
bool train_deep_ensemble(ModelLibrary& deep, nas::HalvingSearchConfig const& config, int trial, int members,
                         datasets::Dataset const& dataset, HeldOut const& held_out, nn::TrainerOptions const& trainer,
                         std::string const& label)
{
  auto const configuration = nas::ResidualSpace(config.space, config.task).sample(config.halving.seed, trial);
  Progress progress(label, members, "trainings");
  for (int member = 0; member < members; ++member) {
    LibraryModel model;
    model.id = concat("deep-", member + 1);
    std::vector<LibraryModel> const there = deep.list();
    bool const done = std::any_of(there.begin(), there.end(), [&](auto const& it) { return it.id == model.id; });
    if (!done) {
      nn::Candidate candidate;
      candidate.architecture = configuration.architecture;
      candidate.options = configuration.options;
      candidate.options.epochs = config.halving.most_epochs;
      candidate.options.seed += static_cast<std::uint64_t>(1000 * member);
      auto const trained = nn::train(trainer, std::span(&candidate, 1), dataset, [] { return interrupted(); }).front();
      if (trained.status == nn::Status::interrupted) return false;
      require(trained.status == nn::Status::completed, label, ": ", trained.reason);
      model.epochs = config.halving.most_epochs;
      model.seed = candidate.options.seed;
      publish_trained(deep, trainer, model, candidate.architecture, *trained.weights, dataset, held_out,
                      inference_batch);
    }
    progress.set(member + 1);
  }
  return true;
}

/// Members of an entry, ready to serve.
std::vector<ServedModel> served_models(ModelLibrary const& library, ReportEntry const& entry)
{
  std::vector<ServedModel> models;
  for (auto const& member : entry.members)
    models.push_back(load_member(library, member.id, member.weight));
  return models;
}

/// Entries of several members over the whole front, `count` of them.
std::vector<std::size_t> entries_to_serve(FrontReport const& front, int count)
{
  std::vector<std::size_t> several, chosen;
  for (std::size_t i = 0; i < front.entries.size(); ++i)
    if (front.entries[i].members.size() > 1) several.push_back(i);
  auto const wanted = std::min(several.size(), static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < wanted; ++i)
    chosen.push_back(several[wanted == 1 ? several.size() - 1 : i * (several.size() - 1) / (wanted - 1)]);
  return chosen;
}

/// Plans some ensembles of a library and measures them against the baselines. False where Ctrl-C ended it.
bool serve(EnsemblesCell& cell, std::string const& path, EnsemblesPlan const& plan, datasets::Dataset const& dataset,
           nn::TrainerOptions const& trainer)
{
  auto const library = ModelLibrary::open(path);
  auto const pool = library.load_pool();
  SelectionOptions selection;
  selection.cost_axis = "flops";
  selection.device = trainer;
  auto const front = make_report(pool, "front", select(pool, "front", selection), selection);
  auto const devices = serving_devices("", trainer.backend);
  SampleImages const images(dataset, plan.serve_samples);
  nn::InputMoments const moments{dataset.mean, dataset.deviation};
  std::optional<Table> table;
  auto const chosen = entries_to_serve(front, plan.served);
  Progress progress(cell.name + " serving", static_cast<std::int64_t>(chosen.size()), "ensembles");
  for (std::size_t const number : chosen) {
    auto const models = served_models(library, front.entries[number]);
    auto const problem = measure_profile(models, devices);
    auto const answer = plan_allocation(problem);
    require(!answer.plans.empty(), cell.name, ": ", answer.explanation);
    auto contenders = serving_plans(problem, answer, 0);
    auto const baselines = serving_baselines(problem, contenders.front().segment_size);
    contenders.insert(contenders.end(), baselines.begin(), baselines.end());
    if (!run_contest(contenders, models, devices, moments, images.view(), plan.serve_rounds,
                     [] { return interrupted(); }))
      return false;
    auto const rows = serving_table(contenders);
    if (!table) {
      std::vector<Column> columns{{"ensemble"}, {"models"}};
      columns.insert(columns.end(), rows.columns().begin(), rows.columns().end());
      table.emplace(columns);
    }
    for (auto const& row : rows.rows()) {
      std::vector<Cell> cells{static_cast<std::int64_t>(number + 1), static_cast<std::int64_t>(models.size())};
      cells.insert(cells.end(), row.begin(), row.end());
      table->add_row(std::move(cells));
    }
    cell.matrix = matrix_table(answer.plans.front());
    cell.timeline = serving_timeline(models, devices, contenders.front().plan, moments, contenders.front().segment_size,
                                     images.view());
    progress.advance();
  }
  cell.serving = table;
  return true;
}

/// As serve, but what was measured in an earlier call is read.
bool serve_once(EnsemblesCell& cell, std::string const& folder, EnsemblesPlan const& plan,
                datasets::Dataset const& dataset, nn::TrainerOptions const& trainer)
{
  std::string const file = (fs::path(folder) / "serving.json").string();
  if (is_file(file)) {
    json::Value const value = json::parse_file(file);
    json::Reader reader(value, file);
    json::check_format(reader, "nasturtium-serving", 1);
    cell.serving = parse_table(reader.value("serving"), file);
    cell.matrix = parse_table(reader.value("matrix"), file);
    if (reader.has("timeline")) cell.timeline = parse_table(reader.value("timeline"), file);
    reader.finish();
    return true;
  }
  if (!serve(cell, cell.libraries.front(), plan, dataset, trainer)) return false;
  if (!cell.serving) return true; // no ensemble of several models
  json::Object object;
  object["format"] = "nasturtium-serving";
  object["version"] = 1;
  object["serving"] = to_json(*cell.serving);
  object["matrix"] = to_json(*cell.matrix);
  object["timeline"] = to_json(*cell.timeline);
  write_file(file, json::pretty(object));
  return true;
}

} // namespace

EnsemblesPlan ensembles_plan(std::string const& scale)
{
  EnsemblesPlan plan;
  plan.scale = scale;
  plan.arms = {"asha", "asha-loss", "asha-stop", "sha-sync", "hyperband", "random"};
  if (scale == "smoke") {
    plan.arms = {"asha", "asha-loss", "random"};
    plan.tasks = {{"synthetic:count=700:test=300:height=12:width=12:classes=8:noise=64", "residual-narrow", 0, 0, 0.4}};
  } else if (scale == "laptop") {
    plan.tasks = {{"fashion-mnist", "residual-narrow", 5000, 2000, 0.4},
                  {"cifar100", "residual-narrow", 8000, 2000, 0.25}};
    plan.seeds = 5;
    plan.trials = 100;
    plan.random_trials = 12;
    plan.most_epochs = 27;
    plan.deep = 5;
    plan.pool = 14;
    plan.served = 5;
    plan.serve_samples = 32768;
    plan.serve_rounds = 7;
    plan.planner_seeds = 200;
  } else if (scale == "node" || scale == "paper") {
    bool const whole = scale == "paper";
    plan.tasks = {{"fashion-mnist", "residual", whole ? 0 : 20000, 0, 0.2},
                  {"cifar100", "residual", whole ? 0 : 20000, 0, 0.2}};
    plan.seeds = 5;
    plan.trials = whole ? 1000 : 300;
    plan.random_trials = whole ? 45 : 15;
    plan.most_epochs = whole ? 81 : 27;
    plan.deep = whole ? 8 : 5;
    plan.pool = 14;
    plan.served = 8;
    plan.serve_samples = 65536;
    plan.serve_rounds = 20;
    plan.planner_seeds = 200;
  } else {
    fail("--scale must be smoke, laptop, node or paper, got ", quoted(scale));
  }
  return plan;
}

std::vector<PlannedTraining> ensembles_work(EnsemblesPlan const& plan)
{
  std::vector<PlannedTraining> work;
  for (auto const& task : plan.tasks) {
    DataChoice data;
    auto const dataset = load_data(task, plan, data);
    if (!dataset) continue;
    PlannedTraining kind;
    kind.name =
        concat(task.space, " on ", short_name(task.dataset), ", ", plan.seeds, " seeds x ", plan.arms.size(),
               " searches of about ", plan.random_trials * plan.most_epochs, " epochs, a deep ensemble of ", plan.deep);
    nas::ResidualSpace const space(task.space,
                                   {{dataset->height, dataset->width, dataset->channels}, dataset->classes});
    for (int trial = 0; trial < 12; ++trial) {
      auto const it = space.sample(1, trial);
      kind.sample.push_back({it.architecture, it.options.batch_size, estimator::Optimiser::adam});
    }
    for (auto const& arm : plan.arms) {
      auto const expected = nas::plan(settings_of(arm, plan, 1));
      kind.networks += plan.seeds * static_cast<double>(expected.trials);
      kind.epochs += plan.seeds * static_cast<double>(expected.epochs);
      // Checkpoints with their moments; the library's copy of the weights.
      kind.files +=
          plan.seeds * static_cast<double>(arm == library_arm ? 4 * expected.checkpoints : 3 * expected.trials);
    }
    kind.networks += plan.deep;
    kind.epochs += plan.deep * plan.most_epochs;
    kind.images = static_cast<double>(dataset->train.count);
    work.push_back(std::move(kind));
  }
  return work;
}

std::optional<std::vector<EnsemblesCell>> run_ensembles(EnsemblesPlan const& plan, nn::TrainerOptions const& trainer,
                                                        Invocation const& call)
{
  for (auto const& arm : plan.arms)
    nas::check(settings_of(arm, plan, 1)); // bad names are told before anything is trained
  require(std::count(plan.arms.begin(), plan.arms.end(), library_arm) == 1, "--arms: ", library_arm,
          " must be one of them, for the library is its");
  std::vector<EnsemblesCell> cells;
  for (auto const& task : plan.tasks) {
    DataChoice data;
    auto const dataset = load_data(task, plan, data);
    if (!dataset) continue;
    auto const held_out = split_held_out(*dataset, held_out_seed);
    EnsemblesCell cell;
    cell.name = short_name(task.dataset);
    cell.task = task;
    std::string const place = (fs::path(plan.out) / cell.name).string();
    std::optional<nas::HalvingSearchConfig> first; // of the library's arm
    for (int seed = 1; seed <= plan.seeds; ++seed)
      for (auto const& arm : plan.arms) {
        auto const config = config_of(task, plan, arm, seed, *dataset, data, trainer.backend);
        if (arm == library_arm && !first) first = config;
        std::string const path = (fs::path(place) / concat("seed-", seed) / arm).string();
        create_directories(fs::path(path).parent_path().string());
        auto folder = nas::HalvingFolder::open_or_create(
            path, config,
            provenance_of(call, config.halving.seed, trainer.backend,
                          {{"dataset", dataset->name}, {"dataset_checksum", dataset->checksum}}));
        std::optional<ModelLibrary> library;
        std::optional<HalvingLibrary> filler;
        if (arm == library_arm) {
          cell.libraries.push_back(folder.file("library"));
          library = library_at(cell.libraries.back(), *dataset, held_out);
          filler.emplace(*library, *dataset, held_out, trainer);
        }
        HalvingWatcher watcher(concat(cell.name, " seed ", seed, " ", arm), folder.config(),
                               filler ? &*filler : nullptr);
        auto const result = nas::run_halving(folder, *dataset, trainer, watcher, [] { return interrupted(); });
        watcher.finish();
        if (result.interrupted) return std::nullopt;
        cell.runs.push_back(
            {arm, seed, static_cast<std::int64_t>(result.trials.size()), result.epochs, watcher.moments()});
      }
    int const trial = best_trial(ModelLibrary::open(cell.libraries.front()));
    if (plan.deep > 0 && trial >= 0) {
      cell.deep = (fs::path(place) / "deep").string();
      auto deep = library_at(cell.deep, *dataset, held_out);
      if (!train_deep_ensemble(deep, *first, trial, plan.deep, *dataset, held_out, trainer, cell.name + " deep"))
        return std::nullopt;
    }
    if (plan.served > 0 && !serve_once(cell, place, plan, *dataset, trainer)) return std::nullopt;
    cells.push_back(std::move(cell));
  }
  require(!cells.empty(), "none of the data sets is there (nasturtium datasets list tells how to get them)");
  return cells;
}

} // namespace nasturtium::cli
