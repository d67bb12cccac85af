// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The space of EvoCNN (Sun, Xue, Zhang, Yen, "Evolving deep convolutional neural networks for image classification",
// IEEE Trans. Evolutionary Computation 2020): lists of convolution and pooling units, then of dense units, of any
// length within limits. A genome is a row of units, three genes each: type, and two options. The genes for the mean and
// deviation of the initial weights are left out: an architecture says nothing about initial values. Limits and option
// lists are our choice.
#include "spaces.hpp"

#include "../fixed_length.hpp"
#include "../graph_builder.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/nas/genome_text.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace nasturtium::nas::impl {

namespace {

constexpr std::array filters{8, 16, 24, 32, 48};
constexpr std::array kernels{1, 3, 5};
constexpr std::array pool_kinds{nn::spec::PoolKind::max, nn::spec::PoolKind::average};
constexpr std::array pool_kernels{2, 3};
constexpr std::array dense_units{32, 64, 128, 256};
constexpr int max_convolutions = 6;
constexpr int max_dense = 2; ///< beside the classifier
/// Pools are at least so many that the first dense unit sees at most so many rows and columns.
constexpr int max_flat_extent = 8;
constexpr int spare_pools = 2; ///< beyond the least number
/// Of simulated binary crossover: the smaller, the farther children may lie from their parents.
constexpr double distribution_index = 2;

enum Type { conv, pool, dense, types };

constexpr std::array<std::string_view, types> type_names{"conv", "pool", "dense"};
constexpr std::array<std::array<std::string_view, 2>, types> option_names{
    {{"filters", "kernel"}, {"kind", "kernel"}, {"units", "unused"}}};
constexpr std::array<std::array<int, 2>, types> option_counts{
    {{filters.size(), kernels.size()}, {pool_kinds.size(), pool_kernels.size()}, {dense_units.size(), 1}}};

struct Unit
{
  int type = conv;
  std::array<int, 2> options{};
  std::array<int, 2> const& counts() const { return option_counts[static_cast<std::size_t>(type)]; }
  friend bool operator==(Unit const&, Unit const&) = default;
};
using Units = std::vector<Unit>;

Unit random_unit(int type, Random& random)
{
  Unit unit{type, {}};
  for (std::size_t i = 0; i < 2; ++i)
    unit.options[i] = random.below(unit.counts()[i]);
  return unit;
}

/// Another unit of the same type, each equally likely.
Unit other_unit(Unit const& unit, Random& random)
{
  int const second = unit.counts()[1];
  int const current = unit.options[0] * second + unit.options[1];
  int other = random.below(unit.counts()[0] * second - 1);
  other += other >= current ? 1 : 0;
  return {unit.type, {other / second, other % second}};
}

int count(Units const& units, int type)
{
  return static_cast<int>(
      std::count_if(units.begin(), units.end(), [&](Unit const& unit) { return unit.type == type; }));
}

Genome flatten(Units const& units)
{
  Genome genome;
  for (Unit const& unit : units)
    genome.insert(genome.end(), {unit.type, unit.options[0], unit.options[1]});
  return genome;
}

/// Simulated binary crossover of two places in an ordered list of options (Deb and Agrawal, 1995), rounded.
void recombine(int& first, int& second, int options, Random& random)
{
  double const u = random.uniform();
  double const power = 1 / (distribution_index + 1);
  double const spread = u < 0.5 ? std::pow(2 * u, power) : std::pow(1 / (2 * (1 - u)), power);
  double const middle = 0.5 * (first + second);
  double const half = 0.5 * spread * (second - first);
  auto const place = [&](double value) { return std::clamp(static_cast<int>(std::lround(value)), 0, options - 1); };
  first = place(middle - half);
  second = place(middle + half);
}

class EvoCnn : public SearchSpace
{
public:
  explicit EvoCnn(Task const& task) : m_task(task)
  {
    auto const [smaller, larger] = std::minmax(task.input.height, task.input.width);
    while (extent_after(larger, m_least_pools) > max_flat_extent)
      ++m_least_pools;
    int possible = 0; // until one row or column is left
    while (extent_after(smaller, possible) > 1)
      ++possible;
    require(m_least_pools <= possible, "evocnn: images of ", task.input.height, " x ", task.input.width,
            " are too narrow for the ", m_least_pools, " poolings that the longer side needs");
    m_most_pools = std::min(possible, m_least_pools + spare_pools);
  }

  std::string_view name() const override { return "evocnn"; }

  /// Lists within the limits.
  double size() const override
  {
    double body = 0;
    for (int convolutions = 1; convolutions <= max_convolutions; ++convolutions) {
      for (int pools = m_least_pools; pools <= m_most_pools; ++pools) {
        // Places of the pools among the units behind the first, which is a convolution.
        double orders = 1;
        for (int i = 1; i <= pools; ++i)
          orders = orders * (convolutions - 1 + i) / i;
        body += orders * std::pow(filters.size() * kernels.size(), convolutions) *
                std::pow(pool_kinds.size() * pool_kernels.size(), pools);
      }
    }
    double head = 0;
    for (int units = 0; units <= max_dense; ++units)
      head += std::pow(dense_units.size(), units);
    return body * head;
  }

  /// Numbers of units and places of the pools uniform, then every option.
  Genome sample(Random& random) const override
  {
    Units units(static_cast<std::size_t>(1 + random.below(max_convolutions)));
    int const pools = m_least_pools + random.below(m_most_pools - m_least_pools + 1);
    for (int i = 0; i < pools; ++i)
      units.insert(units.begin() + 1 + random.below(static_cast<int>(units.size())), Unit{pool, {}});
    units.insert(units.end(), static_cast<std::size_t>(random.below(max_dense + 1)), Unit{dense, {}});
    for (Unit& unit : units)
      unit = random_unit(unit.type, random);
    return flatten(units);
  }

  Genome neighbour(Genome const& genome, Random& random) const override
  {
    Units const units = parse(genome);
    return flatten(edited(units, static_cast<std::size_t>(random.below(static_cast<int>(units.size()))), random));
  }

  Genome mutate(Genome const& genome, double probability, Random& random) const override
  {
    Units units = parse(genome);
    // From the end, so that what was added or removed moves no unit that is still to come.
    for (std::size_t i = units.size(); i-- > 0;)
      if (random.chance(probability)) units = edited(units, i, random);
    return flatten(units);
  }

  /// Units of a type are lined up from the input; every pair changes places with probability one half, and its numbers
  /// are recombined by simulated binary crossover. The order of types is the parents', so lengths do not change.
  std::pair<Genome, Genome> crossover(Genome const& first, Genome const& second, Random& random) const override
  {
    Units one = parse(first);
    Units two = parse(second);
    for (int type = 0; type < types; ++type) {
      auto a = one.begin();
      auto b = two.begin();
      auto const of_type = [&](Unit const& unit) { return unit.type == type; };
      while (true) {
        a = std::find_if(a, one.end(), of_type);
        b = std::find_if(b, two.end(), of_type);
        if (a == one.end() || b == two.end()) break;
        if (random.chance(0.5)) std::swap(*a, *b);
        for (std::size_t i = 0; i < 2; ++i)
          if (type != pool || i != 0) recombine(a->options[i], b->options[i], a->counts()[i], random);
        ++a;
        ++b;
      }
    }
    return {flatten(one), flatten(two)};
  }

  void check(Genome const& genome) const override { parse(genome); }

  nn::spec::Architecture decode(Genome const& genome) const override
  {
    GraphBuilder builder(m_task);
    bool flat = false;
    for (Unit const& unit : parse(genome)) {
      auto const [a, b] = unit.options;
      if (unit.type == conv) {
        nn::spec::Conv2d op;
        op.filters = option(filters, a);
        op.kernel = {option(kernels, b), option(kernels, b)};
        builder.append(op);
        builder.append(nn::spec::Activation{});
      } else if (unit.type == pool) {
        nn::spec::Pool2d op;
        op.kind = option(pool_kinds, a);
        op.kernel = {option(pool_kernels, b), option(pool_kernels, b)};
        op.padding.kind = nn::spec::PaddingKind::same; // halves, rounded up
        builder.append(op);
      } else {
        if (!flat) builder.append(nn::spec::Flatten{});
        flat = true;
        builder.append(nn::spec::Dense{option(dense_units, a)});
        builder.append(nn::spec::Activation{});
      }
    }
    if (!flat) builder.append(nn::spec::Flatten{});
    return builder.finish(architecture_name(name(), genome));
  }

  /// Different genomes are different networks: there is one way to write a list.
  std::string phenotype(Genome const& genome) const override
  {
    check(genome);
    return format_genome(genome);
  }

  /// Levenshtein's distance in units.
  int distance(Genome const& first, Genome const& second) const override
  {
    Units const a = parse(first);
    Units const b = parse(second);
    std::vector<int> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
      row[j] = static_cast<int>(j);
    for (std::size_t i = 0; i < a.size(); ++i) {
      int diagonal = row[0]++;
      for (std::size_t j = 0; j < b.size(); ++j) {
        int const replaced = diagonal + (a[i] == b[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
      }
    }
    return row.back();
  }

private:
  Task m_task;
  int m_least_pools = 0, m_most_pools = 0;

  static int extent_after(int extent, int poolings)
  {
    for (int i = 0; i < poolings; ++i)
      extent -= extent / 2;
    return extent;
  }

  /// The units of a genome that has passed all checks.
  Units parse(Genome const& genome) const
  {
    require(genome.size() % 3 == 0, "evocnn: a genome has three genes for each unit, got ", genome.size(), " genes");
    Units units;
    for (std::size_t i = 0; i < genome.size(); i += 3) {
      std::size_t const number = i / 3 + 1;
      require(genome[i] >= 0 && genome[i] < types, "evocnn: gene ", i, " (type of unit ", number, ") must be in 0..",
              types - 1, ", got ", genome[i]);
      Unit const unit{genome[i], {genome[i + 1], genome[i + 2]}};
      auto const type = static_cast<std::size_t>(unit.type);
      for (std::size_t k = 0; k < 2; ++k)
        require(unit.options[k] >= 0 && unit.options[k] < unit.counts()[k], "evocnn: gene ", i + 1 + k, " (",
                option_names[type][k], " of ", type_names[type], " unit ", number, ") must be in 0..",
                unit.counts()[k] - 1, ", got ", unit.options[k]);
      bool const early = units.empty() ? unit.type != conv : unit.type != dense && units.back().type == dense;
      require(!early, "evocnn: gene ", i, " (type of unit ", number, ") = ", unit.type,
              units.empty() ? ": the first unit must be a convolution (0)" : ": only dense units (2) may follow one");
      units.push_back(unit);
    }
    number_within(units, conv, 1, max_convolutions);
    number_within(units, pool, m_least_pools, m_most_pools);
    number_within(units, dense, 0, max_dense);
    return units;
  }

  void number_within(Units const& units, int type, int least, int most) const
  {
    int const number = count(units, type);
    require(number >= least && number <= most, "evocnn: a genome for images of ", m_task.input.height, " x ",
            m_task.input.width, " has ", least, "..", most, " ", type_names[static_cast<std::size_t>(type)],
            " units, got ", number);
  }

  bool valid(Units const& units) const
  {
    int const pools = count(units, pool);
    int const convolutions = count(units, conv);
    bool const ordered = std::is_sorted(
        units.begin(), units.end(), [](Unit const& a, Unit const& b) { return (a.type == dense) < (b.type == dense); });
    return !units.empty() && units.front().type == conv && ordered && convolutions <= max_convolutions &&
           pools >= m_least_pools && pools <= m_most_pools && count(units, dense) <= max_dense;
  }

  /// A unit added behind `place` (or before it, where it is the first), this one removed, or this one changed: each
  /// equally likely among those that the limits allow.
  Units edited(Units const& units, std::size_t place, Random& random) const
  {
    while (true) {
      Units result = units;
      auto const at = result.begin() + static_cast<std::ptrdiff_t>(place);
      switch (random.below(3)) {
      case 0: {
        std::ptrdiff_t const offset = place == 0 ? random.below(2) : 1;
        result.insert(at + offset, random_unit(random.below(int{types}), random));
        break;
      }
      case 1:
        result.erase(at);
        break;
      default:
        *at = other_unit(*at, random);
      }
      if (valid(result)) return result;
    }
  }
};

} // namespace

std::unique_ptr<SearchSpace> make_evocnn(Task const& task)
{
  return std::make_unique<EvoCnn>(task);
}

} // namespace nasturtium::nas::impl
