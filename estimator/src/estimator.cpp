// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/estimator.hpp>

#include "methods.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/estimator/features.hpp>
#include <nasturtium/estimator/regression.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace nasturtium::estimator {
namespace {

json::Object head(std::string const& method, Level level)
{
  return {{"format", "nasturtium-estimator"}, {"version", 1}, {"method", method}, {"level", name(level)}};
}

/// A method on rows of features, with the features of a level.
class OnFeatures : public Estimator
{
public:
  OnFeatures(std::unique_ptr<Regressor> regressor, Level level) : m_regressor(std::move(regressor)), m_level(level) {}

  std::string name() const override { return concat(m_regressor->method(), " on ", estimator::name(m_level)); }

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
    auto object = head(m_regressor->method(), m_level);
    object["model"] = m_regressor->save();
    return json::pretty(object);
  }
  void load(json::Value const& model, std::string const& source) { m_regressor->load(model, source); }

private:
  std::unique_ptr<Regressor> m_regressor;
  Level m_level;
};

std::unique_ptr<DescriptionEstimator> on_descriptions(std::string const& method)
{
  if (auto estimator = make_operation_counts(method)) return estimator;
  if (auto estimator = make_layer_sum(method)) return estimator;
  return make_neusight(method);
}

} // namespace

void check(std::span<Example const> examples)
{
  require(!examples.empty(), "an estimator needs examples to fit");
  for (auto const& example : examples)
    require(example.seconds > 0 && std::isfinite(example.seconds),
            "an example's time must be positive and finite, got ", example.seconds);
}

std::string DescriptionEstimator::save() const
{
  auto object = head(name(), Level::rich);
  object["model"] = save_model();
  return json::pretty(object);
}

std::vector<std::string> estimator_names()
{
  auto names = regressor_names();
  names.insert(names.end(), {"nnls-roofline", "li-linear", "neusight-u", "layer-sum"});
  return names;
}

std::unique_ptr<Estimator> make_estimator(std::string const& method, Level level)
{
  if (auto estimator = on_descriptions(method)) return estimator;
  auto const known = estimator_names();
  if (std::find(known.begin(), known.end(), method) == known.end()) {
    std::string text;
    for (auto const& it : known)
      text += (text.empty() ? "" : ", ") + it;
    fail("unknown estimator ", quoted(method), " (", text, ")");
  }
  return std::make_unique<OnFeatures>(make_regressor(method), level);
}

std::unique_ptr<Estimator> load_estimator(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-estimator", 1);
  auto const method = reader.string("method");
  auto const level = parse_level(reader.string("level"), reader.what("level"));
  auto const& model = reader.value("model");
  reader.finish();
  if (auto estimator = on_descriptions(method)) {
    estimator->load_model(model, reader.what("model"));
    return estimator;
  }
  auto const known = regressor_names();
  require(std::find(known.begin(), known.end(), method) != known.end(), reader.what("method"), " is ", quoted(method),
          ", which is no estimator");
  auto estimator = std::make_unique<OnFeatures>(make_regressor(method), level);
  estimator->load(model, reader.what("model"));
  return estimator;
}

} // namespace nasturtium::estimator
