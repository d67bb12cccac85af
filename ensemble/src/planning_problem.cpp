// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/ensemble/planner.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>

#include <cmath>
#include <limits>
#include <set>

namespace nasturtium::ensemble {

namespace {

constexpr char const* format = "nasturtium-ensemble-profile";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t most_batch = 1 << 20;

std::string name_of(std::string const& model)
{
  return model;
}
template <class Item>
std::string name_of(Item const& item)
{
  return item.name;
}

template <class Items>
void check_names(std::string const& source, char const* field, Items const& items)
{
  require(!items.empty(), source, ": field '", field, "' is empty");
  std::set<std::string> seen;
  for (auto const& item : items) {
    std::string const name = name_of(item);
    require(!name.empty(), source, ": field '", field, "': a name is empty");
    require(seen.insert(name).second, source, ": field '", field, "': ", quoted(name), " is there twice");
  }
}

/// Position of a name that was read.
template <class Items>
int place_of(Items const& items, std::string const& name, std::string const& what)
{
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i].name == name) return static_cast<int>(i);
  fail(what, ": ", quoted(name), " is unknown");
}

} // namespace

double memory_limit(double capacity_bytes, double workspace_bytes)
{
  return 0.9 * capacity_bytes - workspace_bytes;
}

void check(PlanningProblem const& problem, std::string const& source)
{
  check_names(source, "classes", problem.classes);
  check_names(source, "memories", problem.memories);
  check_names(source, "devices", problem.devices);
  check_names(source, "models", problem.models);
  for (auto const& device_class : problem.classes) {
    auto const what = concat(source, ": class ", quoted(device_class.name), ": field 'gain'");
    require(!device_class.gain.empty() && device_class.gain[0] == 1, what, " must begin with 1");
    for (double const gain : device_class.gain)
      require(gain > 0 && std::isfinite(gain), what, ": ", gain, " is not positive");
  }
  for (auto const& memory : problem.memories) {
    require(std::isfinite(memory.limit_bytes), source, ": memory ", quoted(memory.name),
            ": field 'limit_bytes': ", memory.limit_bytes, " is not finite");
  }
  for (auto const& device : problem.devices) {
    auto const what = concat(source, ": device ", quoted(device.name));
    require(device.device_class >= 0 && std::size_t(device.device_class) < problem.classes.size(), what,
            ": field 'class': ", device.device_class, " is no class");
    require(device.memory >= 0 && std::size_t(device.memory) < problem.memories.size(), what,
            ": field 'memory': ", device.memory, " is no memory");
  }
  require(!problem.batches.empty(), source, ": field 'batches' is empty");
  int last = 0;
  for (int const batch : problem.batches) {
    require(batch > last && batch <= most_batch, source, ": field 'batches': ", batch, " after ", last,
            " (they must increase)");
    last = batch;
  }
  std::size_t const size = problem.classes.size() * problem.models.size() * problem.batches.size();
  require(problem.profile.size() == size, source, ": the profile has ", problem.profile.size(), " entries instead of ",
          size);
  for (auto const& measured : problem.profile) {
    require(measured.seconds > 0, source, ": profile: seconds ", measured.seconds, " are not positive");
    require(measured.bytes >= 0 && std::isfinite(measured.bytes), source, ": profile: bytes ", measured.bytes,
            " are not a size");
  }
}

std::string to_json(PlanningProblem const& problem)
{
  check(problem);
  json::Object document;
  document["format"] = format;
  document["version"] = format_version;
  auto const numbers = [](auto const& values) { return json::Array(values.begin(), values.end()); };
  json::Array classes, memories, devices, models, profile;
  for (auto const& it : problem.classes)
    classes.push_back(json::Object{{"name", it.name}, {"gain", numbers(it.gain)}});
  for (auto const& it : problem.memories)
    memories.push_back(json::Object{{"name", it.name}, {"limit_bytes", it.limit_bytes}});
  for (auto const& it : problem.devices) {
    devices.push_back(json::Object{{"name", it.name},
                                   {"class", problem.classes[it.device_class].name},
                                   {"memory", problem.memories[it.memory].name}});
  }
  for (auto const& it : problem.models)
    models.emplace_back(it);
  auto entry = problem.profile.begin();
  for (auto const& device_class : problem.classes) {
    for (auto const& model : problem.models) {
      json::Array seconds, bytes; // infinite seconds become null: the model does not run at this batch
      for (std::size_t b = 0; b < problem.batches.size(); ++b, ++entry) {
        seconds.push_back(std::isfinite(entry->seconds) ? json::Value(entry->seconds) : json::Value());
        bytes.emplace_back(entry->bytes);
      }
      profile.push_back(
          json::Object{{"class", device_class.name}, {"model", model}, {"seconds", seconds}, {"bytes", bytes}});
    }
  }
  document["classes"] = std::move(classes);
  document["memories"] = std::move(memories);
  document["devices"] = std::move(devices);
  document["models"] = std::move(models);
  document["batches"] = numbers(problem.batches);
  document["profile"] = std::move(profile);
  return json::pretty(document);
}

PlanningProblem parse_planning_problem(std::string const& text, std::string const& source)
{
  auto const document = json::parse(text, source);
  json::Reader reader(document, source);
  json::check_format(reader, format, format_version);
  PlanningProblem problem;
  auto const each = [&](char const* field, auto const& read) {
    for (auto const& value : reader.array(field)) {
      json::Reader item(value, concat(source, ": '", field, "'"));
      read(item);
      item.finish();
    }
  };
  each("classes", [&](json::Reader& item) {
    DeviceClass made{item.string("name"), {}};
    for (auto const& gain : item.array("gain"))
      made.gain.push_back(json::to_number(gain, item.what("gain"), json::above(0)));
    problem.classes.push_back(std::move(made));
  });
  each("memories", [&](json::Reader& item) {
    auto name = item.string("name");
    problem.memories.push_back({std::move(name), item.number("limit_bytes", {})});
  });
  each("devices", [&](json::Reader& item) {
    auto name = item.string("name");
    int const device_class = place_of(problem.classes, item.string("class"), item.what("class"));
    problem.devices.push_back(
        {std::move(name), device_class, place_of(problem.memories, item.string("memory"), item.what("memory"))});
  });
  for (auto const& model : reader.array("models"))
    problem.models.push_back(json::to_string(model, reader.what("models")));
  for (auto const& batch : reader.array("batches"))
    problem.batches.push_back(static_cast<int>(json::to_integer(batch, reader.what("batches"), 1, most_batch)));
  // Names must be known to be different before entries can be told from each other by them.
  std::size_t const entries = problem.classes.size() * problem.models.size();
  auto const& rows = reader.array("profile");
  require(rows.size() == entries, reader.what("profile"), " has ", rows.size(), " entries instead of one for each of ",
          problem.classes.size(), " classes and ", problem.models.size(), " models");
  std::size_t row = 0;
  each("profile", [&](json::Reader& item) {
    auto const& device_class = problem.classes[row / problem.models.size()].name;
    auto const& model = problem.models[row % problem.models.size()];
    require(item.string("class") == device_class && item.string("model") == model, item.where(), ": entry ", row + 1,
            " must be of class ", quoted(device_class), " and model ", quoted(model), " (classes, then models)");
    item.set_where(concat(source, ": profile of ", quoted(model), " on ", quoted(device_class)));
    auto const &seconds = item.array("seconds"), &bytes = item.array("bytes");
    require(seconds.size() == problem.batches.size(), item.what("seconds"), " has ", seconds.size(),
            " values instead of ", problem.batches.size());
    require(bytes.size() == problem.batches.size(), item.what("bytes"), " has ", bytes.size(), " values instead of ",
            problem.batches.size());
    for (std::size_t b = 0; b < seconds.size(); ++b) {
      problem.profile.push_back({seconds[b].is_null()
                                     ? std::numeric_limits<double>::infinity()
                                     : json::to_number(seconds[b], item.what("seconds"), json::above(0)),
                                 json::to_number(bytes[b], item.what("bytes"), json::at_least(0))});
    }
    ++row;
  });
  reader.finish();
  check(problem, source);
  return problem;
}

} // namespace nasturtium::ensemble
