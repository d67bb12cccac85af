// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Trains a population of candidates. Host-only interface; the device work stands behind it.
#pragma once

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/nn/options.hpp>
#include <nasturtium/nn/spec/architecture.hpp>
#include <nasturtium/nn/weights.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nn {

enum class BackendKind { serial, openmp, cuda };

/// Backends of this build, the default first. Names: "serial", "openmp", "cuda".
std::vector<BackendKind> available_backends();
std::string name(BackendKind backend);
/// Throws Error for an unknown backend and for one that is not built in.
BackendKind parse_backend(std::string const& text);

/// One validation point: after an epoch, or half of one.
struct EpochReport
{
  int candidate = 0;
  double epoch = 0; ///< 1, 2, ... or 0.5, 1, ...
  std::int64_t step = 0;
  double train_loss = 0, train_accuracy = 0,
         train_top_k = 0; ///< over the steps since the last report; accuracy in [0, 1]
  double validation_loss = 0, validation_accuracy = 0, validation_top_k = 0; ///< NaN without a validation split
  double learning_rate = 0;
  double seconds = 0; ///< of training steps, since the candidate's start (resumes included); of candidates that share a
                      ///< device, the time that passed in its turns, or of fused ones its share of the time
  double validation_seconds = 0;
};

enum class Decision { proceed, stop, pause };

/// All that a training needs to go on where it stopped: weights, optimiser state, position, RNG keys. Opaque; see
/// checkpoint.hpp for files.
struct TrainState;

/// Hears of every report of the candidates it is given to. Called from the thread that trains that candidate, for one
/// candidate never from two at a time.
class Listener
{
public:
  virtual ~Listener() = default;
  virtual Decision on_report(EpochReport const& report) = 0;
  /// Loss of one step (the first is 1), where step logging is asked for: the mean over the batch before the update.
  /// Told in order, but late: at the latest before the report that the step belongs to.
  virtual void on_step(int /*candidate*/, std::int64_t /*step*/, double /*loss*/) {}
  /// The state right after each report (and after on_report), where Candidate::share_state asks for it: a checkpoint.
  virtual void on_state(int /*candidate*/, std::shared_ptr<TrainState const> const& /*state*/) {}
};

struct Candidate
{
  spec::Architecture architecture;
  TrainOptions options;
  std::shared_ptr<Weights const> initial_weights; ///< null: initialised from the seed; may cover some nodes only
  std::shared_ptr<TrainState const> resume_from;  ///< null: from the start
  /// Ids of nodes whose weights stay bitwise as they are; their batch norms run on the stored statistics in training as
  /// well. An id that is unknown or owns no weights, and freezing everything, make the candidate invalid.
  std::vector<std::string> frozen{};
  std::vector<Listener*> listeners;
  bool log_steps = false;
  bool share_state = false; ///< call Listener::on_state after every report (copies all weights to the host)
};

enum class Status {
  completed,
  stopped,
  paused,
  early_stopped,
  diverged,
  out_of_memory,
  invalid,
  time_limit,
  interrupted
};
std::string name(Status status);

struct TrainResult
{
  Status status = Status::completed;
  std::string reason; ///< one line for every status but completed
  std::vector<EpochReport> reports;
  std::shared_ptr<Weights const> weights;  ///< last weights; null where nothing was trained
  std::shared_ptr<TrainState const> state; ///< for resume_from; null for invalid and out_of_memory
  double seconds = 0;
};

enum class PopulationPolicy {
  one_after_another, ///< each with all threads of the device
  one_per_core,      ///< each single-threaded, as many at a time as there are threads; on a GPU as interleaved
  interleaved,       ///< several at once in turns of some steps, on a GPU each on a stream of its own
  fused,             ///< several at once in step, on a GPU in common launches, whatever their shapes
};

struct TrainerOptions
{
  BackendKind backend = available_backends().front();
  int threads = 0; ///< 0: all
  PopulationPolicy policy = PopulationPolicy::one_after_another;
  int in_flight = 0; ///< candidates that `interleaved` and `fused` train at once; 0: 32
};

/// Trains all candidates on the data set and returns their results in the same order. A candidate that fails is a
/// result with a status; only misuse throws. No policy and no neighbour changes a result, bit for bit. `interrupted` is
/// polled at every step where it is given; true stops everything at a consistent point.
std::vector<TrainResult> train(TrainerOptions const& trainer, std::span<Candidate const> population,
                               datasets::Dataset const& dataset, std::function<bool()> const& interrupted = {});

/// Trains candidates as they come, TrainerOptions::in_flight of them at once, fused where that is the policy, else
/// interleaved. Results are those of train(), bit for bit. For one thread of the host, which does all work in next().
class InterleavedTrainer
{
public:
  /// The data set must outlive it; it is brought to the device once. `interrupted` as in train().
  InterleavedTrainer(TrainerOptions const& trainer, datasets::Dataset const& dataset,
                     std::function<bool()> interrupted = {});
  ~InterleavedTrainer();
  InterleavedTrainer(InterleavedTrainer const&) = delete;
  InterleavedTrainer& operator=(InterleavedTrainer const&) = delete;

  /// Queues a candidate; `index` is what its reports and its result carry.
  void add(int index, Candidate candidate);

  /// Trains until one candidate has ended; nothing when none is open. What a listener throws comes out here and leaves
  /// the object fit for its destructor alone.
  std::optional<std::pair<int, TrainResult>> next();

  class Implementation; ///< one per backend

private:
  std::unique_ptr<Implementation> m_implementation;
};

/// Metrics of a split.
struct Evaluation
{
  std::int64_t count = 0;
  double loss = 0, accuracy = 0, top_k = 0;
  double seconds = 0;
};

/// Inference over a split with given weights; every weight must be there. `logits` takes count * classes values (or
/// regression values) unless it is null. Throws Error for weights that do not fit.
Evaluation evaluate(TrainerOptions const& trainer, spec::Architecture const& architecture, Weights const& weights,
                    datasets::Dataset const& dataset, datasets::Samples const& samples, int batch_size, int top_k,
                    std::vector<float>* logits = nullptr, Precision precision = Precision::float32);

/// Brings up and takes down the backends; one object for the life of the program. Removes the flags it knows
/// (--kokkos-...) from argv. `threads` 0: all.
class Runtime
{
public:
  Runtime(int& argc, char** argv, int threads = 0);
  ~Runtime();
  Runtime(Runtime const&) = delete;
  Runtime& operator=(Runtime const&) = delete;
};

/// Text for provenance: devices, threads, Kokkos version and configuration as key / value pairs.
std::vector<std::pair<std::string, std::string>> runtime_description();

} // namespace nasturtium::nn
