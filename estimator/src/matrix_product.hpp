// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Contractions as the matrix products that a device computes, tile by tile.
#pragma once

#include <nasturtium/estimator/layer_table.hpp>

#include <array>

namespace nasturtium::estimator {

/// rows x depth times depth x columns.
struct MatrixProduct
{
  double rows = 1, columns = 1, depth = 1;
};

/// Of a layer's forward pass and its backward passes for the data and for the weights.
inline std::array<MatrixProduct, 3> matrix_products(int batch, LayerCost const& layer)
{
  double const window = static_cast<double>(layer.kernel) * layer.kernel;
  double const in = layer.kind == LayerKind::dense ? static_cast<double>(layer.in.size()) : layer.in.channels;
  double const pixels_in = layer.kind == LayerKind::dense ? 1 : static_cast<double>(layer.in.height) * layer.in.width;
  double const pixels_out = static_cast<double>(layer.out.height) * layer.out.width, out = layer.out.channels;
  return {{{batch * pixels_out, out, in * window / layer.groups},
           {batch * pixels_in, in, out * window / layer.groups},
           {in * window / layer.groups, out, batch * pixels_out}}};
}

inline std::array<MatrixProduct, 3> matrix_products(LayerRow const& row, LayerTableKind kind)
{
  auto const description = describe(row, kind);
  return matrix_products(description.batch, description.layers.front());
}

} // namespace nasturtium::estimator
