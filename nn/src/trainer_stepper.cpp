// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/stepper.hpp>

#include "interleaved.hpp"
#include "population.hpp"
#include "step_queue.hpp"
#include "trainer_candidate.hpp"

#include <nasturtium/core/philox.hpp>

namespace nasturtium::nn {

class FusedStepper::Implementation
{
public:
  virtual ~Implementation() = default;
  virtual std::int64_t launch(std::int64_t steps) = 0;
  virtual void wait() = 0;
  virtual double loss(int network) const = 0;
  virtual std::int64_t launches() const = 0;
  virtual std::vector<std::int64_t> launches_apart() const = 0;
};

class Stepper::Implementation
{
public:
  virtual ~Implementation() = default;
  virtual std::int64_t launch(std::int64_t steps) = 0;
  virtual void wait() = 0;
  virtual double loss() const = 0;
  virtual impl::Plan const& plan() const = 0;
  virtual std::int64_t bytes() const = 0;
};

namespace {

/// Steps between two looks at the losses.
constexpr int steps_at_a_time = 256;

/// One batch of random bytes and labels (or targets).
datasets::Dataset make_batch(spec::Architecture const& architecture, TrainOptions const& options)
{
  datasets::Dataset dataset;
  dataset.name = "stepper";
  dataset.height = architecture.input.height;
  dataset.width = architecture.input.width;
  dataset.channels = architecture.input.channels;
  dataset.classes = architecture.classes;
  dataset.target_width = architecture.regression;
  auto& samples = dataset.train;
  samples.count = options.batch_size;
  auto const word = [&](std::int64_t i) {
    return random_block(options.seed, Purpose::synthetic, 0, static_cast<std::uint64_t>(i)).word[0];
  };
  std::int64_t index = 0;
  samples.bytes.resize(samples.count * dataset.sample_size());
  for (auto& value : samples.bytes)
    value = static_cast<std::uint8_t>(word(index++) >> 24);
  if (dataset.classes > 0) {
    samples.labels.resize(samples.count);
    for (auto& label : samples.labels) {
      label = static_cast<std::int32_t>(to_below(word(index++), static_cast<std::uint32_t>(dataset.classes)));
    }
  } else {
    samples.targets.resize(samples.count * dataset.target_width);
    for (auto& target : samples.targets)
      target = to_unit_float(word(index++));
  }
  // Mean and deviation of uniform bytes.
  dataset.mean.assign(dataset.channels, 127.5f);
  dataset.deviation.assign(dataset.channels, 73.9f);
  return dataset;
}

/// A stepper whose launches can be recorded.
template <class ExecSpace>
class SteppingOn : public Stepper::Implementation
{
public:
  /// Makes steps ready, at most steps_at_a_time; returns how many.
  virtual std::int64_t begin(std::int64_t steps) = 0;
  virtual void launch_one() const = 0;
};

template <class ExecSpace, class Real>
class StepperOn final : public SteppingOn<ExecSpace>
{
public:
  StepperOn(ExecSpace const& exec, spec::Architecture const& architecture, TrainOptions const& options)
      : m_exec(exec), m_options(options),
        m_network(exec, architecture, impl::batch_sizes(options.batch_size, options.batch_size), true,
                  static_cast<int>(impl::slot_names(options.optimiser.kind).size()), options.memory_limit_bytes),
        m_dataset(make_batch(architecture, options)), m_data(exec, m_dataset),
        m_top_k(std::max(1, std::min(options.top_k, architecture.classes))),
        m_maker(exec, m_dataset, options.batch_size), m_queue(exec, steps_at_a_time)
  {
    m_rows.reserve(steps_at_a_time);
    m_metrics.reserve(steps_at_a_time);
    impl::tune_tiles(m_network, options.batch_size);
    m_network.initialise(options.initialiser, options.seed);
  }

  std::int64_t begin(std::int64_t steps) override
  {
    m_launched = std::min<std::int64_t>(steps, steps_at_a_time);
    if (m_launched == 0) return 0;
    m_rows.clear();
    for (std::int64_t i = 0; i < m_launched; ++i)
      m_rows.push_back(
          {0, m_step + i, 0, m_network.rates(m_options.optimiser, m_options.optimiser.learning_rate, m_step + i + 1)});
    m_queue.begin(m_rows);
    return m_launched;
  }

  void launch_one() const override
  {
    impl::launch_step(m_network, m_maker, m_data.train, m_data.identity.buffer(), m_options, m_options.batch_size,
                      m_top_k, m_queue);
  }

  std::int64_t launch(std::int64_t steps) override
  {
    begin(steps);
    for (std::int64_t done = 0; done < m_launched;)
      done += m_replay.run(m_exec, m_launched - done, [&] { launch_one(); });
    return m_launched;
  }

  void wait() override
  {
    if (m_launched == 0) return;
    m_metrics.clear();
    m_queue.read(m_launched, m_metrics);
    m_step += m_launched;
    m_launched = 0;
  }

  double loss() const override
  {
    return m_metrics.empty() ? std::numeric_limits<double>::quiet_NaN() : m_metrics.back()[0] / m_metrics.back()[3];
  }

  impl::Plan const& plan() const override { return m_network.plan(); }
  std::int64_t bytes() const override { return m_network.bytes(); }

private:
  ExecSpace m_exec;
  TrainOptions m_options;
  impl::Network<ExecSpace, Real> m_network; // first: what does not fit makes no batch
  datasets::Dataset m_dataset;
  impl::ResidentDataset<ExecSpace> m_data;
  int m_top_k;
  impl::BatchMaker<ExecSpace, Real> m_maker;
  impl::StepQueue<ExecSpace> m_queue;
  impl::Replay<ExecSpace> m_replay;
  std::vector<kernels::StepState> m_rows;
  std::vector<impl::MetricSums> m_metrics; ///< of the last steps
  std::int64_t m_step = 0, m_launched = 0; ///< steps done, and those that are under way
};

template <class ExecSpace>
std::unique_ptr<SteppingOn<ExecSpace>> make_on(ExecSpace const& exec, spec::Architecture const& architecture,
                                               TrainOptions const& options)
{
  check(options);
  spec::infer(architecture);
  if (options.precision == Precision::float64)
    return std::make_unique<StepperOn<ExecSpace, double>>(exec, architecture, options);
  return std::make_unique<StepperOn<ExecSpace, float>>(exec, architecture, options);
}

template <class ExecSpace>
class FusedStepperOn final : public FusedStepper::Implementation
{
public:
  FusedStepperOn(ExecSpace const& exec, std::span<spec::Architecture const> architectures, TrainOptions const& options)
      : m_exec(exec)
  {
    require(!architectures.empty(), "stepper: there is no network");
    for (auto const& architecture : architectures)
      m_steppers.push_back(make_on(exec, architecture, options));
    std::vector<kernels::LaunchList<ExecSpace>> lists(m_steppers.size());
    for (std::size_t i = 0; i < lists.size(); ++i) {
      lists[i].record([&] { m_steppers[i]->launch_one(); });
      m_apart.push_back(static_cast<std::int64_t>(lists[i].size()));
    }
    m_fused.emplace(lists);
  }

  std::int64_t launch(std::int64_t steps) override
  {
    std::int64_t count = 0;
    for (auto const& stepper : m_steppers)
      count = stepper->begin(steps);
    for (std::int64_t done = 0; done < count;)
      done += m_replay.run(m_exec, count - done, [&] { m_fused->run(m_exec); });
    return count;
  }
  void wait() override
  {
    for (auto const& stepper : m_steppers)
      stepper->wait();
  }
  double loss(int network) const override
  {
    require(network >= 0 && network < static_cast<int>(m_steppers.size()), "stepper: there is no network ", network);
    return m_steppers[static_cast<std::size_t>(network)]->loss();
  }
  std::int64_t launches() const override { return static_cast<std::int64_t>(m_fused->size()); }
  std::vector<std::int64_t> launches_apart() const override { return m_apart; }

private:
  ExecSpace m_exec;
  std::vector<std::unique_ptr<SteppingOn<ExecSpace>>> m_steppers;
  std::vector<std::int64_t> m_apart;
  std::optional<kernels::FusedLaunches<ExecSpace>> m_fused;
  impl::Replay<ExecSpace> m_replay;
};

/// Bytes of what StepperOn holds beside its network.
template <class ExecSpace, class Real>
std::int64_t batch_bytes(spec::Architecture const& architecture, TrainOptions const& options)
{
  std::int64_t const batch = options.batch_size, width = architecture.classes > 0 ? 0 : architecture.regression;
  // Kokkos gives multiples of eight bytes.
  auto const bytes = [](std::int64_t count, std::size_t each) {
    return (count * static_cast<std::int64_t>(each) + 7) / 8 * 8;
  };
  std::int64_t const labels = bytes(batch, sizeof(std::int32_t));
  std::int64_t sum = labels + bytes(batch * width, sizeof(Real)) + impl::StepQueue<ExecSpace>::bytes(steps_at_a_time);
  if constexpr (!impl::has_cores<ExecSpace>()) {
    sum += bytes(batch * architecture.input.size(), 1) + labels; // images and their order
    sum += width > 0 ? bytes(batch * width, sizeof(float)) : labels;
    sum += 2 * bytes(architecture.input.channels, sizeof(Real)) +
           2 * bytes(std::max<std::int64_t>(1, width), sizeof(Real)); // normalisation of images and targets
  }
  return sum;
}

template <class ExecSpace, class Real>
StepMemory plan_on(spec::Architecture const& architecture, TrainOptions const& options)
{
  auto const batches = impl::batch_sizes(options.batch_size, options.batch_size);
  return {impl::Network<ExecSpace, Real>::memory(ExecSpace(), architecture, batches, true,
                                                 static_cast<int>(impl::slot_names(options.optimiser.kind).size())),
          batch_bytes<ExecSpace, Real>(architecture, options)};
}

} // namespace

StepMemory plan_memory(BackendKind backend, spec::Architecture const& architecture, TrainOptions const& options)
{
  check(options);
  spec::infer(architecture);
  StepMemory memory;
  impl::with_backend(backend, [&]<class ExecSpace>() {
    memory = options.precision == Precision::float64 ? plan_on<ExecSpace, double>(architecture, options)
                                                     : plan_on<ExecSpace, float>(architecture, options);
  });
  return memory;
}

Stepper::Stepper(std::unique_ptr<Implementation> implementation) : m_implementation(std::move(implementation))
{
}

Stepper::Stepper(TrainerOptions const& trainer, spec::Architecture const& architecture, TrainOptions const& options)
{
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    auto const exec = impl::make_stream<ExecSpace>(trainer.threads);
    try {
      m_implementation = make_on(exec, architecture, options);
    } catch (impl::OutOfMemory const& error) {
      fail("stepper: ", error.what());
    }
  });
}

MadeStepper Stepper::make(TrainerOptions const& trainer, spec::Architecture const& architecture,
                          TrainOptions const& options)
{
  MadeStepper made;
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    auto const exec = impl::make_stream<ExecSpace>(trainer.threads);
    try {
      made.stepper = Stepper(make_on(exec, architecture, options));
    } catch (Error const& error) {
      made.status = Status::invalid;
      made.reason = error.what();
    } catch (impl::OutOfMemory const& error) {
      made.status = Status::out_of_memory;
      made.reason = error.what();
    } catch (std::bad_alloc const&) {
      made.status = Status::out_of_memory;
      made.reason = "the host has not enough memory for a batch";
    }
  });
  return made;
}

FusedStepper::FusedStepper(TrainerOptions const& trainer, std::span<spec::Architecture const> architectures,
                           TrainOptions const& options)
{
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    try {
      m_implementation = std::make_unique<FusedStepperOn<ExecSpace>>(impl::make_stream<ExecSpace>(trainer.threads),
                                                                     architectures, options);
    } catch (impl::OutOfMemory const& error) {
      fail("stepper: ", error.what());
    }
  });
}

FusedStepper::~FusedStepper() = default;
FusedStepper::FusedStepper(FusedStepper&&) noexcept = default;
FusedStepper& FusedStepper::operator=(FusedStepper&&) noexcept = default;

void FusedStepper::run(std::int64_t steps)
{
  while (steps > 0) {
    steps -= launch(steps);
    wait();
  }
}
std::int64_t FusedStepper::launch(std::int64_t steps)
{
  return m_implementation->launch(steps);
}
void FusedStepper::wait()
{
  m_implementation->wait();
}
double FusedStepper::loss(int network) const
{
  return m_implementation->loss(network);
}
std::int64_t FusedStepper::launches() const
{
  return m_implementation->launches();
}
std::vector<std::int64_t> FusedStepper::launches_apart() const
{
  return m_implementation->launches_apart();
}

Stepper::~Stepper() = default;
Stepper::Stepper(Stepper&&) noexcept = default;
Stepper& Stepper::operator=(Stepper&&) noexcept = default;

void Stepper::run(std::int64_t steps)
{
  while (steps > 0) {
    steps -= launch(steps);
    wait();
  }
}
std::int64_t Stepper::launch(std::int64_t steps)
{
  return m_implementation->launch(steps);
}
void Stepper::wait()
{
  m_implementation->wait();
}
double Stepper::loss() const
{
  return m_implementation->loss();
}
std::vector<std::string> Stepper::plan() const
{
  return impl::describe(m_implementation->plan());
}
std::int64_t Stepper::bytes() const
{
  return m_implementation->bytes();
}

} // namespace nasturtium::nn
