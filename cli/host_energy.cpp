// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "host_energy.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

std::optional<double> number_in(std::string const& path)
{
  std::ifstream file(path);
  double value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

} // namespace

HostEnergy::HostEnergy(std::string const& folder)
{
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string const name = entry->path().filename().string();
    // intel-rapl:0 is a package, intel-rapl:0:1 a part of it.
    if (!name.starts_with("intel-rapl:") || std::count(name.begin(), name.end(), ':') != 1) continue;
    Package package{(entry->path() / "energy_uj").string()};
    package.range = number_in((entry->path() / "max_energy_range_uj").string()).value_or(0);
    if (number_in(package.file)) m_packages.push_back(std::move(package));
  }
}

void HostEnergy::start()
{
  for (auto& package : m_packages)
    package.begin = number_in(package.file).value_or(0);
}

double HostEnergy::joules() const
{
  double sum = 0;
  for (auto const& package : m_packages) {
    double const now = number_in(package.file).value_or(package.begin);
    sum += now >= package.begin ? now - package.begin : std::max(0.0, now + package.range - package.begin);
  }
  return 1e-6 * sum;
}

} // namespace nasturtium::cli
