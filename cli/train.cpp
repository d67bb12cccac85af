// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium train: one network or a population of them.
#include "run.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/table.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <set>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium train --arch lenet --dataset fashion-mnist --validation 0.1 --epochs 5 --out runs/lenet\n"
    "  nasturtium train --resume runs/lenet\n"
    "  nasturtium train --arch cnn2 --dataset fashion-mnist --seeds 1,2,3 --policy one_per_core --out runs/cnn2\n"
    "  nasturtium train --arch my.json --dataset hdf5:data.h5 --init-weights w.h5 --order sequential --steps 50 \\\n"
    "      --log-steps steps.csv --export-weights trained.h5 --precision float64";

struct Options
{
  DeviceOptions device;
  DataChoice data;
  nn::TrainOptions training;
  std::vector<std::string> architectures;
  std::vector<std::uint64_t> seeds;
  nn::PopulationPolicy policy = nn::PopulationPolicy::one_after_another;
  std::string out, resume, initial_weights;
  RunRequest request;
  bool json = false;
};

// A name for a folder: letters, digits, '-', '_' and '.', and none twice.
std::string make_id(nn::spec::Architecture const& architecture, std::string const& source, std::uint64_t seed,
                    std::set<std::string>& taken)
{
  std::string base = architecture.name.empty() ? std::filesystem::path(source).stem().string() : architecture.name;
  for (char& c : base)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  if (base.empty() || base.front() == '.') base = "net" + base;
  base = concat(base.substr(0, 100), "-s", seed);
  std::string id = base;
  for (int i = 2; !taken.insert(id).second; ++i)
    id = concat(base, "-", i);
  return id;
}

RunConfig make_config(Options& options, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                      bool epochs_given)
{
  RunConfig config;
  config.data = options.data;
  config.data_checksum = dataset.checksum;
  config.backend = trainer.backend;
  config.policy = options.policy;
  require(dataset.train.count > 0, options.data.dataset, ": has no training samples");
  if (options.training.max_steps > 0 && !epochs_given) { // as many epochs as the steps need
    std::int64_t const batches = (dataset.train.count + options.training.batch_size - 1) / options.training.batch_size;
    options.training.epochs = static_cast<int>((options.training.max_steps + batches - 1) / batches);
  }
  require(options.training.early_stopping_patience == 0 || dataset.validation.count > 0, "--patience ",
          options.training.early_stopping_patience, " needs a validation split (--validation FRACTION takes one)");
  if (options.seeds.empty()) options.seeds.push_back(options.training.seed);
  std::set<std::string> taken;
  for (auto const& source : options.architectures) {
    auto const architecture = nn::spec::load_architecture(source);
    nn::spec::infer(architecture, source);
    check_fits(architecture, dataset, source);
    for (auto const seed : options.seeds) {
      RunCandidate candidate{make_id(architecture, source, seed, taken), architecture, options.training};
      candidate.options.seed = seed;
      config.candidates.push_back(std::move(candidate));
    }
  }
  if (!options.initial_weights.empty()) {
    config.initial_weights = std::filesystem::absolute(options.initial_weights).string();
    auto const weights = nn::load_weights(options.initial_weights);
    for (auto const& candidate : config.candidates)
      nn::check_weights(weights, candidate.architecture, false, options.initial_weights);
    config.initial_weights_checksum = sha256_file(options.initial_weights);
  }
  return config;
}

Cell percent(double accuracy)
{
  return std::isfinite(accuracy) ? Cell(100 * accuracy) : Cell();
}

Cell number(double value)
{
  return std::isfinite(value) ? Cell(value) : Cell();
}

void print_table(RunResult const& result, bool classes)
{
  bool validated = false, tested = false;
  for (auto const& outcome : result.outcomes) {
    validated = validated || std::isfinite(outcome.validation_loss);
    tested = tested || std::isfinite(outcome.test_loss);
  }
  std::vector<Column> columns{{"candidate"}, {"parameters"}, {"epochs"}, {"train loss", 4}};
  if (classes) columns.push_back({"train %", 2});
  if (validated) columns.push_back(classes ? Column{"valid %", 2} : Column{"valid loss", 4});
  if (tested) columns.push_back(classes ? Column{"test %", 2} : Column{"test loss", 4});
  columns.insert(columns.end(), {{"seconds", 1}, {"images/s", 0}, {"status"}});
  Table table(columns);
  for (auto const& outcome : result.outcomes) {
    std::vector<Cell> row{outcome.id, outcome.parameters, number(outcome.epochs), number(outcome.train_loss)};
    if (classes) row.push_back(percent(outcome.train_accuracy));
    if (validated) row.push_back(classes ? percent(outcome.validation_accuracy) : number(outcome.validation_loss));
    if (tested) row.push_back(classes ? percent(outcome.test_accuracy) : number(outcome.test_loss));
    row.insert(row.end(), {outcome.seconds, number(outcome.images_per_second), nn::name(outcome.status)});
    table.add_row(std::move(row));
  }
  std::cout << table.text();
}

void print_json(RunResult const& result, RunConfig const& config, RunDirectory const* directory,
                datasets::Dataset const& dataset)
{
  json::Object object;
  object["run"] = directory ? json::Value(directory->path()) : json::Value(nullptr);
  object["interrupted"] = result.interrupted;
  object["dataset"] = {{"name", dataset.name},
                       {"checksum", dataset.checksum},
                       {"train", dataset.train.count},
                       {"validation", dataset.validation.count},
                       {"test", dataset.test.count}};
  object["backend"] = nn::name(config.backend);
  json::Array candidates;
  for (std::size_t i = 0; i < result.outcomes.size(); ++i) {
    json::Object entry = to_json(result.outcomes[i]).as_object();
    if (directory && result.outcomes[i].finished() && !result.outcomes[i].failed())
      entry["weights"] = directory->file(i, "weights.h5");
    candidates.push_back(std::move(entry));
  }
  object["candidates"] = std::move(candidates);
  std::cout << json::pretty(object);
}

int finish(RunResult const& result, RunConfig const& config, RunDirectory const* directory,
           datasets::Dataset const& dataset, bool as_json)
{
  if (as_json)
    print_json(result, config, directory, dataset);
  else if (!result.interrupted)
    print_table(result, dataset.classes > 0);
  bool all_failed = true;
  for (auto const& outcome : result.outcomes) {
    if (outcome.finished() && !outcome.reason.empty() && outcome.status != nn::Status::completed)
      std::cerr << "nasturtium: " << outcome.id << ": " << nn::name(outcome.status) << ": " << outcome.reason << '\n';
    all_failed = all_failed && outcome.failed();
  }
  if (result.interrupted) {
    if (directory)
      std::cerr << "nasturtium: interrupted; go on with: nasturtium train --resume " << directory->path() << '\n';
    else
      std::cerr << "nasturtium: interrupted; nothing was kept (with --out a run can be resumed)\n";
    return exit_interrupted;
  }
  return all_failed ? exit_failure : exit_success;
}

int resume(Options const& options, Invocation const& call, bool policy_given)
{
  auto const runtime = options.device.start(call);
  auto directory = RunDirectory::open(options.resume);
  directory.check_unchanged();
  RunConfig const& config = directory.config();
  auto trainer = options.device.trainer();
  require(options.device.backend.empty() || trainer.backend == config.backend, options.resume,
          ": was begun with --backend ", nn::name(config.backend), "; another one would not end with the same bits");
  trainer.backend = config.backend;
  trainer.policy = policy_given ? options.policy : config.policy;
  DataChoice data = config.data;
  if (!options.data.data_dir.empty()) data.data_dir = options.data.data_dir;
  auto const dataset = data.load();
  require(dataset.checksum == config.data_checksum, data.dataset,
          ": is not the data set that the run was begun with (checksum ", dataset.checksum, ", was ",
          config.data_checksum, ")");
  if (interrupted()) return exit_interrupted;
  auto const result = run(config, &directory, dataset, trainer, options.request);
  return finish(result, config, &directory, dataset, options.json);
}

} // namespace

int train(Invocation const& call)
{
  Options options;
  VerbParser parser("train", "Trains one network, or a population of them, on a data set.", examples);
  CLI::App& app = parser.app();
  app.add_option("--arch", options.architectures,
                 "Architecture: a JSON file or a network of the zoo (nasturtium info); several make a population")
      ->type_name("FILE|NAME")
      ->expected(1, -1)
      ->option_text("FILE|NAME ...");
  app.add_option("--out", options.out, "Folder of the run: config, journal, curves, checkpoint, weights, ONNX")
      ->type_name("DIR");
  app.add_option("--resume", options.resume,
                 "Go on with a run that was interrupted or killed; ends bitwise as if it had not been")
      ->type_name("DIR");
  app.add_flag("--json", options.json, "The result as JSON on stdout");
  options.data.add_to(app);
  add_training_options(app, options.training);
  std::string group = "Population";
  app.add_option("--seeds", options.seeds, "Train every architecture once with each of these seeds")
      ->delimiter(',')
      ->option_text("N,N,...")
      ->group(group);
  auto* const policy =
      add_choice<nn::PopulationPolicy>(
          app, "--policy", options.policy, population_policies(),
          "How candidates share the machine: each with all threads in turn, each on one core, or several at once in "
          "turns of some steps (on a GPU: on streams); changes no result")
          ->option_text("one_after_another|one_per_core|interleaved|fused")
          ->group(group);
  group = "Comparison with other frameworks";
  app.add_option("--init-weights", options.initial_weights,
                 "Start from these weights (HDF5); nodes that it lacks start from the seed")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--log-steps", options.request.log_steps,
                 "CSV of the loss of every step, 17 digits; one candidate only")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--export-weights", options.request.export_weights,
                 "Write the last weights (HDF5); one candidate only")
      ->type_name("FILE")
      ->group(group);
  options.device.add_to(app);
  if (!parser.parse(call)) return exit_success;

  catch_interrupts();
  if (!options.resume.empty()) {
    refuse_beside_resume(app, {"policy"});
    return resume(options, call, policy->count() > 0);
  }
  require(app.get_option("--out")->count() == 0 || !options.out.empty(), "--out wants the name of a folder");
  require(options.request.log_steps.empty() || options.request.export_weights.empty() ||
              std::filesystem::absolute(options.request.log_steps).lexically_normal() !=
                  std::filesystem::absolute(options.request.export_weights).lexically_normal(),
          "--log-steps and --export-weights both name ", options.request.log_steps);
  require(!options.architectures.empty(), "--arch is required (or --resume; nasturtium train --help)");
  nn::check(options.training);
  auto const runtime = options.device.start(call);
  auto trainer = options.device.trainer();
  trainer.policy = options.policy;
  for (auto const& source : options.architectures)
    nn::spec::infer(nn::spec::load_architecture(source), source); // before long reading
  auto const dataset = options.data.load();
  auto const config = make_config(options, dataset, trainer, app.get_option("--epochs")->count() > 0);
  bool const one = config.candidates.size() == 1;
  if (!options.request.log_steps.empty()) {
    require(one, "--log-steps wants one candidate, not ", config.candidates.size());
    check_writable(options.request.log_steps, "--log-steps");
  }
  if (!options.request.export_weights.empty()) {
    require(one, "--export-weights wants one candidate, not ", config.candidates.size());
    check_writable(options.request.export_weights, "--export-weights");
  }
  if (interrupted()) return exit_interrupted;
  options.request.label = one ? config.candidates.front().id : concat(config.candidates.size(), " candidates");
  std::optional<RunDirectory> directory;
  if (!options.out.empty())
    directory.emplace(
        RunDirectory::create(options.out, config,
                             provenance_of(call, config.candidates.front().options.seed, trainer.backend,
                                           {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}})));
  auto const result = run(config, directory ? &*directory : nullptr, dataset, trainer, options.request);
  return finish(result, config, directory ? &*directory : nullptr, dataset, options.json);
}

} // namespace nasturtium::cli
