// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weight transfer in a search: which earlier candidate gives its weights to a new one, and what of them it takes. After
// Liu et al., CLUSTER 2021; what the paper leaves open is decided in docs/weight-transfer.md. Host only: weights come
// from a store and go to an evaluator.
#pragma once

#include <nasturtium/nas/matching.hpp>
#include <nasturtium/nas/search_algorithm.hpp>
#include <nasturtium/nas/weight_store.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::nas {

enum class Provider {
  parent,  ///< a parent of the genome: of two the one with more matched bytes
  nearest, ///< whoever has the most matched bytes; ties: the better score, then the older
  random   ///< anybody: the control
};
std::string name(Provider provider);
/// Throws Error naming the value for anything but "parent", "nearest", "random".
Provider parse_provider(std::string const& text);

struct TransferSettings
{
  bool on = false;
  MatchPolicy policy;
  Provider provider = Provider::parent;
  bool freeze = false;                             ///< transferred layers, but for the last one, are not trained
  bool permute = false;                            ///< control: values shuffled inside each transferred tensor
  std::int64_t cap_bytes = std::int64_t{10} << 30; ///< of the store; 0: none
};
json::Value to_json(TransferSettings const& settings);
/// Throws Error naming source and field.
TransferSettings parse_transfer_settings(json::Value const& value, std::string const& source);

/// What a candidate took over.
struct TransferRecord
{
  int donor = -1;             ///< trial; -1: none
  bool donor_missing = false; ///< it was chosen, and its weights were gone: random weights instead
  int layers = 0, layers_of_child = 0;
  std::int64_t bytes = 0;    ///< as float32
  double fraction = 0;       ///< of the child's trainable values
  int lineage_length = 0;    ///< warm starts back to an ancestor that began from random values
  double lineage_epochs = 0; ///< own epochs + fraction x the donor's lineage epochs
  double match_seconds = 0, load_seconds = 0, store_seconds = 0;
  std::int64_t stored_bytes = 0, new_bytes = 0; ///< of its own tensors, and what of them the store had not yet
};
json::Object to_json(TransferRecord const& record);
TransferRecord parse_transfer_record(json::Value const& value, std::string const& source);

/// The donors of one search. Choices are a function of the settings, the seed and the trials told so far.
class WeightTransfer
{
public:
  /// The store is opened in, or made at, `folder`.
  WeightTransfer(TransferSettings const& settings, std::string const& folder, std::uint64_t seed);
  ~WeightTransfer();

  struct Start
  {
    TransferRecord record;
    std::shared_ptr<nn::Weights const> weights; ///< null: all from the seed
    std::vector<std::string> frozen;
  };
  /// Chooses a donor for a trial and loads what matches. Never throws for a donor that is gone or damaged: then the
  /// weights are random and the record says so.
  Start start(Trial const& trial, nn::spec::Architecture const& child);

  /// Keeps the weights of a trained trial, before its answer is journaled; `living` are trials that may become parents.
  /// Completes the record (lineage, bytes, seconds). A store without room leaves the trial out; `note` gets the reason.
  void keep(Trial const& trial, nn::spec::Architecture const& architecture, nn::Weights const& weights, double score,
            double epochs, std::uint64_t seed, std::span<int const> living, TransferRecord& record, std::string& note);

  /// A trial was answered: it may give its weights from now on. `score`: NaN for a failure, which gives nothing.
  void told(Trial const& trial, nn::spec::Architecture const& architecture, double score, TransferRecord const& record);

  WeightStore& store();

private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

} // namespace nasturtium::nas
