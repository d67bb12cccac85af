// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "run.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/nn/checkpoint.hpp>
#include <nasturtium/nn/onnx.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <limits>
#include <mutex>
#include <set>
#include <utility>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr auto most = std::numeric_limits<std::int64_t>::max();

// JSON has no NaN: an accuracy that was not measured is null.
json::Value or_null(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

double number_or_nan(json::Reader& reader, std::string const& field)
{
  json::Value const* const value = reader.find(field);
  return !value || value->is_null() ? nan : json::to_number(*value, reader.what(field));
}

Outcome parse_outcome(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  Outcome outcome;
  outcome.id = reader.string("id");
  outcome.status = nn::parse_status(reader.string("status"), reader.what("status"));
  outcome.reason = reader.string("reason", "");
  outcome.parameters = reader.integer("parameters", 0, most);
  outcome.epochs = number_or_nan(reader, "epochs");
  outcome.steps = reader.integer("steps", 0, most);
  outcome.seconds = number_or_nan(reader, "seconds");
  outcome.images_per_second = number_or_nan(reader, "images_per_second");
  outcome.train_loss = number_or_nan(reader, "train_loss");
  outcome.train_accuracy = number_or_nan(reader, "train_accuracy");
  outcome.validation_loss = number_or_nan(reader, "validation_loss");
  outcome.validation_accuracy = number_or_nan(reader, "validation_accuracy");
  outcome.test_loss = number_or_nan(reader, "test_loss");
  outcome.test_accuracy = number_or_nan(reader, "test_accuracy");
  return outcome;
}

std::string join(std::string const& folder, std::string const& file)
{
  return (fs::path(folder) / file).string();
}

} // namespace

std::vector<std::pair<std::string, nn::PopulationPolicy>> const& population_policies()
{
  static std::vector<std::pair<std::string, nn::PopulationPolicy>> const policies{
      {"one_after_another", nn::PopulationPolicy::one_after_another},
      {"one_per_core", nn::PopulationPolicy::one_per_core},
      {"interleaved", nn::PopulationPolicy::interleaved},
      {"fused", nn::PopulationPolicy::fused}};
  return policies;
}

std::string name(nn::PopulationPolicy policy)
{
  for (auto const& [word, value] : population_policies()) {
    if (value == policy) return word;
  }
  return "unknown";
}

bool Outcome::failed() const
{
  return status == nn::Status::diverged || status == nn::Status::out_of_memory || status == nn::Status::invalid;
}

json::Value to_json(Outcome const& outcome)
{
  json::Object object;
  object["id"] = outcome.id;
  object["status"] = nn::name(outcome.status);
  object["reason"] = outcome.reason;
  object["parameters"] = outcome.parameters;
  object["epochs"] = or_null(outcome.epochs);
  object["steps"] = outcome.steps;
  object["seconds"] = or_null(outcome.seconds);
  object["images_per_second"] = or_null(outcome.images_per_second);
  object["train_loss"] = or_null(outcome.train_loss);
  object["train_accuracy"] = or_null(outcome.train_accuracy);
  object["validation_loss"] = or_null(outcome.validation_loss);
  object["validation_accuracy"] = or_null(outcome.validation_accuracy);
  object["test_loss"] = or_null(outcome.test_loss);
  object["test_accuracy"] = or_null(outcome.test_accuracy);
  return object;
}

json::Value to_json(RunConfig const& config)
{
  json::Object object;
  object["format"] = "nasturtium-run";
  object["version"] = 1;
  object["data"] = to_json(config.data);
  object["data_checksum"] = config.data_checksum;
  object["backend"] = nn::name(config.backend);
  object["policy"] = name(config.policy);
  if (!config.initial_weights.empty()) {
    object["initial_weights"] = config.initial_weights;
    object["initial_weights_checksum"] = config.initial_weights_checksum;
  }
  json::Array candidates;
  for (auto const& candidate : config.candidates) {
    json::Object entry;
    entry["id"] = candidate.id;
    entry["architecture"] = json::parse(nn::spec::to_json(candidate.architecture), "architecture");
    entry["options"] = json::parse(nn::to_json(candidate.options), "options");
    candidates.push_back(std::move(entry));
  }
  object["candidates"] = std::move(candidates);
  return object;
}

RunConfig parse_run_config(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-run", 1);
  RunConfig config;
  config.data = parse_data_choice(reader.value("data"), source + ": 'data'");
  config.data_checksum = reader.string("data_checksum");
  config.backend = nn::parse_backend(reader.string("backend"));
  std::vector<std::string> policies;
  for (auto const& [word, policy] : population_policies())
    policies.push_back(word);
  config.policy = population_policies()[static_cast<std::size_t>(reader.choice("policy", policies))].second;
  config.initial_weights = reader.string("initial_weights", "");
  config.initial_weights_checksum = reader.string("initial_weights_checksum", "");
  for (auto const& entry : reader.array("candidates")) {
    json::Reader fields(entry, concat(source, ": candidate ", config.candidates.size()));
    RunCandidate candidate;
    candidate.id = fields.string("id");
    fields.set_where(concat(source, ": candidate '", candidate.id, "'"));
    candidate.architecture = nn::spec::parse_architecture(json::compact(fields.value("architecture")), fields.where());
    candidate.options = nn::parse_options(json::compact(fields.value("options")), fields.where());
    fields.finish();
    config.candidates.push_back(std::move(candidate));
  }
  reader.finish();
  require(!config.candidates.empty(), source, ": field 'candidates' is empty");
  return config;
}

RunDirectory::RunDirectory(RunFolder folder, RunConfig config)
    : m_folder(std::move(folder)), m_config(std::move(config))
{
}

RunDirectory RunDirectory::create(std::string const& path, RunConfig const& config, Provenance const& provenance)
{
  RunFolder::Content content{
      {{"provenance.json", json::pretty(to_json(provenance))}, {"config.json", json::pretty(to_json(config))}}, {}};
  if (config.candidates.size() > 1)
    for (auto const& candidate : config.candidates)
      content.folders.push_back(candidate.id);
  return RunDirectory(RunFolder::create(path, content, "nasturtium train --resume"), config);
}

RunDirectory RunDirectory::open(std::string const& path)
{
  RunFolder folder = RunFolder::open(path);
  std::string const file = folder.file("config.json");
  return RunDirectory(std::move(folder), parse_run_config(json::parse_file(file), file));
}

std::string RunDirectory::folder(std::size_t candidate) const
{
  return m_config.candidates.size() == 1 ? path() : join(path(), m_config.candidates.at(candidate).id);
}

std::string RunDirectory::file(std::size_t candidate, std::string const& name) const
{
  return join(folder(candidate), name);
}

namespace {

// What must not change between the start of a run and its end.
json::Value lasting(RunConfig config)
{
  nn::TrainOptions const none;
  config.policy = nn::PopulationPolicy::one_after_another;
  config.data.data_dir.clear();
  for (auto& candidate : config.candidates) {
    candidate.options.epochs = none.epochs;
    candidate.options.max_steps = none.max_steps;
    candidate.options.time_limit_seconds = none.time_limit_seconds;
    candidate.options.memory_limit_bytes = none.memory_limit_bytes;
  }
  return to_json(config);
}

} // namespace

void RunDirectory::check_unchanged() const
{
  std::string const path = m_folder.file("journal.jsonl");
  if (!is_file(path)) return;
  for (auto const& event : read_journal(path)) {
    auto const* const object = event.if_object();
    auto const* const before = object ? object->if_contains("config") : nullptr;
    if (!before) continue;
    std::string const difference = json::first_difference(lasting(m_config), *before);
    require(difference.empty(), m_folder.file("config.json"), ": ", difference,
            " when the run was begun; it would not end as the same run");
    return;
  }
}

std::map<std::string, Outcome> RunDirectory::outcomes() const
{
  std::map<std::string, Outcome> found;
  std::string const path = m_folder.file("journal.jsonl");
  if (!is_file(path)) return found;
  std::int64_t line = 0;
  for (auto const& event : read_journal(path)) {
    std::string const where = concat(path, ":", ++line);
    json::Reader reader(event, where);
    if (reader.string("event") != "finish") continue;
    Outcome outcome = parse_outcome(event, where);
    found[outcome.id] = outcome;
  }
  return found;
}

std::vector<std::pair<std::string, nn::EpochReport>> RunDirectory::reports() const
{
  std::vector<std::pair<std::string, nn::EpochReport>> found;
  std::string const path = m_folder.file("journal.jsonl");
  if (!is_file(path)) return found;
  std::map<std::pair<std::string, std::int64_t>, std::size_t> position;
  std::int64_t line = 0;
  for (auto const& event : read_journal(path)) {
    json::Reader reader(event, concat(path, ":", ++line));
    if (reader.string("event") != "report") continue;
    nn::EpochReport const report = nn::parse_report(reader);
    // A report that was made again after a kill replaces the first.
    auto const [entry, is_new] = position.try_emplace({reader.string("id"), report.step}, found.size());
    if (is_new)
      found.emplace_back(entry->first.first, report);
    else
      found[entry->second].second = report;
  }
  return found;
}

std::string curves_csv(std::vector<std::pair<std::string, nn::EpochReport>> const& reports)
{
  std::string text = nn::curves_header();
  for (auto const& [id, report] : reports)
    text += nn::curves_row(id, report);
  return text;
}

void RunDirectory::begin(std::vector<std::pair<std::string, nn::EpochReport>> const& kept)
{
  m_curves = std::make_unique<AppendFile>(m_folder.file("curves.csv"), curves_csv(kept));
  m_journal = std::make_unique<JournalWriter>(m_folder.file("journal.jsonl"));
}

void RunDirectory::record(json::Object event)
{
  event["utc"] = utc_timestamp();
  m_journal->append(event);
}

void RunDirectory::report(std::string const& id, nn::EpochReport const& report)
{
  json::Object event;
  event["event"] = "report";
  event["id"] = id;
  json::Object const fields = nn::to_json(report);
  event.insert(fields.begin(), fields.end());
  record(std::move(event));
  m_curves->append(nn::curves_row(id, report));
}

void check_writable(std::string const& path, std::string const& option)
{
  std::error_code error;
  auto const status = fs::status(path, error);
  require(!fs::exists(status) || fs::is_regular_file(status), option, " ", path, ": is not a regular file");
  try {
    AtomicFile const probe(path); // never committed: leaves nothing
  } catch (Error const& reason) {
    fail(option, " ", reason.what());
  }
}

namespace {

// Training samples that `steps` steps have seen: the last batch of an epoch may be smaller.
std::int64_t samples_of(std::int64_t steps, nn::TrainOptions const& options, datasets::Dataset const& dataset)
{
  std::int64_t const batch = options.batch_size, batches = (dataset.train.count + batch - 1) / batch;
  return steps / batches * dataset.train.count + std::min(steps % batches * batch, dataset.train.count);
}

// Listens to all candidates of a run: journal, curves, checkpoints, logged losses, progress.
class Recorder : public nn::Listener
{
public:
  Recorder(RunConfig const& config, RunDirectory* directory, datasets::Dataset const& dataset, Progress& progress,
           std::vector<std::size_t> candidates, std::map<std::size_t, std::int64_t> seen)
      : m_config(config), m_directory(directory), m_dataset(dataset), m_progress(progress),
        m_candidates(std::move(candidates)), m_seen(std::move(seen))
  {
  }

  nn::Decision on_report(nn::EpochReport const& report) override
  {
    std::scoped_lock const lock(m_mutex);
    return guarded([&] {
      std::size_t const candidate = m_candidates.at(static_cast<std::size_t>(report.candidate));
      auto const& [id, architecture, options] = m_config.candidates[candidate];
      m_reports.emplace_back(id, report);
      // Polls count whole batches; a report knows better.
      std::int64_t& seen = m_seen[candidate];
      std::int64_t const now = samples_of(report.step, options, m_dataset);
      m_exact += now - std::exchange(seen, now);
      m_samples = m_config.candidates.size() == 1 ? m_exact : std::max<std::int64_t>(m_exact, m_samples);
      if (m_directory) m_directory->report(id, report);
      std::string line = concat(m_config.candidates.size() > 1 ? id + ", " : "", "epoch ", shortest(report.epoch), "/",
                                options.epochs, ": loss ", fixed(report.train_loss, 4));
      bool const classes = m_dataset.classes > 0;
      if (classes) line += concat(", accuracy ", fixed(100 * report.train_accuracy, 2), " %");
      if (std::isfinite(report.validation_loss)) {
        line += concat("; validation loss ", fixed(report.validation_loss, 4));
        if (classes) line += concat(", accuracy ", fixed(100 * report.validation_accuracy, 2), " %");
      }
      m_progress.message(line + concat(" (", human_seconds(report.seconds), ")"));
    });
  }

  void on_step(int, std::int64_t step, double loss) override { m_losses.emplace_back(step, loss); }

  void on_state(int candidate, std::shared_ptr<nn::TrainState const> const& state) override
  {
    std::scoped_lock const lock(m_mutex);
    guarded([&] { save(m_candidates.at(static_cast<std::size_t>(candidate)), *state); });
  }

  void save(std::size_t candidate, nn::TrainState const& state)
  {
    if (!m_directory) return;
    nn::save_checkpoint(m_directory->file(candidate, "checkpoint.h5"), state);
    json::Object event;
    event["event"] = "checkpoint";
    event["id"] = m_config.candidates[candidate].id;
    event["step"] = nn::steps_of(state);
    m_directory->record(std::move(event));
  }

  /// Polled at every step of every candidate.
  bool should_stop(std::int64_t samples_per_step)
  {
    m_samples.fetch_add(samples_per_step, std::memory_order_relaxed);
    // Looking at the clock at every step of a tiny network would be felt.
    if (m_polls.fetch_add(1, std::memory_order_relaxed) % 8 == 0) {
      std::unique_lock const lock(m_clock_mutex, std::try_to_lock);
      if (lock && m_clock.seconds() > 0.1) {
        m_clock.restart();
        m_progress.set(m_samples.load(std::memory_order_relaxed));
      }
    }
    return m_failed.load(std::memory_order_relaxed) || nasturtium::interrupted();
  }

  void rethrow() const
  {
    if (m_error) std::rethrow_exception(m_error);
  }

  std::int64_t samples() const { return m_samples; }
  std::vector<std::pair<std::string, nn::EpochReport>> const& reports() const { return m_reports; }
  std::vector<std::pair<std::int64_t, double>> const& losses() const { return m_losses; }

private:
  // What goes wrong here (a full disk) is no result of the candidate: it ends the run.
  template <class Work>
  nn::Decision guarded(Work const& work)
  {
    try {
      work();
      return nn::Decision::proceed;
    } catch (...) {
      if (!m_error) m_error = std::current_exception();
      m_failed = true;
      return nn::Decision::stop;
    }
  }

  RunConfig const& m_config;
  RunDirectory* m_directory;
  datasets::Dataset const& m_dataset;
  Progress& m_progress;
  std::vector<std::size_t> m_candidates;      ///< position in the call -> position in the config
  std::map<std::size_t, std::int64_t> m_seen; ///< samples, by candidate
  std::int64_t m_exact = 0;                   ///< samples of all, at their last reports
  std::vector<std::pair<std::string, nn::EpochReport>> m_reports;
  std::vector<std::pair<std::int64_t, double>> m_losses;
  std::exception_ptr m_error;
  std::atomic<bool> m_failed = false;
  std::atomic<std::int64_t> m_samples = 0;
  std::atomic<std::uint64_t> m_polls = 0;
  Stopwatch m_clock;
  std::mutex m_mutex, m_clock_mutex;
};

// A build without ONNX is no reason to lose a training.
void export_model(std::string const& path, nn::spec::Architecture const& architecture, nn::Weights const& weights)
{
  try {
    nn::export_onnx(path, architecture, weights, true);
  } catch (Error const& error) {
    std::cerr << "nasturtium: no " << path << ": " << error.what() << '\n';
  }
}

Outcome make_outcome(RunCandidate const& candidate, nn::TrainResult const& result, datasets::Dataset const& dataset,
                     nn::TrainerOptions const& trainer)
{
  Outcome outcome;
  outcome.id = candidate.id;
  outcome.status = result.status;
  outcome.reason = result.reason;
  outcome.parameters = nn::spec::infer(candidate.architecture, candidate.id).parameter_count;
  outcome.train_loss = outcome.train_accuracy = outcome.validation_loss = outcome.validation_accuracy = nan;
  outcome.test_loss = outcome.test_accuracy = nan;
  outcome.seconds = result.seconds;
  if (result.state) outcome.steps = nn::steps_of(*result.state);
  if (!result.reports.empty()) {
    auto const& last = result.reports.back();
    outcome.epochs = last.epoch;
    if (!result.state) outcome.steps = last.step;
    outcome.seconds = last.seconds;
    outcome.train_loss = last.train_loss;
    outcome.train_accuracy = dataset.classes > 0 ? last.train_accuracy : nan;
    outcome.validation_loss = last.validation_loss;
    outcome.validation_accuracy = dataset.classes > 0 ? last.validation_accuracy : nan;
    if (last.seconds > 0)
      outcome.images_per_second = last.epoch * static_cast<double>(dataset.train.count) / last.seconds;
  }
  if (outcome.finished() && !outcome.failed() && result.weights && dataset.test.count > 0) {
    auto const tested = nn::evaluate(trainer, candidate.architecture, *result.weights, dataset, dataset.test, 256,
                                     candidate.options.top_k, nullptr, candidate.options.precision);
    outcome.test_loss = tested.loss;
    outcome.test_accuracy = dataset.classes > 0 ? tested.accuracy : nan;
  }
  return outcome;
}

} // namespace

RunResult run(RunConfig const& config, RunDirectory* directory, datasets::Dataset const& dataset,
              nn::TrainerOptions const& trainer, RunRequest const& request)
{
  std::shared_ptr<nn::Weights const> initial;
  if (!config.initial_weights.empty()) {
    require(sha256_file(config.initial_weights) == config.initial_weights_checksum, config.initial_weights,
            ": is not the file that the run was started with");
    initial = std::make_shared<nn::Weights const>(nn::load_weights(config.initial_weights));
  }

  RunResult result;
  result.outcomes.resize(config.candidates.size());
  std::map<std::string, Outcome> const done = directory ? directory->outcomes() : std::map<std::string, Outcome>{};
  std::map<std::string, std::int64_t> last_step; // of the checkpoints: later reports are made again
  std::vector<nn::Candidate> population;
  std::vector<std::size_t> positions;
  std::int64_t samples = 0;                 // still to be trained on
  std::map<std::size_t, std::int64_t> seen; // already, by candidate
  for (std::size_t i = 0; i < config.candidates.size(); ++i) {
    auto const& candidate = config.candidates[i];
    if (auto const entry = done.find(candidate.id); entry != done.end()) {
      result.outcomes[i] = entry->second;
      last_step[candidate.id] = most;
      continue;
    }
    nn::Candidate next{.architecture = candidate.architecture,
                       .options = candidate.options,
                       .initial_weights = initial,
                       .resume_from = nullptr,
                       .frozen = {},
                       .listeners = {},
                       .log_steps = !request.log_steps.empty(),
                       .share_state = directory != nullptr};
    std::int64_t const batches =
        (dataset.train.count + candidate.options.batch_size - 1) / candidate.options.batch_size;
    std::int64_t steps = batches * candidate.options.epochs;
    if (candidate.options.max_steps > 0) steps = std::min(steps, candidate.options.max_steps);
    samples += samples_of(steps, candidate.options, dataset);
    if (directory) {
      std::string const checkpoint = directory->file(i, "checkpoint.h5");
      if (is_file(checkpoint)) {
        next.resume_from = nn::load_checkpoint(checkpoint);
        nn::check_resumable(*next.resume_from, candidate.architecture, candidate.options, next.frozen, checkpoint);
        last_step[candidate.id] = nn::steps_of(*next.resume_from);
        seen[i] = samples_of(nn::steps_of(*next.resume_from), candidate.options, dataset);
        samples -= seen[i];
      }
    }
    population.push_back(std::move(next));
    positions.push_back(i);
  }

  if (directory) {
    std::vector<std::pair<std::string, nn::EpochReport>> kept;
    for (auto const& entry : directory->reports())
      if (auto const last = last_step.find(entry.first); last != last_step.end() && entry.second.step <= last->second)
        kept.push_back(entry);
    bool const again = is_file(join(directory->path(), "journal.jsonl"));
    result.reports = kept;
    if (population.empty()) return result;
    directory->begin(kept);
    json::Object event;
    event["event"] = again ? "resume" : "start";
    event["version"] = version();
    event["git_hash"] = git_hash();
    event["threads"] = trainer.threads;
    if (!again) event["config"] = lasting(config);
    directory->record(std::move(event));
  }

  std::vector<nn::TrainResult> trained;
  std::vector<std::pair<std::int64_t, double>> losses;
  {
    Progress progress(request.label, samples, "images", request.progress);
    Recorder recorder(config, directory, dataset, progress, positions, seen);
    for (auto& candidate : population)
      candidate.listeners = {&recorder};
    std::int64_t const batch = config.candidates.front().options.batch_size;
    trained = nn::train(trainer, population, dataset, [&recorder, batch] { return recorder.should_stop(batch); });
    progress.set(recorder.samples());
    progress.finish();
    recorder.rethrow();
    for (std::size_t i = 0; i < trained.size(); ++i)
      if (trained[i].status == nn::Status::interrupted && trained[i].state)
        recorder.save(positions[i], *trained[i].state);
    result.reports.insert(result.reports.end(), recorder.reports().begin(), recorder.reports().end());
    losses = recorder.losses();
  }

  for (std::size_t i = 0; i < trained.size(); ++i) {
    auto const& candidate = config.candidates[positions[i]];
    Outcome& outcome = result.outcomes[positions[i]];
    outcome = make_outcome(candidate, trained[i], dataset, trainer);
    result.interrupted = result.interrupted || !outcome.finished();
    if (!outcome.finished()) continue;
    bool const in_double = candidate.options.precision == nn::Precision::float64;
    if (trained[i].weights && !outcome.failed()) {
      if (!request.export_weights.empty())
        nn::save_weights(request.export_weights, candidate.architecture, *trained[i].weights, in_double);
      if (directory) {
        nn::save_weights(directory->file(positions[i], "weights.h5"), candidate.architecture, *trained[i].weights,
                         in_double);
        export_model(directory->file(positions[i], "model.onnx"), candidate.architecture, *trained[i].weights);
      }
    }
    if (directory) {
      json::Object event;
      event["event"] = "finish";
      json::Object const fields = to_json(outcome).as_object();
      for (auto const& field : fields)
        event[field.key()] = field.value();
      directory->record(std::move(event));
    }
  }
  if (directory) {
    json::Object event;
    event["event"] = result.interrupted ? "interrupt" : "end";
    directory->record(std::move(event));
  }
  if (!request.log_steps.empty() && !result.interrupted) {
    AtomicFile file(request.log_steps);
    file.write("step,loss\n");
    char text[64];
    for (auto const& [step, loss] : losses) {
      std::snprintf(text, sizeof text, "%lld,%.17g\n", static_cast<long long>(step), loss);
      file.write(text);
    }
    file.commit();
  }
  return result;
}

} // namespace nasturtium::cli
