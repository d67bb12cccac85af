// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search by successive halving fills a library: every network that it pauses or completes is published, early ones
// as well ("Recycling sub-optimal hyperparameter optimization models", Pochelu et al. 2020).
#pragma once

#include <nasturtium/ensemble/model_library.hpp>
#include <nasturtium/nas/halving_search.hpp>

#include <cstdint>
#include <set>
#include <string>

namespace nasturtium::ensemble {

/// Id of the network that a trial was at a rung: "t0012-r1".
std::string halving_model_id(int trial, int rung);

/// Publishes what a search finds; hand it to run_halving. A search that goes on tells what is in its journal again, so
/// the library misses nothing, whenever the search was killed.
class HalvingLibrary : public nas::HalvingObserver
{
public:
  /// The references must outlive the object. `held_out` is the data set's validation split, cut in two.
  HalvingLibrary(ModelLibrary& library, datasets::Dataset const& dataset, HeldOut const& held_out,
                 nn::TrainerOptions const& trainer);

  void on_model(nas::HalvingModel const& model) override;

  std::int64_t published() const { return m_published; } ///< by this object
  std::int64_t models() const { return static_cast<std::int64_t>(m_ids.size()); }

private:
  ModelLibrary& m_library;
  datasets::Dataset const& m_dataset;
  HeldOut const& m_held_out;
  nn::TrainerOptions m_trainer;
  std::set<std::string> m_ids; ///< in the library
  std::int64_t m_published = 0;
};

} // namespace nasturtium::ensemble
