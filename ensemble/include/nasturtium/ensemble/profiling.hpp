// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Measures what the planner needs to know: seconds and bytes of every model at every batch on every kind of device,
// and how much more several active cells do than one.
#pragma once

#include <nasturtium/ensemble/planner.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <vector>

namespace nasturtium::ensemble {

struct ProfilingOptions
{
  std::vector<int> batches{8, 32, 128};
  double seconds = 0.05;      ///< of each model and batch, but at least `least_runs` batches
  int least_runs = 5;         ///< after one that does not count
  double probe_seconds = 0.2; ///< of each number of active cells and round
  int probe_rounds = 3;
  double host_bytes = 0;   ///< memory of the host; 0: all that the machine has
  double device_bytes = 0; ///< memory of a GPU; needed where a device is one
};

/// Measures on random samples. Devices of the same backend and number of threads are one class, measured on the first
/// of them; medians of the runs. The gain is probed with 1, 2 and 4 cells of one model side by side, the median over
/// rounds of their rate over that of one; 3 lies half way. All host devices share the host's memory. Throws Error for
/// models that do not fit together and options out of range.
PlanningProblem measure_profile(std::vector<ServedModel> const& models, std::vector<ServingDevice> const& devices,
                                ProfilingOptions const& options = {});

} // namespace nasturtium::ensemble
