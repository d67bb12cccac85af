// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/ensemble/calibration.hpp>
#include <nasturtium/ensemble/front_report.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>
#include <utility>

namespace nasturtium::ensemble {

namespace {

constexpr char const* format = "nasturtium-ensemble-front";
constexpr std::int64_t format_version = 1;
constexpr int most_copies = 1000000;

struct ScoreField
{
  char const* name;
  double SplitScores::* value;
  double most; ///< the largest possible value
};

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::array<ScoreField, 9> score_fields{{{"nll", &SplitScores::nll, infinity},
                                                  {"brier", &SplitScores::brier, 2.001},
                                                  {"accuracy", &SplitScores::accuracy, 1},
                                                  {"ece_width", &SplitScores::ece_width, 1.001},
                                                  {"ece_mass", &SplitScores::ece_mass, 1.001},
                                                  {"calibrated_nll", &SplitScores::calibrated_nll, infinity},
                                                  {"calibrated_brier", &SplitScores::calibrated_brier, 2.001},
                                                  {"calibrated_ece_width", &SplitScores::calibrated_ece_width, 1.001},
                                                  {"calibrated_ece_mass", &SplitScores::calibrated_ece_mass, 1.001}}};

json::Range range_of(ScoreField const& field)
{
  // A mean of logarithms of sums of float32 can be a rounding error below 0.
  return field.most < infinity ? json::between(0, field.most) : json::at_least(-1e-5);
}

SplitScores scores_of(ProbabilityMatrix const& matrix, double temperature)
{
  auto const calibrated = apply_temperature(matrix, temperature);
  ProbabilityMatrix const after{calibrated, matrix.classes, matrix.labels};
  return {.nll = negative_log_likelihood(matrix),
          .brier = brier_score(matrix),
          .accuracy = accuracy(matrix),
          .ece_width = calibration_error_by_width(matrix),
          .ece_mass = calibration_error_by_mass(matrix),
          .calibrated_nll = negative_log_likelihood(after),
          .calibrated_brier = brier_score(after),
          .calibrated_ece_width = calibration_error_by_width(after),
          .calibrated_ece_mass = calibration_error_by_mass(after)};
}

json::Object to_json(SplitScores const& scores)
{
  json::Object object;
  for (auto const& field : score_fields)
    object[field.name] = scores.*field.value;
  return object;
}

SplitScores scores_from(json::Reader reader)
{
  SplitScores scores;
  for (auto const& field : score_fields)
    scores.*field.value = reader.number(field.name, range_of(field));
  reader.finish();
  return scores;
}

json::Value number_or_null(double value)
{
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

double number_or_nan(json::Reader& reader, std::string_view field, json::Range const& range)
{
  auto const& value = reader.value(field);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : json::to_number(value, reader.what(field), range);
}

/// Weights from counts; throws Error for members without an order that a pool could have.
void finish_members(std::vector<ReportMember>& members, std::string const& where)
{
  require(!members.empty(), where, ": an ensemble has no members");
  int sum = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    check_model_id(members[i].id, where + ": a member's id");
    for (std::size_t j = 0; j < i; ++j)
      require(members[i].id != members[j].id, where, ": member '", members[i].id, "' is there twice");
    require(sum <= most_copies, where, ": more than ", most_copies, " copies");
    sum += members[i].count;
  }
  for (auto& member : members)
    member.weight = static_cast<double>(member.count) / sum;
}

ReportEntry entry_from(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  ReportEntry entry;
  for (auto const& item : reader.array("members")) {
    json::Reader member(item, where + ": a member");
    auto& added = entry.members.emplace_back();
    added.id = member.string("id");
    added.count = static_cast<int>(member.integer("count", 1, most_copies));
    member.number("weight", json::between(0, 1));
    member.finish();
  }
  finish_members(entry.members, where);
  entry.origin = reader.string("origin");
  json::Value const& costs = reader.value("costs");
  require(costs.is_object(), reader.what("costs"), " must be an object");
  for (auto const& [axis, cost] : costs.get_object())
    entry.costs[axis] = json::to_number(cost, concat(where, ": cost '", std::string_view(axis), "'"), json::above(0));
  entry.loss = reader.number("loss", json::at_least(-1e-5));
  entry.temperature = reader.number("temperature", json::above(0));
  entry.select = scores_from(reader.object("select"));
  entry.check = scores_from(reader.object("check"));
  if (reader.has("test")) entry.test = scores_from(reader.object("test"));
  reader.finish();
  return entry;
}

/// Every column of scores with the split that it is of.
template <class F>
void for_each_score(ReportEntry& entry, F const& f)
{
  for (auto [split, scores] : {std::pair{"select", &entry.select}, std::pair{"check", &entry.check},
                               std::pair{"test", entry.test ? &*entry.test : nullptr}})
    if (scores != nullptr)
      for (auto const& field : score_fields)
        f(concat(split, "_", field.name), field, scores->*field.value);
}

std::vector<std::string> split_list(std::string const& text)
{
  std::vector<std::string> parts{""};
  for (char const c : text)
    if (c == ';')
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

} // namespace

FrontReport make_report(PredictionPool const& pool, std::string const& preset, std::span<Choice const> choices,
                        SelectionOptions const& options)
{
  check_pool(pool);
  FrontReport report{.preset = preset,
                     .objective = options.objective == Objective::nll ? "nll" : "brier",
                     .pooling = options.pooling == Pooling::mean ? "mean" : "geometric",
                     .cost_axis = options.cost_axis,
                     .pool_models = pool.size(),
                     .pool_diversity = {},
                     .entries = {}};
  std::vector<int> all(pool.models.size());
  std::iota(all.begin(), all.end(), 0);
  report.pool_diversity = diversity(pool.select, all);
  for (Choice const& choice : choices) {
    ReportEntry& entry = report.entries.emplace_back();
    for (Member const& member : choice.members) {
      auto const& model = pool.models.at(static_cast<std::size_t>(member.model));
      entry.members.push_back({model.id, member.count, 1});
      for (auto const& [axis, cost] : model.costs)
        entry.costs[axis] += cost;
    }
    finish_members(entry.members, "front");
    entry.origin = choice.origin;
    entry.loss = choice.loss;
    auto const check = pooled(pool.check, choice.members, options.pooling);
    ProbabilityMatrix const checked{check, pool.check.classes(), pool.check.labels()};
    entry.temperature = fit_temperature(checked).value;
    entry.check = scores_of(checked, entry.temperature);
    auto const score = [&](Predictions const& split) {
      auto const p = pooled(split, choice.members, options.pooling);
      return scores_of({p, split.classes(), split.labels()}, entry.temperature);
    };
    entry.select = score(pool.select);
    if (pool.test.models() > 0) entry.test = score(pool.test);
  }
  return report;
}

void write_front_json(std::string const& path, FrontReport const& report)
{
  json::Array entries;
  for (auto const& entry : report.entries) {
    json::Array members;
    for (auto const& member : entry.members)
      members.push_back(json::Object{{"id", member.id}, {"count", member.count}, {"weight", member.weight}});
    json::Object costs;
    for (auto const& [axis, cost] : entry.costs)
      costs[axis] = cost;
    json::Object object{
        {"members", members},           {"origin", entry.origin},           {"costs", costs},
        {"loss", entry.loss},           {"temperature", entry.temperature}, {"select", to_json(entry.select)},
        {"check", to_json(entry.check)}};
    if (entry.test) object["test"] = to_json(*entry.test);
    entries.push_back(object);
  }
  write_file(path, json::pretty(json::Object{
                       {"format", format},
                       {"version", format_version},
                       {"preset", report.preset},
                       {"objective", report.objective},
                       {"pooling", report.pooling},
                       {"cost_axis", report.cost_axis},
                       {"pool", json::Object{{"models", report.pool_models},
                                             {"disagreement", number_or_null(report.pool_diversity.disagreement)},
                                             {"q", number_or_null(report.pool_diversity.q)}}},
                       {"entries", entries}}));
}

FrontReport read_front_json(std::string const& path)
{
  json::Value const value = json::parse_file(path);
  json::Reader reader(value, path);
  json::check_format(reader, format, format_version);
  FrontReport report;
  report.preset = reader.string("preset");
  std::vector<std::string> const objectives{"nll", "brier"}, poolings{"mean", "geometric"};
  report.objective = objectives[reader.choice("objective", objectives)];
  report.pooling = poolings[reader.choice("pooling", poolings)];
  report.cost_axis = reader.string("cost_axis");
  auto pool = reader.object("pool");
  report.pool_models = static_cast<int>(pool.integer("models", 1, std::numeric_limits<int>::max()));
  report.pool_diversity.disagreement = number_or_nan(pool, "disagreement", json::between(0, 1));
  report.pool_diversity.q = number_or_nan(pool, "q", json::between(-1, 1));
  pool.finish();
  std::size_t number = 0;
  for (auto const& item : reader.array("entries"))
    report.entries.push_back(entry_from(item, concat(path, ": entry ", number++)));
  reader.finish();
  for (auto const& entry : report.entries)
    require(entry.costs.count(report.cost_axis) > 0, path, ": field 'cost_axis': no entry may lack this cost, got ",
            quoted(report.cost_axis));
  return report;
}

void write_front_csv(std::string const& path, FrontReport const& report)
{
  AtomicFile file(path);
  std::vector<std::string> header{"members", "counts", "weights", "origin", "loss", "temperature"};
  ReportEntry first = report.entries.empty() ? ReportEntry{} : report.entries.front();
  for (auto const& [axis, cost] : first.costs)
    header.push_back("cost_" + axis);
  for_each_score(first, [&](std::string const& name, ScoreField const&, double) { header.push_back(name); });
  file.write(csv_line(header));
  for (ReportEntry entry : report.entries) {
    std::vector<std::string> row(3);
    for (auto const& member : entry.members) {
      char const* const between = row[0].empty() ? "" : ";";
      row[0] += between + member.id;
      row[1] += between + std::to_string(member.count);
      row[2] += between + shortest(member.weight);
    }
    row.push_back(entry.origin);
    row.push_back(shortest(entry.loss));
    row.push_back(shortest(entry.temperature));
    for (auto const& [axis, cost] : entry.costs)
      row.push_back(shortest(cost));
    for_each_score(entry, [&](std::string const&, ScoreField const&, double value) { row.push_back(shortest(value)); });
    require(row.size() == header.size(), path, ": entries differ in their costs or splits");
    file.write(csv_line(row));
  }
  file.commit();
}

std::vector<ReportEntry> read_front_csv(std::string const& path)
{
  auto reader = CsvReader::open(path);
  auto const members = reader.column("members"), counts = reader.column("counts"), weights = reader.column("weights"),
             origin = reader.column("origin"), loss = reader.column("loss"), temperature = reader.column("temperature");
  constexpr std::string_view cost_prefix = "cost_", test_prefix = "test_";
  bool with_test = false;
  for (auto const& name : reader.header())
    with_test = with_test || name.starts_with(test_prefix);
  auto const in_range = [&](std::size_t column, json::Range const& range) {
    double const value = reader.number(column);
    require(range.contains(value), reader.where(column), ": must be ", range.text(), ", got ", value);
    return value;
  };
  std::vector<ReportEntry> entries;
  while (reader.next()) {
    ReportEntry& entry = entries.emplace_back();
    auto const ids = split_list(reader.fields()[members]), copies = split_list(reader.fields()[counts]),
               shares = split_list(reader.fields()[weights]);
    require(ids.size() == copies.size(), reader.where(counts), ": ", copies.size(), " counts for ", ids.size(),
            " members");
    require(ids.size() == shares.size(), reader.where(weights), ": ", shares.size(), " weights for ", ids.size(),
            " members");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const count = parse_integer(copies[i]);
      require(count && *count >= 1 && *count <= most_copies, reader.where(counts), ": must be integers in [1, ",
              most_copies, "], got ", quoted(copies[i]));
      entry.members.push_back({ids[i], static_cast<int>(*count), 1});
    }
    finish_members(entry.members, reader.where(members));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const weight = parse_double(shares[i]);
      require(weight && std::abs(*weight - entry.members[i].weight) <= 1e-9, reader.where(weights), ": must be ",
              entry.members[i].weight, " for '", ids[i], "', got ", quoted(shares[i]));
    }
    entry.origin = reader.fields()[origin];
    entry.loss = in_range(loss, json::at_least(-1e-5));
    entry.temperature = in_range(temperature, json::above(0));
    for (std::size_t column = 0; column < reader.header().size(); ++column)
      if (reader.header()[column].starts_with(cost_prefix))
        entry.costs[reader.header()[column].substr(cost_prefix.size())] = in_range(column, json::above(0));
    if (with_test) entry.test.emplace();
    for_each_score(entry, [&](std::string const& name, ScoreField const& field, double& value) {
      value = in_range(reader.column(name), range_of(field));
    });
  }
  return entries;
}

} // namespace nasturtium::ensemble
