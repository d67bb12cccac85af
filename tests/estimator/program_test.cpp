// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/file.hpp>
#include <nasturtium/estimator/genome.hpp>
#include <nasturtium/estimator/program.hpp>

#include "support/temporary.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cstdlib>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Matchers::ContainsSubstring;
namespace spec = nn::spec;

namespace {

/// One node of every op, a name of no Python, odd paddings, a vector that meets an image.
spec::Architecture every_op()
{
  spec::Architecture network;
  network.name = "all \"ops\"";
  network.input = {9, 8, 4};
  network.classes = 3;
  spec::Conv2d explicit_padding{.filters = 4, .kernel = {3, 2}};
  explicit_padding.padding = {spec::PaddingKind::explicit_, {2, 0, 1, 0}};
  spec::Pool2d average{.kind = spec::PoolKind::average, .kernel = {2, 2}, .stride = {2, 2}};
  average.padding = {spec::PaddingKind::same, {}};
  spec::Pool2d largest{.kernel = {3, 3}, .stride = {2, 2}};
  largest.padding = {spec::PaddingKind::same, {}};
  network.nodes = {{"class", spec::Conv2d{.filters = 4, .kernel = {2, 2}}, {"input"}},
                   {"a.b-c", explicit_padding, {"class"}},
                   {"identity", spec::Identity{}, {"a.b-c"}},
                   {"average", average, {"identity"}},
                   {"max", largest, {"identity"}},
                   {"sum", spec::Add{}, {"average", "max"}},
                   {"norm", spec::BatchNorm{}, {"sum"}},
                   {"leaky", spec::Activation{.kind = spec::ActivationKind::leaky_relu, .slope = .2}, {"norm"}},
                   {"slice", spec::Slice{1, 2}, {"leaky"}},
                   {"wider", spec::PadChannels{5}, {"slice"}},
                   {"both", spec::Concat{}, {"wider", "leaky"}},
                   {"gelu", spec::Activation{.kind = spec::ActivationKind::gelu}, {"both"}},
                   {"point", spec::Conv2d{.filters = 6, .kernel = {1, 1}, .stride = {8, 8}}, {"gelu"}},
                   {"pooled", spec::GlobalAvgPool{}, {"gelu"}},
                   {"six", spec::Dense{.units = 6}, {"pooled"}},
                   {"meet", spec::Add{}, {"point", "six"}},
                   {"again", spec::Conv2d{.filters = 6}, {"meet"}},
                   {"lone", spec::BatchNorm{}, {"again"}},
                   {"drop", spec::Dropout{.25}, {"lone"}},
                   {"flat", spec::Flatten{}, {"drop"}},
                   {"silu", spec::Activation{.kind = spec::ActivationKind::silu}, {"flat"}},
                   {"elu", spec::Activation{.kind = spec::ActivationKind::elu}, {"silu"}},
                   {"tanh", spec::Activation{.kind = spec::ActivationKind::tanh}, {"elu"}},
                   {"head", spec::Conv2d{.filters = 3}, {"tanh"}}};
  return network;
}

std::vector<Workload> workloads()
{
  std::vector<Workload> all{{every_op(), 1, Optimiser::rmsprop},
                            {every_op(), 2, Optimiser::none},
                            {spec::load_architecture("lenet"), 4, Optimiser::adadelta}};
  GeneratorOptions options;
  options.weights.back() = .2;
  options.caps.step_flops = 1e8;
  Random random(4);
  for (auto& individual : draw("uniform", 40, options, random))
    all.push_back(std::move(individual.workload));
  return all;
}

} // namespace

TEST_CASE("a program holds every layer of its network", "[program]")
{
  for (auto const& workload : workloads()) {
    auto const text = pytorch_program(workload);
    for (auto const& node : workload.architecture.nodes)
      REQUIRE_THAT(text, ContainsSubstring("  # " + node.id + ": "));
    auto const parameters = spec::infer(workload.architecture).parameter_count;
    REQUIRE_THAT(text, ContainsSubstring(concat(", ", parameters, " parameters\n")));
    REQUIRE_THAT(text, ContainsSubstring(concat("torch.rand(", workload.batch, ", ")));
  }
  CHECK_THROWS_AS(pytorch_program({every_op(), 0, Optimiser::sgd}), Error);
}

TEST_CASE("paddings and optimisers of a program are those of the workload", "[program]")
{
  auto const text = pytorch_program({every_op(), 1, Optimiser::momentum});
  // "same" with an even kernel has its odd pixel at the bottom and right: left, right, top, bottom.
  CHECK_THAT(text, ContainsSubstring("self.conv2d_1(F.pad(x0, (0, 1, 0, 1)))"));
  CHECK_THAT(text, ContainsSubstring("F.pad(x1, (1, 0, 2, 0))"));
  CHECK_THAT(text, ContainsSubstring("value=-math.inf"));
  CHECK_THAT(text, ContainsSubstring("average_pool(x3, (2, 2), (2, 2), "));
  CHECK_THAT(text, ContainsSubstring("SingleBatchNorm(6, "));
  CHECK_THAT(text, ContainsSubstring("SGD(network.parameters(), lr=1e-3, momentum=0.9)"));
  CHECK_THAT(pytorch_program({every_op(), 1, Optimiser::none}), ContainsSubstring("torch.no_grad()"));
  CHECK_THAT(pytorch_program({every_op(), 2, Optimiser::adam}), !ContainsSubstring("SingleBatchNorm(4, "));
}

TEST_CASE("programs are well-formed Python", "[program]")
{
  if (std::system("python3 -c '' >/dev/null 2>&1") != 0) SKIP("no python3 on this machine");
  test::TemporaryFolder const folder;
  std::string files;
  int number = 0;
  for (auto const& workload : workloads()) {
    auto const path = folder / concat("network", number++, ".py");
    write_file(path, pytorch_program(workload));
    files += " " + path;
  }
  CHECK(std::system(("python3 -m py_compile" + files).c_str()) == 0);
}
