// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Methods against each other on archives of timed networks.
#pragma once

#include <nasturtium/core/table.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::cli {

struct ArchiveOptions
{
  std::vector<std::string> files, methods;
  std::string level = "physics";
  std::string hold_out; ///< a device, "each", or "": lineages are held out
  std::vector<int> probes;
  double test_share = 0.2; ///< of the lineages
  std::uint64_t seed = 1;
};

/// Errors of every method on networks of lineages, or on a device, that it did not see. Throws Error for bad options
/// and for too few networks.
Table evaluate_archives(ArchiveOptions const& options);

} // namespace nasturtium::cli
