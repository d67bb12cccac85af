// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/estimator/families.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;

TEST_CASE("every family describes itself, in sizes that differ", "[families]")
{
  std::set<std::string> names;
  for (auto const& family : family_names()) {
    std::set<std::int64_t> parameters;
    for (auto const& workload : family_networks(family, 8)) {
      INFO(workload.architecture.name);
      auto const description = describe(workload);
      CHECK(description.parameters > 0);
      CHECK(names.insert(workload.architecture.name).second);
      parameters.insert(description.parameters);
      auto const counts = [&](LayerKind kind) {
        return std::count_if(description.layers.begin(), description.layers.end(),
                             [&](auto const& layer) { return layer.kind == kind; });
      };
      CHECK((counts(LayerKind::add) > 0) == (family == "resnet"));
      CHECK((counts(LayerKind::depthwise_conv) > 0) == (family == "mobilenet"));
      CHECK((counts(LayerKind::conv) == 0) == (family == "mlp"));
    }
    CHECK(parameters.size() == 16); // 4 widths x 2 depths x 2 images
  }
  CHECK(family_networks("mlp", 4).size() == 12);
  CHECK_THROWS_AS(family_networks("transformer"), Error);
}

TEST_CASE("the published sizes have the published weights", "[families]")
{
  // 784 x 512, 512 x 512 and 512 x 10, with biases.
  auto const all = family_networks("mlp", 8);
  auto const widest = std::find_if(all.begin(), all.end(), [](auto const& it) {
    return it.architecture.name.starts_with("mlp-w8-d0") && it.architecture.input.channels == 1;
  });
  REQUIRE(widest != all.end());
  CHECK(describe(*widest).parameters == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10);
}
