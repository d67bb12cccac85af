// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device as the estimators know it: a handful of measured (or data-sheet) constants.
#pragma once

#include <cstdint>
#include <string>

namespace nasturtium::estimator {

/// Constants of one device. The thread count is part of the device: one CPU with one and with two threads is two.
struct Device
{
  std::string name;              ///< unique, e.g. "openmp-2" or "v100"
  double peak_flops = 0;         ///< float32 FLOP/s: of a large matrix product where measured
  double bandwidth = 0;          ///< bytes/s of main memory (triad)
  double launch_seconds = 0;     ///< of an empty kernel with its fence
  int cores = 1;                 ///< streaming multiprocessors, or threads
  double clock_mhz = 0;          ///< 0: not known
  std::int64_t memory_bytes = 0; ///< 0: not known
};

/// JSON text {"name", "peak_flops", ...} and back. Throws Error naming `source`, field and value.
std::string to_json(Device const& device);
Device parse_device(std::string const& json, std::string const& source);

} // namespace nasturtium::estimator
