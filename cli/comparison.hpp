// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Timings of devices side by side as a file: format "nasturtium-comparison" (docs/guide/compare.md).
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/core/provenance.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

inline constexpr int max_repetitions = 1000; ///< of one measurement, in every file that is read

/// A device as it was when it was timed.
struct ComparedDevice
{
  std::string name;                     ///< unique in its file: "openmp:2"
  std::string backend;                  ///< "serial", "openmp", "cuda"
  std::string hardware, driver;         ///< as nn::DeviceIdentity
  int cores = 1;                        ///< threads that train, or streaming multiprocessors
  double clock_mhz = 0;                 ///< 0: not known
  std::int64_t memory_bytes = 0;        ///< of all
  double peak_flops = 0, bandwidth = 0; ///< measured FLOP/s and bytes/s; 0: not measured
  double launch_seconds = 0;            ///< of an empty kernel
  std::vector<std::pair<std::string, std::string>>
      build; ///< of the program that drives it: version, git, compiler, ...

  bool host() const { return backend != "cuda"; }
};

/// What one call does: a training step, or inference over one batch.
enum class CallKind { step, forward };
std::string name(CallKind kind); ///< "step", "forward"

/// One network at one batch on one device.
struct ComparedTiming
{
  std::string device; ///< the name of a device of the file
  CallKind kind = CallKind::step;
  std::string network;             ///< or the name of a layer
  bool layer = false;              ///< one kind of layer alone, as a network
  std::string architecture_sha256; ///< of what ran under that name
  int batch = 1;
  std::int64_t calls = 1;      ///< timed together as one repetition
  double flops = 0, bytes = 0; ///< of one call (compare_workload.hpp); 0 FLOP where nothing multiplies
  std::vector<double> seconds; ///< of one call, by repetition, in the order of time
  std::vector<double> joules;  ///< of one call, by repetition, of the processor's packages; empty: not known
  std::string failure;         ///< why it has no seconds; "" where it has

  std::string label() const; ///< "step/lenet/batch128"
};

struct Comparison
{
  Provenance provenance;
  std::vector<ComparedDevice> devices;
  std::vector<ComparedTiming> timings; ///< each label once for a device

  /// Null for none.
  ComparedDevice const* find_device(std::string const& name) const;
};

json::Value to_json(Comparison const& comparison);
/// Throws Error naming `source`, field and value: unknown fields, devices without a place in the list, a measurement
/// that stands twice, times that are not positive, more than max_repetitions of them.
Comparison parse_comparison(json::Value const& value, std::string const& source);

} // namespace nasturtium::cli
