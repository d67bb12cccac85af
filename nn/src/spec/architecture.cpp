// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Architectures as text: reading, canonical writing, hash. Format: docs/formats.md.
#include "limits.hpp"
#include "zoo.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/sha256.hpp>

#include <algorithm>
#include <limits>
#include <string_view>

namespace nasturtium::nn::spec {

namespace {

std::string const format_name = "nasturtium-architecture";
constexpr std::int64_t format_version = 1;

std::vector<std::string> const op_names{
    "conv2d", "dense",   "batch_norm",   "relu",       "leaky_relu",      "elu",     "gelu",    "silu",
    "tanh",   "sigmoid", "max_pool2d",   "avg_pool2d", "global_avg_pool", "flatten", "dropout", "add",
    "concat", "slice",   "pad_channels", "identity"};

/// Any int; the field's own range is for impl::check_fields, which programs need as well as files.
int integer(json::Reader& reader, std::string_view field)
{
  return static_cast<int>(reader.integer(field, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

int integer(json::Reader& reader, std::string_view field, int fallback)
{
  return reader.has(field) ? integer(reader, field) : fallback;
}

/// Any number; + 0.0 makes a negative zero positive, which keeps equal architectures equal in their hash.
double number(json::Reader& reader, std::string_view field)
{
  return reader.number(field, {}) + 0.0;
}

double number(json::Reader& reader, std::string_view field, double fallback)
{
  return reader.has(field) ? number(reader, field) : fallback;
}

/// n or [n, n].
std::array<int, 2> pair(json::Reader& reader, std::string_view field)
{
  json::Value const& value = reader.value(field);
  std::array<int, 2> result{};
  if (!value.is_array()) {
    result.fill(integer(reader, field));
    return result;
  }
  json::Array const& array = value.get_array();
  require(array.size() == 2, reader.what(field), " must be an integer or [height, width], got ", array.size(),
          " values");
  for (std::size_t i = 0; i < 2; ++i)
    result[i] = static_cast<int>(json::to_integer(array[i], reader.what(field), std::numeric_limits<int>::min(),
                                                  std::numeric_limits<int>::max()));
  return result;
}

std::array<int, 2> pair(json::Reader& reader, std::string_view field, std::array<int, 2> fallback)
{
  return reader.has(field) ? pair(reader, field) : fallback;
}

Padding padding(json::Reader& reader, PaddingKind fallback)
{
  json::Value const* const value = reader.find("padding");
  if (value == nullptr) return {fallback, {}};
  if (!value->is_array()) {
    bool const text = value->is_string();
    if (text && value->get_string() == "same") return {PaddingKind::same, {}};
    if (text && value->get_string() == "valid") return {PaddingKind::valid, {}};
    fail(reader.what("padding"), " must be \"same\", \"valid\" or [top, bottom, left, right], got ",
         quoted(boost::json::serialize(*value)));
  }
  json::Array const& array = value->get_array();
  require(array.size() == 4, reader.what("padding"), " must be \"same\", \"valid\" or [top, bottom, left, right], got ",
          array.size(), " values");
  Padding result{PaddingKind::explicit_, {}};
  for (std::size_t i = 0; i < 4; ++i)
    result.amounts[i] = static_cast<int>(json::to_integer(
        array[i], reader.what("padding"), std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
  return result;
}

Op parse_op(json::Reader& reader)
{
  std::string const& op = op_names[reader.choice("op", op_names)];
  if (op == "conv2d") {
    Conv2d conv;
    conv.filters = integer(reader, "filters");
    conv.kernel = pair(reader, "kernel");
    conv.stride = pair(reader, "stride", {1, 1});
    conv.padding = padding(reader, PaddingKind::same);
    conv.dilation = pair(reader, "dilation", {1, 1});
    conv.groups = integer(reader, "groups", 1);
    conv.bias = reader.boolean("bias", true);
    return conv;
  }
  if (op == "dense") {
    Dense dense;
    dense.units = integer(reader, "units");
    dense.bias = reader.boolean("bias", true);
    return dense;
  }
  if (op == "batch_norm") {
    BatchNorm norm;
    norm.momentum = number(reader, "momentum", norm.momentum);
    norm.epsilon = number(reader, "epsilon", norm.epsilon);
    return norm;
  }
  if (op == "max_pool2d" || op == "avg_pool2d") {
    Pool2d pool;
    pool.kind = op == "max_pool2d" ? PoolKind::max : PoolKind::average;
    pool.kernel = pair(reader, "kernel");
    pool.stride = pair(reader, "stride", pool.kernel);
    pool.padding = padding(reader, PaddingKind::valid);
    return pool;
  }
  if (op == "leaky_relu") return Activation{ActivationKind::leaky_relu, number(reader, "slope")};
  if (op == "dropout") return Dropout{number(reader, "rate")};
  if (op == "global_avg_pool") return GlobalAvgPool{};
  if (op == "flatten") return Flatten{};
  if (op == "add") return Add{};
  if (op == "concat") return Concat{};
  if (op == "slice") return Slice{integer(reader, "begin"), integer(reader, "size")};
  if (op == "pad_channels") return PadChannels{integer(reader, "channels")};
  if (op == "identity") return Identity{};
  for (ActivationKind const kind : {ActivationKind::relu, ActivationKind::elu, ActivationKind::gelu,
                                    ActivationKind::silu, ActivationKind::tanh, ActivationKind::sigmoid})
    if (op == op_name(Activation{kind})) return Activation{kind};
  fail(reader.what("op"), " is not known: ", op);
}

Node parse_node(json::Value const& value, std::string const& source, std::size_t number)
{
  json::Reader reader(value, concat(source, ": node ", number));
  Node node;
  node.id = reader.string("id");
  reader.set_where(concat(source, ": node ", quoted(node.id)));
  node.op = parse_op(reader);
  for (json::Value const& input : reader.array("inputs"))
    node.inputs.push_back(json::to_string(input, reader.what("inputs")));
  reader.finish();
  return node;
}

json::Value to_json(std::array<int, 2> const& pair)
{
  return json::Array{pair[0], pair[1]};
}

json::Value to_json(Padding const& padding)
{
  if (padding.kind == PaddingKind::same) return "same";
  if (padding.kind == PaddingKind::valid) return "valid";
  return json::Array{padding.amounts[0], padding.amounts[1], padding.amounts[2], padding.amounts[3]};
}

/// Adds the fields of an op, all of them.
struct WriteFields
{
  json::Object& object;

  void operator()(Conv2d const& conv) const
  {
    object["filters"] = conv.filters;
    object["kernel"] = to_json(conv.kernel);
    object["stride"] = to_json(conv.stride);
    object["padding"] = to_json(conv.padding);
    object["dilation"] = to_json(conv.dilation);
    object["groups"] = conv.groups;
    object["bias"] = conv.bias;
  }
  void operator()(Dense const& dense) const
  {
    object["units"] = dense.units;
    object["bias"] = dense.bias;
  }
  void operator()(BatchNorm const& norm) const
  {
    object["momentum"] = norm.momentum + 0.0;
    object["epsilon"] = norm.epsilon + 0.0;
  }
  void operator()(Activation const& activation) const
  {
    if (activation.kind == ActivationKind::leaky_relu) object["slope"] = activation.slope + 0.0;
  }
  void operator()(Pool2d const& pool) const
  {
    object["kernel"] = to_json(pool.kernel);
    object["stride"] = to_json(pool.stride);
    object["padding"] = to_json(pool.padding);
  }
  void operator()(Dropout const& dropout) const { object["rate"] = dropout.rate + 0.0; }
  void operator()(Slice const& slice) const
  {
    object["begin"] = slice.begin;
    object["size"] = slice.size;
  }
  void operator()(PadChannels const& pad) const { object["channels"] = pad.channels; }
  template <class NoFields>
  void operator()(NoFields const&) const
  {
  }
};

json::Value to_value(Architecture const& architecture, bool with_name)
{
  json::Object object;
  object["format"] = format_name;
  object["version"] = format_version;
  if (with_name && !architecture.name.empty()) object["name"] = architecture.name;
  object["input"] = json::Object{{"height", architecture.input.height},
                                 {"width", architecture.input.width},
                                 {"channels", architecture.input.channels}};
  json::Array nodes;
  for (Node const& node : architecture.nodes) {
    json::Object fields;
    fields["id"] = node.id;
    fields["op"] = op_name(node.op);
    std::visit(WriteFields{fields}, node.op);
    fields["inputs"] = json::Array(node.inputs.begin(), node.inputs.end());
    nodes.push_back(std::move(fields));
  }
  object["nodes"] = std::move(nodes);
  object["output"] = architecture.classes != 0 ? json::Object{{"classes", architecture.classes}}
                                               : json::Object{{"regression", architecture.regression}};
  return object;
}

struct OpName
{
  std::string operator()(Conv2d const&) const { return "conv2d"; }
  std::string operator()(Dense const&) const { return "dense"; }
  std::string operator()(BatchNorm const&) const { return "batch_norm"; }
  std::string operator()(Activation const& activation) const
  {
    switch (activation.kind) {
    case ActivationKind::relu:
      return "relu";
    case ActivationKind::leaky_relu:
      return "leaky_relu";
    case ActivationKind::elu:
      return "elu";
    case ActivationKind::gelu:
      return "gelu";
    case ActivationKind::silu:
      return "silu";
    case ActivationKind::tanh:
      return "tanh";
    case ActivationKind::sigmoid:
      return "sigmoid";
    }
    return "activation";
  }
  std::string operator()(Pool2d const& pool) const { return pool.kind == PoolKind::max ? "max_pool2d" : "avg_pool2d"; }
  std::string operator()(GlobalAvgPool const&) const { return "global_avg_pool"; }
  std::string operator()(Flatten const&) const { return "flatten"; }
  std::string operator()(Dropout const&) const { return "dropout"; }
  std::string operator()(Add const&) const { return "add"; }
  std::string operator()(Concat const&) const { return "concat"; }
  std::string operator()(Slice const&) const { return "slice"; }
  std::string operator()(PadChannels const&) const { return "pad_channels"; }
  std::string operator()(Identity const&) const { return "identity"; }
};

} // namespace

std::string op_name(Op const& op)
{
  return std::visit(OpName{}, op);
}

Architecture parse_architecture(std::string const& text, std::string const& source)
{
  json::Value const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, format_name, format_version);

  Architecture architecture;
  architecture.name = reader.string("name", "");
  json::Reader input = reader.object("input");
  architecture.input.height = integer(input, "height");
  architecture.input.width = integer(input, "width");
  architecture.input.channels = integer(input, "channels");
  input.finish();
  std::size_t number = 0;
  for (json::Value const& node : reader.array("nodes"))
    architecture.nodes.push_back(parse_node(node, source, number++));
  json::Reader output = reader.object("output");
  require(output.has("classes") != output.has("regression"), reader.what("output"),
          " must have either 'classes' or 'regression'");
  (output.has("classes") ? architecture.classes : architecture.regression) =
      integer(output, output.has("classes") ? "classes" : "regression");
  output.finish();
  reader.finish();
  impl::check_fields(architecture, source);
  return architecture;
}

Architecture load_architecture(std::string const& path_or_name)
{
  bool const is_path = path_or_name.find('/') != std::string::npos || path_or_name.ends_with(".json");
  if (is_path) return parse_architecture(read_file(path_or_name), path_or_name);
  std::string known;
  for (impl::ZooEntry const& entry : impl::zoo()) {
    if (entry.name == path_or_name) return parse_architecture(std::string(entry.json), path_or_name);
    known += concat(known.empty() ? "" : ", ", entry.name);
  }
  fail("architecture ", quoted(path_or_name), " is neither a file (with '/' or '.json') nor one of: ", known);
}

std::string to_json(Architecture const& architecture)
{
  // A field a line, and a node a line: what people want to read and compare.
  json::Value const value = to_value(architecture, true);
  std::string text = "{";
  for (auto const& field : value.get_object()) {
    text += concat(text.size() > 1 ? ",\n" : "\n", "  \"", std::string_view(field.key()), "\": ");
    if (field.key() != "nodes") {
      text += json::compact(field.value());
      continue;
    }
    text += "[";
    for (std::size_t i = 0; i < field.value().get_array().size(); ++i)
      text += (i > 0 ? ",\n    " : "\n    ") + json::compact(field.value().get_array()[i]);
    text += "\n  ]";
  }
  return text + "\n}\n";
}

std::string hash(Architecture const& architecture)
{
  return sha256(json::compact(to_value(architecture, false)));
}

std::vector<std::string> zoo_names()
{
  std::vector<std::string> names;
  for (impl::ZooEntry const& entry : impl::zoo())
    names.emplace_back(entry.name);
  return names;
}

} // namespace nasturtium::nn::spec
