// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium predict: what networks will reach, from the beginnings of their learning curves; from files, or line by
// line beside a search that runs.
#include "run.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/predictor/configure.hpp>
#include <nasturtium/predictor/replay.hpp>

#include <cmath>
#include <iostream>
#include <map>

namespace nasturtium::cli {

namespace {

constexpr char const* examples =
    "  nasturtium predict --preset nasturtium --format csv curves.csv --out predictions.csv\n"
    "  nasturtium predict --preset a4nn --format a4nn training_data.csv.gz --trace trace.csv\n"
    "  nasturtium predict --preset nasturtium --format metaqnn curves.csv.gz --set stop_fraction=0.5 --json\n"
    "  nasturtium predict --stream --preset nasturtium --e-pred 25 < requests.jsonl";

char const* word(predictor::Decision decision)
{
  return decision == predictor::Decision::stop ? "stop" : decision == predictor::Decision::pause ? "pause" : "proceed";
}

// What is not finite is an empty field, and null in JSON.
std::string field(double value)
{
  return std::isfinite(value) ? shortest(value) : std::string();
}
json::Value number(double value)
{
  if (std::isfinite(value)) return value;
  return nullptr;
}

// "KEY=VALUE", the value as JSON where it is, else as a word.
void set(predictor::Settings& settings, std::string const& text)
{
  auto const equals = text.find('=');
  require(equals != std::string::npos && equals > 0, "--set: ", quoted(text), " is not KEY=VALUE");
  std::string const value = text.substr(equals + 1);
  json::Value parsed;
  try {
    parsed = json::parse(value, "--set");
  } catch (Error const&) {
    parsed = json::Value(value);
  }
  predictor::configure(settings, text.substr(0, equals), parsed, "--set");
}

std::string curve_rows(predictor::Replay const& replay)
{
  std::string text =
      csv_line({"id", "points", "stop_epoch", "converged", "prediction", "lower_90", "upper_90", "final"});
  for (auto const& curve : replay.curves)
    text += csv_line({curve.id, std::to_string(curve.points), shortest(curve.stop_epoch),
                      curve.converged ? "true" : "false", field(curve.prediction), field(curve.interval_90.lower),
                      field(curve.interval_90.upper), field(curve.final_value)});
  return text;
}

json::Object to_json(predictor::Summary const& summary)
{
  json::Object object;
  object["method"] = summary.method;
  object["networks"] = summary.networks;
  auto const add = [&](char const* name, double value) { object[name] = number(value); };
  add("epochs_saved", summary.saved);
  add("throughput_factor", summary.throughput);
  add("wall_time_factor", summary.wall_factor);
  add("converged", summary.converged);
  add("mean_stop_epoch", summary.mean_stop);
  add("mae", summary.mae);
  add("mae_stopped", summary.mae_stopped);
  add("bias_stopped", summary.bias);
  add("max_error_stopped", summary.worst);
  add("spearman", summary.spearman);
  add("kendall", summary.kendall);
  json::Array sizes, recall, epsilon;
  for (std::size_t i = 0; i < 3; ++i) {
    sizes.emplace_back(summary.k[i]);
    recall.emplace_back(number(summary.recall[i]));
    epsilon.emplace_back(number(summary.epsilon_recall[i]));
  }
  object["top_k"] = std::move(sizes);
  object["top_k_recall"] = std::move(recall);
  object["epsilon_best_recall"] = std::move(epsilon);
  add("mean_accuracy_difference", summary.top_difference);
  add("regret", summary.regret);
  add("coverage_50", summary.coverage_50);
  add("coverage_80", summary.coverage_80);
  add("coverage_90", summary.coverage_90);
  add("width_90", summary.width_90);
  add("crps", summary.crps);
  add("brier", summary.brier);
  add("log_likelihood", summary.log_likelihood);
  add("microseconds_per_prediction", summary.microseconds);
  return object;
}

Cell cell(double value)
{
  if (std::isnan(value)) return {};
  return value;
}

void print(std::vector<predictor::Summary> const& rows)
{
  auto const& first = rows.front();
  Table values({{"method"},
                {"saved %", 1},
                {"factor", 2},
                {"wall", 2},
                {"stopped %", 1},
                {"mean stop", 2},
                {"MAE all", 3},
                {"MAE stopped", 3},
                {"bias", 3},
                {"max", 2},
                {"us/prediction", 1}});
  Table ranks({{"method"},
               {"Spearman", 3},
               {"Kendall", 3},
               {concat("top-", first.k[0], " hit %"), 0},
               {concat("top-", first.k[1], " hit %"), 0},
               {concat("top-", first.k[2], " hit %"), 0},
               {concat("top-", first.k[2], " within 0.5 hit %"), 0},
               {"gap", 3},
               {"regret", 3}});
  Table chances({{"method"},
                 {"in 50 %", 1},
                 {"in 80 %", 1},
                 {"in 90 %", 1},
                 {"width 90", 2},
                 {"CRPS", 3},
                 {"Brier", 3},
                 {"log-likelihood", 3}});
  for (auto const& row : rows) {
    values.add_row({row.method, cell(100 * row.saved), cell(row.throughput), cell(row.wall_factor),
                    cell(100 * row.converged), cell(row.mean_stop), cell(row.mae), cell(row.mae_stopped),
                    cell(row.bias), cell(row.worst), cell(row.microseconds)});
    ranks.add_row({row.method, cell(row.spearman), cell(row.kendall), cell(100 * row.recall[0]),
                   cell(100 * row.recall[1]), cell(100 * row.recall[2]), cell(100 * row.epsilon_recall[2]),
                   cell(row.top_difference), cell(row.regret)});
    if (!std::isnan(row.coverage_90) || !std::isnan(row.brier))
      chances.add_row({row.method, cell(100 * row.coverage_50), cell(100 * row.coverage_80),
                       cell(100 * row.coverage_90), cell(row.width_90), cell(row.crps), cell(row.brier),
                       cell(row.log_likelihood)});
  }
  std::cout << values.text() << "\n" << ranks.text();
  if (chances.row_count() > 0) std::cout << "\n" << chances.text();
}

// One request, one reply.
class Stream
{
public:
  explicit Stream(predictor::Settings settings) : m_settings(std::move(settings)) { reset(); }

  json::Object reply(std::string const& text, std::string const& where)
  {
    auto const value = json::parse(text, where);
    json::Reader reader(value, where);
    std::string const op = reader.string("op");
    if (op == "observe") return observe(reader);
    if (op == "configure") return configure(value, where);
    json::Object object;
    object["op"] = op;
    if (op == "finish" || op == "abandon" || op == "review") {
      std::string const id = name(reader);
      reader.finish();
      if (op == "review") return answer(id, m_method->review(id));
      if (op == "finish")
        m_method->finish(id);
      else
        m_method->abandon(id);
      object["id"] = id;
    } else if (op == "reset") {
      reader.finish();
      reset();
    } else {
      fail(reader.what("op"), ": ", quoted(op), " is none of observe, review, finish, abandon, configure, reset");
    }
    object["ok"] = true;
    return object;
  }

private:
  void reset() { m_method = predictor::make_method(m_settings); }

  static std::string name(json::Reader& reader)
  {
    auto const& value = reader.value("id");
    return value.is_string() ? json::to_string(value, reader.what("id"))
                             : std::to_string(json::to_integer(value, reader.what("id")));
  }

  json::Object observe(json::Reader& reader)
  {
    std::string const id = name(reader);
    double const epoch = json::to_number(reader.value("epoch"), reader.what("epoch"));
    auto const percent = [&](char const* field, json::Value const& value) {
      double const given = json::to_number(value, reader.what(field), json::between(0, 100 / m_scale));
      return given * m_scale;
    };
    double const value = percent("value", reader.value("value"));
    predictor::Covariates covariates;
    auto const optional = [&](char const* field, double& into) {
      if (auto const* const found = reader.find(field); found && !found->is_null())
        into = json::to_number(*found, reader.what(field));
    };
    optional("learning_rate", covariates.learning_rate);
    optional("train_loss", covariates.train_loss);
    optional("validation_loss", covariates.validation_loss);
    if (auto const* const found = reader.find("train_accuracy"); found && !found->is_null())
      covariates.train_accuracy = percent("train_accuracy", *found);
    reader.finish();
    auto object = answer(id, m_method->observe(id, epoch, value, covariates));
    object["epoch"] = epoch;
    return object;
  }

  json::Object answer(std::string const& id, predictor::Prediction const& prediction) const
  {
    json::Object object;
    object["id"] = id;
    auto const add = [&](char const* name, double value) { object[name] = number(value / m_scale); };
    add("prediction", prediction.value);
    add("lower_50", prediction.interval_50.lower);
    add("upper_50", prediction.interval_50.upper);
    add("lower_80", prediction.interval_80.lower);
    add("upper_80", prediction.interval_80.upper);
    add("lower_90", prediction.interval_90.lower);
    add("upper_90", prediction.interval_90.upper);
    object["p_beat"] = number(prediction.p_beat);
    object["converged"] = prediction.converged;
    object["decision"] = word(prediction.decision);
    object["reason"] = std::string(prediction.reason);
    return object;
  }

  // Everything or nothing: a wrong field leaves all as it was. The curves so far are forgotten.
  json::Object configure(json::Value const& value, std::string const& where)
  {
    auto const& object = json::to_object(value, where);
    auto settings = m_settings;
    double scale = m_scale;
    if (auto const* const preset = object.if_contains("preset")) {
      double const e_pred = settings.e_pred, spacing = settings.spacing;
      settings = predictor::preset(json::to_string(*preset, where + ": field 'preset'"));
      settings.e_pred = e_pred;
      settings.spacing = spacing;
    }
    for (auto const& [key, entry] : object) {
      if (key == "op" || key == "preset") continue;
      if (key == "unit") {
        std::string const unit = json::to_string(entry, where + ": field 'unit'");
        require(unit == "percent" || unit == "fraction", where, ": field 'unit': must be percent or fraction, got ",
                quoted(unit));
        scale = unit == "fraction" ? 100 : 1;
      } else {
        predictor::configure(settings, key, entry, where);
      }
    }
    m_settings = std::move(settings);
    m_scale = scale;
    reset();
    json::Object reply;
    reply["op"] = "configure";
    reply["ok"] = true;
    reply["settings"] = predictor::to_json(m_settings);
    return reply;
  }

  predictor::Settings m_settings;
  double m_scale = 1; // percent per unit of the stream
  std::unique_ptr<predictor::Method> m_method;
};

int stream(predictor::Settings const& settings)
{
  Stream conversation(settings);
  std::int64_t line = 0;
  for (std::string text; std::getline(std::cin, text);) {
    ++line;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    json::Object reply;
    try {
      reply = conversation.reply(text, concat("line ", line));
    } catch (Error const& error) {
      reply.clear();
      reply["error"] = error.what();
      reply["line"] = line;
    }
    std::cout << json::compact(reply) << std::endl;
    if (!std::cout) break; // the search has gone
  }
  return exit_success;
}

} // namespace

int predict(Invocation const& call)
{
  std::string preset = "nasturtium", format, out_path, trace_path;
  std::vector<std::string> files, changes;
  predictor::Unit unit = predictor::Unit::automatic;
  double e_pred = 0, spacing = 0;
  int resume = 0;
  bool as_json = false, streaming = false;

  std::string presets;
  for (auto const& name : predictor::preset_names())
    presets += (presets.empty() ? "" : ", ") + name;
  VerbParser parser("predict", "What networks will reach, from the beginnings of their learning curves.", examples);
  CLI::App& app = parser.app();
  app.add_option("FILE", files, "Recorded curves, plain or gzip'ed; several files are one search");
  app.add_option("--preset", preset, "The method: " + presets)->capture_default_str()->type_name("NAME");
  app.add_option("--format", format, "Of the files: csv, jsonl, a4nn, penguin, metaqnn")->type_name("FORMAT");
  app.add_option("--e-pred", e_pred, "Epoch to predict; the last one of the files (penguin: 20)")->type_name("N");
  app.add_option("--spacing", spacing, "Epochs between two points; found in the files")->type_name("E");
  add_choice<predictor::Unit>(app, "--unit", unit,
                              {{"auto", predictor::Unit::automatic},
                               {"percent", predictor::Unit::percent},
                               {"fraction", predictor::Unit::fraction}},
                              "Of the values in csv and jsonl");
  app.add_option("--set", changes, "A setting of the method; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--resume", resume, "Train so many of the best paused curves to the end")->type_name("K");
  app.add_option("--out", out_path, "One row per curve as CSV; else on stdout")->type_name("FILE");
  app.add_option("--trace", trace_path, "One row per observation as CSV")->type_name("FILE");
  app.add_flag("--json", as_json, "The result as JSON on stdout");
  app.add_flag("--stream", streaming, "JSON lines on stdin, replies on stdout");
  if (!parser.parse(call)) return exit_success;

  auto settings = predictor::preset(preset);
  require(e_pred >= 0 && std::isfinite(e_pred), "--e-pred must be > 0, got ", shortest(e_pred));
  require(spacing >= 0 && std::isfinite(spacing), "--spacing must be > 0, got ", shortest(spacing));
  require(resume >= 0, "--resume must be >= 0, got ", resume);
  if (streaming) {
    require(files.empty() && format.empty() && out_path.empty() && trace_path.empty() && !as_json && resume == 0,
            "--stream reads stdin and writes stdout: no FILE, --format, --out, --trace, --json or --resume");
    if (e_pred > 0) settings.e_pred = e_pred;
    if (spacing > 0) settings.spacing = spacing;
    for (auto const& change : changes)
      set(settings, change);
    predictor::check(settings);
    return stream(settings);
  }
  require(!files.empty(), "no FILE given");
  require(!format.empty(), "--format is missing (csv, jsonl, a4nn, penguin, metaqnn)");
  auto const kind = predictor::curve_format(format);
  predictor::CurveSet curves;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto more = predictor::read_curves(files[i], kind, unit);
    if (i == 0)
      curves = std::move(more);
    else
      predictor::append(curves, std::move(more));
  }
  require(curves.last_epoch() > 0, files.front(), ": no curve with a point");
  settings.e_pred = e_pred > 0 ? e_pred : kind == predictor::CurveFormat::penguin ? 20 : curves.last_epoch();
  settings.spacing = spacing > 0 ? spacing : curves.spacing();
  for (auto const& change : changes)
    set(settings, change);
  predictor::check(settings);
  if (!out_path.empty()) check_writable(out_path, "--out");
  if (!trace_path.empty()) check_writable(trace_path, "--trace");

  predictor::ReplayOptions options;
  options.resume = resume;
  std::string trace = csv_line({"id", "epoch", "value", "prediction", "lower_90", "upper_90", "p_beat", "decision"});
  if (!trace_path.empty())
    options.trace = [&](predictor::RecordedCurve const& curve, std::size_t point,
                        predictor::Prediction const& prediction) {
      trace += csv_line({curve.id, shortest(curve.epochs[point]), shortest(curve.values[point]),
                         field(prediction.value), field(prediction.interval_90.lower),
                         field(prediction.interval_90.upper), field(prediction.p_beat), word(prediction.decision)});
    };
  auto const replay = predictor::replay(curves, settings, options);
  require(!replay.curves.empty(), files.front(), ": no curve has a point until epoch ", shortest(settings.e_pred));
  std::string const rows = curve_rows(replay);
  if (!trace_path.empty()) write_file(trace_path, trace);
  if (!out_path.empty()) write_file(out_path, rows);

  std::vector<predictor::Summary> summaries{predictor::summarise(replay)};
  for (auto& row : predictor::baselines(curves, replay))
    summaries.push_back(std::move(row));
  if (as_json) {
    json::Object object;
    object["settings"] = predictor::to_json(settings);
    object["files"] = json::Array(files.begin(), files.end());
    object["fractions"] = curves.fractions;
    json::Array list;
    for (auto const& curve : replay.curves) {
      json::Object entry;
      entry["id"] = curve.id;
      entry["points"] = curve.points;
      entry["stop_epoch"] = curve.stop_epoch;
      entry["converged"] = curve.converged;
      entry["failed"] = curve.failed;
      entry["prediction"] = number(curve.prediction);
      entry["lower_90"] = number(curve.interval_90.lower);
      entry["upper_90"] = number(curve.interval_90.upper);
      entry["final"] = number(curve.final_value);
      entry["reason"] = curve.reason;
      list.push_back(std::move(entry));
    }
    object["curves"] = std::move(list);
    json::Array table;
    for (auto const& summary : summaries)
      table.push_back(to_json(summary));
    object["summary"] = std::move(table);
    std::cout << json::pretty(object);
    return exit_success;
  }
  if (out_path.empty()) std::cout << rows << "\n";
  print(summaries);
  return exit_success;
}

} // namespace nasturtium::cli
