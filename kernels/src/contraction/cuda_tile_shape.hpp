// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

namespace nasturtium::kernels::impl::cuda {

/// Shapes of tiles. Moments need 128 rows (moment_chunk_rows). Of all other results no bit depends on the shape: the
/// depth is cut into slices without regard to it.
enum class TileShape { wide, narrow, small };

constexpr int tile_rows(TileShape shape)
{
  return shape == TileShape::small ? 64 : 128;
}
constexpr int tile_columns(TileShape shape)
{
  return shape == TileShape::wide ? 64 : 32;
}

} // namespace nasturtium::kernels::impl::cuda
