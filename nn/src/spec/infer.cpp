// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "limits.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <unordered_map>

namespace nasturtium::nn::spec {

namespace {

std::string text(Shape const& shape)
{
  return concat(shape.height, " x ", shape.width, " x ", shape.channels);
}

/// The edges of the graph by number; the image is -1.
struct Graph
{
  std::vector<std::vector<int>> inputs, readers;
};

Graph resolve(Architecture const& architecture, std::string const& source)
{
  std::unordered_map<std::string_view, int> number{{"input", -1}};
  for (std::size_t i = 0; i < architecture.nodes.size(); ++i)
    number.emplace(architecture.nodes[i].id, static_cast<int>(i));

  Graph graph;
  graph.inputs.resize(architecture.nodes.size());
  graph.readers.resize(architecture.nodes.size());
  for (std::size_t i = 0; i < architecture.nodes.size(); ++i) {
    Node const& node = architecture.nodes[i];
    for (std::string const& input : node.inputs) {
      auto const found = number.find(input);
      require(found != number.end(), source, ": node '", node.id, "': field 'inputs' names the unknown node '", input,
              "'");
      graph.inputs[i].push_back(found->second);
      if (found->second >= 0) graph.readers[static_cast<std::size_t>(found->second)].push_back(static_cast<int>(i));
    }
  }
  return graph;
}

/// One cycle among the nodes that are not `done`, as "a -> b -> a". Every such node has an input that is not done
/// either.
std::string cycle(Architecture const& architecture, Graph const& graph, std::vector<bool> const& done)
{
  auto const open_input = [&](int node) {
    auto const& inputs = graph.inputs[static_cast<std::size_t>(node)];
    return *std::find_if(inputs.begin(), inputs.end(),
                         [&](int input) { return input >= 0 && !done[static_cast<std::size_t>(input)]; });
  };
  std::vector<bool> seen(done.size());
  int node = static_cast<int>(std::find(done.begin(), done.end(), false) - done.begin());
  while (!seen[static_cast<std::size_t>(node)]) {
    seen[static_cast<std::size_t>(node)] = true;
    node = open_input(node);
  }
  std::vector<int> way{node}; // against the arrows
  do
    way.push_back(open_input(way.back()));
  while (way.back() != node);
  std::string result;
  std::size_t const shown = std::min<std::size_t>(way.size() - 1, 8);
  for (std::size_t i = 0; i < shown; ++i)
    result += architecture.nodes[static_cast<std::size_t>(way[way.size() - 1 - i])].id + " -> ";
  return result + (shown + 1 < way.size() ? "... -> " : "") + architecture.nodes[static_cast<std::size_t>(node)].id;
}

/// Execution order: a node as soon as its inputs are there, the one written first of those that are ready.
std::vector<int> execution_order(Architecture const& architecture, Graph const& graph, std::string const& source)
{
  std::size_t const count = architecture.nodes.size();
  std::vector<std::size_t> missing(count);
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (std::size_t i = 0; i < count; ++i) {
    missing[i] = static_cast<std::size_t>(
        std::count_if(graph.inputs[i].begin(), graph.inputs[i].end(), [](int input) { return input >= 0; }));
    if (missing[i] == 0) ready.push(static_cast<int>(i));
  }
  std::vector<int> order;
  std::vector<bool> done(count);
  while (!ready.empty()) {
    int const node = ready.top();
    ready.pop();
    done[static_cast<std::size_t>(node)] = true;
    order.push_back(node);
    for (int const reader : graph.readers[static_cast<std::size_t>(node)])
      if (--missing[static_cast<std::size_t>(reader)] == 0) ready.push(reader);
  }
  if (order.size() < count) {
    std::string const way = cycle(architecture, graph, done);
    fail(source, ": node '", way.substr(0, way.find(' ')), "': its inputs form a cycle: ", way);
  }
  return order;
}

/// Fills in what follows from the op and the shapes of the inputs.
class OpInference
{
public:
  OpInference(std::string where, NodeInfo& info) : m_where(std::move(where)), m_info(info) {}

  void operator()(Conv2d const& conv)
  {
    Shape const in = m_info.in.front();
    require(in.channels % conv.groups == 0, m_where, "field 'groups' must divide the input's channels (", in.channels,
            "), got ", conv.groups);
    slide(conv.kernel, conv.stride, conv.dilation, conv.padding);
    m_info.out.channels = conv.filters;
    int const group_channels = in.channels / conv.groups;
    parameter("kernel", {conv.kernel[0], conv.kernel[1], group_channels, conv.filters});
    if (conv.bias) parameter("bias", {conv.filters});
    m_info.forward_flops =
        2.0 * static_cast<double>(m_info.out.size()) * conv.kernel[0] * conv.kernel[1] * group_channels;
  }
  void operator()(Dense const& dense)
  {
    std::int64_t const in = m_info.in.front().size();
    m_info.out = {1, 1, dense.units};
    parameter("kernel", {in, dense.units});
    if (dense.bias) parameter("bias", {dense.units});
    m_info.forward_flops = 2.0 * static_cast<double>(in) * dense.units;
  }
  void operator()(BatchNorm const&)
  {
    m_info.out = m_info.in.front();
    for (char const* const name : {"gamma", "beta"})
      parameter(name, {m_info.out.channels});
    for (char const* const name : {"moving_mean", "moving_variance"})
      parameter(name, {m_info.out.channels}, false);
  }
  void operator()(Pool2d const& pool)
  {
    slide(pool.kernel, pool.stride, {1, 1}, pool.padding);
    m_info.out.channels = m_info.in.front().channels;
  }
  void operator()(GlobalAvgPool const&) { m_info.out = {1, 1, m_info.in.front().channels}; }
  void operator()(Flatten const&) { m_info.out = {1, 1, static_cast<int>(m_info.in.front().size())}; }
  void operator()(Add const&)
  {
    m_info.out = m_info.in.front();
    for (Shape const& in : m_info.in)
      require(in == m_info.out, m_where, "field 'inputs' must have equal shapes, got ", text(m_info.out), " and ",
              text(in));
  }
  void operator()(Concat const&)
  {
    Shape const first = m_info.in.front();
    std::int64_t channels = 0;
    for (Shape const& in : m_info.in) {
      require(in.height == first.height && in.width == first.width, m_where,
              "field 'inputs' must have equal heights and widths, got ", text(first), " and ", text(in));
      channels += in.channels;
    }
    require(channels <= impl::max_values, m_where, "its output must have at most ", impl::max_values, " values, got ",
            channels, " channels");
    m_info.out = {first.height, first.width, static_cast<int>(channels)};
  }
  void operator()(Slice const& slice)
  {
    m_info.out = m_info.in.front();
    require(slice.size <= m_info.out.channels - slice.begin, m_where, "fields 'begin' and 'size' ask for channels [",
            slice.begin, ", ", std::int64_t{slice.begin} + slice.size, ") of ", m_info.out.channels);
    m_info.out.channels = slice.size;
  }
  void operator()(PadChannels const& pad)
  {
    m_info.out = m_info.in.front();
    require(pad.channels >= m_info.out.channels, m_where, "field 'channels' must be at least those of the input (",
            m_info.out.channels, "), got ", pad.channels);
    m_info.out.channels = pad.channels;
  }
  template <class Elementwise>
  void operator()(Elementwise const&)
  {
    m_info.out = m_info.in.front();
  }

private:
  /// Output height and width, and the padding, of a window that slides over the input.
  void slide(std::array<int, 2> const& kernel, std::array<int, 2> const& stride, std::array<int, 2> const& dilation,
             Padding const& padding)
  {
    Shape const in = m_info.in.front();
    std::array<int, 2> const extent{in.height, in.width};
    std::array<int, 2> out{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      int const window = dilation[axis] * (kernel[axis] - 1) + 1;
      int& before = m_info.padding[2 * axis];
      int& after = m_info.padding[2 * axis + 1];
      if (padding.kind == PaddingKind::same) {
        int const wanted = (extent[axis] + stride[axis] - 1) / stride[axis];
        int const total = std::max(0, (wanted - 1) * stride[axis] + window - extent[axis]);
        before = total / 2;
        after = total - before;
      } else if (padding.kind == PaddingKind::explicit_) {
        before = padding.amounts[2 * axis];
        after = padding.amounts[2 * axis + 1];
      }
      int const padded = extent[axis] + before + after;
      require(window <= padded, m_where, "field 'kernel' reaches over ", window,
              " pixels, more than the padded input's ", axis == 0 ? "height" : "width", " of ", padded);
      out[axis] = (padded - window) / stride[axis] + 1;
    }
    m_info.out.height = out[0];
    m_info.out.width = out[1];
  }

  void parameter(std::string name, std::vector<std::int64_t> extent, bool trainable = true)
  {
    std::int64_t count = 1;
    for (std::int64_t const e : extent) {
      require(e <= impl::max_values / count, m_where, "its parameter '", name, "' must have at most ", impl::max_values,
              " values");
      count *= e;
    }
    if (trainable) m_info.parameter_count += count;
    m_info.parameters.push_back({std::move(name), std::move(extent), trainable});
  }

  std::string m_where;
  NodeInfo& m_info;
};

/// True where training need not keep the output of `producer`, whose only reader is `reader`.
bool works_in_place(Op const& producer, Op const& reader)
{
  if (std::holds_alternative<Flatten>(reader) || std::holds_alternative<Identity>(reader)) return true;
  if (std::holds_alternative<Add>(reader)) return std::holds_alternative<BatchNorm>(producer);
  auto const* const activation = std::get_if<Activation>(&reader);
  // The gradients of gelu and silu need their input.
  return activation != nullptr && activation->kind != ActivationKind::gelu && activation->kind != ActivationKind::silu;
}

void check_size(Shape const& shape, std::string const& where)
{
  // height * width fits 64 bits by far: each is at most 2^30.
  std::int64_t const pixels = std::int64_t{shape.height} * shape.width;
  require(pixels <= impl::max_values / shape.channels, where, "its output must have at most ", impl::max_values,
          " values, got ", text(shape));
}

} // namespace

Inferred infer(Architecture const& architecture, std::string const& source)
{
  impl::check_fields(architecture, source);
  Graph const graph = resolve(architecture, source);
  std::vector<int> const order = execution_order(architecture, graph, source);

  std::size_t const count = order.size();
  int output = -1; // of those that nobody reads, the one written last
  for (std::size_t i = 0; i < count; ++i)
    if (graph.readers[i].empty()) output = static_cast<int>(i);
  for (std::size_t i = 0; i < count; ++i) {
    require(!graph.readers[i].empty() || static_cast<int>(i) == output, source, ": node '", architecture.nodes[i].id,
            "': nothing reads it, and the output is '", architecture.nodes[static_cast<std::size_t>(output)].id, "'");
  }

  Inferred inferred;
  inferred.nodes.resize(count);
  std::vector<int> position(count);
  std::vector<bool> needs_gradient(count); // by position: something at or above this node is trained
  for (std::size_t p = 0; p < count; ++p) {
    Node const& node = architecture.nodes[static_cast<std::size_t>(order[p])];
    position[static_cast<std::size_t>(order[p])] = static_cast<int>(p);
    NodeInfo& info = inferred.nodes[p];
    info.node = order[p];
    bool inputs_need_gradient = false;
    for (int const input : graph.inputs[static_cast<std::size_t>(order[p])]) {
      int const from = input < 0 ? -1 : position[static_cast<std::size_t>(input)];
      info.inputs.push_back(from);
      info.in.push_back(from < 0 ? architecture.input : inferred.nodes[static_cast<std::size_t>(from)].out);
      inputs_need_gradient = inputs_need_gradient || (from >= 0 && needs_gradient[static_cast<std::size_t>(from)]);
    }
    std::string const where = concat(source, ": node '", node.id, "': ");
    std::visit(OpInference(where, info), node.op);
    check_size(info.out, where);

    needs_gradient[p] = inputs_need_gradient || info.parameter_count > 0;
    inferred.forward_flops += info.forward_flops;
    inferred.training_flops += (inputs_need_gradient ? 3 : 2) * info.forward_flops;
    inferred.parameter_count += info.parameter_count;
    inferred.activation_values += info.out.size();

    auto const& readers = graph.readers[static_cast<std::size_t>(order[p])];
    bool const in_place = readers.size() == 1 &&
                          works_in_place(node.op, architecture.nodes[static_cast<std::size_t>(readers.front())].op);
    info.kept_values = in_place ? 0 : info.out.size();
  }

  std::int64_t const values = inferred.nodes.back().out.size();
  int const wanted = architecture.classes != 0 ? architecture.classes : architecture.regression;
  require(values == wanted, source, ": node '", architecture.nodes[static_cast<std::size_t>(output)].id,
          "': the output has ", values, " values (", text(inferred.nodes.back().out), "), but '",
          architecture.classes != 0 ? "classes" : "regression", "' is ", wanted);
  return inferred;
}

MemoryEstimate estimate_memory(Inferred const& inferred, int batch, int bytes_per_value, int optimiser_slots)
{
  std::int64_t held = 0;    // parameters without a gradient (running statistics)
  std::int64_t scratch = 0; // values of the largest layer's parameters
  std::int64_t kept = 0;    // values of the outputs kept up to this node
  std::int64_t peak = 0;
  std::int64_t image = 0;
  for (NodeInfo const& node : inferred.nodes) {
    std::int64_t parameters = 0;
    for (ParameterInfo const& parameter : node.parameters) {
      std::int64_t values = 1;
      for (std::int64_t const extent : parameter.extent)
        values *= extent;
      parameters += values;
    }
    held += parameters - node.parameter_count;
    scratch = std::max(scratch, parameters);
    // What is not kept has no gradient of its own either: that is made in place.
    std::int64_t gradients = node.out.size();
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (node.inputs[i] < 0)
        image = node.in[i].size();
      else
        gradients += inferred.nodes[static_cast<std::size_t>(node.inputs[i])].kept_values;
    }
    kept += node.kept_values;
    peak = std::max(peak, kept + gradients);
  }
  MemoryEstimate estimate;
  estimate.weights = (inferred.parameter_count + held) * bytes_per_value;
  estimate.gradients = inferred.parameter_count * bytes_per_value;
  estimate.optimiser = inferred.parameter_count * bytes_per_value * optimiser_slots;
  estimate.activations = (image + peak) * batch * bytes_per_value;
  // Split reductions of a weight gradient keep partial sums; how many is the kernel's affair, four is typical.
  estimate.workspace = 4 * scratch * bytes_per_value;
  return estimate;
}

} // namespace nasturtium::nn::spec
