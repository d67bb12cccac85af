// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which layers match: published vectors, every alignment of short sequences, graphs listed in any order.
#include "../support/random_architecture.hpp"
#include "../support/temporary.hpp"

#include <nasturtium/nas/matching.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

using namespace nasturtium;
using namespace nasturtium::nas;
using nasturtium::test::Dice;
using nasturtium::test::error_of;
using nasturtium::test::random_architecture;

namespace {

constexpr Matcher matchers[] = {Matcher::lp, Matcher::lcs, Matcher::exact_prefix, Matcher::lcs_bytes};
constexpr ElementRule element_rules[] = {ElementRule::tuple, ElementRule::kernel};
constexpr BatchNormRule batch_norm_rules[] = {BatchNormRule::element, BatchNormRule::fused, BatchNormRule::ignore};

using Pairs = std::vector<std::pair<int, int>>;

/// A letter a layer; the bytes of a layer go with its letter.
std::vector<WeightedLayer> layers_of(std::string const& letters)
{
  std::vector<WeightedLayer> layers;
  for (char const letter : letters) {
    std::string const id = concat(letter, layers.size());
    layers.push_back({id, std::string(1, letter), 0, {{id, "kernel", {1 + (letter - 'a') * 7 % 5}}}});
  }
  return layers;
}

Pairs aligned(std::string const& donor, std::string const& child, Matcher matcher)
{
  return align(layer_codes(layers_of(donor)), layer_codes(layers_of(child)), matcher);
}

/// All alignments of the two texts, rising in both.
void for_every_alignment(std::string const& donor, std::string const& child,
                         std::function<void(Pairs const&)> const& visit)
{
  Pairs pairs;
  std::function<void(std::size_t, std::size_t)> const go = [&](std::size_t i, std::size_t j) {
    if (j == child.size()) return visit(pairs);
    for (std::size_t k = i; k < donor.size(); ++k) {
      if (donor[k] != child[j]) continue;
      pairs.emplace_back(static_cast<int>(k), static_cast<int>(j));
      go(k + 1, j + 1);
      pairs.pop_back();
    }
    go(i, j + 1);
  };
  go(0, 0);
}

nn::spec::Architecture parsed(std::string const& input, std::string const& nodes, int classes = 10)
{
  return nn::spec::parse_architecture(R"({"format": "nasturtium-architecture", "version": 1, "input": )" + input +
                                          R"(, "nodes": [)" + nodes + R"(], "output": {"classes": )" +
                                          std::to_string(classes) + "}}",
                                      "test");
}

/// a b c d e of the vectors, each with an activation behind it but the last.
nn::spec::Architecture five_layers(std::array<std::string, 4> const& activations = {"relu", "relu", "relu", "relu"})
{
  auto const conv = [&](int i, int filters, std::string const& input) {
    std::string const id = std::to_string(i);
    return R"({"id": "c)" + id + R"(", "op": "conv2d", "filters": )" + std::to_string(filters) +
           R"(, "kernel": 3, "inputs": [")" + input + R"("]}, {"id": "r)" + id + R"(", "op": ")" +
           activations[static_cast<std::size_t>(i)] + R"(", "inputs": ["c)" + id + R"("]},)";
  };
  return parsed(R"({"height": 4, "width": 4, "channels": 3})",
                conv(0, 32, "input") + conv(1, 32, "r0") + conv(2, 64, "r1") +
                    R"({"id": "d", "op": "dense", "units": 128, "inputs": ["r2"]},
                       {"id": "r3", "op": ")" +
                    activations[3] + R"(", "inputs": ["d"]},
                       {"id": "e", "op": "dense", "units": 10, "inputs": ["r3"]})");
}

std::vector<std::string> ids(std::vector<WeightedLayer> const& layers)
{
  std::vector<std::string> result;
  for (WeightedLayer const& layer : layers)
    result.push_back(layer.id);
  return result;
}

nn::spec::Architecture shuffled(nn::spec::Architecture architecture, Dice& dice)
{
  for (std::size_t i = architecture.nodes.size(); i-- > 1;)
    std::swap(architecture.nodes[i], architecture.nodes[static_cast<std::size_t>(dice.below(static_cast<int>(i) + 1))]);
  return architecture;
}

/// Every parameter with values of its own.
nn::Weights weights_of(nn::spec::Architecture const& architecture)
{
  nn::Weights weights;
  double value = 0;
  for (nn::spec::NodeInfo const& info : nn::spec::infer(architecture).nodes)
    for (nn::spec::ParameterInfo const& parameter : info.parameters) {
      nn::Tensor tensor{parameter.extent, {}};
      std::int64_t count = 1;
      for (std::int64_t const e : parameter.extent)
        count *= e;
      for (std::int64_t i = 0; i < count; ++i)
        tensor.values.push_back(value += 0.5);
      weights[{architecture.nodes[static_cast<std::size_t>(info.node)].id, parameter.name}] = std::move(tensor);
    }
  return weights;
}

} // namespace

TEST_CASE("matching: the published vectors")
{
  struct Row
  {
    std::string donor, child;
    std::size_t prefix;
    Pairs common; // (child, donor)
  };
  // A and B are the first two layers with the first width doubled, D and E the dense ones with the last hidden width
  // doubled.
  std::vector<Row> const table{
      {"abcde", "abcde", 5, {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}}},
      {"abcde", "abbcde", 2, {{0, 0}, {1, 1}, {3, 2}, {4, 3}, {5, 4}}},
      {"abcde", "ABcde", 0, {{2, 2}, {3, 3}, {4, 4}}},
      {"abcde", "abcDE", 3, {{0, 0}, {1, 1}, {2, 2}}},
      {"abcde", "acde", 1, {{0, 0}, {1, 2}, {2, 3}, {3, 4}}},
      {"bbb", "bb", 2, {{0, 0}, {1, 1}}},
      {"bb", "bbb", 2, {{0, 0}, {1, 1}}},
      {"abbc", "abc", 2, {{0, 0}, {1, 1}, {2, 3}}},
      {"abc", "abbc", 2, {{0, 0}, {1, 1}, {3, 2}}},
      {"xy", "yx", 0, {{0, 1}}},
      {"xx", "zx", 0, {{1, 0}}},
      {"aab", "ab", 1, {{0, 0}, {1, 2}}},
      {"xyzw", "zwxy", 0, {{0, 2}, {1, 3}}},
      {"abcb", "bacb", 0, {{0, 1}, {2, 2}, {3, 3}}},
      {"abcbdab", "bdcaba", 0, {{0, 1}, {1, 4}, {3, 5}, {4, 6}}},
      {"", "ab", 0, {}},
      {"abc", "xyz", 0, {}},
  };
  for (Row const& row : table) {
    INFO(row.donor << " to " << row.child);
    CHECK(aligned(row.donor, row.child, Matcher::lp).size() == row.prefix);
    Pairs common;
    for (auto const& [donor, child] : aligned(row.donor, row.child, Matcher::lcs))
      common.emplace_back(child, donor);
    CHECK(common == row.common);
    LayerCodes const donor = layer_codes(layers_of(row.donor)), child = layer_codes(layers_of(row.child));
    CHECK(match_score(donor, child, Matcher::lp) == static_cast<std::int64_t>(row.prefix));
    CHECK(match_score(donor, child, Matcher::lcs) == static_cast<std::int64_t>(row.common.size()));
  }
}

TEST_CASE("matching: the best alignment, and of several the one that fills first layers first")
{
  Dice dice(4);
  for (int round = 0; round < 400; ++round) {
    std::string donor, child;
    for (int i = dice.below(8); i > 0; --i)
      donor += static_cast<char>('a' + dice.below(3));
    for (int i = dice.below(8); i > 0; --i)
      child += static_cast<char>('a' + dice.below(3));
    std::vector<WeightedLayer> const layers = layers_of(child);
    for (Matcher const matcher : {Matcher::lcs, Matcher::lcs_bytes}) {
      auto const worth = [&](Pairs const& pairs) {
        std::int64_t sum = 0;
        for (auto const& [i, j] : pairs)
          sum += matcher == Matcher::lcs ? 1 : layers[static_cast<std::size_t>(j)].bytes();
        return sum;
      };
      // By child layer: its donor, later ones and none behind earlier ones.
      auto const preference = [&](Pairs const& pairs) {
        std::vector<int> chosen(child.size(), 1000);
        for (auto const& [i, j] : pairs)
          chosen[static_cast<std::size_t>(j)] = i;
        return chosen;
      };
      Pairs best;
      for_every_alignment(donor, child, [&](Pairs const& pairs) {
        if (worth(pairs) > worth(best) || (worth(pairs) == worth(best) && preference(pairs) < preference(best)))
          best = pairs;
      });
      INFO(donor << " to " << child << " by " << name(matcher));
      REQUIRE(aligned(donor, child, matcher) == best);
      REQUIRE(match_score(layer_codes(layers_of(donor)), layer_codes(layers), matcher) == worth(best));
    }
    REQUIRE(aligned(donor, child, Matcher::lp).size() <= aligned(donor, child, Matcher::lcs).size());
    REQUIRE(aligned(donor, child, Matcher::lcs).size() == aligned(child, donor, Matcher::lcs).size());
  }
}

TEST_CASE("matching: a changed activation ends exact-prefix and nothing else")
{
  nn::spec::Architecture const donor = five_layers();
  for (Matcher const matcher : matchers)
    CHECK(match(donor, five_layers(), {matcher}).matched == 5);
  for (std::size_t changed = 0; changed < 4; ++changed) {
    std::array<std::string, 4> activations{"relu", "relu", "relu", "relu"};
    activations[changed] = "tanh";
    nn::spec::Architecture const child = five_layers(activations);
    CHECK(match(donor, child, {Matcher::lp}).matched == 5);
    CHECK(match(donor, child, {Matcher::lcs}).matched == 5);
    Match const exact = match(donor, child, {Matcher::exact_prefix});
    CHECK(exact.matched == static_cast<int>(changed) + 1);
    CHECK(exact.pairs.front() == std::pair<std::string, std::string>("c0", "c0"));
  }
}

TEST_CASE("matching: lcs-bytes prefers the heavy layer")
{
  // b is 3 values, a is 1, c is 5: "aac" against "caa" shares a a or c.
  CHECK(aligned("aac", "caa", Matcher::lcs) == Pairs{{0, 1}, {1, 2}});
  CHECK(aligned("aac", "caa", Matcher::lcs_bytes) == Pairs{{2, 0}});
}

TEST_CASE("matching: a network matches itself in whole, by every policy")
{
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    auto const architecture = random_architecture(seed, 4 + static_cast<int>(seed % 40));
    nn::Weights const weights = weights_of(architecture);
    for (Matcher const matcher : matchers)
      for (ElementRule const element : element_rules)
        for (BatchNormRule const batch_norm : batch_norm_rules) {
          INFO("seed " << seed << ' ' << name(matcher) << ' ' << name(element) << ' ' << name(batch_norm));
          Match const self = match(architecture, architecture, {matcher, element, batch_norm});
          REQUIRE(self.matched == self.weighted_layers);
          REQUIRE(self.coverage() == 1);
          REQUIRE(self.bytes == self.bytes_of_child);
          REQUIRE(self.parameters == self.parameters_of_child);
          for (auto const& [donor, child] : self.pairs)
            REQUIRE(donor == child);
          nn::Weights const copies = transferred(self, weights);
          std::int64_t values = 0;
          for (auto const& [key, tensor] : copies) {
            REQUIRE(tensor.values == weights.at(key).values);
            values += static_cast<std::int64_t>(tensor.values.size());
          }
          REQUIRE(values * 4 == self.bytes);
          bool const whole = batch_norm != BatchNormRule::ignore;
          if (whole) REQUIRE(copies.size() == weights.size());
          if (whole) REQUIRE(self.parameters == nn::spec::infer(architecture).parameter_count);
        }
  }
}

TEST_CASE("matching: the order of the nodes in the file does not matter, nor do their ids")
{
  Dice dice(9);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    auto const architecture = random_architecture(seed, 5 + static_cast<int>(seed % 60));
    auto const layers = weighted_layers(architecture, {});
    INFO("seed " << seed);
    for (int i = 0; i < 3; ++i)
      REQUIRE(weighted_layers(shuffled(architecture, dice), {}) == layers);

    auto renamed = shuffled(architecture, dice);
    std::map<std::string, std::string> names{{"input", "input"}};
    for (nn::spec::Node& node : renamed.nodes)
      node.id = names[node.id] = concat("n", names.size());
    for (nn::spec::Node& node : renamed.nodes)
      for (std::string& input : node.inputs)
        input = names.at(input);
    auto const others = weighted_layers(renamed, {});
    REQUIRE(others.size() == layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      REQUIRE(others[i].key == layers[i].key);
      REQUIRE(others[i].upstream == layers[i].upstream);
    }
  }
}

TEST_CASE("matching: towers follow one another, then the trunk")
{
  std::string const towers = R"(
      {"id": "b1", "op": "conv2d", "filters": 4, "kernel": 5, "inputs": ["input"]},
      {"id": "a1", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["input"]},
      {"id": "join", "op": "concat", "inputs": ["b2", "a3"]},
      {"id": "b2", "op": "conv2d", "filters": 6, "kernel": 1, "inputs": ["b1"]},
      {"id": "a2", "op": "conv2d", "filters": 5, "kernel": 3, "inputs": ["a1"]},
      {"id": "a3", "op": "conv2d", "filters": 7, "kernel": 3, "inputs": ["a2"]},)";
  std::string const input = R"({"height": 5, "width": 5, "channels": 2})";
  auto const donor = parsed(input, towers + R"({"id": "head", "op": "dense", "units": 10, "inputs": ["join"]})");
  CHECK(ids(weighted_layers(donor, {})) == std::vector<std::string>{"a1", "a2", "a3", "b1", "b2", "head"});
  // What follows the join does not change the places of the towers.
  auto const child =
      parsed(input, towers + R"({"id": "c", "op": "conv2d", "filters": 3, "kernel": 1, "inputs": ["join"]},
      {"id": "head", "op": "dense", "units": 10, "inputs": ["c"]})");
  CHECK(match(donor, child, {Matcher::lp}).matched == 5);
  CHECK(match(donor, child, {Matcher::exact_prefix}).matched == 5);

  // Equal layers at the start of both: what follows decides; the heads differ and decide nothing.
  auto const twins = [&](int units) {
    return parsed(R"({"height": 5, "width": 5, "channels": 2})",
                  R"({"id": "q", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["input"]},
                     {"id": "p", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["input"]},
                     {"id": "p2", "op": "conv2d", "filters": 8, "kernel": 5, "inputs": ["p"]},
                     {"id": "q2", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["q"]},
                     {"id": "sum", "op": "add", "inputs": ["p2", "q2"]},
                     {"id": "hidden", "op": "dense", "units": )" +
                      std::to_string(units) + R"(, "inputs": ["sum"]},
                     {"id": "head", "op": "dense", "units": 10, "inputs": ["hidden"]})");
  };
  CHECK(ids(weighted_layers(twins(3), {})) == std::vector<std::string>{"q", "q2", "p", "p2", "hidden", "head"});
  CHECK(match(twins(3), twins(900), {Matcher::lp}).matched == 4);
}

TEST_CASE("matching: exact-prefix follows edges, not places")
{
  // The second branch grows by a layer in front of the first one's end: all of the first still matches.
  std::string const input = R"({"height": 5, "width": 5, "channels": 2})";
  std::string const common = R"(
      {"id": "a", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["input"]},
      {"id": "b", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["a"]},
      {"id": "sum", "op": "add", "inputs": ["b", "shortcut"]},
      {"id": "c", "op": "conv2d", "filters": 4, "kernel": 3, "inputs": ["sum"]},
      {"id": "head", "op": "dense", "units": 10, "inputs": ["c"]},)";
  auto const donor = parsed(input, common + R"({"id": "shortcut", "op": "relu", "inputs": ["a"]})");
  auto const same = parsed(input, common + R"({"id": "shortcut", "op": "relu", "inputs": ["a"]})");
  auto const other = parsed(input, common + R"({"id": "shortcut", "op": "tanh", "inputs": ["a"]})");
  CHECK(match(donor, same, {Matcher::exact_prefix}).matched == 5 - 1);
  CHECK(match(donor, same, {Matcher::exact_prefix}).weighted_layers == 4);
  Match const partial = match(donor, other, {Matcher::exact_prefix});
  CHECK(partial.pairs == std::vector<std::pair<std::string, std::string>>{{"a", "a"}, {"b", "b"}});
  // Another image is another root.
  auto taller = donor;
  taller.input.height = 6;
  CHECK(match(donor, taller, {Matcher::exact_prefix}).matched == 0);
  CHECK(match(donor, taller, {Matcher::lcs}).matched == 3);
}

TEST_CASE("matching: what a batch norm is")
{
  std::string const input = R"({"height": 4, "width": 4, "channels": 1})";
  std::string const ends = R"({"id": "c", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["input"]},
      {"id": "head", "op": "dense", "units": 10, "inputs": ["r"]},)";
  auto const with = parsed(input, ends + R"({"id": "n", "op": "batch_norm", "inputs": ["c"]},
      {"id": "r", "op": "relu", "inputs": ["n"]})");
  auto const without = parsed(input, ends + R"({"id": "r", "op": "relu", "inputs": ["c"]})");
  auto const behind = parsed(input, ends + R"({"id": "a", "op": "relu", "inputs": ["c"]},
      {"id": "r", "op": "batch_norm", "inputs": ["a"]})");
  auto const read_twice = parsed(input, ends + R"({"id": "n", "op": "batch_norm", "inputs": ["c"]},
      {"id": "r", "op": "add", "inputs": ["n", "c"]})");

  using Ids = std::vector<std::string>;
  auto const policy = [](BatchNormRule rule) { return MatchPolicy{Matcher::lcs, ElementRule::tuple, rule}; };
  CHECK(ids(weighted_layers(with, policy(BatchNormRule::element))) == Ids{"c", "n", "head"});
  CHECK(ids(weighted_layers(with, policy(BatchNormRule::fused))) == Ids{"c", "head"});
  CHECK(ids(weighted_layers(with, policy(BatchNormRule::ignore))) == Ids{"c", "head"});
  CHECK(ids(weighted_layers(behind, policy(BatchNormRule::fused))) == Ids{"c", "r", "head"});
  CHECK(ids(weighted_layers(read_twice, policy(BatchNormRule::fused))) == Ids{"c", "n", "head"});
  CHECK(weighted_layers(with, policy(BatchNormRule::element))[1].key ==
        "batch_norm gamma 8 beta 8 moving_mean 8 moving_variance 8");
  CHECK(weighted_layers(with, policy(BatchNormRule::fused))[0].key ==
        "conv2d kernel 3x3x1x8 bias 8 + batch_norm gamma 8 beta 8 moving_mean 8 moving_variance 8");

  Match const element = match(with, without, policy(BatchNormRule::element));
  CHECK(element.matched == 2);
  CHECK(element.coverage() == 1);
  CHECK(match(without, with, policy(BatchNormRule::element)).coverage() == 2. / 3);
  CHECK(match(with, without, policy(BatchNormRule::fused)).matched == 1);
  Match const fused = match(with, with, policy(BatchNormRule::fused));
  CHECK(fused.pairs == std::vector<std::pair<std::string, std::string>>{{"c", "c"}, {"n", "n"}, {"head", "head"}});
  CHECK(fused.layers == Pairs{{0, 0}, {1, 1}});
  CHECK(fused.bytes == 4 * (9 * 8 + 8 + 4 * 8 + 128 * 10 + 10));
  CHECK(fused.parameters == 9 * 8 + 8 + 2 * 8 + 128 * 10 + 10);
  Match const ignored = match(with, with, policy(BatchNormRule::ignore));
  CHECK(ignored.bytes == 4 * (9 * 8 + 8 + 128 * 10 + 10));
  CHECK_FALSE(transferred(ignored, weights_of(with)).contains({"n", "gamma"}));
  CHECK(match(with, without, policy(BatchNormRule::ignore)).coverage() == 1);
}

TEST_CASE("matching: kernels alone match across biases")
{
  std::string const input = R"({"height": 4, "width": 4, "channels": 1})";
  auto const network = [&](char const* bias) {
    return parsed(
        input, std::string(R"({"id": "c", "op": "conv2d", "filters": 8, "kernel": 3, "inputs": ["input"], "bias": )") +
                   bias + R"(}, {"id": "head", "op": "dense", "units": 10, "inputs": ["c"]})");
  };
  auto const with = network("true"), without = network("false");
  CHECK(match(with, without, {Matcher::lcs}).matched == 1);
  MatchPolicy const policy{Matcher::lcs, ElementRule::kernel};
  Match const down = match(with, without, policy), up = match(without, with, policy);
  CHECK(down.matched == 2);
  CHECK(down.bytes == down.bytes_of_child);
  CHECK(up.matched == 2);
  CHECK(up.bytes == up.bytes_of_child - 4 * 8);
  nn::check_weights(transferred(down, weights_of(with)), without, true, "child");
  nn::Weights const copies = transferred(up, weights_of(without));
  nn::check_weights(copies, with, false, "child");
  CHECK_FALSE(copies.contains({"c", "bias"}));
}

TEST_CASE("matching: tensors arrive under the child's ids, as copies")
{
  auto const donor = five_layers();
  auto child = five_layers();
  for (nn::spec::Node& node : child.nodes) {
    node.id = "my_" + node.id;
    for (std::string& input : node.inputs)
      if (input != "input") input = "my_" + input;
  }
  Match const all = match(donor, child, {});
  CHECK(all.pairs.back() == std::pair<std::string, std::string>("e", "my_e"));
  nn::Weights weights = weights_of(donor);
  nn::Weights const copies = transferred(all, weights);
  nn::check_weights(copies, child, true, "child");
  double const before = copies.at({"my_e", "bias"}).values.front();
  CHECK(before == weights.at({"e", "bias"}).values.front());
  weights.at({"e", "bias"}).values.front() = -1;
  CHECK(copies.at({"my_e", "bias"}).values.front() == before);

  weights.at({"c1", "kernel"}).extent = {3, 3, 16, 64};
  CHECK(error_of([&] { transferred(all, weights); }) == "donor: node 'c1': 'kernel' must be 3x3x32x32, got 3x3x16x64");
  weights.erase({"c1", "kernel"});
  CHECK(error_of([&] { transferred(all, weights); }) == "donor: node 'c1': 'kernel' is missing");
}

TEST_CASE("matching: sequences go through JSON, damaged ones are refused")
{
  test::Random random(3);
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    auto const layers =
        weighted_layers(random_architecture(seed, 20), {Matcher::lcs, ElementRule::tuple, BatchNormRule::fused});
    std::string const text = json::compact(to_json(layers));
    REQUIRE(read_weighted_layers(json::parse(text, "record"), "record") == layers);
    for (int i = 0; i < 40; ++i) {
      try {
        json::Value const value = json::parse(test::mutated(text, random), "record");
        auto const read = read_weighted_layers(value, "record");
        REQUIRE(read_weighted_layers(to_json(read), "record") == read);
      } catch (Error const& error) {
        REQUIRE(std::string(error.what()).starts_with("record"));
        ++refused;
      }
    }
  }
  CHECK(refused > 800);
  auto const error = [](std::string const& text) {
    return error_of([&] { read_weighted_layers(json::parse(text, "r.json"), "r.json"); });
  };
  CHECK(read_weighted_layers(json::parse("[]", "r.json"), "r.json").empty());
  CHECK(error(R"([{"id": "c", "key": "k", "upstream": "xyz", "tensors": []}])") ==
        "r.json: layer 0: field 'upstream' must be at most 16 hexadecimal digits, got 'xyz'");
  CHECK(error(R"([{"id": "c", "key": "k", "upstream": "1", "tensors": []}])") ==
        "r.json: layer 0: field 'tensors' must not be empty");
  CHECK(
      error(
          R"([{"id": "c", "key": "k", "upstream": "1", "tensors": [{"node": "c", "name": "kernel", "extent": [0]}]}])")
          .starts_with("r.json: layer 0: tensor 0: field 'extent'"));
}

TEST_CASE("matching: names of the policies")
{
  for (Matcher const matcher : matchers)
    CHECK(parse_matcher(name(matcher)) == matcher);
  for (ElementRule const rule : element_rules)
    CHECK(parse_element_rule(name(rule)) == rule);
  for (BatchNormRule const rule : batch_norm_rules)
    CHECK(parse_batch_norm_rule(name(rule)) == rule);
  CHECK(error_of([] { parse_matcher("LCS"); }) == "matcher must be one of lp, lcs, exact-prefix, lcs-bytes, got 'LCS'");
  CHECK(error_of([] { parse_element_rule(""); }) == "element rule must be one of tuple, kernel, got ''");
  CHECK(error_of([] { parse_batch_norm_rule("off"); }) ==
        "batch norm rule must be one of element, fused, ignore, got 'off'");
}
