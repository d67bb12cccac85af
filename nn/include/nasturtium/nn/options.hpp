// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Everything about a training that is not the architecture and not the data.
#pragma once

#include <cstdint>
#include <string>

namespace nasturtium::nn {

enum class OptimiserKind { sgd, adam, adamw, rmsprop };
struct OptimiserOptions
{
  OptimiserKind kind = OptimiserKind::sgd;
  double learning_rate = 0.05; ///< > 0
  double momentum = 0.9;       ///< sgd, rmsprop; [0, 1)
  bool nesterov = false;
  double weight_decay = 0; ///< >= 0; acts on kernels alone
  bool decoupled = false;  ///< sgd, rmsprop, adam: decay apart from the gradient; always so with adamw
  double beta1 = 0.9, beta2 = 0.999, rho = 0.99, epsilon = 1e-8;
  double clip_norm = 0; ///< 0: off
};

enum class ScheduleKind { constant, step, cosine, one_cycle };
struct ScheduleOptions
{
  ScheduleKind kind = ScheduleKind::constant;
  double warmup_epochs = 0; ///< rate * (step + 1) / warm-up steps until it is reached; 0 with one_cycle
  double step_epochs = 10;  ///< step: multiply by gamma every so many epochs
  double gamma = 0.1;
  double final_fraction = 0;      ///< cosine, one_cycle: last rate as a fraction of the peak
  double peak_fraction = 0.3;     ///< one_cycle: where the peak lies
  double initial_fraction = 0.04; ///< one_cycle: first rate as a fraction of the peak
};

/// Learning rate at `step` (from 0) of `total_steps`, `steps_per_epoch` each epoch. Pure; recomputed every step.
/// cosine: half a cosine from the end of the warm-up (peak) to total_steps (Loshchilov and Hutter, ICLR 2017, one
/// cycle); one_cycle: half cosines from the initial rate to the peak at peak_fraction * total_steps - 1 and on to the
/// last rate at total_steps - 1 (Smith and Topin, 2019; PyTorch's OneCycleLR); step: counts epochs from the start,
/// warm-up included.
double learning_rate_at(ScheduleOptions const& schedule, double peak_rate, std::int64_t step,
                        std::int64_t steps_per_epoch, std::int64_t total_steps);

struct AugmentOptions
{
  int crop_padding = 0;
  bool flip = false;
  int cutout = 0;
};

enum class Order { shuffled, sequential };
enum class Precision { float32, float64 };

struct TrainOptions
{
  int epochs = 10;
  int batch_size = 128;
  OptimiserOptions optimiser;
  ScheduleOptions schedule;
  AugmentOptions augment;
  double label_smoothing = 0;
  std::string initialiser = "he_normal"; ///< names of kernels::Initialiser
  std::uint64_t seed = 1;
  Order order = Order::shuffled;
  Precision precision = Precision::float32;
  int top_k = 5;                       ///< of the second accuracy; clamped to the classes
  int validations_per_epoch = 1;       ///< 1, or 2 for half epochs
  int early_stopping_patience = 0;     ///< validations without a better loss; 0: off
  std::int64_t max_steps = 0;          ///< 0: no limit; where it ends the training, schedules end there too
  double time_limit_seconds = 0;       ///< 0: none
  std::int64_t memory_limit_bytes = 0; ///< 0: none
};

/// Throws Error naming the option and its value for anything out of range.
void check(TrainOptions const& options);

/// JSON text of all options, and back (unknown fields are errors that name `source`).
std::string to_json(TrainOptions const& options);
TrainOptions parse_options(std::string const& json, std::string const& source);

} // namespace nasturtium::nn
