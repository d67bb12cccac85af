// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/evaluator.hpp>
#include <nasturtium/nas/halving_search.hpp>
#include <nasturtium/nn/checkpoint.hpp>
#include <nasturtium/nn/report.hpp>

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

namespace nasturtium::nas {

namespace {

using Kind = HalvingEvent::Kind;

constexpr int edge_sample = 3000;
constexpr std::uint64_t edge_seed = 0x9E3779B97F4A7C15; // apart from that of the trials
constexpr int most_workers = 4096;

json::Object to_json(Configuration const& configuration)
{
  json::Object object;
  object["format"] = "nasturtium-configuration";
  object["version"] = 1;
  object["cost"] = configuration.cost;
  object["training"] = json::parse(nn::to_json(configuration.options), "options");
  object["architecture"] = json::parse(nn::spec::to_json(configuration.architecture), "architecture");
  return object;
}

/// The configuration of a trial with the options that the search decides.
Configuration configuration_of(HalvingSearchConfig const& config, ResidualSpace const& space, int trial)
{
  Configuration configuration = space.sample(config.halving.seed, trial);
  configuration.options.epochs = config.halving.most_epochs;
  configuration.options.precision = config.precision;
  return configuration;
}

double loss_of(HalvingObjective objective, nn::EpochReport const& report)
{
  return objective == HalvingObjective::loss ? report.validation_loss : 1 - report.validation_accuracy;
}

bool at_top(Halving const& halving, int trial, int rung)
{
  auto const bracket = static_cast<std::size_t>(halving.trials()[static_cast<std::size_t>(trial)].bracket);
  return rung == halving.brackets()[bracket].top();
}

/// Where the search stands. All of it happens in one thread; the evaluator may have others.
class HalvingSearch
{
public:
  HalvingSearch(HalvingFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                HalvingObserver& observer, std::function<bool()> const& interrupted, Sync sync)
      : m_folder(folder), m_config(folder.config()), m_observer(observer), m_space(m_config.space, m_config.task),
        m_journal(folder.file("journal.jsonl"), m_config.halving, sync),
        m_evaluator(make_local_evaluator(
            trainer, dataset, m_config.workers,
            [this](int id, nn::EpochReport const& report) { return on_report(id, report); }, interrupted))
  {
  }

  HalvingResult run()
  {
    tell_found();
    recover();
    for (int worker = 0; worker < m_config.workers; ++worker)
      m_idle.insert(worker);
    ask_idle();
    while (auto const done = m_evaluator->wait()) {
      HalvingFlight const flight = m_jobs.at(done->id);
      m_jobs.erase(done->id);
      if (done->training.status == nn::Status::interrupted) {
        m_stopping = true; // what else is open ends, too, and its results count
        continue;
      }
      answer(flight, done->training);
      if (m_stopping) continue;
      if (!ask(flight.worker)) m_idle.insert(flight.worker);
      ask_idle();
    }
    return finish();
  }

private:
  HalvingFolder& m_folder;
  HalvingSearchConfig const& m_config;
  HalvingObserver& m_observer;
  ResidualSpace m_space;
  HalvingJournal m_journal;
  std::map<int, HalvingFlight> m_jobs; ///< by the evaluator's number
  int m_submitted = 0;
  std::set<int> m_idle;
  bool m_stopping = false;
  std::unique_ptr<Evaluator> m_evaluator; ///< the last member: it ends first

  Halving const& halving() const { return m_journal.halving(); }

  nn::Decision on_report(int id, nn::EpochReport const& report)
  {
    HalvingFlight const& flight = m_jobs.at(id);
    m_observer.on_report(flight.trial, flight.rung, report);
    bool const there = report.epoch >= halving().epochs(flight.trial, flight.rung);
    return there ? nn::Decision::pause : nn::Decision::proceed;
  }

  /// What the journal of earlier calls holds.
  void tell_found()
  {
    for (HalvingEvent const& event : m_journal.replayed()) {
      if (event.kind != Kind::result && event.kind != Kind::failed) continue;
      double const loss = event.kind == Kind::result ? event.value : HalvingTrial::nan;
      HalvingModel model = model_of({event.trial, event.rung, event.worker}, loss);
      model.found = true;
      m_observer.on_model(model);
    }
  }

  /// Trials that were out when an earlier call ended.
  void recover()
  {
    auto const events = recovery(halving(), [&](int trial, int rung) { return loss_in_checkpoint(trial, rung); });
    for (HalvingEvent const& event : events) {
      m_journal.apply(event);
      if (event.kind == Kind::result) tell({event.trial, event.rung, event.worker}, event.value, {}, nullptr);
    }
  }

  std::optional<double> loss_in_checkpoint(int trial, int rung) const
  {
    std::string const path = m_folder.checkpoint(trial, rung);
    if (!is_file(path)) return std::nullopt;
    try {
      auto const state = nn::load_checkpoint(path);
      auto const& reports = nn::reports_of(*state);
      if (reports.empty() || reports.back().epoch != halving().epochs(trial, rung)) return std::nullopt;
      auto const wanted = configuration_of(m_config, m_space, trial);
      nn::check_resumable(*state, wanted.architecture, wanted.options, {}, path);
      return loss_of(m_config.objective, reports.back());
    } catch (Error const& error) { // it is trained again, and written again
      m_observer.on_note(error.what());
      return std::nullopt;
    }
  }

  void ask_idle()
  {
    for (auto worker = m_idle.begin(); worker != m_idle.end();)
      worker = ask(*worker) ? m_idle.erase(worker) : std::next(worker);
  }

  /// False where there is nothing to do.
  bool ask(int worker)
  {
    auto const action = m_journal.apply({.worker = worker}).value();
    if (action.kind == HalvingAction::Kind::idle) return false;
    Configuration configuration = configuration_of(m_config, m_space, action.trial);
    Job job;
    job.id = m_submitted++;
    if (action.kind == HalvingAction::Kind::start) {
      std::string const path = m_folder.trial_file(action.trial, "config.json");
      create_directories(std::filesystem::path(path).parent_path().string());
      write_file(path, json::pretty(to_json(configuration)));
      m_journal.apply({Kind::started, action.trial, action.rung, configuration.cost, worker});
    } else {
      int const reached = halving().trials()[static_cast<std::size_t>(action.trial)].reached;
      job.resume_from = nn::load_checkpoint(m_folder.checkpoint(action.trial, reached));
    }
    job.architecture = std::move(configuration.architecture);
    job.options = std::move(configuration.options);
    m_jobs[job.id] = {action.trial, action.rung, worker};
    std::vector<Job> jobs;
    jobs.push_back(std::move(job));
    m_evaluator->submit(std::move(jobs));
    return true;
  }

  /// The checkpoint, then the event, then the observer: a kill between them loses nothing.
  void answer(HalvingFlight const& flight, nn::TrainResult const& trained)
  {
    bool const reached = trained.status == nn::Status::paused || trained.status == nn::Status::completed;
    double const loss = reached ? loss_of(m_config.objective, trained.reports.back()) : HalvingTrial::nan;
    std::string curve = nn::curves_header();
    for (auto const& report : trained.reports)
      curve += nn::curves_row(std::to_string(flight.trial), report);
    write_file(m_folder.trial_file(flight.trial, "curve.csv"), curve);
    if (std::isfinite(loss)) nn::save_checkpoint(m_folder.checkpoint(flight.trial, flight.rung), *trained.state);
    m_journal.apply({reached ? Kind::result : Kind::failed, flight.trial, flight.rung, loss, flight.worker});
    if (!m_config.keep_all && std::isfinite(loss))
      for (int rung = 0; rung < flight.rung; ++rung) {
        std::error_code ignored; // most were never there
        std::filesystem::remove(m_folder.checkpoint(flight.trial, rung), ignored);
      }
    tell(flight, loss, reached ? "the validation loss is not finite" : trained.reason, trained.state);
  }

  HalvingModel model_of(HalvingFlight const& flight, double loss) const
  {
    HalvingModel model;
    model.trial = flight.trial;
    model.rung = flight.rung;
    model.epochs = halving().epochs(flight.trial, flight.rung);
    model.configuration = configuration_of(m_config, m_space, flight.trial);
    model.loss = loss;
    if (!std::isfinite(loss)) {
      model.loss = std::numeric_limits<double>::infinity();
      model.status = HalvingModel::Status::failed;
      return model;
    }
    if (at_top(halving(), flight.trial, flight.rung)) model.status = HalvingModel::Status::completed;
    model.checkpoint = m_folder.checkpoint(flight.trial, flight.rung);
    return model;
  }

  void tell(HalvingFlight const& flight, double loss, std::string const& reason,
            std::shared_ptr<nn::TrainState const> const& state)
  {
    HalvingModel model = model_of(flight, loss);
    if (model.status == HalvingModel::Status::failed)
      model.reason = reason;
    else
      model.state = state;
    m_observer.on_model(model);
  }

  HalvingResult finish()
  {
    HalvingResult result;
    result.trials = halving().trials();
    result.records = halving().records();
    result.epochs = halving().epochs_trained();
    result.interrupted = m_stopping;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < result.trials.size(); ++i) {
      auto const& trial = result.trials[i];
      if (trial.failed || trial.losses.empty() || !(trial.losses.back() < least)) continue;
      least = trial.losses.back();
      result.best = static_cast<int>(i);
    }
    if (!m_stopping) write_file(m_folder.file("trials.csv"), trials_csv(m_config, halving()));
    return result;
  }
};

} // namespace

std::string name(HalvingObjective objective)
{
  return objective == HalvingObjective::loss ? "loss" : "error";
}

std::string name(HalvingModel::Status status)
{
  switch (status) {
  case HalvingModel::Status::paused:
    return "paused";
  case HalvingModel::Status::completed:
    return "completed";
  case HalvingModel::Status::failed:
    return "failed";
  }
  return "unknown";
}

HalvingSearchConfig prepared(HalvingSearchConfig config)
{
  ResidualSpace const space(config.space, config.task);
  config.halving.space_hash = space.hash();
  config.halving.edges = {};
  if (config.halving.rank == RankRule::stratified)
    config.halving.edges = cost_edges(space.costs(config.halving.seed ^ edge_seed, edge_sample));
  return config;
}

void check(HalvingSearchConfig const& config)
{
  check(config.halving);
  ResidualSpace const space(config.space, config.task);
  // What hears of a model may evaluate it: on a device that others have filled there may be no memory for that.
  require(config.workers == 1 || config.backend != nn::BackendKind::cuda, "halving: 'workers' must be 1 with backend ",
          nn::name(config.backend), ", got ", config.workers);
  require(config.workers >= 1 && config.workers <= most_workers, "halving: 'workers' must be in [1, ", most_workers,
          "], got ", config.workers);
  require(config.objective == HalvingObjective::loss || config.task.classes > 0,
          "halving: 'objective' must be loss with a regression, got 'error'");
}

json::Value to_json(HalvingSearchConfig const& config)
{
  json::Object object;
  object["format"] = "nasturtium-halving";
  object["version"] = 1;
  object["space"] = config.space;
  object["task"] = to_json(config.task);
  object["halving"] = to_json(config.halving);
  object["workers"] = config.workers;
  object["objective"] = name(config.objective);
  object["keep_all"] = config.keep_all;
  object["precision"] = config.precision == nn::Precision::float32 ? "float32" : "float64";
  object["backend"] = nn::name(config.backend);
  object["data"] = config.data;
  object["data_checksum"] = config.data_checksum;
  return object;
}

HalvingSearchConfig parse_halving_search_config(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-halving", 1);
  HalvingSearchConfig config;
  config.space = reader.string("space");
  config.task = parse_task(reader.object("task"));
  auto halving = reader.object("halving");
  config.halving = parse_halving_settings(halving);
  halving.finish();
  config.workers = static_cast<int>(reader.integer("workers", 1, most_workers));
  config.objective =
      reader.choice("objective", {"loss", "error"}) == 0 ? HalvingObjective::loss : HalvingObjective::error;
  config.keep_all = reader.boolean("keep_all");
  config.precision =
      reader.choice("precision", {"float32", "float64"}) == 0 ? nn::Precision::float32 : nn::Precision::float64;
  config.backend = nn::parse_backend(reader.string("backend"));
  config.data = reader.value("data");
  config.data_checksum = reader.string("data_checksum");
  reader.finish();
  check(config);
  return config;
}

HalvingFolder::HalvingFolder(RunFolder folder, HalvingSearchConfig config)
    : m_folder(std::move(folder)), m_config(std::move(config))
{
}

std::string HalvingFolder::trial_file(int trial, std::string const& name) const
{
  return file(concat("trials/", trial, "/", name));
}

std::string HalvingFolder::checkpoint(int trial, int rung) const
{
  return trial_file(trial, concat("rung-", rung, ".h5"));
}

HalvingFolder HalvingFolder::create(std::string const& path, HalvingSearchConfig const& config,
                                    Provenance const& provenance)
{
  check(config);
  auto const complete = prepared(config);
  return HalvingFolder(RunFolder::create(path,
                                         {{{"provenance.json", json::pretty(to_json(provenance))},
                                           {"config.json", json::pretty(to_json(complete))}},
                                          {"trials"}},
                                         "to resume"),
                       complete);
}

HalvingFolder HalvingFolder::open(std::string const& path)
{
  RunFolder folder = RunFolder::open(path);
  std::string const file = folder.file("config.json");
  return HalvingFolder(std::move(folder), parse_halving_search_config(json::parse_file(file), file));
}

HalvingFolder HalvingFolder::open_or_create(std::string const& path, HalvingSearchConfig const& config,
                                            Provenance const& provenance)
{
  if (!RunFolder::exists(path)) return create(path, config, provenance);
  auto folder = open(path);
  check(config);
  auto const difference = json::first_difference(to_json(prepared(config)), to_json(folder.config()));
  require(difference.empty(), path, ": ", difference, " in this folder; choose another one");
  return folder;
}

HalvingResult run_halving(HalvingFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                          HalvingObserver& observer, std::function<bool()> const& interrupted, Sync sync)
{
  auto const& config = folder.config();
  auto const& task = config.task;
  require(dataset.validation.count > 0, dataset.name, ": successive halving needs a validation split");
  require(dataset.classes == task.classes && dataset.target_width == task.regression &&
              dataset.height == task.input.height && dataset.width == task.input.width &&
              dataset.channels == task.input.channels,
          dataset.name, ": is not the data set that the search was configured for");
  require(dataset.checksum == config.data_checksum, dataset.name,
          ": is not the data set that the search was begun with (checksum ", dataset.checksum, ", was ",
          config.data_checksum, ")");
  std::string const hash = ResidualSpace(config.space, task).hash();
  require(hash == config.halving.space_hash, folder.file("config.json"), ": field 'space_hash' is ",
          quoted(config.halving.space_hash, 64), ", but space ", config.space, " has ", quoted(hash, 64),
          " in this version; it would draw other trials");
  return HalvingSearch(folder, dataset, trainer, observer, interrupted, sync).run();
}

std::string trials_csv(HalvingSearchConfig const& config, Halving const& halving)
{
  ResidualSpace const space(config.space, config.task);
  std::string text = csv_line({"trial", "bracket", "status", "rung", "epochs", "loss", "cost", "parameters", "hash",
                               "optimiser", "learning_rate", "weight_decay", "batch_size", "label_smoothing"});
  for (int id = 0; id < static_cast<int>(halving.trials().size()); ++id) {
    auto const& trial = halving.trials()[static_cast<std::size_t>(id)];
    if (trial.reached < 0) continue; // not yet
    auto const it = configuration_of(config, space, id);
    auto const options = json::parse(nn::to_json(it.options), "options");
    auto const status = trial.failed                         ? HalvingModel::Status::failed
                        : at_top(halving, id, trial.reached) ? HalvingModel::Status::completed
                                                             : HalvingModel::Status::paused;
    text += csv_line({std::to_string(id), std::to_string(trial.bracket), name(status), std::to_string(trial.reached),
                      std::to_string(halving.epochs(id, trial.reached)), shortest(trial.losses.back()),
                      shortest(trial.cost), std::to_string(nn::spec::infer(it.architecture).parameter_count),
                      nn::spec::hash(it.architecture), std::string(options.at("optimiser").at("kind").as_string()),
                      shortest(it.options.optimiser.learning_rate), shortest(it.options.optimiser.weight_decay),
                      std::to_string(it.options.batch_size), shortest(it.options.label_smoothing)});
  }
  return text;
}

} // namespace nasturtium::nas
