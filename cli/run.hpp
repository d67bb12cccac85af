// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A training run: what is to be done, the folder that tells what has been done, and the doing. Format: docs/formats.md.
//
// The folder is made complete or not at all, every event of the journal is on its way to the disk before the next one,
// and checkpoints replace each other atomically: a run killed at any moment goes on and ends with the bits of one that
// was not.
#pragma once

#include "program.hpp"
#include "training_options.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/core/run_folder.hpp>
#include <nasturtium/nn/report.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::cli {

struct RunCandidate
{
  std::string id; ///< unique in the run; names its folder in a population
  nn::spec::Architecture architecture;
  nn::TrainOptions options;
};

/// All that decides the result of a run.
struct RunConfig
{
  DataChoice data;
  std::string data_checksum;
  nn::BackendKind backend = nn::BackendKind::openmp;
  nn::PopulationPolicy policy = nn::PopulationPolicy::one_after_another;
  std::string initial_weights; ///< file; empty: from the seed
  std::string initial_weights_checksum;
  std::vector<RunCandidate> candidates;
};

/// All policies with their names.
std::vector<std::pair<std::string, nn::PopulationPolicy>> const& population_policies();
std::string name(nn::PopulationPolicy policy);

json::Value to_json(RunConfig const& config);
RunConfig parse_run_config(json::Value const& value, std::string const& source);

/// What came out for one candidate; the journal's "finish" event.
struct Outcome
{
  std::string id;
  nn::Status status = nn::Status::completed;
  std::string reason;
  std::int64_t parameters = 0;
  double epochs = 0;
  std::int64_t steps = 0;
  double seconds = 0;           ///< of training steps, from the first start
  double images_per_second = 0; ///< of training steps
  double train_loss = 0, train_accuracy = 0;
  double validation_loss = 0, validation_accuracy = 0; ///< NaN without a validation split
  double test_loss = 0, test_accuracy = 0;             ///< NaN without a test split
  bool finished() const { return status != nn::Status::interrupted && status != nn::Status::paused; }
  bool failed() const;
};

json::Value to_json(Outcome const& outcome);

/// The folder of a run. Held exclusively while the object lives.
class RunDirectory
{
public:
  /// Makes the folder with config.json and provenance.json. Throws Error where there is anything but an empty folder.
  static RunDirectory create(std::string const& path, RunConfig const& config, Provenance const& provenance);
  /// Opens the folder of an earlier run.
  static RunDirectory open(std::string const& path);

  std::string const& path() const { return m_folder.path(); }
  RunConfig const& config() const { return m_config; }
  /// Folder of a candidate: the run's own if there is just one.
  std::string folder(std::size_t candidate) const;
  std::string file(std::size_t candidate, std::string const& name) const;

  /// Throws Error where the configuration is not the one that the run was begun with; limits (epochs, steps, time,
  /// memory) may have changed, and what changes no result.
  void check_unchanged() const;
  /// Outcomes of candidates that are done, by id, and reports so far.
  std::map<std::string, Outcome> outcomes() const;
  std::vector<std::pair<std::string, nn::EpochReport>> reports() const;

  /// Opens journal and curves for writing; `kept` are the reports that stay (those after a checkpoint are made again).
  void begin(std::vector<std::pair<std::string, nn::EpochReport>> const& kept);
  void record(json::Object event);
  void report(std::string const& id, nn::EpochReport const& report);

private:
  RunDirectory(RunFolder folder, RunConfig config);

  RunFolder m_folder;
  RunConfig m_config;
  std::unique_ptr<AppendFile> m_curves;
  std::unique_ptr<JournalWriter> m_journal;
};

/// How a run is shown and what is taken out of it beside the folder.
struct RunRequest
{
  ProgressStyle progress = ProgressStyle::automatic;
  std::string label = "train";
  std::string log_steps;      ///< CSV (step, loss) of the one candidate; empty: none
  std::string export_weights; ///< HDF5 of the one candidate; empty: none
};

/// Outcomes in the order of the candidates. `interrupted` tells that Ctrl-C ended it.
struct RunResult
{
  std::vector<Outcome> outcomes;
  std::vector<std::pair<std::string, nn::EpochReport>> reports;
  bool interrupted = false;
};

/// Trains what is left to train. Without a folder nothing is kept but what the request asks for.
RunResult run(RunConfig const& config, RunDirectory* directory, datasets::Dataset const& dataset,
              nn::TrainerOptions const& trainer, RunRequest const& request);

/// Curves as CSV: id, epoch, value and every metric; value is what a search maximises (accuracy) or minimises (loss).
std::string curves_csv(std::vector<std::pair<std::string, nn::EpochReport>> const& reports);

/// Throws Error unless a file could be written there.
void check_writable(std::string const& path, std::string const& option);

} // namespace nasturtium::cli
