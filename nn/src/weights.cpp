// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights as HDF5 files. Format: docs/formats.md.
#include <nasturtium/nn/weights.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>

namespace nasturtium::nn {

namespace {

constexpr std::int64_t format_version = 1;

std::string text(std::vector<std::int64_t> const& extent)
{
  std::string result;
  for (std::int64_t const e : extent)
    result += concat(result.empty() ? "" : " x ", e);
  return result.empty() ? "a scalar" : result;
}

std::int64_t count(std::vector<std::int64_t> const& extent)
{
  std::int64_t product = 1;
  for (std::int64_t const e : extent)
    product *= e;
  return product;
}

spec::Architecture architecture_of(hdf5::Reader const& file)
{
  require(file.has_attribute("/weights", "architecture"), file.path(),
          ": /weights: attribute 'architecture' is missing");
  spec::Architecture architecture = spec::parse_architecture(file.string_attribute("/weights", "architecture"),
                                                             file.path() + ": attribute 'architecture'");
  if (file.has_attribute("/weights", "architecture_hash")) {
    std::string const stored = file.string_attribute("/weights", "architecture_hash");
    require(stored == spec::hash(architecture), file.path(), ": attribute 'architecture_hash' is ", quoted(stored),
            ", but that of attribute 'architecture' is '", spec::hash(architecture), "'");
  }
  return architecture;
}

/// Throws unless every tensor belongs to a node and has its parameter's extents.
void check_fit(Weights const& weights, spec::Architecture const& architecture, spec::Inferred const& inferred,
               std::string const& source)
{
  std::unordered_map<std::string_view, spec::NodeInfo const*> nodes;
  for (spec::NodeInfo const& info : inferred.nodes)
    nodes.emplace(architecture.nodes[static_cast<std::size_t>(info.node)].id, &info);
  for (auto const& [key, tensor] : weights) {
    auto const node = nodes.find(key.first);
    require(node != nodes.end(), source, ": node ", quoted(key.first), " has weights, but is not in the architecture");
    auto const& parameters = node->second->parameters;
    auto const parameter = std::find_if(parameters.begin(), parameters.end(),
                                        [&](spec::ParameterInfo const& p) { return p.name == key.second; });
    std::string const where = concat(source, ": node '", key.first, "': ", quoted(key.second));
    require(parameter != parameters.end(), where, " is no parameter of this node");
    require(tensor.extent == parameter->extent, where, " must be ", text(parameter->extent), ", got ",
            text(tensor.extent));
    require(static_cast<std::int64_t>(tensor.values.size()) == count(tensor.extent), where, " has ",
            tensor.values.size(), " values for ", text(tensor.extent));
  }
}

/// Throws for values that no network can go on from.
void check_values(std::string const& where, std::string const& name, Tensor const& tensor)
{
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    double const value = tensor.values[i];
    if (!std::isfinite(value)) fail(where, " must be finite, got ", shortest(value), " at element ", i);
    if (name == "moving_variance" && value < 0) fail(where, " must be >= 0, got ", shortest(value), " at element ", i);
  }
}

hdf5::Reader open(std::string const& path)
{
  hdf5::Reader file(path);
  require(file.has("/weights") && file.is_group("/weights"), path, ": group '/weights' is missing: not a weights file");
  if (file.has_attribute("/weights", "version")) {
    std::int64_t const version = file.integer_attribute("/weights", "version");
    require(version == format_version, path, ": attribute 'version' must be ", format_version, ", got ", version);
  }
  return file;
}

} // namespace

void save_weights(std::string const& path, spec::Architecture const& architecture, Weights const& weights,
                  bool double_precision)
{
  // The values may be anything: those of a training that diverged are worth a look.
  check_fit(weights, architecture, spec::infer(architecture, path), path);
  hdf5::Writer file(path);
  file.create_group("/weights");
  file.set_attribute("/weights", "format", "nasturtium-weights");
  file.set_attribute("/weights", "version", format_version);
  file.set_attribute("/weights", "architecture", spec::to_json(architecture));
  file.set_attribute("/weights", "architecture_hash", spec::hash(architecture));
  for (auto const& [key, tensor] : weights) {
    std::string const name = concat("/weights/", key.first, "/", key.second);
    if (double_precision) {
      file.write(name, tensor.extent, tensor.values);
    } else {
      std::vector<float> const narrow(tensor.values.begin(), tensor.values.end());
      file.write(name, tensor.extent, narrow);
    }
  }
  file.commit();
}

Weights load_weights(std::string const& path)
{
  hdf5::Reader const file = open(path);
  Weights weights;
  for (std::string const& node : file.children("/weights")) {
    std::string const group = "/weights/" + node;
    require(file.is_group(group), path, ": '", group, "' is not a group of parameters");
    for (std::string const& name : file.children(group)) {
      std::string const object = concat(group, "/", name);
      require(!file.is_group(object), path, ": '", object, "' is a group, not a parameter");
      require(hdf5::is_float(file.info(object).type), path, ": '", object, "' must be float32 or float64, got ",
              hdf5::name(file.info(object).type));
      hdf5::Array<double> array = file.read<double>(object);
      weights[{node, name}] = {std::move(array.extent), std::move(array.values)};
    }
  }
  // A file that says what it belongs to is held to it here, before anything is done with it.
  if (file.has_attribute("/weights", "architecture")) check_weights(weights, architecture_of(file), false, path);
  return weights;
}

spec::Architecture load_weights_architecture(std::string const& path)
{
  return architecture_of(open(path));
}

void check_weights(Weights const& weights, spec::Architecture const& architecture, bool complete,
                   std::string const& source)
{
  spec::Inferred const inferred = spec::infer(architecture, source);
  check_fit(weights, architecture, inferred, source);
  for (auto const& [key, tensor] : weights)
    check_values(concat(source, ": node '", key.first, "': '", key.second, "'"), key.second, tensor);
  if (!complete) return;
  for (spec::NodeInfo const& info : inferred.nodes) {
    std::string const& id = architecture.nodes[static_cast<std::size_t>(info.node)].id;
    for (spec::ParameterInfo const& parameter : info.parameters)
      require(weights.count({id, parameter.name}) == 1, source, ": node '", id, "': '", parameter.name, "' is missing");
  }
}

} // namespace nasturtium::nn
