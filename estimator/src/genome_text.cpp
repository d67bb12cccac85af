// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gene_limits.hpp"

#include <nasturtium/estimator/genome.hpp>

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/sha256.hpp>

#include <algorithm>

namespace nasturtium::estimator {
namespace {

using nn::spec::ActivationKind;
using nn::spec::PoolKind;

char const* activation_name(ActivationKind kind)
{
  return kind == ActivationKind::tanh ? "tanh" : kind == ActivationKind::sigmoid ? "sigmoid" : "relu";
}

std::string group_text(int groups)
{
  return groups == 0 ? "all" : std::to_string(groups);
}

struct GeneText
{
  std::string operator()(ConvGene const& gene) const
  {
    return concat("conv-", gene.filters, "-k", gene.kernel, "-s", gene.stride, gene.same ? "-same" : "-valid",
                  gene.bias ? "-bias" : "-free");
  }
  std::string operator()(GroupedConvGene const& gene) const
  {
    return concat("grouped-k", gene.kernel, "-s", gene.stride, "-", group_text(gene.groups));
  }
  std::string operator()(PoolGene const& gene) const
  {
    return concat(gene.kind == PoolKind::max ? "max-" : "average-", gene.window);
  }
  std::string operator()(DenseGene const& gene) const { return concat("dense-", gene.units); }
  std::string operator()(BatchNormGene const&) const { return "norm"; }
  std::string operator()(DropoutGene const& gene) const { return concat("dropout-", gene.rate); }
  std::string operator()(ActivationGene const& gene) const { return activation_name(gene.kind); }
  std::string operator()(FlattenGene const& gene) const { return gene.global ? "global" : "flatten"; }
  std::string operator()(AddGene const& gene) const { return concat("add-", gene.back); }
};

std::vector<std::string_view> split(std::string_view text, char separator)
{
  std::vector<std::string_view> parts;
  for (;;) {
    auto const end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// The fields of one word, between '-', one after another.
class Fields
{
public:
  Fields(std::string_view word, std::string where) : m_parts(split(word, '-')), m_where(std::move(where)) {}

  std::string_view kind() const { return m_parts.front(); }
  std::string const& where() const { return m_where; }

  /// `prefix` and a whole number in [low, high], written without sign and leading zeros.
  int number(std::string_view field, std::string_view prefix, int low, int high)
  {
    auto const text = next(field);
    if (text.starts_with(prefix)) {
      auto const digits = text.substr(prefix.size());
      auto const value = parse_integer(digits);
      if (value && *value >= low && *value <= high && digits == std::to_string(*value)) return static_cast<int>(*value);
    }
    fail(m_where, ": field '", field, "' must be ", prefix.empty() ? "" : "'", prefix, prefix.empty() ? "" : "' and ",
         "a whole number in [", low, ", ", high, "], got ", quoted(text));
  }
  /// True for `yes`, false for `no`.
  bool either(std::string_view field, std::string_view yes, std::string_view no)
  {
    auto const text = next(field);
    require(text == yes || text == no, m_where, ": field '", field, "' must be '", yes, "' or '", no, "', got ",
            quoted(text));
    return text == yes;
  }
  int groups()
  {
    if (m_at < m_parts.size() && m_parts[m_at] == "all") {
      ++m_at;
      return 0;
    }
    return number("groups", "", 1, impl::max_channels);
  }
  void finish() const
  {
    require(m_at == m_parts.size(), m_where, ": has ", m_parts.size() - 1, " fields, expected ", m_at - 1);
  }

private:
  std::vector<std::string_view> m_parts;
  std::size_t m_at = 1;
  std::string m_where;

  std::string_view next(std::string_view field)
  {
    require(m_at < m_parts.size(), m_where, ": field '", field, "' is missing");
    return m_parts[m_at++];
  }
};

Gene parse_gene(Fields& fields)
{
  auto const kind = fields.kind();
  if (kind == "conv") {
    ConvGene gene;
    gene.filters = fields.number("filters", "", 1, impl::max_channels);
    gene.kernel = fields.number("kernel", "k", 1, impl::max_kernel);
    gene.stride = fields.number("stride", "s", 1, impl::max_stride);
    gene.same = fields.either("padding", "same", "valid");
    gene.bias = fields.either("bias", "bias", "free");
    return gene;
  }
  if (kind == "grouped") {
    GroupedConvGene gene;
    gene.kernel = fields.number("kernel", "k", 1, impl::max_kernel);
    gene.stride = fields.number("stride", "s", 1, impl::max_stride);
    gene.groups = fields.groups();
    return gene;
  }
  if (kind == "max" || kind == "average")
    return PoolGene{kind == "max" ? PoolKind::max : PoolKind::average,
                    fields.number("window", "", 2, impl::max_kernel)};
  if (kind == "dense") return DenseGene{fields.number("units", "", 1, impl::max_units)};
  if (kind == "norm") return BatchNormGene{};
  if (kind == "dropout") return DropoutGene{fields.number("rate", "", 1, impl::max_rate)};
  for (auto const activation : {ActivationKind::relu, ActivationKind::tanh, ActivationKind::sigmoid})
    if (kind == activation_name(activation)) return ActivationGene{activation};
  if (kind == "flatten") return FlattenGene{false};
  if (kind == "global") return FlattenGene{true};
  if (kind == "add") return AddGene{fields.number("back", "", 1, impl::max_back)};
  fail(fields.where(), ": unknown gene; known are conv, grouped, max, average, dense, norm, dropout, relu, tanh, "
                       "sigmoid, flatten, global and add");
}

} // namespace

GeneKind kind_of(Gene const& gene)
{
  if (auto const* pool = std::get_if<PoolGene>(&gene))
    return pool->kind == PoolKind::max ? GeneKind::max_pool : GeneKind::average_pool;
  // The alternatives stand in the order of the kinds, pools as one.
  auto const index = static_cast<int>(gene.index());
  return static_cast<GeneKind>(index < static_cast<int>(GeneKind::max_pool) ? index : index + 1);
}

std::string to_text(Genome const& genome)
{
  std::string text = concat("g1 batch-", genome.batch, " side-", genome.side, " channels-", genome.channels, " ",
                            name(genome.optimiser));
  for (auto const& gene : genome.genes)
    text += " " + std::visit(GeneText{}, gene);
  return text;
}

Genome parse_genome(std::string_view text, std::string const& source)
{
  auto const words = split(text, ' ');
  require(words.front() == "g1", source, ": a genome must start with its version, 'g1', got ", quoted(words.front()));
  require(words.size() >= 5, source, ": a genome must have batch, side, channels and optimiser, got ", quoted(text));
  auto const header = [&](std::size_t at, std::string_view field, int high) {
    Fields fields(words[at], concat(source, ": header ", quoted(words[at])));
    require(fields.kind() == field, fields.where(), ": expected '", field, "-NUMBER'");
    int const value = fields.number(field, "", 1, high);
    fields.finish();
    return value;
  };
  Genome genome;
  genome.batch = header(1, "batch", 1 << impl::max_log2_batch);
  genome.side = header(2, "side", impl::max_side);
  genome.channels = header(3, "channels", impl::max_channels);
  constexpr std::array trained{Optimiser::sgd, Optimiser::momentum, Optimiser::rmsprop, Optimiser::adam};
  auto const* const optimiser =
      std::find_if(trained.begin(), trained.end(), [&](Optimiser it) { return name(it) == words[4]; });
  require(optimiser != trained.end(), source, ": optimiser must be sgd, momentum, rmsprop or adam, got ",
          quoted(words[4]));
  genome.optimiser = *optimiser;
  require(words.size() - 5 <= impl::max_genes, source, ": a genome must have at most ", impl::max_genes, " genes, got ",
          words.size() - 5);
  for (std::size_t i = 5; i < words.size(); ++i) {
    Fields fields(words[i], concat(source, ": gene ", i - 4, " ", quoted(words[i])));
    genome.genes.push_back(parse_gene(fields));
    fields.finish();
  }
  return genome;
}

std::string hash(Genome const& genome)
{
  return sha256(to_text(genome));
}

std::string network_hash(Workload const& workload)
{
  return sha256(concat(nn::spec::hash(workload.architecture), " ", workload.batch, " ", name(workload.optimiser)));
}

} // namespace nasturtium::estimator
