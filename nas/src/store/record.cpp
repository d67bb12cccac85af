// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/record.hpp"
#include "store/layer_object.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace nasturtium::nas::impl {

namespace {

constexpr char const* format = "nasturtium-stored-model";
constexpr std::int64_t format_version = 1;
constexpr auto most = std::numeric_limits<std::int64_t>::max();

StoredLayer parse_layer(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  StoredLayer layer;
  layer.node = reader.string("node");
  layer.type = reader.string("type");
  layer.object = reader.string("object");
  if (!is_object_name(layer.object))
    fail(reader.what("object"), " must be 32 hexadecimal digits, got ", quoted(layer.object));
  layer.bytes = reader.integer("bytes", 0, most);
  static std::vector<std::string> const elements{"float32", "float64"};
  layer.float64 = reader.choice("element", elements) == 1;
  reader.finish();
  return layer;
}

} // namespace

bool is_model_id(std::string_view id)
{
  auto const fits = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; };
  return !id.empty() && id.size() <= 128 && id.front() != '.' && std::all_of(id.begin(), id.end(), fits);
}

void check_model_id(std::string const& id, std::string const& what)
{
  if (is_model_id(id)) return;
  fail(what, " must be 1 to 128 letters, digits, '_', '-' and '.', the first one no '.', got ", quoted(id));
}

std::string format_record(StoredModel const& model)
{
  json::Object record;
  record["format"] = format;
  record["version"] = format_version;
  record["id"] = model.id;
  record["score"] = std::isfinite(model.score) ? json::Value(model.score) : json::Value(nullptr);
  record["donor"] = model.donor;
  record["lineage_length"] = model.lineage_length;
  record["lineage_epochs"] = model.lineage_epochs;
  record["epochs"] = model.epochs;
  record["seed"] = model.seed;
  record["created"] = model.created;
  json::Array layers;
  for (auto const& layer : model.layers)
    layers.push_back({{"node", layer.node},
                      {"type", layer.type},
                      {"object", layer.object},
                      {"bytes", layer.bytes},
                      {"element", layer.float64 ? "float64" : "float32"}});
  record["layers"] = std::move(layers);
  record["architecture"] = model.architecture;
  record["extra"] = model.extra;
  return json::pretty(record);
}

StoredModel parse_record(std::string_view text, std::string const& source)
{
  json::Value const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, format, format_version);
  StoredModel model;
  model.id = reader.string("id");
  if (!is_model_id(model.id)) check_model_id(model.id, reader.what("id"));
  json::Value const& score = reader.value("score");
  if (!score.is_null()) model.score = json::to_number(score, reader.what("score"));
  model.donor = reader.string("donor");
  model.lineage_length = static_cast<int>(reader.integer("lineage_length", 0, std::numeric_limits<int>::max()));
  model.lineage_epochs = reader.number("lineage_epochs", json::at_least(0));
  model.epochs = reader.number("epochs", json::at_least(0));
  model.seed = reader.seed("seed");
  model.created = reader.integer("created", 0, most);
  for (auto const& layer : reader.array("layers"))
    model.layers.push_back(parse_layer(layer, source + ": 'layers'[" + std::to_string(model.layers.size()) + "]"));
  model.architecture = reader.string("architecture");
  model.extra = json::to_object(reader.value("extra"), reader.what("extra"));
  reader.finish();
  return model;
}

} // namespace nasturtium::nas::impl
