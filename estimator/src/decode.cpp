// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/genome.hpp>

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <iterator>

namespace nasturtium::estimator {
namespace {

namespace spec = nn::spec;

constexpr std::int64_t widest_flat = 8192; ///< wider ones are pooled instead of flattened
constexpr int max_halvings = 10;

/// Repairs gene by gene and builds the network on the way.
class Decoder
{
public:
  explicit Decoder(Genome const& genome) : m_shape{genome.side, genome.side, genome.channels}
  {
    m_network.input = m_shape;
    m_values.push_back({"input", m_shape, false});
    for (std::size_t i = 0; i < genome.genes.size(); ++i) {
      m_origin = static_cast<int>(i);
      std::visit(*this, genome.genes[i]);
    }
    m_origin = -1;
    flatten();
    m_repaired = {genome.batch, genome.side, genome.channels, genome.optimiser, m_genes};
  }

  Genome const& repaired() const { return m_repaired; }

  spec::Architecture network(int classes) const
  {
    auto network = m_network;
    network.classes = classes;
    network.nodes.push_back({"head", spec::Dense{.units = classes}, {m_values.back().node}});
    return network;
  }
  /// Trainable values, without overflow whatever the genome.
  double parameters(int classes) const { return m_parameters + (static_cast<double>(m_shape.size()) + 1) * classes; }

  /// The gene of the genome that makes the widest layer (the first of equals); -1 where no width is above 1.
  int widest() const
  {
    int widest = -1, width = 1;
    for (std::size_t i = 0; i < m_genes.size(); ++i) {
      auto const* conv = std::get_if<ConvGene>(&m_genes[i]);
      auto const* dense = std::get_if<DenseGene>(&m_genes[i]);
      int const here = conv ? conv->filters : dense ? dense->units : 0;
      if (here <= width) continue;
      width = here;
      widest = m_origins[i];
    }
    return widest;
  }

  void operator()(ConvGene gene)
  {
    if (m_flat) return;
    if (gene.kernel > m_shape.height) gene.same = true;
    spec::Conv2d conv{
        .filters = gene.filters, .kernel = {gene.kernel, gene.kernel}, .stride = {gene.stride, gene.stride}};
    conv.bias = gene.bias;
    if (!gene.same) conv.padding.kind = spec::PaddingKind::valid;
    m_parameters += weights(conv);
    int const reach = gene.same ? 1 : gene.kernel;
    m_shape = {shrunk(reach, gene.stride), shrunk(reach, gene.stride), gene.filters};
    push(gene, "conv", conv);
  }
  void operator()(GroupedConvGene gene)
  {
    if (m_flat) return;
    int const channels = m_shape.channels;
    if (gene.groups != 0 && channels % gene.groups != 0) {
      constexpr std::array listed{8, 4, 2};
      auto const* const fallen = std::find_if(
          listed.begin(), listed.end(), [&](int groups) { return groups < gene.groups && channels % groups == 0; });
      gene.groups = fallen == listed.end() ? 0 : *fallen;
    }
    spec::Conv2d conv{.filters = channels, .kernel = {gene.kernel, gene.kernel}, .stride = {gene.stride, gene.stride}};
    conv.groups = gene.groups == 0 ? channels : gene.groups;
    m_parameters += weights(conv);
    m_shape = {shrunk(1, gene.stride), shrunk(1, gene.stride), channels};
    push(gene, gene.groups == 0 ? "depthwise" : "grouped", conv);
  }
  void operator()(PoolGene gene)
  {
    if (m_flat || m_shape.height < 2) return;
    gene.window = std::min(gene.window, m_shape.height);
    spec::Pool2d const pool{.kind = gene.kind, .kernel = {gene.window, gene.window}};
    m_shape = {shrunk(gene.window, 2), shrunk(gene.window, 2), m_shape.channels};
    push(gene, gene.kind == spec::PoolKind::max ? "max_pool" : "average_pool", pool);
  }
  void operator()(DenseGene const& gene)
  {
    flatten();
    m_parameters += (static_cast<double>(m_shape.size()) + 1) * gene.units;
    m_shape = {1, 1, gene.units};
    push(gene, "dense", spec::Dense{.units = gene.units});
  }
  void operator()(BatchNormGene const& gene)
  {
    m_parameters += 2.0 * m_shape.channels;
    push(gene, "norm", spec::BatchNorm{});
  }
  void operator()(DropoutGene const& gene) { push(gene, "dropout", spec::Dropout{gene.rate / 100.0}); }
  void operator()(ActivationGene const& gene)
  {
    spec::Activation const activation{.kind = gene.kind};
    push(gene, spec::op_name(activation), activation);
  }
  void operator()(FlattenGene const& gene)
  {
    if (m_flat) return;
    m_flat = true;
    m_shape = {1, 1, gene.global ? m_shape.channels : static_cast<int>(m_shape.size())};
    if (gene.global)
      push(gene, "global_pool", spec::GlobalAvgPool{});
    else
      push(gene, "flatten", spec::Flatten{});
  }
  void operator()(AddGene gene)
  {
    if (m_genes.empty()) return;
    gene.back = std::min(gene.back, static_cast<int>(m_genes.size()));
    Value source = *std::prev(m_values.end(), gene.back + 1);
    if (source.flat != m_flat) return;
    if (source.shape != m_shape) {
      int const stride = (source.shape.height + m_shape.height - 1) / m_shape.height;
      if ((source.shape.height + stride - 1) / stride != m_shape.height) return;
      spec::Conv2d const projection{.filters = m_shape.channels, .stride = {stride, stride}};
      m_parameters += (source.shape.channels + 1.0) * m_shape.channels;
      auto const id = numbered("project");
      m_network.nodes.push_back({id, projection, {source.node}});
      source.node = id;
    }
    push(gene, "add", spec::Add{}, {source.node});
  }

private:
  struct Value
  {
    std::string node;
    spec::Shape shape;
    bool flat;
  };

  spec::Shape m_shape;
  bool m_flat = false;
  int m_origin = 0; ///< number of the gene at work; -1: appended
  double m_parameters = 0;
  std::vector<Gene> m_genes;
  std::vector<int> m_origins;  ///< per repaired gene
  std::vector<Value> m_values; ///< the image, then one per repaired gene
  spec::Architecture m_network;
  Genome m_repaired;

  /// Positions of a window that reaches over `reach` pixels of the side.
  int shrunk(int reach, int stride) const { return (m_shape.height - reach) / stride + 1; }

  /// Of a convolution of the present value.
  double weights(spec::Conv2d const& conv) const
  {
    int const inputs = m_shape.channels / conv.groups;
    double const taps = static_cast<double>(conv.kernel[0]) * conv.kernel[1] * inputs;
    return (taps + (conv.bias ? 1 : 0)) * conv.filters;
  }

  std::string numbered(std::string const& what) const { return what + std::to_string(m_genes.size() + 1); }

  void push(Gene const& gene, std::string const& what, spec::Op const& op, std::vector<std::string> others = {})
  {
    auto id = numbered(what);
    others.insert(others.begin(), m_values.back().node);
    m_network.nodes.push_back({id, op, std::move(others)});
    m_genes.push_back(gene);
    m_origins.push_back(m_origin);
    m_values.push_back({std::move(id), m_shape, m_flat});
  }

  void flatten()
  {
    if (!m_flat) (*this)(FlattenGene{m_shape.size() > widest_flat});
  }
};

bool fits(Workload const& workload, Caps const& caps)
{
  auto const memory =
      spec::estimate_memory(spec::infer(workload.architecture), workload.batch, 4, state_words(workload.optimiser));
  if (memory.total() > caps.memory_bytes) return false;
  return caps.step_flops <= 0 || step_flops(describe(workload)) <= caps.step_flops;
}

void halve(Gene& gene)
{
  if (auto* conv = std::get_if<ConvGene>(&gene)) conv->filters /= 2;
  if (auto* dense = std::get_if<DenseGene>(&gene)) dense->units /= 2;
}

} // namespace

Genome repair(Genome const& genome)
{
  return Decoder(genome).repaired();
}

std::optional<Workload> decode(Genome const& genome, Caps const& caps, int classes)
{
  require(caps.parameters >= 1 && caps.parameters <= std::int64_t{1} << 30,
          "the cap of parameters must be in [1, 2^30], got ", caps.parameters);
  require(caps.memory_bytes >= 1, "the cap of memory must be at least 1 byte, got ", caps.memory_bytes);
  require(caps.step_flops >= 0, "the cap of FLOPs per step must not be negative, got ", caps.step_flops);
  Genome fitted = genome;
  for (int halvings = 0; halvings <= max_halvings; ++halvings) {
    Decoder const decoder(fitted);
    if (decoder.parameters(classes) <= static_cast<double>(caps.parameters)) {
      Workload workload{decoder.network(classes), genome.batch, genome.optimiser};
      if (fits(workload, caps)) {
        workload.architecture.name = "genome " + hash(genome).substr(0, 16);
        return workload;
      }
    }
    int const widest = decoder.widest();
    if (widest < 0) break;
    halve(fitted.genes[static_cast<std::size_t>(widest)]);
  }
  return std::nullopt;
}

} // namespace nasturtium::estimator
