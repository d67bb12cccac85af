// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nsga_phase.hpp"

#include <algorithm>
#include <numeric>

namespace nasturtium::nas::impl {

std::vector<int> PhaseGraph::predecessors(int node) const
{
  std::vector<int> result;
  for (int from = 0; from < node; ++from)
    if (connected(from, node)) result.push_back(from);
  return result;
}

bool PhaseGraph::is_last(int node) const
{
  for (int to = node + 1; to < max_nodes; ++to)
    if (connected(node, to)) return false;
  return true;
}

bool PhaseGraph::is_isolated(int node) const
{
  return is_last(node) && predecessors(node).empty();
}

int PhaseGraph::size() const
{
  int count = 0;
  for (int node = 0; node < max_nodes; ++node)
    count += is_isolated(node) ? 0 : 1;
  return count;
}

PhaseGraph PhaseGraph::canonical() const
{
  std::vector<int> nodes;
  for (int node = 0; node < max_nodes; ++node)
    if (!is_isolated(node)) nodes.push_back(node);
  int const count = static_cast<int>(nodes.size());

  std::vector<int> place(nodes.size()); // of nodes[i] in the new order
  std::iota(place.begin(), place.end(), 0);
  std::uint32_t least = ~0u;
  do {
    std::uint32_t code = 0;
    bool topological = true;
    for (int to = 1; to < count && topological; ++to) {
      for (int from = 0; from < to && topological; ++from) {
        auto const f = static_cast<std::size_t>(from);
        auto const t = static_cast<std::size_t>(to);
        if (!connected(nodes[f], nodes[t])) continue;
        topological = place[f] < place[t];
        if (topological) code |= 1u << bit(place[f], place[t]);
      }
    }
    if (topological) least = std::min(least, code);
  } while (std::next_permutation(place.begin(), place.end()));
  return PhaseGraph(least);
}

} // namespace nasturtium::nas::impl
