// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What changes from one training step to the next. It lies in the device's memory, so that the launches of a step are
// the same for every step: they can be recorded once and replayed (a CUDA graph), and no step waits for the host.
#pragma once

#include <nasturtium/kernels/types.hpp>

#include <cstdint>

namespace nasturtium::kernels {

/// Factors of an optimiser that depend on the step, each already rounded to the weights' type. step_rates makes them.
struct StepRates
{
  double learning_rate = 0;
  double shrink = 1;       ///< decoupled weight decay multiplies weights by it
  double step_size = 0;    ///< Adam: learning_rate / (1 - beta1^t)
  double inverse_root = 0; ///< Adam: 1 / sqrt(1 - beta2^t)
};

struct StepState
{
  Index first = 0; ///< place of the batch's first sample in the epoch's order
  Index step = 0;  ///< steps done before this one; dropout draws by it
  Index epoch = 0; ///< augmentation draws by it
  StepRates rates;
};

/// Before the first step of a list: current = rows[0], sums = 0, cursor = 0. Extents as for finish_step.
template <class ExecSpace>
void start_steps(ExecSpace const& exec, Buffer<ExecSpace, StepState const> rows, Buffer<ExecSpace, StepState> current,
                 Buffer<ExecSpace, double> sums, Buffer<ExecSpace, Index> cursor);

/// Ends a step: log[4 * cursor ...] = sums, sums = 0, cursor += 1, and current = rows[cursor] where there is one more
/// row. `log` has metric_count values for every row, `cursor` is one number. A single thread does all.
template <class ExecSpace>
void finish_step(ExecSpace const& exec, Buffer<ExecSpace, StepState const> rows, Buffer<ExecSpace, StepState> current,
                 Buffer<ExecSpace, double> sums, Buffer<ExecSpace, double> log, Buffer<ExecSpace, Index> cursor);

} // namespace nasturtium::kernels
