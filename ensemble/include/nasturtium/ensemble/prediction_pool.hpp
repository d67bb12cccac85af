// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a library of models says about held-out data: the one input of ensemble selection.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

/// Probabilities that L models give to the C classes of the N samples of one split. Held in float32 (4 L N (C + 1)
/// bytes); whatever is summed over them is summed in double.
class Predictions
{
public:
  Predictions() = default; ///< a split that is not there
  /// Throws Error unless classes >= 2 and every label is in [0, classes).
  Predictions(int classes, std::vector<std::int32_t> labels);

  /// The next model's samples * classes values, sample by sample. Throws Error, naming sample and value, for a
  /// probability outside [0, 1] and for a sample whose probabilities do not sum to 1 (within 1e-3).
  void add_probabilities(std::span<double const> probabilities);
  /// The same from logits; a sample's logits may be shifted by any constant. Throws Error for NaN, +infinity, and a
  /// sample without a finite logit.
  void add_logits(std::span<float const> logits);

  int models() const { return m_models; }
  std::int64_t samples() const { return static_cast<std::int64_t>(m_labels.size()); }
  int classes() const { return m_classes; }
  std::span<std::int32_t const> labels() const { return m_labels; }
  /// samples * classes values, sample by sample.
  std::span<float const> probabilities(int model) const;
  /// The probability of every sample's true class.
  std::span<float const> column(int model) const;
  /// models * samples values: all columns, model by model.
  std::span<float const> columns() const { return m_columns; }

private:
  void require_size(std::size_t size) const;

  int m_models = 0, m_classes = 0;
  std::vector<std::int32_t> m_labels;
  std::vector<float> m_probabilities, m_columns;
};

struct PoolModel
{
  std::string id; ///< as in a weight store: 1 to 128 letters, digits, '_', '-', '.'; no '.' in front
  std::map<std::string, double> costs; ///< by axis ("parameters", "flops", "bytes", "seconds"); each > 0
};

/// Models with their predictions. Model m of every split is models[m]; `test` may be absent, for it never decides
/// anything.
struct PredictionPool
{
  std::vector<PoolModel> models;
  Predictions select, check, test;

  int size() const { return static_cast<int>(models.size()); }
};

/// Throws Error, naming model, field and value, unless ids are valid and distinct, all models have the same cost axes,
/// costs are finite and positive, and the splits hold as many models as there are, of the same classes.
void check_pool(PredictionPool const& pool);

/// Every model's cost on one axis. Throws Error, naming those that there are, for an unknown axis.
std::vector<double> costs_of(PredictionPool const& pool, std::string const& axis);

/// Throws Error, starting with `what`, for an id that is not as PoolModel says.
void check_model_id(std::string const& id, std::string const& what);

} // namespace nasturtium::ensemble
