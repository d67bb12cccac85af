// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/families.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace nasturtium::estimator {
namespace {

namespace spec = nn::spec;

/// Adds nodes one behind the other.
class Builder
{
public:
  Builder(int side, int channels)
  {
    m_network.input = {side, side, channels};
    m_network.classes = 10;
  }

  std::string const& last() const { return m_last; }

  std::string add(spec::Op op, std::vector<std::string> inputs)
  {
    std::string id = spec::op_name(op) + "-" + std::to_string(m_network.nodes.size());
    m_network.nodes.push_back({id, std::move(op), std::move(inputs)});
    return m_last = id;
  }
  std::string add(spec::Op op) { return add(std::move(op), {m_last}); }

  void conv(int filters, int kernel, int stride = 1, bool same = true, bool bias = true)
  {
    spec::Conv2d layer;
    layer.filters = filters;
    layer.kernel = {kernel, kernel};
    layer.stride = {stride, stride};
    layer.padding.kind = same ? spec::PaddingKind::same : spec::PaddingKind::valid;
    layer.bias = bias;
    add(layer);
  }
  /// Convolution, batch norm and relu.
  void unit(int filters, int kernel, int stride = 1)
  {
    conv(filters, kernel, stride, true, false);
    add(spec::BatchNorm{});
    relu();
  }
  void relu() { add(spec::Activation{}); }
  void pool(int window = 2)
  {
    spec::Pool2d layer;
    layer.kernel = {window, window};
    layer.stride = {2, 2};
    add(layer);
  }
  void dense(int units) { add(spec::Dense{.units = units}); }

  spec::Architecture finish()
  {
    dense(10);
    return std::move(m_network);
  }

private:
  spec::Architecture m_network;
  std::string m_last = "input";
};

struct Size
{
  int side, channels;
  int eighths; ///< of the published width
  int depth;   ///< 0, 1: the family's own steps
  int of(int width) const { return std::max(1, width * eighths / 8); }
};

spec::Architecture lenet(Size const& size)
{
  Builder net(size.side, size.channels);
  net.conv(size.of(48), 5);
  net.relu();
  net.pool();
  net.conv(size.of(128), 5, 1, false);
  net.relu();
  net.pool();
  net.add(spec::Flatten{});
  net.dense(size.of(480));
  net.relu();
  if (size.depth > 0) {
    net.dense(size.of(336));
    net.relu();
  }
  return net.finish();
}

spec::Architecture alexnet(Size const& size)
{
  Builder net(size.side, size.channels);
  net.conv(size.of(96), 5);
  net.relu();
  net.pool(3);
  net.conv(size.of(256), 5);
  net.relu();
  net.pool(3);
  net.conv(size.of(384), 3);
  net.relu();
  if (size.depth > 0) {
    net.conv(size.of(384), 3);
    net.relu();
  }
  net.conv(size.of(256), 3);
  net.relu();
  net.pool(3);
  net.add(spec::Flatten{});
  net.add(spec::Dropout{});
  net.dense(size.of(1024));
  net.relu();
  return net.finish();
}

spec::Architecture vgg(Size const& size)
{
  Builder net(size.side, size.channels);
  for (int const width : {64, 128, 256}) {
    for (int i = 0; i < 2 + (size.depth > 0 && width == 256); ++i)
      net.unit(size.of(width), 3);
    net.pool();
  }
  net.add(spec::Flatten{});
  net.dense(size.of(512));
  net.relu();
  return net.finish();
}

spec::Architecture resnet(Size const& size)
{
  Builder net(size.side, size.channels);
  net.unit(size.of(64), 3);
  int width = size.of(64);
  for (int stage = 0; stage < 3; ++stage)
    for (int block = 0; block < 1 + size.depth; ++block) {
      int const filters = size.of(64 << stage), stride = stage > 0 && block == 0 ? 2 : 1;
      std::string shortcut = net.last();
      net.unit(filters, 3, stride);
      net.conv(filters, 3, 1, true, false);
      std::string const main = net.add(spec::BatchNorm{});
      if (stride != 1 || filters != width) {
        spec::Conv2d projection;
        projection.filters = filters;
        projection.stride = {stride, stride};
        projection.bias = false;
        shortcut = net.add(projection, {shortcut});
      }
      net.add(spec::Add{}, {main, shortcut});
      net.relu();
      width = filters;
    }
  net.add(spec::GlobalAvgPool{});
  return net.finish();
}

spec::Architecture mobilenet(Size const& size)
{
  Builder net(size.side, size.channels);
  int width = size.of(64);
  net.unit(width, 3);
  for (auto const& [filters, stride] : {std::pair{64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}}) {
    if (filters == 256 && stride == 1 && size.depth == 0) break;
    spec::Conv2d depthwise;
    depthwise.filters = depthwise.groups = width;
    depthwise.kernel = {3, 3};
    depthwise.stride = {stride, stride};
    depthwise.bias = false;
    net.add(depthwise);
    net.add(spec::BatchNorm{});
    net.relu();
    width = size.of(filters);
    net.unit(width, 1);
  }
  net.add(spec::GlobalAvgPool{});
  return net.finish();
}

spec::Architecture mlp(Size const& size)
{
  Builder net(size.side, size.channels);
  net.add(spec::Flatten{});
  for (int i = 0; i < 2 + 2 * size.depth; ++i) {
    net.dense(size.of(512));
    net.relu();
  }
  return net.finish();
}

constexpr std::array<std::pair<char const*, spec::Architecture (*)(Size const&)>, 6> families{
    {{"lenet", lenet}, {"alexnet", alexnet}, {"vgg", vgg}, {"resnet", resnet}, {"mobilenet", mobilenet}, {"mlp", mlp}}};

} // namespace

std::vector<std::string> family_names()
{
  std::vector<std::string> names;
  for (auto const& family : families)
    names.emplace_back(family.first);
  return names;
}

std::vector<Workload> family_networks(std::string const& family, int max_eighths)
{
  auto const found =
      std::find_if(families.begin(), families.end(), [&](auto const& known) { return family == known.first; });
  require(found != families.end(), "unknown family of networks ", quoted(family),
          " (lenet, alexnet, vgg, resnet, mobilenet, mlp)");
  constexpr std::array optimisers{Optimiser::sgd, Optimiser::momentum, Optimiser::adam};
  constexpr std::array batches{4, 16, 32};
  std::vector<Workload> all;
  std::size_t next = 0; // batches and optimisers go round, so that all are seen without all combinations
  for (auto const& [side, channels] : {std::pair{28, 1}, {32, 3}})
    for (int eighths = 1; eighths <= max_eighths; eighths *= 2)
      for (int depth = 0; depth < 2; ++depth) {
        Workload workload{found->second({side, channels, eighths, depth}), batches[next % batches.size()],
                          optimisers[(next / batches.size() + next) % optimisers.size()]};
        workload.architecture.name = concat(family, "-w", eighths, "-d", depth, "-b", workload.batch, "-",
                                            name(workload.optimiser), channels == 1 ? "-grey" : "-colour");
        all.push_back(std::move(workload));
        ++next;
      }
  return all;
}

} // namespace nasturtium::estimator
