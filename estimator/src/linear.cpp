// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linear methods: least squares on logarithms, and non-negative least squares of the time on operation counts.
#include "methods.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>

namespace nasturtium::estimator {
namespace {

/// log time = offset + weights . standardised features.
class LogLinear : public Regressor
{
public:
  std::string method() const override { return "log-linear"; }

  void fit(FeatureRows const& rows, std::uint64_t /*seed*/, bool /*warm*/) override
  {
    check(rows);
    m_scaling = Scaling::of(rows.values, rows.names.size());
    auto const columns = static_cast<Eigen::Index>(rows.names.size());
    Eigen::MatrixXd gram = Eigen::MatrixXd::Zero(columns, columns);
    Eigen::VectorXd moment = Eigen::VectorXd::Zero(columns);
    m_offset = 0;
    for (double const time : rows.seconds)
      m_offset += std::log(time) / static_cast<double>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      auto const z = m_scaling(rows.row(i));
      Eigen::Map<Eigen::VectorXd const> const v(z.data(), columns);
      gram.selfadjointView<Eigen::Lower>().rankUpdate(v);
      moment += v * (std::log(rows.seconds[i]) - m_offset);
    }
    // Columns may be constant or say the same twice: a trace of ridge makes the answer unique.
    gram.diagonal().array() += 1e-6 * static_cast<double>(rows.size());
    Eigen::VectorXd const weights = gram.selfadjointView<Eigen::Lower>().ldlt().solve(moment);
    m_weights.assign(weights.data(), weights.data() + columns);
  }

  Prediction predict(std::span<double const> row, double /*roofline_seconds*/) const override
  {
    auto const z = m_scaling(row);
    double sum = m_offset;
    for (std::size_t j = 0; j < z.size(); ++j)
      sum += m_weights[j] * z[j];
    return {.seconds = std::exp(std::clamp(sum, -30.0, 30.0))}; // a line goes on for ever, times do not
  }

  json::Object save() const override
  {
    return {{"scaling", m_scaling.save()}, {"offset", m_offset}, {"weights", to_array(m_weights)}};
  }
  void load(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_scaling = Scaling::load(reader.value("scaling"), reader.what("scaling"));
    m_offset = reader.number("offset", {});
    m_weights =
        to_numbers(reader.value("weights"), reader.what("weights"), static_cast<std::int64_t>(m_scaling.mean.size()));
    reader.finish();
  }

private:
  Scaling m_scaling;
  double m_offset = 0;
  std::vector<double> m_weights;
};

/// The least weighted squares of A x = b with x >= 0, by cyclic coordinate descent on the normal equations; columns are
/// scaled to length 1 first.
std::vector<double> nonnegative_least_squares(Eigen::MatrixXd a, Eigen::VectorXd const& b)
{
  Eigen::VectorXd scale = a.colwise().norm();
  for (Eigen::Index j = 0; j < a.cols(); ++j)
    if (scale(j) > 0) a.col(j) /= scale(j);
  Eigen::MatrixXd const gram = a.transpose() * a;
  Eigen::VectorXd gradient = -a.transpose() * b, x = Eigen::VectorXd::Zero(a.cols());
  for (int sweep = 0; sweep < 20000; ++sweep) {
    double moved = 0;
    for (Eigen::Index j = 0; j < a.cols(); ++j) {
      if (!(scale(j) > 0)) continue;
      double const step = std::max(-x(j), -gradient(j));
      if (step == 0) continue;
      x(j) += step;
      gradient += step * gram.col(j);
      moved = std::max(moved, std::abs(step));
    }
    if (moved < 1e-10 * (1 + x.maxCoeff())) break;
  }
  std::vector<double> result(static_cast<std::size_t>(a.cols()));
  for (Eigen::Index j = 0; j < a.cols(); ++j)
    result[static_cast<std::size_t>(j)] = scale(j) > 0 ? x(j) / scale(j) : 0;
  return result;
}

/// time = sum of non-negative factors times counts, the relative error's squares least. Counts are in seconds at the
/// device's peak, bandwidth and launch cost, so that one fit serves several devices.
class OperationCounts : public DescriptionEstimator
{
public:
  explicit OperationCounts(bool by_kind) : m_by_kind(by_kind) {}
  std::string name() const override { return m_by_kind ? "li-linear" : "nnls-roofline"; }

  void fit(std::span<Example const> examples, std::uint64_t /*seed*/, bool /*warm*/) override
  {
    check(examples);
    auto const rows = static_cast<Eigen::Index>(examples.size());
    auto const columns = static_cast<Eigen::Index>(width());
    Eigen::MatrixXd a(rows, columns);
    m_least = examples.front().seconds;
    for (Eigen::Index i = 0; i < rows; ++i) {
      auto const& example = examples[static_cast<std::size_t>(i)];
      auto const values = counts(example.description, example.device);
      a.row(i) = Eigen::Map<Eigen::RowVectorXd const>(values.data(), columns) / example.seconds;
      m_least = std::min(m_least, example.seconds);
    }
    m_factors = nonnegative_least_squares(std::move(a), Eigen::VectorXd::Ones(rows));
  }

  Prediction predict(Description const& description, Device const& device) const override
  {
    auto const values = counts(description, device);
    double sum = 0;
    for (std::size_t j = 0; j < values.size(); ++j)
      sum += m_factors[j] * values[j];
    return {.seconds = std::max(sum, 0.1 * m_least)}; // all factors of a small layer may be zero
  }

  json::Object save_model() const override { return {{"factors", to_array(m_factors)}, {"least", m_least}}; }
  void load_model(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_factors = to_numbers(reader.value("factors"), reader.what("factors"), static_cast<std::int64_t>(width()));
    for (double const factor : m_factors)
      require(factor >= 0, reader.what("factors"), " must be >= 0, got ", factor);
    m_least = reader.number("least", json::above(0));
    reader.finish();
  }

private:
  std::size_t width() const { return m_by_kind ? std::size_t{2} * layer_kinds : 5; }

  std::vector<double> counts(Description const& description, Device const& device) const
  {
    bool const train = description.optimiser != Optimiser::none;
    double const passes = train ? 3 : 1, second = 1e-6;
    std::vector<double> result(width(), 0);
    if (m_by_kind) {
      for (auto const& layer : description.layers) {
        auto const kind = static_cast<std::size_t>(layer.kind);
        result[2 * kind] += passes * (layer.forward_flops / device.peak_flops + layer.forward_bytes / device.bandwidth);
        result[2 * kind + 1] += passes * second;
      }
      return result;
    }
    double words = 0;
    for (auto const& layer : description.layers)
      words += static_cast<double>(layer.in.size() + layer.out.size());
    result[0] = step_flops(description) / device.peak_flops;
    result[1] = passes * 4 * words * description.batch / device.bandwidth;
    result[2] = passes * 4 * static_cast<double>(description.parameters) / device.bandwidth;
    result[3] = second * description.batch;
    result[4] = second;
    return result;
  }

  bool m_by_kind;
  std::vector<double> m_factors;
  double m_least = 0; ///< of the training times
};

} // namespace

std::unique_ptr<Regressor> make_linear(std::string const& method)
{
  if (method == "log-linear") return std::make_unique<LogLinear>();
  return nullptr;
}

std::unique_ptr<DescriptionEstimator> make_operation_counts(std::string const& method)
{
  if (method == "nnls-roofline") return std::make_unique<OperationCounts>(false);
  if (method == "li-linear") return std::make_unique<OperationCounts>(true);
  return nullptr;
}

} // namespace nasturtium::estimator
