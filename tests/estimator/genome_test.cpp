// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/genome.hpp>
#include <nasturtium/nn/stepper.hpp>

#include "support/temporary.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

using namespace nasturtium;
using namespace nasturtium::estimator;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using test::error_of;
namespace spec = nn::spec;

namespace {

char const* const every_gene = "g1 batch-32 side-28 channels-1 adam conv-64-k3-s1-same-bias conv-8-k5-s2-valid-free "
                               "grouped-k3-s2-all grouped-k5-s1-4 max-2 average-3 norm add-2 dropout-30 relu flatten "
                               "global dense-128 tanh sigmoid";

Genome of(std::string const& genes, int side = 16, int channels = 4)
{
  return parse_genome(concat("g1 batch-4 side-", side, " channels-", channels, " sgd", genes.empty() ? "" : " ", genes),
                      "test");
}

/// The genes alone, repaired.
std::string repaired(std::string const& genes, int side = 16, int channels = 4)
{
  auto const text = to_text(repair(of(genes, side, channels)));
  auto const at = text.find("sgd");
  return text.substr(std::min(text.size(), at + 4));
}

GeneratorOptions with_adds()
{
  GeneratorOptions options;
  options.weights.back() = .2;
  return options;
}

} // namespace

TEST_CASE("a genome survives its text", "[genome]")
{
  auto const genome = parse_genome(every_gene, "test");
  CHECK(to_text(genome) == every_gene);
  REQUIRE(genome.genes.size() == 15);
  CHECK(genome.batch == 32);
  CHECK(genome.side == 28);
  CHECK(genome.optimiser == Optimiser::adam);
  CHECK(std::get<ConvGene>(genome.genes[1]) == ConvGene{8, 5, 2, false, false});
  CHECK(std::get<GroupedConvGene>(genome.genes[3]) == GroupedConvGene{5, 1, 4});
  CHECK(std::get<AddGene>(genome.genes[7]).back == 2);
  CHECK(hash(genome).size() == 64);
  CHECK(hash(genome) != hash(of("")));
  CHECK(of("").genes.empty());

  Random random(1);
  auto const options = with_adds();
  for (int i = 0; i < 500; ++i) {
    auto const drawn = draw_genome(options, random);
    REQUIRE(parse_genome(to_text(drawn), "test") == drawn);
  }
}

TEST_CASE("kinds of genes stand in the order of the weights", "[genome]")
{
  auto const genome = of("conv-4-k1-s1-same-bias grouped-k3-s1-all max-2 average-2 dense-8 norm dropout-10 relu "
                         "flatten add-1");
  REQUIRE(genome.genes.size() == gene_kinds);
  for (std::size_t i = 0; i < gene_kinds; ++i)
    CHECK(static_cast<std::size_t>(kind_of(genome.genes[i])) == i);
}

TEST_CASE("errors of a genome's text name gene, field and value", "[genome]")
{
  auto const error = [](std::string const& genes) { return error_of([&] { of(genes); }); };
  CHECK(error("relu conv-x-k3-s1-same-bias") ==
        "test: gene 2 'conv-x-k3-s1-same-bias': field 'filters' must be a whole number in [1, 1024], got 'x'");
  CHECK_THAT(error("conv-8-k16-s1-same-bias"),
             ContainsSubstring("field 'kernel' must be 'k' and a whole number in [1"));
  CHECK_THAT(error("conv-8-k3-s1-full-bias"),
             ContainsSubstring("field 'padding' must be 'same' or 'valid', got 'full'"));
  CHECK_THAT(error("conv-8-k3"), ContainsSubstring("field 'stride' is missing"));
  CHECK_THAT(error("dense-64-bias"), ContainsSubstring("has 2 fields, expected 1"));
  CHECK_THAT(error("dense-064"), ContainsSubstring("got '064'"));
  CHECK_THAT(error("dense-+64"), ContainsSubstring("field 'units'"));
  CHECK_THAT(error("attention-4"), ContainsSubstring("unknown gene; known are conv"));
  CHECK_THAT(error("relu  relu"), ContainsSubstring("gene 2 ''"));
  CHECK_THAT(error_of([] { parse_genome("", "f"); }), ContainsSubstring("f: a genome must start with its version"));
  CHECK_THAT(error_of([] { parse_genome("g2 batch-1", "f"); }), ContainsSubstring("got 'g2'"));
  CHECK_THAT(error_of([] { parse_genome("g1 batch-1", "f"); }), ContainsSubstring("must have batch, side"));
  CHECK_THAT(error_of([] { parse_genome("g1 batch-0 side-8 channels-1 sgd", "f"); }), ContainsSubstring("'batch'"));
  CHECK_THAT(error_of([] { parse_genome("g1 batch-1 side-8 channels-1 adagrad", "f"); }),
             ContainsSubstring("optimiser must be sgd, momentum, rmsprop or adam, got 'adagrad'"));
  std::string many;
  for (int i = 0; i < 257; ++i)
    many += i == 0 ? "relu" : " relu";
  CHECK_THAT(error(many), ContainsSubstring("at most 256 genes, got 257"));
}

TEST_CASE("spoilt texts are refused or read as another genome, and that decodes or is over a cap", "[genome]")
{
  test::Random random(7);
  int refused = 0, decoded = 0;
  for (int i = 0; i < 4000; ++i) {
    auto const text = test::mutated(every_gene, random);
    Genome genome;
    try {
      genome = parse_genome(text, "fuzz");
    } catch (Error const& error) {
      REQUIRE(std::string(error.what()).starts_with("fuzz: "));
      REQUIRE(std::string(error.what()).find('\n') == std::string::npos);
      ++refused;
      continue;
    }
    REQUIRE(to_text(genome) == text);
    if (auto const workload = decode(genome)) {
      REQUIRE_NOTHROW(spec::infer(workload->architecture));
      ++decoded;
    }
  }
  CHECK(refused > 2000);
  CHECK(decoded > 10);
}

TEST_CASE("the largest genomes that a text may hold stay within an architecture's limits", "[genome]")
{
  auto const genome = parse_genome("g1 batch-65536 side-512 channels-1024 adam conv-1024-k15-s1-same-bias flatten "
                                   "dense-65536 dense-65536",
                                   "test");
  CHECK_FALSE(decode(genome).has_value()); // ten halvings are not enough
  Caps wide;
  wide.parameters = std::int64_t{1} << 30;
  wide.memory_bytes = std::int64_t{1} << 62;
  auto const workload = decode(
      parse_genome("g1 batch-65536 side-512 channels-1024 adam conv-1024-k15-s1-same-bias global", "test"), wide);
  REQUIRE(workload.has_value());
  CHECK(spec::infer(workload->architecture).parameter_count == 15 * 15 * 1024 * 1024 + 1024 + 10250);
  CHECK_THROWS_AS(decode(genome, Caps{.parameters = 0}), Error);
  CHECK_THROWS_AS(decode(genome, Caps{.parameters = (std::int64_t{1} << 30) + 1}), Error);
  CHECK_THROWS_AS(decode(genome, Caps{.memory_bytes = 0}), Error);
  CHECK_THROWS_AS(decode(genome, Caps{.step_flops = -1}), Error);
}

TEST_CASE("genes are repaired by the reference's rules", "[genome]")
{
  CHECK(repaired("") == "flatten");
  CHECK(repaired("conv-8-k5-s1-valid-bias", 4) == "conv-8-k5-s1-same-bias flatten");
  CHECK(repaired("conv-8-k5-s1-valid-bias", 5) == "conv-8-k5-s1-valid-bias flatten");
  CHECK(repaired("max-2 max-2 max-3 relu", 4) == "max-2 max-2 relu flatten");
  CHECK(repaired("average-3", 2) == "average-2 flatten");
  CHECK(repaired("grouped-k3-s1-8", 8, 12) == "grouped-k3-s1-4 flatten");
  CHECK(repaired("grouped-k3-s1-8", 8, 6) == "grouped-k3-s1-2 flatten");
  CHECK(repaired("grouped-k3-s1-4", 8, 3) == "grouped-k3-s1-all flatten");
  CHECK(repaired("relu dense-16 conv-8-k3-s1-same-bias max-2 grouped-k3-s1-all global norm dense-8") ==
        "relu flatten dense-16 norm dense-8");
  CHECK(repaired("conv-128-k3-s1-same-bias dense-8", 8) == "conv-128-k3-s1-same-bias flatten dense-8");
  CHECK(repaired("conv-129-k3-s1-same-bias dense-8", 8) == "conv-129-k3-s1-same-bias global dense-8");
  CHECK(repaired("conv-129-k3-s1-same-bias", 8) == "conv-129-k3-s1-same-bias global");
  CHECK(repaired("conv-129-k3-s1-same-bias flatten", 8) == "conv-129-k3-s1-same-bias flatten"); // as it was drawn
  CHECK(repaired("add-1") == "flatten");
  CHECK(repaired("relu add-3") == "relu add-1 flatten");
  CHECK(repaired("max-2 add-1") == "max-2 add-1 flatten");                                   // 16 to 8: stride 2
  CHECK(repaired("conv-4-k3-s1-valid-bias add-1") == "conv-4-k3-s1-valid-bias flatten");     // 16 to 14: no stride
  CHECK(repaired("dense-8 dense-16 add-1 add-3") == "flatten dense-8 dense-16 add-1 add-3"); // vectors too
  CHECK(repaired("flatten add-1") == "flatten");                                             // an image and a vector
}

TEST_CASE("a decoded genome is the network that one would write", "[genome]")
{
  auto const workload = decode(of("conv-6-k5-s1-same-free max-2 add-1 dense-20 relu", 8, 3));
  REQUIRE(workload.has_value());
  CHECK(workload->batch == 4);
  CHECK(workload->optimiser == Optimiser::sgd);
  spec::Architecture expected;
  expected.input = {8, 8, 3};
  expected.classes = 10;
  spec::Conv2d conv{.filters = 6, .kernel = {5, 5}};
  conv.bias = false;
  expected.nodes = {{"conv1", conv, {"input"}},
                    {"max_pool2", spec::Pool2d{}, {"conv1"}},
                    {"project3", spec::Conv2d{.filters = 6, .stride = {2, 2}}, {"conv1"}},
                    {"add3", spec::Add{}, {"max_pool2", "project3"}},
                    {"flatten4", spec::Flatten{}, {"add3"}},
                    {"dense5", spec::Dense{.units = 20}, {"flatten4"}},
                    {"relu6", spec::Activation{}, {"dense5"}},
                    {"head", spec::Dense{.units = 10}, {"relu6"}}};
  CHECK(spec::hash(workload->architecture) == spec::hash(expected));
  CHECK(workload->architecture.name.starts_with("genome "));

  auto other = *workload;
  other.batch = 5;
  CHECK(network_hash(other) != network_hash(*workload));
  other = *workload;
  other.architecture.name = "another";
  CHECK(network_hash(other) == network_hash(*workload));
}

TEST_CASE("the widest layer is halved until the caps hold, ten times at most", "[genome]")
{
  auto const genome = of("conv-16-k3-s1-same-bias flatten dense-1024 relu dense-64");
  auto const units = [&](Caps const& caps) {
    auto const workload = decode(genome, caps);
    REQUIRE(workload.has_value());
    return std::get<spec::Dense>(workload->architecture.nodes[2].op).units;
  };
  auto const parameters = spec::infer(decode(genome)->architecture).parameter_count;
  CHECK(units({.parameters = parameters}) == 1024);
  CHECK(units({.parameters = parameters - 1}) == 512);
  CHECK(units({.parameters = parameters / 4}) < 256 + 1);
  CHECK(units({.memory_bytes = 9'000'000}) < 1024);
  double const flops = step_flops(describe(*decode(genome)));
  CHECK(units({.step_flops = flops}) == 1024);
  CHECK(units({.step_flops = flops * .999}) == 512);
  CHECK_FALSE(decode(genome, {.parameters = 100}).has_value());
  CHECK_FALSE(decode(of("flatten", 64, 3), {.parameters = 1000}).has_value()); // nothing to halve
}

TEST_CASE("thousands of genomes of both generators decode within the caps", "[genome]")
{
  auto const options = with_adds();
  auto const& caps = options.caps;
  std::map<std::string, double> flops;
  std::set<GeneKind> kinds;
  int adds = 0, projections = 0;
  for (auto const& [generator, count] : {std::pair{"uniform", 3000}, {"skewed", 100}}) {
    Random random(3);
    auto const individuals = draw(generator, count, options, random);
    REQUIRE(individuals.size() == static_cast<std::size_t>(count));
    for (auto const& [genome, workload] : individuals) {
      auto const inferred = spec::infer(workload.architecture);
      REQUIRE(inferred.parameter_count <= caps.parameters);
      REQUIRE(spec::estimate_memory(inferred, workload.batch, 4, state_words(workload.optimiser)).total() <=
              caps.memory_bytes);
      REQUIRE(repair(repair(genome)) == repair(genome));
      REQUIRE(workload.batch == genome.batch);
      for (auto const& gene : genome.genes)
        kinds.insert(kind_of(gene));
      for (auto const& node : workload.architecture.nodes) {
        adds += node.id.starts_with("add") ? 1 : 0;
        projections += node.id.starts_with("project") ? 1 : 0;
      }
      flops[generator] += std::log(step_flops(describe(workload))) / count;
    }
  }
  CHECK(kinds.size() == gene_kinds);
  CHECK(adds > 500);
  CHECK(projections > 100);
  CHECK(flops["skewed"] < flops["uniform"] - 2); // mean log: seven times cheaper at least
}

TEST_CASE("parameters are capped as shape inference counts them", "[genome]")
{
  // One parameter less than the network has changes it; as many leave it alone.
  Random random(11);
  for (auto const& [genome, workload] : draw("uniform", 200, with_adds(), random)) {
    Caps caps;
    caps.parameters = spec::infer(workload.architecture).parameter_count;
    auto const same = decode(genome, caps);
    REQUIRE(same.has_value());
    REQUIRE(network_hash(*same) == network_hash(workload));
    --caps.parameters;
    auto const smaller = decode(genome, caps);
    REQUIRE((!smaller || spec::infer(smaller->architecture).parameter_count <= caps.parameters));
  }
}

TEST_CASE("the uniform generator draws the reference's table", "[genome]")
{
  GeneratorOptions const options;
  Random random(5);
  std::map<GeneKind, double> share;
  std::map<int, int> batches, sides, lengths;
  double genes = 0;
  for (int i = 0; i < 4000; ++i) {
    auto const genome = draw_genome(options, random);
    ++batches[genome.batch];
    ++sides[genome.side];
    ++lengths[static_cast<int>(genome.genes.size())];
    for (auto const& gene : genome.genes) {
      ++share[kind_of(gene)];
      ++genes;
      if (auto const* conv = std::get_if<ConvGene>(&gene)) REQUIRE((conv->filters >= 4 && conv->filters <= 256));
      if (auto const* dense = std::get_if<DenseGene>(&gene)) REQUIRE((dense->units >= 8 && dense->units <= 1024));
      if (auto const* dropout = std::get_if<DropoutGene>(&gene)) REQUIRE((dropout->rate >= 10 && dropout->rate <= 50));
    }
  }
  for (std::size_t kind = 0; kind < gene_kinds; ++kind)
    CHECK(share[static_cast<GeneKind>(kind)] / genes == Approx(options.weights[kind]).margin(.01));
  CHECK(batches.size() == 8);
  CHECK(sides.size() == 7);
  CHECK(lengths.begin()->first == 1);
  CHECK(lengths.rbegin()->first == 24);
  CHECK(lengths[1] > 5 * lengths[12]); // log-uniform
}

TEST_CASE("options of the generators make a smaller space, and bad ones are refused", "[genome]")
{
  GeneratorOptions options;
  options.max_log2_batch = 3;
  options.sides = {8, 16};
  options.channels = {3};
  options.optimisers = {Optimiser::rmsprop};
  options.max_filters = 16;
  options.max_units = 32;
  options.max_genes = 6;
  options.caps.step_flops = 1e8;
  check(options);
  Random random(2);
  for (auto const& [genome, workload] : draw("uniform", 300, options, random)) {
    REQUIRE((genome.batch <= 8 && genome.side <= 16 && genome.channels == 3 && genome.genes.size() <= 6));
    REQUIRE(genome.optimiser == Optimiser::rmsprop);
    REQUIRE(step_flops(describe(workload)) <= 1e8);
  }
  CHECK_THROWS_AS(draw("gaussian", 1, options, random), Error);
  CHECK_THROWS_AS(draw("uniform", -1, options, random), Error);
  CHECK(draw("skewed", 0, options, random).empty());
  options.caps.parameters = 1;
  CHECK_THAT(error_of([&] { draw("uniform", 1, options, random); }), ContainsSubstring("leave no networks"));

  auto const refused = [](auto change) {
    GeneratorOptions bad;
    change(bad);
    return error_of([&] { check(bad); });
  };
  CHECK(refused([](auto&) {}) == "no error");
  CHECK(refused([](auto& it) { it.sides = {}; }) == "list of sides must not be empty");
  CHECK(refused([](auto& it) { it.sides = {8, 513}; }) == "sides must be in [1, 512], got 513");
  CHECK_THAT(refused([](auto& it) { it.min_units = 2000; }), ContainsSubstring("range of units"));
  CHECK_THAT(refused([](auto& it) { it.weights = {}; }), ContainsSubstring("must not all be 0"));
  CHECK_THAT(refused([](auto& it) { it.weights[0] = NAN; }), ContainsSubstring("got nan"));
  CHECK_THAT(refused([](auto& it) { it.optimisers = {Optimiser::none}; }), ContainsSubstring("'none'"));
  CHECK_THAT(refused([](auto& it) { it.classes = 1; }), ContainsSubstring("classes"));
}

TEST_CASE("operators follow the error by the reference's golden row", "[operators]")
{
  auto const check_row = [](double error, std::array<double, 5> expected) {
    auto const it = operators_at(error, OperatorSchedule::dynamic);
    CHECK(it.a == Approx(expected[0]).margin(1e-12));
    CHECK(it.p_mut == Approx(expected[1]));
    CHECK(it.immigrants_of(64) == expected[2]);
    CHECK(it.p_cross == Approx(expected[3]));
    CHECK(it.size_sd == Approx(expected[4]));
  };
  check_row(.50, {0, .1, 3, .9, .5});
  check_row(.25, {.5, .25, 18, .7, 1});
  check_row(.05, {1, .4, 32, .5, 1.5});
  check_row(INFINITY, {0, .1, 3, .9, .5});
  CHECK(operators_at(.05, OperatorSchedule::constant).a == .5);
  CHECK(operators_at(.05, OperatorSchedule::inverse).p_mut == Approx(.1));
  CHECK(operators_at(.50, OperatorSchedule::inverse).immigrants_of(64) == 32);
  CHECK_THROWS_AS(operators_at(-1, OperatorSchedule::dynamic), Error);
  CHECK_THROWS_AS(operators_at(NAN, OperatorSchedule::dynamic), Error);
  CHECK(parse_schedule("static", "test") == OperatorSchedule::constant);
  CHECK_THAT(error_of([] { parse_schedule("fixed", "--operators"); }), ContainsSubstring("dynamic, static or inverse"));
}

TEST_CASE("a crossover takes a head of the first parent and a tail of the second", "[operators]")
{
  auto const options = with_adds();
  Random random(9);
  std::set<std::size_t> heads;
  for (int i = 0; i < 2000; ++i) {
    auto const first = draw_genome(options, random), second = draw_genome(options, random);
    auto const child = crossover(first, second, options, random);
    REQUIRE((child.batch == first.batch && child.side == first.side && child.optimiser == first.optimiser));
    std::size_t const count = child.genes.size();
    REQUIRE((count >= 1 && count <= 24));
    bool found = false;
    for (std::size_t head = 0; head <= std::min(count, first.genes.size()) && !found; ++head) {
      found = count - head <= second.genes.size() &&
              std::equal(child.genes.begin(), child.genes.begin() + static_cast<std::ptrdiff_t>(head),
                         first.genes.begin()) &&
              std::equal(child.genes.rbegin(), child.genes.rend() - static_cast<std::ptrdiff_t>(head),
                         second.genes.rbegin());
      if (found) heads.insert(head);
    }
    REQUIRE(found);
  }
  CHECK(heads.size() > 10);
  auto const empty = of("");
  CHECK(crossover(empty, empty, options, random) == empty);
  CHECK(crossover(empty, of("relu"), options, random) == of("relu"));
}

TEST_CASE("mutations are at least one, more with a higher rate, and stay within the ranges", "[operators]")
{
  GeneratorOptions options;
  options.max_genes = 12;
  Random random(13);
  int same = 0, changed_batch = 0, longer = 0, shorter = 0;
  for (int i = 0; i < 3000; ++i) {
    auto const before = draw_genome(options, random);
    auto const after = mutate(before, operators_at(.5, OperatorSchedule::dynamic), options, random);
    same += after == before ? 1 : 0;
    changed_batch += after.batch != before.batch ? 1 : 0;
    longer += after.genes.size() > before.genes.size() ? 1 : 0;
    shorter += after.genes.size() < before.genes.size() ? 1 : 0;
    REQUIRE((after.genes.size() >= 1 && after.genes.size() <= 12));
    REQUIRE((after.batch >= 1 && after.batch <= 128 && (after.batch & (after.batch - 1)) == 0));
    REQUIRE((after.side == before.side && after.channels == before.channels && after.optimiser == before.optimiser));
    for (auto const& gene : after.genes) {
      if (auto const* conv = std::get_if<ConvGene>(&gene)) REQUIRE((conv->filters >= 4 && conv->filters <= 256));
      if (auto const* dense = std::get_if<DenseGene>(&gene)) REQUIRE((dense->units >= 8 && dense->units <= 1024));
      if (auto const* dropout = std::get_if<DropoutGene>(&gene)) REQUIRE((dropout->rate >= 10 && dropout->rate <= 50));
    }
  }
  CHECK(same < 30); // a mutation may be undone by the next
  CHECK(changed_batch > 450);
  CHECK(longer > 400);
  CHECK(shorter > 300);

  // A change of size moves by a factor of 2^N(0, sd); the other four mutations leave a lone gene's kind or it alone.
  auto const lone = of("dense-90");
  for (double const sd : {.5, 1.5}) {
    double squares = 0, count = 0;
    for (int i = 0; i < 4000; ++i) {
      auto const after = mutate(lone, {.p_mut = 0, .size_sd = sd}, options, random);
      auto const* dense = after.genes.size() == 1 ? std::get_if<DenseGene>(&after.genes.front()) : nullptr;
      if (!dense || *dense == std::get<DenseGene>(lone.genes.front())) continue;
      squares += std::pow(std::log2(dense->units / 90.0), 2);
      ++count;
    }
    CHECK(count > 600);
    CHECK(std::sqrt(squares / count) == Approx(sd).epsilon(.1));
  }
}

TEST_CASE("decoded networks train", "[genome]")
{
  auto options = with_adds();
  options.max_log2_batch = 3;
  options.caps.step_flops = 3e7;
  Random random(17);
  auto individuals = draw("uniform", 25, options, random);
  individuals.push_back({of(""), *decode(of(""))});
  for (auto const& [genome, workload] : individuals) {
    CAPTURE(to_text(genome));
    nn::TrainerOptions trainer;
    trainer.threads = 1;
    nn::TrainOptions train;
    train.batch_size = workload.batch;
    train.optimiser = to_options(workload.optimiser);
    nn::Stepper stepper(trainer, workload.architecture, train);
    stepper.run(1);
    CHECK(std::isfinite(stepper.loss()));
  }
}
