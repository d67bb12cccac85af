// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gene_draw.hpp"
#include "gene_limits.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nasturtium::estimator {
namespace {

constexpr int oversampling = 20; ///< candidates per network of `skewed`
constexpr double skew = 6;
constexpr int max_tries = 10'000;

Individual draw_individual(GeneratorOptions const& options, Random& random)
{
  for (int tries = 0; tries < max_tries; ++tries) {
    auto genome = draw_genome(options, random);
    if (auto workload = decode(genome, options.caps, options.classes)) return {std::move(genome), std::move(*workload)};
  }
  fail("ranges and caps leave no networks: ", max_tries, " genomes in a row were over a cap, the last was ",
       quoted(to_text(draw_genome(options, random))));
}

/// `count` of the individuals, in their order.
std::vector<Individual> keep_cheap(std::vector<Individual> individuals, int count, Random& random)
{
  std::vector<double> flops;
  for (auto const& individual : individuals)
    flops.push_back(step_flops(describe(individual.workload)));
  std::vector<std::size_t> order(individuals.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return flops[a] < flops[b]; });
  // Weighted draws without replacement: the largest of log(u) / weight (Efraimidis and Spirakis, 2006).
  std::vector<double> key(individuals.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    double const rank = static_cast<double>(i) / std::max(1.0, static_cast<double>(order.size()) - 1);
    key[order[i]] = std::log(1 - random.uniform()) / std::exp(-skew * rank);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key[a] > key[b]; });
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  std::vector<Individual> kept;
  for (std::size_t const i : order)
    kept.push_back(std::move(individuals[i]));
  return kept;
}

void check_range(char const* what, int low, int high, int least, int most)
{
  require(least <= low && low <= high && high <= most, "range of ", what, " must lie in [", least, ", ", most,
          "], got [", low, ", ", high, "]");
}

void check_list(char const* what, std::vector<int> const& values, int least, int most)
{
  require(!values.empty(), "list of ", what, " must not be empty");
  for (int const value : values)
    require(value >= least && value <= most, what, " must be in [", least, ", ", most, "], got ", value);
}

} // namespace

void check(GeneratorOptions const& options)
{
  check_range("log2 of the batch", options.min_log2_batch, options.max_log2_batch, 0, impl::max_log2_batch);
  check_range("genes", options.min_genes, options.max_genes, 1, impl::max_genes);
  check_range("filters", options.min_filters, options.max_filters, 1, impl::max_channels);
  check_range("units", options.min_units, options.max_units, 1, impl::max_units);
  check_range("dropout rates (per cent)", options.min_rate, options.max_rate, 1, impl::max_rate);
  check_list("sides", options.sides, 1, impl::max_side);
  check_list("channels", options.channels, 1, impl::max_channels);
  check_list("kernels", options.kernels, 1, impl::max_kernel);
  check_list("grouped kernels", options.grouped_kernels, 1, impl::max_kernel);
  check_list("strides", options.strides, 1, impl::max_stride);
  check_list("groups", options.groups, 0, impl::max_channels);
  check_list("windows", options.windows, 2, impl::max_kernel);
  require(!options.optimisers.empty(), "list of optimisers must not be empty");
  for (auto const optimiser : options.optimisers)
    to_options(optimiser); // throws for those that do not train here
  double sum = 0;
  for (double const weight : options.weights) {
    require(weight >= 0 && std::isfinite(weight), "weights of genes must be finite and not negative, got ", weight);
    sum += weight;
  }
  require(sum > 0, "weights of genes must not all be 0");
  require(options.classes >= 2 && options.classes <= impl::max_units, "classes must be in [2, ", impl::max_units,
          "], got ", options.classes);
}

Gene impl::draw_gene(GeneratorOptions const& options, std::array<double, gene_kinds> const& weights, Random& random)
{
  using nn::spec::ActivationKind;
  using nn::spec::PoolKind;
  switch (static_cast<GeneKind>(random.weighted(weights))) {
  case GeneKind::conv: {
    ConvGene gene;
    gene.filters = random.log_uniform(options.min_filters, options.max_filters);
    gene.kernel = random.pick(options.kernels);
    gene.stride = random.pick(options.strides);
    gene.same = random.chance(.5);
    gene.bias = random.chance(.5);
    return gene;
  }
  case GeneKind::grouped_conv: {
    GroupedConvGene gene;
    gene.kernel = random.pick(options.grouped_kernels);
    gene.stride = random.pick(options.strides);
    gene.groups = random.pick(options.groups);
    return gene;
  }
  case GeneKind::max_pool:
    return PoolGene{PoolKind::max, random.pick(options.windows)};
  case GeneKind::average_pool:
    return PoolGene{PoolKind::average, random.pick(options.windows)};
  case GeneKind::dense:
    return DenseGene{random.log_uniform(options.min_units, options.max_units)};
  case GeneKind::batch_norm:
    return BatchNormGene{};
  case GeneKind::dropout:
    return DropoutGene{random.log_uniform(options.min_rate, options.max_rate)};
  case GeneKind::activation: {
    constexpr std::array kinds{ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid};
    return ActivationGene{kinds[static_cast<std::size_t>(random.below(3))]};
  }
  case GeneKind::flatten:
    return FlattenGene{random.chance(.5)};
  case GeneKind::add:
    break;
  }
  return AddGene{1 + random.below(3)};
}

Genome draw_genome(GeneratorOptions const& options, Random& random)
{
  Genome genome;
  genome.batch = 1 << (options.min_log2_batch + random.below(options.max_log2_batch - options.min_log2_batch + 1));
  genome.side = random.pick(options.sides);
  genome.channels = random.pick(options.channels);
  genome.optimiser = random.pick(options.optimisers);
  int const count = random.log_uniform(options.min_genes, options.max_genes);
  for (int i = 0; i < count; ++i)
    genome.genes.push_back(impl::draw_gene(options, random));
  return genome;
}

std::vector<std::string> generator_names()
{
  return {"uniform", "skewed"};
}

std::vector<Individual> draw(std::string const& generator, int count, GeneratorOptions const& options, Random& random)
{
  require(generator == "uniform" || generator == "skewed", "generator must be uniform or skewed, got ",
          quoted(generator));
  require(count >= 0, "number of networks to draw must not be negative, got ", count);
  bool const skewed = generator == "skewed";
  std::vector<Individual> individuals;
  for (int i = 0; i < (skewed ? oversampling : 1) * count; ++i)
    individuals.push_back(draw_individual(options, random));
  return skewed ? keep_cheap(std::move(individuals), count, random) : individuals;
}

} // namespace nasturtium::estimator
