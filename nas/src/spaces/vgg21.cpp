// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The CIFAR-10 space of the weight transfer papers: three blocks of two convolutions and a pooling, two dense layers,
// batch norm where its gene is on. Twenty-one genes; inside an option list the last factor varies fastest. vgg21-narrow
// has filters for a laptop: 4, 8, 12, 16.
#include "spaces.hpp"

#include "../chain_space.hpp"

#include <nasturtium/core/error.hpp>

#include <array>

namespace nasturtium::nas::impl {

namespace {

using nn::spec::ActivationKind;
using nn::spec::Conv2d;
using nn::spec::PaddingKind;
using nn::spec::Pool2d;
using nn::spec::PoolKind;

constexpr std::int64_t max_values = std::int64_t{1} << 30; // of a kernel
constexpr std::int64_t max_pixels = max_values / (128 * 256);
constexpr std::int64_t max_channels = max_values / (5 * 5 * 128);

/// A convolution chooses its activation as well, which stands behind the batch norm.
struct Convolutions
{
  Options layers, activations;

  explicit Convolutions(std::array<int, 4> const& widths)
  {
    for (int const kernel : {3, 5})
      for (int const filters : widths)
        for (ActivationKind const activation : {ActivationKind::relu, ActivationKind::tanh}) {
          Conv2d conv;
          conv.filters = filters;
          conv.kernel = {kernel, kernel};
          conv.padding.kind = PaddingKind::same;
          layers.push_back({conv});
          activations.push_back({nn::spec::Activation{activation}});
        }
  }
};

Options poolings()
{
  Options options{{}};
  for (PoolKind const kind : {PoolKind::max, PoolKind::average})
    for (int const size : {2, 3}) {
      Pool2d pool;
      pool.kind = kind;
      pool.kernel = {size, size};
      pool.stride = {2, 2};
      options.push_back({pool});
    }
  return options;
}

std::unique_ptr<SearchSpace> make(std::string_view name, Task const& task, std::array<int, 4> const& widths)
{
  nn::spec::Shape const& input = task.input;
  require(std::int64_t{input.height} * input.width <= max_pixels, name, ": the images must have at most ", max_pixels,
          " pixels, got ", input.height, " x ", input.width);
  require(input.channels <= max_channels, name, ": the images must have at most ", max_channels, " channels, got ",
          input.channels);

  Convolutions const convolutions(widths);
  Options const norms{{}, {nn::spec::BatchNorm{}}};
  Options const drops = dropouts({0, .02, .05, .1, .2, .3, .4, .5});
  nn::spec::Activation const relu{ActivationKind::relu};
  std::vector<int> units;
  for (int i = 1; i <= 16; ++i)
    units.push_back(16 * i);

  ChainList list;
  for (std::size_t block = 0; block < 3; ++block) {
    for (std::size_t i = 0; i < 2; ++i) {
      std::string const number = std::to_string(2 * block + i + 1);
      list.gene("conv" + number, convolutions.layers).gene("bn" + number, norms);
      list.also(5 * block + 2 * i, convolutions.activations);
    }
    list.gene("pool" + std::to_string(block + 1), poolings());
  }
  list.always(nn::spec::Flatten{});
  list.gene("dense1", dense_layers(units)).gene("bn7", norms).always(relu).gene("drop1", drops);
  list.gene("dense2", dense_layers({32, 64, 96, 128, 160, 192, 224, 256})).gene("bn8", norms).always(relu);
  list.gene("drop2", drops);
  return std::make_unique<ChainSpace>(name, task, std::move(list));
}

} // namespace

std::unique_ptr<SearchSpace> make_vgg21(Task const& task)
{
  return make("vgg21", task, {16, 32, 64, 128});
}

std::unique_ptr<SearchSpace> make_vgg21_narrow(Task const& task)
{
  return make("vgg21-narrow", task, {4, 8, 12, 16});
}

} // namespace nasturtium::nas::impl
