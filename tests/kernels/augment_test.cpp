// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/augment.hpp>

#include "support/device_values.hpp"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::kernels;
using namespace nasturtium::testing;

namespace {

/// Pixel by pixel, from a padded, cropped, mirrored and cut copy of each sample.
template <class Real, class Source>
std::vector<Real> reference(AugmentShape const& s, std::vector<Source> const& images,
                            std::vector<std::int32_t> const& indices, std::size_t first, int batch,
                            std::vector<Real> const& scale, std::vector<Real> const& shift)
{
  std::vector<Real> all;
  int const p = s.crop_padding;
  for (int i = 0; i < batch; ++i) {
    auto const sample = static_cast<std::uint64_t>(indices[first + static_cast<std::size_t>(i)]);
    auto const crop = random_block(s.seed, Purpose::crop, s.epoch, sample);
    int const top = p == 0 ? 0 : static_cast<int>(to_below(crop.word[0], static_cast<std::uint32_t>(2 * p + 1)));
    int const left = p == 0 ? 0 : static_cast<int>(to_below(crop.word[1], static_cast<std::uint32_t>(2 * p + 1)));
    bool const flip = s.flip && random_block(s.seed, Purpose::flip, s.epoch, sample).word[0] >= 0x80000000u;
    auto const cut = random_block(s.seed, Purpose::cutout, s.epoch, sample);
    int const cut_y = static_cast<int>(to_below(cut.word[0], static_cast<std::uint32_t>(s.height))) - s.cutout / 2;
    int const cut_x = static_cast<int>(to_below(cut.word[1], static_cast<std::uint32_t>(s.width))) - s.cutout / 2;
    for (int y = 0; y < s.height; ++y)
      for (int x = 0; x < s.width; ++x)
        for (int c = 0; c < s.channels; ++c) {
          int const padded_y = y + top, padded_x = (flip ? s.width - 1 - x : x) + left;
          int const from_y = padded_y - p, from_x = padded_x - p;
          Real value = 0;
          if (from_y >= 0 && from_y < s.height && from_x >= 0 && from_x < s.width) {
            auto const at = ((sample * static_cast<std::uint64_t>(s.height) + static_cast<std::uint64_t>(from_y)) *
                                 static_cast<std::uint64_t>(s.width) +
                             static_cast<std::uint64_t>(from_x)) *
                                static_cast<std::uint64_t>(s.channels) +
                            static_cast<std::uint64_t>(c);
            value =
                static_cast<Real>(images[at]) * scale[static_cast<std::size_t>(c)] + shift[static_cast<std::size_t>(c)];
          }
          if (y >= cut_y && y < cut_y + s.cutout && x >= cut_x && x < cut_x + s.cutout) value = 0;
          all.push_back(value);
        }
  }
  return all;
}

std::vector<AugmentShape> shapes()
{
  std::vector<AugmentShape> all;
  for (int const channels : {1, 3, 5, 100})
    for (int const padding : {0, 4})
      for (bool const flip : {false, true})
        for (int const cutout : {0, 5})
          all.push_back({9, 7, channels, padding, flip, cutout, 42, 3});
  all.push_back({32, 32, 3, 4, true, 8, 1, 0});
  all.push_back({28, 28, 1, 2, false, 0, 1, 0});
  all.push_back({1, 1, 1, 1, true, 3, 7, 1});
  all.push_back({1, 13, 2, 20, true, 0, 7, 1}); // a crop may miss the image
  return all;
}

} // namespace

TEMPLATE_TEST_CASE("samples are gathered, cropped, mirrored, cut and normalised", "[augment]", float, double)
{
  Space const exec;
  std::size_t const samples = 60;
  // scale * v + shift, with a fused multiply-add or without: half a unit in the last place of a number below 3.
  double const unit = sizeof(TestType) == 4 ? 3e-7 : 1e-15;
  for (AugmentShape const& shape : shapes()) {
    INFO(shape.height << " x " << shape.width << " x " << shape.channels << ", padding " << shape.crop_padding
                      << ", flip " << shape.flip << ", cutout " << shape.cutout);
    auto const size = static_cast<std::size_t>(shape.height * shape.width * shape.channels);
    auto const bytes = random_integers<std::uint8_t>(1, samples * size, 0, 255);
    auto const floats = random_values<float>(2, samples * size);
    auto const indices = random_integers<std::int32_t>(3, samples, 0, static_cast<int>(samples) - 1);
    auto const scale = random_values<TestType>(4, static_cast<std::size_t>(shape.channels), 0.001, 0.01);
    auto const shift = random_values<TestType>(5, static_cast<std::size_t>(shape.channels));
    Values<std::uint8_t> const images(bytes);
    Values<float> const values(floats);
    Values<std::int32_t> const order(indices);
    Values<TestType> const factor(scale), offset(shift);
    for (int const batch : {0, 1, 40}) {
      std::size_t const first = 11;
      Values<TestType> const dst(size * static_cast<std::size_t>(batch));
      gather_images<Space, TestType>(exec, shape, images, order, Index{first}, batch, factor, offset, dst);
      CHECK(first_difference("images", dst.host(), reference(shape, bytes, indices, first, batch, scale, shift),
                             unit) == "");
      gather_values<Space, TestType>(exec, shape, values, order, Index{first}, batch, factor, offset, dst);
      CHECK(first_difference("values", dst.host(), reference(shape, floats, indices, first, batch, scale, shift),
                             unit) == "");
    }
  }
}

TEST_CASE("crops and flips are uniform, and another epoch draws others", "[augment]")
{
  Space const exec;
  int const samples = 4000;
  // One bright pixel at column 8 of 17 shows where the image went; 1-D, so that the row shift of 0 or 1 may lose it.
  AugmentShape shape{1, 17, 1, 2, true, 0, 5, 0};
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(samples) * 17, 0);
  for (std::size_t i = 0; i < bytes.size(); i += 17)
    bytes[i + 7] = 1;
  std::vector<std::int32_t> indices(samples);
  for (int i = 0; i < samples; ++i)
    indices[static_cast<std::size_t>(i)] = i;
  Values<std::uint8_t> const images(bytes);
  Values<std::int32_t> const order(indices);
  Values<float> const one(std::vector<float>{1}), zero(std::vector<float>{0}), dst(bytes.size()), next(bytes.size());
  gather_images<Space, float>(exec, shape, images, order, 0, samples, one, zero, dst);
  std::vector<int> places(17, 0);
  auto const values = dst.host();
  for (std::size_t i = 0; i < values.size(); ++i)
    places[i % 17] += values[i] == 1;
  // Shifts -2..2 of column 7 without and column 9 with the mirror; one row shift of five keeps the row.
  int total = 0;
  for (int const count : places)
    total += count;
  // Five standard deviations of binomial counts.
  CHECK(std::abs(total - samples / 5) < 5 * std::sqrt(samples * 0.2 * 0.8));
  for (int x = 5; x <= 11; ++x) {
    double const share = (std::abs(x - 7) <= 2 ? 0.1 : 0) + (std::abs(x - 9) <= 2 ? 0.1 : 0);
    CHECK(std::abs(places[static_cast<std::size_t>(x)] - total * share) < 5 * std::sqrt(total * share));
  }
  shape.epoch = 1;
  gather_images<Space, float>(exec, shape, images, order, 0, samples, one, zero, next);
  CHECK(first_difference("another epoch", next.host(), values) != "");
}

TEST_CASE("labels are gathered", "[augment]")
{
  Space const exec;
  Values<std::int32_t> const labels(std::vector<std::int32_t>{10, 11, 12, 13}),
      order(std::vector<std::int32_t>{3, 1, 0, 2});
  Values<std::int32_t> const dst(2);
  gather_labels<Space>(exec, labels, order, 1, 2, dst);
  CHECK(dst.host() == std::vector<std::int32_t>{11, 10});
  CHECK_THROWS_AS(gather_labels<Space>(exec, labels, order, 3, 2, dst), Error);
}

TEST_CASE("a batch is the same on every instance, and wrong calls are errors", "[augment][threads]")
{
  AugmentShape const shape{16, 16, 3, 4, true, 6, 9, 2};
  auto const indices = random_integers<std::int32_t>(6, 70, 0, 69);
  Values<std::uint8_t> const images(random_integers<std::uint8_t>(7, 70 * 768, 0, 255));
  Values<std::int32_t> const order(indices);
  Values<float> const scale(std::vector<float>{0.1f, 0.2f, 0.3f}), shift(std::vector<float>{-1, 0, 1});
  CHECK(instance_difference("batch", [&](Space const& exec) {
          Values<float> const dst(70 * 768);
          gather_images<Space, float>(exec, shape, images, order, 0, 70, scale, shift, dst);
          return dst.host();
        }) == "");
  Values<float> const small(100);
  Space const exec;
  CHECK_THROWS_AS((gather_images<Space, float>(exec, shape, images, order, 0, 70, scale, shift, small)), Error);
  CHECK_THROWS_AS((gather_images<Space, float>(exec, shape, images, order, 70, 1, scale, shift, small)), Error);
}
