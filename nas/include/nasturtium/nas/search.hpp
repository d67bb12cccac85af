// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search as a whole: an algorithm asks, candidates are trained, a prediction engine watches their curves and may stop
// them, the algorithm is told. The folder of the search is the truth: its journal is replayed to go on. Format:
// docs/formats.md.
#pragma once

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/journal.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/run_folder.hpp>
#include <nasturtium/nas/search_algorithm.hpp>
#include <nasturtium/nas/search_space.hpp>
#include <nasturtium/nas/transfer.hpp>
#include <nasturtium/nn/options.hpp>
#include <nasturtium/nn/trainer.hpp>
#include <nasturtium/predictor/method.hpp>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nas {

/// What an algorithm is told of a candidate. Where the engine stopped it: what the engine predicts (PEng4NN, A4NN), or
/// the value measured last. Where it trained to the end: the last value. `best` tells the best value in either case.
enum class FitnessRule { prediction, last, best };

std::string name(FitnessRule rule);

/// All that decides the result of a search.
struct SearchConfig
{
  std::string space = "nsga-net";
  Task task;
  SearchSettings settings;
  nn::TrainOptions training;      ///< of every candidate; candidate i has the seed training.seed + i
  std::string predictor = "none"; ///< preset of the prediction engine
  FitnessRule fitness = FitnessRule::prediction;
  /// Stop a candidate whose least training loss is so many epochs old (MENNDL: 10); 0: never.
  double stale_epochs = 0;
  TransferSettings transfer; ///< of weights from earlier candidates
  /// A candidate whose whole training would take longer than so many seconds, as the caller's TrainingCost expects, is
  /// not trained: it fails. 0: no cap.
  double seconds_cap = 0;
  json::Value estimator; ///< how the caller names its TrainingCost; null: it has none. Kept, not looked into
  nn::BackendKind backend = nn::available_backends().front();
  json::Value data; ///< how the caller names its data; kept, not looked into
  std::string data_checksum;
};

/// Throws Error naming the option and its value for what cannot be: unknown names, numbers out of range.
void check(SearchConfig const& config);
json::Value to_json(SearchConfig const& config);
SearchConfig parse_search_config(json::Value const& value, std::string const& source);

/// What became of one candidate. Accuracies in percent (regression: R2 in percent, which has no lower bound); NaN: not
/// known.
struct TrialResult
{
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN();

  Trial trial;
  std::string hash; ///< of the architecture
  double flops = 0; ///< forward, per image
  std::int64_t parameters = 0;
  nn::Status status = nn::Status::completed; ///< stopped: by the engine, or for a stale training loss
  std::string reason;
  double fitness = nan; ///< what the algorithm was told; NaN for a failure
  double last = nan, best = nan;
  double deviation = nan;                                  ///< of the last three accuracies
  double prediction = nan, lower_90 = nan, upper_90 = nan; ///< the engine's last word
  bool predicted = false;                                  ///< the fitness is the prediction
  double epochs = 0;                                       ///< trained
  double seconds = 0;                                      ///< of training and validation
  double expected_seconds = nan;                           ///< of the whole training, where there is a TrainingCost
  double engine_seconds = 0;                               ///< of the prediction engine
  TransferRecord transfer;                                 ///< where the search transfers weights
  bool failed() const;
};

/// Seconds that a network's whole training is expected to take, validations included; NaN: unknown.
using TrainingCost = std::function<double(nn::spec::Architecture const& architecture)>;

/// The folder of a search.
class SearchFolder
{
public:
  /// `files`: more that the folder is to hold from its first moment, by name.
  static SearchFolder create(std::string const& path, SearchConfig const& config, Provenance const& provenance,
                             std::vector<std::pair<std::string, std::string>> const& files = {});
  static SearchFolder open(std::string const& path);
  /// Opens what is there, which must be of this configuration (else Error naming the field), or creates it.
  static SearchFolder open_or_create(std::string const& path, SearchConfig const& config, Provenance const& provenance);

  std::string const& path() const { return m_folder.path(); }
  std::string file(std::string const& name) const { return m_folder.file(name); }
  SearchConfig const& config() const { return m_config; }

private:
  SearchFolder(RunFolder folder, SearchConfig config);

  RunFolder m_folder;
  SearchConfig m_config;
};

/// Hears how a search goes on; called by one thread at a time.
class SearchObserver
{
public:
  virtual ~SearchObserver() = default;
  /// After every validation of a candidate.
  virtual void on_report(Trial const& /*trial*/, nn::EpochReport const& /*report*/,
                         predictor::Prediction const& /*prediction*/)
  {
  }
  /// After a candidate; also for those that a resumed search finds in its journal.
  virtual void on_result(TrialResult const& /*result*/) {}
  /// Something that people should know and that does not end the search.
  virtual void on_note(std::string const& /*text*/) {}
};

struct SearchResult
{
  std::vector<TrialResult> trials; ///< in the order of their answers
  int best = -1;                   ///< position of the fittest; -1: all failed, or none yet
  bool interrupted = false;
  double epochs_used = 0, epochs_full = 0; ///< of candidates that did not fail
  double seconds = 0;                      ///< of candidates, as measured in every call
  double engine_seconds = 0;
  double saved() const { return epochs_full > 0 ? 1 - epochs_used / epochs_full : 0; }
};

/// Searches, or goes on with a search. The data set needs a validation split. With one worker the decisions after a
/// kill are those of a search that was not killed; with more, candidates finish in an order that time decides.
/// `interrupted` is polled at every training step. With `cost` and several workers, algorithms that ask ahead are asked
/// for all that they give, and the candidate that is expected to train the longest goes first (Graham's LPT rule,
/// 1969): so no long one is left to the end, when the other workers have nothing to do. Whether there is a cost must be
/// what the configuration says (its `estimator`). Keeps the fittest network in best/ (architecture.json, weights.h5,
/// model.onnx where ONNX is built in), and with transfer the weights of all in store/. Throws Error for a journal that
/// is not of this configuration.
SearchResult run_search(SearchFolder& folder, datasets::Dataset const& dataset, nn::TrainerOptions const& trainer,
                        SearchObserver& observer, std::function<bool()> const& interrupted = {},
                        TrainingCost const& cost = {});

/// One row a candidate: number, parents, status, fitness, measured and predicted values, cost, genome.
std::string trials_csv(std::vector<TrialResult> const& trials);

} // namespace nasturtium::nas
