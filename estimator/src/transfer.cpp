// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/transfer.hpp>

#include "methods.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/estimator/features.hpp>

#include <cmath>

namespace nasturtium::estimator {
namespace {

constexpr std::size_t enough_for_a_line = 20;
constexpr double shrinkage = 10; ///< probes that the common scale counts as beside those of one kind

bool compute_bound(Description const& description, Device const& device)
{
  auto const it = roofline(description, device);
  return it.compute >= it.memory;
}

} // namespace

std::string name(TransferRule rule)
{
  switch (rule) {
  case TransferRule::scale:
    return "scale";
  case TransferRule::two_scales:
    return "two-scales";
  case TransferRule::affine:
    return "affine";
  }
  return {};
}

DeviceTransfer::DeviceTransfer(Estimator const& estimator, std::span<Example const> probes, TransferRule rule)
{
  if (probes.empty()) return;
  check(probes);
  std::vector<double> guesses, errors, by_kind[2];
  for (auto const& probe : probes) {
    guesses.push_back(std::log(estimator.predict(probe.description, probe.device).seconds));
    errors.push_back(std::log(probe.seconds) - guesses.back());
    by_kind[compute_bound(probe.description, probe.device) ? 0 : 1].push_back(errors.back());
  }
  double const common = median(errors);
  m_compute = m_memory = common;
  if (rule == TransferRule::two_scales) {
    auto const shrunk = [&](std::vector<double> const& own) {
      if (own.empty()) return common;
      auto const n = static_cast<double>(own.size());
      return (n * median(own) + shrinkage * common) / (n + shrinkage);
    };
    m_compute = shrunk(by_kind[0]);
    m_memory = shrunk(by_kind[1]);
  } else if (rule == TransferRule::affine && probes.size() >= enough_for_a_line) {
    double const x = mean(guesses), y = mean(errors);
    double xx = 0, xy = 0;
    for (std::size_t i = 0; i < guesses.size(); ++i) {
      xx += (guesses[i] - x) * (guesses[i] - x);
      xy += (guesses[i] - x) * (errors[i] - y);
    }
    double const tilt = xx > 0 ? xy / xx : 0;
    m_slope = 1 + tilt;
    m_compute = m_memory = y - tilt * x;
  }
}

double DeviceTransfer::seconds(Estimator const& estimator, Description const& description, Device const& device) const
{
  double const guess = std::log(estimator.predict(description, device).seconds);
  return std::exp(m_slope * guess + (compute_bound(description, device) ? m_compute : m_memory));
}

} // namespace nasturtium::estimator
