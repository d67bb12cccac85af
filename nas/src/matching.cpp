// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "canonical_order.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/nas/matching.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace nasturtium::nas {

namespace {

constexpr std::array matcher_names{"lp", "lcs", "exact-prefix", "lcs-bytes"};
constexpr std::array element_names{"tuple", "kernel"};
constexpr std::array batch_norm_names{"element", "fused", "ignore"};

template <class Enum, class Names>
Enum parsed(std::string const& text, Names const& names, char const* what)
{
  std::string known;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (text == names[i]) return static_cast<Enum>(i);
    known += (i == 0 ? "" : ", ") + std::string(names[i]);
  }
  fail(what, " must be one of ", known, ", got ", quoted(text));
}

std::string shape_text(std::vector<std::int64_t> const& extent)
{
  std::string text;
  for (std::int64_t const e : extent)
    text += (text.empty() ? "" : "x") + std::to_string(e);
  return text;
}

/// Of the tensors from `begin` on: those of one node.
std::string key_of(nn::spec::Op const& op, std::vector<LayerTensor> const& tensors, std::size_t begin, ElementRule rule)
{
  if (rule == ElementRule::kernel) return shape_text(tensors[begin].extent);
  std::string key = nn::spec::op_name(op);
  for (std::size_t i = begin; i < tensors.size(); ++i)
    key += " " + tensors[i].name + " " + shape_text(tensors[i].extent);
  return key;
}

/// Best sums of the weights of common subsequences, of all pairs of suffixes.
class SuffixTable
{
public:
  SuffixTable(LayerCodes const& donor, LayerCodes const& child, bool by_bytes)
      : m_donor(donor), m_child(child), m_by_bytes(by_bytes), m_columns(child.keys.size() + 1),
        m_best((donor.keys.size() + 1) * m_columns)
  {
    for (std::size_t i = donor.keys.size(); i-- > 0;)
      for (std::size_t j = child.keys.size(); j-- > 0;) {
        std::int64_t best = std::max((*this)(i + 1, j), (*this)(i, j + 1));
        if (equal(i, j)) best = std::max(best, weight(i, j) + (*this)(i + 1, j + 1));
        m_best[i * m_columns + j] = best;
      }
  }

  /// Of donor[i:] and child[j:].
  std::int64_t operator()(std::size_t i, std::size_t j) const { return m_best[i * m_columns + j]; }
  /// True where a best alignment of donor[first:] and child[j:] pairs i with j.
  bool takes(std::size_t first, std::size_t i, std::size_t j) const
  {
    return equal(i, j) && weight(i, j) + (*this)(i + 1, j + 1) == (*this)(first, j);
  }

private:
  LayerCodes const& m_donor;
  LayerCodes const& m_child;
  bool m_by_bytes;
  std::size_t m_columns;
  std::vector<std::int64_t> m_best;

  bool equal(std::size_t i, std::size_t j) const { return m_donor.keys[i] == m_child.keys[j]; }
  std::int64_t weight(std::size_t i, std::size_t j) const
  {
    return m_by_bytes ? std::min(m_donor.bytes[i], m_child.bytes[j]) : 1;
  }
};

std::size_t common_prefix(LayerCodes const& donor, LayerCodes const& child)
{
  auto const ends = std::mismatch(donor.keys.begin(), donor.keys.end(), child.keys.begin(), child.keys.end());
  return static_cast<std::size_t>(ends.first - donor.keys.begin());
}

} // namespace

std::string name(Matcher matcher)
{
  return matcher_names[static_cast<std::size_t>(matcher)];
}

std::string name(ElementRule rule)
{
  return element_names[static_cast<std::size_t>(rule)];
}

std::string name(BatchNormRule rule)
{
  return batch_norm_names[static_cast<std::size_t>(rule)];
}

Matcher parse_matcher(std::string const& text)
{
  return parsed<Matcher>(text, matcher_names, "matcher");
}

ElementRule parse_element_rule(std::string const& text)
{
  return parsed<ElementRule>(text, element_names, "element rule");
}

BatchNormRule parse_batch_norm_rule(std::string const& text)
{
  return parsed<BatchNormRule>(text, batch_norm_names, "batch norm rule");
}

std::int64_t LayerTensor::values() const
{
  std::int64_t count = 1;
  for (std::int64_t const e : extent)
    count *= e;
  return count;
}

bool LayerTensor::trainable() const
{
  return !name.starts_with("moving_");
}

std::int64_t WeightedLayer::bytes() const
{
  std::int64_t sum = 0;
  for (LayerTensor const& tensor : tensors)
    sum += tensor.values() * static_cast<std::int64_t>(sizeof(float));
  return sum;
}

std::int64_t WeightedLayer::parameters() const
{
  std::int64_t sum = 0;
  for (LayerTensor const& tensor : tensors)
    sum += tensor.trainable() ? tensor.values() : 0;
  return sum;
}

std::vector<WeightedLayer> weighted_layers(nn::spec::Architecture const& architecture, MatchPolicy const& policy)
{
  nn::spec::Inferred const inferred = nn::spec::infer(architecture);
  std::vector<int> const order = impl::canonical_order(architecture, inferred);
  std::vector<std::uint64_t> const identity = impl::upstream_identities(architecture, inferred, order);
  std::vector<int> readers(inferred.nodes.size());
  for (nn::spec::NodeInfo const& info : inferred.nodes)
    for (int const input : info.inputs)
      if (input >= 0) ++readers[static_cast<std::size_t>(input)];

  std::vector<WeightedLayer> layers;
  for (int const position : order) {
    nn::spec::NodeInfo const& info = inferred.nodes[static_cast<std::size_t>(position)];
    if (info.parameters.empty()) continue;
    nn::spec::Node const& node = architecture.nodes[static_cast<std::size_t>(info.node)];
    bool const norm = std::holds_alternative<nn::spec::BatchNorm>(node.op);
    if (norm && policy.batch_norm == BatchNormRule::ignore) continue;
    bool fused = false;
    if (norm && policy.batch_norm == BatchNormRule::fused && info.inputs.front() >= 0) {
      // The only reader of a node comes right behind it.
      auto const from = static_cast<std::size_t>(info.inputs.front());
      nn::spec::Op const& op = architecture.nodes[static_cast<std::size_t>(inferred.nodes[from].node)].op;
      fused = readers[from] == 1 &&
              (std::holds_alternative<nn::spec::Conv2d>(op) || std::holds_alternative<nn::spec::Dense>(op));
    }
    if (!fused) layers.push_back({node.id, {}, 0, {}});
    WeightedLayer& layer = layers.back();
    std::size_t const begin = layer.tensors.size();
    for (nn::spec::ParameterInfo const& parameter : info.parameters)
      layer.tensors.push_back({node.id, parameter.name, parameter.extent});
    layer.key += (fused ? " + " : "") + key_of(node.op, layer.tensors, begin, policy.element);
    layer.upstream = identity[static_cast<std::size_t>(position)];
  }
  return layers;
}

json::Value to_json(std::vector<WeightedLayer> const& layers)
{
  json::Array array;
  for (WeightedLayer const& layer : layers) {
    json::Array tensors;
    for (LayerTensor const& tensor : layer.tensors)
      tensors.push_back({{"node", tensor.node},
                         {"name", tensor.name},
                         {"extent", json::Array(tensor.extent.begin(), tensor.extent.end())}});
    std::array<char, 16> digits{};
    auto const end = std::to_chars(digits.data(), digits.data() + digits.size(), layer.upstream, 16).ptr;
    array.push_back({{"id", layer.id},
                     {"key", layer.key},
                     {"upstream", std::string(digits.data(), end)},
                     {"tensors", std::move(tensors)}});
  }
  return array;
}

std::vector<WeightedLayer> read_weighted_layers(json::Value const& value, std::string const& source)
{
  constexpr std::int64_t max_values = std::int64_t{1} << 30;
  std::vector<WeightedLayer> layers;
  for (json::Value const& element : json::to_array(value, source)) {
    json::Reader reader(element, concat(source, ": layer ", layers.size()));
    WeightedLayer& layer = layers.emplace_back();
    layer.id = reader.string("id");
    layer.key = reader.string("key");
    std::string const digits = reader.string("upstream");
    auto const [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), layer.upstream, 16);
    require(fault == std::errc{} && end == digits.data() + digits.size(), reader.what("upstream"),
            " must be at most 16 hexadecimal digits, got ", quoted(digits));
    for (json::Value const& item : reader.array("tensors")) {
      json::Reader fields(item, concat(reader.where(), ": tensor ", layer.tensors.size()));
      LayerTensor& tensor = layer.tensors.emplace_back();
      tensor.node = fields.string("node");
      tensor.name = fields.string("name");
      std::int64_t values = 1;
      for (json::Value const& extent : fields.array("extent")) {
        tensor.extent.push_back(json::to_integer(extent, fields.what("extent"), 1, max_values / values));
        values *= tensor.extent.back();
      }
      fields.finish();
    }
    require(!layer.tensors.empty(), reader.what("tensors"), " must not be empty");
    reader.finish();
  }
  return layers;
}

LayerCodes layer_codes(std::vector<WeightedLayer> const& layers)
{
  LayerCodes codes;
  for (WeightedLayer const& layer : layers) {
    codes.keys.push_back(impl::text_hash(layer.key));
    codes.upstream.push_back(codes.keys.back() ^ layer.upstream);
    codes.bytes.push_back(layer.bytes());
  }
  return codes;
}

std::vector<std::pair<int, int>> align(LayerCodes const& donor, LayerCodes const& child, Matcher matcher)
{
  std::size_t const donors = donor.keys.size(), children = child.keys.size();
  std::vector<std::pair<int, int>> pairs;
  auto const add = [&](std::size_t i, std::size_t j) { pairs.emplace_back(static_cast<int>(i), static_cast<int>(j)); };
  if (matcher == Matcher::lp) {
    std::size_t const common = common_prefix(donor, child);
    for (std::size_t i = 0; i < common; ++i)
      add(i, i);
  } else if (matcher == Matcher::exact_prefix) {
    for (std::size_t j = 0; j < children; ++j) {
      auto const found = std::find(donor.upstream.begin(), donor.upstream.end(), child.upstream[j]);
      if (found != donor.upstream.end()) add(static_cast<std::size_t>(found - donor.upstream.begin()), j);
    }
  } else {
    SuffixTable const best(donor, child, matcher == Matcher::lcs_bytes);
    std::size_t first = 0;
    for (std::size_t j = 0; j < children; ++j)
      for (std::size_t i = first; i < donors; ++i)
        if (best.takes(first, i, j)) {
          add(i, j);
          first = i + 1;
          break;
        }
  }
  return pairs;
}

std::int64_t match_score(LayerCodes const& donor, LayerCodes const& child, Matcher matcher)
{
  switch (matcher) {
  case Matcher::lp:
    return static_cast<std::int64_t>(common_prefix(donor, child));
  case Matcher::exact_prefix:
    return static_cast<std::int64_t>(align(donor, child, matcher).size());
  default:
    return SuffixTable(donor, child, matcher == Matcher::lcs_bytes)(0, 0);
  }
}

Match match(std::vector<WeightedLayer> const& donor, std::vector<WeightedLayer> const& child, Matcher matcher)
{
  Match result;
  result.layers = align(layer_codes(donor), layer_codes(child), matcher);
  result.matched = static_cast<int>(result.layers.size());
  result.weighted_layers = static_cast<int>(child.size());
  for (WeightedLayer const& layer : child) {
    result.bytes_of_child += layer.bytes();
    result.parameters_of_child += layer.parameters();
  }
  for (auto const& [i, j] : result.layers) {
    WeightedLayer const& from = donor[static_cast<std::size_t>(i)];
    WeightedLayer const& to = child[static_cast<std::size_t>(j)];
    result.pairs.emplace_back(from.id, to.id);
    for (LayerTensor const& tensor : to.tensors) {
      auto const source = std::find_if(from.tensors.begin(), from.tensors.end(), [&](LayerTensor const& candidate) {
        return candidate.name == tensor.name && candidate.extent == tensor.extent;
      });
      if (source == from.tensors.end()) continue;
      std::pair<std::string, std::string> const nodes{source->node, tensor.node};
      if (result.pairs.back() != nodes) result.pairs.push_back(nodes);
      result.tensors.push_back({source->node, tensor.node, tensor.name, tensor.extent});
      result.bytes += tensor.values() * static_cast<std::int64_t>(sizeof(float));
      result.parameters += tensor.trainable() ? tensor.values() : 0;
    }
  }
  return result;
}

Match match(nn::spec::Architecture const& donor, nn::spec::Architecture const& child, MatchPolicy const& policy)
{
  return match(weighted_layers(donor, policy), weighted_layers(child, policy), policy.matcher);
}

nn::Weights transferred(Match const& match, nn::Weights const& donor)
{
  nn::Weights weights;
  for (Match::Tensor const& tensor : match.tensors) {
    auto const found = donor.find({tensor.donor, tensor.name});
    require(found != donor.end(), "donor: node '", tensor.donor, "': '", tensor.name, "' is missing");
    require(found->second.extent == tensor.extent, "donor: node '", tensor.donor, "': '", tensor.name, "' must be ",
            shape_text(tensor.extent), ", got ", shape_text(found->second.extent));
    weights[{tensor.child, tensor.name}] = found->second;
  }
  return weights;
}

} // namespace nasturtium::nas
