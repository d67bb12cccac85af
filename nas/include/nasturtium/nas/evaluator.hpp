// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Who trains the candidates of a search: jobs go in, results come out as they finish. A search knows nothing else of
// it, so that jobs can be trained by this process or by others.
#pragma once

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace nasturtium::nas {

/// One network to train.
struct Job
{
  int id = 0; ///< unique among the jobs of an evaluator
  nn::spec::Architecture architecture;
  nn::TrainOptions options;
  std::shared_ptr<nn::Weights const> initial_weights{}; ///< as nn::Candidate has it; null: from the seed
  std::vector<std::string> frozen{};                    ///< as nn::Candidate has it
  std::shared_ptr<nn::TrainState const> resume_from{};  ///< as nn::Candidate has it; null: from the start
};

/// What became of it; failures are results with a status.
struct JobResult
{
  int id = 0;
  nn::TrainResult training;
};

/// One thread owns an evaluator and calls it; its destructor gives up what is open.
class Evaluator
{
public:
  /// Hears every report of every job, in wait() and so in the owner's thread; the training waits for the answer. What
  /// it throws comes out of wait(), and the evaluator takes no more jobs.
  using OnReport = std::function<nn::Decision(int id, nn::EpochReport const& report)>;

  virtual ~Evaluator() = default;
  /// How many jobs it trains at the same time; more are queued.
  virtual int capacity() const = 0;
  /// Takes the jobs and returns at once. They are begun in their order.
  virtual void submit(std::vector<Job> jobs) = 0;
  /// The next result, whichever job it is of; nothing when no job is open.
  virtual std::optional<JobResult> wait() = 0;
};

/// Trains in this process on data that outlive the evaluator. One worker: every job with all of the trainer's threads.
/// More: on a host each with one thread, as many at a time as there are workers; on a GPU, and with the policies
/// interleaved and fused, in turns on one device (nn::InterleavedTrainer). The networks come out with the same bits.
/// `interrupted` is polled at every training step, by several threads where there are several workers; once it was
/// true, all open jobs end with the status interrupted.
std::unique_ptr<Evaluator> make_local_evaluator(nn::TrainerOptions const& trainer, datasets::Dataset const& dataset,
                                                int workers, Evaluator::OnReport on_report,
                                                std::function<bool()> interrupted = {});

} // namespace nasturtium::nas
