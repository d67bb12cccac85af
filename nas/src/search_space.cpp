// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "spaces/spaces.hpp"

#include <nasturtium/core/error.hpp>

#include <array>
#include <limits>

namespace nasturtium::nas {

namespace {

struct Entry
{
  std::string_view name;
  std::unique_ptr<SearchSpace> (*make)(Task const& task);
};

constexpr std::array spaces{
    Entry{"lenet11", impl::make_lenet11},
    Entry{"vgg21", impl::make_vgg21},
    Entry{"vgg21-narrow", impl::make_vgg21_narrow},
    Entry{"nt3-12", impl::make_nt3_12},
    Entry{"nt3-8", impl::make_nt3_8},
    Entry{"nt3-8-full", impl::make_nt3_8_full},
    Entry{"nt3-10", impl::make_nt3_10},
    Entry{"uno-12", impl::make_uno_12},
    Entry{"uno-13", impl::make_uno_13},
    Entry{"uno-toy", impl::make_uno_toy},
    Entry{"nsga-net", impl::make_nsga_net},
    Entry{"nsga-net-narrow", impl::make_nsga_net_narrow},
    Entry{"evocnn", impl::make_evocnn},
    Entry{"menndl", impl::make_menndl},
};

} // namespace

std::vector<std::string> space_names()
{
  std::vector<std::string> names;
  names.reserve(spaces.size());
  for (Entry const& entry : spaces)
    names.emplace_back(entry.name);
  return names;
}

void check(Task const& task)
{
  nn::spec::Shape const& input = task.input;
  require(input.height >= 1 && input.width >= 1 && input.channels >= 1, "task: field 'input' must be positive, got ",
          input.height, " x ", input.width, " x ", input.channels);
  require(task.regression >= 0 && (task.regression == 0 || task.classes == 0),
          "task: either 'classes' or 'regression', got ", task.classes, " and ", task.regression);
  require(task.regression > 0 || task.classes >= 2, "task: field 'classes' must be at least 2, got ", task.classes);
}

json::Object to_json(Task const& task)
{
  json::Object object;
  object["height"] = task.input.height;
  object["width"] = task.input.width;
  object["channels"] = task.input.channels;
  if (task.regression > 0)
    object["regression"] = task.regression;
  else
    object["classes"] = task.classes;
  return object;
}

Task parse_task(json::Reader reader)
{
  constexpr auto most_int = std::numeric_limits<int>::max();
  Task task;
  task.input.height = static_cast<int>(reader.integer("height", 1, most_int));
  task.input.width = static_cast<int>(reader.integer("width", 1, most_int));
  task.input.channels = static_cast<int>(reader.integer("channels", 1, most_int));
  if (reader.has("regression")) {
    task.classes = 0;
    task.regression = static_cast<int>(reader.integer("regression", 1, most_int));
  } else {
    task.classes = static_cast<int>(reader.integer("classes", 2, most_int));
  }
  reader.finish();
  return task;
}

std::unique_ptr<SearchSpace> make_space(std::string const& name, Task const& task)
{
  check(task);
  std::string known;
  for (Entry const& entry : spaces) {
    if (entry.name == name) return entry.make(task);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail("search space: unknown name '", name, "' (known: ", known, ")");
}

} // namespace nasturtium::nas
