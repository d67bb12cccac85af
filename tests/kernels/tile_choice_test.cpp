// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/math_mode.hpp>
#include <nasturtium/kernels/tile_choice.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <limits>
#include <string>

using namespace nasturtium::kernels;

TEST_CASE("tiles: the fastest, if it gains more than 3 %")
{
  double const inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(fastest_tiles({{Tiles::planned, 1.0}, {Tiles::small, 0.9}, {Tiles::wide, 0.95}}) == Tiles::small);
  CHECK(fastest_tiles({{Tiles::planned, 1.0}, {Tiles::small, 0.98}}) == Tiles::planned);
  CHECK(fastest_tiles({{Tiles::small, 2.0}, {Tiles::planned, 1.0}}) == Tiles::planned);
  CHECK(fastest_tiles({{Tiles::planned, 1.0}, {Tiles::wide, nan}, {Tiles::narrow, 0}, {Tiles::small, -1}}) ==
        Tiles::planned);
  CHECK(fastest_tiles({{Tiles::planned, inf}, {Tiles::wide, 1}}) == Tiles::planned); // could not be measured
  CHECK(fastest_tiles({{Tiles::wide, 1}}) == Tiles::planned);
  CHECK(fastest_tiles({}) == Tiles::planned);
}

TEST_CASE("tiles: choices are by pass, arithmetic and every extent, and the last one counts")
{
  forget_tile_choices();
  Conv2dShape shape;
  shape.batch = 4, shape.in_channels = 16, shape.out_channels = 32, shape.in_height = shape.in_width = 8;
  auto const problem = TileProblem::of<float>(Pass::forward, shape);
  CHECK(problem.arithmetic == TileProblem::Arithmetic::float32);
  CHECK(TileProblem::of<double>(Pass::forward, shape).arithmetic == TileProblem::Arithmetic::float64);
  CHECK_FALSE(chosen_tiles(problem));
  choose_tiles({problem, Tiles::small});
  choose_tiles({problem, Tiles::wide});
  CHECK(chosen_tiles(problem) == Tiles::wide);
  CHECK_FALSE(chosen_tiles(TileProblem::of<float>(Pass::backward_data, shape)));
  CHECK_FALSE(chosen_tiles(TileProblem::of<double>(Pass::forward, shape)));
  auto const kept = math_mode();
  set_math_mode(MathMode::bf16);
  CHECK_FALSE(chosen_tiles(TileProblem::of<float>(Pass::forward, shape)));
  set_math_mode(kept);
  for (int Conv2dShape::* const extent :
       {&Conv2dShape::batch, &Conv2dShape::in_height, &Conv2dShape::in_width, &Conv2dShape::in_channels,
        &Conv2dShape::out_channels, &Conv2dShape::kernel_height, &Conv2dShape::kernel_width,
        &Conv2dShape::stride_height, &Conv2dShape::stride_width, &Conv2dShape::pad_top, &Conv2dShape::pad_bottom,
        &Conv2dShape::pad_left, &Conv2dShape::pad_right, &Conv2dShape::dilation_height, &Conv2dShape::dilation_width,
        &Conv2dShape::groups}) {
    auto other = problem;
    other.shape.*extent += 1;
    CHECK_FALSE(chosen_tiles(other));
    choose_tiles({other, Tiles::planned});
  }
  CHECK(tile_choices().size() == 17);
  CHECK(chosen_tiles(problem) == Tiles::wide);
  forget_tile_choices();
  CHECK(tile_choices().empty());
  CHECK_FALSE(chosen_tiles(problem));
}

TEST_CASE("tiles: measuring gives a shape that the contraction has")
{
  using Space = Kokkos::DefaultExecutionSpace;
  Conv2dShape shape;
  shape.batch = 4, shape.in_channels = 16, shape.out_channels = 32, shape.in_height = shape.in_width = 8;
  for (auto const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
    auto const measured = measure_tiles<Space, float>(Space(), pass, shape);
    REQUIRE(measured);
    auto const tiles = *measured;
    auto const names = conv2d_implementations<Space, float>(pass, shape);
    if (names.front() != "tiles") {
      CHECK(tiles == Tiles::planned); // a host
    } else if (tiles != Tiles::planned) {
      std::string const name = "tiles-" + std::string(tiles_names[static_cast<std::size_t>(tiles)]);
      CHECK(std::find(names.begin(), names.end(), name) != names.end());
    }
  }
}
