// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/full_training.hpp>
#include <nasturtium/nn/report.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace nasturtium::nas {

namespace {

constexpr auto most_int = std::numeric_limits<int>::max();
constexpr Arm all_arms[] = {Arm::random, Arm::transferred, Arm::own, Arm::rescore, Arm::lineage};
constexpr std::uint64_t seed_step = 1000003; // far from the seeds of candidates

/// Ends a training whose validation loss has stopped falling.
class EarlyStop : public nn::Listener
{
public:
  explicit EarlyStop(FullTrainingOptions const& options) : m_options(options) {}

  nn::Decision on_report(nn::EpochReport const& report) override
  {
    if (report.validation_loss < m_best - m_options.min_delta) {
      m_best = report.validation_loss;
      m_stale = 0;
    } else if (++m_stale >= m_options.patience) {
      return nn::Decision::stop;
    }
    return nn::Decision::proceed;
  }

private:
  FullTrainingOptions const& m_options;
  double m_best = std::numeric_limits<double>::infinity();
  int m_stale = 0;
};

json::Value or_null(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

json::Object to_json(FullTraining const& training)
{
  json::Object object;
  object["trial"] = training.trial;
  object["arm"] = name(training.arm);
  object["status"] = nn::name(training.status);
  object["epochs"] = training.epochs;
  object["validation"] = or_null(training.validation);
  object["test"] = or_null(training.test);
  object["seconds"] = training.seconds;
  return object;
}

FullTraining parse(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  FullTraining training;
  training.trial = static_cast<int>(reader.integer("trial", 0, most_int));
  training.arm = all_arms[reader.choice("arm", {"random", "transferred", "own", "rescore", "lineage"})];
  training.status = nn::parse_status(reader.string("status"), reader.what("status"));
  training.epochs = reader.number("epochs", json::at_least(0));
  auto const number = [&](char const* field) {
    auto const& found = reader.value(field);
    return found.is_null() ? TrialResult::nan : json::to_number(found, reader.what(field));
  };
  training.validation = number("validation");
  training.test = number("test");
  training.seconds = reader.number("seconds", json::at_least(0));
  reader.finish();
  return training;
}

} // namespace

std::string name(Arm arm)
{
  switch (arm) {
  case Arm::random:
    return "random";
  case Arm::transferred:
    return "transferred";
  case Arm::own:
    return "own";
  case Arm::rescore:
    return "rescore";
  case Arm::lineage:
    return "lineage";
  }
  return "unknown";
}

std::string full_trainings_csv(std::vector<FullTraining> const& trainings)
{
  std::string text = csv_line({"trial", "arm", "status", "epochs", "validation", "test", "seconds"});
  auto const field = [](double value) { return std::isfinite(value) ? shortest(value) : std::string(); };
  for (auto const& it : trainings)
    text += csv_line({std::to_string(it.trial), name(it.arm), nn::name(it.status), shortest(it.epochs),
                      field(it.validation), field(it.test), shortest(it.seconds)});
  return text;
}

std::vector<TrialResult> fittest(std::vector<TrialResult> const& trials, std::size_t count)
{
  std::vector<TrialResult> ranked;
  for (auto const& trial : trials)
    if (!trial.failed() && std::isfinite(trial.fitness)) ranked.push_back(trial);
  std::stable_sort(ranked.begin(), ranked.end(), [](auto const& a, auto const& b) { return a.fitness > b.fitness; });
  if (ranked.size() > count) ranked.resize(count);
  return ranked;
}

std::vector<FullTraining> train_fully(SearchFolder const& folder, std::vector<TrialResult> const& trials,
                                      std::vector<Arm> const& arms, FullTrainingOptions const& options,
                                      datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                                      std::function<void(FullTraining const&)> const& on_training,
                                      std::function<bool()> const& interrupted)
{
  auto const& config = folder.config();
  auto const space = make_space(config.space, config.task);
  std::string const path = folder.file("full_training.jsonl");
  std::map<std::pair<int, Arm>, FullTraining> done;
  if (is_file(path)) {
    std::size_t line = 0;
    for (auto const& event : read_journal(path)) {
      auto const training = parse(event, concat(path, ":", ++line));
      done[{training.trial, training.arm}] = training;
    }
  }
  JournalWriter journal(path);
  std::optional<WeightStore> store;
  if (config.transfer.on) store = WeightStore::open(folder.file("store"));

  std::vector<FullTraining> results;
  for (auto const& trial : trials) {
    std::shared_ptr<nn::Weights const> rescored; // of this trial, in this call
    for (Arm const arm : arms) {
      auto const known = done.find({trial.trial.id, arm});
      // The weights of a rescore are not kept: where `own` is still to do, it is done once more.
      bool const for_own = arm == Arm::rescore && std::find(arms.begin(), arms.end(), Arm::own) != arms.end() &&
                           !done.contains({trial.trial.id, Arm::own});
      if (known != done.end()) results.push_back(known->second);
      if (known != done.end() && !for_own) continue;

      nn::Candidate candidate;
      candidate.architecture = space->decode(trial.trial.genome);
      candidate.options = config.training;
      candidate.options.seed += seed_step + static_cast<std::uint64_t>(trial.trial.id);
      if (options.learning_rate > 0) candidate.options.optimiser.learning_rate = options.learning_rate;
      bool const fully = arm == Arm::random || arm == Arm::transferred || arm == Arm::own;
      EarlyStop early(options);
      if (fully) {
        candidate.options.epochs = options.most_epochs;
        candidate.listeners = {&early};
      } else {
        // As the search trained it, so with its learning rate too.
        candidate.options.optimiser.learning_rate = config.training.optimiser.learning_rate;
        double const epochs = arm == Arm::lineage ? trial.transfer.lineage_epochs : trial.epochs;
        candidate.options.epochs = std::max(1, static_cast<int>(std::lround(epochs)));
      }
      if (arm == Arm::transferred) {
        auto weights = store ? store->load(std::to_string(trial.trial.id)) : std::nullopt;
        if (!weights) continue;
        candidate.initial_weights = std::make_shared<nn::Weights const>(std::move(*weights));
      }
      if (arm == Arm::own) candidate.initial_weights = rescored;
      if (arm == Arm::own && !rescored) continue; // the rescore failed
      auto const trained = nn::train(trainer, std::span<nn::Candidate const>(&candidate, 1), dataset, interrupted);
      auto const& outcome = trained.front();
      if (outcome.status == nn::Status::interrupted) return results;
      if (arm == Arm::rescore) rescored = outcome.weights;
      if (known != done.end()) continue; // it was done again for its weights alone
      FullTraining result{.trial = trial.trial.id, .arm = arm, .status = outcome.status, .seconds = outcome.seconds};
      if (!outcome.reports.empty()) {
        result.epochs = outcome.reports.back().epoch;
        result.validation = 100 * outcome.reports.back().validation_accuracy;
      }
      if (outcome.weights && dataset.test.count > 0 && outcome.status != nn::Status::diverged)
        result.test = 100 * nn::evaluate(trainer, candidate.architecture, *outcome.weights, dataset, dataset.test, 256,
                                         1, nullptr, config.training.precision)
                                .accuracy;
      journal.append(to_json(result));
      results.push_back(result);
      if (on_training) on_training(result);
    }
  }
  return results;
}

} // namespace nasturtium::nas
