// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Successive halving without training: losses are a function, an epoch takes one unit of time. For tests, benchmarks,
// and for people who want to know what a preset would do.
#pragma once

#include <nasturtium/nas/halving.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::nas {

/// Loss of a trial after so many epochs.
using SimulatedLoss = std::function<double(int trial, int epochs)>;
/// Where the events go: Halving::apply, or that of a journal.
using ApplyHalving = std::function<std::optional<HalvingAction>(HalvingEvent const& event)>;

/// Learning curves that cross (the reference's generator): loss = F + (2.3 - F) (1 + epochs)^-rho + 0.02 g with F in
/// [0.2, 1.2), rho in [0.3, 1.2) by (seed, trial) and a standard normal g by (seed, trial, epochs).
double simulated_loss(std::uint64_t seed, int trial, int epochs);

struct SimulationOptions
{
  int workers = 1;
  std::function<double(int trial)> cost{}; ///< none: 1
  /// Hears every result, with the epochs trained until then; true ends the simulation.
  std::function<bool(HalvingEvent const& result, std::int64_t epochs)> stop{};
};

struct HalvingSimulation
{
  std::vector<HalvingAction> decisions; ///< without idle ones
  std::int64_t time = 0;                ///< when the last result came
};

/// Lets free workers ask, in their order, until all are idle. A trial takes the epochs that it trains; equal finish
/// times in the order of the trials; a worker asks right after its result, idle ones after it. Nothing may be in flight
/// at the beginning.
HalvingSimulation simulate(Halving const& halving, ApplyHalving const& apply, SimulatedLoss const& loss,
                           SimulationOptions const& options = {});
HalvingSimulation simulate(Halving& halving, SimulatedLoss const& loss, SimulationOptions const& options = {});

/// "S0 S1 1>1": start of trial 0, of trial 1, trial 1 to rung 1.
std::string trace(std::vector<HalvingAction> const& decisions);

} // namespace nasturtium::nas
