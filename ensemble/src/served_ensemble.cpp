// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "served_ensemble.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <set>

#ifdef __linux__
#include <sched.h>
#endif

namespace nasturtium::ensemble::impl {

namespace {

/// Position of a plan's name among what was given.
template <class Items>
int place_of(Items const& items, std::string const& name)
{
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i].name == name) return static_cast<int>(i);
  return -1;
}

template <class Items>
void check_names(char const* what, Items const& items)
{
  std::set<std::string> seen;
  for (auto const& item : items)
    require(seen.insert(item.name).second, "serving: ", what, " '", item.name, "' is there twice");
}

} // namespace

ServedEnsemble::ServedEnsemble(std::vector<ServedModel> given_models, std::vector<ServingDevice> given_devices,
                               Plan const& plan, nn::InputMoments given_moments, int given_segment_size)
    : models(std::move(given_models)), devices(std::move(given_devices)), moments(std::move(given_moments)),
      replicas(models.size())
{
  require(!models.empty(), "serving: there is no model");
  check_names("model", models);
  check_names("device", devices);
  require(given_segment_size > 0, "serving: segment_size must be positive, got ", given_segment_size);
  double total = 0;
  for (auto const& model : models) {
    require(model.weights != nullptr, "serving: model '", model.name, "' has no weights");
    require(model.architecture.classes > 0, "serving: model '", model.name, "' is no classifier");
    require(model.architecture.classes == models[0].architecture.classes, "serving: model '", model.name, "' has ",
            model.architecture.classes, " classes, model '", models[0].name, "' ", models[0].architecture.classes);
    require(model.architecture.input == models[0].architecture.input, "serving: models '", model.name, "' and '",
            models[0].name, "' have different inputs");
    require(model.weight >= 0 && std::isfinite(model.weight), "serving: model '", model.name, "': weight ",
            model.weight, " is negative or not finite");
    total += model.weight;
  }
  require(total > 0, "serving: all weights are 0");
  for (auto const& model : models)
    shares.push_back(model.weight / total);
  classes = models[0].architecture.classes;
  sample_size = models[0].architecture.input.size();
  segment_size = std::max(given_segment_size, plan.allocation.largest_batch());

  require(plan.models.size() == models.size(), "serving: the plan has ", plan.models.size(), " models, but ",
          models.size(), " are given");
  std::vector<int> row(devices.size(), -1), column(models.size(), -1);
  for (int d = 0; d < plan.allocation.devices; ++d) {
    int const place = place_of(devices, plan.devices[d]);
    bool used = false;
    for (int m = 0; m < plan.allocation.models; ++m)
      used = used || plan.allocation.at(d, m) > 0;
    require(place >= 0 || !used, "serving: the plan's device '", plan.devices[d], "' is not given");
    if (place >= 0) row[place] = d;
  }
  for (int m = 0; m < plan.allocation.models; ++m) {
    int const place = place_of(models, plan.models[m]);
    require(place >= 0, "serving: the plan's model '", plan.models[m], "' is not given");
    column[place] = m;
  }
  for (int d = 0; d < static_cast<int>(devices.size()); ++d) {
    for (int m = 0; m < static_cast<int>(models.size()); ++m) {
      require(column[m] >= 0, "serving: model '", models[m].name, "' is not in the plan");
      int const batch = row[d] < 0 ? 0 : plan.allocation.at(row[d], column[m]);
      if (batch == 0) continue;
      replicas[m].push_back(static_cast<int>(cells.size()));
      cells.push_back({d, m, batch});
    }
  }
  for (std::size_t m = 0; m < models.size(); ++m)
    require(!replicas[m].empty(), "serving: model '", models[m].name, "' has no device in the plan");
}

nn::InferenceSession ServedEnsemble::session(ServedCell const& cell) const
{
  auto const& device = devices[cell.device];
  auto const& model = models[cell.model];
  try {
    return {{.backend = device.backend, .threads = device.threads, .batch = cell.batch},
            model.architecture,
            *model.weights,
            moments};
  } catch (Error const& error) {
    fail("serving: ", name(cell), ": ", error.what());
  }
}

std::string ServedEnsemble::name(ServedCell const& cell) const
{
  return concat("model '", models[cell.model].name, "' on device '", devices[cell.device].name, "'");
}

std::int64_t ServedEnsemble::sample_count(nn::Images const& images) const
{
  auto const values = static_cast<std::int64_t>(images.size());
  require(values % sample_size == 0, "serving: ", values, " values are no whole number of samples of ", sample_size);
  return values / sample_size;
}

void pin_to_cores(ServingDevice const& device)
{
  if (device.cores.empty()) return;
#ifdef __linux__
  cpu_set_t allowed, chosen;
  CPU_ZERO(&allowed);
  CPU_ZERO(&chosen);
  require(::sched_getaffinity(0, sizeof(allowed), &allowed) == 0, "serving: device '", device.name,
          "': the cores of this process are not known");
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  for (int const place : device.cores) {
    require(place >= 0 && std::size_t(place) < cores.size(), "serving: device '", device.name, "': core ", place,
            " of ", cores.size());
    CPU_SET(cores[place], &chosen);
  }
  require(::sched_setaffinity(0, sizeof(chosen), &chosen) == 0, "serving: device '", device.name,
          "': the thread cannot be moved to its cores");
#else
  fail("serving: device '", device.name, "': threads can be bound to cores on Linux alone");
#endif
}

} // namespace nasturtium::ensemble::impl
