// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nas/genome_text.hpp>

#include <nasturtium/core/error.hpp>

#include <charconv>
#include <unordered_map>

namespace nasturtium::nas {

namespace {

/// The architecture with ids that say the place in its list of nodes and nothing else.
nn::spec::Architecture renamed(nn::spec::Architecture architecture)
{
  std::unordered_map<std::string, std::string> names{{"input", "input"}};
  for (std::size_t i = 0; i < architecture.nodes.size(); ++i)
    names.emplace(architecture.nodes[i].id, "n" + std::to_string(i));
  for (nn::spec::Node& node : architecture.nodes) {
    node.id = names.at(node.id);
    for (std::string& input : node.inputs)
      if (auto const found = names.find(input); found != names.end()) input = found->second;
  }
  return architecture;
}

} // namespace

std::string format_genome(Genome const& genome)
{
  std::string text;
  for (int const gene : genome)
    text += (text.empty() ? "" : "-") + std::to_string(gene);
  return text;
}

Genome parse_genome(std::string_view text, std::string const& source)
{
  Genome genome;
  char const* at = text.data();
  char const* const end = at + text.size();
  while (at != end) {
    int gene = 0;
    auto const [next, fault] = std::from_chars(at, end, gene);
    bool const good = fault == std::errc{} && *at != '-' && (next == end || (*next == '-' && next + 1 != end));
    require(good, source, ": genome must be whole numbers with '-' between them, got '", text, "'");
    genome.push_back(gene);
    at = next == end ? end : next + 1;
  }
  return genome;
}

std::string architecture_name(std::string_view space, Genome const& genome)
{
  return std::string(space) + " " + format_genome(genome);
}

Genome encode(SearchSpace const& space, nn::spec::Architecture const& architecture)
{
  std::string const& name = architecture.name;
  std::string const prefix = std::string(space.name()) + " ";
  require(name.starts_with(prefix), "architecture '", name, "': is not one of space ", space.name());
  std::string const source = concat("architecture '", name, "'");
  Genome genome = parse_genome(std::string_view(name).substr(prefix.size()), source);
  bool const same = nn::spec::hash(renamed(space.decode(genome))) == nn::spec::hash(renamed(architecture));
  require(same, source, ": its layers are not those of the genome in its name");
  return genome;
}

} // namespace nasturtium::nas
