// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "limits.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace nasturtium::nn::spec::impl {

namespace {

/// Checks the fields of one node; `m_where` opens every message.
class FieldCheck
{
public:
  FieldCheck(std::string where, Node const& node) : m_where(std::move(where)), m_node(node) {}

  void operator()(Conv2d const& conv) const
  {
    integer("filters", conv.filters, 1, max_extent);
    pair("kernel", conv.kernel);
    pair("stride", conv.stride);
    pair("dilation", conv.dilation);
    padding(conv.padding);
    integer("groups", conv.groups, 1, max_extent);
    require(conv.filters % conv.groups == 0, m_where, "field 'groups' must divide filters (", conv.filters, "), got ",
            conv.groups);
    one_input();
  }
  void operator()(Dense const& dense) const
  {
    integer("units", dense.units, 1, max_extent);
    one_input();
  }
  void operator()(BatchNorm const& norm) const
  {
    real("momentum", norm.momentum, norm.momentum >= 0 && norm.momentum <= 1, "in [0, 1]");
    real("epsilon", norm.epsilon, norm.epsilon > 0 && norm.epsilon <= 1, "in (0, 1]");
    one_input();
  }
  void operator()(Activation const& activation) const
  {
    // From 0 on the sign of the output tells the sign of the input, which is what the backward pass goes by.
    real("slope", activation.slope, activation.slope >= 0 && activation.slope <= 1, "in [0, 1]");
    one_input();
  }
  void operator()(Pool2d const& pool) const
  {
    pair("kernel", pool.kernel);
    pair("stride", pool.stride);
    padding(pool.padding);
    require(pool.kernel[0] * pool.kernel[1] <= max_pool_window, m_where, "field 'kernel' must cover at most ",
            max_pool_window, " pixels, got ", pool.kernel[0], " x ", pool.kernel[1]);
    if (pool.padding.kind == PaddingKind::explicit_) {
      // Else a window could lie wholly in the padding, where there is nothing to pool.
      for (std::size_t side = 0; side < 4; ++side) {
        require(pool.padding.amounts[side] < pool.kernel[side / 2], m_where,
                "field 'padding' must be less than the kernel (", pool.kernel[side / 2], "), got ",
                pool.padding.amounts[side]);
      }
    }
    one_input();
  }
  void operator()(Dropout const& dropout) const
  {
    real("rate", dropout.rate, dropout.rate >= 0 && dropout.rate < 1, "in [0, 1)");
    one_input();
  }
  void operator()(Slice const& slice) const
  {
    integer("begin", slice.begin, 0, max_values);
    integer("size", slice.size, 1, max_values);
    one_input();
  }
  void operator()(PadChannels const& pad) const
  {
    integer("channels", pad.channels, 1, max_values);
    one_input();
  }
  void operator()(Add const&) const { many_inputs(); }
  void operator()(Concat const&) const { many_inputs(); }
  template <class Other>
  void operator()(Other const&) const
  {
    one_input();
  }

private:
  void integer(std::string_view field, std::int64_t value, std::int64_t low, std::int64_t high) const
  {
    require(value >= low && value <= high, m_where, "field '", field, "' must be in [", low, ", ", high, "], got ",
            value);
  }
  void pair(std::string_view field, std::array<int, 2> const& value) const
  {
    for (int const extent : value)
      integer(field, extent, 1, max_window);
  }
  void padding(Padding const& padding) const
  {
    if (padding.kind != PaddingKind::explicit_) return;
    for (int const amount : padding.amounts)
      integer("padding", amount, 0, max_padding);
  }
  void real(std::string_view field, double value, bool valid, std::string_view range) const
  {
    require(valid, m_where, "field '", field, "' must be ", range, ", got ", value);
  }
  void one_input() const
  {
    require(m_node.inputs.size() == 1, m_where, "field 'inputs' must name exactly one input, got ",
            m_node.inputs.size());
  }
  void many_inputs() const
  {
    require(m_node.inputs.size() >= 2, m_where, "field 'inputs' must name at least two inputs, got ",
            m_node.inputs.size());
    require(m_node.inputs.size() <= static_cast<std::size_t>(max_nodes), m_where, "field 'inputs' must name at most ",
            max_nodes, " inputs, got ", m_node.inputs.size());
  }

  std::string m_where;
  Node const& m_node;
};

bool is_id(std::string const& text)
{
  auto const letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && text.size() <= max_id_length && letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || c == '-' || c == '.'; });
}

/// `text` on one line, for messages: control characters become '?', long text is cut.
std::string printable(std::string text)
{
  if (text.size() > max_id_length) text = text.substr(0, max_id_length) + "...";
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

void check_range(std::string const& source, std::string_view field, int value, int low)
{
  require(value >= low && value <= max_extent, source, ": field '", field, "' must be in [", low, ", ", max_extent,
          "], got ", value);
}

} // namespace

void check_fields(Architecture const& architecture, std::string const& source)
{
  std::string const& name = architecture.name;
  require(name.size() <= max_name_length, source, ": field 'name' must have at most ", max_name_length, " bytes, got ",
          name.size());
  require(std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }), source,
          ": field 'name' must not have control characters, got '", printable(name), "'");
  check_range(source, "input.height", architecture.input.height, 1);
  check_range(source, "input.width", architecture.input.width, 1);
  check_range(source, "input.channels", architecture.input.channels, 1);
  require(architecture.input.size() <= max_values, source, ": field 'input' must have at most ", max_values,
          " values, got ", architecture.input.size());
  require((architecture.classes != 0) != (architecture.regression != 0), source,
          ": field 'output' must have either 'classes' or 'regression', got ", architecture.classes, " and ",
          architecture.regression);
  if (architecture.classes != 0)
    check_range(source, "output.classes", architecture.classes, 2);
  else
    check_range(source, "output.regression", architecture.regression, 1);

  require(!architecture.nodes.empty(), source, ": field 'nodes' must not be empty");
  require(architecture.nodes.size() <= static_cast<std::size_t>(max_nodes), source,
          ": field 'nodes' must have at most ", max_nodes, " nodes, got ", architecture.nodes.size());
  std::unordered_set<std::string_view> ids;
  for (Node const& node : architecture.nodes) {
    require(is_id(node.id), source, ": node '", printable(node.id), "': field 'id' must be 1 to ", max_id_length,
            " letters, digits, '_', '-' and '.', the first a letter, digit or '_'");
    require(node.id != "input", source, ": node 'input': field 'id' must not be the reserved name of the image");
    require(ids.insert(node.id).second, source, ": node '", node.id, "': field 'id' is used twice");
    for (std::string const& input : node.inputs)
      require(is_id(input), source, ": node '", node.id, "': field 'inputs' names no valid node: '", printable(input),
              "'");
    std::visit(FieldCheck(concat(source, ": node '", node.id, "': "), node), node.op);
  }
}

} // namespace nasturtium::nn::spec::impl
