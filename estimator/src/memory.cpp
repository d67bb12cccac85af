// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/memory.hpp>

#include "one_sided.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nn/stepper.hpp>

#include <algorithm>
#include <cmath>
#include <variant>

namespace nasturtium::estimator {
namespace {

namespace spec = nn::spec;

constexpr double word = 4; // bytes

/// Who reads what when: forward of node p is time p, the loss n, backward of p is 2n - p.
class Liveness
{
public:
  Liveness(Workload const& workload, MemoryRules const& rules)
      : m_architecture(workload.architecture), m_inferred(spec::infer(workload.architecture)), m_rules(rules),
        m_batch(workload.batch), m_training(workload.optimiser != Optimiser::none),
        m_count(static_cast<int>(m_inferred.nodes.size()))
  {
    find_values();
    m_tensor.assign(m_values.size(), -1);
    m_gradient.assign(m_values.size(), -1);
    m_tensor[0] = add(bytes_of(0), 0);
    for (int p = 0; p < m_count; ++p)
      forward(p);
    use(m_tensor[m_output], m_count);
    if (m_training) {
      loss();
      for (int p = m_count - 1; p >= 0; --p)
        backward(p);
    }
  }

  /// Sets activations, and gradients where they are freed at once, to what is alive at the worst moment.
  void peak(MemoryBreakdown& result) const
  {
    std::vector<double> change(static_cast<std::size_t>(2 * m_count + 2), 0);
    for (auto const& tensor : m_tensors) {
      change[static_cast<std::size_t>(tensor.first)] += tensor.bytes;
      change[static_cast<std::size_t>(tensor.last) + 1] -= tensor.bytes;
    }
    double alive = 0, worst = -1;
    for (int time = 0; time <= 2 * m_count; ++time) {
      alive += change[static_cast<std::size_t>(time)];
      double const own = m_rules.fused_update && time > m_count
                             ? word * static_cast<double>(info(2 * m_count - time).parameter_count)
                             : 0;
      if (alive + own <= worst) continue;
      worst = alive + own;
      result.activations = alive;
      if (m_rules.fused_update) result.gradients = own;
    }
  }

  double workspace() const
  {
    double most = 0;
    for (int p = 0; p < m_count; ++p) {
      auto const& node = info(p);
      bool const conv = std::holds_alternative<spec::Conv2d>(op(p));
      if (!conv && !std::holds_alternative<spec::Dense>(op(p))) continue;
      double bytes = conv ? m_rules.conv_scratch : m_rules.dense_scratch;
      if (m_rules.partial_sums) {
        // A pass over many pixels is cut into slices that are summed at the end.
        std::int64_t const pixels = std::int64_t{m_batch} * node.out.height * node.out.width;
        int slices = 1;
        while (slices < 16 && pixels >= std::int64_t{2048} * slices)
          slices *= 2;
        double const copies = slices > 1 ? slices : conv ? 1 : 0;
        bytes += copies * word * static_cast<double>(node.parameter_count);
      }
      most = std::max(most, bytes);
    }
    return most;
  }

  spec::Inferred const& inferred() const { return m_inferred; }

private:
  struct Tensor
  {
    double bytes = 0;
    int first = 0, last = 0;
  };

  spec::Architecture const& m_architecture;
  spec::Inferred m_inferred;
  MemoryRules const& m_rules;
  int m_batch;
  bool m_training;
  int m_count;
  std::vector<int> m_value;       ///< per node: its value; value 0 is the image
  std::vector<double> m_values;   ///< per value: bytes of the batch
  std::vector<int> m_producer;    ///< per value: node, or -1
  std::vector<int> m_readers;     ///< per value: reads, the loss' among them
  std::vector<int> m_sole_reader; ///< per value: the last node that reads it, or -1
  std::vector<bool> m_wanted;     ///< per value: something trainable is upstream
  std::size_t m_output = 0;       ///< value of the logits
  std::vector<Tensor> m_tensors;
  std::vector<int> m_tensor, m_gradient; ///< per value: position in m_tensors

  spec::NodeInfo const& info(int p) const { return m_inferred.nodes[static_cast<std::size_t>(p)]; }
  spec::Op const& op(int p) const { return m_architecture.nodes[static_cast<std::size_t>(info(p).node)].op; }
  double bytes_of(std::size_t value) const { return m_values[value]; }
  std::size_t value_of(int p) const { return static_cast<std::size_t>(m_value[static_cast<std::size_t>(p)]); }
  std::size_t value_of_input(int input) const { return input < 0 ? 0 : value_of(input); }
  double out_bytes(int p, double each) const { return each * m_batch * static_cast<double>(info(p).out.size()); }

  bool is_alias(int p) const
  {
    if (auto const* dropout = std::get_if<spec::Dropout>(&op(p))) return dropout->rate == 0 || !m_training;
    return std::holds_alternative<spec::Flatten>(op(p)) || std::holds_alternative<spec::Identity>(op(p));
  }

  void find_values()
  {
    m_values.push_back(word * m_batch * static_cast<double>(m_architecture.input.size()));
    m_producer.push_back(-1);
    for (int p = 0; p < m_count; ++p) {
      if (is_alias(p)) {
        m_value.push_back(static_cast<int>(value_of_input(info(p).inputs.front())));
        continue;
      }
      m_value.push_back(static_cast<int>(m_values.size()));
      m_values.push_back(out_bytes(p, word));
      m_producer.push_back(p);
    }
    m_output = value_of(m_count - 1);
    m_readers.assign(m_values.size(), 0);
    m_sole_reader.assign(m_values.size(), -1);
    m_wanted.assign(m_values.size(), false);
    m_readers[m_output] = 1;
    for (int p = 0; p < m_count; ++p) {
      if (is_alias(p)) continue;
      bool wanted = info(p).parameter_count > 0;
      for (int const input : info(p).inputs) {
        auto const value = value_of_input(input);
        ++m_readers[value];
        m_sole_reader[value] = p;
        wanted = wanted || m_wanted[value];
      }
      m_wanted[value_of(p)] = wanted;
    }
  }

  int add(double bytes, int time)
  {
    m_tensors.push_back({bytes, time, time});
    return static_cast<int>(m_tensors.size()) - 1;
  }
  void use(int tensor, int time)
  {
    auto& it = m_tensors[static_cast<std::size_t>(tensor)];
    it.last = std::max(it.last, time);
  }
  void keep(double bytes, int p) { use(add(bytes, p), 2 * m_count - p); }

  static bool reads_input(spec::Activation const& activation)
  {
    return activation.kind == spec::ActivationKind::gelu || activation.kind == spec::ActivationKind::silu;
  }

  bool is_relu(int p) const
  {
    auto const* activation = std::get_if<spec::Activation>(&op(p));
    return activation != nullptr && activation->kind == spec::ActivationKind::relu;
  }

  static bool is_max_pool(spec::Op const& op)
  {
    auto const* pool = std::get_if<spec::Pool2d>(&op);
    return pool != nullptr && pool->kind == spec::PoolKind::max;
  }

  /// The relu that is part of the weighted layer p, or -1.
  int fused_relu(int p) const
  {
    auto const value = value_of(p);
    int const next = m_readers[value] == 1 ? m_sole_reader[value] : -1;
    return m_rules.fused_relu && info(p).parameter_count > 0 && next >= 0 && is_relu(next) ? next : -1;
  }

  /// Such a relu before a max pool, and before nothing else: the pool masks the gradient for it.
  bool masked_by_pool(int p) const
  {
    int const before = m_producer[value_of_input(info(p).inputs.front())], behind = m_sole_reader[value_of(p)];
    return before >= 0 && fused_relu(before) == p && m_readers[value_of(p)] == 1 && behind >= 0 &&
           is_max_pool(op(behind));
  }

  bool masks_a_relu(int p) const
  {
    int const before = is_max_pool(op(p)) ? m_producer[value_of_input(info(p).inputs.front())] : -1;
    return before >= 0 && masked_by_pool(before);
  }

  /// The backward pass of node p reads its own output.
  bool keeps_output(int p) const
  {
    if (!m_training || p < 0 || !m_wanted[value_of(p)]) return false;
    if (auto const* activation = std::get_if<spec::Activation>(&op(p)))
      return !reads_input(*activation) && !masked_by_pool(p);
    return masks_a_relu(p);
  }

  /// The value that the output of p overwrites, or -1.
  int overwritten(int p) const
  {
    auto const free = [&](std::size_t value) { return m_readers[value] == 1 && !keeps_output(m_producer[value]); };
    auto const* activation = std::get_if<spec::Activation>(&op(p));
    bool const in_place = activation != nullptr && !(m_training && reads_input(*activation));
    if (!in_place && !std::holds_alternative<spec::Add>(op(p))) return -1;
    for (std::size_t i = 0; i < std::min<std::size_t>(info(p).inputs.size(), 2); ++i) {
      auto const value = value_of_input(info(p).inputs[i]);
      if (free(value)) return static_cast<int>(value);
    }
    return -1;
  }

  void forward(int p)
  {
    if (is_alias(p)) return;
    for (int const input : info(p).inputs)
      use(m_tensor[value_of_input(input)], p);
    int const source = overwritten(p);
    auto const value = value_of(p);
    m_tensor[value] = source >= 0 ? m_tensor[static_cast<std::size_t>(source)] : add(bytes_of(value), p);
    if (!m_training || !m_wanted[value]) return;
    if (std::holds_alternative<spec::BatchNorm>(op(p))) keep(2 * word * info(p).out.channels, p);
    if (std::holds_alternative<spec::Dropout>(op(p))) keep(out_bytes(p, m_rules.mask_bytes), p);
    if (is_max_pool(op(p))) keep(out_bytes(p, m_rules.index_bytes), p);
  }

  void loss()
  {
    if (!m_wanted[m_output]) return;
    bool const in_place = m_rules.loss_in_place && !keeps_output(m_producer[m_output]);
    m_gradient[m_output] = in_place ? m_tensor[m_output] : add(bytes_of(m_output), m_count);
  }

  void backward(int p)
  {
    if (is_alias(p) || !m_wanted[value_of(p)]) return;
    int const time = 2 * m_count - p;
    int const gradient = m_gradient[value_of(p)];
    use(gradient, time);
    auto const* activation = std::get_if<spec::Activation>(&op(p));
    if (info(p).parameter_count > 0 || (activation != nullptr && reads_input(*activation)))
      use(m_tensor[value_of_input(info(p).inputs.front())], time);
    if (keeps_output(p)) use(m_tensor[value_of(p)], time);
    if (int const relu = fused_relu(p); relu >= 0 && !masked_by_pool(relu)) use(m_tensor[value_of(relu)], time);
    bool pass_on = activation != nullptr || std::holds_alternative<spec::Add>(op(p)) ||
                   std::holds_alternative<spec::BatchNorm>(op(p));
    for (int const input : info(p).inputs) {
      auto const value = value_of_input(input);
      if (!m_wanted[value]) continue;
      auto& place = m_gradient[value];
      if (place < 0) {
        bool const shared = pass_on && m_readers[value] == 1;
        place = shared ? gradient : add(bytes_of(value), time);
        if (shared) pass_on = false;
      }
      use(place, time);
    }
  }
};

int words_of_state(Optimiser optimiser, MemoryRules const& rules)
{
  return optimiser == Optimiser::sgd ? rules.sgd_words : state_words(optimiser);
}

constexpr std::size_t columns = MemoryModel::terms + 1; // the constant first

std::array<double, columns> row_of(MemoryBreakdown const& terms)
{
  return {1, terms.weights, terms.gradients, terms.state, terms.activations, terms.workspace};
}

void check(std::span<MemoryExample const> examples)
{
  for (auto const& example : examples)
    require(std::isfinite(example.bytes) && example.bytes > 0, "memory: bytes must be positive and finite, got ",
            shortest(example.bytes));
}

} // namespace

MemoryRules memory_rules(std::string const& name)
{
  MemoryRules rules;
  if (name == "reference") return rules;
  require(name == "stack", "memory: rules must be reference or stack, got ", quoted(name));
  rules.loss_in_place = false;
  rules.mask_bytes = 0;
  rules.fused_relu = true;
  rules.sgd_words = 1;
  rules.partial_sums = true;
  return rules;
}

MemoryRules stack_memory_rules(nn::BackendKind backend)
{
  // Networks that take the scratch and next to nothing else.
  auto const workspace = [&](spec::Shape input, std::vector<spec::Node> nodes) {
    spec::Architecture network;
    network.input = input;
    network.classes = 2;
    network.nodes = std::move(nodes);
    return planned_memory({network, 1, Optimiser::sgd}, backend).workspace;
  };
  spec::Conv2d const conv{.filters = 2, .kernel = {3, 3}, .bias = false};
  spec::Shape const image{16, 16, 32};
  double const weights = word * 9 * image.channels * conv.filters;
  auto rules = memory_rules("stack");
  rules.dense_scratch = workspace({}, {{"output", spec::Dense{.units = 2}, {"input"}}});
  rules.conv_scratch = std::max(
      0.0, workspace(image, {{"conv", conv, {"input"}}, {"output", spec::GlobalAvgPool{}, {"conv"}}}) - weights);
  return rules;
}

MemoryBreakdown liveness_memory(Workload const& workload, MemoryRules const& rules)
{
  require(workload.batch >= 1, "batch must be at least 1, got ", workload.batch);
  Liveness const liveness(workload, rules);
  MemoryBreakdown result;
  auto const trained = static_cast<double>(liveness.inferred().parameter_count);
  double held = trained;
  for (auto const& node : liveness.inferred().nodes)
    for (auto const& parameter : node.parameters)
      if (!parameter.trainable) held += static_cast<double>(node.out.channels); // running statistics
  result.weights = word * held;
  if (workload.optimiser != Optimiser::none) {
    result.gradients = word * trained;
    result.state = word * words_of_state(workload.optimiser, rules) * trained;
  }
  liveness.peak(result);
  result.workspace = liveness.workspace();
  return result;
}

MemoryBreakdown planned_memory(Workload const& workload, nn::BackendKind backend)
{
  nn::TrainOptions options;
  options.batch_size = workload.batch;
  options.optimiser = to_options(workload.optimiser);
  auto const plan = nn::plan_memory(backend, workload.architecture, options);
  auto const real = [](std::int64_t bytes) { return static_cast<double>(bytes); };
  return {real(plan.network.weights),     real(plan.network.gradients), real(plan.network.optimiser),
          real(plan.network.activations), real(plan.network.workspace), real(plan.batch)};
}

void MemoryModel::fit(std::span<MemoryExample const> examples)
{
  require(!examples.empty(), "memory: no examples to fit");
  check(examples);
  // Normal equations of the relative errors, columns scaled to their means.
  std::array<std::array<double, columns>, columns> matrix{};
  std::array<double, columns> right{}, scale{}, preferred{0, 1, 1, 1, 1, 1};
  double const share = 1 / static_cast<double>(examples.size());
  for (auto const& example : examples) {
    auto const row = row_of(example.terms);
    for (std::size_t i = 0; i < columns; ++i)
      scale[i] += share * row[i] / example.bytes;
  }
  for (auto const& example : examples) {
    auto row = row_of(example.terms);
    for (std::size_t i = 0; i < columns; ++i)
      row[i] = scale[i] > 0 ? row[i] / (example.bytes * scale[i]) : 0;
    for (std::size_t i = 0; i < columns; ++i) {
      right[i] += share * row[i];
      for (std::size_t j = 0; j < columns; ++j)
        matrix[i][j] += share * row[i] * row[j];
    }
  }
  // Weights and gradients cannot be told apart by data: a trace of a pull towards the factor 1 settles it.
  std::array<double, columns> x{};
  for (std::size_t i = 0; i < columns; ++i) {
    x[i] = preferred[i] * scale[i];
    double const pull = 1e-6 * std::max(matrix[i][i], 1e-12);
    right[i] += pull * x[i];
    matrix[i][i] += pull;
  }
  // Coordinate descent; every coordinate stays >= 0.
  constexpr int sweeps = 20000;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    double change = 0;
    for (std::size_t i = 0; i < columns; ++i) {
      double residual = right[i];
      for (std::size_t j = 0; j < columns; ++j)
        residual -= matrix[i][j] * x[j];
      double const next = std::max(0.0, x[i] + residual / matrix[i][i]);
      change = std::max(change, std::abs(next - x[i]));
      x[i] = next;
    }
    if (change < 1e-12) break;
  }
  m_constant = x[0] / scale[0];
  for (std::size_t i = 0; i < terms; ++i)
    m_factors[i] = scale[i + 1] > 0 ? x[i + 1] / scale[i + 1] : 1;
  m_log_margin = std::numeric_limits<double>::infinity();
}

void MemoryModel::calibrate(std::span<MemoryExample const> examples, double level)
{
  require(level > 0 && level < 1, "memory: level must be in (0, 1), got ", shortest(level));
  check(examples);
  std::vector<double> scores;
  for (auto const& example : examples)
    scores.push_back(std::log(example.bytes / predict(example.terms).bytes));
  m_log_margin = impl::one_sided_limit(std::move(scores), 1 - level);
}

MemoryPrediction MemoryModel::predict(MemoryBreakdown const& it) const
{
  MemoryPrediction prediction;
  prediction.terms = {m_factors[0] * it.weights,     m_factors[1] * it.gradients, m_factors[2] * it.state,
                      m_factors[3] * it.activations, m_factors[4] * it.workspace, m_constant};
  prediction.bytes = prediction.terms.total();
  prediction.upper = prediction.bytes * std::exp(m_log_margin);
  return prediction;
}

std::string MemoryModel::save() const
{
  json::Array factors;
  for (double const factor : m_factors)
    factors.emplace_back(factor);
  return json::pretty(json::Object{{"format", "nasturtium-memory-model"},
                                   {"version", 1},
                                   {"constant", m_constant},
                                   {"factors", factors},
                                   {"log_margin", m_log_margin}}); // infinite: null
}

MemoryModel MemoryModel::load(std::string const& text, std::string const& source)
{
  auto const value = json::parse(text, source);
  json::Reader reader(value, source);
  json::check_format(reader, "nasturtium-memory-model", 1);
  MemoryModel model;
  model.m_constant = reader.number("constant", json::at_least(0));
  auto const& factors = reader.array("factors");
  require(factors.size() == terms, reader.what("factors"), " must have ", terms, " numbers, got ", factors.size());
  for (std::size_t i = 0; i < terms; ++i)
    model.m_factors[i] = json::to_number(factors[i], reader.what("factors"), json::at_least(0));
  auto const& margin = reader.value("log_margin");
  if (!margin.is_null()) model.m_log_margin = json::to_number(margin, reader.what("log_margin"));
  reader.finish();
  return model;
}

std::string name(MemoryVerdict verdict)
{
  switch (verdict) {
  case MemoryVerdict::fits:
    return "fits";
  case MemoryVerdict::too_close:
    return "too close";
  case MemoryVerdict::does_not_fit:
    return "does not fit";
  }
  return {};
}

MemoryVerdict memory_verdict(double bytes, double upper, double free_bytes)
{
  if (upper <= free_bytes) return MemoryVerdict::fits;
  return bytes <= free_bytes ? MemoryVerdict::too_close : MemoryVerdict::does_not_fit;
}

} // namespace nasturtium::estimator
