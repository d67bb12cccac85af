// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Training steps on their own, for benchmarks and profiles: one synthetic batch, no reports, no validation.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nasturtium::nn {

/// A network with its optimiser and one batch of random bytes and labels on the device.
class Stepper
{
public:
  /// Allocates everything; the batch has options.batch_size samples. Throws Error for what does not fit together.
  Stepper(TrainerOptions const& trainer, spec::Architecture const& architecture, TrainOptions const& options);
  ~Stepper();
  Stepper(Stepper&&) noexcept;
  Stepper& operator=(Stepper&&) noexcept;

  /// Does `steps` full training steps (gather, forward, loss, backward, optimiser) and waits for them.
  void run(std::int64_t steps);

  /// Mean loss of the batch in the last step that was run.
  double loss() const;

  /// One line per step of the plan: op, node, fusions, buffers. For people.
  std::vector<std::string> plan() const;

  /// Bytes of device memory that the network takes, exactly.
  std::int64_t bytes() const;

  class Implementation; ///< one per backend and precision

private:
  std::unique_ptr<Implementation> m_implementation;
};

} // namespace nasturtium::nn
