// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where a result comes from: what every result file carries.
#pragma once

#include <nasturtium/core/json.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium {

std::string version();    ///< "0.1.0"
std::string git_hash();   ///< of the build; "unknown" without git
std::string git_state();  ///< "clean", "modified" or "unknown"
std::string compiler();   ///< "GNU 14.2.0"
std::string build_type(); ///< "Release"

struct Provenance
{
  std::string version, git_hash, git_state, compiler, build_type;
  std::string command_line;
  std::uint64_t seed = 0;
  std::string backend;
  std::string cpu;
  int host_cores = 0;                                           ///< that this process may run on
  std::vector<std::pair<std::string, std::string>> environment; ///< OMP_*, KOKKOS_*, OPENBLAS_* as set
  std::string utc;
  std::vector<std::pair<std::string, std::string>> extra; ///< Kokkos configuration, device, data set checksum, ...
};

/// Everything that the process can find out by itself; the command line from `argv`.
Provenance make_provenance(int argc, char const* const* argv, std::uint64_t seed, std::string backend);

json::Value to_json(Provenance const& provenance);
/// Back from what to_json wrote. Throws Error naming `source`, field and value.
Provenance parse_provenance(json::Value const& value, std::string const& source);

} // namespace nasturtium
