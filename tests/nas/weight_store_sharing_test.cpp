// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What sharing saves where children keep the first layers of their parents and these are not trained any more.
#include "support/temporary.hpp"

#include <nasturtium/nas/search_space.hpp>
#include <nasturtium/nas/weight_store.hpp>

#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

using namespace nasturtium;
using namespace nasturtium::nas;

namespace {

nn::Weights filled(nn::spec::Architecture const& architecture, nn::spec::Inferred const& inferred, std::uint32_t seed)
{
  nn::Weights weights;
  for (auto const& node : inferred.nodes)
    for (auto const& parameter : node.parameters) {
      nn::Tensor tensor{parameter.extent, {}};
      std::int64_t count = 1;
      for (auto const extent : parameter.extent)
        count *= extent;
      for (std::int64_t i = 0; i < count; ++i)
        tensor.values.push_back(static_cast<float>(seed = seed * 1664525 + 1013904223));
      weights[{architecture.nodes[static_cast<std::size_t>(node.node)].id, parameter.name}] = std::move(tensor);
    }
  return weights;
}

/// The longest prefix of layers of equal shapes, as the parent has them (a chain: execution order is layer order).
void take_prefix(nn::Weights& weights, nn::spec::Architecture const& child, nn::spec::Inferred const& of_child,
                 nn::Weights const& parent, nn::spec::Architecture const& donor, nn::spec::Inferred const& of_donor)
{
  auto const weighted = [](nn::spec::Inferred const& inferred) {
    std::vector<nn::spec::NodeInfo const*> nodes;
    for (auto const& node : inferred.nodes)
      if (!node.parameters.empty()) nodes.push_back(&node);
    return nodes;
  };
  auto const to = weighted(of_child), from = weighted(of_donor);
  for (std::size_t i = 0; i < std::min(to.size(), from.size()); ++i) {
    auto const &target = child.nodes[static_cast<std::size_t>(to[i]->node)],
               &source = donor.nodes[static_cast<std::size_t>(from[i]->node)];
    if (target.op.index() != source.op.index() || to[i]->parameters.size() != from[i]->parameters.size()) return;
    for (std::size_t p = 0; p < to[i]->parameters.size(); ++p)
      if (to[i]->parameters[p].extent != from[i]->parameters[p].extent) return;
    for (auto const& parameter : to[i]->parameters)
      weights[{target.id, parameter.name}] = parent.at({source.id, parameter.name});
  }
}

} // namespace

TEST_CASE("weight store: frozen prefixes of lenet11 at distance one halve the bytes on disk", "[store]")
{
  test::TemporaryFolder const place(::access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
  auto store = WeightStore::open(place / "store");
  auto const space = make_space("lenet11", {{28, 28, 1}, 10});
  std::int64_t logical = 0, written = 0;
  int wrong = 0;
  for (std::uint32_t pair = 0; pair < 300; ++pair) {
    Random random(1, pair);
    Genome const genome = space->sample(random);
    auto const parent = space->decode(genome), child = space->decode(space->neighbour(genome, random));
    auto const of_parent = nn::spec::infer(parent), of_child = nn::spec::infer(child);
    StoredModel model;
    model.id = "parent";
    model.architecture = nn::spec::to_json(parent);
    auto const weights = filled(parent, of_parent, 2 * pair);
    store.put(model, weights);
    auto mine = filled(child, of_child, 2 * pair + 1);
    take_prefix(mine, child, of_child, weights, parent, of_parent);
    model.id = "child";
    model.architecture = nn::spec::to_json(child);
    auto const result = store.put(model, mine);
    auto const usage = store.usage();
    wrong += usage.logical_bytes - usage.physical_bytes != result.bytes_logical - result.bytes_written;
    logical += result.bytes_logical;
    written += result.bytes_written;
    store.remove("parent");
    store.remove("child");
  }
  CHECK(wrong == 0);
  double const factor = static_cast<double>(logical) / static_cast<double>(written);
  INFO("factor " << factor);
  CHECK(factor > 2.0); // 2.29 over 20,000 pairs
  CHECK(factor < 2.8);
  CHECK(store.usage().physical_bytes == 0);
}
