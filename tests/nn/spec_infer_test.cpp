// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shape inference: the zoo's known counts, shapes and paddings worked out by hand, and every way to get it wrong.

#include "support/temporary.hpp"

#include <nasturtium/nn/spec/architecture.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <climits>

using namespace nasturtium;
using namespace nasturtium::nn::spec;
using nasturtium::test::error_of;

namespace {

Architecture network(Shape input, std::vector<Node> nodes, int classes)
{
  Architecture architecture;
  architecture.input = input;
  architecture.nodes = std::move(nodes);
  architecture.classes = classes;
  return architecture;
}

/// Shape and padding of one node behind an image.
NodeInfo alone(Shape input, Op op)
{
  Architecture architecture = network(input, {{"op", op, {"input"}}, {"end", Dense{2}, {"op"}}}, 2);
  return infer(architecture).nodes.front();
}

} // namespace

TEST_CASE("the zoo's networks have the parameters and costs of their definitions")
{
  struct Row
  {
    char const* name;
    std::int64_t parameters;
    double training_mflop; // per image, rounded
  };
  // Independent counts, of the same networks in PyTorch; FLOP: 3 x forward less the first layer's backward-data.
  for (Row const& row : {Row{"mlp", 235146, 1.01}, Row{"lenet", 431080, 13.2}, Row{"cnn2", 421834, 25.0},
                         Row{"vgg32", 288746, 230}, Row{"resnet20", 272474, 244}, Row{"odd", 60040, 133}}) {
    INFO(row.name);
    Inferred const inferred = infer(load_architecture(row.name), row.name);
    CHECK(inferred.parameter_count == row.parameters);
    CHECK(inferred.training_flops / 1e6 == Catch::Approx(row.training_mflop).epsilon(0.005));
  }
  CHECK(infer(load_architecture("regression_mlp")).parameter_count == 8 * 64 + 64 + 64 * 64 + 64 + 64 + 1);
  CHECK(zoo_names().size() == 8);
  for (std::string const& name : zoo_names()) {
    Architecture const architecture = load_architecture(name);
    CHECK(architecture.name == name);
    CHECK_NOTHROW(infer(architecture, name));
  }
}

TEST_CASE("windows give the shapes and paddings of their arithmetic")
{
  Conv2d conv{4, {3, 3}, {2, 2}, {1, 1}, {PaddingKind::same, {}}};
  // 10 wide, stride 2: 5 outputs reach over (5 - 1) * 2 + 3 = 11, one more than there is: the odd pixel at the end.
  NodeInfo info = alone({10, 7, 3}, conv);
  CHECK(info.out == Shape{5, 4, 4});
  CHECK(info.padding == std::array<int, 4>{0, 1, 1, 1});
  CHECK(info.forward_flops == 2.0 * 5 * 4 * 4 * 9 * 3);

  conv.padding = {PaddingKind::valid, {}};
  conv.dilation = {2, 3};
  info = alone({10, 7, 3}, conv);
  CHECK(info.out == Shape{3, 1, 4});
  CHECK(info.padding == std::array<int, 4>{});

  conv = {6, {1, 5}, {1, 1}, {1, 1}, {PaddingKind::explicit_, {0, 2, 4, 1}}};
  conv.groups = 3;
  conv.bias = false;
  info = alone({1, 8, 3}, conv);
  CHECK(info.out == Shape{3, 9, 6});
  CHECK(info.padding == std::array<int, 4>{0, 2, 4, 1});
  REQUIRE(info.parameters.size() == 1);
  CHECK(info.parameters[0].extent == std::vector<std::int64_t>{1, 5, 1, 6});
  CHECK(info.parameter_count == 30);

  // Even kernel at stride 1: one pixel too many, at the bottom and right.
  CHECK(alone({6, 6, 1}, Conv2d{1, {2, 4}}).padding == std::array<int, 4>{0, 1, 1, 2});
  // A stride beyond the kernel needs no padding.
  CHECK(alone({9, 9, 1}, Conv2d{1, {1, 1}, {4, 4}}).padding == std::array<int, 4>{});
  CHECK(alone({9, 9, 1}, Conv2d{1, {1, 1}, {4, 4}}).out == Shape{3, 3, 1});

  CHECK(alone({7, 7, 5}, Pool2d{PoolKind::max, {2, 2}, {2, 2}}).out == Shape{3, 3, 5});
  Pool2d const same{PoolKind::average, {3, 3}, {2, 2}, {PaddingKind::same, {}}};
  CHECK(alone({7, 8, 5}, same).out == Shape{4, 4, 5});
  CHECK(alone({7, 8, 5}, same).padding == std::array<int, 4>{1, 1, 0, 1});

  CHECK(alone({4, 5, 6}, GlobalAvgPool{}).out == Shape{1, 1, 6});
  CHECK(alone({4, 5, 6}, Flatten{}).out == Shape{1, 1, 120});
  CHECK(alone({4, 5, 6}, Dense{7, false}).parameters[0].extent == std::vector<std::int64_t>{120, 7});
  NodeInfo const norm = alone({4, 5, 6}, BatchNorm{});
  CHECK(norm.parameter_count == 12);
  CHECK(norm.parameters.size() == 4);
}

TEST_CASE("execution order, joins and costs of a graph")
{
  // Written backwards; a diamond: a -> (b, c) -> join -> end, with no trained weight above b and c.
  Architecture const architecture = network({4, 4, 2},
                                            {{"end", Dense{3, false}, {"join"}},
                                             {"join", Concat{}, {"b", "c", "input"}},
                                             {"c", Conv2d{5, {1, 1}}, {"a"}},
                                             {"b", Conv2d{6, {3, 3}}, {"a"}},
                                             {"a", Activation{}, {"input"}}},
                                            3);
  Inferred const inferred = infer(architecture);
  std::vector<int> order;
  order.reserve(inferred.nodes.size());
  for (NodeInfo const& info : inferred.nodes)
    order.push_back(info.node);
  CHECK(order == std::vector<int>{4, 2, 3, 1, 0}); // of c and b the one written first
  CHECK(inferred.nodes[3].inputs == std::vector<int>{2, 1, -1});
  CHECK(inferred.nodes[3].out == Shape{4, 4, 13});
  double const c = 2 * 16 * 5 * 2, b = 2 * 16 * 6 * 9 * 2, end = 2 * 16 * 13 * 3;
  CHECK(inferred.forward_flops == b + c + end);
  CHECK(inferred.training_flops == 2 * (b + c) + 3 * end); // b and c need no gradient of their input
  CHECK(inferred.activation_values == 32 + 80 + 96 + 208 + 3);

  MemoryEstimate const memory = estimate_memory(inferred, 10, 4, 2);
  CHECK(memory.weights == inferred.parameter_count * 4);
  CHECK(memory.optimiser == 2 * memory.weights);
  // At the concatenation's backward pass: the image, all outputs up to it, its gradient and those of b and c.
  CHECK(memory.activations == (32 + (32 + 80 + 96 + 208) + 208 + 80 + 96) * 10 * 4);
  CHECK(memory.total() > memory.activations + memory.optimiser);

  std::string const table = summary(architecture);
  for (char const* word : {"join", "concat", "4 x 4 x 13", "parameters 753"})
    CHECK(table.find(word) != std::string::npos);
}

TEST_CASE("what training keeps: nothing that is overwritten in place")
{
  Inferred const inferred = infer(network({4, 4, 2},
                                          {{"conv", Conv2d{3, {3, 3}}, {"input"}},
                                           {"norm", BatchNorm{}, {"conv"}},
                                           {"join", Add{}, {"norm", "conv"}},
                                           {"relu", Activation{}, {"join"}},
                                           {"gelu", Activation{ActivationKind::gelu}, {"relu"}},
                                           {"flat", Flatten{}, {"gelu"}},
                                           {"end", Dense{2}, {"flat"}}},
                                          2));
  std::vector<std::int64_t> kept;
  kept.reserve(inferred.nodes.size());
  for (NodeInfo const& info : inferred.nodes)
    kept.push_back(info.kept_values);
  // conv has two readers, the sum becomes relu's output, gelu's backward needs its input, flatten is a view.
  CHECK(kept == std::vector<std::int64_t>{48, 0, 0, 48, 0, 48, 2});
}

TEST_CASE("inference names the node that is wrong")
{
  Shape const image{8, 8, 3};
  Node const end{"end", Dense{2}, {"input"}};
  auto const message = [](Architecture const& architecture) { return error_of([&] { infer(architecture, "net"); }); };
  auto const behind = [&](Op op) {
    return message(network(image, {{"n", op, {"input"}}, {"end", Dense{2}, {"n"}}}, 2));
  };

  CHECK(message(network(image, {}, 2)) == "net: field 'nodes' must not be empty");
  CHECK(message(network(image, {{"end", Dense{2}, {"nobody"}}}, 2)) ==
        "net: node 'end': field 'inputs' names the unknown node 'nobody'");
  CHECK(
      message(network(
          image,
          {{"a", Add{}, {"input", "c"}}, {"b", Identity{}, {"a"}}, {"c", Identity{}, {"b"}}, {"end", Dense{2}, {"c"}}},
          2)) == "net: node 'a': its inputs form a cycle: a -> b -> c -> a");
  CHECK(message(network(image, {{"a", Identity{}, {"a"}}}, 2)) == "net: node 'a': its inputs form a cycle: a -> a");
  CHECK(message(network(image, {{"a", Identity{}, {"input"}}, end}, 2)) ==
        "net: node 'a': nothing reads it, and the output is 'end'");
  CHECK(message(network(image, {{"n", Dense{3}, {"input"}}}, 2)) ==
        "net: node 'n': the output has 3 values (1 x 1 x 3), but 'classes' is 2");
  CHECK(message(network(image, {end, end}, 2)) == "net: node 'end': field 'id' is used twice");
  CHECK(message(network(image, {{"input", Dense{2}, {"input"}}}, 2)) ==
        "net: node 'input': field 'id' must not be the reserved name of the image");
  CHECK(message(network(image, {{"a/b", Dense{2}, {"input"}}}, 2)).find("node 'a/b': field 'id' must be") == 5);
  CHECK(message(network(image, {{"", Dense{2}, {"input"}}}, 2)).find("net: node '': field 'id'") == 0);
  CHECK(message(network({0, 8, 3}, {end}, 2)) == "net: field 'input.height' must be in [1, 1048576], got 0");
  CHECK(message(network(image, {end}, 1)) == "net: field 'output.classes' must be in [2, 1048576], got 1");
  CHECK(message(network(image, {end}, 0)).find("either 'classes' or 'regression'") != std::string::npos);
  CHECK(message(network(image, {{"n", Add{}, {"input"}}, {"end", Dense{2}, {"n"}}}, 2)) ==
        "net: node 'n': field 'inputs' must name at least two inputs, got 1");
  CHECK(message(network(image, {{"end", Dense{2}, {"input", "input"}}}, 2)) ==
        "net: node 'end': field 'inputs' must name exactly one input, got 2");
  CHECK(message(network(image, {{"a", Conv2d{4}, {"input"}}, {"n", Add{}, {"a", "input"}}, {"end", Dense{2}, {"n"}}},
                        2)) == "net: node 'n': field 'inputs' must have equal shapes, got 8 x 8 x 4 and 8 x 8 x 3");
  CHECK(message(network(
            image, {{"a", GlobalAvgPool{}, {"input"}}, {"n", Concat{}, {"a", "input"}}, {"end", Dense{2}, {"n"}}},
            2)) == "net: node 'n': field 'inputs' must have equal heights and widths, got 1 x 1 x 3 and 8 x 8 x 3");

  CHECK(behind(Conv2d{4, {9, 1}, {1, 1}, {1, 1}, {PaddingKind::valid, {}}}) ==
        "net: node 'n': field 'kernel' reaches over 9 pixels, more than the padded input's height of 8");
  CHECK(behind(Conv2d{4, {1, 5}, {1, 1}, {1, 2}, {PaddingKind::valid, {}}}) ==
        "net: node 'n': field 'kernel' reaches over 9 pixels, more than the padded input's width of 8");
  CHECK(behind(Conv2d{0}) == "net: node 'n': field 'filters' must be in [1, 1048576], got 0");
  CHECK(behind(Conv2d{4, {INT_MAX, 1}}) == "net: node 'n': field 'kernel' must be in [1, 4096], got 2147483647");
  CHECK(behind(Conv2d{4, {1, 1}, {0, 1}}) == "net: node 'n': field 'stride' must be in [1, 4096], got 0");
  CHECK(behind(Conv2d{4, {1, 1}, {1, 1}, {1, -1}}) == "net: node 'n': field 'dilation' must be in [1, 4096], got -1");
  CHECK(behind(Conv2d{4, {1, 1}, {1, 1}, {1, 1}, {PaddingKind::explicit_, {0, 0, -1, 0}}}) ==
        "net: node 'n': field 'padding' must be in [0, 4096], got -1");
  CHECK(behind(Conv2d{4, {1, 1}, {1, 1}, {1, 1}, {}, 3}) ==
        "net: node 'n': field 'groups' must divide filters (4), got 3");
  CHECK(behind(Conv2d{4, {1, 1}, {1, 1}, {1, 1}, {}, 2}) ==
        "net: node 'n': field 'groups' must divide the input's channels (3), got 2");
  CHECK(behind(Dense{INT_MIN}) == "net: node 'n': field 'units' must be in [1, 1048576], got -2147483648");
  CHECK(behind(Slice{0, 3}) == "no error");
  CHECK(behind(Slice{1, 3}) == "net: node 'n': fields 'begin' and 'size' ask for channels [1, 4) of 3");
  CHECK(behind(Slice{1 << 30, 1 << 30}) ==
        "net: node 'n': fields 'begin' and 'size' ask for channels [1073741824, 2147483648) of 3");
  CHECK(behind(Slice{INT_MAX, 1}) == "net: node 'n': field 'begin' must be in [0, 1073741824], got 2147483647");
  CHECK(behind(Slice{0, INT_MIN}) == "net: node 'n': field 'size' must be in [1, 1073741824], got -2147483648");
  CHECK(behind(PadChannels{3}) == "no error");
  CHECK(behind(PadChannels{2}) == "net: node 'n': field 'channels' must be at least those of the input (3), got 2");
  CHECK(behind(PadChannels{1 << 30}).find("its output must have at most 1073741824 values") != std::string::npos);
  CHECK(behind(BatchNorm{1.5}) == "net: node 'n': field 'momentum' must be in [0, 1], got 1.5");
  CHECK(behind(BatchNorm{0.9, 0}) == "net: node 'n': field 'epsilon' must be in (0, 1], got 0");
  CHECK(behind(Dropout{1}) == "net: node 'n': field 'rate' must be in [0, 1), got 1");
  CHECK(behind(Activation{ActivationKind::leaky_relu, -0.1}) ==
        "net: node 'n': field 'slope' must be in [0, 1], got -0.1");
  CHECK(behind(Pool2d{PoolKind::max, {17, 16}, {1, 1}, {PaddingKind::same, {}}}) ==
        "net: node 'n': field 'kernel' must cover at most 256 pixels, got 17 x 16");
  CHECK(behind(Pool2d{PoolKind::max, {2, 3}, {2, 2}, {PaddingKind::explicit_, {0, 2, 0, 0}}}) ==
        "net: node 'n': field 'padding' must be less than the kernel (2), got 2");
  CHECK(behind(Pool2d{PoolKind::max, {9, 9}, {2, 2}}).find("reaches over 9 pixels") != std::string::npos);
}

TEST_CASE("nothing overflows: sizes are bounded before they are multiplied")
{
  int const most = 1 << 20;
  auto const message = [](Architecture const& architecture) { return error_of([&] { infer(architecture, "net"); }); };
  CHECK(message(network({most, most, most}, {{"end", Dense{2}, {"input"}}}, 2)) ==
        "net: field 'input' must have at most 1073741824 values, got 1152921504606846976");
  CHECK(message(network({1 << 10, 1 << 10, 1}, {{"c", Conv2d{most}, {"input"}}, {"end", Dense{2}, {"c"}}}, 2)) ==
        "net: node 'c': its output must have at most 1073741824 values, got 1024 x 1024 x 1048576");
  CHECK(message(network({1, 1, most}, {{"d", Dense{most}, {"input"}}, {"end", Dense{2}, {"d"}}}, 2)) ==
        "net: node 'd': its parameter 'kernel' must have at most 1073741824 values");
  CHECK(message(network({1, 1, 1 << 10}, {{"c", Conv2d{1 << 10, {4096, 4096}}, {"input"}}, {"end", Dense{2}, {"c"}}},
                        2)) == "net: node 'c': its parameter 'kernel' must have at most 1073741824 values");
  // Doubling by concatenation: 2^31 channels after eleven doublings of 2^20.
  std::vector<Node> nodes;
  std::string last = "input";
  for (int i = 0; i < 11; ++i) {
    nodes.push_back({"x" + std::to_string(i), Concat{}, {last, last}});
    last = nodes.back().id;
  }
  nodes.push_back({"g", GlobalAvgPool{}, {last}});
  CHECK(message(network({1, 1, most}, nodes, 2)).find("its output must have at most 1073741824 values") !=
        std::string::npos);
  // The largest windows, dilated, padded and strided, stay inside int.
  NodeInfo const info = alone({1, most, 1}, Conv2d{1, {1, 4096}, {1, 4096}, {1, 4096}});
  CHECK(info.out.width == 256);
  CHECK(info.padding[2] + info.padding[3] == 255 * 4096 + 4096 * 4095 + 1 - most);
}

TEST_CASE("inference is linear in the size of the graph")
{
  // A ladder of 20,000 nodes, each read twice; written backwards, which is the worst order.
  std::vector<Node> nodes;
  std::string last = "input";
  for (int i = 0; i < 20000; ++i) {
    nodes.push_back({"n" + std::to_string(i), Add{}, {last, last}});
    last = nodes.back().id;
  }
  nodes.push_back({"end", Dense{2}, {last}});
  std::reverse(nodes.begin(), nodes.end());
  auto const start = std::chrono::steady_clock::now();
  CHECK(infer(network({1, 1, 1}, nodes, 2)).nodes.size() == 20001);
  CHECK(std::chrono::steady_clock::now() - start <
        std::chrono::seconds(5)); // milliseconds; a quadratic one takes longer
}
