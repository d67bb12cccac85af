// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/trainer.hpp>

#include "interleaved.hpp"
#include "population.hpp"
#include "trainer_candidate.hpp"

#include <algorithm>
#include <utility>

namespace nasturtium::nn {

namespace {

/// Sets the training, or the failure that says what is wrong with the candidate.
template <class ExecSpace, class Real>
void start(ExecSpace const& exec, impl::ResidentDataset<ExecSpace> const& data, impl::Interrupt& interrupt,
           Candidate const& candidate, impl::Started& it)
{
  auto const failed = [&](Status status, char const* reason, bool may_fit_later = false) {
    it.failure.status = status;
    it.failure.reason = reason;
    it.may_fit_later = may_fit_later;
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
    it.training =
        std::make_unique<impl::CandidateTraining<ExecSpace, Real>>(exec, data, candidate, it.index, interrupt);
  } catch (Error const& error) {
    failed(Status::invalid, error.what());
  } catch (impl::OutOfMemory const& error) {
    failed(Status::out_of_memory, error.what(), !error.over_limit());
  } catch (std::bad_alloc const&) {
    failed(Status::out_of_memory, "the host has not enough memory for the network", true);
  } catch (std::exception const& error) { // an allocation by Kokkos, which throws a type of its own
    failed(Status::out_of_memory, error.what(), true);
  }
}

template <class ExecSpace>
void start(ExecSpace const& exec, impl::ResidentDataset<ExecSpace> const& data, impl::Interrupt& interrupt,
           Candidate const& candidate, impl::Started& it)
{
  if (candidate.options.precision == Precision::float64)
    start<ExecSpace, double>(exec, data, interrupt, candidate, it);
  else
    start<ExecSpace, float>(exec, data, interrupt, candidate, it);
}

} // namespace

class InterleavedTrainer::Implementation
{
public:
  virtual ~Implementation() = default;
  virtual void add(int index, Candidate candidate) = 0;
  virtual std::optional<std::pair<int, TrainResult>> next() = 0;
};

namespace {

template <class ExecSpace>
class InterleavedOn final : public InterleavedTrainer::Implementation
{
public:
  InterleavedOn(TrainerOptions const& options, datasets::Dataset const& dataset, std::function<bool()> interrupted)
      : m_wanted(std::move(interrupted)), m_interrupt(m_wanted), m_data(ExecSpace(), dataset),
        m_interleaver(options, Make{*this})
  {
  }
  void add(int index, Candidate candidate) override { m_interleaver.add(index, std::move(candidate)); }
  std::optional<std::pair<int, TrainResult>> next() override { return m_interleaver.next(); }

private:
  struct Make
  {
    InterleavedOn& owner;
    void operator()(ExecSpace const& exec, impl::Started& it) const
    {
      start(exec, owner.m_data, owner.m_interrupt, *it.candidate, it);
    }
  };

  std::function<bool()> m_wanted;
  impl::Interrupt m_interrupt;
  impl::ResidentDataset<ExecSpace> m_data;
  impl::Interleaver<ExecSpace, Make> m_interleaver; // last: its trainings use the others
};

} // namespace

InterleavedTrainer::InterleavedTrainer(TrainerOptions const& trainer, datasets::Dataset const& dataset,
                                       std::function<bool()> interrupted)
{
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    m_implementation = std::make_unique<InterleavedOn<ExecSpace>>(trainer, dataset, std::move(interrupted));
  });
}

InterleavedTrainer::~InterleavedTrainer() = default;

void InterleavedTrainer::add(int index, Candidate candidate)
{
  m_implementation->add(index, std::move(candidate));
}

std::optional<std::pair<int, TrainResult>> InterleavedTrainer::next()
{
  return m_implementation->next();
}

std::vector<TrainResult> train(TrainerOptions const& trainer, std::span<Candidate const> population,
                               datasets::Dataset const& dataset, std::function<bool()> const& interrupted)
{
  std::vector<TrainResult> results(population.size());
  int const count = static_cast<int>(population.size());
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    if (trainer.policy == PopulationPolicy::interleaved || trainer.policy == PopulationPolicy::fused ||
        (trainer.policy == PopulationPolicy::one_per_core && !impl::has_cores<ExecSpace>())) {
      auto options = trainer;
      options.in_flight =
          std::min(options.in_flight > 0 ? options.in_flight : impl::default_in_flight, std::max(1, count));
      InterleavedOn<ExecSpace> interleaved(options, dataset, interrupted);
      for (int i = 0; i < count; ++i)
        interleaved.add(i, population[i]);
      while (auto ended = interleaved.next())
        results[ended->first] = std::move(ended->second);
      return;
    }
    impl::ResidentDataset<ExecSpace> const data(ExecSpace(), dataset);
    impl::Interrupt interrupt(interrupted);
    auto const work = [&](ExecSpace const& exec, int index) {
      impl::Started it{index, nullptr, nullptr, {}, false};
      start(exec, data, interrupt, population[index], it);
      results[index] = it.training ? impl::run(*it.training) : std::move(it.failure);
    };
    impl::run_population<ExecSpace>(trainer, count, work, [&] { interrupt.latch(); });
  });
  return results;
}

} // namespace nasturtium::nn
