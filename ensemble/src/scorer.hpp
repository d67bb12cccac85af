// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The inner loop of every selection rule: the losses of an ensemble with one more member.
#pragma once

#include <nasturtium/ensemble/selection.hpp>

#include <memory>

namespace nasturtium::ensemble::impl {

/// Holds an ensemble, at first an empty one.
class Scorer
{
public:
  virtual ~Scorer() = default;
  Scorer(Scorer const&) = delete;
  Scorer& operator=(Scorer const&) = delete;

  virtual void clear() = 0;
  virtual void add(int model, int count) = 0;
  /// losses[i]: of the ensemble with one more copy of candidates[i].
  virtual void losses(std::span<std::int32_t const> candidates, std::span<double> losses) = 0;

  void set(std::span<Member const> members)
  {
    clear();
    for (Member const& member : members)
      add(member.model, member.count);
  }

protected:
  Scorer() = default;
};

/// By true-class columns on the device (nll, mean), by Gram terms (brier, mean) or by whole matrices (geometric).
std::unique_ptr<Scorer> make_scorer(Predictions const& predictions, SelectionOptions const& options);

/// The terms of the Brier score of a mean: G_ab = sum over samples and classes of P_a P_b, t_j = sum of column j.
/// Columns of G are made when they are asked for, O(models * samples * classes) each, and kept.
class GramTerms
{
public:
  explicit GramTerms(Predictions const& predictions);

  double diagonal(int model) const { return m_diagonal[static_cast<std::size_t>(model)]; }
  double sum(int model) const { return m_sums[static_cast<std::size_t>(model)]; }
  std::vector<double> const& column(int model);

private:
  Predictions const& m_predictions;
  std::vector<double> m_diagonal, m_sums;
  std::vector<std::vector<double>> m_columns; ///< empty: not made yet
};

} // namespace nasturtium::ensemble::impl
