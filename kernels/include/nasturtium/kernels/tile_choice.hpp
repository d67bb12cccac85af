// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The shape of the tiles that a contraction on CUDA is cut into. By default it is planned from the contraction's
// extents; what was measured to be faster can be chosen for this process. No choice changes a bit of a result: where
// the shape would (the moments for batch normalisation), the plan's is kept. Hosts have no tiles.
#pragma once

#include <nasturtium/kernels/implementation.hpp>

#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace nasturtium::kernels {

enum class Tiles { planned, wide, narrow, small };
/// "planned", "wide", "narrow", "small": 128 x 64, 128 x 32 and 64 x 32.
inline constexpr std::array<std::string_view, 4> tiles_names{"planned", "wide", "narrow", "small"};

/// What the choice depends on. A dense layer is the convolution of 1 x 1 images.
struct TileProblem
{
  /// "float32", "tf32", "bf16" (float computes in one of them, math_mode.hpp) or "float64".
  enum class Arithmetic { float32, tf32, bf16, float64 };
  static constexpr std::array<std::string_view, 4> arithmetic_names{"float32", "tf32", "bf16", "float64"};

  Pass pass = Pass::forward;
  Arithmetic arithmetic = Arithmetic::float32;
  Conv2dShape shape;

  /// Of Real in the present math_mode().
  template <class Real>
  static TileProblem of(Pass pass, Conv2dShape const& shape);
};

struct TileChoice
{
  TileProblem problem;
  Tiles tiles = Tiles::planned;
};

/// Chooses for this process, over what was chosen before. `planned` says that the plan's shape was the fastest.
void choose_tiles(TileChoice const& choice);
/// The choice for a problem; nothing where none was made.
std::optional<Tiles> chosen_tiles(TileProblem const& problem);
/// All choices, in a fixed order.
std::vector<TileChoice> tile_choices();
void forget_tile_choices();

/// Of times of a call by shape, the fastest; `planned`, which must be among them, unless another one is faster by more
/// than 3 %. Times that are not finite and positive are left out.
struct TileTime
{
  Tiles tiles = Tiles::planned;
  double seconds = 0;
};
Tiles fastest_tiles(std::vector<TileTime> const& times);

/// Measures the shapes that the contraction can have, on operands of its own, and waits for the instance; `planned`
/// where there is no other shape, and on hosts; nothing where the memory is short. Some milliseconds.
template <class ExecSpace, class Real>
std::optional<Tiles> measure_tiles(ExecSpace const& exec, Pass pass, Conv2dShape const& shape);

} // namespace nasturtium::kernels
