// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Training states as files (HDF5, format in docs/formats.md) and what can be asked of them. A training that goes on
// from a loaded state ends with the bits of one that was never interrupted.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nasturtium::nn {

/// Writes a state; atomically (temporary file, rename), so that a kill leaves the previous checkpoint.
void save_checkpoint(std::string const& path, TrainState const& state);

/// Reads a state back. Throws Error naming file and field for whatever is missing, damaged or does not fit together.
std::shared_ptr<TrainState const> load_checkpoint(std::string const& path);

/// Throws Error naming `source` and the field where a training of `architecture` with `options` and these `frozen`
/// nodes (in any order) cannot go on from the state. Only the limits (epochs, max_steps, time and memory) may differ.
void check_resumable(TrainState const& state, spec::Architecture const& architecture, TrainOptions const& options,
                     std::vector<std::string> const& frozen, std::string const& source);

spec::Architecture const& architecture_of(TrainState const& state);
TrainOptions const& options_of(TrainState const& state);
Weights const& weights_of(TrainState const& state);
std::vector<EpochReport> const& reports_of(TrainState const& state);
/// Steps done.
std::int64_t steps_of(TrainState const& state);

} // namespace nasturtium::nn
