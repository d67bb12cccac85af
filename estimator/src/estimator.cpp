// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Methods by name, and their saved form.
#include <nasturtium/estimator/estimator.hpp>

#include "methods.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace nasturtium::estimator {
namespace {

constexpr char const* format = "nasturtium-estimator";
constexpr int version = 1;
constexpr std::array<Level, 4> levels{Level::minimal, Level::brief, Level::rich, Level::physics};

/// A regressor on the features of a level.
class FeatureEstimator : public Estimator
{
public:
  FeatureEstimator(std::unique_ptr<Regressor> regressor, Level level)
      : m_regressor(std::move(regressor)), m_level(level)
  {
  }

  std::string name() const override { return m_regressor->method() + " on " + estimator::name(m_level); }

  void fit(std::span<Example const> examples, std::uint64_t seed, bool warm) override
  {
    check(examples);
    FeatureRows rows;
    rows.names = feature_names(m_level);
    for (auto const& example : examples) {
      rows.add(features(example.description, example.device, m_level),
               roofline(example.description, example.device).seconds(), example.seconds);
      rows.lineage.push_back(example.lineage);
      rows.devices.push_back(example.device.name);
    }
    m_regressor->fit(rows, seed, warm);
  }

  Prediction predict(Description const& description, Device const& device) const override
  {
    return m_regressor->predict(features(description, device, m_level), roofline(description, device).seconds());
  }

  std::string save() const override
  {
    json::Array names;
    for (auto const& feature : feature_names(m_level))
      names.emplace_back(feature);
    return json::pretty(json::Object{{"format", format},
                                     {"version", version},
                                     {"method", m_regressor->method()},
                                     {"level", estimator::name(m_level)},
                                     {"features", std::move(names)},
                                     {"model", m_regressor->save()}});
  }

  void load(json::Reader& reader)
  {
    auto const names = feature_names(m_level);
    auto const& saved = reader.array("features");
    require(saved.size() == names.size(), reader.what("features"), " should hold ", names.size(), " names, got ",
            saved.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto const name = json::to_string(saved[i], reader.what("features"));
      require(name == names[i], reader.what("features"), ": feature ", i, " should be ", quoted(names[i]), ", got ",
              quoted(name));
    }
    m_regressor->load(reader.value("model"), reader.what("model"));
    m_regressor->predict(std::vector<double>(names.size(), 0.0), 1); // refuses another number of features
  }

private:
  std::unique_ptr<Regressor> m_regressor;
  Level m_level;
};

std::unique_ptr<DescriptionEstimator> make_description_estimator(std::string const& method)
{
  for (auto* const make : {make_operation_counts, make_layer_sum, make_neusight})
    if (auto made = make(method)) return made;
  return nullptr;
}

} // namespace

void check(std::span<Example const> examples)
{
  require(!examples.empty(), "there is nothing to learn from: no examples");
  for (std::size_t i = 0; i < examples.size(); ++i) {
    require(std::isfinite(examples[i].seconds) && examples[i].seconds > 0, "example ", i,
            ": the time must be positive and finite, got ", shortest(examples[i].seconds));
    require(!examples[i].description.layers.empty(), "example ", i, " has no layers");
  }
}

std::string DescriptionEstimator::save() const
{
  return json::pretty(
      json::Object{{"format", format}, {"version", version}, {"method", name()}, {"model", save_model()}});
}

std::unique_ptr<Estimator> make_estimator(std::string const& method, Level level)
{
  if (auto made = make_description_estimator(method)) return made;
  auto const names = estimator_names();
  if (std::find(names.begin(), names.end(), method) == names.end()) {
    std::string list;
    for (auto const& name : names)
      list += (list.empty() ? "" : ", ") + name;
    fail("unknown method ", quoted(method), " (", list, ")");
  }
  return std::make_unique<FeatureEstimator>(make_regressor(method), level);
}

std::vector<std::string> estimator_names()
{
  auto names = regressor_names();
  names.insert(names.end(), {"nnls-roofline", "li-linear", "neusight-u", "layer-sum"});
  return names;
}

std::unique_ptr<Estimator> load_estimator(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, format, version);
  std::string const method = reader.string("method");
  if (auto estimator = make_description_estimator(method)) {
    estimator->load_model(reader.value("model"), reader.what("model"));
    reader.finish();
    return estimator;
  }
  auto const names = regressor_names();
  require(std::find(names.begin(), names.end(), method) != names.end(), reader.what("method"),
          " is unknown: ", quoted(method));
  std::vector<std::string> level_names;
  for (Level const level : levels)
    level_names.push_back(name(level));
  auto estimator =
      std::make_unique<FeatureEstimator>(make_regressor(method), levels[reader.choice("level", level_names)]);
  estimator->load(reader);
  reader.finish();
  return estimator;
}

} // namespace nasturtium::estimator
