// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/evaluator.hpp>
#include <nasturtium/nas/genome_text.hpp>
#include <nasturtium/nas/search.hpp>
#include <nasturtium/nn/onnx.hpp>
#include <nasturtium/nn/report.hpp>
#include <nasturtium/nn/weights.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

namespace nasturtium::nas {

namespace {

constexpr auto most_int = std::numeric_limits<int>::max();

json::Value or_null(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

double number_or_nan(json::Reader& reader, std::string const& field)
{
  json::Value const* const value = reader.find(field);
  return !value || value->is_null() ? TrialResult::nan : json::to_number(*value, reader.what(field));
}

json::Array to_json(Genome const& genome)
{
  json::Array array;
  for (int const gene : genome)
    array.emplace_back(gene);
  return array;
}

Genome parse_genome(json::Reader& reader)
{
  Genome genome;
  for (auto const& gene : reader.array("genome"))
    genome.push_back(static_cast<int>(json::to_integer(gene, reader.what("genome"), -most_int, most_int)));
  return genome;
}

Trial parse_trial(json::Reader& reader)
{
  Trial trial;
  trial.id = static_cast<int>(reader.integer("trial", 0, most_int));
  trial.genome = parse_genome(reader);
  trial.generation = static_cast<int>(reader.integer("generation", 0, most_int));
  trial.parent = static_cast<int>(reader.integer("parent", -1, most_int));
  trial.other_parent = static_cast<int>(reader.integer("other_parent", -1, most_int));
  return trial;
}

json::Object to_json(Trial const& trial)
{
  json::Object object;
  object["trial"] = trial.id;
  object["genome"] = to_json(trial.genome);
  object["generation"] = trial.generation;
  object["parent"] = trial.parent;
  object["other_parent"] = trial.other_parent;
  return object;
}

// The numbers of a result by name, in the order of trials.csv.
using Field = std::pair<char const*, double TrialResult::*>;
constexpr Field numbers[] = {
    {"fitness", &TrialResult::fitness},     {"last", &TrialResult::last},
    {"best", &TrialResult::best},           {"prediction", &TrialResult::prediction},
    {"lower_90", &TrialResult::lower_90},   {"upper_90", &TrialResult::upper_90},
    {"epochs", &TrialResult::epochs},       {"flops", &TrialResult::flops},
    {"seconds", &TrialResult::seconds},     {"engine_seconds", &TrialResult::engine_seconds},
    {"deviation", &TrialResult::deviation}, {"expected_seconds", &TrialResult::expected_seconds}};

json::Object to_json(TrialResult const& result)
{
  json::Object object;
  object["trial"] = result.trial.id;
  object["status"] = nn::name(result.status);
  object["reason"] = result.reason;
  object["hash"] = result.hash;
  object["parameters"] = result.parameters;
  object["predicted"] = result.predicted;
  for (auto const& [title, member] : numbers)
    object[title] = or_null(result.*member);
  if (result.transfer.layers_of_child > 0) object["transfer"] = to_json(result.transfer);
  return object;
}

TrialResult parse_result(json::Reader& reader, Trial const& trial)
{
  TrialResult result;
  result.trial = trial;
  result.status = nn::parse_status(reader.string("status"), reader.what("status"));
  result.reason = reader.string("reason", "");
  result.hash = reader.string("hash", "");
  result.parameters = reader.integer("parameters", 0, std::numeric_limits<std::int64_t>::max());
  result.predicted = reader.boolean("predicted");
  for (auto const& [title, member] : numbers)
    result.*member = number_or_nan(reader, title);
  if (auto const* const transfer = reader.find("transfer"))
    result.transfer = parse_transfer_record(*transfer, reader.what("transfer"));
  return result;
}

Fitness to_fitness(TrialResult const& result)
{
  Fitness fitness;
  fitness.failed = result.failed() || !std::isfinite(result.fitness);
  fitness.accuracy = fitness.failed ? 0 : result.fitness;
  fitness.flops = result.flops;
  fitness.parameters = static_cast<double>(result.parameters);
  fitness.deviation = std::isfinite(result.deviation) ? result.deviation : 0;
  return fitness;
}

predictor::Settings engine_settings(SearchConfig const& config)
{
  auto settings = predictor::preset(config.predictor);
  settings.e_pred = config.training.epochs;
  settings.spacing = 1.0 / config.training.validations_per_epoch;
  return settings;
}

std::string id_text(Trial const& trial)
{
  return std::to_string(trial.id);
}

/// Candidates are ordered by their estimated cost: that takes more open questions than workers.
bool orders_by_cost(SearchConfig const& config, SearchAlgorithm const& algorithm)
{
  return !config.estimator.is_null() && config.settings.workers > 1 && algorithm.asks_ahead();
}

std::unique_ptr<SearchAlgorithm> algorithm_of(SearchConfig const& config, SearchSpace const& space)
{
  auto algorithm = make_algorithm(config.settings, space);
  if (!orders_by_cost(config, *algorithm)) return algorithm;
  auto settings = config.settings;
  settings.workers = std::min(settings.evaluations, most_open);
  return make_algorithm(settings, space);
}

/// Where the search stands. All of it happens in one thread; the evaluator may have others.
class Search
{
public:
  Search(SearchFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
         SearchObserver& observer, std::function<bool()> const& interrupted, TrainingCost const& cost)
      : m_folder(folder), m_config(folder.config()), m_dataset(dataset), m_trainer(trainer), m_observer(observer),
        m_interrupted(interrupted), m_cost(cost), m_space(make_space(m_config.space, m_config.task)),
        m_algorithm(algorithm_of(m_config, *m_space)), m_engine(predictor::make_method(engine_settings(m_config))),
        m_target_variance(datasets::target_variance(dataset.validation, dataset.target_width))
  {
    if (m_config.transfer.on) m_transfer.emplace(m_config.transfer, m_folder.file("store"), m_config.settings.seed);
  }

  SearchResult run()
  {
    bool const again = is_file(m_folder.file("journal.jsonl"));
    std::string const curves = again ? replay() : nn::curves_header();
    m_curves.emplace(m_folder.file("curves.csv"), curves);
    m_journal.emplace(m_folder.file("journal.jsonl"));
    json::Object event;
    event["event"] = again ? "resume" : "start";
    event["version"] = version();
    event["git_hash"] = git_hash();
    event["threads"] = m_trainer.threads;
    if (!again) event["config"] = nas::to_json(m_config);
    record(std::move(event));

    work();
    m_result.interrupted = m_stopping;
    event = {};
    event["event"] = m_stopping ? "interrupt" : "end";
    record(std::move(event));
    if (!m_stopping) write_file(m_folder.file("trials.csv"), trials_csv(m_result.trials));
    return std::move(m_result);
  }

private:
  static constexpr char const* stale_reason = "the training loss has not fallen";

  /// A candidate in training.
  struct Open
  {
    TrialResult result;
    predictor::Prediction prediction;
    double least_loss = std::numeric_limits<double>::infinity(); ///< of training
    double least_epoch = 0;
    bool stale = false; ///< stopped for its loss, not by the engine
  };
  /// A candidate that was asked for, ahead or in an earlier call.
  struct Waiting
  {
    Trial trial;
    double expected_seconds = TrialResult::nan;
  };
  SearchFolder& m_folder;
  SearchConfig const& m_config;
  datasets::Dataset const& m_dataset;
  nn::TrainerOptions m_trainer;
  SearchObserver& m_observer;
  std::function<bool()> const& m_interrupted;
  TrainingCost const& m_cost;
  std::unique_ptr<SearchSpace> m_space;
  std::unique_ptr<SearchAlgorithm> m_algorithm;
  std::unique_ptr<predictor::Method> m_engine;
  std::optional<WeightTransfer> m_transfer;
  double m_target_variance; ///< of the validation split; NaN for classification
  std::optional<JournalWriter> m_journal;
  std::optional<AppendFile> m_curves;
  std::vector<Waiting> m_waiting; ///< asked and not yet in training, oldest first
  SearchResult m_result;
  std::map<int, Open> m_open; ///< by number of the trial
  bool m_stopping = false;

  nn::Decision on_report(int id, nn::EpochReport const& report)
  {
    Open& open = m_open.at(id);
    open.prediction = observe(open.result, report);
    json::Object event;
    event["event"] = "report";
    event["trial"] = id;
    json::Object const fields = nn::to_json(report);
    event.insert(fields.begin(), fields.end());
    event["prediction"] = or_null(open.prediction.value);
    event["lower_90"] = or_null(open.prediction.interval_90.lower);
    event["upper_90"] = or_null(open.prediction.interval_90.upper);
    event["p_beat"] = or_null(open.prediction.p_beat);
    bool stop = stops(open.prediction);
    std::string_view reason = open.prediction.reason;
    if (!stop && is_stale(open, report)) {
      stop = open.stale = true;
      reason = stale_reason;
    }
    event["decision"] = stop ? "stop" : "proceed";
    if (stop) event["reason"] = std::string(reason);
    record(std::move(event));
    m_curves->append(nn::curves_row(id_text(open.result.trial), report));
    m_observer.on_report(open.result.trial, report, open.prediction);
    return stop ? nn::Decision::stop : nn::Decision::proceed;
  }

  bool is_stale(Open& open, nn::EpochReport const& report) const
  {
    if (report.train_loss < open.least_loss) {
      open.least_loss = report.train_loss;
      open.least_epoch = report.epoch;
    }
    return m_config.stale_epochs > 0 && report.epoch - open.least_epoch >= m_config.stale_epochs &&
           report.epoch < m_config.training.epochs;
  }

  static bool stops(predictor::Prediction const& prediction)
  {
    // A search goes on with the next candidate at once: to pause for good is to stop.
    return prediction.decision != predictor::Decision::proceed;
  }

  void record(json::Object event)
  {
    event["utc"] = utc_timestamp();
    m_journal->append(event);
  }

  /// Shows a report to the engine and keeps what is known of the candidate.
  predictor::Prediction observe(TrialResult& result, nn::EpochReport const& report)
  {
    double const value = score(report);
    result.last = value;
    result.best = std::isfinite(result.best) ? std::max(result.best, value) : value;
    result.epochs = report.epoch;
    result.seconds = report.seconds + report.validation_seconds;
    if (!std::isfinite(value)) return {};
    predictor::Covariates covariates;
    covariates.learning_rate = report.learning_rate;
    covariates.train_loss = report.train_loss;
    covariates.train_accuracy = 100 * report.train_accuracy;
    Stopwatch const clock;
    auto const prediction = m_engine->observe(id_text(result.trial), report.epoch, value, covariates);
    result.engine_seconds += clock.seconds();
    result.prediction = std::isfinite(prediction.value) ? prediction.value : TrialResult::nan;
    result.lower_90 = prediction.interval_90.lower;
    result.upper_90 = prediction.interval_90.upper;
    return prediction;
  }

  /// The engine, the algorithm and the result hear of an answer. What a journal holds goes the same way.
  void take(TrialResult const& result)
  {
    if (result.epochs > 0) {
      if (result.status == nn::Status::completed)
        m_engine->finish(id_text(result.trial));
      else
        m_engine->abandon(id_text(result.trial));
    }
    m_algorithm->tell(result.trial.id, to_fitness(result));
    if (m_transfer && !result.failed())
      m_transfer->told(result.trial, m_space->decode(result.trial.genome), result.fitness, result.transfer);
    m_result.trials.push_back(result);
    m_result.seconds += result.seconds;
    m_result.engine_seconds += result.engine_seconds;
    if (!result.failed()) {
      m_result.epochs_used += result.epochs;
      m_result.epochs_full += m_config.training.epochs;
      if (is_best(result)) m_result.best = static_cast<int>(m_result.trials.size()) - 1;
    }
    m_observer.on_result(result);
  }

  bool is_best(TrialResult const& result) const
  {
    if (result.failed() || !std::isfinite(result.fitness)) return false;
    return m_result.best < 0 || result.fitness > m_result.trials[static_cast<std::size_t>(m_result.best)].fitness;
  }

  /// Goes through the journal of an earlier call; returns the curves that stay.
  std::string replay()
  {
    std::string const path = m_folder.file("journal.jsonl");
    auto const events = read_journal(path);
    // Reports of candidates that were cut off are void: only those after the last (re)start before the answer count.
    std::map<std::int64_t, std::size_t> first; // trial -> where its counted reports begin
    std::size_t begin = 0;
    for (std::size_t i = 0; i < events.size(); ++i) {
      json::Reader reader(events[i], concat(path, ":", i + 1));
      std::string const event = reader.string("event");
      if (event == "start" || event == "resume") begin = i;
      if (auto const* const before = reader.find("config")) {
        auto const difference = json::first_difference(nas::to_json(m_config), *before);
        require(difference.empty(), m_folder.file("config.json"), ": ", difference,
                " when the search was begun; it would not end as the same search");
      }
      if (event == "tell") first[reader.integer("trial", 0, most_int)] = begin;
    }
    std::string curves = nn::curves_header();
    std::map<std::int64_t, Open> open;
    for (std::size_t i = 0; i < events.size(); ++i) {
      json::Reader reader(events[i], concat(path, ":", i + 1));
      std::string const event = reader.string("event");
      if (event == "ask") {
        Trial const trial = parse_trial(reader);
        auto const again = m_algorithm->ask();
        require(again && again->id == trial.id && again->genome == trial.genome, reader.where(), ": trial ", trial.id,
                " is not what this configuration asks for (another version, or an edited folder)");
        open[trial.id].result.trial = *again;
      } else if (event == "report" || event == "tell") {
        auto const id = reader.integer("trial", 0, most_int);
        auto const entry = open.find(id);
        require(entry != open.end(), reader.where(), ": trial ", id, " was not asked for");
        auto const counted = first.find(id);
        if (event == "report") {
          if (counted == first.end() || i < counted->second) continue;
          auto const report = nn::parse_report(reader);
          observe(entry->second.result, report);
          curves += nn::curves_row(std::to_string(id), report);
        } else {
          take(parse_result(reader, entry->second.result.trial));
          open.erase(entry);
        }
      }
    }
    for (auto const& [id, left] : open)
      wait(left.result.trial);
    return curves;
  }

  void wait(Trial const& trial)
  {
    Waiting waiting{trial};
    if (m_cost) {
      nn::spec::Architecture architecture;
      bool sound = true;
      try {
        architecture = m_space->decode(trial.genome);
        nn::spec::infer(architecture, "search");
      } catch (Error const&) { // no network: make_job says so
        sound = false;
      }
      if (sound) waiting.expected_seconds = m_cost(architecture);
    }
    m_waiting.push_back(std::move(waiting));
  }

  /// The next candidate; nothing while answers are needed first, and at the end.
  std::optional<Waiting> next()
  {
    bool const by_cost = orders_by_cost(m_config, *m_algorithm);
    while (m_waiting.empty() || (by_cost && !(m_interrupted && m_interrupted()))) {
      auto const trial = m_algorithm->ask();
      if (!trial) break;
      json::Object event = to_json(*trial);
      event["event"] = "ask";
      record(std::move(event));
      wait(*trial);
    }
    if (m_waiting.empty()) return std::nullopt;
    auto chosen = m_waiting.begin();
    if (by_cost)
      for (auto it = chosen; it != m_waiting.end(); ++it)
        if (it->expected_seconds > chosen->expected_seconds ||
            (std::isnan(chosen->expected_seconds) && !std::isnan(it->expected_seconds)))
          chosen = it;
    Waiting waiting = std::move(*chosen);
    m_waiting.erase(chosen);
    return waiting;
  }

  void work()
  {
    int const workers = std::min(m_config.settings.workers, m_config.settings.evaluations);
    auto const evaluator = make_local_evaluator(
        m_trainer, m_dataset, workers, [this](int id, nn::EpochReport const& report) { return on_report(id, report); },
        m_interrupted);
    for (;;) {
      std::vector<Job> jobs;
      while (!m_stopping && static_cast<int>(m_open.size()) < evaluator->capacity()) {
        auto const waiting = next();
        if (!waiting) break;
        Open& open = m_open[waiting->trial.id];
        open.result.trial = waiting->trial;
        open.result.expected_seconds = waiting->expected_seconds;
        if (auto job = make_job(open.result))
          jobs.push_back(std::move(*job));
        else
          answer(waiting->trial.id, nullptr);
      }
      evaluator->submit(std::move(jobs));
      auto const done = evaluator->wait();
      if (!done) return;
      if (done->training.status == nn::Status::interrupted) {
        m_stopping = true; // what else is open ends, too, and its answers count
        m_open.erase(done->id);
        continue;
      }
      fill(m_open.at(done->id), done->training);
      answer(done->id, done->training.weights.get());
    }
  }

  /// The result of an open candidate is complete: it is kept and told.
  void answer(int id, nn::Weights const* weights)
  {
    TrialResult result = m_open.at(id).result;
    m_open.erase(id);
    if (is_best(result) && weights) save_best(result, *weights);
    if (m_transfer && weights && !result.failed()) keep_weights(result, *weights);
    json::Object event = to_json(result);
    event["event"] = "tell";
    record(std::move(event));
    take(result);
  }

  /// What is to be trained; nothing where the genome has no network or one that would train for too long, which is an
  /// answer and not an end.
  std::optional<Job> make_job(TrialResult& result)
  {
    try {
      Job job{
          .id = result.trial.id, .architecture = m_space->decode(result.trial.genome), .options = m_config.training};
      auto const inferred = nn::spec::infer(job.architecture, concat("trial ", result.trial.id));
      result.flops = inferred.forward_flops;
      result.parameters = inferred.parameter_count;
      result.hash = nn::spec::hash(job.architecture);
      require(m_config.seconds_cap == 0 || !(result.expected_seconds > m_config.seconds_cap),
              "its training is expected to take ", fixed(result.expected_seconds, 1), " s, the cap is ",
              shortest(m_config.seconds_cap), " s");
      job.options.seed += static_cast<std::uint64_t>(result.trial.id);
      if (m_transfer) {
        auto start = m_transfer->start(result.trial, job.architecture);
        result.transfer = start.record;
        job.initial_weights = std::move(start.weights);
        job.frozen = std::move(start.frozen);
      }
      return job;
    } catch (Error const& error) {
      result.status = nn::Status::invalid;
      result.reason = error.what();
      return std::nullopt;
    }
  }

  void fill(Open& open, nn::TrainResult const& trained) const
  {
    TrialResult& result = open.result;
    result.status = trained.status;
    result.reason = trained.reason;
    bool const stopped = trained.status == nn::Status::stopped && !open.stale;
    if (stopped) result.reason = concat("the engine: ", open.prediction.reason);
    if (open.stale) result.reason = stale_reason;
    if (result.failed() || trained.reports.empty()) return;
    result.predicted = stopped && m_config.fitness == FitnessRule::prediction && std::isfinite(result.prediction);
    result.fitness = m_config.fitness == FitnessRule::best ? result.best
                     : result.predicted                    ? std::clamp(result.prediction, 0.0, 100.0)
                                                           : result.last;
    result.deviation = spread(trained.reports);
  }

  /// What the algorithm maximises: validation accuracy, or R2 (the share of the targets' variance that is explained),
  /// in percent.
  double score(nn::EpochReport const& report) const
  {
    if (m_config.task.regression > 0) return 100 * (1 - report.validation_loss / m_target_variance);
    return 100 * report.validation_accuracy;
  }

  /// Of the last three scores, in percentage points.
  double spread(std::vector<nn::EpochReport> const& reports) const
  {
    std::size_t const count = std::min<std::size_t>(3, reports.size());
    double mean = 0, squares = 0;
    for (std::size_t i = reports.size() - count; i < reports.size(); ++i)
      mean += score(reports[i]) / static_cast<double>(count);
    for (std::size_t i = reports.size() - count; i < reports.size(); ++i)
      squares += std::pow(score(reports[i]) - mean, 2) / static_cast<double>(count);
    return std::sqrt(squares);
  }

  /// Before the answer is journaled: whatever is told can give its weights.
  void keep_weights(TrialResult& result, nn::Weights const& weights)
  {
    auto living = m_algorithm->living();
    living.push_back(result.trial.id);
    for (auto const& [id, open] : m_open) // whose donors may be asked for again after a kill
      if (open.result.transfer.donor >= 0) living.push_back(open.result.transfer.donor);
    std::string note;
    m_transfer->keep(result.trial, m_space->decode(result.trial.genome), weights, result.fitness, result.epochs,
                     m_config.training.seed + static_cast<std::uint64_t>(result.trial.id), living, result.transfer,
                     note);
    if (!note.empty()) tell_note(result.trial.id, note);
  }

  /// Something that people should know and that does not end the search.
  void tell_note(int id, std::string const& text)
  {
    json::Object event;
    event["event"] = "note";
    event["trial"] = id;
    event["text"] = text;
    m_observer.on_note(text);
    record(std::move(event));
  }

  void save_best(TrialResult const& result, nn::Weights const& weights)
  {
    auto const architecture = m_space->decode(result.trial.genome);
    bool const in_double = m_config.training.precision == nn::Precision::float64;
    write_file(m_folder.file("best/architecture.json"), nn::spec::to_json(architecture));
    nn::save_weights(m_folder.file("best/weights.h5"), architecture, weights, in_double);
    std::string const model = m_folder.file("best/model.onnx");
    try {
      nn::export_onnx(model, architecture, weights);
    } catch (Error const& error) { // a network that the format cannot hold is no reason to lose a search
      std::error_code ignored;
      std::filesystem::remove(model, ignored); // the one before is another network's
      tell_note(result.trial.id, concat("no ", model, ": ", error.what()));
    }
  }
};

} // namespace

bool TrialResult::failed() const
{
  return status == nn::Status::diverged || status == nn::Status::out_of_memory || status == nn::Status::invalid;
}

std::string name(FitnessRule rule)
{
  switch (rule) {
  case FitnessRule::prediction:
    return "prediction";
  case FitnessRule::last:
    return "last";
  case FitnessRule::best:
    return "best";
  }
  return "unknown";
}

void check(SearchConfig const& config)
{
  auto const space = make_space(config.space, config.task);
  make_algorithm(config.settings, *space);
  nn::check(config.training);
  predictor::check(engine_settings(config));
  require(std::isfinite(config.stale_epochs) && config.stale_epochs >= 0,
          "search: 'stale_epochs' must not be negative, got ", config.stale_epochs);
  require(std::isfinite(config.seconds_cap) && config.seconds_cap >= 0,
          "search: 'seconds_cap' must not be negative, got ", config.seconds_cap);
  require(config.seconds_cap == 0 || !config.estimator.is_null(),
          "search: a cap on the seconds of a candidate needs an estimator of them");
  require(config.training.early_stopping_patience == 0 || config.predictor == "none",
          "a prediction engine and --early-stopping both stop candidates; use one of them");
  require(config.task.regression == 0 || config.predictor == "none",
          "search: prediction engines know accuracies alone; with a regression 'predictor' must be none, got '",
          config.predictor, "'");
}

json::Value to_json(SearchConfig const& config)
{
  json::Object object;
  object["format"] = "nasturtium-search";
  object["version"] = 1;
  object["space"] = config.space;
  object["task"] = to_json(config.task);
  json::Object algorithm;
  algorithm["name"] = config.settings.algorithm;
  algorithm["evaluations"] = config.settings.evaluations;
  algorithm["population"] = config.settings.population;
  algorithm["sample"] = config.settings.sample;
  algorithm["mutation"] = config.settings.mutation;
  algorithm["crossover"] = config.settings.crossover;
  algorithm["workers"] = config.settings.workers;
  algorithm["seed"] = config.settings.seed;
  algorithm["allow_repeats"] = config.settings.allow_repeats;
  object["algorithm"] = std::move(algorithm);
  object["predictor"] = config.predictor;
  object["fitness"] = name(config.fitness);
  object["stale_epochs"] = config.stale_epochs;
  if (config.transfer.on) object["transfer"] = to_json(config.transfer);
  if (!config.estimator.is_null()) {
    object["estimator"] = config.estimator;
    object["seconds_cap"] = config.seconds_cap;
  }
  object["backend"] = nn::name(config.backend);
  object["training"] = json::parse(nn::to_json(config.training), "options");
  object["data"] = config.data;
  object["data_checksum"] = config.data_checksum;
  return object;
}

SearchConfig parse_search_config(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-search", 1);
  SearchConfig config;
  config.space = reader.string("space");
  config.task = parse_task(reader.object("task"));
  auto algorithm = reader.object("algorithm");
  auto& settings = config.settings;
  settings.algorithm = algorithm.string("name");
  settings.evaluations = static_cast<int>(algorithm.integer("evaluations", 1, most_int));
  settings.population = static_cast<int>(algorithm.integer("population", 0, most_int));
  settings.sample = static_cast<int>(algorithm.integer("sample", 0, most_int));
  settings.mutation = algorithm.number("mutation", {});
  settings.crossover = algorithm.number("crossover", {});
  settings.workers = static_cast<int>(algorithm.integer("workers", 1, most_int));
  settings.seed = algorithm.seed("seed");
  settings.allow_repeats = algorithm.boolean("allow_repeats");
  algorithm.finish();
  config.predictor = reader.string("predictor");
  constexpr FitnessRule rules[] = {FitnessRule::prediction, FitnessRule::last, FitnessRule::best};
  config.fitness = rules[reader.choice("fitness", {"prediction", "last", "best"})];
  config.stale_epochs = reader.number("stale_epochs", json::at_least(0), 0.0);
  if (auto const* const transfer = reader.find("transfer"))
    config.transfer = parse_transfer_settings(*transfer, reader.what("transfer"));
  if (auto const* const estimator = reader.find("estimator")) {
    config.estimator = *estimator;
    config.seconds_cap = reader.number("seconds_cap", json::at_least(0));
  }
  config.backend = nn::parse_backend(reader.string("backend"));
  config.training = nn::parse_options(json::compact(reader.value("training")), reader.what("training"));
  config.data = reader.value("data");
  config.data_checksum = reader.string("data_checksum");
  reader.finish();
  check(config);
  return config;
}

SearchFolder::SearchFolder(RunFolder folder, SearchConfig config)
    : m_folder(std::move(folder)), m_config(std::move(config))
{
}

SearchFolder SearchFolder::create(std::string const& path, SearchConfig const& config, Provenance const& provenance,
                                  std::vector<std::pair<std::string, std::string>> const& files)
{
  check(config);
  RunFolder::Content content{
      {{"provenance.json", json::pretty(to_json(provenance))}, {"config.json", json::pretty(to_json(config))}},
      {"best"}};
  content.files.insert(content.files.end(), files.begin(), files.end());
  return SearchFolder(RunFolder::create(path, content, "nasturtium search --resume"), config);
}

SearchFolder SearchFolder::open(std::string const& path)
{
  RunFolder folder = RunFolder::open(path);
  std::string const file = folder.file("config.json");
  return SearchFolder(std::move(folder), parse_search_config(json::parse_file(file), file));
}

SearchFolder SearchFolder::open_or_create(std::string const& path, SearchConfig const& config,
                                          Provenance const& provenance)
{
  if (!RunFolder::exists(path)) return create(path, config, provenance);
  auto folder = open(path);
  auto const difference = json::first_difference(to_json(config), to_json(folder.config()));
  require(difference.empty(), path, ": ", difference, " in this folder; choose another --out");
  return folder;
}

SearchResult run_search(SearchFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                        SearchObserver& observer, std::function<bool()> const& interrupted, TrainingCost const& cost)
{
  require(static_cast<bool>(cost) != folder.config().estimator.is_null(), folder.file("config.json"),
          ": 'estimator' says whether candidates are estimated, and the caller does ", cost ? "so" : "not");
  auto const& task = folder.config().task;
  require(dataset.validation.count > 0, dataset.name, ": a search needs a validation split (--validation FRACTION)");
  require(dataset.classes == task.classes && dataset.target_width == task.regression &&
              dataset.height == task.input.height && dataset.width == task.input.width &&
              dataset.channels == task.input.channels,
          dataset.name, ": is not the data set that the search was configured for");
  require(task.regression == 0 || datasets::target_variance(dataset.validation, task.regression) > 0, dataset.name,
          ": the targets of the validation split are all equal, which leaves R2 undefined");
  return Search(folder, dataset, trainer, observer, interrupted, cost).run();
}

std::string trials_csv(std::vector<TrialResult> const& trials)
{
  std::vector<std::string> fields{"trial", "generation", "parent", "other_parent", "status", "predicted"};
  for (auto const& [title, member] : numbers)
    fields.emplace_back(title);
  fields.insert(fields.end(), {"parameters", "hash", "genome", "donor", "transferred_layers", "weighted_layers",
                               "transferred_bytes", "transferred_fraction", "lineage_length", "lineage_epochs",
                               "match_seconds", "load_seconds", "store_seconds", "reason"});
  std::string text = csv_line(fields);
  for (auto const& result : trials) {
    auto const& trial = result.trial;
    fields = {std::to_string(trial.id),           std::to_string(trial.generation), std::to_string(trial.parent),
              std::to_string(trial.other_parent), nn::name(result.status),          result.predicted ? "1" : "0"};
    for (auto const& [title, member] : numbers)
      fields.push_back(std::isfinite(result.*member) ? shortest(result.*member) : std::string());
    fields.insert(fields.end(), {std::to_string(result.parameters), result.hash, format_genome(trial.genome)});
    auto const& it = result.transfer;
    if (it.layers_of_child > 0)
      fields.insert(fields.end(), {std::to_string(it.donor), std::to_string(it.layers),
                                   std::to_string(it.layers_of_child), std::to_string(it.bytes), shortest(it.fraction),
                                   std::to_string(it.lineage_length), shortest(it.lineage_epochs),
                                   shortest(it.match_seconds), shortest(it.load_seconds), shortest(it.store_seconds)});
    else
      fields.insert(fields.end(), 10, std::string()); // without transfer
    fields.push_back(result.reason);
    text += csv_line(fields);
  }
  return text;
}

} // namespace nasturtium::nas
