// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium search: an algorithm looks for good networks in a space, a prediction engine stops the hopeless ones.
#include "program.hpp"
#include "training_cost.hpp"
#include "training_options.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/progress.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/search.hpp>
#include <nasturtium/nn/weights.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <optional>
#include <set>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium search --space nsga-net --algorithm nsga-net --dataset fashion-mnist --subset 4000 --validation 0.25 "
    "\\\n"
    "      --predictor penguin --epochs 20 --evaluations 60 --out runs/search\n"
    "  nasturtium search --resume runs/search\n"
    "  nasturtium search --space evocnn --algorithm random --predictor none --dataset synthetic --validation 0.2 \\\n"
    "      --epochs 5 --evaluations 10 --out runs/random";

struct Options
{
  DeviceOptions device;
  DataChoice data;
  nas::SearchConfig config;
  std::string out, resume, transfer = "none", provider = "parent", element = "tuple", batch_norm = "element";
  std::string estimator; ///< file of a step model; empty: none
  double store_gigabytes = 10;
  bool half_epochs = false, fused = false;
  bool json = false;
};

nn::TrainerOptions trainer_of(Options const& options)
{
  auto trainer = options.device.trainer();
  if (options.fused) trainer.policy = nn::PopulationPolicy::fused;
  return trainer;
}

std::string joined(std::vector<std::string> const& words, char const* separator)
{
  std::string text;
  for (auto const& word : words)
    text += (text.empty() ? "" : separator) + word;
  return text;
}

Cell cell(double value)
{
  return std::isfinite(value) ? Cell(value) : Cell();
}

/// The estimator's file within a search's folder: scaled to the machine, so that a search that goes on estimates alike.
constexpr char const* estimator_file = "estimator.json";

/// A search's estimator, if it has one, and the device that it is asked about.
struct SearchEstimator
{
  std::shared_ptr<estimator::StepModel const> model;
  std::string device;
};

/// Reads --estimator and scales it to this machine, as the search will use it: workers of a host train on a thread
/// each.
SearchEstimator start_estimator(std::string const& path, nas::SearchConfig const& config, nn::TrainerOptions trainer)
{
  require(is_file(path), path, ": no estimator there; nasturtium estimate fit writes one (nasturtium estimate --help)");
  auto model = std::make_shared<estimator::StepModel>(estimator::StepModel::load(read_file(path), path));
  if (config.settings.workers > 1 && trainer.backend != nn::BackendKind::cuda &&
      trainer.policy != nn::PopulationPolicy::fused)
    trainer.threads = 1;
  constexpr int probes = 6;
  std::string device = calibrate(*model, trainer, probes_of(config, probes), config.training.precision);
  return {std::move(model), std::move(device)};
}

SearchEstimator resume_estimator(nas::SearchFolder const& folder)
{
  auto const path = folder.file(estimator_file);
  json::Reader reader(folder.config().estimator, folder.file("config.json") + ": 'estimator'");
  SearchEstimator estimator{std::make_shared<estimator::StepModel>(estimator::StepModel::load(read_file(path), path)),
                            reader.string("device")};
  reader.finish();
  estimator.model->device(estimator.device); // one that it does not know is an error now
  return estimator;
}

/// How far the estimates were off: the median of |expected - measured| / measured over the epochs that were trained,
/// of the `whole` epochs of a training.
double estimate_error(double whole, nas::SearchResult const& result)
{
  std::vector<double> errors;
  for (auto const& trial : result.trials) {
    double const expected = trial.expected_seconds * trial.epochs / whole;
    if (std::isfinite(expected) && trial.epochs > 0 && trial.seconds > 0)
      errors.push_back(std::abs(expected - trial.seconds) / trial.seconds);
  }
  return errors.empty() ? nas::TrialResult::nan : median(std::move(errors));
}

/// Epochs done and saved, the best so far, and how long it will take.
class Watcher : public nas::SearchObserver
{
public:
  explicit Watcher(nas::SearchConfig const& config)
      : m_config(config),
        m_progress("search", static_cast<std::int64_t>(config.settings.evaluations) * config.training.epochs, "epochs")
  {
  }

  void on_report(nas::Trial const& trial, nn::EpochReport const& report, predictor::Prediction const&) override
  {
    double const one = 1.0 / m_config.training.validations_per_epoch;
    m_epochs += std::min(one, report.epoch);
    m_reported.insert(trial.id);
    m_progress.set(done(), note());
  }

  void on_result(nas::TrialResult const& result) override
  {
    ++m_answers;
    // What was not trained of a candidate that was stopped, or failed, needs no training any more.
    double const left = m_config.training.epochs - result.epochs;
    m_skipped += left;
    if (!result.failed()) {
      m_saved += left;
      m_full += m_config.training.epochs;
    }
    if (std::isfinite(result.fitness) && !(result.fitness <= m_best)) m_best = result.fitness;
    if (!m_reported.erase(result.trial.id)) { // from the journal of an earlier call
      m_epochs += result.epochs;
      m_progress.set(done(), note());
      return;
    }
    std::string line = concat("trial ", result.trial.id, ": ");
    line += result.failed() ? concat(nn::name(result.status), ": ", result.reason)
                            : concat(fixed(result.fitness, 2), result.predicted ? " % predicted after " : " % after ",
                                     shortest(result.epochs), " epochs, ",
                                     fixed(static_cast<double>(result.parameters) / 1e3, 1), " k parameters");
    m_progress.message(line);
    m_progress.set(done(), note());
  }

  void on_note(std::string const& text) override { m_progress.message("nasturtium: " + text); }

  void finish() { m_progress.finish(); }

private:
  nas::SearchConfig const& m_config;
  Progress m_progress;
  double m_epochs = 0, m_skipped = 0, m_saved = 0, m_full = 0;
  double m_best = std::numeric_limits<double>::quiet_NaN(); ///< none yet
  int m_answers = 0;
  std::set<int> m_reported; ///< candidates of this call

  std::int64_t done() const { return std::llround(m_epochs + m_skipped); }
  std::string note() const
  {
    std::string text = concat(m_answers, "/", m_config.settings.evaluations, " candidates");
    if (std::isfinite(m_best)) text += concat(", best ", fixed(m_best, 2), " %");
    if (m_full > 0) text += concat(", ", fixed(100 * m_saved / m_full, 1), " % of epochs saved");
    return text;
  }
};

/// What a person, and a program, is told at the end.
struct Winner
{
  nas::TrialResult const* result = nullptr;
  double test_score = std::numeric_limits<double>::quiet_NaN(); ///< accuracy or R2, percent, of the weights kept
};

Winner judge(nas::SearchFolder const& folder, nas::SearchResult const& result, datasets::Dataset const& dataset,
             nn::TrainerOptions const& trainer)
{
  Winner winner;
  if (result.best < 0) return winner;
  winner.result = &result.trials[static_cast<std::size_t>(result.best)];
  if (dataset.test.count == 0) return winner;
  std::string const path = folder.file("best/weights.h5");
  auto const architecture = nn::load_weights_architecture(path);
  auto const tested = nn::evaluate(trainer, architecture, nn::load_weights(path), dataset, dataset.test, 256, 1,
                                   nullptr, folder.config().training.precision);
  winner.test_score =
      100 * (dataset.classes > 0 ? tested.accuracy
                                 : 1 - tested.loss / datasets::target_variance(dataset.test, dataset.target_width));
  return winner;
}

/// What transfer did in a search, in one line.
Table transfer_table(nas::SearchConfig const& config, nas::SearchResult const& result)
{
  Table table({{"transfer"},
               {"provider"},
               {"warm starts"},
               {"layers %", 1},
               {"lineage", 1},
               {"match s", 3},
               {"load s", 3},
               {"store s", 3},
               {"overhead %", 2},
               {"stored MB", 1},
               {"new MB", 1}});
  std::int64_t warm = 0, stored = 0, added = 0, layers = 0, of_layers = 0;
  double lineage = 0, match = 0, load = 0, store = 0;
  for (auto const& trial : result.trials) {
    auto const& it = trial.transfer;
    warm += it.layers > 0;
    layers += it.layers;
    of_layers += it.layers_of_child;
    lineage += it.lineage_length;
    match += it.match_seconds;
    load += it.load_seconds;
    store += it.store_seconds;
    stored += it.stored_bytes;
    added += it.new_bytes;
  }
  auto const count = std::max<double>(1, static_cast<double>(result.trials.size()));
  table.add_row({nas::name(config.transfer.policy.matcher) + (config.transfer.freeze ? ", frozen" : ""),
                 nas::name(config.transfer.provider), warm,
                 of_layers > 0 ? Cell(100.0 * static_cast<double>(layers) / static_cast<double>(of_layers)) : Cell(),
                 lineage / count, match, load, store,
                 result.seconds > 0 ? Cell(100 * (match + load + store) / result.seconds) : Cell(),
                 static_cast<double>(stored) / 1e6, static_cast<double>(added) / 1e6});
  return table;
}

void print_tables(nas::SearchFolder const& folder, nas::SearchResult const& result, Winner const& winner, double error)
{
  std::vector<nas::TrialResult const*> ranked;
  for (auto const& trial : result.trials)
    if (std::isfinite(trial.fitness)) ranked.push_back(&trial);
  std::stable_sort(ranked.begin(), ranked.end(), [](auto const* a, auto const* b) { return a->fitness > b->fitness; });
  Table table({{"trial"},
               {"fitness %", 2},
               {"by"},
               {"last %", 2},
               {"best %", 2},
               {"epochs"},
               {"parameters"},
               {"MFLOP", 2},
               {"parent"}});
  for (std::size_t i = 0; i < std::min<std::size_t>(ranked.size(), 10); ++i) {
    auto const& it = *ranked[i];
    table.add_row({std::int64_t{it.trial.id}, it.fitness, it.predicted ? "prediction" : "measurement", cell(it.last),
                   cell(it.best), it.epochs, it.parameters, it.flops / 1e6,
                   it.trial.parent < 0 ? Cell() : Cell(std::int64_t{it.trial.parent})});
  }
  std::cout << table.text() << '\n';
  auto const& config = folder.config();
  std::int64_t stopped = 0, failed = 0;
  for (auto const& trial : result.trials) {
    stopped += trial.status == nn::Status::stopped;
    failed += trial.failed();
  }
  Table summary({{"algorithm"},
                 {"space"},
                 {"predictor"},
                 {"candidates"},
                 {"stopped"},
                 {"failed"},
                 {"epochs", 1},
                 {"saved %", 1},
                 {"seconds", 1},
                 {"engine s", 3},
                 {"test %", 2}});
  summary.add_row({config.settings.algorithm, config.space, config.predictor,
                   static_cast<std::int64_t>(result.trials.size()), stopped, failed, result.epochs_used,
                   100 * result.saved(), result.seconds, result.engine_seconds, cell(winner.test_score)});
  std::cout << summary.text();
  if (!config.estimator.is_null()) {
    auto const over = std::count_if(result.trials.begin(), result.trials.end(), [&](auto const& trial) {
      return config.seconds_cap > 0 && trial.expected_seconds > config.seconds_cap;
    });
    std::cout << "\nTraining times were estimated";
    if (std::isfinite(error))
      std::cout << ": half of them within " << fixed(100 * error, 1) << " % of what was measured";
    if (config.seconds_cap > 0) std::cout << "; candidates over the cap, not trained: " << over;
    std::cout << '\n';
  }
  if (config.transfer.on) std::cout << '\n' << transfer_table(config, result).text();
  if (winner.result) std::cout << "\nThe fittest network is in " << folder.file("best") << '\n';
}

json::Value number(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

void print_json(nas::SearchFolder const& folder, nas::SearchResult const& result, Winner const& winner, double error)
{
  json::Object object;
  object["run"] = folder.path();
  object["interrupted"] = result.interrupted;
  object["candidates"] = static_cast<std::int64_t>(result.trials.size());
  object["epochs_used"] = result.epochs_used;
  object["epochs_full"] = result.epochs_full;
  object["saved"] = result.saved();
  object["seconds"] = result.seconds;
  object["engine_seconds"] = result.engine_seconds;
  if (!folder.config().estimator.is_null()) object["estimate_error"] = number(error);
  if (winner.result) {
    json::Object best;
    best["trial"] = winner.result->trial.id;
    best["fitness"] = winner.result->fitness;
    best["predicted"] = winner.result->predicted;
    best["last"] = number(winner.result->last);
    best["parameters"] = winner.result->parameters;
    best["forward_flops"] = winner.result->flops;
    best["hash"] = winner.result->hash;
    best[folder.config().task.regression > 0 ? "test_r2" : "test_accuracy"] = number(winner.test_score);
    best["folder"] = folder.file("best");
    object["best"] = std::move(best);
  } else {
    object["best"] = nullptr;
  }
  std::cout << json::pretty(object);
}

int run(nas::SearchFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
        SearchEstimator const& estimator, bool as_json)
{
  Watcher watcher(folder.config());
  nas::TrainingCost cost;
  if (estimator.model) cost = training_cost(estimator.model, estimator.device, folder.config().training, dataset);
  auto const result = nas::run_search(folder, dataset, trainer, watcher, [] { return interrupted(); }, cost);
  watcher.finish();
  double const error = estimate_error(whole_epochs(folder.config().training, dataset), result);
  if (result.interrupted) {
    std::cerr << "nasturtium: interrupted; go on with: nasturtium search --resume " << folder.path() << '\n';
    if (as_json) print_json(folder, result, {}, error);
    return exit_interrupted;
  }
  auto const winner = judge(folder, result, dataset, trainer);
  if (as_json)
    print_json(folder, result, winner, error);
  else
    print_tables(folder, result, winner, error);
  return winner.result ? exit_success : exit_failure;
}

int resume(Options const& options, Invocation const& call)
{
  auto const runtime = options.device.start(call);
  auto folder = nas::SearchFolder::open(options.resume);
  auto const& config = folder.config();
  auto trainer = trainer_of(options);
  require(options.device.backend.empty() || trainer.backend == config.backend, options.resume,
          ": was begun with --backend ", nn::name(config.backend), "; another one would not end with the same bits");
  trainer.backend = config.backend;
  DataChoice data = parse_data_choice(config.data, options.resume + ": 'data'");
  if (!options.data.data_dir.empty()) data.data_dir = options.data.data_dir;
  auto const dataset = data.load();
  require(dataset.checksum == config.data_checksum, data.dataset,
          ": is not the data set that the search was begun with (checksum ", dataset.checksum, ", was ",
          config.data_checksum, ")");
  SearchEstimator estimator;
  if (!config.estimator.is_null()) estimator = resume_estimator(folder);
  if (interrupted()) return exit_interrupted;
  return run(folder, dataset, trainer, estimator, options.json);
}

void read_transfer(Options& options)
{
  auto& transfer = options.config.transfer;
  transfer.on = options.transfer != "none";
  if (!transfer.on) {
    require(!transfer.freeze && !transfer.permute, "--freeze and --permute need --transfer");
    return;
  }
  transfer.policy = {nas::parse_matcher(options.transfer), nas::parse_element_rule(options.element),
                     nas::parse_batch_norm_rule(options.batch_norm)};
  transfer.provider = nas::parse_provider(options.provider);
  require(std::isfinite(options.store_gigabytes) && options.store_gigabytes >= 0 && options.store_gigabytes < 1e9,
          "--store-cap must be >= 0, got ", options.store_gigabytes);
  transfer.cap_bytes = std::llround(1e9 * options.store_gigabytes);
}

} // namespace

int search(Invocation const& call)
{
  Options options;
  auto& config = options.config;
  config.training.epochs = 20;
  auto& settings = config.settings;
  VerbParser parser("search", "Looks for good networks in a space; an engine may stop hopeless ones early.", examples);
  CLI::App& app = parser.app();
  app.add_option("--space", config.space,
                 concat("Which networks there are (docs/guide/search-spaces.md): ", joined(nas::space_names(), ", ")))
      ->option_text("SPACE [" + config.space + "]");
  app.add_option("--algorithm", settings.algorithm, "How it searches (docs/guide/search-algorithms.md)")
      ->option_text(joined(nas::algorithm_names(), "|") + " [" + settings.algorithm + "]");
  app.add_option("--predictor", config.predictor,
                 "Prediction engine that watches the learning curves; none: train to the end")
      ->option_text("none|penguin|a4nn|nasturtium|... [none]");
  add_choice<nas::FitnessRule>(
      app, "--fitness", config.fitness,
      {{"prediction", nas::FitnessRule::prediction},
       {"last", nas::FitnessRule::last},
       {"best", nas::FitnessRule::best}},
      "What the algorithm is told of a candidate that was stopped: predicted, last or best accuracy");
  app.add_option("--stale-epochs", config.stale_epochs,
                 "Stop a candidate whose least training loss is so many epochs old (MENNDL: 10); 0: never")
      ->capture_default_str()
      ->type_name("X");
  app.add_option("--evaluations", settings.evaluations, "Candidates in all")->capture_default_str()->type_name("N");
  app.add_option("--out", options.out, "Folder of the search: config, journal, curves, trials, the fittest network")
      ->type_name("DIR");
  app.add_option("--resume", options.resume, "Go on with a search that was interrupted or killed")->type_name("DIR");
  app.add_flag("--half-epochs", options.half_epochs, "Validate, and predict, every half epoch");
  app.add_flag("--json", options.json, "The result as JSON on stdout");
  std::string group = "Estimated training time";
  app.add_option("--estimator", options.estimator,
                 "What estimate fit has written: with several workers the longest candidates of a generation go first "
                 "(docs/guide/search.md)")
      ->type_name("FILE")
      ->group(group);
  app.add_option("--seconds-cap", config.seconds_cap,
                 "Do not train a candidate that is expected to take longer; 0: no cap")
      ->capture_default_str()
      ->type_name("S")
      ->group(group);
  group = "Weight transfer";
  app.add_option("--transfer", options.transfer,
                 "Start candidates from the weights of layers that match an earlier one's (docs/weight-transfer.md)")
      ->option_text("none|lp|lcs|exact-prefix|lcs-bytes [none]")
      ->group(group);
  app.add_option("--provider", options.provider, "Whose weights: of the parent, of whoever matches most, of anybody")
      ->option_text("parent|nearest|random [parent]")
      ->group(group);
  app.add_flag("--freeze", config.transfer.freeze, "Do not train transferred layers, but for the last one")
      ->group(group);
  app.add_flag("--permute", config.transfer.permute, "Control: shuffle the values inside each transferred tensor")
      ->group(group);
  app.add_option("--match-element", options.element, "Layers match by the shapes of all tensors, or of the kernel")
      ->option_text("tuple|kernel [tuple]")
      ->group(group);
  app.add_option("--match-batch-norm", options.batch_norm,
                 "A batch norm is a layer, part of the one before, or nothing")
      ->option_text("element|fused|ignore [element]")
      ->group(group);
  app.add_option("--store-cap", options.store_gigabytes, "GB of weights to keep; 0: no limit")
      ->capture_default_str()
      ->type_name("X")
      ->group(group);
  group = "Algorithm";
  app.add_option("--population", settings.population, "Size of the population; 0: the algorithm's own")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
  app.add_option("--tournament", settings.sample, "Of aging evolution; 0: its own")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
  app.add_option("--mutation", settings.mutation, "Probability of a mutation per gene; negative: the algorithm's own")
      ->capture_default_str()
      ->type_name("X")
      ->group(group);
  app.add_option("--crossover", settings.crossover, "Probability of a crossover; negative: the algorithm's own")
      ->capture_default_str()
      ->type_name("X")
      ->group(group);
  app.add_option(
         "--workers", settings.workers,
         "Candidates that train at the same time, on one thread each (on a GPU: on a stream each); 1: one, on all "
         "threads, the same search every time")
      ->capture_default_str()
      ->type_name("N")
      ->group(group);
  app.add_flag(
         "--fused", options.fused,
         "The workers' candidates in step and in common launches instead of on a stream each; for GPUs. Changes no "
         "network, and may differ beside --resume")
      ->group(group);
  app.add_flag("--allow-repeats", settings.allow_repeats, "Train a network again that was trained before")
      ->group(group);
  options.data.add_to(app);
  add_training_options(app, config.training);
  options.device.add_to(app);
  if (!parser.parse(call)) return exit_success;

  catch_interrupts();
  if (!options.resume.empty()) {
    refuse_beside_resume(app, {"fused"});
    return resume(options, call);
  }
  require(!options.out.empty(),
          "--out is required: a search keeps what it finds (or --resume; nasturtium search --help)");
  settings.seed = config.training.seed;
  read_transfer(options);
  if (options.half_epochs) config.training.validations_per_epoch = 2;
  auto const runtime = options.device.start(call);
  auto const trainer = trainer_of(options);
  config.backend = trainer.backend;
  auto const dataset = options.data.load();
  require(dataset.validation.count > 0, options.data.dataset,
          ": a search needs a validation split (--validation FRACTION takes one from the training samples)");
  config.task = {{dataset.height, dataset.width, dataset.channels}, dataset.classes, dataset.target_width};
  config.data = to_json(options.data);
  config.data_checksum = dataset.checksum;
  SearchEstimator estimator;
  std::vector<std::pair<std::string, std::string>> files;
  if (options.estimator.empty()) {
    require(config.seconds_cap == 0, "--seconds-cap needs --estimator");
  } else {
    config.estimator = json::Object{{"device", ""}}; // until it is known, for the check
    nas::check(config);
    estimator = start_estimator(options.estimator, config, trainer);
    config.estimator = json::Object{{"device", estimator.device}};
    files.emplace_back(estimator_file, estimator.model->save());
  }
  nas::check(config);
  if (interrupted()) return exit_interrupted;
  auto folder =
      nas::SearchFolder::create(options.out, config,
                                provenance_of(call, config.training.seed, trainer.backend,
                                              {{"dataset", dataset.name}, {"dataset_checksum", dataset.checksum}}),
                                files);
  return run(folder, dataset, trainer, estimator, options.json);
}

} // namespace nasturtium::cli
