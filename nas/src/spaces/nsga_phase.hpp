// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A phase of the NSGA-Net macro space as a small directed acyclic graph (Lu et al., "NSGA-Net: neural architecture
// search using multi-objective genetic algorithm", GECCO 2019; the encoding of Xie and Yuille, "Genetic CNN", ICCV
// 2017).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace nasturtium::nas::impl {

/// Connections among at most six nodes in topological order. Bit j (j - 1) / 2 + i says that node j reads node i < j,
/// so the bits come as (0-1), (0-2), (1-2), (0-3), ...
class PhaseGraph
{
public:
  static constexpr int max_nodes = 6;
  static constexpr int connections = max_nodes * (max_nodes - 1) / 2;
  static constexpr int bit(int from, int to) { return to * (to - 1) / 2 + from; }

  PhaseGraph() = default;
  explicit PhaseGraph(std::uint32_t code) : m_code(code) {}

  std::uint32_t code() const { return m_code; }
  bool connected(int from, int to) const { return (m_code >> bit(from, to) & 1u) != 0; }
  void connect(int from, int to) { m_code |= 1u << bit(from, to); }

  /// Nodes that `node` reads, rising; empty: it reads the phase's input.
  std::vector<int> predecessors(int node) const;
  /// No other node reads it.
  bool is_last(int node) const;
  /// Neither reads a node nor is read by one: it is no part of the network.
  bool is_isolated(int node) const;
  /// Nodes that are not isolated.
  int size() const;

  /// The graph of least code among those that differ in the order of the nodes alone, isolated nodes last. Equal for
  /// two graphs exactly where they are isomorphic but for isolated nodes: 5,984 values, as many as there are directed
  /// acyclic graphs on six unlabelled nodes. At most 720 orders are tried.
  PhaseGraph canonical() const;

  friend bool operator==(PhaseGraph const&, PhaseGraph const&) = default;

private:
  std::uint32_t m_code = 0;
};

} // namespace nasturtium::nas::impl
