// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Workloads as programs for another framework, for people to read and to time there.
#pragma once

#include <nasturtium/estimator/workload.hpp>

#include <string>

namespace nasturtium::estimator {

/// A Python script for PyTorch: the network as an nn.Module with the same layers and weights in number (paddings as
/// resolved here, the odd pixel of "same" at the bottom and right), the optimiser, random data; run, it takes two
/// training steps on the CPU, or on the device named as its argument, and prints parameters, loss and the second step's
/// milliseconds. Optimiser::none makes forward passes instead. Every op of an architecture is known. Throws Error for
/// an architecture that does not infer and a batch < 1.
std::string pytorch_program(Workload const& workload);

} // namespace nasturtium::estimator
