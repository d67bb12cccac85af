// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Planning problems with a known optimum (the reference, section 3.5): random models of a simple cost model on two or
// three GPUs, with and without a slow CPU.
#pragma once

#include <nasturtium/ensemble/planner.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

struct PlanSuite
{
  std::string name;
  int gpus = 2;
  int models = 3;
  double slack = 2; ///< memory of all GPUs over the least need of all models
  bool cpu = false; ///< and a slow CPU with four times a GPU's memory, as the last device
};

/// The six suites of the reference, in its order.
std::vector<PlanSuite> const& plan_suites();

/// Problem `seed` of a suite; batches 8, 32 and 128. A function of its arguments alone.
PlanningProblem suite_problem(PlanSuite const& suite, std::uint64_t seed);

} // namespace nasturtium::ensemble
