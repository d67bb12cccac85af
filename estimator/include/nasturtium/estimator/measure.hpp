// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Timing one training step of one network on a device of this machine (reference section 2.4).
#pragma once

#include <nasturtium/estimator/device.hpp>
#include <nasturtium/estimator/workload.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <string>

namespace nasturtium::estimator {

/// How long one network is timed. Blocks are fenced before and after, never inside.
struct MeasureOptions
{
  int blocks = 5;
  int min_warmup = 5, max_warmup = 10; ///< ends when two successive steps differ by less than 10 %
  int min_steps = 30;                  ///< in all blocks together
  double min_seconds = 1;              ///< in all blocks together
  double max_seconds = 10;             ///< with build and warm-up; fewer steps where it runs out
  double cap_step_seconds = 1;         ///< a slower step (seen in the warm-up) is given up: status over_cap
  nn::Precision precision = nn::Precision::float32;
};
/// "full" (the reference's, above) and "quick" (5 blocks of 2 steps, 2 to 10 steps of warm-up, no minimum of seconds).
/// Throws Error for other names.
MeasureOptions measure_preset(std::string const& name);

enum class MeasureStatus { timed, over_cap, out_of_memory, invalid };
std::string name(MeasureStatus status); ///< "timed", "over_cap", "out_of_memory", "invalid"
/// Throws Error that names `source` for an unknown name.
MeasureStatus parse_measure_status(std::string const& text, std::string const& source);

/// What was seen; seconds are those of one step.
struct Measurement
{
  MeasureStatus status = MeasureStatus::timed;
  std::string reason;         ///< one line unless timed
  double median = 0, min = 0; ///< over the blocks
  double sd = 0;              ///< of the blocks
  std::int64_t steps = 0;     ///< timed ones
  double total_seconds = 0;   ///< with build and warm-up: what the network cost the device
  std::int64_t bytes = 0;     ///< device memory that the network took, exactly (nn::Stepper::bytes)
  bool noisy() const { return sd > 0.10 * median; }
};

/// Times `workload` on the trainer's backend with its threads. Failures are statuses; only misuse throws (options out
/// of range, a backend that is not up). A network that needs more memory than is free is out_of_memory before anything
/// is allocated.
Measurement measure(Workload const& workload, nn::TrainerOptions const& trainer, MeasureOptions const& options);

/// Times a large matrix product, a triad and an empty launch for about two seconds. `name` "" makes one of backend and
/// threads ("openmp-2", "serial", "cuda").
Device probe_device(nn::TrainerOptions const& trainer, std::string const& name = "");

} // namespace nasturtium::estimator
