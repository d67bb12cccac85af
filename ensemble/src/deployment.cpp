// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/deployment.hpp>
#include <nasturtium/nn/weights.hpp>

#include <cmath>
#include <filesystem>

namespace nasturtium::ensemble {

namespace {

namespace fs = std::filesystem;

constexpr char const* format = "nasturtium-ensemble-deployment";
constexpr std::int64_t format_version = 1;
constexpr int most_side = 1 << 16, most_classes = 1 << 20, most_threads = 4096, most_segment = 1 << 20;

template <class Value>
json::Array array_of(std::vector<Value> const& values)
{
  return json::Array(values.begin(), values.end());
}

std::vector<float> read_moments(json::Reader& reader, char const* field, int channels, json::Range const& range)
{
  std::vector<float> values;
  for (auto const& value : reader.array(field))
    values.push_back(static_cast<float>(json::to_number(value, reader.what(field), range)));
  require(values.empty() || values.size() == static_cast<std::size_t>(channels), reader.what(field), " has ",
          values.size(), " values for ", channels, " channels");
  return values;
}

json::Value to_value(ServingDevice const& device)
{
  json::Object object;
  object["name"] = device.name;
  object["backend"] = nn::name(device.backend);
  object["threads"] = device.threads;
  object["cores"] = array_of(device.cores);
  return object;
}

ServingDevice read_device(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  ServingDevice device;
  device.name = reader.string("name");
  reader.set_where(concat(where, " ", quoted(device.name)));
  try {
    device.backend = nn::parse_backend(reader.string("backend"));
  } catch (Error const& error) {
    fail(reader.what("backend"), ": ", error.what());
  }
  device.threads = static_cast<int>(reader.integer("threads", 1, most_threads));
  for (auto const& core : reader.array("cores"))
    device.cores.push_back(static_cast<int>(json::to_integer(core, reader.what("cores"), 0, most_threads)));
  reader.finish();
  return device;
}

} // namespace

std::string to_json(Deployment const& deployment)
{
  json::Object document, input, moments;
  document["format"] = format;
  document["version"] = format_version;
  document["library"] = deployment.library;
  json::Array members, devices;
  for (auto const& member : deployment.members)
    members.push_back(json::Object{{"id", member.id}, {"weight", member.weight}});
  document["members"] = std::move(members);
  document["temperature"] = deployment.temperature;
  input["height"] = deployment.height;
  input["width"] = deployment.width;
  input["channels"] = deployment.channels;
  moments["mean"] = array_of(deployment.moments.mean);
  moments["deviation"] = array_of(deployment.moments.deviation);
  input["moments"] = std::move(moments);
  document["input"] = std::move(input);
  document["classes"] = deployment.classes;
  document["class_names"] = array_of(deployment.class_names);
  for (auto const& device : deployment.devices)
    devices.push_back(to_value(device));
  document["devices"] = std::move(devices);
  document["segment_size"] = deployment.segment_size;
  document["plan"] = json::parse(to_json(deployment.plan), "plan");
  return json::pretty(document);
}

Deployment parse_deployment(std::string const& text, std::string const& source)
{
  auto const document = json::parse(text, source);
  json::Reader reader(document, source);
  json::check_format(reader, format, format_version);
  Deployment deployment;
  deployment.library = reader.string("library");
  require(!deployment.library.empty(), reader.what("library"), " is empty");
  deployment.plan = parse_plan(json::compact(reader.value("plan")), source + ": 'plan'");
  auto const& plan = deployment.plan;
  for (auto const& item : reader.array("members")) {
    json::Reader member(item, source + ": a member");
    auto& added = deployment.members.emplace_back();
    added.id = member.string("id");
    check_model_id(added.id, member.what("id"));
    added.weight = member.number("weight", json::above(0));
    member.finish();
    std::size_t const place = deployment.members.size() - 1;
    require(place < plan.models.size() && plan.models[place] == added.id, source, ": member ", quoted(added.id),
            " is not model ", place + 1, " of the plan");
  }
  require(deployment.members.size() == plan.models.size(), source, ": there are ", deployment.members.size(),
          " members for ", plan.models.size(), " models of the plan");
  deployment.temperature = reader.number("temperature", json::above(0));
  auto input = reader.object("input");
  deployment.height = static_cast<int>(input.integer("height", 1, most_side));
  deployment.width = static_cast<int>(input.integer("width", 1, most_side));
  deployment.channels = static_cast<int>(input.integer("channels", 1, most_side));
  auto moments = input.object("moments");
  deployment.moments.mean = read_moments(moments, "mean", deployment.channels, {});
  deployment.moments.deviation = read_moments(moments, "deviation", deployment.channels, json::above(0));
  require(deployment.moments.mean.size() == deployment.moments.deviation.size(), moments.what("deviation"), " has ",
          deployment.moments.deviation.size(), " values, mean has ", deployment.moments.mean.size());
  moments.finish();
  input.finish();
  deployment.classes = static_cast<int>(reader.integer("classes", 2, most_classes));
  for (auto const& name : reader.array("class_names"))
    deployment.class_names.push_back(json::to_string(name, reader.what("class_names")));
  require(deployment.class_names.empty() ||
              deployment.class_names.size() == static_cast<std::size_t>(deployment.classes),
          reader.what("class_names"), " has ", deployment.class_names.size(), " names for ", deployment.classes,
          " classes");
  for (auto const& item : reader.array("devices")) {
    deployment.devices.push_back(read_device(item, source + ": device"));
    std::size_t const place = deployment.devices.size() - 1;
    require(place < plan.devices.size() && plan.devices[place] == deployment.devices.back().name, source, ": device ",
            quoted(deployment.devices.back().name), " is not device ", place + 1, " of the plan");
  }
  require(deployment.devices.size() == plan.devices.size(), source, ": there are ", deployment.devices.size(),
          " devices for ", plan.devices.size(), " of the plan");
  deployment.segment_size = static_cast<int>(reader.integer("segment_size", 1, most_segment));
  reader.finish();
  return deployment;
}

Deployment load_deployment(std::string const& path)
{
  auto deployment = parse_deployment(read_file(path), path);
  if (fs::path(deployment.library).is_relative())
    deployment.library = (fs::path(path).parent_path() / deployment.library).string();
  return deployment;
}

ServedModel load_member(ModelLibrary const& library, std::string const& id, double weight)
{
  std::string const path = library.weights_path(id);
  require(is_file(path), library.path(), ": has no model ", quoted(id));
  return {id, nn::load_weights_architecture(path), std::make_shared<nn::Weights const>(nn::load_weights(path)), weight};
}

std::vector<ServedModel> load_models(Deployment const& deployment)
{
  auto const library = ModelLibrary::open(deployment.library);
  std::vector<ServedModel> models;
  for (auto const& member : deployment.members) {
    models.push_back(load_member(library, member.id, member.weight));
    std::string const path = library.weights_path(member.id);
    auto const& architecture = models.back().architecture;
    auto const& input = architecture.input;
    require(input.height == deployment.height && input.width == deployment.width &&
                input.channels == deployment.channels,
            path, ": input is ", input.height, " x ", input.width, " x ", input.channels, ", the ensemble's is ",
            deployment.height, " x ", deployment.width, " x ", deployment.channels);
    require(architecture.classes == deployment.classes, path, ": has ", architecture.classes,
            " classes, the ensemble has ", deployment.classes);
  }
  return models;
}

} // namespace nasturtium::ensemble
