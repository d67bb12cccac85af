// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium estimate evaluate: the methods on public tables of timed layers; on rows of known devices, and on a device
// that none of them has seen.
#include "estimate_evaluate.hpp"

#include "estimate_archives.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/layer_table.hpp>
#include <nasturtium/estimator/regression.hpp>
#include <nasturtium/estimator/transfer.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <optional>

namespace nasturtium::cli {

namespace {

using namespace estimator;

enum class Format { archive, justus };
enum class Split { random };
enum class ProbeChoice { random, greedy };
enum class Set { training, test };

struct Options
{
  std::vector<std::string> files;
  Format format = Format::archive;
  Split split = Split::random;
  ProbeChoice choice = ProbeChoice::random;
  std::vector<std::string> methods{"log-linear", "nnls-roofline", "trees", "trees-ratio", "nasturtium"};
  std::vector<std::string> held_out;
  std::vector<int> probes{0, 5, 10, 20, 50};
  std::string rows = "12000", csv;
  std::int64_t test_rows = 5000;
  int draws = 5;
  double test_share = 0.2;
  std::string level = "physics";
  std::uint64_t seed = 1;
  bool json = false;
};

/// Rows in the forms that the methods take.
struct Part
{
  FeatureRows reference, extended;
  std::vector<Example> examples;
  std::vector<bool> compute_bound;

  FeatureRows const& features(std::string const& method) const { return method == "nasturtium" ? extended : reference; }
  std::vector<double> const& seconds() const { return reference.seconds; }
};

void add(Part& part, LayerTable const& table, LayerRow const& row)
{
  auto description = describe(row, table.kind);
  auto const bound = roofline(description, table.device);
  for (auto* const rows : {&part.reference, &part.extended}) {
    auto const level = rows == &part.reference ? LayerFeatures::reference : LayerFeatures::extended;
    if (rows->names.empty()) rows->names = layer_feature_names(table.kind, level);
    rows->add(layer_features(row, table.kind, table.device, level), bound.seconds(), row.seconds);
    rows->devices.push_back(table.device.name);
  }
  part.compute_bound.push_back(bound.compute > bound.memory);
  part.examples.push_back(
      {std::move(description), table.device, row.seconds, static_cast<std::int64_t>(part.examples.size())});
}

/// The rows of a set, of some devices alone.
Part select(Part const& all, std::function<bool(std::string const&)> const& device)
{
  Part part;
  part.reference.names = all.reference.names;
  part.extended.names = all.extended.names;
  for (std::size_t i = 0; i < all.examples.size(); ++i) {
    if (!device(all.reference.devices[i])) continue;
    for (auto const& [from, to] :
         {std::pair{&all.reference, &part.reference}, std::pair{&all.extended, &part.extended}}) {
      auto const row = from->row(i);
      to->add({row.begin(), row.end()}, from->roofline[i], from->seconds[i]);
      to->devices.push_back(from->devices[i]);
    }
    part.compute_bound.push_back(all.compute_bound[i]);
    part.examples.push_back(all.examples[i]);
  }
  return part;
}

/// Training and test rows of every table, drawn apart.
std::map<Set, Part> read(Options const& options, LayerTableKind& kind)
{
  std::map<Set, Part> parts;
  std::set<std::string> devices;
  for (auto const& file : options.files) {
    auto const table = read_layer_table(file);
    if (devices.empty()) kind = table.kind;
    require(table.kind == kind, file, ": holds another kind of layers than ", options.files.front());
    require(devices.insert(table.device.name).second, file, ": the device ", quoted(table.device.name),
            " is in another file already");
    auto const count = static_cast<std::int64_t>(table.rows.size());
    auto const training = options.rows == "all" ? count - options.test_rows : parse_integer(options.rows).value_or(0);
    require(training >= 1, file, ": holds no more rows than --test-rows");
    require(training + options.test_rows <= count, file, ": ", training, " training and ", options.test_rows,
            " test rows cannot be drawn from ", count);
    auto const order =
        random_probes(table.rows.size(), static_cast<std::size_t>(training + options.test_rows), options.seed);
    for (std::size_t i = 0; i < order.size(); ++i)
      add(parts[i < static_cast<std::size_t>(training) ? Set::training : Set::test], table, table.rows[order[i]]);
  }
  return parts;
}

using Predictor = std::function<Prediction(Part const&, std::size_t)>;

/// A fitted method that predicts row by row.
Predictor fit(std::string const& method, Part const& training, std::uint64_t seed)
{
  if (method == "roofline")
    return [](Part const& part, std::size_t i) { return Prediction{.seconds = part.reference.roofline[i]}; };
  auto const names = regressor_names();
  if (std::find(names.begin(), names.end(), method) == names.end()) {
    std::shared_ptr<Estimator> const made = make_estimator(method, Level::physics);
    made->fit(training.examples, seed);
    return [made](Part const& part, std::size_t i) {
      return made->predict(part.examples[i].description, part.examples[i].device);
    };
  }
  std::shared_ptr<Regressor> const made = make_regressor(method);
  made->fit(training.features(method), seed);
  return [made, method](Part const& part, std::size_t i) {
    auto const& rows = part.features(method);
    return made->predict(rows.row(i), rows.roofline[i]);
  };
}

std::vector<double> predict(Predictor const& predictor, Part const& part)
{
  std::vector<double> result(part.examples.size());
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = predictor(part, i).seconds;
  return result;
}

struct Line
{
  std::string device, method, transfer;
  int probes = 0;
  ErrorMetrics errors;
  double fit_seconds = 0, query_seconds = 0;
  std::optional<double> reference; ///< MAPE %
};

/// MAPE of the reference's runs on the four shared tables (section 3.4).
std::optional<double> reference_mape(LayerTableKind kind, std::string const& device, std::string const& method,
                                     int probes)
{
  bool const convolution = kind == LayerTableKind::convolution;
  if (device.empty()) {
    if (method == "trees") return convolution ? 10.0 : 3.7;
    if (method == "trees-ratio") return convolution ? 9.5 : 4.2;
    if (method == "log-linear") return convolution ? 41.5 : 34.7;
    if (method == "roofline") return convolution ? 86.2 : 84.6;
    return {};
  }
  struct Row
  {
    char const* device;
    double log_time, ratio, ratio_50;
  };
  constexpr Row convolutions[]{
      {"v100", 248.5, 61.7, 20.8}, {"k40", 36.7, 40.0, 15.0}, {"k80", 17.4, 32.6, 16.8}, {"m60", 35.1, 29.7, 28.2}};
  constexpr Row dense[]{
      {"v100", 96.9, 34.3, 22.4}, {"k40", 39.1, 21.1, 12.6}, {"k80", 13.1, 39.5, 15.8}, {"m60", 51.4, 148.6, 17.1}};
  for (auto const& row : convolution ? convolutions : dense) {
    if (row.device != device) continue;
    if (method == "trees" && probes == 0) return row.log_time;
    if (method == "trees-ratio" && probes == 0) return row.ratio;
    if (method == "trees-ratio" && probes == 50) return row.ratio_50;
  }
  return {};
}

std::vector<Line> evaluate_random(Options const& options, std::map<Set, Part> const& parts, LayerTableKind kind)
{
  auto const &training = parts.at(Set::training), &test = parts.at(Set::test);
  std::vector<Line> lines;
  auto methods = options.methods;
  methods.insert(methods.begin(), "roofline");
  for (auto const& method : methods) {
    Line line;
    line.method = method;
    Stopwatch const fitting;
    auto const predictor = fit(method, training, options.seed);
    line.fit_seconds = fitting.seconds();
    Stopwatch const querying;
    auto const predicted = predict(predictor, test);
    line.query_seconds = querying.seconds() / static_cast<double>(predicted.size());
    line.errors = error_metrics(predicted, test.seconds());
    line.reference = reference_mape(kind, "", method, 0);
    lines.push_back(std::move(line));
  }
  return lines;
}

/// Means over the draws of the probes.
ErrorMetrics mean_of(std::vector<ErrorMetrics> const& draws)
{
  ErrorMetrics sum;
  auto const n = static_cast<double>(draws.size());
  sum.count = draws.front().count;
  for (auto const& draw : draws) {
    sum.mape += draw.mape / n;
    sum.median += draw.median / n;
    sum.p90 += draw.p90 / n;
    sum.p99 += draw.p99 / n;
    sum.within_10_percent += draw.within_10_percent / n;
    sum.rmse += draw.rmse / n;
    sum.spearman += draw.spearman / n;
    sum.bias += draw.bias / n;
  }
  return sum;
}

/// Pools of rows of the device that may be timed, apart from the test rows.
std::vector<std::size_t> choose(Options const& options, std::size_t pool, std::vector<double> const& spreads,
                                std::size_t count, int draw)
{
  if (options.choice == ProbeChoice::greedy) return greedy_probes(spreads, count);
  return random_probes(pool, count, options.seed + static_cast<std::uint64_t>(draw));
}

void evaluate_device(Options const& options, std::map<Set, Part> const& parts, LayerTableKind kind,
                     std::string const& device, std::vector<Line>& lines)
{
  auto const is = [&](std::string const& name) { return name == device; };
  auto const training = select(parts.at(Set::training), [&](std::string const& name) { return !is(name); });
  auto const pool = select(parts.at(Set::training), is), test = select(parts.at(Set::test), is);
  std::vector<double> spreads;
  if (options.choice == ProbeChoice::greedy) {
    auto const ensemble = fit("ensemble5", training, options.seed);
    for (std::size_t i = 0; i < pool.examples.size(); ++i) {
      auto const prediction = ensemble(pool, i);
      spreads.push_back(std::log(prediction.q90 / prediction.seconds));
    }
  }
  int const draws = options.choice == ProbeChoice::greedy ? 1 : options.draws;
  auto const report = [&](std::string const& method, std::string const& transfer, int probes,
                          std::vector<ErrorMetrics> const& errors) {
    Line line;
    line.device = device;
    line.method = method;
    line.transfer = probes > 0 ? transfer : "none";
    line.probes = probes;
    line.errors = mean_of(errors);
    if (transfer == "one") line.reference = reference_mape(kind, device, method, probes);
    lines.push_back(std::move(line));
  };
  auto methods = options.methods;
  methods.insert(methods.begin(), "roofline");
  for (auto const& method : methods) {
    if (method == "nasturtium") {
      DeviceTransfer transfer;
      transfer.fit(training.extended, options.seed);
      for (int const count : options.probes) {
        std::vector<ErrorMetrics> errors;
        for (int draw = 0; draw < (count > 0 ? draws : 1); ++draw) {
          FeatureRows probes;
          probes.names = pool.extended.names;
          for (auto const i : choose(options, pool.examples.size(), spreads, static_cast<std::size_t>(count), draw)) {
            auto const row = pool.extended.row(i);
            probes.add({row.begin(), row.end()}, pool.extended.roofline[i], pool.extended.seconds[i]);
          }
          transfer.calibrate(probes);
          std::vector<double> predicted;
          for (std::size_t i = 0; i < test.examples.size(); ++i)
            predicted.push_back(transfer.predict(test.extended.row(i), test.extended.roofline[i]).seconds);
          errors.push_back(error_metrics(predicted, test.seconds()));
        }
        report(method, "process", count, errors);
      }
      continue;
    }
    auto const predictor = fit(method, training, options.seed);
    auto const of_pool = predict(predictor, pool), of_test = predict(predictor, test);
    for (int const count : options.probes)
      for (ScaleKind const scale : {ScaleKind::one, ScaleKind::two, ScaleKind::affine}) {
        if (scale != ScaleKind::one && count < (scale == ScaleKind::affine ? 20 : 5)) continue;
        std::vector<ErrorMetrics> errors;
        for (int draw = 0; draw < (count > 0 ? draws : 1); ++draw) {
          std::vector<double> predicted, measured;
          std::vector<bool> compute_bound;
          for (auto const i : choose(options, pool.examples.size(), spreads, static_cast<std::size_t>(count), draw)) {
            predicted.push_back(of_pool[i]);
            measured.push_back(pool.seconds()[i]);
            compute_bound.push_back(pool.compute_bound[i]);
          }
          ProbeScale const correction(scale, predicted, measured, compute_bound);
          std::vector<double> corrected;
          for (std::size_t i = 0; i < of_test.size(); ++i)
            corrected.push_back(correction(of_test[i], test.compute_bound[i]));
          errors.push_back(error_metrics(corrected, test.seconds()));
        }
        report(method, name(scale), count, errors);
      }
  }
}

Cell reference_cell(Line const& line)
{
  return line.reference ? Cell(*line.reference) : Cell();
}

Table table_of(std::vector<Line> const& lines, bool by_device)
{
  std::vector<Column> columns;
  if (by_device) columns.push_back({"held out"});
  columns.push_back({"method"});
  if (by_device) columns.insert(columns.end(), {{"transfer"}, {"probes"}});
  columns.insert(columns.end(), {{"MAPE %", 1},
                                 {"reference", 1},
                                 {"median %", 1},
                                 {"p90 %", 1},
                                 {"p99 %", 1},
                                 {"within 10 %", 1},
                                 {"RMSE ms", 3},
                                 {"Spearman", 4},
                                 {"bias", 3}});
  if (!by_device) columns.insert(columns.end(), {{"fit s", 1}, {"us/query", 1}});
  Table table(std::move(columns));
  for (auto const& line : lines) {
    std::vector<Cell> cells;
    if (by_device) cells.emplace_back(line.device);
    cells.emplace_back(line.method);
    if (by_device) {
      cells.emplace_back(line.transfer);
      cells.emplace_back(std::int64_t{line.probes});
    }
    auto const& e = line.errors;
    for (auto const& cell : {Cell(100 * e.mape), reference_cell(line), Cell(100 * e.median), Cell(100 * e.p90),
                             Cell(100 * e.p99), Cell(100 * e.within_10_percent), Cell(1e3 * e.rmse),
                             std::isfinite(e.spearman) ? Cell(e.spearman) : Cell(), Cell(e.bias)})
      cells.push_back(cell);
    if (!by_device) {
      cells.emplace_back(line.fit_seconds);
      cells.emplace_back(1e6 * line.query_seconds);
    }
    table.add_row(std::move(cells));
  }
  return table;
}

json::Array to_json(std::vector<Line> const& lines)
{
  json::Array result;
  for (auto const& line : lines) {
    auto const& e = line.errors;
    json::Object object;
    if (!line.device.empty())
      object = {{"held_out", line.device}, {"transfer", line.transfer}, {"probes", line.probes}};
    object["method"] = line.method;
    object["rows"] = e.count;
    object["mape"] = e.mape;
    object["median"] = e.median;
    object["p90"] = e.p90;
    object["p99"] = e.p99;
    object["within_10_percent"] = e.within_10_percent;
    object["rmse_seconds"] = e.rmse;
    object["spearman"] = std::isfinite(e.spearman) ? json::Value(e.spearman) : json::Value(nullptr);
    object["bias"] = e.bias;
    object["reference_mape"] = line.reference ? json::Value(*line.reference / 100) : json::Value(nullptr);
    if (line.device.empty()) {
      object["fit_seconds"] = line.fit_seconds;
      object["query_seconds"] = line.query_seconds;
    }
    result.push_back(std::move(object));
  }
  return result;
}

/// All that can be refused without work.
void check(Options const& options)
{
  auto const known = estimator_names();
  for (auto const& method : options.methods)
    require(std::find(known.begin(), known.end(), method) != known.end(), "--method: unknown method ", quoted(method));
  for (int const count : options.probes)
    require(count >= 0, "--probes must be >= 0, got ", count);
  require(options.rows == "all" || parse_integer(options.rows).value_or(0) >= 1,
          "--rows must be 'all' or a number >= 1, got ", quoted(options.rows));
  require(options.test_rows >= 1, "--test-rows must be >= 1, got ", options.test_rows);
  require(options.draws >= 1, "--draws must be >= 1, got ", options.draws);
}

int evaluate(Options options, Invocation const& call)
{
  check(options);
  std::optional<AtomicFile> csv; // what cannot be written is better known before the work than after it
  if (!options.csv.empty()) csv.emplace(options.csv);
  if (options.format == Format::archive) {
    require(options.held_out.size() <= 1, "--hold-out takes one device of archives, or all");
    std::string held = options.held_out.empty() ? "" : options.held_out.front();
    if (held == "all") held = "each";
    DeviceOptions device;
    auto const runtime = device.start(call); // the project's own stack trains paper-mlp
    auto const table = evaluate_archives(
        {options.files, options.methods, options.level, held, options.probes, options.test_share, options.seed});
    if (csv) {
      csv->write(table.csv());
      csv->commit();
    }
    std::cout << (options.json ? json::pretty(nasturtium::to_json(table)) : table.text());
    return exit_success;
  }
  LayerTableKind kind{};
  auto const parts = read(options, kind);
  if (options.held_out == std::vector<std::string>{"all"}) {
    options.held_out.clear();
    for (auto const& device : parts.at(Set::test).reference.devices)
      if (options.held_out.empty() || options.held_out.back() != device) options.held_out.push_back(device);
  }
  std::unique_ptr<nn::Runtime> runtime; // the project's own stack trains this one
  if (std::find(options.methods.begin(), options.methods.end(), "paper-mlp") != options.methods.end()) {
    DeviceOptions device;
    device.threads = 1;
    runtime = device.start(call);
  }
  std::vector<Line> lines;
  auto const& devices = parts.at(Set::test).reference.devices;
  for (auto const& device : options.held_out)
    require(std::find(devices.begin(), devices.end(), device) != devices.end(), "--hold-out: no file is of the device ",
            quoted(device));
  if (options.held_out.empty()) lines = evaluate_random(options, parts, kind);
  for (auto const& device : options.held_out)
    evaluate_device(options, parts, kind, device, lines);
  auto const table = table_of(lines, !options.held_out.empty());
  if (csv) {
    csv->write(table.csv());
    csv->commit();
  }
  if (options.json)
    std::cout << json::pretty(to_json(lines));
  else
    std::cout << table.text();
  return exit_success;
}

} // namespace

void add_estimate_evaluate(CLI::App& app, std::function<int(Invocation const&)>& action)
{
  auto const options = std::make_shared<Options>();
  auto* const verb = app.add_subcommand("evaluate", "Errors of the methods on timings that they did not see");
  verb->callback(
      [&action, options] { action = [options](Invocation const& call) { return evaluate(*options, call); }; });
  verb->add_option("FILE", options->files, "Archives, or tables of one kind of layer, one a device")->required();
  add_choice(*verb, "--format", options->format, {{"archive", Format::archive}, {"justus", Format::justus}},
             "Archives of this project, or public tables of single layers, one device each");
  std::string names;
  for (auto const& name : estimator_names())
    names += (names.empty() ? "" : ", ") + name;
  verb->add_option("--method", options->methods, "Methods, by commas: " + names)->delimiter(',')->type_name("NAME,...");
  verb->add_option("--level", options->level, "Of archives: what a method sees of a network")
      ->option_text("minimal|short|rich|physics [physics]");
  verb->add_option("--test-share", options->test_share, "Of an archive's lineages")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 0.9));
  verb->add_option("--rows", options->rows, "Training rows of each table, or all that are no test rows")
      ->type_name("N|all")
      ->capture_default_str();
  verb->add_option("--test-rows", options->test_rows, "Test rows of each table")->type_name("N")->capture_default_str();
  auto* const split = add_choice(*verb, "--split", options->split, {{"random", Split::random}},
                                 "Training and test rows of the same devices");
  verb->add_option("--hold-out", options->held_out, "Devices that the methods do not learn from, one at a time; or all")
      ->delimiter(',')
      ->type_name("DEVICE,...")
      ->excludes(split);
  verb->add_option("--probes", options->probes, "Timings on the device held out, by commas")
      ->delimiter(',')
      ->type_name("N,...")
      ->capture_default_str();
  add_choice(*verb, "--probe-choice", options->choice,
             {{"random", ProbeChoice::random}, {"greedy", ProbeChoice::greedy}},
             "Drawn, or where the ensemble disagrees most");
  verb->add_option("--draws", options->draws, "Draws of random probes that errors are averaged over")
      ->capture_default_str();
  verb->add_option("--seed", options->seed, "Of rows, probes and methods")->capture_default_str();
  verb->add_option("--csv", options->csv, "The table as a file")->type_name("FILE");
  verb->add_flag("--json", options->json, "The table as JSON on stdout");
}

} // namespace nasturtium::cli
