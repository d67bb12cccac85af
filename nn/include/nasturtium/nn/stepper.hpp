// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Training steps on their own, for benchmarks and profiles: one synthetic batch, no reports, no validation.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::nn {

/// Device memory of a Stepper by use, in bytes: exactly what is allocated.
struct StepMemory
{
  spec::MemoryEstimate network; ///< total() is Stepper::bytes()
  std::int64_t batch = 0;       ///< labels or targets and sums of metrics; the images too where the host's memory is
                                ///< out of the device's reach
  std::int64_t total() const { return network.total() + batch; }
};

/// What Stepper would take for a batch of options.batch_size samples. Allocates nothing on the device, but asks the
/// backend how many threads it has (workspaces grow with them), so the backends must be up. Throws Error for what does
/// not fit together. O(tensors^2) for their places.
StepMemory plan_memory(BackendKind backend, spec::Architecture const& architecture, TrainOptions const& options);

/// A Stepper, or why there is none: status out_of_memory or invalid.
struct MadeStepper;

/// A network with its optimiser and one batch of random bytes and labels on the device.
class Stepper
{
public:
  /// Allocates everything; the batch has options.batch_size samples. Throws Error for what does not fit together.
  Stepper(TrainerOptions const& trainer, spec::Architecture const& architecture, TrainOptions const& options);
  /// The same with failures as values; only misuse throws (a backend that is not up, too many threads).
  static MadeStepper make(TrainerOptions const& trainer, spec::Architecture const& architecture,
                          TrainOptions const& options);
  ~Stepper();
  Stepper(Stepper&&) noexcept;
  Stepper& operator=(Stepper&&) noexcept;

  /// Does `steps` full training steps (gather, forward, loss, backward, optimiser) and waits for them.
  void run(std::int64_t steps);

  /// The same in two parts, so that several steppers share a device (on a GPU each has a stream of its own): launches
  /// at most `steps` steps and returns how many; wait() must follow before the next call.
  std::int64_t launch(std::int64_t steps);
  void wait();

  /// Mean loss of the batch in the last step that was run.
  double loss() const;

  /// One line per step of the plan: op, node, fusions, buffers. For people.
  std::vector<std::string> plan() const;

  /// Bytes of device memory that the network takes, exactly.
  std::int64_t bytes() const;

  class Implementation; ///< one per backend and precision

private:
  explicit Stepper(std::unique_ptr<Implementation> implementation);

  std::unique_ptr<Implementation> m_implementation;
};

/// Several networks on one device, stepped together in common launches (PopulationPolicy::fused), each with a batch of
/// its own. A step of all gives each the bits of a Stepper's step.
class FusedStepper
{
public:
  /// As Stepper's, for every one of the architectures (at least one).
  FusedStepper(TrainerOptions const& trainer, std::span<spec::Architecture const> architectures,
               TrainOptions const& options);
  ~FusedStepper();
  FusedStepper(FusedStepper&&) noexcept;
  FusedStepper& operator=(FusedStepper&&) noexcept;

  /// As Stepper's; a step is one of every network.
  void run(std::int64_t steps);
  std::int64_t launch(std::int64_t steps);
  void wait();

  /// Mean loss of a network's batch in the last step that was run. Throws Error where there is no such network.
  double loss(int network) const;

  /// Launches of a step: of all networks together, and of each on its own (kernels::FusedLaunches::size).
  std::int64_t launches() const;
  std::vector<std::int64_t> launches_apart() const;

  class Implementation; ///< one per backend

private:
  std::unique_ptr<Implementation> m_implementation;
};

struct MadeStepper
{
  std::optional<Stepper> stepper;
  Status status = Status::completed;
  std::string reason; ///< one line where there is no stepper
};

} // namespace nasturtium::nn
