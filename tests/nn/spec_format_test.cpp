// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The architecture format: reading, canonical writing and hash; random graphs and damaged files.

#include "support/random_architecture.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/nn/spec/architecture.hpp>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nn::spec;
using nasturtium::test::Dice;
using nasturtium::test::error_of;
using nasturtium::test::random_architecture;

namespace {

std::string document(std::string const& nodes)
{
  return R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 8, "width": 9, "channels": 3},
"nodes": [)" +
         nodes + R"(], "output": {"classes": 4}})";
}

std::string node(std::string const& fields)
{
  return document(R"({"id": "n", "inputs": ["input"], )" + fields + "}");
}

Op only_op(std::string const& fields)
{
  return parse_architecture(node(fields), "text").nodes.at(0).op;
}

} // namespace

TEST_CASE("every op is read with the defaults of the format")
{
  CHECK(only_op(R"("op": "conv2d", "filters": 7, "kernel": 3)") == Op(Conv2d{7, {3, 3}, {1, 1}, {1, 1}, {}, 1, true}));
  CHECK(only_op(R"("op": "conv2d", "filters": 6, "kernel": [1, 5], "stride": [2, 3], "padding": "valid", "dilation": 2,
                   "groups": 3, "bias": false)") ==
        Op(Conv2d{6, {1, 5}, {2, 3}, {2, 2}, {PaddingKind::valid, {}}, 3, false}));
  CHECK(only_op(R"("op": "conv2d", "filters": 6, "kernel": 2, "padding": [1, 2, 3, 4])") ==
        Op(Conv2d{6, {2, 2}, {1, 1}, {1, 1}, {PaddingKind::explicit_, {1, 2, 3, 4}}, 1, true}));
  CHECK(only_op(R"("op": "dense", "units": 5)") == Op(Dense{5, true}));
  CHECK(only_op(R"("op": "dense", "units": 5, "bias": false)") == Op(Dense{5, false}));
  CHECK(only_op(R"("op": "batch_norm")") == Op(BatchNorm{0.9, 1e-5}));
  CHECK(only_op(R"("op": "batch_norm", "momentum": 0.5, "epsilon": 1e-3)") == Op(BatchNorm{0.5, 1e-3}));
  CHECK(only_op(R"("op": "relu")") == Op(Activation{ActivationKind::relu}));
  CHECK(only_op(R"("op": "leaky_relu", "slope": 0.2)") == Op(Activation{ActivationKind::leaky_relu, 0.2}));
  CHECK(only_op(R"("op": "elu")") == Op(Activation{ActivationKind::elu}));
  CHECK(only_op(R"("op": "gelu")") == Op(Activation{ActivationKind::gelu}));
  CHECK(only_op(R"("op": "silu")") == Op(Activation{ActivationKind::silu}));
  CHECK(only_op(R"("op": "tanh")") == Op(Activation{ActivationKind::tanh}));
  CHECK(only_op(R"("op": "sigmoid")") == Op(Activation{ActivationKind::sigmoid}));
  CHECK(only_op(R"("op": "max_pool2d", "kernel": 3)") == Op(Pool2d{PoolKind::max, {3, 3}, {3, 3}}));
  CHECK(only_op(R"("op": "avg_pool2d", "kernel": [2, 3], "stride": 1, "padding": "same")") ==
        Op(Pool2d{PoolKind::average, {2, 3}, {1, 1}, {PaddingKind::same, {}}}));
  CHECK(only_op(R"("op": "global_avg_pool")") == Op(GlobalAvgPool{}));
  CHECK(only_op(R"("op": "flatten")") == Op(Flatten{}));
  CHECK(only_op(R"("op": "dropout", "rate": 0.25)") == Op(Dropout{0.25}));
  CHECK(only_op(R"("op": "slice", "begin": 1, "size": 2)") == Op(Slice{1, 2}));
  CHECK(only_op(R"("op": "pad_channels", "channels": 5)") == Op(PadChannels{5}));
  CHECK(only_op(R"("op": "identity")") == Op(Identity{}));
  Architecture const joined = parse_architecture(
      document(
          R"({"id": "a", "op": "add", "inputs": ["input", "input"]}, {"id": "c", "op": "concat", "inputs": ["a", "input"]})"),
      "text");
  CHECK(joined.nodes == std::vector<Node>{{"a", Add{}, {"input", "input"}}, {"c", Concat{}, {"a", "input"}}});
}

TEST_CASE("reading refuses what the format does not know, naming source, node and field")
{
  auto const message = [](std::string const& text) { return error_of([&] { parse_architecture(text, "f.json"); }); };
  struct Row
  {
    std::string text;
    std::vector<std::string> words;
  };
  for (Row const& row : {
           Row{node(R"("op": "conv3d")"), {"f.json", "node 'n'", "op", "conv3d"}},
           Row{node(R"("op": 3)"), {"f.json", "node 'n'", "op"}},
           Row{node(R"("op": "relu", "slope": 0.1)"), {"f.json", "node 'n'", "slope"}},
           Row{node(R"("op": "conv2d", "filters": 3, "kernel": 3, "kernal": 5)"), {"f.json", "node 'n'", "kernal"}},
           Row{node(R"("op": "conv2d", "kernel": 3)"), {"f.json", "node 'n'", "filters"}},
           Row{node(R"("op": "conv2d", "filters": -3, "kernel": 3)"), {"f.json", "node 'n'", "filters", "-3"}},
           Row{node(R"("op": "conv2d", "filters": 1e300, "kernel": 3)"), {"f.json", "node 'n'", "filters"}},
           Row{node(R"("op": "conv2d", "filters": 2.5, "kernel": 3)"), {"f.json", "node 'n'", "filters", "2.5"}},
           Row{node(R"("op": "conv2d", "filters": "8", "kernel": 3)"), {"f.json", "node 'n'", "filters"}},
           Row{node(R"("op": "conv2d", "filters": 8, "kernel": [1, 2, 3])"),
               {"f.json", "node 'n'", "kernel", "3 values"}},
           Row{node(R"("op": "conv2d", "filters": 8, "kernel": 3, "padding": "full")"),
               {"f.json", "node 'n'", "padding", "full"}},
           Row{node(R"("op": "conv2d", "filters": 8, "kernel": 3, "padding": [1, 1])"),
               {"f.json", "node 'n'", "padding", "2 values"}},
           Row{node(R"("op": "conv2d", "filters": 8, "kernel": 3, "padding": 1)"),
               {"f.json", "node 'n'", "padding", "1"}},
           Row{node(R"("op": "conv2d", "filters": 8, "kernel": 3, "bias": 1)"), {"f.json", "node 'n'", "bias"}},
           Row{node(R"("op": "leaky_relu")"), {"f.json", "node 'n'", "slope"}},
           Row{node(R"("op": "slice", "size": 2)"), {"f.json", "node 'n'", "begin"}},
           Row{node(R"("op": "slice", "begin": -1, "size": 2)"), {"f.json", "node 'n'", "begin", "-1"}},
           Row{node(R"("op": "slice", "begin": 0, "size": 0)"), {"f.json", "node 'n'", "size", "0"}},
           Row{node(R"("op": "pad_channels")"), {"f.json", "node 'n'", "channels"}},
           Row{node(R"("op": "pad_channels", "channels": 0)"), {"f.json", "node 'n'", "channels", "0"}},
           Row{node(R"("op": "dropout", "rate": 1.5)"), {"f.json", "node 'n'", "rate", "1.5"}},
           Row{document(R"({"op": "relu", "inputs": ["input"]})"), {"f.json", "node 0", "id"}},
           Row{document(R"({"id": "n", "op": "relu"})"), {"f.json", "node 'n'", "inputs"}},
           Row{document(R"({"id": "n", "op": "relu", "inputs": "input"})"), {"f.json", "node 'n'", "inputs"}},
           Row{document(R"({"id": "n", "op": "relu", "inputs": [3]})"), {"f.json", "node 'n'", "inputs"}},
           Row{document(R"({"id": "a\nb", "op": "relu", "inputs": ["input"]})"), {"f.json", "node 'a?b'", "id"}},
           Row{document("7"), {"f.json", "node 0"}},
           Row{"", {"f.json"}},
           Row{"[]", {"f.json"}},
           Row{"{\"format\": \"nasturtium-architecture\",\n \"version\": 1", {"f.json"}},
           Row{R"({"format": "other", "version": 1})", {"f.json", "format", "other"}},
           Row{R"({"format": "nasturtium-architecture", "version": 2})", {"f.json", "version", "2"}},
           Row{R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 1, "width": 1}})",
               {"f.json", "input", "channels"}},
       }) {
    std::string const text = message(row.text);
    INFO(row.text << "\n-> " << text);
    CHECK(text != "no error");
    CHECK(text.find('\n') == std::string::npos);
    for (std::string const& word : row.words)
      CHECK(text.find(word) != std::string::npos);
  }
  std::string both = document(R"({"id": "n", "op": "dense", "units": 4, "inputs": ["input"]})");
  both.replace(both.find(R"({"classes": 4})"), 14, R"({"classes": 4, "regression": 1})");
  CHECK(message(both).find("either 'classes' or 'regression'") != std::string::npos);
  CHECK(error_of([] { load_architecture("lenet5"); }) ==
        "architecture 'lenet5' is neither a file (with '/' or '.json') nor one of: "
        "cnn2, conv1d, lenet, mlp, odd, regression_mlp, resnet20, vgg32");
  CHECK(error_of([] { load_architecture("/nowhere/net.json"); }).find("/nowhere/net.json") != std::string::npos);
}

TEST_CASE("the files of the zoo are the networks of the zoo")
{
  for (std::string const& name : zoo_names())
    CHECK(load_architecture(std::string(NASTURTIUM_SOURCE_DIR) + "/nn/zoo/" + name + ".json") ==
          load_architecture(name));
}

TEST_CASE("the example of the format's description is an architecture")
{
  std::string const text = read_file(std::string(NASTURTIUM_SOURCE_DIR) + "/docs/formats.md");
  std::string const fence = "```json\n";
  std::size_t const from = text.find(fence, text.find("## Architecture"));
  REQUIRE(from != std::string::npos);
  std::string const example =
      text.substr(from + fence.size(), text.find("```", from + fence.size()) - from - fence.size());
  CHECK(infer(parse_architecture(example, "docs/formats.md")).nodes.size() == 3);
}

TEST_CASE("random architectures: valid, and the same after writing and reading")
{
  std::set<std::string> ops, hashes;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Architecture const architecture = random_architecture(seed, static_cast<int>(seed % 40));
    INFO(to_json(architecture));
    Inferred const inferred = infer(architecture);
    CHECK(inferred.nodes.size() == architecture.nodes.size());
    for (std::size_t p = 0; p < inferred.nodes.size(); ++p)
      for (int const from : inferred.nodes[p].inputs)
        CHECK(from < static_cast<int>(p));
    Architecture const again = parse_architecture(to_json(architecture), "again");
    CHECK(again == architecture);
    CHECK(to_json(again) == to_json(architecture));
    CHECK(hash(again) == hash(architecture));
    hashes.insert(hash(architecture));
    for (Node const& node : architecture.nodes)
      ops.insert(op_name(node.op));
  }
  CHECK(hashes.size() == 300);
  CHECK(ops.size() == 20); // the generator covers every op
}

TEST_CASE("the hash changes with everything but the name")
{
  Architecture base;
  base.name = "base";
  base.input = {8, 8, 3};
  base.classes = 4;
  base.nodes = {{"c", Conv2d{6, {3, 3}}, {"input"}},
                {"b", BatchNorm{}, {"c"}},
                {"l", Activation{ActivationKind::leaky_relu, 0.1}, {"b"}},
                {"p", Pool2d{}, {"l"}},
                {"d", Dropout{0.5}, {"p"}},
                {"s", Slice{1, 3}, {"d"}},
                {"q", PadChannels{5}, {"s"}},
                {"f", Dense{4}, {"q"}}};
  std::string const reference = hash(base);
  CHECK(reference.size() == 64);
  auto renamed = base;
  renamed.name = "another";
  CHECK(hash(renamed) == reference);
  renamed.name.clear();
  CHECK(hash(renamed) == reference);

  auto const conv = [](Architecture& a) -> Conv2d& { return std::get<Conv2d>(a.nodes[0].op); };
  auto const pool = [](Architecture& a) -> Pool2d& { return std::get<Pool2d>(a.nodes[3].op); };
  std::vector<std::function<void(Architecture&)>> const changes{
      [](Architecture& a) { ++a.input.height; },
      [](Architecture& a) { ++a.input.width; },
      [](Architecture& a) { ++a.input.channels; },
      [](Architecture& a) { ++a.classes; },
      [](Architecture& a) { std::swap(a.classes, a.regression); },
      [](Architecture& a) { a.nodes[0].id = "c2"; },
      [](Architecture& a) { a.nodes[7].inputs = {"p"}; },
      [](Architecture& a) { ++std::get<Slice>(a.nodes[5].op).begin; },
      [](Architecture& a) { --std::get<Slice>(a.nodes[5].op).size; },
      [](Architecture& a) { ++std::get<PadChannels>(a.nodes[6].op).channels; },
      [](Architecture& a) { std::swap(a.nodes[0], a.nodes[1]); },
      [](Architecture& a) { a.nodes.pop_back(); },
      [&](Architecture& a) { ++conv(a).filters; },
      [&](Architecture& a) { ++conv(a).kernel[0]; },
      [&](Architecture& a) { ++conv(a).kernel[1]; },
      [&](Architecture& a) { ++conv(a).stride[0]; },
      [&](Architecture& a) { ++conv(a).dilation[1]; },
      [&](Architecture& a) { ++conv(a).groups; },
      [&](Architecture& a) { conv(a).bias = false; },
      [&](Architecture& a) { conv(a).padding.kind = PaddingKind::valid; },
      [&](Architecture& a) { conv(a).padding = {PaddingKind::explicit_, {0, 0, 0, 1}}; },
      [](Architecture& a) { std::get<BatchNorm>(a.nodes[1].op).momentum = 0.8; },
      [](Architecture& a) { std::get<BatchNorm>(a.nodes[1].op).epsilon = 1.0000000000000002e-5; },
      [](Architecture& a) { std::get<Activation>(a.nodes[2].op).slope = 0.2; },
      [](Architecture& a) { std::get<Activation>(a.nodes[2].op).kind = ActivationKind::elu; },
      [&](Architecture& a) { pool(a).kind = PoolKind::average; },
      [&](Architecture& a) { ++pool(a).kernel[0]; },
      [&](Architecture& a) { ++pool(a).stride[1]; },
      [&](Architecture& a) { pool(a).padding.kind = PaddingKind::same; },
      [](Architecture& a) { std::get<Dropout>(a.nodes[4].op).rate = 0.25; },
      [](Architecture& a) { ++std::get<Dense>(a.nodes[7].op).units; },
      [](Architecture& a) { std::get<Dense>(a.nodes[7].op).bias = false; },
  };
  std::set<std::string> hashes{reference};
  for (auto const& change : changes) {
    Architecture changed = base;
    change(changed);
    hashes.insert(hash(changed));
  }
  CHECK(hashes.size() == changes.size() + 1); // all different from the base and from one another
  // Stored results name networks by their hashes: a change of the canonical text would orphan them.
  CHECK(hash(load_architecture("mlp")) == "f25de106d483aa18661dd566e0508c4f4953ff0cf5a8b119df0837fcdf9dfaeb");
  // The way of writing does not matter.
  CHECK(hash(parse_architecture(node(R"("op": "conv2d", "filters": 3, "kernel": 3)"), "a")) ==
        hash(parse_architecture(node(R"("kernel": [3.0, 3], "filters": 3e0, "stride": 1, "op": "conv2d")"), "b")));
  CHECK(hash(parse_architecture(node(R"("op": "dropout", "rate": 0)"), "a")) ==
        hash(parse_architecture(node(R"("op": "dropout", "rate": -0.0)"), "b")));
}

TEST_CASE("damaged architecture files give one-line errors, never a crash")
{
  std::vector<std::string> texts;
  for (char const* name : {"lenet", "conv1d", "resnet20"})
    texts.push_back(to_json(load_architecture(name)));
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    texts.push_back(to_json(random_architecture(seed, 12)));
  Dice dice(2024);
  int read = 0, refused = 0;
  std::vector<std::string> const tokens{"-1",   "0",       "1e308", "99999999999999999999", "null",      "true", "\"\"",
                                        "[]",   "{}",      "0.5",   "2147483648",           "\"input\"", ",",    "}",
                                        "[[[[", "\"same\""};
  for (int round = 0; round < 6000; ++round) {
    std::string text = texts[static_cast<std::size_t>(dice.below(static_cast<int>(texts.size())))];
    for (int change = dice.between(1, 3); change > 0; --change) {
      std::size_t const at = static_cast<std::size_t>(dice.below(static_cast<int>(text.size())));
      std::size_t const length = static_cast<std::size_t>(dice.below(12));
      switch (dice.below(6)) {
      case 0:
        text[at] = static_cast<char>(dice.below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(static_cast<std::size_t>(dice.below(static_cast<int>(text.size()))), length));
        break;
      case 3:
        text.resize(at + 1);
        break;
      default: {
        // Replace a number or a word as a whole, so that more than the JSON reader is tried.
        std::size_t const from = text.find_first_of("0123456789\"", at);
        if (from == std::string::npos) break;
        std::size_t to = text[from] == '"' ? text.find('"', from + 1) : text.find_first_not_of("0123456789.e-", from);
        to = to == std::string::npos ? text.size() : to + (text[from] == '"' ? 1 : 0);
        text.replace(from, to - from, tokens[static_cast<std::size_t>(dice.below(static_cast<int>(tokens.size())))]);
      }
      }
      if (text.empty()) text = " ";
    }
    try {
      Architecture const architecture = parse_architecture(text, "damaged.json");
      ++read;
      Architecture const again = parse_architecture(to_json(architecture), "again.json");
      if (!(again == architecture) || hash(again) != hash(architecture)) FAIL_CHECK("not the same again:\n" << text);
      infer(architecture, "damaged.json");
    } catch (Error const& error) {
      ++refused;
      std::string const message = error.what();
      if (message.find('\n') != std::string::npos || message.find("damaged.json") != 0 || message.size() > 1000)
        FAIL_CHECK("not one clear line: " << message);
    }
  }
  CHECK(read > 100); // both ways are taken
  CHECK(refused > 100);
}
