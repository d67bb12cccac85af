// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The folder of a weight store. Layout: docs/formats.md.
//
// With hard links a model's folder holds a link to each of its objects, so that the kernel counts references: two for
// an object of one model (its entry in objects/ and the model's). Whoever takes a link away looks whether only the
// entry is left. Whatever order several processes do that in, a model's own links keep its tensors: a race that is lost
// costs a second copy, or an entry without a model until the next gc(), never data. Without hard links records count,
// and what changes them waits for the lock.
#pragma once

#include "store/folder.hpp"

#include <nasturtium/core/file_lock.hpp>
#include <nasturtium/nas/weight_store.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace nasturtium::nas::impl {

using ModelPointer = std::shared_ptr<StoredModel const>;

class Store
{
public:
  Store(std::string path, StoreOptions const& options);

  std::string const& path() const { return m_path; }
  bool links() const { return m_links; }

  PutResult put(StoredModel model, nn::Weights const& weights, std::span<std::string const> keep);
  /// Oldest first.
  std::vector<ModelPointer> models(std::vector<std::string>* unreadable);
  std::vector<std::string> ids() const;
  std::optional<StoredModel> find(std::string const& id) const;
  std::optional<nn::Weights> load(std::string const& id, std::span<std::string const> nodes) const;
  std::optional<nn::Weights> load_from(std::string const& folder, std::span<std::string const> nodes) const;
  /// The pin's folder; nothing where the model is gone.
  std::optional<std::string> pin(std::string const& id, std::string const& trial);
  /// Takes a folder out of the store at once, then its objects as far as nobody else needs them. False where it was
  /// gone.
  bool discard(std::string const& folder, FileLock const* lock = nullptr);
  /// Where it fails (another user's files, a disk that is gone) the next sweep may try again.
  bool try_discard(std::string const& folder, FileLock const* lock = nullptr) noexcept;
  std::string model_folder(std::string const& id) const { return m_path + "/models/" + id; }

  struct Check
  {
    bool hash;         ///< read every object
    bool mend;         ///< leftovers
    bool drop_damaged; ///< models that cannot be mended
  };
  StoreReport check(Check const& what);
  StoreUsage usage();
  /// Takes away what dead processes left in tmp/, pins/ and trash/.
  void sweep(FileLock const* lock = nullptr);

private:
  /// What the last look at models/ found under a name; valid as long as the folder is the same.
  struct Known
  {
    std::uint64_t inode = 0;
    std::int64_t changed = 0; ///< nanoseconds
    ModelPointer model;       ///< null: unreadable
    std::string error;
    std::uint64_t seen = 0; ///< number of the look
  };
  class Scratch;
  class Checker;

  std::string m_path;
  StoreOptions m_options;
  bool m_links = true;
  std::mutex m_mutex; ///< of the following
  std::unordered_map<std::string, Known> m_known;
  std::uint64_t m_looks = 0;

  std::string lock_path() const { return m_path + "/lock"; }
  std::string object_path(std::string const& name) const;
  bool syncs() const { return m_options.durability == Durability::node; }
  void make_or_read_settings(StoreOptions const& options);
  bool links_work() const;

  /// Puts an object into `folder`, and into objects/ where it is new (without links: only then, and not into objects/
  /// yet). True where it was there.
  bool keep_object(std::string const& folder, std::string const& name, std::string_view bytes) const;
  /// Makes `name` of objects/ a link to `file`, whatever it was.
  void enter(std::string const& file, std::string const& name) const;
  void make_object_folder(std::string const& name) const;
  void sync_entry(std::string const& name) const;
  std::string trashed_name() const;

  /// Folders of the models that have to go; where that cannot make room enough, `reason` says so.
  std::vector<std::string> room_for(StoredModel const& model, std::span<std::string const> keep, FileLock const& lock,
                                    std::string& reason);
  std::set<std::string> pinned();
  void dissolve(std::string const& folder, FileLock const* lock);
  void drop_link(std::string const& file, std::string const& name) const;
  /// Without links: removes those objects that no record names.
  void release(std::vector<StoredLayer> const& layers, FileLock const& lock);
  /// Objects that records name; nothing where a record cannot be read.
  std::optional<std::set<std::string>> referenced();
  void remove_unused(std::string const& name, FileLock const& lock) const;
};

/// record.json in a folder; nothing where it is gone.
std::optional<StoredModel> read_record(std::string const& folder);

/// Layers with distinct objects.
std::vector<StoredLayer> distinct(std::vector<StoredLayer> layers);

} // namespace nasturtium::nas::impl
