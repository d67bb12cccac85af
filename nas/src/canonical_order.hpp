// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One order of the nodes of a graph that does not depend on how its file lists them, and what a node and all before it
// compute, as a number.
#pragma once

#include <nasturtium/nn/spec/architecture.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace nasturtium::nas::impl {

/// A hash that is the same in every build: FNV-1a.
std::uint64_t text_hash(std::string_view text);

/// Positions in inferred.nodes. A node comes when all its inputs are out, behind the node emitted last if it reads that
/// one; where a chain ends, the branch left open last goes on. Among branches that start together the order follows
/// from their own layers, and from those behind the place where they join only where nothing else tells them apart; the
/// ids decide between branches that are equal in everything. O(edges * log(edges)).
std::vector<int> canonical_order(nn::spec::Architecture const& architecture, nn::spec::Inferred const& inferred);

/// By position in inferred.nodes: a hash of the node's op and the identities of its inputs, the image's shape at the
/// beginning; nodes that are equal in that are counted in `order`. Ids and what lies behind the node mean nothing.
std::vector<std::uint64_t> upstream_identities(nn::spec::Architecture const& architecture,
                                               nn::spec::Inferred const& inferred, std::vector<int> const& order);

} // namespace nasturtium::nas::impl
