// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nn/report.hpp>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace nasturtium::nn {

namespace {

// The metrics of a report by name, in the order of the columns of curves.csv.
using Field = std::pair<char const*, double EpochReport::*>;
constexpr Field metrics[] = {{"train_loss", &EpochReport::train_loss},
                             {"train_accuracy", &EpochReport::train_accuracy},
                             {"train_top_k", &EpochReport::train_top_k},
                             {"validation_loss", &EpochReport::validation_loss},
                             {"validation_accuracy", &EpochReport::validation_accuracy},
                             {"validation_top_k", &EpochReport::validation_top_k},
                             {"learning_rate", &EpochReport::learning_rate},
                             {"seconds", &EpochReport::seconds},
                             {"validation_seconds", &EpochReport::validation_seconds}};

double number_or_nan(json::Reader& reader, std::string const& field)
{
  json::Value const* const value = reader.find(field);
  return !value || value->is_null() ? std::numeric_limits<double>::quiet_NaN()
                                    : json::to_number(*value, reader.what(field));
}

} // namespace

json::Object to_json(EpochReport const& report)
{
  json::Object object;
  object["epoch"] = report.epoch;
  object["step"] = report.step;
  for (auto const& [title, member] : metrics) {
    double const value = report.*member;
    object[title] = std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
  }
  return object;
}

EpochReport parse_report(json::Reader& reader)
{
  EpochReport report;
  report.epoch = number_or_nan(reader, "epoch");
  report.step = reader.integer("step", 0, std::numeric_limits<std::int64_t>::max());
  for (auto const& [title, member] : metrics)
    report.*member = number_or_nan(reader, title);
  return report;
}

Status parse_status(std::string const& text, std::string const& what)
{
  for (Status const status :
       {Status::completed, Status::stopped, Status::paused, Status::early_stopped, Status::diverged,
        Status::out_of_memory, Status::invalid, Status::time_limit, Status::interrupted})
    if (name(status) == text) return status;
  fail(what, " is no status: ", quoted(text));
}

double curve_value(EpochReport const& report)
{
  for (double const value :
       {report.validation_accuracy, report.validation_loss, report.train_accuracy, report.train_loss})
    if (std::isfinite(value)) return value;
  return std::numeric_limits<double>::quiet_NaN();
}

std::string curves_header()
{
  std::vector<std::string> fields{"id", "epoch", "value", "step"};
  for (auto const& [title, member] : metrics)
    fields.emplace_back(title);
  return csv_line(fields);
}

std::string curves_row(std::string const& id, EpochReport const& report)
{
  auto const number = [](double value) { return std::isnan(value) ? std::string() : shortest(value); };
  std::vector<std::string> fields{id, number(report.epoch), number(curve_value(report)), std::to_string(report.step)};
  for (auto const& [title, member] : metrics)
    fields.push_back(number(report.*member));
  return csv_line(fields);
}

} // namespace nasturtium::nn
