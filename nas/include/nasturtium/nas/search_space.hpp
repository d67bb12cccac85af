// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search space: genomes, how they vary, and the networks that they stand for. Plain data in, plain data out; it
// trains nothing. A space is one file in nas/src/spaces/ and a line in the table of make_space.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/nas/random.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nasturtium::nas {

/// Small integers whose meaning is the space's; of variable length where the space says so.
using Genome = std::vector<int>;

/// What the networks of a space are for.
struct Task
{
  nn::spec::Shape input;
  int classes = 10;   ///< 0: a regression ...
  int regression = 0; ///< ... of so many values
};

/// Throws Error naming the field and its value for a task that cannot be.
void check(Task const& task);
json::Object to_json(Task const& task);
Task parse_task(json::Reader reader); ///< of the whole object; Error for a field that is none

class SearchSpace
{
public:
  virtual ~SearchSpace() = default;
  /// As make_space knows it.
  virtual std::string_view name() const = 0;
  /// How many genomes there are; infinity where the length is not bounded.
  virtual double size() const = 0;
  /// A genome that decodes to a valid network, by the space's own distribution.
  virtual Genome sample(Random& random) const = 0;
  /// One edit away: one gene set to a different value, or one unit added, removed or changed.
  virtual Genome neighbour(Genome const& genome, Random& random) const = 0;
  /// Every gene (or unit) edited with the given probability; may return the genome itself.
  virtual Genome mutate(Genome const& genome, double probability, Random& random) const = 0;
  /// Two children; each valid.
  virtual std::pair<Genome, Genome> crossover(Genome const& first, Genome const& second, Random& random) const = 0;
  /// Throws Error naming the gene and its value for a genome that is not one of this space.
  virtual void check(Genome const& genome) const = 0;
  /// The network. Throws Error as check() does, and where it does not fit the task's input.
  virtual nn::spec::Architecture decode(Genome const& genome) const = 0;
  /// Equal for genomes that stand for the same network: how duplicates are recognised.
  virtual std::string phenotype(Genome const& genome) const = 0;
  /// Genes that differ (edit distance in units for variable lengths).
  virtual int distance(Genome const& first, Genome const& second) const = 0;
};

/// Names that make_space knows, in the order of the documentation.
std::vector<std::string> space_names();
/// Throws Error for an unknown name, and for a task whose images are too small for the space.
std::unique_ptr<SearchSpace> make_space(std::string const& name, Task const& task);

} // namespace nasturtium::nas
