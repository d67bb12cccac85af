// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Allocations and plans as values, files and text.
#include <nasturtium/ensemble/planner.hpp>

#include "plan_scorer.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace nasturtium::ensemble {

namespace {

constexpr char const* format = "nasturtium-ensemble-plan";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t most_batch = 1 << 20;

std::vector<std::string> read_names(json::Reader& reader, char const* field)
{
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (auto const& value : reader.array(field)) {
    names.push_back(json::to_string(value, reader.what(field)));
    require(!names.back().empty(), reader.what(field), ": a name is empty");
    require(seen.insert(names.back()).second, reader.what(field), ": ", quoted(names.back()), " is there twice");
  }
  require(!names.empty(), reader.what(field), " is empty");
  return names;
}

} // namespace

int Allocation::cells() const
{
  return static_cast<int>(batch.size() - static_cast<std::size_t>(std::count(batch.begin(), batch.end(), 0)));
}

int Allocation::largest_batch() const
{
  return batch.empty() ? 0 : *std::max_element(batch.begin(), batch.end());
}

std::string allocation_fault(PlanningProblem const& problem, Allocation const& allocation)
{
  int const devices = static_cast<int>(problem.devices.size()), models = static_cast<int>(problem.models.size());
  if (allocation.devices != devices || allocation.models != models ||
      allocation.batch.size() != problem.devices.size() * problem.models.size()) {
    return concat("the matrix is ", allocation.devices, " x ", allocation.models, " instead of ", devices, " x ",
                  models);
  }
  std::vector<double> used(problem.memories.size(), 0);
  for (int m = 0; m < models; ++m) {
    bool served = false;
    for (int d = 0; d < devices; ++d) {
      int const batch = allocation.at(d, m);
      if (batch == 0) continue;
      served = true;
      auto const found = std::lower_bound(problem.batches.begin(), problem.batches.end(), batch);
      auto const where =
          concat("model '", problem.models[m], "' on device '", problem.devices[d].name, "': batch ", batch);
      if (found == problem.batches.end() || *found != batch) return where + " was not measured";
      auto const& measured = problem.measured(d, m, static_cast<int>(found - problem.batches.begin()));
      if (std::isinf(measured.seconds)) return where + " does not run";
      used[problem.devices[d].memory] += measured.bytes;
    }
    if (!served) return concat("model '", problem.models[m], "' has no device");
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i] > problem.memories[i].limit_bytes) {
      return concat("memory '", problem.memories[i].name, "' has ", human_bytes(problem.memories[i].limit_bytes),
                    ", the matrix needs ", human_bytes(used[i]));
    }
  }
  return {};
}

double fluid_throughput(PlanningProblem const& problem, Allocation const& allocation)
{
  return impl::Scorer(problem).fluid(impl::to_levels(problem, allocation));
}

double batch_latency(PlanningProblem const& problem, Allocation const& allocation)
{
  return impl::Scorer(problem).latency(impl::to_levels(problem, allocation));
}

Plan make_plan(PlanningProblem const& problem, Allocation const& allocation, int segment_size)
{
  auto const fault = allocation_fault(problem, allocation);
  require(fault.empty(), "plan: ", fault);
  Plan plan;
  for (auto const& device : problem.devices)
    plan.devices.push_back(device.name);
  plan.models = problem.models;
  plan.allocation = allocation;
  plan.throughput = fluid_throughput(problem, allocation);
  plan.segment_throughput = segment_throughput(problem, allocation, segment_size);
  plan.latency_seconds = batch_latency(problem, allocation);
  return plan;
}

std::string to_json(Plan const& plan)
{
  json::Object document;
  document["format"] = format;
  document["version"] = format_version;
  document["devices"] = json::Array(plan.devices.begin(), plan.devices.end());
  document["models"] = json::Array(plan.models.begin(), plan.models.end());
  json::Array matrix;
  for (int d = 0; d < plan.allocation.devices; ++d) {
    json::Array row;
    for (int m = 0; m < plan.allocation.models; ++m)
      row.emplace_back(plan.allocation.at(d, m));
    matrix.push_back(std::move(row));
  }
  document["batches"] = std::move(matrix);
  document["throughput"] = plan.throughput;
  document["segment_throughput"] = plan.segment_throughput;
  document["latency_seconds"] = plan.latency_seconds;
  return json::pretty(document);
}

Plan parse_plan(std::string const& text, std::string const& source)
{
  auto const document = json::parse(text, source);
  json::Reader reader(document, source);
  json::check_format(reader, format, format_version);
  Plan plan;
  plan.devices = read_names(reader, "devices");
  plan.models = read_names(reader, "models");
  plan.allocation = Allocation(static_cast<int>(plan.devices.size()), static_cast<int>(plan.models.size()));
  auto const& rows = reader.array("batches");
  require(rows.size() == plan.devices.size(), reader.what("batches"), " has ", rows.size(), " rows for ",
          plan.devices.size(), " devices");
  for (int d = 0; d < plan.allocation.devices; ++d) {
    auto const what = concat(reader.what("batches"), ": device ", quoted(plan.devices[d]));
    auto const& row = json::to_array(rows[d], what);
    require(row.size() == plan.models.size(), what, " has ", row.size(), " values for ", plan.models.size(), " models");
    for (int m = 0; m < plan.allocation.models; ++m)
      plan.allocation.at(d, m) = static_cast<int>(json::to_integer(row[m], what, 0, most_batch));
  }
  for (int m = 0; m < plan.allocation.models; ++m) {
    bool served = false;
    for (int d = 0; d < plan.allocation.devices; ++d)
      served = served || plan.allocation.at(d, m) > 0;
    require(served, reader.what("batches"), ": model ", quoted(plan.models[m]), " has no device");
  }
  plan.throughput = reader.number("throughput", json::at_least(0));
  plan.segment_throughput = reader.number("segment_throughput", json::at_least(0));
  plan.latency_seconds = reader.number("latency_seconds", json::at_least(0));
  reader.finish();
  return plan;
}

Table matrix_table(Plan const& plan)
{
  std::vector<Column> columns{{"device"}};
  for (auto const& model : plan.models)
    columns.push_back({model});
  Table table(std::move(columns));
  for (int d = 0; d < plan.allocation.devices; ++d) {
    std::vector<Cell> row{plan.devices[d]};
    for (int m = 0; m < plan.allocation.models; ++m)
      row.push_back(plan.allocation.at(d, m) > 0 ? Cell(std::int64_t{plan.allocation.at(d, m)}) : Cell());
    table.add_row(std::move(row));
  }
  return table;
}

} // namespace nasturtium::ensemble
