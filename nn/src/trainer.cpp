// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/trainer.hpp>

#include "population.hpp"
#include "trainer_candidate.hpp"

namespace nasturtium::nn {

namespace {

/// Trains one candidate; what is wrong with it becomes its result. What a listener throws goes through.
template <class ExecSpace, class Real>
TrainResult train_one(ExecSpace const& exec, impl::ResidentDataset<ExecSpace> const& data, Candidate const& candidate,
                      int index, impl::Interrupt& interrupt)
{
  std::unique_ptr<impl::CandidateTraining<ExecSpace, Real>> training;
  auto const failed = [](Status status, char const* reason) {
    TrainResult result;
    result.status = status;
    result.reason = reason;
    return result;
  };
  try {
    check(candidate.options);
    require(data.train.count > 0, "dataset '", data.dataset.name, "': the training split is empty");
    require(candidate.options.early_stopping_patience == 0 || data.validation.count > 0, "early_stopping_patience ",
            candidate.options.early_stopping_patience, " needs a validation split");
    spec::infer(candidate.architecture);
    impl::check_fit(data.dataset, data.dataset.train, "train", candidate.architecture);
    impl::check_fit(data.dataset, data.dataset.validation, "validation", candidate.architecture);
    if (candidate.initial_weights) {
      check_weights(*candidate.initial_weights, candidate.architecture, false, "initial_weights");
    }
    training = std::make_unique<impl::CandidateTraining<ExecSpace, Real>>(exec, data, candidate, index, interrupt);
  } catch (Error const& error) {
    return failed(Status::invalid, error.what());
  } catch (impl::OutOfMemory const& error) {
    return failed(Status::out_of_memory, error.what());
  } catch (std::bad_alloc const&) {
    return failed(Status::out_of_memory, "the host has not enough memory for the network");
  }
  return training->run();
}

} // namespace

std::vector<TrainResult> train(TrainerOptions const& trainer, std::span<Candidate const> population,
                               datasets::Dataset const& dataset, std::function<bool()> const& interrupted)
{
  std::vector<TrainResult> results(population.size());
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    impl::ResidentDataset<ExecSpace> const data(ExecSpace(), dataset);
    impl::Interrupt interrupt(interrupted);
    auto const work = [&](ExecSpace const& exec, int index) {
      auto const& candidate = population[index];
      results[index] = candidate.options.precision == Precision::float64
                           ? train_one<ExecSpace, double>(exec, data, candidate, index, interrupt)
                           : train_one<ExecSpace, float>(exec, data, candidate, index, interrupt);
    };
    impl::run_population<ExecSpace>(trainer, static_cast<int>(population.size()), work, [&] { interrupt.latch(); });
  });
  return results;
}

} // namespace nasturtium::nn
