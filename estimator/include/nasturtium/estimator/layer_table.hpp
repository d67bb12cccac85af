// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Public tables of single layers: their files, and their rows as features (reference section 3.2). Data and format:
// Justus et al., "Predicting the computational cost of deep learning models", IEEE Big Data 2018.
#pragma once

#include <nasturtium/estimator/device.hpp>
#include <nasturtium/estimator/workload.hpp>

#include <optional>
#include <string>
#include <vector>

namespace nasturtium::estimator {

enum class LayerTableKind { convolution, dense };

/// One timed layer. Of a dense row, channels are the widths; kernel, side and stride are 1.
struct LayerRow
{
  int batch = 1, channels_in = 1, channels_out = 1;
  int kernel = 1, stride = 1;
  int side = 1; ///< of the square image
  bool same_padding = true, bias = true;
  int activation = 0; ///< 0 none, 1 relu, 2 tanh, 3 sigmoid
  Optimiser optimiser = Optimiser::none;
  double seconds = 0, min_seconds = 0, sd_seconds = 0; ///< median, smallest and deviation of five repetitions; > 0

  int out_side() const; ///< same: ceil(side / stride), valid: ceil((side - kernel + 1) / stride)
};

/// One file: one device and one kind of layer.
struct LayerTable
{
  std::string source;
  LayerTableKind kind = LayerTableKind::convolution;
  Device device;
  std::vector<LayerRow> rows;
};

/// Reads such a table, plain or gzip'ed. The kind follows from the columns; the device from the column `device` (case
/// aside), which must be the same in all rows, and must be on data_sheet's list. Throws Error naming file, line and
/// column for a column that is missing or unknown, for what is no number or out of range, and for no rows.
LayerTable read_layer_table(std::string const& path);
/// The same from text.
LayerTable parse_layer_table(std::string text, std::string const& source);

/// The description of a layer by itself. Throws Error for a valid convolution whose kernel is larger than the image.
Description describe(LayerRow const& row, LayerTableKind kind);

/// Constants of the devices in the public tables, from data sheets; of cards with two dies those of one (v100, k40,
/// k80, m60, p100, 1080ti). Launch costs are not on data sheets: 5 microseconds. Empty for another name.
std::optional<Device> data_sheet(std::string const& name);

/// What a method sees of a layer: `reference` is the reference's list (every column, logarithms, FLOPs, bytes,
/// roofline, five constants of the device), `extended` adds the shapes of the three matrix products, their tiles and
/// waves, and which algorithms apply.
enum class LayerFeatures { reference, extended };
std::vector<std::string> layer_feature_names(LayerTableKind kind, LayerFeatures features);
std::vector<double> layer_features(LayerRow const& row, LayerTableKind kind, Device const& device,
                                   LayerFeatures features);

} // namespace nasturtium::estimator
