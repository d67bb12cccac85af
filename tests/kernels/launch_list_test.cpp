// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches as values: the order in which rows are merged, and that what is recorded, fused and run later leaves the
// bits of what is launched at once; on hosts, and on an emulated device in the forms that a GPU runs.
#include <nasturtium/kernels/augment.hpp>
#include <nasturtium/kernels/batch_norm.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/implementation.hpp>
#include <nasturtium/kernels/launch_list.hpp>
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/optimiser.hpp>
#include <nasturtium/kernels/pooling.hpp>

#include "../../kernels/src/launch_order.hpp"
#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

/// The shortest common supersequence of two rows has this many kinds.
std::size_t shortest(std::vector<int> const& a, std::vector<int> const& b)
{
  std::vector<std::vector<std::size_t>> common(a.size() + 1, std::vector<std::size_t>(b.size() + 1, 0));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b.size(); ++j)
      common[i + 1][j + 1] = a[i] == b[j] ? common[i][j] + 1 : std::max(common[i][j + 1], common[i + 1][j]);
  return a.size() + b.size() - common[a.size()][b.size()];
}

std::vector<int> random_row(std::uint64_t seed, std::uint32_t stream, int most, int kinds)
{
  auto const word = [&](std::uint64_t i) { return random_block(seed, Purpose::synthetic, stream, i).word[0]; };
  std::vector<int> row(to_below(word(0), static_cast<std::uint32_t>(most + 1)));
  for (std::size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<int>(to_below(word(i + 1), static_cast<std::uint32_t>(kinds)));
  return row;
}

/// What a network's step launches, on values of its own; every kernel of a step takes part. Each has other extents.
template <class Real>
class Net
{
public:
  explicit Net(int number)
      : m_batch(3 + 2 * number), m_size(4 + 2 * (number % 3)), m_channels(1 + 13 * number), m_classes(2 + number),
        m_deep(number % 2 == 1), m_seed(static_cast<std::uint64_t>(number)), m_rows(Index{m_batch} * m_size * m_size),
        m_bytes(random_integers<std::uint8_t>(m_seed, static_cast<std::size_t>(m_rows * m_channels), 0, 255)),
        m_indices(order(m_batch)), m_labels(random_integers<std::int32_t>(m_seed, m_batch, 0, m_classes - 1)),
        m_batch_labels(static_cast<std::size_t>(m_batch)), m_scale(random_values<Real>(m_seed, m_channels)),
        m_shift(random_values<Real>(m_seed + 1, m_channels)), m_image(size()),
        m_moments(static_cast<std::size_t>(moment_chunks(m_rows) * 2 * m_channels)),
        m_gamma(random_values<Real>(m_seed + 2, m_channels)), m_beta(random_values<Real>(m_seed + 3, m_channels)),
        m_mean(random_values<Real>(m_seed + 4, m_channels)),
        m_variance(random_values<Real>(m_seed + 5, m_channels, 1, 2)),
        m_saved_mean(static_cast<std::size_t>(m_channels)), m_saved_deviation(static_cast<std::size_t>(m_channels)),
        m_normalised(size()), m_dropped(size()), m_pooled(size() / 4), m_argmax(size() / 4),
        m_logits(random_values<Real>(m_seed + 6, static_cast<std::size_t>(m_batch * m_classes))),
        m_logits_grad(static_cast<std::size_t>(m_batch * m_classes)), m_metrics(std::vector<double>(metric_count, 0)),
        m_loss_memory(loss_workspace<Space, Real>(m_batch)), m_pooled_grad(random_values<Real>(m_seed + 7, size() / 4)),
        m_normalised_grad(size()), m_image_grad(size()), m_gamma_grad(static_cast<std::size_t>(m_channels)),
        m_beta_grad(static_cast<std::size_t>(m_channels)),
        m_norm_memory(batch_norm_workspace<Space, Real>({m_rows, m_channels})),
        m_arrivals(std::vector<int>(static_cast<std::size_t>(m_channels), 0)),
        m_weights(random_values<Real>(m_seed + 8, size())), m_first(random_values<Real>(m_seed + 9, size())),
        m_second(random_values<Real>(m_seed + 10, size(), 0, 1)), m_norm(std::size_t{1}),
        m_square_memory(squared_norm_workspace<Space, Real>(static_cast<Index>(size())))
  {
  }

  void step(Space const& exec) const
  {
    AugmentShape const images{m_size, m_size, m_channels, 2, true, 2, m_seed, 1, nullptr};
    BatchNormShape const norm{m_rows, m_channels};
    Pool2dShape pool;
    pool.batch = m_batch, pool.in_height = pool.in_width = m_size, pool.channels = m_channels;
    pool.kernel_height = pool.kernel_width = pool.stride_height = pool.stride_width = 2;
    DropoutKey const draws{m_seed, 3, 1, nullptr};

    gather_images<Space, Real>(exec, images, m_bytes, m_indices, 0, m_batch, m_scale, m_shift, m_image);
    gather_labels<Space>(exec, m_labels, m_indices, 0, m_batch, m_batch_labels);
    batch_norm_statistics<Space, Real>(
        exec, norm, m_image,
        {m_moments, m_saved_mean, m_saved_deviation, m_mean, m_variance, Real(1e-5), Real(0.9), m_arrivals});
    batch_norm_forward_train<Space, Real>(exec, norm, m_image, m_gamma, m_beta, m_saved_mean, m_saved_deviation,
                                          Values<Real>(), Activation::relu, m_normalised);
    if (m_deep) activation_forward<Space, Real>(exec, Activation::tanh, Real(0), m_normalised, m_normalised);
    dropout<Space, Real>(exec, draws, Real(0.25), m_normalised, m_dropped, false);
    max_pool2d_forward<Space, Real>(exec, pool, m_dropped, m_pooled, m_argmax);
    softmax_cross_entropy<Space, Real>(exec, m_batch, m_classes, m_logits, m_batch_labels, Real(0.1), 1, m_logits_grad,
                                       m_metrics, m_loss_memory);
    max_pool2d_backward<Space, Real>(exec, pool, m_pooled_grad, m_argmax, m_normalised_grad, false);
    batch_norm_backward<Space, Real>(exec, norm, m_image, m_normalised, m_normalised_grad, m_gamma, m_saved_mean,
                                     m_saved_deviation, Activation::relu, m_image_grad, false, Values<Real>(), false,
                                     m_gamma_grad, m_beta_grad, m_norm_memory, m_arrivals);
    squared_norm<Space, Real>(exec, m_image_grad, m_norm, m_square_memory);
    OptimiserStep<Real> update;
    update.learning_rate = Real(0.01), update.clip_norm = Real(1), update.weight_decay = Real(0.1);
    update.decay_count = static_cast<Index>(size() / 2);
    adam<Space, Real>(exec, update, m_weights, m_image_grad, m_first, m_second, m_norm);
    fill<Space, Real>(exec, Real(0), m_logits);
  }

  /// All that a step leaves.
  std::vector<double> all() const
  {
    std::vector<double> values;
    for (auto const* const some :
         {&m_image, &m_moments, &m_mean, &m_variance, &m_normalised, &m_dropped, &m_pooled, &m_logits, &m_logits_grad,
          &m_image_grad, &m_gamma_grad, &m_beta_grad, &m_weights, &m_first, &m_second}) {
      for (auto const value : some->host())
        values.push_back(static_cast<double>(value));
    }
    for (auto const value : m_metrics.host())
      values.push_back(value);
    return values;
  }

private:
  int m_batch, m_size, m_channels, m_classes;
  bool m_deep; ///< has one activation more
  std::uint64_t m_seed;
  Index m_rows;
  Values<std::uint8_t> m_bytes;
  Values<std::int32_t> m_indices, m_labels, m_batch_labels;
  Values<Real> m_scale, m_shift, m_image, m_moments, m_gamma, m_beta, m_mean, m_variance, m_saved_mean,
      m_saved_deviation, m_normalised, m_dropped, m_pooled;
  Values<std::uint8_t> m_argmax;
  Values<Real> m_logits, m_logits_grad;
  Values<double> m_metrics;
  Scratch m_loss_memory;
  Values<Real> m_pooled_grad, m_normalised_grad, m_image_grad, m_gamma_grad, m_beta_grad;
  Scratch m_norm_memory;
  Values<int> m_arrivals;
  Values<Real> m_weights, m_first, m_second;
  Values<double> m_norm;
  Scratch m_square_memory;

  std::size_t size() const { return static_cast<std::size_t>(m_rows * m_channels); }
  static std::vector<std::int32_t> order(int count)
  {
    std::vector<std::int32_t> order(static_cast<std::size_t>(count));
    std::iota(order.rbegin(), order.rend(), 0);
    return order;
  }
};

template <class Real>
std::vector<std::unique_ptr<Net<Real>>> nets(std::vector<int> const& numbers)
{
  std::vector<std::unique_ptr<Net<Real>>> made;
  for (int const number : numbers)
    made.push_back(std::make_unique<Net<Real>>(number));
  return made;
}

/// Records, fuses and runs `steps` steps; returns the launches of the row.
template <class Nets>
std::size_t run_fused(Nets const& all, int steps)
{
  Space const exec;
  std::vector<LaunchList<Space>> lists(all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    lists[i].record([&] { all[i]->step(exec); });
  FusedLaunches<Space> fused(lists);
  lists.clear();
  for (int i = 0; i < steps; ++i)
    fused.run(exec);
  return fused.size();
}

} // namespace

TEST_CASE("launch order: every row is in the merged one, in its order; no longer than all rows, no shorter than one")
{
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    int const count = static_cast<int>(seed % 6), kinds = 1 + static_cast<int>(seed % 7);
    std::vector<std::vector<int>> rows;
    std::size_t sum = 0, longest = 0;
    for (int row = 0; row < count; ++row) {
      rows.push_back(random_row(seed, static_cast<std::uint32_t>(row), 30, kinds));
      sum += rows.back().size();
      longest = std::max(longest, rows.back().size());
    }
    auto const merged = kernels::impl::merge_rows(rows);
    std::vector<std::vector<int>> found(rows.size());
    for (auto const& launch : merged) {
      REQUIRE(!launch.rows.empty());
      REQUIRE(std::is_sorted(launch.rows.begin(), launch.rows.end()));
      for (int const row : launch.rows)
        found[static_cast<std::size_t>(row)].push_back(launch.kind);
    }
    REQUIRE(found == rows);
    CHECK(merged.size() <= sum);
    CHECK(merged.size() >= longest);
    if (count == 2) CHECK(merged.size() == shortest(rows[0], rows[1]));
  }

  std::vector<int> const row{3, 1, 1, 2, 3, 1};
  CHECK(kernels::impl::merge_rows(std::vector(5, row)).size() == row.size());
  // Networks of which one has a launch more at the front, or a block more.
  CHECK(kernels::impl::merge_rows(std::vector<std::vector<int>>{{1, 2, 3}, {0, 1, 2, 3}, {1, 2, 3}}).size() == 4);
  CHECK(kernels::impl::merge_rows(std::vector<std::vector<int>>{{1, 2, 3, 4, 5, 6}, {1, 2, 3, 2, 3, 4, 5, 5, 6}})
            .size() == 9);
}

TEMPLATE_TEST_CASE("fused launches: the bits of launches at once, of one network and of many", "", float, double)
{
  std::vector<int> many;
  for (int i = 0; i < 40; ++i) // more than one launch's argument holds
    many.push_back(i % 3);
  for (auto const& numbers : {std::vector{0}, std::vector{2}, std::vector{0, 0}, std::vector{0, 1, 2, 3, 2}, many}) {
    INFO(numbers.size() << " networks, the first is " << numbers[0]);
    auto const apart = nets<TestType>(numbers), together = nets<TestType>(numbers);
    for (auto const& net : apart) {
      net->step(Space());
      net->step(Space());
    }
    auto const launches = run_fused(together, 2);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      INFO("network " << i);
      CHECK(first_bit_difference("values", together[i]->all(), apart[i]->all()).empty());
    }
    // Two topologies, of which one has one launch more.
    LaunchList<Space> plain, deep;
    plain.record([&] { nets<TestType>({0})[0]->step(Space()); });
    deep.record([&] { nets<TestType>({1})[0]->step(Space()); });
    CHECK(deep.size() == plain.size() + 1);
    bool const any_deep = std::any_of(numbers.begin(), numbers.end(), [](int number) { return number % 2 == 1; });
    CHECK(launches == plain.size() + (any_deep ? 1 : 0));
  }
}

TEST_CASE("launch list: recording runs nothing, ends with its call even by an exception, and can be empty")
{
  Values<float> const values(std::vector<float>{1, 2, 3});
  Space const exec;
  LaunchList<Space> list;
  list.record([&] { fill<Space, float>(exec, 7, values); });
  CHECK(list.size() == 1);
  CHECK(values.host() == std::vector<float>{1, 2, 3});
  CHECK_THROWS_AS(list.record([] { throw std::runtime_error("from within"); }), std::runtime_error);
  fill<Space, float>(exec, 5, values);
  CHECK(values.host() == std::vector<float>{5, 5, 5});

  // A part of a list meets the same part of another: in one part these would be two launches.
  LaunchList<Space> parts[2];
  Values<float> other(std::size_t{1});
  parts[0].record([&] { fill<Space, float>(exec, 1, values); });
  parts[0].record([&] { copy<Space, float>(exec, values, values, true); });
  parts[1].record([] {});
  parts[1].record([&] { fill<Space, float>(exec, 4, other); });
  CHECK(parts[0].size() == 2);
  FusedLaunches<Space> const in_parts(parts);
  CHECK(in_parts.size() == 3);
  in_parts.run(exec);
  CHECK(values.host() == std::vector<float>{2, 2, 2});
  CHECK(other.host() == std::vector<float>{4});

  std::vector<LaunchList<Space>> lists;
  FusedLaunches<Space> const none(lists);
  none.run(exec);
  CHECK(none.size() == 0);
  lists.emplace_back();
  lists.push_back(std::move(list));
  lists.emplace_back();
  lists.back().record([&] { fill<Space, float>(exec, 9, Values<float>()); }); // nothing to fill, no launch
  CHECK(lists.back().size() == 0);
  FusedLaunches<Space> const one(lists);
  CHECK(one.size() == 1);
  one.run(exec);
  CHECK(values.host() == std::vector<float>{7, 7, 7});
}

#ifndef NASTURTIUM_EMULATED_DEVICE
TEMPLATE_TEST_CASE("fused launches: convolutions and dense layers by every implementation", "", float, double)
{
  Space const exec;
  struct Layer
  {
    Conv2dShape shape;
    Values<TestType> src, weights, bias, dst, src_grad, weights_grad, bias_grad;
    Scratch forward, data, gradients;

    explicit Layer(Conv2dShape const& s)
        : shape(s), src(random_values<TestType>(1, static_cast<std::size_t>(s.in_size()))),
          weights(random_values<TestType>(2, static_cast<std::size_t>(s.weights_size()))),
          bias(random_values<TestType>(3, static_cast<std::size_t>(s.out_channels))),
          dst(static_cast<std::size_t>(s.out_size())), src_grad(static_cast<std::size_t>(s.in_size())),
          weights_grad(static_cast<std::size_t>(s.weights_size())), bias_grad(static_cast<std::size_t>(s.out_channels)),
          forward(conv2d_forward_workspace<Space, TestType>(s)),
          data(conv2d_backward_data_workspace<Space, TestType>(s)),
          gradients(conv2d_backward_weights_workspace<Space, TestType>(s))
    {
    }
    void run(Space const& exec, Pass pass, std::string_view implementation) const
    {
      if (pass == Pass::forward)
        conv2d_forward<Space, TestType>(exec, implementation, shape, src, weights, bias, Activation::relu, dst, {},
                                        forward);
      else if (pass == Pass::backward_data)
        conv2d_backward_data<Space, TestType>(exec, implementation, shape, dst, weights, src_grad, false, data);
      else
        conv2d_backward_weights<Space, TestType>(exec, implementation, shape, src, dst, weights_grad, bias_grad,
                                                 gradients);
    }
    std::vector<TestType> all() const
    {
      std::vector<TestType> values;
      for (auto const* const some : {&dst, &src_grad, &weights_grad, &bias_grad}) {
        auto const more = some->host();
        values.insert(values.end(), more.begin(), more.end());
      }
      return values;
    }
  };
  std::vector<Conv2dShape> shapes;
  for (int const channels : {4, 12, 16, 33, 40}) {
    Conv2dShape s;
    s.batch = 3, s.in_height = s.in_width = 9, s.in_channels = channels, s.out_channels = 2 * channels;
    s.kernel_height = s.kernel_width = 3, s.pad_top = s.pad_bottom = s.pad_left = s.pad_right = 1;
    s.stride_height = s.stride_width = channels == 16 ? 2 : 1;
    if (channels == 12) s.groups = 4;
    shapes.push_back(s);
  }
  std::size_t tried = 0;
  for (std::string_view const implementation : {"", "reference", "direct"}) {
    std::vector<std::unique_ptr<Layer>> apart, together;
    for (auto const& shape : shapes) {
      if (implementation == "direct" && shape.groups == 1) continue;
      apart.push_back(std::make_unique<Layer>(shape));
      together.push_back(std::make_unique<Layer>(shape));
    }
    std::vector<LaunchList<Space>> lists(apart.size());
    for (auto const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
      for (std::size_t i = 0; i < apart.size(); ++i) {
        apart[i]->run(exec, pass, implementation);
        lists[i].record([&] { together[i]->run(exec, pass, implementation); });
      }
    }
    FusedLaunches<Space> const fused(lists);
    fused.run(exec);
    for (std::size_t i = 0; i < apart.size(); ++i) {
      INFO(implementation << ", layer " << i);
      CHECK(first_bit_difference("values", together[i]->all(), apart[i]->all()).empty());
      ++tried;
    }
  }
  CHECK(tried == 2 * shapes.size() + 1);
}
#endif
