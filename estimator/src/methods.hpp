// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The families of methods behind make_regressor and make_estimator; each returns null for a name that is not its own.
#pragma once

#include <nasturtium/estimator/regression.hpp>

namespace nasturtium::estimator {

/// What both fits refuse: no examples, and a time that is not positive and finite.
void check(std::span<Example const> examples);

/// log(measured / roofline) of each row: what transfers between devices and sizes.
std::vector<double> log_ratios(FeatureRows const& rows);

std::unique_ptr<Regressor> make_linear(std::string const& method);
std::unique_ptr<Regressor> make_boosted(std::string const& method);
std::unique_ptr<Regressor> make_perceptron(std::string const& method);

/// A method that reads descriptions itself: its model beside the common fields of a saved estimator.
class DescriptionEstimator : public Estimator
{
public:
  virtual json::Object save_model() const = 0;
  virtual void load_model(json::Value const& model, std::string const& source) = 0;
  std::string save() const final;
};
std::unique_ptr<DescriptionEstimator> make_operation_counts(std::string const& method);
std::unique_ptr<DescriptionEstimator> make_layer_sum(std::string const& method);
std::unique_ptr<DescriptionEstimator> make_neusight(std::string const& method);

} // namespace nasturtium::estimator
