// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Successive halving that trains: configurations are drawn from a space, paused at the rungs as checkpoints, and
// resumed from them. Every paused network stays, so the folder of a search is a library of models. A search that was
// killed goes on. Format: docs/halving.md.
#pragma once

#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/run_folder.hpp>
#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/nas/halving_journal.hpp>
#include <nasturtium/nas/residual_space.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace nasturtium::nas {

/// What halving minimises, on the validation split.
enum class HalvingObjective {
  loss, ///< cross entropy without label smoothing, or the mean squared error
  error ///< 1 - accuracy; classification alone
};
std::string name(HalvingObjective objective);

/// All that decides the result of a search.
struct HalvingSearchConfig
{
  HalvingSettings halving; ///< edges and space_hash are filled in by prepared()
  std::string space = "residual";
  Task task;
  int workers = 1; ///< host backends alone: more than one, with a thread each
  HalvingObjective objective = HalvingObjective::loss;
  bool keep_all = true; ///< the checkpoints of all rungs; else the last one of every trial
  nn::Precision precision = nn::Precision::float32;
  nn::BackendKind backend = nn::available_backends().front();
  json::Value data; ///< how the caller names its data; kept, not looked into
  std::string data_checksum;
};

/// Fills in what the space decides: its hash, and for the rank rule `stratified` the edges of the costs from 3,000
/// configurations with a seed of their own.
HalvingSearchConfig prepared(HalvingSearchConfig config);
/// Throws Error naming the option and its value for what cannot be.
void check(HalvingSearchConfig const& config);
json::Value to_json(HalvingSearchConfig const& config);
HalvingSearchConfig parse_halving_search_config(json::Value const& value, std::string const& source);

/// The folder of a search: config.json, provenance.json, journal.jsonl, trials.csv, and trials/ID/ with config.json,
/// curve.csv and a checkpoint rung-K.h5 for every rung that the trial reached.
class HalvingFolder
{
public:
  /// `config` is prepared first.
  static HalvingFolder create(std::string const& path, HalvingSearchConfig const& config, Provenance const& provenance);
  static HalvingFolder open(std::string const& path);
  /// Opens what is there, which must be of this configuration (else Error naming the field), or creates it.
  static HalvingFolder open_or_create(std::string const& path, HalvingSearchConfig const& config,
                                      Provenance const& provenance);

  std::string const& path() const { return m_folder.path(); }
  std::string file(std::string const& name) const { return m_folder.file(name); }
  std::string trial_file(int trial, std::string const& name) const;
  std::string checkpoint(int trial, int rung) const; ///< its path, whether it exists or not
  HalvingSearchConfig const& config() const { return m_config; }

private:
  HalvingFolder(RunFolder folder, HalvingSearchConfig config);

  RunFolder m_folder;
  HalvingSearchConfig m_config;
};

/// A network at a rung: a candidate of the model library.
struct HalvingModel
{
  enum class Status {
    paused,    ///< it may be resumed
    completed, ///< trained to R
    failed     ///< there is no checkpoint
  };
  int trial = 0, rung = 0;
  int epochs = 0; ///< in all
  Status status = Status::paused;
  std::string reason; ///< of a failure, in the call that it happened in
  double loss = 0;    ///< the objective; infinite where it failed
  Configuration configuration;
  std::string checkpoint; ///< path of the file; without `keep_all` it is gone when the trial reaches the next rung
  std::shared_ptr<nn::TrainState const> state; ///< what is in that file; null where it failed or was found
  bool found = false;                          ///< in the journal of an earlier call
};
std::string name(HalvingModel::Status status);

/// Hears how a search goes on; called by one thread.
class HalvingObserver
{
public:
  virtual ~HalvingObserver() = default;
  /// After every validation.
  virtual void on_report(int /*trial*/, int /*rung*/, nn::EpochReport const& /*report*/) {}
  /// A trial was paused, completed, or failed: its checkpoint and its event are on disk. A search that goes on tells
  /// all that it finds in its journal first, so that nothing is lost where a kill came between disk and observer.
  virtual void on_model(HalvingModel const& /*model*/) {}
  /// Something that people should know and that does not end the search.
  virtual void on_note(std::string const& /*text*/) {}
};

struct HalvingResult
{
  std::vector<HalvingTrial> trials; ///< by number
  std::vector<std::int64_t> records;
  std::int64_t epochs = 0; ///< trained, those that a kill cost left out
  int best = -1;           ///< the trial with the least loss at the rung it reached; -1: none
  bool interrupted = false;
};

/// Searches, or goes on with a search. The data set needs a validation split. Options train for R epochs in all, so the
/// learning rate at an epoch does not depend on the rungs. With one worker, the decisions after a kill are those of a
/// search that was not killed; with more, trials finish in an order that time decides, but no bit of any depends on it.
/// `interrupted` is polled at every training step; what was trained since the last rung is lost then. Throws Error for
/// a journal that is not of this configuration. `sync`: whether an event survives the death of the machine.
HalvingResult run_halving(HalvingFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                          HalvingObserver& observer, std::function<bool()> const& interrupted = {},
                          Sync sync = Sync::yes);

/// One row a trial: number, bracket, status, rung, epochs, loss, cost and what it was drawn to be.
std::string trials_csv(HalvingSearchConfig const& config, Halving const& halving);

} // namespace nasturtium::nas
