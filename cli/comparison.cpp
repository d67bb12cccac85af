// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "comparison.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <set>

namespace nasturtium::cli {

namespace {

std::vector<std::string> const call_kinds{"step", "forward"};
std::vector<std::string> const backends{"serial", "openmp", "cuda"};

json::Object to_json(ComparedDevice const& device)
{
  json::Object build;
  for (auto const& [key, value] : device.build)
    build[key] = value;
  return json::Object{{"name", device.name},
                      {"backend", device.backend},
                      {"hardware", device.hardware},
                      {"driver", device.driver},
                      {"cores", device.cores},
                      {"clock_mhz", device.clock_mhz},
                      {"memory_bytes", device.memory_bytes},
                      {"peak_flops", device.peak_flops},
                      {"bandwidth", device.bandwidth},
                      {"launch_seconds", device.launch_seconds},
                      {"build", std::move(build)}};
}

ComparedDevice parse_device(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  ComparedDevice device;
  device.name = reader.string("name");
  require(!device.name.empty(), reader.what("name"), ": must not be empty");
  device.backend = backends[reader.choice("backend", backends)];
  device.hardware = reader.string("hardware");
  device.driver = reader.string("driver");
  device.cores = static_cast<int>(reader.integer("cores", 1, 1 << 20));
  device.clock_mhz = reader.number("clock_mhz", json::at_least(0));
  device.memory_bytes = reader.integer("memory_bytes", 0, std::int64_t{1} << 60);
  device.peak_flops = reader.number("peak_flops", json::at_least(0));
  device.bandwidth = reader.number("bandwidth", json::at_least(0));
  device.launch_seconds = reader.number("launch_seconds", json::at_least(0));
  std::string const where = reader.what("build");
  for (auto const& [key, text] : json::to_object(reader.value("build"), where))
    device.build.emplace_back(key, json::to_string(text, where));
  reader.finish();
  return device;
}

json::Object to_json(ComparedTiming const& timing)
{
  json::Object object{{"device", timing.device},
                      {"kind", name(timing.kind)},
                      {"network", timing.network},
                      {"layer", timing.layer},
                      {"architecture_sha256", timing.architecture_sha256},
                      {"batch", timing.batch},
                      {"calls", timing.calls},
                      {"flops", timing.flops},
                      {"bytes", timing.bytes},
                      {"seconds", json::Array(timing.seconds.begin(), timing.seconds.end())}};
  if (!timing.joules.empty()) object["joules"] = json::Array(timing.joules.begin(), timing.joules.end());
  if (!timing.failure.empty()) object["failure"] = timing.failure;
  return object;
}

std::vector<double> parse_numbers(json::Value const& value, std::string const& what, json::Range const& range)
{
  auto const& array = json::to_array(value, what);
  require(array.size() <= max_repetitions, what, ": ", array.size(), " repetitions are more than ", max_repetitions);
  std::vector<double> numbers;
  for (auto const& item : array)
    numbers.push_back(json::to_number(item, what, range));
  return numbers;
}

ComparedTiming parse_timing(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  ComparedTiming timing;
  timing.device = reader.string("device");
  timing.kind = static_cast<CallKind>(reader.choice("kind", call_kinds));
  timing.network = reader.string("network");
  timing.layer = reader.boolean("layer");
  timing.architecture_sha256 = reader.string("architecture_sha256");
  timing.batch = static_cast<int>(reader.integer("batch", 1, 1 << 30));
  timing.calls = reader.integer("calls", 1, std::int64_t{1} << 40);
  timing.flops = reader.number("flops", json::at_least(0));
  timing.bytes = reader.number("bytes", json::at_least(0));
  timing.seconds = parse_numbers(reader.value("seconds"), reader.what("seconds"), json::above(0));
  if (auto const* const joules = reader.find("joules"))
    timing.joules = parse_numbers(*joules, reader.what("joules"), json::at_least(0));
  require(timing.joules.empty() || timing.joules.size() == timing.seconds.size(), reader.what("joules"), ": ",
          timing.joules.size(), " values beside ", timing.seconds.size(), " of 'seconds'");
  timing.failure = reader.string("failure", "");
  require(timing.seconds.empty() == !timing.failure.empty(), reader.what("seconds"), ": ", timing.seconds.size(),
          " values with the failure ", quoted(timing.failure), "; one of the two must be empty");
  reader.finish();
  return timing;
}

} // namespace

std::string name(CallKind kind)
{
  return call_kinds[static_cast<std::size_t>(kind)];
}

std::string ComparedTiming::label() const
{
  return concat(name(kind), "/", network, "/batch", batch);
}

ComparedDevice const* Comparison::find_device(std::string const& name) const
{
  auto const device =
      std::find_if(devices.begin(), devices.end(), [&](ComparedDevice const& it) { return it.name == name; });
  return device == devices.end() ? nullptr : &*device;
}

json::Value to_json(Comparison const& comparison)
{
  json::Array devices, measurements;
  for (auto const& device : comparison.devices)
    devices.emplace_back(to_json(device));
  for (auto const& timing : comparison.timings)
    measurements.emplace_back(to_json(timing));
  return json::Object{{"format", "nasturtium-comparison"},
                      {"version", 1},
                      {"provenance", nasturtium::to_json(comparison.provenance)},
                      {"devices", std::move(devices)},
                      {"measurements", std::move(measurements)}};
}

Comparison parse_comparison(json::Value const& value, std::string const& source)
{
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-comparison", 1);
  Comparison comparison;
  comparison.provenance = parse_provenance(reader.value("provenance"), reader.what("provenance"));
  for (auto const& item : reader.array("devices")) {
    std::string const where = concat(source, ": devices[", comparison.devices.size(), "]");
    auto device = parse_device(item, where);
    require(!comparison.find_device(device.name), where, ": field 'name': ", quoted(device.name), " stands twice");
    comparison.devices.push_back(std::move(device));
  }
  require(!comparison.devices.empty(), reader.what("devices"), ": must not be empty");
  std::set<std::pair<std::string, std::string>> seen;
  for (auto const& item : reader.array("measurements")) {
    std::string const where = concat(source, ": measurements[", comparison.timings.size(), "]");
    auto timing = parse_timing(item, where);
    require(comparison.find_device(timing.device) != nullptr, where, ": field 'device': ", quoted(timing.device),
            " is not among the devices");
    require(seen.emplace(timing.device, timing.label()).second, where, ": ", quoted(timing.label()), " on ",
            quoted(timing.device), " stands twice");
    comparison.timings.push_back(std::move(timing));
  }
  reader.finish();
  return comparison;
}

} // namespace nasturtium::cli
