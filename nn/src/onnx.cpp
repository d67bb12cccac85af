// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Field and type numbers are those of onnx.proto, version 9 of the intermediate representation (ONNX 1.15).
#include <nasturtium/nn/onnx.hpp>

#include "onnx_message.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/provenance.hpp>

#include <initializer_list>
#include <vector>

namespace nasturtium::nn {

namespace {

using impl::Message;

constexpr std::int64_t ir_version = 9;
constexpr std::int64_t operator_set = 20; // the first with Gelu
constexpr std::size_t largest_file = (std::size_t{1} << 31) - 1;

enum DataType { data_float = 1, data_int64 = 7 };
enum AttributeType { attribute_float = 1, attribute_int = 2, attribute_ints = 7 };

/// The attributes of an operator.
class Attributes
{
public:
  Attributes& integer(std::string_view name, std::int64_t value)
  {
    add(Message().text(1, name).integer(20, attribute_int).integer(3, value));
    return *this;
  }
  Attributes& real(std::string_view name, double value)
  {
    add(Message().text(1, name).integer(20, attribute_float).real(2, static_cast<float>(value)));
    return *this;
  }
  template <class Values>
  Attributes& integers(std::string_view name, Values const& values)
  {
    Message message;
    message.text(1, name).integer(20, attribute_ints);
    for (auto const value : values)
      message.integer(8, value);
    add(message);
    return *this;
  }
  std::vector<Message> const& all() const { return m_all; }

private:
  void add(Message const& message) { m_all.push_back(message); }
  std::vector<Message> m_all;
};

/// Names of a tensor in the graph, in the forms that it has so far.
struct Value
{
  std::string image;    ///< (batch, channels, height, width)
  std::string flat;     ///< (batch, values), the values in NHWC order
  std::string nhwc;     ///< (batch, height, width, channels): the input alone comes so
  bool is_flat = false; ///< the form that ops which keep the shape work in
  spec::Shape shape;
};

class Exporter
{
public:
  Exporter(spec::Architecture const& architecture, Weights const& weights)
      : m_architecture(architecture), m_weights(weights), m_inferred(spec::infer(architecture))
  {
  }

  Message graph(bool batch_dynamic)
  {
    // Ids have no '/', so that what is made here cannot meet what the architecture names.
    m_id = "input";
    m_input.nhwc = "input";
    m_input.shape = m_architecture.input;
    m_input.is_flat = is_vector(m_input.shape);
    for (spec::NodeInfo const& info : m_inferred.nodes) {
      m_info = &info;
      m_id = m_architecture.nodes[static_cast<std::size_t>(info.node)].id;
      m_values.push_back(std::visit([this](auto const& op) { return add(op); }, node().op));
      m_values.back().shape = info.out;
    }
    m_id = "output";
    operation("output", "Identity", {flat(m_values.back())}, {}, "output");

    spec::Shape const& shape = m_architecture.input;
    m_graph.text(2, m_architecture.name.empty() ? "network" : m_architecture.name);
    m_graph.message(11, tensor_info("input", batch_dynamic, {shape.height, shape.width, shape.channels}));
    m_graph.message(12, tensor_info("output", batch_dynamic, {m_inferred.nodes.back().out.size()}));
    return m_graph;
  }

private:
  // ---- one function per op ----

  Value add(spec::Conv2d const& conv)
  {
    // HWIO -> OIHW.
    Tensor const& hwio = weight("kernel");
    std::size_t const pixels = static_cast<std::size_t>(hwio.extent[0] * hwio.extent[1]);
    std::size_t const in = static_cast<std::size_t>(hwio.extent[2]), out = static_cast<std::size_t>(hwio.extent[3]);
    std::vector<float> oihw(hwio.values.size());
    for (std::size_t p = 0; p < pixels; ++p)
      for (std::size_t i = 0; i < in; ++i)
        for (std::size_t o = 0; o < out; ++o)
          oihw[(o * in + i) * pixels + p] = static_cast<float>(hwio.values[(p * in + i) * out + o]);
    std::vector<std::string> inputs{
        image(source(0)),
        constant(m_id + "/kernel", {hwio.extent[3], hwio.extent[2], hwio.extent[0], hwio.extent[1]}, oihw)};
    if (conv.bias) inputs.push_back(constant("bias"));
    return image_value(
        operation(m_id, "Conv", inputs,
                  window(conv.kernel, conv.stride).integers("dilations", conv.dilation).integer("group", conv.groups)));
  }
  Value add(spec::Dense const& dense)
  {
    std::vector<std::string> inputs{flat(source(0)), constant("kernel")};
    if (dense.bias) inputs.push_back(constant("bias"));
    return flat_value(operation(m_id, "Gemm", inputs));
  }
  Value add(spec::BatchNorm const& norm)
  {
    std::vector<std::string> inputs{""};
    for (char const* const name : {"gamma", "beta", "moving_mean", "moving_variance"})
      inputs.push_back(constant(name));
    return elementwise("BatchNormalization", inputs,
                       Attributes().real("epsilon", norm.epsilon).real("momentum", norm.momentum));
  }
  Value add(spec::Activation const& activation)
  {
    switch (activation.kind) {
    case spec::ActivationKind::relu:
      return elementwise("Relu");
    case spec::ActivationKind::leaky_relu:
      return elementwise("LeakyRelu", {""}, Attributes().real("alpha", activation.slope));
    case spec::ActivationKind::elu:
      return elementwise("Elu", {""}, Attributes().real("alpha", 1));
    case spec::ActivationKind::gelu:
      return elementwise("Gelu");
    case spec::ActivationKind::tanh:
      return elementwise("Tanh");
    case spec::ActivationKind::sigmoid:
      return elementwise("Sigmoid");
    case spec::ActivationKind::silu: {
      std::string const id = m_id;
      m_id += "/sigmoid";
      Value const sigmoid = elementwise("Sigmoid");
      m_id = id;
      return elementwise("Mul", {"", sigmoid.is_flat ? sigmoid.flat : sigmoid.image});
    }
    }
    fail("onnx: node '", m_id, "': unknown activation");
  }
  Value add(spec::Pool2d const& pool)
  {
    Attributes attributes = window(pool.kernel, pool.stride);
    bool const max = pool.kind == spec::PoolKind::max;
    if (!max) attributes.integer("count_include_pad", 0);
    return image_value(operation(m_id, max ? "MaxPool" : "AveragePool", {image(source(0))}, attributes));
  }
  Value add(spec::GlobalAvgPool const&)
  {
    return image_value(operation(m_id, "GlobalAveragePool", {image(source(0))}));
  }
  Value add(spec::Flatten const&) { return flat_value(flat(source(0))); }
  Value add(spec::Dropout const&) { return source(0); }
  Value add(spec::Identity const&) { return source(0); }
  Value add(spec::Add const&) { return join(m_info->inputs.size() == 2 ? "Add" : "Sum", {}); }
  Value add(spec::Concat const&) { return join("Concat", Attributes().integer("axis", 1)); }
  Value add(spec::Slice const& slice)
  {
    return along_channels("Slice", {integers("begin", {slice.begin}), integers("end", {slice.begin + slice.size})});
  }
  Value add(spec::PadChannels const& pad)
  {
    return along_channels("Pad", {integers("pads", {0, pad.channels - m_info->in.front().channels}),
                                  constant(helper("zero"), {}, std::vector<float>{0})});
  }

  /// Slice and Pad, which take their numbers as inputs, the axes last.
  Value along_channels(std::string_view type, std::vector<std::string> const& numbers)
  {
    std::vector<std::string> inputs{""};
    inputs.insert(inputs.end(), numbers.begin(), numbers.end());
    inputs.push_back(integers("axes", {1}));
    return elementwise(type, inputs);
  }

  /// An operator that keeps height and width of its first input, in the form which that has; `inputs` begin with its
  /// place.
  Value elementwise(std::string_view type, std::vector<std::string> inputs = {""}, Attributes const& attributes = {})
  {
    Value& from = source(0);
    inputs.front() = from.is_flat ? flat(from) : image(from);
    std::string const name = operation(m_id, type, inputs, attributes);
    return from.is_flat ? flat_value(name) : image_value(name);
  }

  /// An operator over all inputs in one form: flat where every one of them is.
  Value join(std::string_view type, Attributes const& attributes)
  {
    bool all_flat = true;
    for (std::size_t i = 0; i < m_info->inputs.size(); ++i)
      all_flat = all_flat && source(i).is_flat;
    std::vector<std::string> inputs;
    inputs.reserve(m_info->inputs.size());
    for (std::size_t i = 0; i < m_info->inputs.size(); ++i)
      inputs.push_back(all_flat ? flat(source(i)) : image(source(i)));
    std::string const name = operation(m_id, type, inputs, attributes);
    return all_flat ? flat_value(name) : image_value(name);
  }

  // ---- forms of a value: made where they are first asked for ----

  static Value image_value(std::string name)
  {
    Value value;
    value.image = std::move(name);
    return value;
  }
  static Value flat_value(std::string name)
  {
    Value value;
    value.flat = std::move(name);
    value.is_flat = true;
    return value;
  }
  static bool is_vector(spec::Shape const& shape) { return shape.height * shape.width == 1; }

  std::string const& image(Value& value)
  {
    if (value.image.empty() && !value.nhwc.empty()) {
      value.image = transpose(value.nhwc, {0, 3, 1, 2});
    } else if (value.image.empty()) {
      std::vector<std::int64_t> const shape{0, value.shape.channels, 1, 1}; // 0: as it is
      value.image = operation(helper("nchw"), "Reshape", {value.flat, constant(helper("shape"), {4}, shape)});
    }
    return value.image;
  }

  std::string const& flat(Value& value)
  {
    if (value.flat.empty()) {
      // Of a vector, NCHW and NHWC are the same.
      if (value.nhwc.empty()) value.nhwc = is_vector(value.shape) ? value.image : transpose(value.image, {0, 2, 3, 1});
      value.flat = operation(helper("flat"), "Flatten", {value.nhwc}, Attributes().integer("axis", 1));
    }
    return value.flat;
  }

  std::string transpose(std::string const& name, std::array<int, 4> const& order)
  {
    return operation(helper("transpose"), "Transpose", {name}, Attributes().integers("perm", order));
  }

  /// A name for a node that the architecture does not have.
  std::string helper(std::string_view what) { return concat(m_id, "/", what, m_helpers++); }

  // ---- parts of the graph ----

  spec::Node const& node() const { return m_architecture.nodes[static_cast<std::size_t>(m_info->node)]; }
  Value& source(std::size_t i)
  {
    int const from = m_info->inputs[i];
    return from < 0 ? m_input : m_values[static_cast<std::size_t>(from)];
  }
  Tensor const& weight(std::string const& name) const { return m_weights.at({node().id, name}); }

  Attributes window(std::array<int, 2> const& kernel, std::array<int, 2> const& stride) const
  {
    auto const& [top, bottom, left, right] = m_info->padding;
    return Attributes()
        .integers("kernel_shape", kernel)
        .integers("strides", stride)
        .integers("pads", std::vector{top, left, bottom, right});
  }

  /// Adds an operator and returns the name of its output.
  std::string operation(std::string const& name, std::string_view type, std::vector<std::string> const& inputs,
                        Attributes const& attributes = {}, std::string const& output = {})
  {
    Message message;
    for (std::string const& input : inputs)
      message.text(1, input);
    std::string const result = output.empty() ? name + "/out" : output;
    message.text(2, result).text(3, name).text(4, type);
    for (Message const& attribute : attributes.all())
      message.message(5, attribute);
    m_graph.message(1, message);
    return result;
  }

  /// A parameter of the present node as it is.
  std::string constant(std::string const& name)
  {
    Tensor const& tensor = weight(name);
    return constant(m_id + "/" + name, tensor.extent, std::vector<float>(tensor.values.begin(), tensor.values.end()));
  }

  /// A list of numbers, which the architecture has as fields.
  std::string integers(std::string_view what, std::vector<std::int64_t> const& values)
  {
    return constant(helper(what), {static_cast<std::int64_t>(values.size())}, values);
  }

  template <class Element>
  std::string constant(std::string const& name, std::vector<std::int64_t> const& extent,
                       std::vector<Element> const& values)
  {
    static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");
    Message message;
    for (std::int64_t const e : extent)
      message.integer(1, e);
    message.integer(2, std::is_same_v<Element, float> ? data_float : data_int64)
        .text(8, name)
        .text(9, {reinterpret_cast<char const*>(values.data()), values.size() * sizeof(Element)});
    m_graph.message(5, message);
    return name;
  }

  static Message tensor_info(std::string const& name, bool batch_dynamic, std::initializer_list<std::int64_t> extents)
  {
    Message shape;
    shape.message(1, batch_dynamic ? Message().text(2, "batch") : Message().integer(1, 1));
    for (std::int64_t const extent : extents)
      shape.message(1, Message().integer(1, extent));
    Message const tensor = Message().integer(1, data_float).message(2, shape);
    return Message().text(1, name).message(2, Message().message(1, tensor));
  }

  spec::Architecture const& m_architecture;
  Weights const& m_weights;
  spec::Inferred m_inferred;
  Message m_graph;
  Value m_input;
  std::vector<Value> m_values; ///< by position
  spec::NodeInfo const* m_info = nullptr;
  std::string m_id;  ///< of the node in work
  int m_helpers = 0; ///< counts names of helpers
};

} // namespace

void export_onnx(std::string const& path, spec::Architecture const& architecture, Weights const& weights,
                 bool batch_dynamic)
{
  check_weights(weights, architecture, true, path);
  Message model;
  model.integer(1, ir_version)
      .text(2, "nasturtium")
      .text(3, version())
      .message(8, Message().text(1, "").integer(2, operator_set))
      .message(7, Exporter(architecture, weights).graph(batch_dynamic))
      .message(14, Message().text(1, "architecture").text(2, spec::to_json(architecture)))
      .message(14, Message().text(1, "architecture_hash").text(2, spec::hash(architecture)));
  require(model.bytes().size() <= largest_file, path, ": the model has ", model.bytes().size(),
          " bytes, more than an ONNX file can hold (", largest_file, ")");
  write_file(path, model.bytes());
}

} // namespace nasturtium::nn
