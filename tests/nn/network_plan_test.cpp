// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../../nn/src/network_plan.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace nasturtium;
using namespace nasturtium::nn;
using impl::GradientMode;
using impl::StepKind;

namespace {

impl::Plan plan_of(std::string const& nodes, std::string const& output = R"({"classes": 4})",
                   std::vector<std::string> const& frozen = {})
{
  auto const text =
      R"({"format": "nasturtium-architecture", "version": 1, "input": {"height": 8, "width": 8, "channels": 2},
                       "nodes": [)" +
      nodes + R"(], "output": )" + output + "}";
  return impl::make_plan(spec::parse_architecture(text, "test"), 3, 4, 128, frozen);
}

std::string const head =
    R"({"id": "pool", "op": "global_avg_pool", "inputs": ["last"]}, {"id": "fc", "op": "dense", "units": 4, "inputs": ["pool"]})";

} // namespace

TEST_CASE("place: blocks that are alive at once do not overlap")
{
  std::uint64_t index = 0;
  auto const below = [&](std::uint32_t bound) {
    return static_cast<int>(to_below(random_block(7, Purpose::search, 0, index++).word[0], bound));
  };
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<impl::Block> blocks(1 + below(30));
    std::int64_t sum = 0;
    for (auto& block : blocks) {
      block.bytes = 64 * (1 + below(20));
      block.first = below(20);
      block.last = block.first + below(10);
      sum += block.bytes;
    }
    auto const total = impl::place(blocks);
    REQUIRE(total <= sum);
    for (std::size_t a = 0; a < blocks.size(); ++a) {
      REQUIRE(blocks[a].offset >= 0);
      REQUIRE(blocks[a].offset % 64 == 0);
      REQUIRE(blocks[a].offset + blocks[a].bytes <= total);
      for (std::size_t b = a + 1; b < blocks.size(); ++b) {
        bool const together = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
        bool const apart = blocks[a].offset + blocks[a].bytes <= blocks[b].offset ||
                           blocks[b].offset + blocks[b].bytes <= blocks[a].offset;
        REQUIRE((!together || apart));
      }
    }
  }
  // A chain needs two blocks' worth at a time, however long it is.
  std::vector<impl::Block> chain(50);
  for (int i = 0; i < 50; ++i)
    chain[i] = {64, i, i + 1, 0};
  CHECK(impl::place(chain) == 128);
}

TEST_CASE("plan: convolution, batch norm, residual and relu become two steps")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]}, {"id": "r1", "op": "relu", "inputs": ["b1"]},
    {"id": "c2", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["r1"]},
    {"id": "b2", "op": "batch_norm", "inputs": ["c2"]}, {"id": "sum", "op": "add", "inputs": ["r1", "b2"]},
    {"id": "last", "op": "relu", "inputs": ["sum"]}, )" +
                            head);
  REQUIRE(plan.steps.size() == 6);
  CHECK(plan.steps[0].kind == StepKind::conv2d);
  CHECK(plan.steps[0].statistics_for == 1);
  CHECK(plan.steps[0].gradients[0] == GradientMode::none); // nothing upstream is trained
  CHECK(plan.steps[1].kind == StepKind::batch_norm);
  CHECK(plan.steps[1].statistics_of == 0);
  CHECK(plan.steps[1].relu);
  CHECK(plan.steps[3].kind == StepKind::batch_norm);
  CHECK(plan.steps[3].residual == plan.steps[1].dst);
  CHECK(plan.steps[3].relu);
  // Backward, the residual's branch comes first and the convolution adds to it.
  CHECK(plan.steps[3].residual_gradient == GradientMode::overwrite);
  CHECK(plan.steps[3].gradients[0] == GradientMode::alias);
  CHECK(plan.steps[2].gradients[0] == GradientMode::accumulate);
  CHECK(plan.steps[4].kind == StepKind::global_avg_pool);
}

TEST_CASE("plan: x + batch_norm(x) stays apart, a flatten in between takes no moments")
{
  auto plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]}, {"id": "last", "op": "add", "inputs": ["c1", "b1"]}, )" +
                      head);
  REQUIRE(plan.steps.size() == 5);
  CHECK(plan.steps[1].residual == -1);
  plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "f1", "op": "flatten", "inputs": ["c1"]}, {"id": "b1", "op": "batch_norm", "inputs": ["f1"]},
    {"id": "last", "op": "relu", "inputs": ["b1"]}, )" +
                 head);
  CHECK(plan.steps[0].statistics_for == -1);
  CHECK(plan.steps[1].statistics_of == -1);
}

TEST_CASE("plan: of two batch norms behind a convolution one has its statistics as a by-product")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]}, {"id": "b2", "op": "batch_norm", "inputs": ["c1"]},
    {"id": "p1", "op": "relu", "inputs": ["b1"]}, {"id": "p2", "op": "tanh", "inputs": ["b2"]},
    {"id": "last", "op": "concat", "inputs": ["p1", "p2"]}, )" +
                            head);
  int by_product = 0, own = 0;
  for (int i = 0; i < static_cast<int>(plan.steps.size()); ++i) {
    auto const& step = plan.steps[static_cast<std::size_t>(i)];
    if (step.kind != StepKind::batch_norm) continue;
    by_product += step.statistics_of == 0;
    own += step.statistics_of < 0;
    if (step.statistics_of == 0) CHECK(plan.steps[0].statistics_for == i);
    // The statistics live from the step that gives them to the backward pass.
    auto const& saved =
        plan.training.blocks[static_cast<std::size_t>(plan.training.saved[static_cast<std::size_t>(i)])];
    CHECK(saved.first == (step.statistics_of == 0 ? 0 : i));
  }
  CHECK(by_product == 1);
  CHECK(own == 1);
  CHECK(plan.norm_channels == 2);
}

TEST_CASE("plan: a value with two readers keeps its relu apart")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "r1", "op": "relu", "inputs": ["c1"]}, {"id": "last", "op": "add", "inputs": ["c1", "r1"]}, )" +
                            head);
  REQUIRE(plan.steps.size() == 5);
  CHECK_FALSE(plan.steps[0].relu);
  CHECK(plan.steps[1].kind == StepKind::activation);
  CHECK(plan.training.value[plan.steps[1].dst] != plan.training.value[plan.steps[0].dst]);
}

TEST_CASE("plan: a relu before max pooling is masked after it, and its output is not kept")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "r1", "op": "relu", "inputs": ["c1"]}, {"id": "last", "op": "max_pool2d", "kernel": 2, "inputs": ["r1"]}, )" +
                            head);
  REQUIRE(plan.steps.size() == 4);
  CHECK(plan.steps[0].mask_in_pool);
  CHECK(plan.steps[1].masks);
  CHECK(plan.training.blocks[plan.training.value[plan.steps[0].dst]].last == 1);
}

TEST_CASE("plan: ops that do nothing make no step")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 2, "kernel": 3, "inputs": ["input"]},
    {"id": "i", "op": "identity", "inputs": ["c1"]}, {"id": "d", "op": "dropout", "rate": 0, "inputs": ["i"]},
    {"id": "f", "op": "flatten", "inputs": ["d"]}, {"id": "fc", "op": "dense", "units": 4, "inputs": ["f"]})");
  REQUIRE(plan.steps.size() == 2);
  CHECK(plan.steps[1].src[0] == plan.steps[0].dst);
}

TEST_CASE("plan: kernels come first in the flat buffer and everything is aligned")
{
  auto const plan = plan_of(R"({"id": "c1", "op": "conv2d", "filters": 3, "kernel": 3, "inputs": ["input"]},
    {"id": "last", "op": "batch_norm", "inputs": ["c1"]}, )" +
                            head);
  for (auto const& parameter : plan.parameters) {
    CHECK(parameter.offset * 4 % 64 == 0);
    if (parameter.trained) {
      CHECK((parameter.offset < plan.decay_count) == (parameter.name == "kernel"));
      CHECK(parameter.offset + parameter.count <= plan.weight_count);
    } else {
      CHECK(parameter.offset + parameter.count <= plan.fixed_count);
    }
  }
}

TEST_CASE("plan: frozen layers end the backward pass and lie where the optimiser does not reach", "[frozen]")
{
  auto const nodes = R"({"id": "c1", "op": "conv2d", "filters": 3, "kernel": 3, "inputs": ["input"]},
    {"id": "b1", "op": "batch_norm", "inputs": ["c1"]}, {"id": "r1", "op": "relu", "inputs": ["b1"]},
    {"id": "c2", "op": "conv2d", "filters": 3, "kernel": 3, "inputs": ["r1"]},
    {"id": "last", "op": "batch_norm", "inputs": ["c2"]}, )" +
                     head;
  auto const all = plan_of(nodes);
  // Upstream of the first trained layer nothing is kept, and a frozen batch norm works in place.
  auto const upstream = plan_of(nodes, R"({"classes": 4})", {"c1", "b1", "b1"});
  REQUIRE(upstream.steps.size() == 6);
  for (int i = 0; i < 6; ++i) {
    CHECK(upstream.steps[i].backward == (i >= 2));
    CHECK(upstream.steps[i].trained == (i >= 2 && i != 4));
  }
  CHECK(upstream.steps[0].statistics_for == -1);
  CHECK(upstream.steps[2].statistics_for >= 0);
  CHECK(upstream.steps[2].gradients[0] == GradientMode::none);
  CHECK(upstream.training.value[upstream.steps[1].dst] == upstream.training.value[upstream.steps[0].dst]);
  CHECK(upstream.training.saved[1] == -1);
  CHECK(upstream.training.bytes < all.training.bytes);
  // In the middle the gradient passes through.
  auto const middle = plan_of(nodes, R"({"classes": 4})", {"c2", "last"});
  CHECK(middle.steps[2].backward);
  CHECK_FALSE(middle.steps[2].trained);
  CHECK(middle.steps[2].gradients[0] == GradientMode::overwrite);
  // Everything but the head: one step goes backward.
  auto const only_head = plan_of(nodes, R"({"classes": 4})", {"c1", "b1", "c2", "last"});
  for (auto const& step : only_head.steps)
    CHECK(step.backward == (&step == &only_head.steps.back()));
  CHECK(only_head.weight_count == 16 + 16); // 3 x 4 values and 4 biases, on lines of 64 bytes
  CHECK(only_head.decay_count == 16);
  for (auto const* const plan : {&all, &upstream, &middle, &only_head}) {
    std::int64_t trained = 0, fixed = 0;
    for (auto const& parameter : plan->parameters) {
      (parameter.trained ? trained : fixed) += (parameter.count + 15) / 16 * 16;
      CHECK(parameter.offset + parameter.count <= (parameter.trained ? plan->weight_count : plan->fixed_count));
    }
    CHECK(trained == plan->weight_count);
    CHECK(fixed == plan->fixed_count);
  }
  auto const message = [&](std::vector<std::string> const& frozen) -> std::string {
    try {
      plan_of(nodes, R"({"classes": 4})", frozen);
    } catch (Error const& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(message({"c1", "c3"}) == "frozen: node 'c3' is not in the architecture");
  CHECK(message({"r1"}) == "frozen: node 'r1' (relu) owns no weights");
  CHECK(message({"c1", "b1", "c2", "last", "fc"}) == "frozen: all weights are frozen, nothing is left to train");
}
