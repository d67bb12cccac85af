// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of trained candidates on a plain file system, for candidates that begin where others ended ("Accelerating DNN
// Architecture Search at Scale Using Selective Weight Transfer", Liu et al., CLUSTER 2021; the layout is ours). Several
// processes write and read at the same time; there is no server. Format and guarantees: docs/formats.md.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/nn/weights.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nasturtium::nas {

namespace impl {
class Store;
}

/// What a model that was put survives.
enum class Durability {
  process, ///< the death of the process
  node     ///< the death of the machine: files and folders are synced
};

struct StoreOptions
{
  std::int64_t cap_bytes = 0; ///< of the objects on disk; 0: none
  int keep_best = 10;         ///< so many models of the highest scores are never evicted; the best one never is
  Durability durability = Durability::process;
  /// Of a new store: count references by hard links, where the file system has them. False: by the records alone.
  bool hard_links = true;
};

/// One layer of a stored model: the object that holds its tensors.
struct StoredLayer
{
  std::string node, type; ///< its id, and its op as spec::op_name says it
  std::string object;     ///< 128-bit hash, 32 hexadecimal digits
  std::int64_t bytes = 0; ///< of the object
  bool float64 = false;   ///< stored as float64, else as float32; values come back with the same bits
};

/// What is known of a model without its tensors.
struct StoredModel
{
  std::string id;                                          ///< 1 to 128 letters, digits, '_', '-', '.'; no '.' in front
  std::string architecture;                                ///< JSON, as spec::to_json writes it
  double score = std::numeric_limits<double>::quiet_NaN(); ///< more is better; NaN is worse than any
  std::string donor;                                       ///< whose weights it began with; empty: from scratch
  int lineage_length = 0;                                  ///< warm starts back to an ancestor from scratch
  double lineage_epochs = 0;
  double epochs = 0; ///< of its own
  std::uint64_t seed = 0;
  json::Object extra; ///< the caller's

  // Written by put(); what stands there before is ignored.
  std::vector<StoredLayer> layers; ///< by node
  std::int64_t created = 0;        ///< nanoseconds since 1970

  std::int64_t bytes() const; ///< of its objects, each counted once
};

struct PutResult
{
  bool stored = false;
  std::string reason; ///< why it was refused
  std::int64_t bytes_logical = 0, bytes_written = 0;
  int objects = 0, objects_shared = 0; ///< distinct ones, and those that were there already
};

/// What verify() and gc() found.
struct StoreReport
{
  enum class Kind {
    damage,  ///< a record or tensors that cannot be used
    leftover ///< takes space, or will; nothing is lost
  };
  struct Finding
  {
    Kind kind = Kind::damage;
    std::string path, what;
    bool repaired = false;
  };
  int models = 0, objects = 0; ///< looked at
  std::int64_t bytes = 0;      ///< of those objects
  std::vector<Finding> findings;

  int count(Kind kind) const;
  int unrepaired_damage() const;
};

struct StoreUsage
{
  int models = 0, objects = 0;
  std::int64_t logical_bytes = 0;  ///< as if nothing were shared
  std::int64_t physical_bytes = 0; ///< of all objects on disk, those in use by writers and readers too
};

/// A folder of models. Copies stand for the same store; every function may be called by several threads and processes
/// at the same time. Functions throw Error, naming the file, for what is damaged and for what the disk refuses.
class WeightStore
{
public:
  /// Opens the store of this folder, or makes one where the folder is missing or empty, and sweeps what dead processes
  /// left behind. Throws Error for a folder of anything else, and for a format of another version.
  static WeightStore open(std::string const& path, StoreOptions options = {});
  /// True where the folder holds a store.
  static bool exists(std::string const& path);

  std::string const& path() const;
  /// True where links count references, false where records do.
  bool hard_links() const;

  /// Writes a model: what was there under its id is replaced. Under a cap, models of the lowest scores go first, of
  /// equals the oldest; the best, the `keep_best`, those of `keep` and the pinned never do. Where they leave no room,
  /// nothing changes and the result says why. A kill at any moment leaves the model complete or absent, an Error (disk
  /// full) leaves it absent. Reads no tensors of others; O(values), with a cap O(models) as well.
  PutResult put(StoredModel const& model, nn::Weights const& weights, std::span<std::string const> keep = {});

  /// All models, oldest first, without tensors. Records are read once and then remembered. Those that cannot be read
  /// are left out; their messages go to `unreadable`.
  std::vector<StoredModel> list(std::vector<std::string>* unreadable = nullptr) const;
  /// The ids of all models, sorted: a look at one folder.
  std::vector<std::string> ids() const;
  /// One model's record; nothing where there is no such model.
  std::optional<StoredModel> find(std::string const& id) const;

  /// The tensors of these nodes (none named: of all), with the bits that were put. Every object's hash is checked.
  /// Nothing where the model is gone; Error for nodes that it has not.
  std::optional<nn::Weights> load(std::string const& id, std::span<std::string const> nodes = {}) const;

  /// Keeps a model from eviction, and its tensors from removal, until the end of the object or of the process.
  class Pin
  {
  public:
    Pin() = default;
    Pin(Pin&& other) noexcept;
    Pin& operator=(Pin&& other) noexcept;
    ~Pin();
    explicit operator bool() const { return m_store != nullptr; } ///< false: the model was gone
    std::string const& id() const { return m_id; }

  private:
    friend class WeightStore;
    void release() noexcept;

    std::shared_ptr<impl::Store> m_store;
    std::string m_id, m_folder;
  };
  /// `trial` is who needs it, for people who look into the folder; written as an id.
  Pin pin(std::string const& id, std::string const& trial);
  /// As above, of a pinned model; it is there even if the model was removed meanwhile.
  std::optional<nn::Weights> load(Pin const& pin, std::span<std::string const> nodes = {}) const;

  /// True where there was such a model.
  bool remove(std::string const& id);

  /// Reads every record and every object. With `repair` damaged models are removed, unless another copy mends them, and
  /// leftovers as gc() does.
  StoreReport verify(bool repair);
  /// Removes what no model needs and lists objects that lost their entry. Reads no tensors.
  StoreReport gc();
  /// A look at every file. O(objects).
  StoreUsage usage() const;

private:
  explicit WeightStore(std::shared_ptr<impl::Store> store) : m_store(std::move(store)) {}

  std::shared_ptr<impl::Store> m_store;
};

} // namespace nasturtium::nas
