// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A description on a device as numbers, on four levels (reference section 2.5), and the roofline's time of a step.
#pragma once

#include <nasturtium/estimator/estimator.hpp>

#include <string>
#include <vector>

namespace nasturtium::estimator {

/// Seconds of a step by the roofline: per layer the larger of FLOPs / peak and bytes / bandwidth, summed. With
/// Optimiser::none backward and update are 0.
struct Roofline
{
  double forward = 0, backward = 0, update = 0; ///< backward is twice the forward pass; the update is traffic alone
  double compute = 0, memory = 0;               ///< of the step: sums of FLOPs / peak and of bytes / bandwidth
  double slowest = 0;                           ///< the slowest layer's share of forward + backward
  int launches = 0;                             ///< one a layer and pass, one of the update
  double launch_cost = 0;                       ///< launches * the device's launch_seconds
  double seconds() const { return forward + backward + update + launch_cost; }
};

/// Throws Error for a device whose peak or bandwidth is not positive. O(layers).
Roofline roofline(Description const& description, Device const& device);

/// Tiles of a batch of matrix products and the rounds in which `cores` compute them, one tile each at a time.
struct TileWaves
{
  double tiles = 0, waves = 0;
};
TileWaves tile_waves(double batch, double rows, double columns, double tile_rows, double tile_columns, int cores);

/// Names and values of a level, in the same order; sizes and counts as log2(1 + x), shares and flags as they are.
/// `physics` alone looks at the device. Throws Error as roofline, for a batch < 1 and for no layers. O(layers).
std::vector<std::string> feature_names(Level level);
std::vector<double> features(Description const& description, Device const& device, Level level);

} // namespace nasturtium::estimator
