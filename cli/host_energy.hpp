// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Energy that the processor's packages have taken, as Linux tells it (RAPL, /sys/class/powercap).
#pragma once

#include <string>
#include <vector>

namespace nasturtium::cli {

/// The counters of all packages of the machine; whatever else runs there counts too.
class HostEnergy
{
public:
  /// Looks for intel-rapl:N/energy_uj below `folder` (AMD's processors have the same name there); none where the files
  /// are missing or only root may read them.
  explicit HostEnergy(std::string const& folder = "/sys/class/powercap");

  bool available() const { return !m_packages.empty(); }
  void start();          ///< reads the counters
  double joules() const; ///< since start(); 0 where there is none. A counter may wrap around once in between.

private:
  struct Package
  {
    std::string file;
    double range = 0; ///< microjoules at which the counter begins again
    double begin = 0;
  };
  std::vector<Package> m_packages;
};

} // namespace nasturtium::cli
