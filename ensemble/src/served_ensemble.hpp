// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the server and its sequential reference share: models and devices in the order of the plan, checked.
#pragma once

#include <nasturtium/ensemble/runtime.hpp>

#include <algorithm>

#include <string>
#include <vector>

namespace nasturtium::ensemble::impl {

struct ServedCell
{
  int device, model, batch;
};

struct ServedEnsemble
{
  std::vector<ServedModel> models;    ///< in the order given
  std::vector<ServingDevice> devices; ///< in the order given
  nn::InputMoments moments;
  std::vector<ServedCell> cells;          ///< by device, then by model
  std::vector<std::vector<int>> replicas; ///< per model its cells, by device
  std::vector<double> shares;             ///< weights of the models over their sum
  int segment_size = 0, classes = 0;
  std::int64_t sample_size = 0;

  /// Throws Error for what does not fit together.
  ServedEnsemble(std::vector<ServedModel> models, std::vector<ServingDevice> devices, Plan const& plan,
                 nn::InputMoments moments, int segment_size);

  /// The cell that works on a segment of a model in fixed order.
  int fixed_cell(int model, std::int64_t segment) const
  {
    auto const& cells_of_model = replicas[model];
    return cells_of_model[static_cast<std::size_t>(segment) % cells_of_model.size()];
  }

  nn::InferenceSession session(ServedCell const& cell) const;
  /// "model 'a' on device 'b'"
  std::string name(ServedCell const& cell) const;
  /// Throws Error where the images are no whole number of samples; the number.
  std::int64_t sample_count(nn::Images const& images) const;
};

/// Lets the calling thread run on the device's cores alone, where it names some.
void pin_to_cores(ServingDevice const& device);

/// Logits of a segment, batch by batch, to the first rows of `logits`.
inline void run_segment(nn::InferenceSession& session, nn::Images const& images, int rows, nn::RowBuffer& logits)
{
  auto const size = static_cast<std::size_t>(session.sample_size());
  for (int first = 0; first < rows; first += session.batch()) {
    int const count = std::min(session.batch(), rows - first);
    session.run(images.part(first * size, count * size), logits, first);
  }
}

} // namespace nasturtium::ensemble::impl
