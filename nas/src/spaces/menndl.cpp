// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A space in the manner of MENNDL (Young et al., "Optimizing deep learning hyper-parameters through an evolutionary
// algorithm", MLHPC 2015): a fixed number of layer slots whose types and hyperparameters are genes. Six feature slots
// and two dense slots; slots, options and the global average pooling between them are our choice, so that a network
// fits any image and stays small.
#include "spaces.hpp"

#include "../fixed_length.hpp"
#include "../graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <array>

namespace nasturtium::nas::impl {

namespace {

constexpr int feature_slots = 6;
constexpr int dense_slots = 2;
constexpr std::size_t feature_genes = 5;
constexpr std::size_t dense_genes = 3;

enum Type { none, conv, conv_norm, max_pool, average_pool, types };

constexpr std::array filters{8, 16, 24, 32, 48};
constexpr std::array kernels{1, 2, 3, 5};
constexpr std::array strides{1, 2};
constexpr std::array drop_rates{0., .1, .25, .5};
constexpr std::array dense_units{32, 64, 128, 256};

std::vector<Gene> make_genes()
{
  std::vector<Gene> genes;
  for (int slot = 1; slot <= feature_slots; ++slot) {
    std::string const prefix = "slot " + std::to_string(slot) + " ";
    genes.push_back({prefix + "type", types});
    genes.push_back({prefix + "width", filters.size()});
    genes.push_back({prefix + "kernel", kernels.size()});
    genes.push_back({prefix + "stride", strides.size()});
    genes.push_back({prefix + "dropout", drop_rates.size()});
  }
  for (int slot = 1; slot <= dense_slots; ++slot) {
    std::string const prefix = "dense slot " + std::to_string(slot) + " ";
    genes.push_back({prefix + "type", 2});
    genes.push_back({prefix + "width", dense_units.size()});
    genes.push_back({prefix + "dropout", drop_rates.size()});
  }
  return genes;
}

class Menndl : public FixedLengthSpace
{
public:
  explicit Menndl(Task const& task) : FixedLengthSpace("menndl", task, make_genes(), Crossover::uniform) {}

  nn::spec::Architecture decode(Genome const& genome) const override
  {
    check(genome);
    GraphBuilder builder(task());
    int const* gene = genome.data();
    for (int slot = 0; slot < feature_slots; ++slot, gene += feature_genes)
      append_feature(builder, gene[0], option(filters, gene[1]), option(kernels, gene[2]), option(strides, gene[3]),
                     option(drop_rates, gene[4]));
    builder.append(nn::spec::GlobalAvgPool{});
    for (int slot = 0; slot < dense_slots; ++slot, gene += dense_genes) {
      if (gene[0] == 0) continue;
      builder.append(nn::spec::Dense{option(dense_units, gene[1])});
      builder.append(nn::spec::Activation{});
      append_dropout(builder, option(drop_rates, gene[2]));
    }
    return builder.finish(architecture_name(name(), genome));
  }

private:
  /// Genes that the slot's type does not ask for have no effect, and a pooling of one pixel with stride 1 is no layer.
  static void append_feature(GraphBuilder& builder, int type, int width, int kernel, int stride, double rate)
  {
    bool const pools = type == max_pool || type == average_pool;
    if (type == none || (pools && kernel == 1 && stride == 1)) return;
    if (pools) {
      nn::spec::Pool2d op;
      op.kind = type == max_pool || kernel == 1 ? nn::spec::PoolKind::max : nn::spec::PoolKind::average;
      op.kernel = {kernel, kernel};
      op.stride = {stride, stride};
      op.padding.kind = nn::spec::PaddingKind::same;
      builder.append(op);
    } else {
      nn::spec::Conv2d op;
      op.filters = width;
      op.kernel = {kernel, kernel};
      op.stride = {stride, stride};
      op.bias = type == conv; // a batch norm brings its own
      builder.append(op);
      if (type == conv_norm) builder.append(nn::spec::BatchNorm{});
      builder.append(nn::spec::Activation{});
    }
    append_dropout(builder, rate);
  }

  static void append_dropout(GraphBuilder& builder, double rate)
  {
    if (rate > 0) builder.append(nn::spec::Dropout{rate});
  }
};

} // namespace

std::unique_ptr<SearchSpace> make_menndl(Task const& task)
{
  return std::make_unique<Menndl>(task);
}

} // namespace nasturtium::nas::impl
