// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the commands of `nasturtium ensemble` and its experiment share: a search with its library, and the data both
// came from.
#pragma once

#include "training_options.hpp"

#include <nasturtium/core/progress.hpp>
#include <nasturtium/ensemble/front_report.hpp>
#include <nasturtium/ensemble/halving_library.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace nasturtium::cli {

/// Of the cut of the validation split in select and check; fixed, so that a library fits its data at any time.
inline constexpr std::uint64_t held_out_seed = 1;

/// A result of a search at the time when it came.
struct HalvingMoment
{
  std::int64_t epochs = 0; ///< trained until then by all trials
  double loss = 0;
};

/// Shows how a search goes on, and hands its models to a library where there is one.
class HalvingWatcher : public nas::HalvingObserver
{
public:
  /// The library may be null; it must outlive the object.
  HalvingWatcher(std::string const& label, nas::HalvingSearchConfig const& config, ensemble::HalvingLibrary* library);

  void on_report(int trial, int rung, nn::EpochReport const& report) override;
  void on_model(nas::HalvingModel const& model) override;
  void on_note(std::string const& text) override;
  void finish() { m_progress.finish(); }

  /// Finite results in the order of the journal, those of earlier calls included.
  std::vector<HalvingMoment> const& moments() const { return m_moments; }

private:
  ensemble::HalvingLibrary* m_library;
  Progress m_progress;
  std::map<int, int> m_epochs_of; ///< of the last result, by trial
  std::int64_t m_epochs = 0;      ///< of all results
  std::int64_t m_reports = 0;     ///< since the last result
  std::vector<HalvingMoment> m_moments;
  int m_failed = 0;
  double m_best;

  std::string note() const;
};

/// The data set that a search was made with; throws Error naming `source` where it is another one now. `data_dir`
/// replaces the folder that the search names, unless it is empty.
datasets::Dataset load_data_of(nas::HalvingSearchConfig const& config, std::string const& source,
                               std::string const& data_dir);

/// A folder that holds a library: one itself, or that of a search (then DIR/library). Throws Error for any other.
std::string library_path(std::string const& folder);

/// What --take may be, for help texts.
inline constexpr char const* take_words = "knee|best|cheapest|under:COST|above:ACCURACY|NUMBER";

/// The position of an entry of a front: the knee; the one of least loss; the cheapest; the best that costs at most COST
/// on the front's axis; the cheapest with at least this accuracy in percent on `check`; or the one of this number,
/// counted from 1. Throws Error naming --take for what is none of these, and where no entry is like that.
std::size_t taken_entry(ensemble::FrontReport const& front, std::string const& take);

/// Samples to serve, for measuring: those of the test split (else of validation), again and again.
class SampleImages
{
public:
  SampleImages(datasets::Dataset const& dataset, int count);
  nn::Images view() const { return {m_bytes, m_values}; }

private:
  std::vector<std::uint8_t> m_bytes;
  std::vector<float> m_values;
};

/// Cores that this process may use; at least 1.
int host_cores();

/// Devices from a list like "2,1,cuda": partitions of the host's cores, one after another, and the GPU; empty: a
/// partition for each core. Throws Error naming --devices.
std::vector<ensemble::ServingDevice> serving_devices(std::string const& list, nn::BackendKind host);

} // namespace nasturtium::cli
