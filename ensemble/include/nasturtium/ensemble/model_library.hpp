// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The library of trained models that ensembles are selected from: a folder per model on a plain file system, with what
// the model says about held-out data. Several processes publish and read at the same time; there is no server. Format
// and guarantees: docs/ensembles-selection.md.
#pragma once

#include <nasturtium/datasets/dataset.hpp>
#include <nasturtium/ensemble/prediction_pool.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

enum class Split { select, check, test };
std::string name(Split split);

/// The labels of the splits that every model of a library is asked about. `test` may be empty.
struct LibrarySplits
{
  int classes = 0;
  std::vector<std::int32_t> select, check, test;

  std::vector<std::int32_t> const& of(Split split) const;
  /// SHA-256 over classes and all labels: what models of one library have in common.
  std::string hash() const;
};

enum class LogitPrecision {
  float16, ///< 2 bytes a value; shifted logits keep 11 bits
  float32
};

/// What a model costs on one kind of device.
struct DeviceCost
{
  std::string device;
  int batch = 1;
  double seconds = 0;          ///< of one batch
  std::int64_t peak_bytes = 0; ///< 0: not measured
  friend bool operator==(DeviceCost const&, DeviceCost const&) = default;
};

struct LibraryFile
{
  std::string name;
  std::int64_t bytes = 0;
  std::string sha256;
  friend bool operator==(LibraryFile const&, LibraryFile const&) = default;
};

/// What is known of a model without its weights and logits: its manifest.
struct LibraryModel
{
  std::string id;      ///< as PoolModel::id
  int rung = 0;        ///< of the search that made it
  bool paused = false; ///< it could be trained on; false: it is complete
  double epochs = 0;
  std::uint64_t seed = 0;
  std::int64_t parameters = 0, weight_bytes = 0, activation_bytes = 0; ///< activations: of one sample
  double flops = 0;                                                    ///< forward, of one sample
  std::vector<DeviceCost> device_costs;

  // Written by publish(); what stands there before is ignored.
  double loss = 0; ///< negative log-likelihood on `select`, of the logits as stored
  std::string code_version, splits;
  std::vector<LibraryFile> files;

  std::int64_t bytes() const; ///< of its files on disk
  friend bool operator==(LibraryModel const&, LibraryModel const&) = default;
};

/// A model on its way into the library. Logits: samples * classes values, sample by sample.
struct Publication
{
  LibraryModel model;
  std::string config;       ///< JSON: the architecture and how it was trained
  std::string weights_path; ///< a file to copy
  std::vector<float> select, check, test;
};

struct Eviction
{
  std::vector<std::string> ids; ///< that were removed, in this order
  std::int64_t bytes_before = 0, bytes_after = 0;
  std::string reason; ///< why the quota cannot be kept: then nothing is removed
};

/// A folder of models. Every function may be called by several threads and processes at the same time, of one machine
/// or of several that share the file system. Functions throw Error, naming the file, for what is damaged and for what
/// the disk refuses.
class ModelLibrary
{
public:
  /// Makes the library of these splits, or opens it where it is there already with the same ones. Throws Error for a
  /// folder of anything else, and for other splits or another precision.
  static ModelLibrary create(std::string const& path, LibrarySplits const& splits,
                             LogitPrecision precision = LogitPrecision::float16);
  /// Opens an existing library, and removes what dead processes left behind.
  static ModelLibrary open(std::string const& path);
  static bool exists(std::string const& path);
  /// Bytes of the logits that `models` models will take: to be told before a search begins.
  static std::int64_t logit_bytes(LibrarySplits const& splits, LogitPrecision precision, std::int64_t models);

  std::string const& path() const { return m_path; }
  LibrarySplits const& splits() const { return m_splits; }
  LogitPrecision precision() const { return m_precision; }

  /// Adds a model: all its files are on the disk before it appears under its id. A kill at any moment leaves it
  /// complete or absent. False where there is a model of this id already; it stays as it is.
  bool publish(Publication const& publication);

  /// All complete models by id. Manifests come from the catalogue where it has them, else from their folders. What
  /// cannot be read is left out; its message goes to `unreadable`.
  std::vector<LibraryModel> list(std::vector<std::string>* unreadable = nullptr) const;
  /// Writes the catalogue again from the folders alone.
  void rebuild_catalogue();
  /// Compares every file with its checksum and the catalogue with the manifests: one line for each fault.
  std::vector<std::string> verify() const;

  std::vector<float> logits(LibraryModel const& model, Split split) const;
  std::string weights_path(std::string const& id) const;
  std::string config_path(std::string const& id) const;

  /// The predictions of these models (none named: of all) as a pool. Cost axes: "parameters", "flops", "bytes" (weights
  /// and activations of one sample), and "seconds" (per sample) where all models were measured on the device and with
  /// the batch that the first one names first.
  PredictionPool load_pool(std::span<std::string const> ids = {}) const;

  /// Removes models until the files of all take at most `quota_bytes`: first those that another model beats in loss and
  /// cost, the worst first; then those that say most nearly the same as a better model that stays (correlation of the
  /// true classes' probabilities), completed ones before paused ones; then paused ones of the highest loss. Never one
  /// of `keep` (the members of fronts), and never the best.
  Eviction evict(std::int64_t quota_bytes, std::string const& cost_axis, std::span<std::string const> keep);
  /// True where there was such a model.
  bool remove(std::string const& id);

private:
  ModelLibrary(std::string path, LibrarySplits splits, LogitPrecision precision);

  void sweep() const;
  std::string folder(std::string const& id) const;
  void append_to_catalogue(std::string const& line) const; ///< by the holder of the lock
  LibraryModel read_manifest(std::string const& id) const;

  std::string m_path;
  LibrarySplits m_splits;
  LogitPrecision m_precision;
};

/// The held-out split of a data set in two, stratified: 60 % to select by, 40 % to check.
struct HeldOut
{
  datasets::Samples select, check;
};
/// Of dataset.validation. Throws Error where it is empty or has no labels.
HeldOut split_held_out(datasets::Dataset const& dataset, std::uint64_t seed);
LibrarySplits splits_of(datasets::Dataset const& dataset, HeldOut const& held_out);

/// Asks a trained network about all splits and publishes it. Costs that the architecture tells, and the seconds of a
/// batch, are filled in; of `model` the id, rung, epochs, seed and whether it is paused are taken, and device costs
/// that it has already. `config`: JSON to keep beside it; empty: the architecture. False where there is a model of this
/// id already, and for a network whose logits are not finite somewhere.
bool publish_trained(ModelLibrary& library, nn::TrainerOptions const& trainer, LibraryModel model,
                     nn::spec::Architecture const& architecture, nn::Weights const& weights,
                     datasets::Dataset const& dataset, HeldOut const& held_out, int batch_size,
                     std::string const& config = {});

} // namespace nasturtium::ensemble
