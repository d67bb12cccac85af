// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/store.hpp"
#include "store/owner.hpp"
#include "store/record.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <tuple>
#include <utility>

namespace nasturtium::nas::impl {

namespace {

constexpr char const* format = "nasturtium-weight-store";
constexpr std::int64_t format_version = 1;
constexpr char const* hash_name = "xxh3-128";
constexpr double grace_seconds = 3600; // for what nobody can be asked about

bool same_file(struct stat const& a, struct stat const& b)
{
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// NaN is worse than any score.
double rank(StoredModel const& model)
{
  return std::isnan(model.score) ? -std::numeric_limits<double>::infinity() : model.score;
}

bool older(ModelPointer const& a, ModelPointer const& b)
{
  return std::tie(a->created, a->id) < std::tie(b->created, b->id);
}

/// In pins/ the owned name follows the trial's.
std::string_view owned_part(std::string_view name)
{
  auto const at = name.rfind('@');
  return at == std::string_view::npos ? name : name.substr(at + 1);
}

bool wanted(std::string const& node, std::span<std::string const> nodes)
{
  return nodes.empty() || std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

} // namespace

std::vector<StoredLayer> distinct(std::vector<StoredLayer> layers)
{
  std::sort(layers.begin(), layers.end(), [](auto const& a, auto const& b) { return a.object < b.object; });
  layers.erase(
      std::unique(layers.begin(), layers.end(), [](auto const& a, auto const& b) { return a.object == b.object; }),
      layers.end());
  return layers;
}

std::optional<StoredModel> read_record(std::string const& folder)
{
  std::string const path = folder + "/record.json";
  auto const bytes = read_if_there(path);
  if (!bytes) return std::nullopt;
  return parse_record(bytes->view(), path);
}

namespace {

/// Nothing, too, where the record cannot be read.
std::optional<StoredModel> record_if_readable(std::string const& folder)
{
  try {
    return read_record(folder);
  } catch (Error const&) {
    return std::nullopt;
  }
}

} // namespace

/// A folder of one's own in tmp/; what it holds is given up at the end, unless it got a name elsewhere.
class Store::Scratch
{
public:
  explicit Scratch(Store& store, FileLock const* lock = nullptr)
      : m_store(store), m_lock(lock), m_path(store.path() + "/tmp/" + owned_name())
  {
    make_folder(m_path);
  }
  ~Scratch()
  {
    if (!m_path.empty()) m_store.try_discard(m_path, m_lock);
  }
  Scratch(Scratch const&) = delete;
  Scratch& operator=(Scratch const&) = delete;

  std::string const& path() const { return m_path; }
  /// False where something is there already.
  bool rename_to(std::string const& target)
  {
    if (!try_rename(m_path, target)) {
      if (errno == ENOTEMPTY || errno == EEXIST) return false;
      fail_errno(target, "cannot be made");
    }
    m_path.clear();
    return true;
  }

private:
  Store& m_store;
  FileLock const* m_lock;
  std::string m_path;
};

Store::Store(std::string path, StoreOptions const& options) : m_path(std::move(path)), m_options(options)
{
  require(options.cap_bytes >= 0, m_path, ": cap_bytes must be >= 0, got ", options.cap_bytes);
  require(options.keep_best >= 0, m_path, ": keep_best must be >= 0, got ", options.keep_best);
  make_or_read_settings(options);
  sweep();
}

void Store::make_or_read_settings(StoreOptions const& options)
{
  std::string const settings = m_path + "/store.json";
  create_directories(m_path);
  if (!is_file(settings)) {
    // Other openers may be as far as this: their folders, and files with '.' in front, are none of a stranger's.
    std::set<std::string> const ours{"objects", "models", "pins", "tmp", "trash", "lock", "store.json"};
    for (auto const& name : names_in(m_path))
      require(ours.count(name) > 0, m_path, ": is no weight store, and holds other things (", quoted(name), ")");
  }
  for (char const* const name : {"objects", "models", "pins", "tmp", "trash"})
    make_folder(m_path + "/" + name);
  if (!is_file(settings)) {
    m_links = options.hard_links && links_work();
    write_file(settings,
               json::pretty(json::Object{
                   {"format", format}, {"version", format_version}, {"hash", hash_name}, {"hard_links", m_links}}));
  }
  json::Value const value = json::parse_file(settings);
  json::Reader reader(value, settings);
  json::check_format(reader, format, format_version);
  std::string const hash = reader.string("hash");
  require(hash == hash_name, reader.what("hash"), " must be ", quoted(hash_name), ", got ", quoted(hash));
  m_links = reader.boolean("hard_links");
  reader.finish();
}

bool Store::links_work() const
{
  std::string const file = m_path + "/tmp/" + owned_name(), link = m_path + "/tmp/" + owned_name();
  write_new(file, "", false);
  int const error = try_link(file, link);
  unlink_if_there(file);
  if (error == 0) unlink_if_there(link);
  errno = error;
  if (error != 0 && !refuses_links(error)) fail_errno(link, "cannot be linked");
  return error == 0;
}

std::string Store::object_path(std::string const& name) const
{
  return concat(m_path, "/objects/", name.substr(0, 2), "/", name);
}

std::string Store::trashed_name() const
{
  return m_path + "/trash/" + owned_name();
}

void Store::make_object_folder(std::string const& name) const
{
  make_folder(concat(m_path, "/objects/", name.substr(0, 2)));
}

void Store::sync_entry(std::string const& name) const
{
  sync_folder(concat(m_path, "/objects/", name.substr(0, 2)));
  sync_folder(m_path + "/objects");
}

void Store::enter(std::string const& file, std::string const& name) const
{
  std::string const other = file + ".entry";
  if (int const error = try_link(file, other); error != 0) {
    errno = error;
    fail_errno(other, "cannot be linked");
  }
  make_object_folder(name);
  bool const renamed = ::rename(other.c_str(), object_path(name).c_str()) == 0;
  if (!renamed) fail_errno(object_path(name), "cannot be replaced");
}

bool Store::keep_object(std::string const& folder, std::string const& name, std::string_view bytes) const
{
  std::string const object = object_path(name), mine = concat(folder, "/", name);
  auto const whole = [&](std::string const& path) {
    auto const status = status_of(path);
    return status && status->st_size == static_cast<std::int64_t>(bytes.size());
  };
  if (!m_links) {
    // A new date keeps it from those who collect without a lock.
    if (whole(object) && ::utimensat(AT_FDCWD, object.c_str(), nullptr, 0) == 0) return true;
    write_new(mine, bytes, syncs());
    return false;
  }
  int error = try_link(object, mine);
  if (error == 0 && whole(mine)) return true;
  bool replace = error == EMLINK; // no more links: a second copy
  if (error == 0) {               // cut off when the machine died
    unlink_if_there(mine);
    replace = true;
  } else if (error != ENOENT && error != EMLINK && !refuses_links(error)) {
    errno = error;
    fail_errno(mine, "cannot be linked");
  }
  write_new(mine, bytes, syncs());
  if (refuses_links(error)) return false; // another user's file: a copy of one's own
  if (replace) {
    enter(mine, name);
  } else {
    make_object_folder(name);
    error = try_link(mine, object);
    if (error != 0 && error != EEXIST) {
      errno = error;
      fail_errno(object, "cannot be linked");
    }
    // Another process was faster: its file will do, if it stays long enough.
    std::string const other = mine + ".other";
    if (error == EEXIST && try_link(object, other) == 0) {
      bool const shared = whole(other);
      if (shared)
        try_rename(other, mine);
      else
        unlink_if_there(other);
      return shared;
    }
  }
  if (syncs()) sync_entry(name);
  return false;
}

PutResult Store::put(StoredModel model, nn::Weights const& weights, std::span<std::string const> keep)
{
  check_model_id(model.id, m_path + ": the model's id");
  std::string const source = concat(m_path, ": model '", model.id, "'");
  auto const architecture = nn::spec::parse_architecture(model.architecture, source);
  std::map<std::string, std::string> types;
  for (auto const& node : architecture.nodes)
    types[node.id] = nn::spec::op_name(node.op);
  std::map<std::string, LayerTensors> tensors;
  for (auto const& [key, tensor] : weights) {
    std::int64_t count = 1;
    for (std::int64_t const extent : tensor.extent)
      count *= extent;
    require(types.count(key.first) > 0, source, ": node ", quoted(key.first), " has weights, but is not in the ",
            "architecture");
    require(count == static_cast<std::int64_t>(tensor.values.size()), source, ": node '", key.first, "': '", key.second,
            "' has ", tensor.values.size(), " values for an extent of ", count);
    tensors[key.first][key.second] = &tensor;
  }

  model.created = now_nanoseconds();
  model.layers.clear();
  PutResult result;
  std::set<std::string> names;
  Scratch scratch(*this);
  for (auto const& [node, of_node] : tensors) {
    LayerObject const object = encode_layer(types[node], of_node);
    auto const bytes = static_cast<std::int64_t>(object.bytes.size);
    std::string const name = object_name(object.bytes.view());
    model.layers.push_back({node, types[node], name, bytes, object.float64});
    result.bytes_logical += bytes;
    if (!names.insert(name).second) continue;
    ++result.objects;
    if (keep_object(scratch.path(), name, object.bytes.view()))
      ++result.objects_shared;
    else
      result.bytes_written += bytes;
  }
  write_new(scratch.path() + "/record.json", format_record(model), syncs());

  std::vector<std::string> trash;
  {
    std::optional<FileLock> lock;
    if (m_options.cap_bytes > 0 || !m_links) lock.emplace(lock_path(), FileLock::On::file, FileLock::Wait::yes);
    auto const move_to_trash = [&](std::string const& folder) {
      std::string const target = trashed_name();
      if (try_rename(folder, target)) trash.push_back(target);
    };
    if (m_options.cap_bytes > 0) {
      sweep(&*lock);
      auto const victims = room_for(model, keep, *lock, result.reason);
      if (!result.reason.empty()) {
        lock.reset(); // the scratch folder's end may want it
        result.bytes_written = 0;
        return result;
      }
      for (auto const& folder : victims)
        move_to_trash(folder);
    }
    if (!m_links)
      for (auto const& layer : distinct(model.layers)) {
        std::string const mine = concat(scratch.path(), "/", layer.object), object = object_path(layer.object);
        // What was there before may have been collected since.
        if (!status_of(mine) && !status_of(object))
          write_new(mine, encode_layer(layer.type, tensors.at(layer.node)).bytes.view(), syncs());
        make_object_folder(layer.object);
        if (try_rename(mine, object) && syncs()) sync_entry(layer.object);
      }
    if (syncs()) sync_folder(scratch.path());
    while (!scratch.rename_to(model_folder(model.id)))
      move_to_trash(model_folder(model.id));
    for (auto const& folder : trash)
      dissolve(folder, lock ? &*lock : nullptr);
  }
  if (syncs()) sync_folder(m_path + "/models");
  result.stored = true;
  return result;
}

std::vector<std::string> Store::room_for(StoredModel const& model, std::span<std::string const> keep, FileLock const&,
                                         std::string& reason)
{
  struct Use
  {
    std::int64_t models = 0, bytes = 0;
  };
  std::unordered_map<std::string, Use> uses;
  std::int64_t total = 0;
  auto const add = [&](StoredModel const& of) {
    for (auto const& layer : distinct(of.layers)) {
      Use& use = uses[layer.object];
      use.bytes = layer.bytes;
      if (use.models++ == 0) total += layer.bytes;
    }
  };
  add(model);
  auto all = models(nullptr);
  std::erase_if(all, [&](ModelPointer const& it) { return it->id == model.id; }); // it will be replaced
  for (auto const& it : all)
    add(*it);
  std::vector<std::string> victims;
  if (total <= m_options.cap_bytes) return victims;

  // From the best on, of equals the older one first; the new model has its place among them.
  auto by_rank = all;
  std::sort(by_rank.begin(), by_rank.end(),
            [](auto const& a, auto const& b) { return rank(*a) != rank(*b) ? rank(*a) > rank(*b) : older(a, b); });
  std::set<std::string> kept = pinned();
  kept.insert(keep.begin(), keep.end());
  int left = std::max(1, m_options.keep_best);
  bool placed = false;
  for (auto const& it : by_rank) {
    if (!placed && rank(model) > rank(*it)) {
      placed = true;
      --left;
    }
    if (left-- <= 0) break;
    kept.insert(it->id);
  }
  std::sort(all.begin(), all.end(),
            [](auto const& a, auto const& b) { return rank(*a) != rank(*b) ? rank(*a) < rank(*b) : older(a, b); });
  for (auto const& it : all) {
    if (total <= m_options.cap_bytes) break;
    if (kept.count(it->id) > 0) continue;
    for (auto const& layer : distinct(it->layers))
      if (Use& use = uses[layer.object]; --use.models == 0) total -= use.bytes;
    victims.push_back(model_folder(it->id));
  }
  if (total <= m_options.cap_bytes) return victims;
  reason = concat("no room: this model and those that have to stay need ", human_bytes(static_cast<double>(total)),
                  ", the cap is ", human_bytes(static_cast<double>(m_options.cap_bytes)));
  return {};
}

std::set<std::string> Store::pinned()
{
  std::set<std::string> found;
  for (auto const& name : names_in(m_path + "/pins"))
    if (auto const model = record_if_readable(concat(m_path, "/pins/", name))) found.insert(model->id);
  return found;
}

std::vector<ModelPointer> Store::models(std::vector<std::string>* unreadable)
{
  std::lock_guard const guard(m_mutex);
  ++m_looks;
  std::vector<ModelPointer> found;
  for (auto const& id : names_in(m_path + "/models")) {
    std::string const folder = model_folder(id);
    auto const status = status_of(folder);
    if (!status) continue;
    auto const inode = static_cast<std::uint64_t>(status->st_ino);
    std::int64_t const changed = std::int64_t{status->st_ctim.tv_sec} * 1000000000 + status->st_ctim.tv_nsec;
    Known& known = m_known[id];
    if (known.inode != inode || known.changed != changed) {
      known = {inode, changed, nullptr, "", 0};
      try {
        auto model = read_record(folder);
        if (!model && !status_of(folder)) continue; // removed meanwhile
        require(model.has_value(), folder, ": has no record.json");
        require(model->id == id, folder, "/record.json: field 'id' must be ", quoted(id), ", got ", quoted(model->id));
        known.model = std::make_shared<StoredModel const>(std::move(*model));
      } catch (Error const& error) {
        known.error = error.what();
      }
    }
    known.seen = m_looks;
    if (known.model)
      found.push_back(known.model);
    else if (unreadable != nullptr)
      unreadable->push_back(known.error);
  }
  std::erase_if(m_known, [&](auto const& entry) { return entry.second.seen != m_looks; });
  std::sort(found.begin(), found.end(), older);
  return found;
}

std::vector<std::string> Store::ids() const
{
  auto names = names_in(m_path + "/models");
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<StoredModel> Store::find(std::string const& id) const
{
  check_model_id(id, m_path + ": the model's id");
  return read_record(model_folder(id));
}

std::optional<nn::Weights> Store::load(std::string const& id, std::span<std::string const> nodes) const
{
  check_model_id(id, m_path + ": the model's id");
  return load_from(model_folder(id), nodes);
}

std::optional<nn::Weights> Store::load_from(std::string const& folder, std::span<std::string const> nodes) const
{
  for (;;) {
    auto const model = read_record(folder);
    if (!model) return std::nullopt;
    for (auto const& node : nodes)
      require(std::any_of(model->layers.begin(), model->layers.end(), [&](auto const& it) { return it.node == node; }),
              folder, ": has no weights of a node ", quoted(node));
    nn::Weights weights;
    std::string missing;
    for (auto const& layer : model->layers) {
      if (!wanted(layer.node, nodes)) continue;
      std::string path = m_links ? concat(folder, "/", layer.object) : object_path(layer.object);
      auto bytes = read_if_there(path);
      if (!bytes && m_links) { // its link was lost, but perhaps not the object
        path = object_path(layer.object);
        bytes = read_if_there(path);
      }
      if (!bytes) {
        missing = path;
        break;
      }
      check_object(bytes->view(), layer.object, path);
      decode_layer(bytes->view(), layer.node, layer.type, path, weights);
    }
    if (missing.empty()) return weights;
    auto const now = read_record(folder);
    if (!now) return std::nullopt;                                    // removed under our hands
    require(now->created != model->created, missing, ": is missing"); // else it was replaced: again
  }
}

std::optional<std::string> Store::pin(std::string const& id, std::string const& trial)
{
  check_model_id(id, m_path + ": the model's id");
  check_model_id(trial, m_path + ": the trial");
  std::string const from = model_folder(id);
  std::string target = concat(m_path, "/pins/", trial, "@", owned_name());
  std::optional<FileLock> lock;
  if (!m_links) lock.emplace(lock_path(), FileLock::On::file, FileLock::Wait::yes);
  for (;;) {
    auto const model = read_record(from);
    if (!model) return std::nullopt;
    Scratch scratch(*this, lock ? &*lock : nullptr);
    write_new(scratch.path() + "/record.json", format_record(*model), false);
    bool complete = true;
    if (m_links)
      for (auto const& layer : distinct(model->layers)) {
        std::string const link = concat(scratch.path(), "/", layer.object);
        int error = try_link(concat(from, "/", layer.object), link);
        if (error == ENOENT) error = try_link(object_path(layer.object), link);
        if (error == EMLINK || refuses_links(error)) {
          auto const bytes = read_if_there(concat(from, "/", layer.object));
          if (bytes) write_new(link, bytes->view(), false);
          error = bytes ? 0 : ENOENT;
        }
        complete = error == 0;
        if (!complete && error != ENOENT) {
          errno = error;
          fail_errno(link, "cannot be linked");
        }
        if (!complete) break;
      }
    if (complete) {
      scratch.rename_to(target);
      return target;
    }
    auto const now = read_record(from);
    if (!now) return std::nullopt;
    require(now->created != model->created, from, ": an object is missing (verify tells which)");
  }
}

bool Store::try_discard(std::string const& folder, FileLock const* lock) noexcept
{
  try {
    return discard(folder, lock);
  } catch (std::exception const&) {
    return false;
  }
}

bool Store::discard(std::string const& folder, FileLock const* lock)
{
  std::optional<FileLock> own;
  if (!m_links && lock == nullptr) lock = &own.emplace(lock_path(), FileLock::On::file, FileLock::Wait::yes);
  std::string const target = trashed_name();
  if (!try_rename(folder, target)) return false;
  dissolve(target, lock);
  return true;
}

void Store::dissolve(std::string const& folder, FileLock const* lock)
{
  auto const names = names_in(folder);
  // Without a record, or with one that was cut off, gc() finds the objects.
  if (!m_links && lock != nullptr)
    if (auto const model = record_if_readable(folder)) release(model->layers, *lock);
  // What is no reference first: it may be a link as well, of an operation that was cut off.
  auto const is_link = [&](std::string const& name) { return m_links && is_object_name(name); };
  for (auto const& name : names)
    if (!is_link(name)) unlink_if_there(concat(folder, "/", name));
  for (auto const& name : names)
    if (is_link(name)) drop_link(concat(folder, "/", name), name);
  ::rmdir(folder.c_str());
}

void Store::drop_link(std::string const& file, std::string const& name) const
{
  std::string const object = object_path(name);
  auto const link = status_of(file);
  if (!link) return;
  // The entry goes first, so that a kill in between leaves a link that is found again.
  if (link->st_nlink == 2)
    if (auto const entry = status_of(object); entry && same_file(*entry, *link)) unlink_if_there(object);
  unlink_if_there(file);
  // Two that were dropped at the same time had both seen the other's link.
  if (auto const entry = status_of(object); entry && entry->st_nlink == 1) unlink_if_there(object);
}

std::optional<std::set<std::string>> Store::referenced()
{
  std::vector<std::string> unreadable;
  std::set<std::string> found;
  for (auto const& model : models(&unreadable))
    for (auto const& layer : model->layers)
      found.insert(layer.object);
  for (auto const& name : names_in(m_path + "/pins"))
    try {
      if (auto const model = read_record(concat(m_path, "/pins/", name)))
        for (auto const& layer : model->layers)
          found.insert(layer.object);
    } catch (Error const& error) {
      unreadable.emplace_back(error.what());
    }
  if (!unreadable.empty()) return std::nullopt;
  return found;
}

void Store::release(std::vector<StoredLayer> const& layers, FileLock const& lock)
{
  auto const used = referenced();
  if (!used) return;
  for (auto const& layer : layers)
    if (used->count(layer.object) == 0) remove_unused(layer.object, lock);
}

void Store::remove_unused(std::string const& name, FileLock const& lock) const
{
  std::string const object = object_path(name);
  auto const status = status_of(object);
  // Where locks are not to be had, somebody may be about to name it.
  if (status && (lock.held() || age_of(*status) > grace_seconds)) unlink_if_there(object);
}

void Store::sweep(FileLock const* lock)
{
  for (char const* const base : {"tmp", "pins", "trash"})
    for (auto const& name : names_in(concat(m_path, "/", base))) {
      std::string const folder = concat(m_path, "/", base, "/", name);
      Owner const owner = owner_of(owned_part(name));
      if (owner == Owner::alive) continue;
      auto const status = status_of(folder);
      if (!status || (owner == Owner::elsewhere && age_of(*status) < grace_seconds)) continue;
      if (S_ISDIR(status->st_mode))
        try_discard(folder, lock);
      else
        ::unlink(folder.c_str());
    }
}

StoreUsage Store::usage()
{
  StoreUsage usage;
  for (auto const& model : models(nullptr)) {
    ++usage.models;
    for (auto const& layer : model->layers)
      usage.logical_bytes += layer.bytes;
  }
  std::set<std::pair<dev_t, ino_t>> seen;
  for (char const* const base : {"objects", "models", "pins", "tmp", "trash"})
    for (auto const& folder : names_in(concat(m_path, "/", base)))
      for (auto const& name : names_in(concat(m_path, "/", base, "/", folder))) {
        if (!is_object_name(name)) continue;
        auto const status = status_of(concat(m_path, "/", base, "/", folder, "/", name));
        if (!status || !seen.emplace(status->st_dev, status->st_ino).second) continue;
        ++usage.objects;
        usage.physical_bytes += status->st_size;
      }
  return usage;
}

/// One look at everything.
class Store::Checker
{
public:
  Checker(Store& store, Check const& what) : m_store(store), m_what(what) {}

  StoreReport run()
  {
    if (m_what.mend) m_store.sweep();
    for (auto const& id : m_store.ids())
      check_model(id);
    check_objects();
    return std::move(m_report);
  }

private:
  using Kind = StoreReport::Kind;

  Store& m_store;
  Check m_what;
  StoreReport m_report;
  std::map<std::pair<dev_t, ino_t>, std::string> m_contents; ///< what is wrong with a file; empty: nothing

  /// The action mends it, if it may.
  void find(Kind kind, std::string const& path, std::string const& what, bool mend,
            std::function<bool()> const& action = {})
  {
    bool const mended = mend && action && action();
    m_report.findings.push_back({kind, path, what, mended});
  }

  /// What is wrong with the content of an object; empty: nothing.
  std::string const& content(std::string const& path, std::string const& name, struct stat const& status)
  {
    auto const [entry, fresh] = m_contents.try_emplace({status.st_dev, status.st_ino});
    if (!fresh) return entry->second;
    auto const bytes = read_if_there(path);
    if (!bytes) return entry->second;
    std::string const hash = object_name(bytes->view());
    if (hash != name) entry->second = concat("the hash of its ", bytes->size, " bytes is ", hash);
    return entry->second;
  }

  void check_model(std::string const& id)
  {
    std::string const folder = m_store.model_folder(id);
    auto const drop = [&] { return m_store.discard(folder); };
    try {
      auto const model = read_record(folder);
      if (!model) {
        if (status_of(folder)) find(Kind::damage, folder, "has no record.json", m_what.drop_damaged, drop);
        return;
      }
      if (model->id != id) {
        find(Kind::damage, folder + "/record.json",
             concat("field 'id' must be ", quoted(id), ", got ", quoted(model->id)), m_what.drop_damaged, drop);
        return;
      }
      ++m_report.models;
      std::size_t const before = m_report.findings.size();
      bool usable = true;
      for (auto const& layer : distinct(model->layers))
        usable = check_layer(folder, layer) && usable;
      if (!status_of(folder)) { // removed meanwhile
        m_report.findings.resize(before);
      } else if (!usable && m_what.drop_damaged && drop()) {
        for (std::size_t i = before; i < m_report.findings.size(); ++i)
          m_report.findings[i].repaired = true;
      }
    } catch (Error const& error) {
      std::string what = error.what();
      std::string const path = folder + "/record.json";
      if (what.starts_with(path + ": ")) what.erase(0, path.size() + 2);
      find(Kind::damage, path, what, m_what.drop_damaged, drop);
    }
  }

  /// False where the model cannot do without repair that is not to be had.
  bool check_layer(std::string const& folder, StoredLayer const& layer)
  {
    std::string const object = m_store.object_path(layer.object);
    std::string const file = m_store.links() ? concat(folder, "/", layer.object) : object;
    auto status = status_of(file);
    auto const entry = m_store.links() ? status_of(object) : status;
    auto const take_entry = [&] {
      std::string const other = file + ".entry";
      return try_link(object, other) == 0 && try_rename(other, file);
    };
    if (!status && entry && m_store.links()) {
      find(Kind::damage, file, "is missing; its object is not", m_what.mend, take_entry);
      status = entry;
    }
    if (!status) {
      find(Kind::damage, file, concat("is missing (node '", layer.node, "')"), false);
      return false;
    }
    std::string wrong;
    if (m_what.hash)
      wrong = content(file, layer.object, *status);
    else if (status->st_size != layer.bytes)
      wrong = concat("has ", status->st_size, " bytes, not ", layer.bytes);
    bool const two = m_store.links() && entry && !same_file(*entry, *status);
    bool const entry_good = two && m_what.hash && content(object, layer.object, *entry).empty();
    if (!wrong.empty()) {
      find(Kind::damage, file, concat("is damaged (node '", layer.node, "'): ", wrong), m_what.drop_damaged, [&] {
        if (entry_good) return take_entry();
        unlink_if_there(object); // nobody shall share it
        return false;
      });
      return m_report.findings.back().repaired;
    }
    if (!m_store.links()) return true;
    auto const list = [&] {
      m_store.enter(file, layer.object);
      return true;
    };
    if (!entry)
      find(Kind::leftover, file, "has no entry in objects/", m_what.mend, list);
    else if (two && m_what.hash && entry_good)
      find(Kind::leftover, file, "is a second copy of its object", m_what.mend, take_entry);
    else if (two && m_what.hash)
      find(Kind::damage, object, "is damaged; a model has a good copy", m_what.mend, list);
    return true;
  }

  void check_objects()
  {
    std::optional<FileLock> lock;
    std::optional<std::set<std::string>> used;
    if (!m_store.links()) {
      if (m_what.mend) lock.emplace(m_store.lock_path(), FileLock::On::file, FileLock::Wait::yes);
      used = m_store.referenced();
    }
    for (auto const& part : names_in(m_store.path() + "/objects"))
      for (auto const& name : names_in(concat(m_store.path(), "/objects/", part))) {
        std::string const path = concat(m_store.path(), "/objects/", part, "/", name);
        auto const status = status_of(path);
        if (!status) continue;
        if (!is_object_name(name) || name.substr(0, 2) != part) {
          find(Kind::leftover, path, "is no object", false);
          continue;
        }
        ++m_report.objects;
        m_report.bytes += status->st_size;
        bool const needed = m_store.links() ? status->st_nlink > 1 : !used || used->count(name) > 0;
        if (needed) continue;
        find(Kind::leftover, path, "no model needs it", m_what.mend, [&] {
          if (m_store.links())
            unlink_if_there(path);
          else
            m_store.remove_unused(name, *lock);
          return !status_of(path);
        });
      }
  }
};

StoreReport Store::check(Check const& what)
{
  return Checker(*this, what).run();
}

} // namespace nasturtium::nas::impl
