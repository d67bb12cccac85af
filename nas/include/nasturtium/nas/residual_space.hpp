// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Networks together with how they are trained, for a search that makes a library of models: residual CNNs and MLPs
// whose costs differ by orders of magnitude. A SearchSpace holds architectures alone, so this is a space of its own:
// configuration t is a function of (seed, t), and nothing varies or crosses them. Options: docs/halving.md.
#pragma once

#include <nasturtium/nas/search_space.hpp>
#include <nasturtium/nn/options.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::nas {

/// What one trial trains.
struct Configuration
{
  nn::spec::Architecture architecture;
  nn::TrainOptions options; ///< without epochs, which the caller knows; its seed is the trial's own
  double cost = 0;          ///< forward FLOPs per image
};

class ResidualSpace
{
public:
  /// "residual"; "residual-narrow" has fewer and narrower layers, for a laptop and for tests.
  static std::vector<std::string> names();
  /// Throws Error for another name and for a task that is none. Images below 4 pixels a side, and rows of values, have
  /// MLPs alone.
  ResidualSpace(std::string name, Task const& task);

  std::string const& name() const { return m_name; }
  /// A valid network and options. Pure; the same on every machine with the same mathematical library. O(layers).
  Configuration sample(std::uint64_t seed, int trial) const;
  /// Costs of so many configurations of a seed: what the edges of a stratified ranking are made from.
  std::vector<double> costs(std::uint64_t seed, int count) const;
  /// SHA-256 of some of its configurations: two versions of the space that draw different ones differ in it.
  std::string hash() const;

private:
  std::string m_name;
  Task m_task;
};

} // namespace nasturtium::nas
