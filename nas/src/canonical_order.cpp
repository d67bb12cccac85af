// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "canonical_order.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <string>
#include <unordered_map>

namespace nasturtium::nas::impl {

namespace {

using namespace nn::spec;

/// An op with its fields as numbers: equal exactly for equal ops, and ordered.
struct Settings
{
  std::string op;
  std::vector<double> fields;
  friend std::partial_ordering operator<=>(Settings const&, Settings const&) = default;
};

class SettingsReader
{
public:
  explicit SettingsReader(std::vector<double>& fields) : m_fields(fields) {}

  void operator()(Conv2d const& conv) const
  {
    put(conv.kernel);
    put(conv.stride);
    put(conv.padding);
    put(conv.dilation);
    m_fields.insert(m_fields.end(), {1. * conv.filters, 1. * conv.groups, conv.bias ? 1. : 0.});
  }
  void operator()(Dense const& dense) const { m_fields = {1. * dense.units, dense.bias ? 1. : 0.}; }
  void operator()(BatchNorm const& norm) const { m_fields = {norm.momentum, norm.epsilon}; }
  void operator()(Activation const& activation) const
  {
    if (activation.kind == ActivationKind::leaky_relu) m_fields = {activation.slope};
  }
  void operator()(Pool2d const& pool) const
  {
    put(pool.kernel);
    put(pool.stride);
    put(pool.padding);
  }
  void operator()(Dropout const& dropout) const { m_fields = {dropout.rate}; }
  template <class WithoutFields>
  void operator()(WithoutFields const&) const
  {
  }

private:
  std::vector<double>& m_fields;

  void put(std::array<int, 2> const& pair) const { m_fields.insert(m_fields.end(), pair.begin(), pair.end()); }
  void put(Padding const& padding) const
  {
    m_fields.push_back(static_cast<double>(padding.kind));
    if (padding.kind == PaddingKind::explicit_)
      m_fields.insert(m_fields.end(), padding.amounts.begin(), padding.amounts.end());
  }
};

Settings settings_of(Op const& op)
{
  Settings settings{op_name(op), {}};
  std::visit(SettingsReader(settings.fields), op);
  return settings;
}

/// The two hashes as one (the finaliser of splitmix64).
std::uint64_t mixed(std::uint64_t hash, std::uint64_t value)
{
  hash = (hash ^ value) + 0x9e3779b97f4a7c15;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

struct Reader
{
  int node = 0; ///< position
  int slot = 0; ///< place in the node's inputs
};
/// By position; the readers of the image stand last.
using Readers = std::vector<std::vector<Reader>>;

Op const& op_at(Architecture const& architecture, Inferred const& inferred, std::size_t position)
{
  return architecture.nodes[static_cast<std::size_t>(inferred.nodes[position].node)].op;
}

/// What a node looks like from itself to the output: the op, the longest way (longer first), then the same of all that
/// read it.
struct Form
{
  int op = 0, way = 0, behind = 0;
  friend auto operator<=>(Form const&, Form const&) = default;
};

std::vector<Form> forms(Architecture const& architecture, Inferred const& inferred, Readers const& readers)
{
  std::size_t const count = inferred.nodes.size();
  std::vector<Settings> settings;
  settings.reserve(count);
  for (std::size_t p = 0; p < count; ++p)
    settings.push_back(settings_of(op_at(architecture, inferred, p)));
  std::vector<Settings> kinds = settings;
  std::sort(kinds.begin(), kinds.end(), [](auto const& a, auto const& b) { return a < b; });
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());

  std::vector<Form> forms(count);
  std::vector<std::vector<std::size_t>> levels; // by the way to the output
  for (std::size_t p = count; p-- > 0;) {
    auto const kind =
        std::lower_bound(kinds.begin(), kinds.end(), settings[p], [](auto const& a, auto const& b) { return a < b; });
    std::size_t way = 0;
    for (Reader const& reader : readers[p])
      way = std::max(way, 1 + static_cast<std::size_t>(-forms[static_cast<std::size_t>(reader.node)].way));
    forms[p] = {static_cast<int>(kind - kinds.begin()), -static_cast<int>(way), 0};
    levels.resize(std::max(levels.size(), way + 1));
    levels[way].push_back(p);
  }
  // All that read a node are on levels nearer to the output.
  using Behind = std::vector<std::pair<Form, int>>;
  std::vector<Behind> behind(count);
  for (auto& level : levels) {
    for (std::size_t const p : level) {
      for (Reader const& reader : readers[p])
        behind[p].emplace_back(forms[static_cast<std::size_t>(reader.node)], reader.slot);
      std::sort(behind[p].begin(), behind[p].end());
    }
    std::sort(level.begin(), level.end(), [&](std::size_t a, std::size_t b) { return behind[a] < behind[b]; });
    for (std::size_t i = 1; i < level.size(); ++i)
      forms[level[i]].behind = forms[level[i - 1]].behind + (behind[level[i - 1]] < behind[level[i]] ? 1 : 0);
  }
  return forms;
}

} // namespace

std::uint64_t text_hash(std::string_view text)
{
  std::uint64_t hash = 0xcbf29ce484222325;
  for (char const c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::vector<int> canonical_order(Architecture const& architecture, Inferred const& inferred)
{
  std::size_t const count = inferred.nodes.size();
  Readers readers(count + 1);
  std::vector<std::size_t> missing(count);
  bool chain = true;
  for (std::size_t p = 0; p < count; ++p) {
    std::vector<int> const& inputs = inferred.nodes[p].inputs;
    missing[p] = inputs.size();
    for (std::size_t slot = 0; slot < inputs.size(); ++slot) {
      auto& all = readers[inputs[slot] < 0 ? count : static_cast<std::size_t>(inputs[slot])];
      all.push_back({static_cast<int>(p), static_cast<int>(slot)});
      chain = chain && all.size() == 1;
    }
  }
  std::vector<Form> const form = chain ? std::vector<Form>(count) : forms(architecture, inferred, readers);

  std::vector<int> order, open, place(count);
  auto const first = [&](int a, int b) {
    auto const left = static_cast<std::size_t>(a), right = static_cast<std::size_t>(b);
    if (form[left] != form[right]) return form[left] < form[right];
    auto const places = [&](std::size_t node) {
      std::vector<int> result;
      for (int const input : inferred.nodes[node].inputs)
        result.push_back(input < 0 ? -1 : place[static_cast<std::size_t>(input)]);
      return result;
    };
    auto const left_places = places(left), right_places = places(right);
    if (left_places != right_places) return left_places < right_places;
    auto const id = [&](std::size_t node) -> std::string const& {
      return architecture.nodes[static_cast<std::size_t>(inferred.nodes[node].node)].id;
    };
    return id(left) < id(right);
  };
  auto const open_readers = [&](std::size_t from) {
    auto const before = static_cast<std::ptrdiff_t>(open.size());
    for (Reader const& reader : readers[from])
      if (--missing[static_cast<std::size_t>(reader.node)] == 0) open.push_back(reader.node);
    std::sort(open.begin() + before, open.end(), [&](int a, int b) { return first(b, a); });
  };
  open_readers(count);
  while (!open.empty()) {
    auto const node = static_cast<std::size_t>(open.back());
    open.pop_back();
    place[node] = static_cast<int>(order.size());
    order.push_back(static_cast<int>(node));
    open_readers(node);
  }
  return order;
}

std::vector<std::uint64_t> upstream_identities(Architecture const& architecture, Inferred const& inferred,
                                               std::vector<int> const& order)
{
  Shape const& input = architecture.input;
  std::uint64_t image = text_hash("input");
  for (int const extent : {input.height, input.width, input.channels})
    image = mixed(image, static_cast<std::uint64_t>(extent));

  std::vector<std::uint64_t> identity(inferred.nodes.size());
  std::unordered_map<std::uint64_t, std::uint64_t> seen;
  std::vector<std::uint64_t> inputs;
  for (int const position : order) {
    auto const p = static_cast<std::size_t>(position);
    Settings const settings = settings_of(op_at(architecture, inferred, p));
    std::uint64_t hash = text_hash(settings.op);
    for (double const field : settings.fields)
      hash = mixed(hash, std::bit_cast<std::uint64_t>(field));
    inputs.clear();
    for (int const from : inferred.nodes[p].inputs)
      inputs.push_back(from < 0 ? image : identity[static_cast<std::size_t>(from)]);
    if (settings.op == "add") std::sort(inputs.begin(), inputs.end());
    for (std::uint64_t const from : inputs)
      hash = mixed(hash, from);
    identity[p] = mixed(hash, seen[hash]++);
  }
  return identity;
}

} // namespace nasturtium::nas::impl
