// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of a network in host memory, and their HDF5 files. Format: docs/formats.md.
#pragma once

#include <nasturtium/nn/spec/architecture.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nasturtium::nn {

/// One parameter: extents as in spec::ParameterInfo, values row-major. Held in double, so that float64 runs lose
/// nothing; every float32 is exact in it.
struct Tensor
{
  std::vector<std::int64_t> extent;
  std::vector<double> values;
};

/// (node id, parameter name) -> tensor.
using Weights = std::map<std::pair<std::string, std::string>, Tensor>;

/// Writes /weights/<node id>/<name> with the architecture and its hash as attributes; atomically (temporary file,
/// rename). `double_precision` stores float64, else float32. Throws Error for tensors that do not fit the architecture;
/// any values will do. Not every parameter must be there.
void save_weights(std::string const& path, spec::Architecture const& architecture, Weights const& weights,
                  bool double_precision = false);

/// Reads such a file (float32 or float64). Throws Error naming file, node and field. Where the file carries an
/// architecture, the weights are checked against it (check_weights).
Weights load_weights(std::string const& path);

/// The architecture that a weights file carries; throws Error where it has none.
spec::Architecture load_weights_architecture(std::string const& path);

/// Throws Error naming `source`, node and field where a tensor does not fit the architecture, where a value is not
/// finite and where a moving_variance is negative; with `complete` also where a tensor is missing.
void check_weights(Weights const& weights, spec::Architecture const& architecture, bool complete,
                   std::string const& source);

} // namespace nasturtium::nn
