// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The NT3 spaces of the weight transfer papers: gene expressions of tumour and normal tissue, 60,483 values in a row,
// read by convolutions along it. A sample is height x 1 x 1, a convolution k x 1. Inside an option list the last factor
// varies fastest.
#include "spaces.hpp"

#include "../chain_space.hpp"

#include <nasturtium/core/error.hpp>

namespace nasturtium::nas::impl {

namespace {

using nn::spec::ActivationKind;
using nn::spec::Conv2d;
using nn::spec::Flatten;
using nn::spec::PaddingKind;
using nn::spec::Pool2d;

using Kinds = std::vector<ActivationKind>;
constexpr auto relu = ActivationKind::relu, tanh = ActivationKind::tanh, sigmoid = ActivationKind::sigmoid;

Conv2d convolution(int kernel, int filters)
{
  Conv2d conv;
  conv.filters = filters;
  conv.kernel = {kernel, 1};
  conv.padding.kind = PaddingKind::valid;
  return conv;
}

Pool2d pooling(int size, int stride)
{
  Pool2d pool;
  pool.kernel = {size, 1};
  pool.stride = {stride, 1};
  return pool;
}

/// Kernels x filters x activations.
Options convolutions(std::vector<int> const& kernels, std::vector<int> const& filters, Kinds const& kinds)
{
  Options options;
  for (int const kernel : kernels)
    for (int const count : filters)
      for (ActivationKind const kind : kinds)
        options.push_back({convolution(kernel, count), nn::spec::Activation{kind}});
  return options;
}

/// Maximum poolings with their size as stride.
Options poolings(std::vector<int> const& sizes)
{
  return options_of(sizes, [](int size) { return Layers{pooling(size, size)}; });
}

Options with_none(Options options)
{
  options.insert(options.begin(), Layers{});
  return options;
}

/// The two dense layers of all but nt3-12.
void add_dense(ChainList& list, std::vector<int> const& second_units, Kinds const& kinds,
               std::vector<double> const& rates)
{
  list.always(Flatten{});
  list.gene("dense1", dense_layers({32, 97, 16})).gene("act1", activations(kinds)).gene("drop1", dropouts(rates));
  list.gene("dense2", dense_layers(second_units)).gene("act2", activations(kinds)).gene("drop2", dropouts(rates));
}

/// One convolution and one pooling of any size and stride.
void add_block(ChainList& list, Kinds const& kinds)
{
  Options pools;
  for (int size = 2; size <= 6; ++size)
    for (int stride = 1; stride <= 5; ++stride)
      pools.push_back({pooling(size, stride)});
  list.gene("conv", convolutions({3, 4, 5, 6}, {4, 8}, kinds)).gene("pool", with_none(std::move(pools)));
}

std::unique_ptr<SearchSpace> make(std::string_view name, Task const& task, ChainList list, int shortest,
                                  std::int64_t longest = std::int64_t{1} << 20)
{
  nn::spec::Shape const& input = task.input;
  require(input.width == 1 && input.channels == 1, name, ": the samples must be height x 1 x 1, got ", input.height,
          " x ", input.width, " x ", input.channels);
  require(input.height >= shortest && input.height <= longest, name, ": the samples' height must be in [", shortest,
          ", ", longest, "], got ", input.height);
  return std::make_unique<ChainSpace>(name, task, std::move(list));
}

} // namespace

std::unique_ptr<SearchSpace> make_nt3_12(Task const& task)
{
  Options const convs =
      with_none(options_of(std::vector{3, 4, 5, 6}, [](int kernel) { return Layers{convolution(kernel, 8)}; }));
  Options const pools = with_none(poolings({3, 4, 5, 6}));
  Options const acts = with_none(activations({relu, tanh, sigmoid}));
  Options const dense = dense_layers({0, 10, 50, 100, 200, 250, 500, 750, 1000});
  Options const drops = dropouts({0, .5, .4, .3, .2, .1, .05});
  ChainList list;
  list.gene("conv1", convs).gene("act1", acts).gene("pool1", pools);
  list.gene("conv2", convs).gene("act2", acts).gene("pool2", pools);
  list.always(Flatten{});
  list.gene("dense1", dense).gene("act3", acts).gene("drop1", drops);
  list.gene("dense2", dense).gene("act4", acts).gene("drop2", drops);
  // The largest dense kernel, eight channels of every row to 1,000 units, must not be larger than one may be.
  return make("nt3-12", task, std::move(list), 1, (std::int64_t{1} << 30) / (8 * 1000));
}

std::unique_ptr<SearchSpace> make_nt3_8(Task const& task)
{
  ChainList list;
  add_block(list, {relu, tanh});
  add_dense(list, {16, 20, 24, 28, 32}, {relu, tanh}, {.5, .4, .3, .2, 0});
  return make("nt3-8", task, std::move(list), 3);
}

std::unique_ptr<SearchSpace> make_nt3_8_full(Task const& task)
{
  ChainList list;
  add_block(list, {relu, tanh, sigmoid});
  add_dense(list, {16, 24, 32}, {relu, tanh, sigmoid}, {0, .02, .05, .1, .2, .3, .4, .5});
  return make("nt3-8-full", task, std::move(list), 3);
}

std::unique_ptr<SearchSpace> make_nt3_10(Task const& task)
{
  Options const convs = convolutions({15, 20, 25}, {48, 56, 60}, {relu, tanh});
  ChainList list;
  list.gene("conv1", convs).gene("pool1", poolings({5, 10, 15, 20, 25, 30, 35}));
  list.gene("conv2", convs).gene("pool2", poolings({5, 10, 15, 20}));
  add_dense(list, {16, 20, 24, 28, 32}, {relu, tanh}, {.5, .4, .3, .2, 0});
  // Two kernels of 15 rows and two poolings of 5 leave one row of 109.
  return make("nt3-10", task, std::move(list), 109);
}

} // namespace nasturtium::nas::impl
