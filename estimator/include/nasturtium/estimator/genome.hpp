// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Genomes of networks to be timed: a header and a list of layer genes, their generators, decoder and genetic operators
// (reference sections 2.2 and 2.3; a reconstruction, the paper's own encoding is not known). The phenotype is this
// project's architecture, not a Keras program; program.hpp writes a readable PyTorch one. The reference's optional
// attention gene is left out: no network of this project has attention. Host-only.
#pragma once

#include <nasturtium/estimator/random.hpp>
#include <nasturtium/estimator/workload.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nasturtium::estimator {

struct ConvGene
{
  int filters = 16, kernel = 3, stride = 1;
  bool same = true; ///< padding; else valid
  bool bias = true;
  friend bool operator==(ConvGene const&, ConvGene const&) = default;
};
/// A convolution with groups that keeps the number of channels; padding "same", with bias.
struct GroupedConvGene
{
  int kernel = 3, stride = 1;
  int groups = 0; ///< 0: all, a depthwise convolution
  friend bool operator==(GroupedConvGene const&, GroupedConvGene const&) = default;
};
/// Stride 2, no padding.
struct PoolGene
{
  nn::spec::PoolKind kind = nn::spec::PoolKind::max;
  int window = 2;
  friend bool operator==(PoolGene const&, PoolGene const&) = default;
};
struct DenseGene
{
  int units = 64;
  friend bool operator==(DenseGene const&, DenseGene const&) = default;
};
struct BatchNormGene
{
  friend bool operator==(BatchNormGene const&, BatchNormGene const&) = default;
};
struct DropoutGene
{
  int rate = 50; ///< per cent
  friend bool operator==(DropoutGene const&, DropoutGene const&) = default;
};
struct ActivationGene
{
  nn::spec::ActivationKind kind = nn::spec::ActivationKind::relu; ///< relu, tanh or sigmoid
  friend bool operator==(ActivationGene const&, ActivationGene const&) = default;
};
struct FlattenGene
{
  bool global = false; ///< global average pooling instead
  friend bool operator==(FlattenGene const&, FlattenGene const&) = default;
};
/// Adds what was there `back` genes before, through a 1x1 convolution where the shapes differ.
struct AddGene
{
  int back = 1;
  friend bool operator==(AddGene const&, AddGene const&) = default;
};

using Gene = std::variant<ConvGene, GroupedConvGene, PoolGene, DenseGene, BatchNormGene, DropoutGene, ActivationGene,
                          FlattenGene, AddGene>;

/// Rows of the reference's table, in the order of GeneratorOptions::weights.
enum class GeneKind {
  conv,
  grouped_conv,
  max_pool,
  average_pool,
  dense,
  batch_norm,
  dropout,
  activation,
  flatten,
  add
};
inline constexpr std::size_t gene_kinds = 10;
GeneKind kind_of(Gene const& gene);

struct Genome
{
  int batch = 1;
  int side = 8;     ///< height and width of the image
  int channels = 1; ///< of the image
  Optimiser optimiser = Optimiser::sgd;
  std::vector<Gene> genes;
  friend bool operator==(Genome const&, Genome const&) = default;
};

/// One line, version 1, words with one blank between them:
///   g1 batch-32 side-28 channels-1 adam conv-64-k3-s1-same-bias grouped-k3-s2-all max-2 average-3 dense-128 norm
///   dropout-30 relu flatten global add-2
/// ("valid" and "free" are the other paddings and biases, "grouped-k5-s1-4" has four groups, tanh and sigmoid are the
/// other activations).
std::string to_text(Genome const& genome);
/// Reads such a line back. Throws Error naming `source`, the gene, the field and the value. The limits of the fields
/// (batch 2^16, side 512, filters 1024, kernel 15, 256 genes, ...) are wider than the table's ranges and keep every
/// tensor within what an architecture may have.
Genome parse_genome(std::string_view text, std::string const& source);
/// SHA-256 (hex) of the text.
std::string hash(Genome const& genome);

/// What a network may take. Over one of them the widest layer is halved.
struct Caps
{
  std::int64_t parameters = 20'000'000;
  std::int64_t memory_bytes = std::int64_t{1} << 30; ///< as nn::spec::estimate_memory has it
  double step_flops = 0; ///< 0: none. The reference caps the seconds of a step, which only a measurement knows; a
                         ///< caller with an idea of the device's rate spares itself networks that would be given up
};

/// The genome with every gene legal where it stands: shapes are propagated, a valid convolution wider than the image
/// becomes same, a pool wider than it takes the image's side as its window, a pool at a side below 2 is dropped, groups
/// fall to the largest of 8, 4, 2 that divides the channels (all where none does), spatial genes behind the flatten are
/// dropped, a dense gene before it inserts one, and at the end one is appended; what is inserted or appended is a
/// global pool where the flat width is above 8192. An add gene whose extents no stride matches is dropped. The head
/// (dense to the classes) is no gene. repair(repair(g)) == repair(g). Reference section 2.2.
Genome repair(Genome const& genome);

/// Repair, then the architecture (named after the genome's hash) with its head, batch and optimiser; nothing where it
/// is over a cap and stays so with the widest layer (convolution filters or dense units) halved ten times. Pure.
/// Linear in the genes for each halving. Throws Error for caps below 1, or above 2^30 parameters.
std::optional<Workload> decode(Genome const& genome, Caps const& caps = {}, int classes = 10);

/// SHA-256 (hex) of what is timed: layers, batch, optimiser. Two genomes that decode to one network share it.
std::string network_hash(Workload const& workload);

/// Ranges of the generators and of the mutations; the defaults are the reference's table. A smaller laptop takes
/// smaller sides, batches and widths. Ranges of integers are log-uniform; from lists every value is as likely.
struct GeneratorOptions
{
  int min_log2_batch = 0, max_log2_batch = 7; ///< the batch is a power of two
  std::vector<int> sides{8, 16, 24, 28, 32, 48, 64};
  std::vector<int> channels{1, 3};
  std::vector<Optimiser> optimisers{Optimiser::sgd, Optimiser::momentum, Optimiser::adam};
  int min_genes = 1, max_genes = 24;
  int min_filters = 4, max_filters = 256;
  std::vector<int> kernels{1, 3, 5, 7};
  std::vector<int> grouped_kernels{3, 5, 7};
  std::vector<int> strides{1, 2};
  std::vector<int> groups{0, 2, 4, 8}; ///< 0: all
  std::vector<int> windows{2, 3};      ///< of pools
  int min_units = 8, max_units = 1024;
  int min_rate = 10, max_rate = 50; ///< dropout, per cent
  /// By GeneKind: conv, grouped conv, max pool, average pool, dense, batch norm, dropout, activation, flatten or global
  /// pool (either as likely), add. The last is an option of the reference, off.
  std::array<double, gene_kinds> weights{.30, .08, .08, .04, .12, .12, .06, .16, .04, 0};
  int classes = 10;
  Caps caps;
};
/// Throws Error naming the option and its value for anything out of range (those of parse_genome).
void check(GeneratorOptions const& options);

/// A genome and what it decodes to.
struct Individual
{
  Genome genome;
  Workload workload;
};

/// One genome of the table, genes independent. It may be over a cap.
Genome draw_genome(GeneratorOptions const& options, Random& random);

/// `uniform`: draw_genome, drawn again where it does not decode. `skewed`: 20 times as many of those, ranked by FLOPs
/// of a step on [0, 1] from the cheapest, of which `count` are kept with weights exp(-6 rank), without replacement.
/// Networks may repeat. Throws Error for an unknown generator (the known are listed), and where 10,000 genomes in a row
/// do not decode.
std::vector<Individual> draw(std::string const& generator, int count, GeneratorOptions const& options, Random& random);
std::vector<std::string> generator_names(); ///< "uniform", "skewed"

/// Genetic operators of one generation.
struct Operators
{
  double a = 0;          ///< how far the error has come down, in [0, 1]
  double p_mut = 0;      ///< mutations of a child: Binomial(genes, p_mut), at least 1
  double immigrants = 0; ///< share of a generation that is drawn afresh
  double p_cross = 0;    ///< probability of a crossover
  double size_sd = 0;    ///< of a change of size, in log2

  int immigrants_of(int count) const; ///< the share as a rounded count
};

enum class OperatorSchedule { dynamic, constant, inverse };
/// "dynamic", "static" or "inverse"; throws Error naming `source` otherwise.
OperatorSchedule parse_schedule(std::string const& text, std::string const& source);

/// The operators that follow a probe error (MAPE as a fraction, not negative): a = clamp((0.40 - error) / 0.30, 0, 1),
/// 0.5 for a constant schedule, 1 - a for the inverse one; p_mut = .10 + .30 a, immigrants = .05 + .45 a, p_cross =
/// .90 - .40 a, size_sd = .5 + a. An infinite error is 0 of the way. Reference section 2.3.
Operators operators_at(double error, OperatorSchedule schedule);

/// One cut in each list of genes: the head of the first parent's, the tail of the second's, 1 to `max_genes` together
/// (or as many as the first has, where those are more); the header is the first parent's.
Genome crossover(Genome const& first, Genome const& second, GeneratorOptions const& options, Random& random);

/// Binomial(genes, p_mut) mutations, at least 1, each with equal chances: insert a gene, delete one, change a size
/// (filters, units or rate times 2^N(0, size_sd), another value within the range), change a kind (a gene of another
/// kind in its place), change the batch (another power of two). A mutation that has nothing to work on becomes a change
/// of kind.
Genome mutate(Genome genome, Operators const& operators, GeneratorOptions const& options, Random& random);

} // namespace nasturtium::estimator
