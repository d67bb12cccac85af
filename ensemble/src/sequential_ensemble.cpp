// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "served_ensemble.hpp"

#include <algorithm>

namespace nasturtium::ensemble {

class SequentialEnsemble::Implementation
{
public:
  explicit Implementation(impl::ServedEnsemble ensemble) : m_ensemble(std::move(ensemble))
  {
    for (auto const& cell : m_ensemble.cells)
      m_sessions.push_back(m_ensemble.session(cell));
    for (auto const& device : m_ensemble.devices) {
      m_logits.emplace_back(device.backend, m_ensemble.segment_size, m_ensemble.classes);
      m_sums.emplace_back(device.backend, m_ensemble.segment_size, m_ensemble.classes);
    }
    m_part.resize(static_cast<std::size_t>(m_ensemble.segment_size) * m_ensemble.classes);
  }

  std::vector<float> predict(nn::Images const& images)
  {
    std::int64_t const samples = m_ensemble.sample_count(images);
    std::vector<float> probabilities(static_cast<std::size_t>(samples) * m_ensemble.classes);
    for (std::int64_t first = 0; first < samples; first += m_ensemble.segment_size) {
      int const rows = static_cast<int>(std::min<std::int64_t>(m_ensemble.segment_size, samples - first));
      auto const size = static_cast<std::size_t>(m_ensemble.sample_size);
      predict_segment(first / m_ensemble.segment_size, images.part(first * size, rows * size), rows,
                      std::span(probabilities)
                          .subspan(static_cast<std::size_t>(first) * m_ensemble.classes,
                                   static_cast<std::size_t>(rows) * m_ensemble.classes));
    }
    return probabilities;
  }

private:
  impl::ServedEnsemble m_ensemble;
  std::vector<nn::InferenceSession> m_sessions; ///< per cell
  std::vector<nn::RowBuffer> m_logits, m_sums;  ///< per device
  std::vector<float> m_part;

  /// Members by their number on each device, then devices by theirs.
  void predict_segment(std::int64_t segment, nn::Images const& images, int rows, std::span<float> to)
  {
    bool first_device = true;
    for (int d = 0; d < static_cast<int>(m_ensemble.devices.size()); ++d) {
      bool first_member = true;
      for (int m = 0; m < static_cast<int>(m_ensemble.models.size()); ++m) {
        int const cell = m_ensemble.fixed_cell(m, segment);
        if (m_ensemble.cells[cell].device != d) continue;
        impl::run_segment(m_sessions[cell], images, rows, m_logits[d]);
        m_sessions[cell].add_softmax(m_logits[d], rows, m_ensemble.shares[m], !first_member, m_sums[d]);
        first_member = false;
      }
      if (first_member) continue;
      m_sums[d].read(rows, m_part);
      for (std::size_t i = 0; i < to.size(); ++i)
        to[i] = first_device ? m_part[i] : to[i] + m_part[i];
      first_device = false;
    }
  }
};

SequentialEnsemble::SequentialEnsemble(std::vector<ServedModel> models, std::vector<ServingDevice> devices,
                                       Plan const& plan, nn::InputMoments moments, int segment_size)
    : m_implementation(std::make_unique<Implementation>(
          impl::ServedEnsemble(std::move(models), std::move(devices), plan, std::move(moments), segment_size)))
{
}

SequentialEnsemble::~SequentialEnsemble() = default;

std::vector<float> SequentialEnsemble::predict(nn::Images const& images)
{
  return m_implementation->predict(images);
}

} // namespace nasturtium::ensemble
