// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/device.hpp>

#include <nasturtium/core/json.hpp>

namespace nasturtium::estimator {

std::string to_json(Device const& device)
{
  json::Object object;
  object["name"] = device.name;
  object["peak_flops"] = device.peak_flops;
  object["bandwidth"] = device.bandwidth;
  object["launch_seconds"] = device.launch_seconds;
  object["cores"] = device.cores;
  object["clock_mhz"] = device.clock_mhz;
  object["memory_bytes"] = device.memory_bytes;
  return json::pretty(object);
}

Device parse_device(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  json::Reader reader(value, source);
  Device device;
  device.name = reader.string("name");
  device.peak_flops = reader.number("peak_flops", json::above(0));
  device.bandwidth = reader.number("bandwidth", json::above(0));
  device.launch_seconds = reader.number("launch_seconds", json::at_least(0));
  device.cores = static_cast<int>(reader.integer("cores", 1, 1 << 20));
  device.clock_mhz = reader.number("clock_mhz", json::at_least(0));
  device.memory_bytes = reader.integer("memory_bytes", 0, std::int64_t{1} << 50);
  reader.finish();
  return device;
}

} // namespace nasturtium::estimator
