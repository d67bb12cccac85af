// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The MNIST space of the weight transfer papers: two blocks of convolution, activation and pooling, two dense layers, a
// dropout. Eleven genes; inside an option list the last factor varies fastest. 37,324,800 genomes on 28 x 28 images.
#include "spaces.hpp"

#include "../chain_space.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <array>

namespace nasturtium::nas::impl {

namespace {

using nn::spec::ActivationKind;
using nn::spec::Conv2d;
using nn::spec::PaddingKind;
using nn::spec::Pool2d;

constexpr std::int64_t max_pixels = (std::int64_t{1} << 30) / (16 * 512);

Options convolutions()
{
  Options options;
  for (int const kernel : {3, 4})
    for (int const filters : {8, 16})
      for (PaddingKind const padding : {PaddingKind::valid, PaddingKind::same}) {
        Conv2d conv;
        conv.filters = filters;
        conv.kernel = {kernel, kernel};
        conv.padding.kind = padding;
        options.push_back({conv});
      }
  return options;
}

Options poolings()
{
  // 0: none. The papers list 2 and 3 twice, without and with their stride, which is the size by default.
  return options_of(std::array{0, 2, 3, 2, 3}, [](int size) {
    Pool2d pool;
    pool.kernel = pool.stride = {size, size};
    return size == 0 ? Layers{} : Layers{pool};
  });
}

} // namespace

std::unique_ptr<SearchSpace> make_lenet11(Task const& task)
{
  nn::spec::Shape const& input = task.input;
  require(std::min(input.height, input.width) >= 3, "lenet11: the images must be at least 3 x 3, got ", input.height,
          " x ", input.width);
  // The largest dense kernel, 16 channels of every pixel to 512 units, is the largest that an architecture may have.
  require(std::int64_t{input.height} * input.width <= max_pixels, "lenet11: the images must have at most ", max_pixels,
          " pixels, got ", input.height, " x ", input.width);

  Options const acts = activations({ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid});
  Options const dense = dense_layers({32, 64, 96, 128, 256, 512});
  ChainList list;
  list.gene("conv1", convolutions()).gene("act1", acts).gene("pool1", poolings());
  list.gene("conv2", convolutions()).gene("act2", acts).gene("pool2", poolings());
  list.always(nn::spec::Flatten{});
  list.gene("dense1", dense).gene("act3", acts).gene("dense2", dense).gene("act4", acts);
  list.gene("drop", dropouts({0, .02, .05, .1, .2, .3, .4, .5}));
  return std::make_unique<ChainSpace>("lenet11", task, std::move(list));
}

} // namespace nasturtium::nas::impl
