// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "network_plan.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <numeric>
#include <set>

namespace nasturtium::nn::impl {

namespace {

std::int64_t align_up(std::int64_t value, std::int64_t to)
{
  return (value + to - 1) / to * to;
}

bool is_relu(spec::Op const& op)
{
  auto const* activation = std::get_if<spec::Activation>(&op);
  return activation && activation->kind == spec::ActivationKind::relu;
}

/// The backward pass of these reads the op's input; that of the others its output.
bool activation_reads_src(spec::ActivationKind kind)
{
  return kind == spec::ActivationKind::gelu || kind == spec::ActivationKind::silu;
}

/// Builds the list of steps.
class Builder
{
public:
  explicit Builder(Plan& plan) : m_plan(plan), m_nodes(plan.inferred.nodes) {}

  void build()
  {
    find_values();
    m_absorbed.assign(m_nodes.size(), false);
    m_delayed.assign(m_nodes.size(), -1);
    m_producer.assign(m_plan.values.size(), -1);
    for (int position = 0; position < static_cast<int>(m_nodes.size()); ++position) {
      if (!m_absorbed[position]) emit(position);
    }
    plan_backward();
  }

private:
  Plan& m_plan;
  std::vector<spec::NodeInfo> const& m_nodes;
  std::vector<int> m_value;                  ///< per node: its value
  std::vector<std::vector<int>> m_consumers; ///< per value: nodes that read it (once per read)
  std::vector<bool> m_absorbed;              ///< per node: part of another step
  std::vector<int> m_delayed;                ///< per add node: the batch_norm that is executed there, or -1
  std::vector<int> m_producer;               ///< per value: step

  spec::Op const& op(int position) const { return m_plan.architecture.nodes[m_nodes[position].node].op; }

  int value_of_input(int input) const { return input < 0 ? 0 : m_value[input]; }

  /// Ops that do nothing share the value of their input.
  bool is_alias(int position) const
  {
    auto const& it = op(position);
    if (auto const* dropout = std::get_if<spec::Dropout>(&it)) return dropout->rate == 0;
    return std::holds_alternative<spec::Flatten>(it) || std::holds_alternative<spec::Identity>(it);
  }

  void find_values()
  {
    m_plan.values.push_back(m_plan.architecture.input);
    for (int position = 0; position < static_cast<int>(m_nodes.size()); ++position) {
      if (is_alias(position)) {
        m_value.push_back(value_of_input(m_nodes[position].inputs[0]));
        continue;
      }
      m_value.push_back(static_cast<int>(m_plan.values.size()));
      m_plan.values.push_back(m_nodes[position].out);
    }
    m_consumers.resize(m_plan.values.size());
    for (int position = 0; position < static_cast<int>(m_nodes.size()); ++position) {
      if (is_alias(position)) continue;
      for (int const input : m_nodes[position].inputs)
        m_consumers[value_of_input(input)].push_back(position);
    }
    m_plan.output = m_value.back();
  }

  /// The one node that reads a value, or -1 where there are more or the loss reads it.
  int sole_consumer(int value) const
  {
    return value != m_plan.output && m_consumers[value].size() == 1 ? m_consumers[value][0] : -1;
  }

  /// Takes the relu behind the step's output into the step, if there is one.
  void absorb_relu(Step& step)
  {
    int const next = sole_consumer(step.dst);
    if (next < 0 || !is_relu(op(next))) return;
    step.relu = true;
    step.dst = m_value[next];
    m_absorbed[next] = true;
  }

  int parameter(int position, std::string const& name) const
  {
    for (int i = 0; i < static_cast<int>(m_plan.parameters.size()); ++i) {
      if (m_plan.parameters[i].info == position && m_plan.parameters[i].name == name) return i;
    }
    return -1;
  }

  bool is_trained(int parameter) const { return parameter >= 0 && m_plan.parameters[parameter].trained; }

  void push(Step step)
  {
    step.trained = is_trained(step.kernel) || is_trained(step.gamma);
    m_producer[step.dst] = static_cast<int>(m_plan.steps.size());
    m_plan.steps.push_back(std::move(step));
  }

  void emit(int position)
  {
    if (is_alias(position)) return;
    Step step;
    step.info = position;
    step.dst = m_value[position];
    for (int const input : m_nodes[position].inputs)
      step.src.push_back(value_of_input(input));
    auto const& it = op(position);
    if (std::holds_alternative<spec::Conv2d>(it) || std::holds_alternative<spec::Dense>(it)) {
      step.kind = std::holds_alternative<spec::Conv2d>(it) ? StepKind::conv2d : StepKind::dense;
      step.kernel = parameter(position, "kernel");
      step.bias = parameter(position, "bias");
      absorb_relu(step);
    } else if (std::holds_alternative<spec::BatchNorm>(it)) {
      // bn -> add: executed where the add is, when the other summand is there. (Not for x + bn(x): one kernel cannot
      // write two gradients to one place.)
      int const next = sole_consumer(step.dst);
      if (next >= 0 && std::holds_alternative<spec::Add>(op(next)) && m_nodes[next].inputs.size() == 2 &&
          m_delayed[next] < 0 && value_of_input(m_nodes[next].inputs[0]) != step.src[0] &&
          value_of_input(m_nodes[next].inputs[1]) != step.src[0]) {
        m_delayed[next] = position;
        return;
      }
      emit_batch_norm(std::move(step));
      return;
    } else if (std::holds_alternative<spec::Add>(it)) {
      if (int const batch_norm = m_delayed[position]; batch_norm >= 0) {
        auto const summands = step.src;
        step.info = batch_norm;
        step.src = {value_of_input(m_nodes[batch_norm].inputs[0])};
        step.residual = summands[0] == m_value[batch_norm] ? summands[1] : summands[0];
        emit_batch_norm(std::move(step));
        return;
      }
      step.kind = StepKind::add;
    } else if (std::holds_alternative<spec::Activation>(it)) {
      step.kind = StepKind::activation;
    } else if (auto const* pool = std::get_if<spec::Pool2d>(&it)) {
      step.kind = StepKind::pool;
      int const producer = m_producer[step.src[0]];
      // relu and max pooling commute, gradients included: the largest value of a window passes the relu or none does.
      if (pool->kind == spec::PoolKind::max && producer >= 0 && m_plan.steps[producer].relu &&
          sole_consumer(step.src[0]) == position) {
        m_plan.steps[producer].mask_in_pool = true;
        step.masks = true;
      }
    } else if (std::holds_alternative<spec::GlobalAvgPool>(it)) {
      step.kind = StepKind::global_avg_pool;
    } else if (std::holds_alternative<spec::Dropout>(it)) {
      step.kind = StepKind::dropout;
    } else if (std::holds_alternative<spec::Slice>(it)) {
      step.kind = StepKind::slice;
    } else if (std::holds_alternative<spec::PadChannels>(it)) {
      step.kind = StepKind::pad_channels;
    } else {
      step.kind = StepKind::concat;
    }
    push(std::move(step));
  }

  void emit_batch_norm(Step step)
  {
    step.kind = StepKind::batch_norm;
    step.gamma = parameter(step.info, "gamma");
    step.beta = parameter(step.info, "beta");
    step.moving_mean = parameter(step.info, "moving_mean");
    step.moving_variance = parameter(step.info, "moving_variance");
    if (is_trained(step.gamma)) {
      m_plan.norm_channels = std::max(m_plan.norm_channels, m_plan.inferred.nodes[step.info].out.channels);
      // (A flatten in between makes other channels, and other statistics.)
      if (int const number = m_producer[step.src[0]]; number >= 0) {
        auto& producer = m_plan.steps[number];
        bool const contraction = producer.kind == StepKind::conv2d || producer.kind == StepKind::dense;
        if (contraction && !producer.relu && producer.statistics_for < 0 &&
            m_nodes[producer.info].out == m_nodes[step.info].out) {
          producer.statistics_for = static_cast<int>(m_plan.steps.size());
          step.statistics_of = number;
        }
      }
    }
    absorb_relu(step);
    push(std::move(step));
  }

  void plan_backward()
  {
    std::vector<bool> wanted(m_plan.values.size(), false);
    for (auto& step : m_plan.steps) {
      step.backward = step.trained || (step.residual >= 0 && wanted[step.residual]) ||
                      std::any_of(step.src.begin(), step.src.end(), [&](int value) { return wanted[value]; });
      wanted[step.dst] = step.backward;
    }
    m_plan.output_gradient = wanted[m_plan.output];
    std::vector<bool> written(m_plan.values.size(), false);
    auto const write = [&](int value) {
      if (!wanted[value]) return GradientMode::none;
      auto const mode = written[value] ? GradientMode::accumulate : GradientMode::overwrite;
      written[value] = true;
      return mode;
    };
    for (auto step = m_plan.steps.rbegin(); step != m_plan.steps.rend(); ++step) {
      step->gradients.assign(step->src.size(), GradientMode::none);
      if (!step->backward) continue;
      if (step->residual >= 0) step->residual_gradient = write(step->residual);
      bool alias = step->kind == StepKind::activation || step->kind == StepKind::add ||
                   (step->kind == StepKind::batch_norm && step->residual_gradient != GradientMode::accumulate);
      for (std::size_t i = 0; i < step->src.size(); ++i) {
        int const value = step->src[i];
        bool const alone = value != m_plan.output && m_consumers[value].size() == 1;
        if (alias && alone && wanted[value]) {
          step->gradients[i] = GradientMode::alias;
          written[value] = true;
          alias = false;
        } else {
          step->gradients[i] = write(value);
        }
      }
    }
  }
};

/// Gives every tensor of a pass its block.
class Placer
{
public:
  Placer(Plan const& plan, bool training, int batch, int value_bytes, std::int64_t rows_per_chunk)
      : m_plan(plan), m_training(training), m_batch(batch), m_value_bytes(value_bytes),
        m_rows_per_chunk(rows_per_chunk), m_loss(static_cast<int>(plan.steps.size()))
  {
  }

  Layout make()
  {
    auto const steps = m_plan.steps.size();
    m_layout.value.assign(m_plan.values.size(), -1);
    m_layout.gradient.assign(m_plan.values.size(), -1);
    for (auto* list : {&m_layout.moments, &m_layout.saved, &m_layout.argmax, &m_layout.spare})
      list->assign(steps, -1);
    count_reads();
    m_layout.value[0] = add(values_of(0), -1);
    for (int i = 0; i < m_loss; ++i)
      forward(i);
    use(m_layout.value[m_plan.output], m_loss);
    if (m_training) {
      if (m_plan.output_gradient) m_layout.gradient[m_plan.output] = add(values_of(m_plan.output), m_loss);
      for (int i = m_loss - 1; i >= 0; --i)
        backward(i);
    }
    m_layout.bytes = place(m_layout.blocks);
    return std::move(m_layout);
  }

private:
  Plan const& m_plan;
  bool m_training;
  int m_batch, m_value_bytes;
  std::int64_t m_rows_per_chunk;
  int m_loss;
  Layout m_layout;
  std::vector<int> m_reads;        ///< per value: steps (and the loss) that read it
  std::vector<bool> m_output_kept; ///< per value: its producer's backward pass reads it

  std::int64_t values_of(int value) const { return m_batch * m_plan.values[value].size() * m_value_bytes; }

  int add(std::int64_t bytes, int time)
  {
    m_layout.blocks.push_back({align_up(std::max<std::int64_t>(bytes, 1), alignment), time, time, 0});
    return static_cast<int>(m_layout.blocks.size()) - 1;
  }

  void use(int block, int time)
  {
    auto& it = m_layout.blocks[block];
    it.first = std::min(it.first, time);
    it.last = std::max(it.last, time);
  }

  spec::Op const& op(Step const& step) const
  {
    return m_plan.architecture.nodes[m_plan.inferred.nodes[step.info].node].op;
  }

  /// The backward pass of a step reads its own output.
  bool keeps_output(Step const& step) const
  {
    if (!m_training || !step.backward) return false;
    if (step.masks) return true;
    if (step.kind == StepKind::activation) return !activation_reads_src(std::get<spec::Activation>(op(step)).kind);
    return step.relu && !step.mask_in_pool;
  }

  void count_reads()
  {
    m_reads.assign(m_plan.values.size(), 0);
    m_output_kept.assign(m_plan.values.size(), false);
    m_reads[m_plan.output] = 1;
    for (auto const& step : m_plan.steps) {
      for (int const value : step.src)
        ++m_reads[value];
      if (step.residual >= 0) ++m_reads[step.residual];
      m_output_kept[step.dst] = keeps_output(step);
    }
  }

  /// The value that the output of a step overwrites, or -1.
  int overwritten(Step const& step) const
  {
    auto const free = [&](int value) { return m_reads[value] == 1 && !m_output_kept[value]; };
    switch (step.kind) {
    case StepKind::activation: {
      bool const reads_src = activation_reads_src(std::get<spec::Activation>(op(step)).kind);
      if (m_training && step.backward && reads_src) return -1;
      return free(step.src[0]) ? step.src[0] : -1;
    }
    case StepKind::batch_norm:
      return (!m_training || !step.trained) && free(step.src[0]) ? step.src[0] : -1;
    case StepKind::dropout:
      return !m_training && free(step.src[0]) ? step.src[0] : -1;
    case StepKind::add:
      if (free(step.src[0])) return step.src[0];
      return free(step.src[1]) ? step.src[1] : -1;
    default:
      return -1;
    }
  }

  void forward(int i)
  {
    auto const& step = m_plan.steps[i];
    for (int const value : step.src)
      use(m_layout.value[value], i);
    if (step.residual >= 0) use(m_layout.value[step.residual], i);
    int const in_place = overwritten(step);
    m_layout.value[step.dst] = in_place >= 0 ? m_layout.value[in_place] : add(values_of(step.dst), i);
    use(m_layout.value[step.dst], i);
    if (!m_training) return;
    auto const& shape = m_plan.inferred.nodes[step.info].out;
    if (step.statistics_for >= 0) statistics(i, step.statistics_for);
    if (step.kind == StepKind::batch_norm && step.trained) {
      if (step.statistics_of < 0) statistics(i, i);
      use(m_layout.saved[i], i);
    }
    if (step.kind == StepKind::pool && std::get<spec::Pool2d>(op(step)).kind == spec::PoolKind::max && step.backward) {
      m_layout.argmax[i] = add(m_batch * shape.size(), i);
    }
  }

  /// Step i gives the statistics of a batch_norm.
  void statistics(int i, int batch_norm)
  {
    auto const& shape = m_plan.inferred.nodes[m_plan.steps[batch_norm].info].out;
    m_layout.moments[i] = add(moment_bytes(shape), i);
    m_layout.saved[batch_norm] = add(2 * align_up(std::int64_t{shape.channels} * m_value_bytes, alignment), i);
  }

  std::int64_t moment_bytes(spec::Shape const& shape) const
  {
    std::int64_t const rows = std::int64_t{m_batch} * shape.height * shape.width;
    return align_up(rows, m_rows_per_chunk) / m_rows_per_chunk * 2 * shape.channels * m_value_bytes;
  }

  void gradient(int value, GradientMode mode, int dst, int time)
  {
    auto& block = m_layout.gradient[value];
    if (mode == GradientMode::alias) {
      block = m_layout.gradient[dst];
    } else if (mode == GradientMode::overwrite) {
      block = add(values_of(value), time);
    }
    if (mode != GradientMode::none) use(block, time);
  }

  void backward(int i)
  {
    auto const& step = m_plan.steps[i];
    if (!step.backward) return;
    int const time = 2 * m_loss - i;
    use(m_layout.gradient[step.dst], time);
    bool const reads_src = step.trained || (step.kind == StepKind::activation &&
                                            activation_reads_src(std::get<spec::Activation>(op(step)).kind));
    if (reads_src) use(m_layout.value[step.src[0]], time);
    if (keeps_output(step)) use(m_layout.value[step.dst], time);
    if (m_layout.saved[i] >= 0) use(m_layout.saved[i], time);
    if (m_layout.argmax[i] >= 0) use(m_layout.argmax[i], time);
    if (step.residual >= 0) gradient(step.residual, step.residual_gradient, step.dst, time);
    for (std::size_t k = 0; k < step.src.size(); ++k)
      gradient(step.src[k], step.gradients[k], step.dst, time);
    if (step.kind == StepKind::batch_norm && step.trained && step.gradients[0] == GradientMode::none) {
      m_layout.spare[i] = add(values_of(step.src[0]), time);
    }
  }
};

/// Throws Error where a frozen node is unknown or owns no weights.
void check_frozen(Plan const& plan, std::set<std::string> const& frozen)
{
  for (auto const& id : frozen) {
    auto const& nodes = plan.inferred.nodes;
    auto const found = std::find_if(nodes.begin(), nodes.end(), [&](spec::NodeInfo const& info) {
      return plan.architecture.nodes[info.node].id == id;
    });
    require(found != nodes.end(), "frozen: node ", quoted(id), " is not in the architecture");
    require(!found->parameters.empty(), "frozen: node '", id, "' (",
            spec::op_name(plan.architecture.nodes[found->node].op), ") owns no weights");
  }
}

void place_parameters(Plan& plan, int value_bytes, std::set<std::string> const& frozen)
{
  auto const& nodes = plan.inferred.nodes;
  for (int position = 0; position < static_cast<int>(nodes.size()); ++position) {
    for (auto const& info : nodes[position].parameters) {
      auto const count = std::accumulate(info.extent.begin(), info.extent.end(), std::int64_t{1}, std::multiplies<>());
      auto const& id = plan.architecture.nodes[nodes[position].node].id;
      plan.parameters.push_back(
          {position, id, info.name, info.extent, count, 0, info.trainable && frozen.count(id) == 0});
    }
  }
  std::int64_t const step = alignment / value_bytes;
  auto const place_if = [&](auto const& belongs, std::int64_t& end) {
    for (auto& parameter : plan.parameters) {
      if (!belongs(parameter)) continue;
      parameter.offset = end;
      end = align_up(end + parameter.count, step);
    }
  };
  auto const is_kernel = [](Parameter const& it) { return it.trained && it.name == "kernel"; };
  place_if(is_kernel, plan.weight_count);
  plan.decay_count = plan.weight_count;
  place_if([&](Parameter const& it) { return it.trained && !is_kernel(it); }, plan.weight_count);
  place_if([](Parameter const& it) { return !it.trained; }, plan.fixed_count);
}

} // namespace

std::vector<std::string> slot_names(OptimiserKind kind)
{
  switch (kind) {
  case OptimiserKind::sgd:
    return {"velocity"};
  case OptimiserKind::adam:
  case OptimiserKind::adamw:
    return {"first_moment", "second_moment"};
  case OptimiserKind::rmsprop:
    return {"mean_square", "velocity"};
  }
  return {};
}

std::int64_t place(std::vector<Block>& blocks)
{
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return blocks[a].bytes > blocks[b].bytes; });
  std::int64_t total = 0;
  std::vector<int> placed; // by offset
  for (int const index : order) {
    auto& block = blocks[index];
    // Lowest gap between those placed blocks that are alive at the same time.
    std::int64_t offset = 0;
    for (int const other_index : placed) {
      auto const& other = blocks[other_index];
      if (other.last < block.first || block.last < other.first) continue;
      if (offset + block.bytes <= other.offset) break;
      offset = std::max(offset, other.offset + other.bytes);
    }
    block.offset = offset;
    total = std::max(total, offset + block.bytes);
    auto const where = std::upper_bound(placed.begin(), placed.end(), offset,
                                        [&](std::int64_t value, int other) { return value < blocks[other].offset; });
    placed.insert(where, index);
  }
  return total;
}

Plan make_plan(spec::Architecture const& architecture, int batch, int value_bytes, std::int64_t rows_per_chunk,
               std::vector<std::string> const& frozen)
{
  Plan plan;
  plan.architecture = architecture;
  plan.inferred = spec::infer(architecture);
  std::set<std::string> const ids(frozen.begin(), frozen.end());
  check_frozen(plan, ids);
  place_parameters(plan, value_bytes, ids);
  Builder(plan).build();
  require(ids.empty() || plan.output_gradient, "frozen: all weights are frozen, nothing is left to train");
  plan.training = Placer(plan, true, batch, value_bytes, rows_per_chunk).make();
  plan.inference = Placer(plan, false, batch, value_bytes, rows_per_chunk).make();
  return plan;
}

std::vector<std::string> describe(Plan const& plan)
{
  std::vector<std::string> lines;
  for (auto const& step : plan.steps) {
    auto const& node = plan.architecture.nodes[plan.inferred.nodes[step.info].node];
    auto const& out = plan.values[step.dst];
    std::string line = concat(node.id, ": ", spec::op_name(node.op));
    if (step.residual >= 0) line += " + add";
    if (step.relu) line += " + relu";
    if (step.statistics_for >= 0) line += " + statistics";
    if (step.masks) line += " (masks the gradient for the relu before it)";
    line += concat(" -> ", out.height, " x ", out.width, " x ", out.channels);
    if (plan.training.value[step.dst] == plan.training.value[step.src[0]]) line += ", in place";
    if (!step.trained && (step.kernel >= 0 || step.gamma >= 0)) line += ", frozen";
    if (!step.backward) line += ", no backward pass";
    lines.push_back(line);
  }
  return lines;
}

} // namespace nasturtium::nn::impl
