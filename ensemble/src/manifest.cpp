// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "manifest.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <cmath>
#include <limits>

namespace nasturtium::ensemble::impl {

namespace {

constexpr char const* format = "nasturtium-library-model";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t any_int = std::numeric_limits<int>::max();

} // namespace

json::Value to_json(LibraryModel const& model)
{
  json::Array device_costs, files;
  for (auto const& cost : model.device_costs)
    device_costs.push_back(json::Object{
        {"device", cost.device}, {"batch", cost.batch}, {"seconds", cost.seconds}, {"peak_bytes", cost.peak_bytes}});
  for (auto const& file : model.files)
    files.push_back(json::Object{{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return json::Object{{"format", format},
                      {"version", format_version},
                      {"id", model.id},
                      {"rung", model.rung},
                      {"paused", model.paused},
                      {"epochs", model.epochs},
                      {"seed", model.seed},
                      {"parameters", model.parameters},
                      {"weight_bytes", model.weight_bytes},
                      {"activation_bytes", model.activation_bytes},
                      {"flops", model.flops},
                      {"device_costs", device_costs},
                      {"loss", model.loss},
                      {"code_version", model.code_version},
                      {"splits", model.splits},
                      {"files", files}};
}

LibraryModel model_from(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  json::check_format(reader, format, format_version);
  LibraryModel model;
  model.id = reader.string("id");
  model.rung = static_cast<int>(reader.integer("rung", 0, any_int));
  model.paused = reader.boolean("paused");
  model.epochs = reader.number("epochs", json::at_least(0));
  model.seed = reader.seed("seed");
  model.parameters = reader.integer("parameters", 0, any);
  model.weight_bytes = reader.integer("weight_bytes", 0, any);
  model.activation_bytes = reader.integer("activation_bytes", 0, any);
  model.flops = reader.number("flops", json::at_least(0));
  for (auto const& item : reader.array("device_costs")) {
    json::Reader cost(item, where + ": a device cost");
    auto& added = model.device_costs.emplace_back();
    added.device = cost.string("device");
    added.batch = static_cast<int>(cost.integer("batch", 1, any_int));
    added.seconds = cost.number("seconds", json::at_least(0));
    added.peak_bytes = cost.integer("peak_bytes", 0, any);
    cost.finish();
  }
  model.loss = reader.number("loss", json::at_least(-1e-5));
  model.code_version = reader.string("code_version");
  model.splits = reader.string("splits");
  for (auto const& item : reader.array("files")) {
    json::Reader file(item, where + ": a file");
    auto& added = model.files.emplace_back();
    added.name = file.string("name");
    added.bytes = file.integer("bytes", 0, std::int64_t{1} << 48);
    added.sha256 = file.string("sha256");
    file.finish();
    // It will be opened inside the model's folder.
    check_model_id(added.name, file.what("name"));
  }
  reader.finish();
  check_model(model, where);
  return model;
}

void check_model(LibraryModel const& model, std::string const& where)
{
  check_model_id(model.id, where + ": field 'id'");
  auto const at_least_0 = [&](char const* field, double value) {
    require(std::isfinite(value) && value >= 0, where, ": field '", field, "' must be >= 0, got ", value);
  };
  at_least_0("rung", model.rung);
  at_least_0("epochs", model.epochs);
  at_least_0("parameters", static_cast<double>(model.parameters));
  at_least_0("weight_bytes", static_cast<double>(model.weight_bytes));
  at_least_0("activation_bytes", static_cast<double>(model.activation_bytes));
  at_least_0("flops", model.flops);
  for (auto const& cost : model.device_costs) {
    require(cost.batch >= 1, where, ": device cost '", cost.device, "': field 'batch' must be >= 1, got ", cost.batch);
    at_least_0("seconds", cost.seconds);
    at_least_0("peak_bytes", static_cast<double>(cost.peak_bytes));
  }
}

} // namespace nasturtium::ensemble::impl
