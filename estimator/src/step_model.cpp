// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/step_model.hpp>

#include "mlp.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/estimator/error_metrics.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr std::size_t nearest = 5;
constexpr std::size_t most_neighbours = 2000; ///< training networks that are kept to be named; a query looks at all

std::vector<double> range_features(Description const& description)
{
  return features(description, {}, Level::rich);
}

/// Distances of a standardised row to all training rows, nearest first; at most `count`.
std::vector<std::pair<double, std::size_t>> neighbours_of(std::vector<double> const& row,
                                                          std::vector<double> const& rows, std::size_t count)
{
  std::size_t const columns = row.size(), n = rows.size() / columns;
  std::vector<std::pair<double, std::size_t>> all(n);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < columns; ++j) {
      double const difference = row[j] - rows[i * columns + j];
      sum += difference * difference;
    }
    all[i] = {std::sqrt(sum), i};
  }
  count = std::min(count, n);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end());
  all.resize(count);
  return all;
}

} // namespace

StepModel StepModel::fit(std::vector<NamedExample> const& examples, StepModelOptions const& options)
{
  require(examples.size() >= 20, "a model needs 20 timed networks at least, got ", examples.size());
  std::map<std::int64_t, std::size_t> members;
  for (auto const& it : examples)
    ++members[it.example.lineage];
  for (auto const& [lineage, count] : members)
    require(2 * count <= examples.size(), "lineage ", lineage, " holds ", count, " of ", examples.size(),
            " networks: train on separate runs instead");
  StepModel model;
  std::vector<Example> train;
  std::vector<NamedExample const*> calibration;
  std::vector<std::string> names;
  for (auto const& it : examples) {
    if (held_out(it.example.lineage, options.calibration_share, options.seed)) {
      calibration.push_back(&it);
      continue;
    }
    train.push_back(it.example);
    names.push_back(it.name);
  }
  require(!train.empty() && !calibration.empty(), "the lineages are too few to hold some of them out");
  std::shared_ptr<Estimator> estimator = make_estimator(options.method, options.level);
  estimator->fit(train, options.seed);
  model.m_estimator = std::move(estimator);
  for (auto const& it : examples) {
    auto const& device = it.example.device;
    auto const same = [&](Device const& known) { return known.name == device.name; };
    if (std::none_of(model.m_devices.begin(), model.m_devices.end(), same)) {
      model.m_devices.push_back(device);
      model.m_scales.push_back(1);
    }
  }
  std::vector<Prediction> predictions;
  for (auto const* const it : calibration) {
    predictions.push_back(model.m_estimator->predict(it->example.description, it->example.device));
    model.m_predicted.push_back(predictions.back().seconds);
    model.m_measured.push_back(it->example.seconds);
  }
  model.m_calibrated = static_cast<std::int64_t>(calibration.size());
  model.m_intervals = std::make_shared<Conformal const>(predictions, model.m_measured);

  std::vector<double> rows;
  for (auto const& example : train) {
    auto const row = range_features(example.description);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  std::size_t const columns = rows.size() / train.size();
  auto const scaling = Scaling::of(rows, columns);
  model.m_mean = scaling.mean;
  model.m_deviation = scaling.deviation;
  for (std::size_t j = 0; j < columns; ++j) {
    std::vector<double> column;
    for (std::size_t i = 0; i < train.size(); ++i)
      column.push_back(rows[i * columns + j]);
    model.m_low.push_back(quantile(column, 0.005));
    model.m_high.push_back(quantile(column, 0.995));
  }
  std::size_t const every = (train.size() + most_neighbours - 1) / most_neighbours;
  for (std::size_t i = 0; i < train.size(); i += every) {
    auto const row = scaling({rows.data() + i * columns, columns});
    model.m_rows.insert(model.m_rows.end(), row.begin(), row.end());
    model.m_names.push_back(names[i]);
    model.m_seconds.push_back(train[i].seconds);
  }
  model.m_trained = static_cast<std::int64_t>(train.size());
  model.set_far();
  return model;
}

void StepModel::set_far()
{
  // The 5th-nearest of a training row, itself not counted.
  std::size_t const columns = m_mean.size(), n = m_names.size();
  std::vector<double> distances;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<double> const row(m_rows.begin() + static_cast<std::ptrdiff_t>(i * columns),
                                  m_rows.begin() + static_cast<std::ptrdiff_t>((i + 1) * columns));
    distances.push_back(neighbours_of(row, m_rows, nearest + 1).back().first);
  }
  m_far = quantile(std::move(distances), 0.99);
}

std::size_t StepModel::position(std::string const& device) const
{
  std::string known;
  for (std::size_t i = 0; i < m_devices.size(); ++i) {
    if (m_devices[i].name == device) return i;
    known += (known.empty() ? "" : ", ") + m_devices[i].name;
  }
  fail("the model knows no device ", quoted(device), " (", known, ")");
}

Device const& StepModel::device(std::string const& name) const
{
  return m_devices[position(name)];
}

Prediction StepModel::predicted(Description const& description, std::size_t device) const
{
  auto prediction = m_estimator->predict(description, m_devices[device]);
  for (double* const seconds : {&prediction.seconds, &prediction.q10, &prediction.q90})
    *seconds *= m_scales[device];
  return prediction;
}

double StepModel::seconds(Description const& description, std::string const& device) const
{
  return predicted(description, position(device)).seconds;
}

StepEstimate StepModel::estimate(Description const& description, std::string const& device) const
{
  StepEstimate result;
  auto const prediction = predicted(description, position(device));
  auto const [low, high] = m_intervals->interval(prediction, 0.2);
  result.seconds = prediction.seconds;
  result.quantiles = {
      {0.1, low}, {0.5, result.seconds}, {0.9, high}, {0.99, m_intervals->upper_limit(prediction, 0.01)}};
  auto row = range_features(description);
  auto const names = feature_names(Level::rich);
  for (std::size_t j = 0; j < row.size(); ++j) {
    if (row[j] < m_low[j] || row[j] > m_high[j]) result.outside.push_back({names[j], row[j], m_low[j], m_high[j]});
    row[j] = (row[j] - m_mean[j]) / m_deviation[j];
  }
  for (auto const& [distance, i] : neighbours_of(row, m_rows, nearest))
    result.neighbours.push_back({m_names[i], m_seconds[i], distance});
  result.distance = result.neighbours.back().distance;
  result.far = m_far;
  result.in_range = result.outside.empty() && result.distance <= m_far;
  return result;
}

std::pair<double, double> StepModel::interval(Description const& description, std::string const& device,
                                              double level) const
{
  require(level > 0 && level < 1, "the level of an interval must be in (0, 1), got ", level);
  return m_intervals->interval(predicted(description, position(device)), 1 - level);
}

double StepModel::limit(Description const& description, std::string const& device, double risk) const
{
  return m_intervals->upper_limit(predicted(description, position(device)), risk);
}

void StepModel::adapt(Device const& device, std::span<Example const> probes)
{
  require(!probes.empty(), "a device is added from timings there, none were given");
  std::vector<double> ratios;
  for (auto const& probe : probes) {
    require(std::isfinite(probe.seconds) && probe.seconds > 0, "probe ", ratios.size(),
            ": the time must be positive and finite, got ", shortest(probe.seconds));
    ratios.push_back(std::log(probe.seconds / m_estimator->predict(probe.description, device).seconds));
  }
  double const scale = std::exp(median(std::move(ratios)));
  for (std::size_t i = 0; i < m_devices.size(); ++i)
    if (m_devices[i].name == device.name) {
      m_devices[i] = device;
      m_scales[i] = scale;
      return;
    }
  m_devices.push_back(device);
  m_scales.push_back(scale);
}

std::string StepModel::save() const
{
  json::Array devices, names;
  for (auto const& device : m_devices)
    devices.push_back(json::parse(to_json(device), device.name));
  for (auto const& name : m_names)
    names.emplace_back(name);
  return json::pretty(json::Object{{"format", "nasturtium-step-model"},
                                   {"version", 1},
                                   {"devices", std::move(devices)},
                                   {"scales", to_array(m_scales)},
                                   {"calibrated", m_calibrated},
                                   {"intervals", m_intervals->save()},
                                   {"training", json::Object{{"networks", m_trained},
                                                             {"names", std::move(names)},
                                                             {"seconds", to_array(m_seconds)},
                                                             {"mean", to_array(m_mean)},
                                                             {"deviation", to_array(m_deviation)},
                                                             {"low", to_array(m_low)},
                                                             {"high", to_array(m_high)},
                                                             {"rows", to_array(m_rows)},
                                                             {"far", m_far}}},
                                   {"estimator", json::parse(m_estimator->save(), "estimator")}});
}

StepModel StepModel::load(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-step-model", 1);
  StepModel model;
  std::string const where = reader.what("devices");
  for (auto const& device : reader.array("devices"))
    model.m_devices.push_back(parse_device(json::compact(device), where));
  require(!model.m_devices.empty(), where, " is empty");
  model.m_scales =
      to_numbers(reader.value("scales"), reader.what("scales"), static_cast<std::int64_t>(model.m_devices.size()));
  for (double const scale : model.m_scales)
    require(scale > 0, reader.what("scales"), " must be positive, got ", scale);
  model.m_calibrated = reader.integer("calibrated", 0, std::int64_t{1} << 40);
  model.m_intervals =
      std::make_shared<Conformal const>(Conformal::load(reader.value("intervals"), reader.what("intervals")));
  auto training = reader.object("training");
  auto const columns = static_cast<std::int64_t>(feature_names(Level::rich).size());
  model.m_trained = training.integer("networks", 1, std::int64_t{1} << 40);
  std::string const names = training.what("names");
  for (auto const& name : training.array("names"))
    model.m_names.push_back(json::to_string(name, names));
  auto const n = static_cast<std::int64_t>(model.m_names.size());
  require(n > 0, names, " is empty");
  auto const numbers = [&](char const* field, std::int64_t count) {
    return to_numbers(training.value(field), training.what(field), count);
  };
  model.m_seconds = numbers("seconds", n);
  model.m_mean = numbers("mean", columns);
  model.m_deviation = numbers("deviation", columns);
  for (double const deviation : model.m_deviation)
    require(deviation > 0, training.what("deviation"), " must be positive, got ", deviation);
  model.m_low = numbers("low", columns);
  model.m_high = numbers("high", columns);
  model.m_rows = numbers("rows", n * columns);
  model.m_far = training.number("far", json::at_least(0));
  training.finish();
  model.m_estimator = load_estimator(json::compact(reader.value("estimator")), reader.what("estimator"));
  reader.finish();
  return model;
}

} // namespace nasturtium::estimator
