// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a device is and how fast it is, measured with the kernels that train on it.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <string>

namespace nasturtium::nn {

/// What a backend's device is, without any measurement.
struct DeviceIdentity
{
  std::string hardware; ///< name of the processor or card
  std::string driver;   ///< of a card, "13.0"; "" for hosts
  int cores = 1;        ///< threads that train, or streaming multiprocessors
  double clock_mhz = 0; ///< highest; 0: not known
};

struct DeviceMemory
{
  std::int64_t total = 0; ///< bytes; for hosts what this process may have (of the machine, or of its control group)
  std::int64_t free = 0;  ///< of these, not taken by anybody at the moment
};

struct DeviceSpeed
{
  double flops = 0;          ///< float32 FLOP/s of the fastest of several large matrix products
  double bandwidth = 0;      ///< bytes/s of the fastest of several triads over three buffers far larger than the caches
  double launch_seconds = 0; ///< median of an empty kernel with its fence
};

// All throw Error where the backend is not up or cannot have so many threads.
DeviceIdentity device_identity(TrainerOptions const& trainer);
DeviceMemory device_memory(BackendKind backend);
/// Measures for about `seconds` > 0 (at least two repetitions of each). The buffers take at most an eighth of the free
/// memory.
DeviceSpeed device_speed(TrainerOptions const& trainer, double seconds = 2);

} // namespace nasturtium::nn
