// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Methods on perceptrons: the reference's initial design on the project's own trainer; quantiles, an ensemble and the
// network of Justus et al. on the small one of this folder.
#include "methods.hpp"
#include "mlp.hpp"
#include "scaling.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/random.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace nasturtium::estimator {
namespace {

constexpr double normal_90 = 1.2815515655446004; ///< quantile of the standard normal distribution

double softplus(double x)
{
  return x > 30 ? x : std::log1p(std::exp(x));
}
double sigmoid(double x)
{
  return 1 / (1 + std::exp(-x));
}

MlpOptions options_for(std::size_t rows)
{
  MlpOptions options;
  if (rows > 4096) { // steps, not epochs, are what training needs
    options.batch = 256;
    options.epochs = 60;
    options.patience = 10;
  }
  return options;
}

std::vector<float> standardised(FeatureRows const& rows, Scaling const& scaling)
{
  std::vector<float> result;
  result.reserve(rows.values.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto const row = scaling.single(rows.row(i));
    result.insert(result.end(), row.begin(), row.end());
  }
  return result;
}

std::vector<std::size_t> one_row_each(std::size_t items)
{
  std::vector<std::size_t> first(items + 1);
  for (std::size_t i = 0; i <= items; ++i)
    first[i] = i;
  return first;
}

/// Standardised target: mean and deviation of training values.
struct Target
{
  double mean = 0, deviation = 1;
  static Target of(std::vector<double> const& values)
  {
    auto const scaling = Scaling::of(values, 1);
    return {scaling.mean.front(), scaling.deviation.front()};
  }
  double in(double value) const { return (value - mean) / deviation; }
  double out(double value) const { return mean + deviation * value; }
  /// Of a network's answer: far outside of its training it may say anything, but no time is 0 or infinite.
  double answer(double value) const { return out(std::clamp(value, -8.0, 8.0)); }
};

/// What the perceptrons share: scaled features, a scaled target, and their JSON.
class Perceptron : public Regressor
{
public:
  Perceptron(std::string method, int outputs) : m_method(std::move(method)), m_outputs(outputs) {}
  std::string method() const override { return m_method; }

  json::Object save() const override
  {
    json::Array networks;
    for (auto const& network : m_networks)
      networks.push_back(network.save());
    return {{"scaling", m_scaling.save()},
            {"target_mean", m_target.mean},
            {"target_deviation", m_target.deviation},
            {"networks", std::move(networks)}};
  }
  void load(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_scaling = Scaling::load(reader.value("scaling"), reader.what("scaling"));
    m_target.mean = reader.number("target_mean", {});
    m_target.deviation = reader.number("target_deviation", json::above(0));
    m_networks.clear();
    for (auto const& network : reader.array("networks"))
      m_networks.push_back(Mlp::load(network, static_cast<int>(m_scaling.mean.size()), m_outputs,
                                     concat(reader.what("networks"), ": network ", m_networks.size())));
    require(!m_networks.empty(), reader.what("networks"), " is empty");
    reader.finish();
  }

protected:
  Scaling const& scaling() const { return m_scaling; }
  Target const& target() const { return m_target; }
  std::vector<Mlp>& networks() { return m_networks; }
  std::vector<Mlp> const& networks() const { return m_networks; }
  void scale(FeatureRows const& rows, std::vector<double> const& targets)
  {
    m_scaling = Scaling::of(rows.values, rows.names.size());
    m_target = Target::of(targets);
  }
  int width() const { return static_cast<int>(m_scaling.mean.size()); }

  /// Squared error of one output.
  static MlpLoss squared_error(std::vector<double> const& targets)
  {
    return [&targets](std::size_t item, std::span<float const> outputs, std::span<float> gradients) {
      double const difference = outputs[0] - targets[item];
      gradients[0] = static_cast<float>(2 * difference);
      return difference * difference;
    };
  }

private:
  std::string m_method;
  int m_outputs;
  Scaling m_scaling;
  Target m_target;
  std::vector<Mlp> m_networks;
};

/// The reference's initial design (2 x 64 relu, log time, Adam 1e-3, batch 32, at most 300 epochs, patience 20),
/// trained by this project's own stack on one host thread.
class PaperMlp : public Perceptron
{
public:
  PaperMlp() : Perceptron("paper-mlp", 1) {}

  void fit(FeatureRows const& rows, std::uint64_t seed, bool warm) override
  {
    check(rows);
    std::vector<double> targets(rows.size());
    std::transform(rows.seconds.begin(), rows.seconds.end(), targets.begin(), [](double s) { return std::log(s); });
    Scaling const before = scaling();
    Target const target_before = target();
    scale(rows, targets);
    bool const go_on = warm && !networks().empty() && before.mean.size() == scaling().mean.size();
    if (go_on) rescale(networks().front(), before, target_before);

    datasets::Dataset data;
    data.name = "timings";
    data.channels = width();
    data.target_width = 1;
    data.mean.assign(static_cast<std::size_t>(width()), 0);
    data.deviation.assign(static_cast<std::size_t>(width()), 1);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      auto const lineage = rows.lineage.empty() ? static_cast<std::int64_t>(i) : rows.lineage[i];
      add(held_out(lineage, 0.1, seed) ? data.validation : data.train, scaling().single(rows.row(i)),
          target().in(targets[i]));
    }
    if (data.train.count == 0) std::swap(data.train, data.validation);

    nn::Candidate candidate;
    auto& network = candidate.architecture;
    namespace spec = nn::spec;
    network.input = {1, 1, width()};
    network.regression = 1;
    network.nodes = {{"dense1", spec::Dense{.units = 64}, {"input"}},
                     {"relu1", spec::Activation{}, {"dense1"}},
                     {"dense2", spec::Dense{.units = 64}, {"relu1"}},
                     {"relu2", spec::Activation{}, {"dense2"}},
                     {"dense3", spec::Dense{.units = 1}, {"relu2"}}};
    candidate.options.epochs = 300;
    candidate.options.batch_size = static_cast<int>(std::min<std::int64_t>(32, data.train.count));
    candidate.options.optimiser.kind = nn::OptimiserKind::adam;
    candidate.options.optimiser.learning_rate = 1e-3;
    candidate.options.early_stopping_patience = data.validation.count > 0 ? 20 : 0;
    candidate.options.seed = seed;
    if (go_on) candidate.initial_weights = std::make_shared<nn::Weights const>(to_weights(networks().front()));

    nn::TrainerOptions trainer;
    for (auto const backend : nn::available_backends())
      if (backend == nn::BackendKind::serial) trainer.backend = backend; // far too small for a device
    trainer.threads = 1;
    auto const result = nn::train(trainer, {&candidate, 1}, data).front();
    require(result.weights != nullptr && result.status != nn::Status::diverged,
            "paper-mlp: training failed: ", result.reason);
    networks().assign(1, from_weights(*result.weights));
  }

  Prediction predict(std::span<double const> row, double /*roofline_seconds*/) const override
  {
    return {.seconds = std::exp(target().answer(networks().front()(scaling().single(row)).front()))};
  }

  void load(json::Value const& model, std::string const& source) override
  {
    Perceptron::load(model, source);
    // A warm start goes on from these layers.
    std::size_t const layers = networks().front().layers().size();
    require(layers == ids.size(), source, ": field 'networks' should have ", ids.size(), " layers, got ", layers);
  }

private:
  static constexpr std::array<char const*, 3> ids{"dense1", "dense2", "dense3"};

  static void add(datasets::Samples& samples, std::vector<float> const& row, double target)
  {
    ++samples.count;
    samples.values.insert(samples.values.end(), row.begin(), row.end());
    samples.targets.push_back(static_cast<float>(target));
  }

  /// The same function of the features after they and the target are scaled anew.
  void rescale(Mlp& network, Scaling const& before, Target const& target_before) const
  {
    auto& first = network.layers().front();
    auto const out = static_cast<std::size_t>(first.out);
    for (std::size_t i = 0; i < before.mean.size(); ++i) {
      auto const shift = static_cast<float>((scaling().mean[i] - before.mean[i]) / before.deviation[i]);
      auto const factor = static_cast<float>(scaling().deviation[i] / before.deviation[i]);
      for (std::size_t j = 0; j < out; ++j) {
        float& weight = first.kernel[i * out + j];
        first.bias[j] += weight * shift;
        weight *= factor;
      }
    }
    auto& last = network.layers().back();
    for (float& weight : last.kernel)
      weight *= static_cast<float>(target_before.deviation / target().deviation);
    last.bias.front() = static_cast<float>(target().in(target_before.out(last.bias.front())));
  }

  static nn::Weights to_weights(Mlp const& network)
  {
    nn::Weights weights;
    for (std::size_t l = 0; l < ids.size(); ++l) {
      auto const& layer = network.layers()[l];
      weights[{ids[l], "kernel"}] = {{layer.in, layer.out}, {layer.kernel.begin(), layer.kernel.end()}};
      weights[{ids[l], "bias"}] = {{layer.out}, {layer.bias.begin(), layer.bias.end()}};
    }
    return weights;
  }
  static Mlp from_weights(nn::Weights const& weights)
  {
    std::vector<Mlp::Layer> layers;
    for (auto const* const id : ids) {
      auto const& kernel = weights.at({id, "kernel"});
      auto const& bias = weights.at({id, "bias"});
      layers.push_back({static_cast<int>(kernel.extent[0]),
                        static_cast<int>(kernel.extent[1]),
                        {kernel.values.begin(), kernel.values.end()},
                        {bias.values.begin(), bias.values.end()}});
    }
    return Mlp(std::move(layers));
  }
};

/// log(time / roofline) with pinball heads: q50 = m, q90 = m + softplus(u), q10 = m - softplus(v).
class QuantileMlp : public Perceptron
{
public:
  QuantileMlp() : Perceptron("quantile-mlp", 3) {}

  void fit(FeatureRows const& rows, std::uint64_t seed, bool /*warm*/) override
  {
    check(rows);
    auto targets = log_ratios(rows);
    scale(rows, targets);
    for (double& value : targets)
      value = target().in(value);
    MlpLoss const loss = [&targets](std::size_t item, std::span<float const> y, std::span<float> gradients) {
      double const truth = targets[item], m = y[0];
      // Derivative of the pinball loss by the prediction: -q above it, 1 - q below.
      double sum = 0;
      auto const head = [&](double prediction, double q) {
        bool const above = truth >= prediction;
        sum += above ? q * (truth - prediction) : (1 - q) * (prediction - truth);
        return above ? -q : 1 - q;
      };
      double const middle = head(m, 0.5), upper = head(m + softplus(y[1]), 0.9), lower = head(m - softplus(y[2]), 0.1);
      gradients[0] = static_cast<float>(middle + upper + lower);
      gradients[1] = static_cast<float>(upper * sigmoid(y[1]));
      gradients[2] = static_cast<float>(-lower * sigmoid(y[2]));
      return sum;
    };
    networks().assign(1, Mlp({width(), 128, 128, 3}, seed));
    train(networks().front(), standardised(rows, scaling()), one_row_each(rows.size()), rows.lineage, loss,
          options_for(rows.size()), seed);
  }

  Prediction predict(std::span<double const> row, double roofline_seconds) const override
  {
    auto const y = networks().front()(scaling().single(row));
    auto const seconds = [&](double value) { return roofline_seconds * std::exp(target().answer(value)); };
    return {seconds(y[0]), seconds(y[0] - softplus(y[2])), seconds(y[0] + softplus(y[1]))};
  }
};

/// Five networks that differ by seed and bootstrap: mean and deviation of log(time / roofline). The quantiles are those
/// of a normal distribution.
class Ensemble : public Perceptron
{
public:
  Ensemble() : Perceptron("ensemble5", 1) {}

  void fit(FeatureRows const& rows, std::uint64_t seed, bool /*warm*/) override
  {
    check(rows);
    auto const targets = log_ratios(rows);
    scale(rows, targets);
    networks().clear();
    auto const all = standardised(rows, scaling());
    auto const columns = static_cast<std::size_t>(width());
    for (std::uint32_t member = 0; member < 5; ++member) {
      RandomStream draws(seed, member, Purpose::bootstrap);
      std::vector<float> values;
      std::vector<double> drawn(rows.size());
      std::vector<std::int64_t> lineage(rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::size_t const from = draws.below(rows.size());
        values.insert(values.end(), all.begin() + static_cast<std::ptrdiff_t>(from * columns),
                      all.begin() + static_cast<std::ptrdiff_t>((from + 1) * columns));
        drawn[i] = target().in(targets[from]);
        lineage[i] = rows.lineage.empty() ? static_cast<std::int64_t>(from) : rows.lineage[from];
      }
      networks().emplace_back(std::vector<int>{width(), 128, 128, 1}, 5 * seed + member);
      train(networks().back(), values, one_row_each(rows.size()), lineage, squared_error(drawn),
            options_for(rows.size()), 5 * seed + member);
    }
  }

  Prediction predict(std::span<double const> row, double roofline_seconds) const override
  {
    auto const z = scaling().single(row);
    double sum = 0, squares = 0;
    for (auto const& network : networks()) {
      double const value = target().answer(network(z).front());
      sum += value;
      squares += value * value;
    }
    auto const n = static_cast<double>(networks().size());
    double const middle = sum / n, sd = std::sqrt(std::max(0.0, squares / n - middle * middle) * n / (n - 1));
    double const seconds = roofline_seconds * std::exp(middle);
    return {seconds, seconds * std::exp(-normal_90 * sd), seconds * std::exp(normal_90 * sd)};
  }

  void load(json::Value const& model, std::string const& source) override
  {
    Perceptron::load(model, source);
    require(networks().size() >= 2, source, ": an ensemble needs two networks at least, got ", networks().size());
  }
};

/// Justus et al. 2018: 32-64-128x4 relu, dropout 0.2, squared error of log(1 + milliseconds), Adam.
class JustusMlp : public Perceptron
{
public:
  JustusMlp() : Perceptron("justus-mlp", 1) {}

  void fit(FeatureRows const& rows, std::uint64_t seed, bool /*warm*/) override
  {
    check(rows);
    std::vector<double> targets(rows.size());
    for (std::size_t i = 0; i < targets.size(); ++i)
      targets[i] = std::log1p(1e3 * rows.seconds[i]);
    m_least = *std::min_element(rows.seconds.begin(), rows.seconds.end());
    scale(rows, targets);
    for (double& value : targets)
      value = target().in(value);
    auto options = options_for(rows.size());
    options.dropout = 0.2;
    networks().assign(1, Mlp({width(), 32, 64, 128, 128, 128, 128, 1}, seed));
    train(networks().front(), standardised(rows, scaling()), one_row_each(rows.size()), rows.lineage,
          squared_error(targets), options, seed);
  }

  Prediction predict(std::span<double const> row, double /*roofline_seconds*/) const override
  {
    double const seconds = 1e-3 * std::expm1(target().answer(networks().front()(scaling().single(row)).front()));
    return {.seconds = std::max(seconds, 0.1 * m_least)}; // log(1 + t) may be predicted below 0
  }

  json::Object save() const override { return {{"least", m_least}, {"network", Perceptron::save()}}; }
  void load(json::Value const& model, std::string const& source) override
  {
    json::Reader reader(model, source);
    m_least = reader.number("least", json::above(0));
    Perceptron::load(reader.value("network"), reader.what("network"));
    reader.finish();
  }

private:
  double m_least = 0; ///< of the training times
};

} // namespace

std::unique_ptr<Regressor> make_perceptron(std::string const& method)
{
  if (method == "paper-mlp") return std::make_unique<PaperMlp>();
  if (method == "quantile-mlp") return std::make_unique<QuantileMlp>();
  if (method == "ensemble5") return std::make_unique<Ensemble>();
  if (method == "justus-mlp") return std::make_unique<JustusMlp>();
  return nullptr;
}

} // namespace nasturtium::estimator
