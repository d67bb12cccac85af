// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random valid architectures: small directed acyclic graphs with every op, wide and deep, as a function of a seed.
#pragma once

#include <nasturtium/core/philox.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::test {

/// Integers from the counter-based generator, one after another.
class Dice
{
public:
  explicit Dice(std::uint64_t seed) : m_seed(seed) {}
  /// In [0, bound).
  int below(int bound)
  {
    return static_cast<int>(
        to_below(random_block(m_seed, Purpose::search, 0, m_index++).word[0], static_cast<std::uint32_t>(bound)));
  }
  /// In [low, high].
  int between(int low, int high) { return low + below(high - low + 1); }
  bool one_in(int n) { return below(n) == 0; }

private:
  std::uint64_t m_seed;
  std::uint64_t m_index = 0;
};

class ArchitectureGenerator
{
public:
  /// About `size` nodes; the same seed gives the same architecture.
  nn::spec::Architecture operator()(std::uint64_t seed, int size)
  {
    using namespace nn::spec;
    m_dice = Dice(seed);
    m_made.clear();
    m_architecture = {};
    m_architecture.name = "random " + std::to_string(seed);
    // A one-row image now and then, for 1-D convolutions.
    m_architecture.input = {m_dice.one_in(5) ? 1 : m_dice.between(5, 9), m_dice.between(5, 9), m_dice.between(1, 4)};
    m_made.push_back({"input", m_architecture.input, 1}); // nobody has to read the image
    for (int i = 0; i < size; ++i)
      step();
    finish();
    // Any order of writing is valid.
    if (m_dice.one_in(2))
      for (std::size_t i = m_architecture.nodes.size(); i-- > 1;)
        std::swap(m_architecture.nodes[i],
                  m_architecture.nodes[static_cast<std::size_t>(m_dice.below(static_cast<int>(i) + 1))]);
    return m_architecture;
  }

private:
  struct Made
  {
    std::string id;
    nn::spec::Shape shape;
    int readers = 0;
  };

  /// A node that nobody reads yet, mostly; else any.
  std::size_t pick()
  {
    std::size_t const any = static_cast<std::size_t>(m_dice.below(static_cast<int>(m_made.size())));
    if (m_dice.one_in(4)) return any;
    for (std::size_t i = m_made.size(); i-- > 0;)
      if (m_made[i].readers == 0) return i;
    return any;
  }

  void make(nn::spec::Op op, std::vector<std::size_t> const& from, nn::spec::Shape shape)
  {
    nn::spec::Node node;
    node.id = nn::spec::op_name(op) + "_" + std::to_string(m_made.size());
    node.op = std::move(op);
    for (std::size_t const i : from) {
      node.inputs.push_back(m_made[i].id);
      ++m_made[i].readers;
    }
    m_made.push_back({node.id, shape, 0});
    m_architecture.nodes.push_back(std::move(node));
  }

  nn::spec::Padding padding(std::array<int, 2> const& window)
  {
    using namespace nn::spec;
    int const kind = m_dice.below(3);
    if (kind == 0) return {PaddingKind::same, {}};
    if (kind == 1) return {PaddingKind::valid, {}};
    Padding padding{PaddingKind::explicit_, {}};
    for (std::size_t side = 0; side < 4; ++side)
      padding.amounts[side] = m_dice.below(window[side / 2]);
    return padding;
  }

  /// Output extent of a window, 0 where it does not fit.
  static int slid(int in, int window, int stride, nn::spec::Padding const& padding, std::size_t axis)
  {
    if (padding.kind == nn::spec::PaddingKind::same) return (in + stride - 1) / stride;
    int const padded = in + padding.amounts[2 * axis] + padding.amounts[2 * axis + 1];
    return padded < window ? 0 : (padded - window) / stride + 1;
  }

  void step()
  {
    using namespace nn::spec;
    std::size_t const from = pick();
    Shape const in = m_made[from].shape;
    switch (m_dice.below(13)) {
    case 0:
    case 1:
    case 2: {
      Conv2d conv;
      conv.groups = m_dice.one_in(3) ? in.channels : 1;
      conv.filters = conv.groups * m_dice.between(1, conv.groups > 1 ? 2 : 5);
      conv.kernel = {m_dice.between(1, 3), m_dice.between(1, 3)};
      conv.stride = {m_dice.between(1, 2), m_dice.between(1, 2)};
      conv.dilation = {m_dice.between(1, 2), m_dice.between(1, 2)};
      std::array<int, 2> const window{conv.dilation[0] * (conv.kernel[0] - 1) + 1,
                                      conv.dilation[1] * (conv.kernel[1] - 1) + 1};
      conv.padding = padding(window);
      conv.bias = m_dice.one_in(2);
      Shape const out{slid(in.height, window[0], conv.stride[0], conv.padding, 0),
                      slid(in.width, window[1], conv.stride[1], conv.padding, 1), conv.filters};
      if (out.size() > 0 && in.channels <= 16) make(conv, {from}, out);
      break;
    }
    case 3:
      make(BatchNorm{0.5 + 0.05 * m_dice.below(10), 1e-5 * m_dice.between(1, 100)}, {from}, in);
      break;
    case 4:
    case 5: {
      Activation activation{static_cast<ActivationKind>(m_dice.below(7))};
      if (activation.kind == ActivationKind::leaky_relu) activation.slope = 0.03 * m_dice.between(0, 9);
      make(activation, {from}, in);
      break;
    }
    case 6: {
      Pool2d pool;
      pool.kind = m_dice.one_in(2) ? PoolKind::max : PoolKind::average;
      pool.kernel = {m_dice.between(1, 3), m_dice.between(1, 3)};
      pool.stride = {m_dice.between(1, 3), m_dice.between(1, 3)};
      pool.padding = padding(pool.kernel);
      Shape const out{slid(in.height, pool.kernel[0], pool.stride[0], pool.padding, 0),
                      slid(in.width, pool.kernel[1], pool.stride[1], pool.padding, 1), in.channels};
      if (out.size() > 0) make(pool, {from}, out);
      break;
    }
    case 7:
      make(Dropout{0.1 * m_dice.below(10)}, {from}, in);
      break;
    case 8:
      make(Identity{}, {from}, in);
      break;
    case 9:
    case 10: {
      // Sum or join whatever fits this node, itself included.
      bool const sum = m_dice.one_in(2);
      std::vector<std::size_t> partners{from};
      Shape out = in;
      for (std::size_t i = 0; i < m_made.size() && partners.size() < 4; ++i) {
        Shape const& other = m_made[i].shape;
        if (m_dice.one_in(2) && other.height == in.height && other.width == in.width && (!sum || other == in)) {
          partners.push_back(i);
          if (!sum) out.channels += other.channels;
        }
      }
      if (partners.size() < 2) break;
      if (sum)
        make(Add{}, partners, out);
      else
        make(Concat{}, partners, out);
      break;
    }
    case 11:
      if (m_dice.one_in(3)) {
        int const units = m_dice.between(1, 6);
        make(Dense{units, m_dice.one_in(2)}, {from}, {1, 1, units});
      }
      break;
    case 12:
      if (m_dice.one_in(2)) {
        int const begin = m_dice.below(in.channels), size = m_dice.between(1, in.channels - begin);
        make(Slice{begin, size}, {from}, {in.height, in.width, size});
      } else {
        int const channels = in.channels + m_dice.below(4);
        make(PadChannels{channels}, {from}, {in.height, in.width, channels});
      }
      break;
    }
  }

  /// Makes one vector of all that nobody reads, and an output of it.
  void finish()
  {
    using namespace nn::spec;
    std::vector<std::size_t> ends;
    std::size_t const count = m_made.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (m_made[i].readers > 0 && count > 1) continue;
      if (m_dice.one_in(2))
        make(GlobalAvgPool{}, {i}, {1, 1, m_made[i].shape.channels});
      else
        make(Flatten{}, {i}, {1, 1, static_cast<int>(m_made[i].shape.size())});
      ends.push_back(m_made.size() - 1);
    }
    if (ends.size() > 1) {
      make(Concat{}, ends, {1, 1, 1});
      ends.assign(1, m_made.size() - 1);
    }
    int const outputs = m_dice.between(2, 5);
    make(Dense{outputs, true}, {ends.front()}, {1, 1, outputs});
    (m_dice.one_in(4) ? m_architecture.regression : m_architecture.classes) = outputs;
  }

  Dice m_dice{0};
  std::vector<Made> m_made;
  nn::spec::Architecture m_architecture;
};

inline nn::spec::Architecture random_architecture(std::uint64_t seed, int size)
{
  return ArchitectureGenerator()(seed, size);
}

} // namespace nasturtium::test
