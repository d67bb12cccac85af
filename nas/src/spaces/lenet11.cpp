// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The MNIST space of the weight transfer papers: two blocks of convolution, activation and pooling, two dense layers, a
// dropout. Eleven genes; inside an option list the last factor varies fastest. 37,324,800 genomes on 28 x 28 images.
#include "spaces.hpp"

#include "../fixed_length.hpp"
#include "../graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <algorithm>
#include <array>

namespace nasturtium::nas::impl {

namespace {

using nn::spec::Activation;
using nn::spec::ActivationKind;
using nn::spec::Conv2d;
using nn::spec::Dense;
using nn::spec::Dropout;
using nn::spec::Flatten;
using nn::spec::PaddingKind;
using nn::spec::Pool2d;

constexpr std::array activations{ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid};
// 0: none. The papers list 2 and 3 twice, without and with their stride, which is the size by default.
constexpr std::array pools{0, 2, 3, 2, 3};
constexpr std::array dense_units{32, 64, 96, 128, 256, 512};
constexpr std::array drop_rates{0., .02, .05, .1, .2, .3, .4, .5};
constexpr std::int64_t max_pixels = (std::int64_t{1} << 30) / (16 * 512);

/// kernel 3, 4 x filters 8, 16 x valid, same
Conv2d convolution(int option)
{
  int const kernel = option / 4 == 0 ? 3 : 4;
  Conv2d conv;
  conv.filters = option / 2 % 2 == 0 ? 8 : 16;
  conv.kernel = {kernel, kernel};
  conv.padding.kind = option % 2 == 0 ? PaddingKind::valid : PaddingKind::same;
  return conv;
}

class Lenet11 : public FixedLengthSpace
{
public:
  explicit Lenet11(Task const& task)
      : FixedLengthSpace("lenet11", task,
                         {{"conv1", 8},
                          {"act1", 3},
                          {"pool1", 5},
                          {"conv2", 8},
                          {"act2", 3},
                          {"pool2", 5},
                          {"dense1", 6},
                          {"act3", 3},
                          {"dense2", 6},
                          {"act4", 3},
                          {"drop", 8}},
                         Crossover::uniform)
  {
    int const smallest = std::min(task.input.height, task.input.width);
    require(smallest >= 3, "lenet11: the images must be at least 3 x 3, got ", task.input.height, " x ",
            task.input.width);
    // The largest dense kernel, 16 channels of every pixel to 512 units, is the largest that an architecture may have.
    std::int64_t const pixels = std::int64_t{task.input.height} * task.input.width;
    require(pixels <= max_pixels, "lenet11: the images must have at most ", max_pixels, " pixels, got ",
            task.input.height, " x ", task.input.width);
  }

  /// Genomes that fit the task's images: all, from 21 x 21 on.
  double size() const override
  {
    int fitting = 0;
    Genome genome(genes().size());
    for (genome[0] = 0; genome[0] < 8; ++genome[0])
      for (genome[2] = 0; genome[2] < 5; ++genome[2])
        for (genome[3] = 0; genome[3] < 8; ++genome[3])
          for (genome[5] = 0; genome[5] < 5; ++genome[5])
            fitting += fits(genome) ? 1 : 0;
    return FixedLengthSpace::size() / (8 * 5 * 8 * 5) * fitting;
  }

  void check(Genome const& genome) const override
  {
    FixedLengthSpace::check(genome);
    int const misfit = first_misfit(genome);
    if (misfit < 0) return;
    auto const gene = static_cast<std::size_t>(misfit);
    fail("lenet11: gene ", misfit, " (", genes()[gene].name, ") = ", genome[gene], " does not fit images of ",
         task().input.height, " x ", task().input.width);
  }

  nn::spec::Architecture decode(Genome const& genome) const override
  {
    check(genome);
    GraphBuilder builder(task());
    for (std::size_t block = 0; block < 2; ++block) {
      builder.append(convolution(genome[3 * block]));
      builder.append(activation(genome[3 * block + 1]));
      int const pool = option(pools, genome[3 * block + 2]);
      if (pool != 0) {
        Pool2d op;
        op.kernel = op.stride = {pool, pool};
        builder.append(op);
      }
    }
    builder.append(Flatten{});
    for (std::size_t layer = 0; layer < 2; ++layer) {
      builder.append(Dense{option(dense_units, genome[6 + 2 * layer])});
      builder.append(activation(genome[7 + 2 * layer]));
    }
    double const rate = option(drop_rates, genome[10]);
    if (rate > 0) builder.append(Dropout{rate});
    return builder.finish(architecture_name(name(), genome));
  }

protected:
  bool fits(Genome const& genome) const override { return first_misfit(genome) < 0; }

private:
  static Activation activation(int gene) { return {option(activations, gene)}; }

  /// The first gene whose window is larger than what is left of the image; -1: none.
  int first_misfit(Genome const& genome) const
  {
    int extent = std::min(task().input.height, task().input.width);
    for (std::size_t block = 0; block < 2; ++block) {
      Conv2d const conv = convolution(genome[3 * block]);
      if (conv.padding.kind == PaddingKind::valid) extent -= conv.kernel[0] - 1;
      if (extent < 1) return static_cast<int>(3 * block);
      int const pool = option(pools, genome[3 * block + 2]);
      if (pool != 0) extent /= pool;
      if (extent < 1) return static_cast<int>(3 * block + 2);
    }
    return -1;
  }
};

} // namespace

std::unique_ptr<SearchSpace> make_lenet11(Task const& task)
{
  return std::make_unique<Lenet11>(task);
}

} // namespace nasturtium::nas::impl
