// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A model is made in tmp/ and renamed into models/. Who works in tmp/ holds a lock there, which the system gives up
// with the process: so others tell the dead from the living. The catalogue only spares readers the manifests; a model
// is where its folder is.
#include "logits_file.hpp"
#include "manifest.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/file_lock.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/ensemble/model_library.hpp>
#include <nasturtium/nas/pareto.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace nasturtium::ensemble {

namespace {

namespace fs = std::filesystem;

constexpr char const* format = "nasturtium-model-library";
constexpr std::int64_t format_version = 1;
constexpr std::array all_splits{Split::select, Split::check, Split::test};
constexpr double grace_seconds = 3600; // for what has no lock (yet)

[[noreturn]] void fail_errno(std::string const& path, char const* what)
{
  int const cause = errno;
  fail(path, ": ", what, ": ", std::strerror(cause));
}

std::string unused_name(std::string const& base, std::string const& id)
{
  static std::atomic<unsigned> counter{0};
  return concat(base, id, ".", ::getpid(), ".", counter++);
}

void sync_folder(std::string const& path)
{
  int const descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return; // file systems that cannot keep their own promises
  ::fsync(descriptor);
  ::close(descriptor);
}

void remove_folder(std::string const& path) noexcept
{
  std::error_code ignored; // others may be at it as well
  fs::remove_all(path, ignored);
}

/// A folder of one's own in tmp/, removed at the end unless it was renamed.
class Scratch
{
public:
  Scratch(std::string const& library, std::string const& id)
  {
    for (;;) {
      m_path = unused_name(library + "/tmp/new-", id);
      if (::mkdir(m_path.c_str(), 0777) != 0) {
        if (errno == EEXIST) continue; // a process of the same number before us, or on another machine
        fail_errno(m_path, "the folder cannot be made");
      }
      // A sweeper may come between: then the folder is gone, or will be.
      try {
        m_lock.emplace(lock_path(), FileLock::On::file, FileLock::Wait::no);
      } catch (Error const&) {
        if (fs::exists(m_path)) throw;
      }
      if (m_lock && m_lock->held() && is_file(lock_path())) return;
      m_lock.reset();
    }
  }
  ~Scratch()
  {
    if (!m_path.empty()) remove_folder(m_path);
  }
  Scratch(Scratch const&) = delete;
  Scratch& operator=(Scratch const&) = delete;

  std::string const& path() const { return m_path; }
  /// False where there is something under this name.
  bool rename_to(std::string const& target)
  {
    ::unlink(lock_path().c_str());
    sync_folder(m_path);
    if (::rename(m_path.c_str(), target.c_str()) != 0) {
      if (errno == ENOTEMPTY || errno == EEXIST) return false;
      fail_errno(target, "cannot be made");
    }
    m_path.clear();
    return true;
  }

private:
  std::string lock_path() const { return m_path + "/lock"; }

  std::string m_path;
  std::optional<FileLock> m_lock;
};

std::string logits_name(Split split)
{
  return "logits-" + name(split) + ".bin";
}

void copy_to(std::string const& from, std::string const& to)
{
  require(is_file(from), from, ": no such file");
  std::string const temporary = temporary_beside(to);
  std::error_code error;
  fs::copy_file(from, temporary, fs::copy_options::overwrite_existing, error);
  require(!error, to, ": cannot be written: ", error.message());
  commit_file(temporary, to);
}

/// Pearson's; 0 where one of the two is constant.
double correlation(std::span<float const> a, std::span<float const> b)
{
  double mean_a = 0, mean_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    mean_a += static_cast<double>(a[i]);
    mean_b += static_cast<double>(b[i]);
  }
  mean_a /= static_cast<double>(a.size());
  mean_b /= static_cast<double>(a.size());
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const x = static_cast<double>(a[i]) - mean_a, y = static_cast<double>(b[i]) - mean_b;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

/// Seconds of one sample on this device with this batch; 0 where that was not measured.
double seconds_of(LibraryModel const& model, DeviceCost const& reference)
{
  for (auto const& cost : model.device_costs)
    if (cost.device == reference.device && cost.batch == reference.batch) return cost.seconds / cost.batch;
  return 0;
}

std::vector<PoolModel> pool_models(std::vector<LibraryModel> const& models)
{
  std::vector<PoolModel> made;
  bool measured = !models.empty() && !models[0].device_costs.empty();
  for (auto const& model : models)
    measured = measured && seconds_of(model, models[0].device_costs[0]) > 0;
  for (auto const& model : models) {
    auto& costs = made.emplace_back(PoolModel{model.id, {}}).costs;
    costs["parameters"] = static_cast<double>(model.parameters);
    costs["flops"] = model.flops;
    costs["bytes"] = static_cast<double>(model.weight_bytes + model.activation_bytes);
    if (measured) costs["seconds"] = seconds_of(model, models[0].device_costs[0]);
  }
  return made;
}

/// What the catalogue says of the models that it does not call removed.
std::map<std::string, LibraryModel> read_catalogue(std::string const& path)
{
  std::map<std::string, LibraryModel> models;
  if (!is_file(path)) return models;
  std::string const text = read_file(path);
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    try {
      auto const value = json::parse(std::string_view(text).substr(begin, end - begin), path);
      json::Reader reader(value, path);
      if (reader.has("removed")) {
        models.erase(reader.string("removed"));
      } else {
        auto model = impl::model_from(value, path);
        models[model.id] = std::move(model);
      }
    } catch (Error const&) {
      continue; // cut off by a kill: then the manifest says it
    }
  }
  return models;
}

std::string line_of(LibraryModel const& model)
{
  return json::compact(impl::to_json(model)) + "\n";
}

} // namespace

std::string name(Split split)
{
  return split == Split::select ? "select" : split == Split::check ? "check" : "test";
}

std::vector<std::int32_t> const& LibrarySplits::of(Split split) const
{
  return split == Split::select ? select : split == Split::check ? check : test;
}

std::string LibrarySplits::hash() const
{
  Sha256 hash;
  hash.update(concat(classes));
  for (Split const split : all_splits) {
    hash.update(concat(" ", name(split), " ", of(split).size(), " "));
    hash.update(of(split).data(), of(split).size() * sizeof(std::int32_t));
  }
  return hash.hex();
}

std::int64_t LibraryModel::bytes() const
{
  std::int64_t sum = 0;
  for (auto const& file : files)
    sum += file.bytes;
  return sum;
}

ModelLibrary::ModelLibrary(std::string path, LibrarySplits splits, LogitPrecision precision)
    : m_path(std::move(path)), m_splits(std::move(splits)), m_precision(precision)
{
}

bool ModelLibrary::exists(std::string const& path)
{
  return is_file(path + "/library.json");
}

std::int64_t ModelLibrary::logit_bytes(LibrarySplits const& splits, LogitPrecision precision, std::int64_t models)
{
  std::int64_t sum = 0;
  for (Split const split : all_splits)
    if (!splits.of(split).empty())
      sum += impl::logits_bytes(static_cast<std::int64_t>(splits.of(split).size()), splits.classes, precision);
  return sum * models;
}

ModelLibrary ModelLibrary::create(std::string const& path, LibrarySplits const& splits, LogitPrecision precision)
{
  require(!splits.select.empty(), path, ": split 'select' has no samples");
  require(!splits.check.empty(), path, ": split 'check' has no samples");
  for (Split const split : all_splits)
    if (!splits.of(split).empty()) Predictions(splits.classes, splits.of(split)); // checks the labels
  if (!exists(path)) {
    create_directories(path);
    // Others may be as far as this.
    std::set<std::string> const ours{"models", "tmp", "lock", "splits.h5", "library.json", "catalogue.jsonl"};
    for (auto const& entry : fs::directory_iterator(path)) {
      std::string const name = entry.path().filename().string();
      require(ours.count(name) > 0 || name.starts_with('.'), path, ": is no model library, and holds other things (",
              quoted(name), ")");
    }
    create_directories(path + "/models");
    create_directories(path + "/tmp");
    hdf5::Writer writer(path + "/splits.h5");
    for (Split const split : all_splits)
      if (auto const& labels = splits.of(split); !labels.empty())
        writer.write("/" + name(split), {static_cast<std::int64_t>(labels.size())}, labels);
    writer.commit();
    write_file(path + "/library.json",
               json::pretty(json::Object{{"format", format},
                                         {"version", format_version},
                                         {"classes", splits.classes},
                                         {"logits", precision == LogitPrecision::float16 ? "float16" : "float32"},
                                         {"splits", splits.hash()}}));
  }
  auto library = open(path);
  require(library.m_splits.hash() == splits.hash(), path, ": is a library of other splits");
  require(library.m_precision == precision, path, ": keeps logits in another precision");
  return library;
}

ModelLibrary ModelLibrary::open(std::string const& path)
{
  std::string const settings = path + "/library.json", labels = path + "/splits.h5";
  json::Value const value = json::parse_file(settings);
  json::Reader reader(value, settings);
  json::check_format(reader, format, format_version);
  LibrarySplits splits;
  splits.classes = static_cast<int>(reader.integer("classes", 2, 1 << 20));
  auto const precision =
      reader.choice("logits", {"float16", "float32"}) == 0 ? LogitPrecision::float16 : LogitPrecision::float32;
  std::string const hash = reader.string("splits");
  reader.finish();
  hdf5::Reader const file(labels);
  auto const read = [&](Split split) {
    return file.has("/" + name(split)) ? file.read<std::int32_t>("/" + name(split)).values
                                       : std::vector<std::int32_t>{};
  };
  splits.select = read(Split::select);
  splits.check = read(Split::check);
  splits.test = read(Split::test);
  require(splits.hash() == hash, labels, ": does not hold the labels that library.json tells of");
  ModelLibrary library(path, std::move(splits), precision);
  library.sweep();
  return library;
}

std::string ModelLibrary::folder(std::string const& id) const
{
  check_model_id(id, m_path + ": the model's id");
  return m_path + "/models/" + id;
}

void ModelLibrary::sweep() const
{
  std::error_code error;
  for (auto const& entry : fs::directory_iterator(m_path + "/tmp", error)) {
    std::string const path = entry.path().string();
    bool dead = entry.path().filename().string().starts_with("old-");
    FileLock const lock(path + "/lock", FileLock::On::existing_file, FileLock::Wait::no);
    if (lock.opened()) {
      dead = lock.held();
    } else if (!dead) {
      struct stat status;
      dead = ::stat(path.c_str(), &status) == 0 && std::difftime(std::time(nullptr), status.st_mtime) > grace_seconds;
    }
    if (dead) remove_folder(path);
  }
}

bool ModelLibrary::publish(Publication const& publication)
{
  LibraryModel model = publication.model;
  std::string const target = folder(model.id), what = concat(m_path, ": model '", model.id, "'");
  impl::check_model(model, what);
  json::parse(publication.config, what + ": config");
  if (is_file(target + "/manifest.json")) return false;

  Scratch scratch(m_path, model.id);
  auto const file = [&](std::string const& name) { return scratch.path() + "/" + name; };
  copy_to(publication.weights_path, file("weights.h5"));
  write_file(file("config.json"), publication.config);
  std::vector<std::string> names{"weights.h5", "config.json"};
  for (Split const split : all_splits) {
    auto const& logits = split == Split::select  ? publication.select
                         : split == Split::check ? publication.check
                                                 : publication.test;
    auto const& labels = m_splits.of(split);
    require(logits.size() == labels.size() * static_cast<std::size_t>(m_splits.classes), what, ": ", logits.size(),
            " logits for ", labels.size(), " samples of split '", name(split), "' and ", m_splits.classes, " classes");
    if (labels.empty()) continue;
    auto const stored =
        impl::stored_logits(logits, m_splits.classes, m_precision, concat(what, ": split '", name(split), "'"));
    impl::write_logits(file(logits_name(split)), stored, m_splits.classes, m_precision);
    names.push_back(logits_name(split));
    if (split != Split::select) continue;
    Predictions predictions(m_splits.classes, labels);
    predictions.add_logits(stored);
    double sum = 0;
    for (float const q : predictions.column(0))
      sum -= std::log(std::max(static_cast<double>(q), 1e-12));
    model.loss = sum / static_cast<double>(labels.size());
  }
  model.code_version = concat(version(), " ", git_hash());
  model.splits = m_splits.hash();
  model.files.clear();
  for (auto const& it : names)
    model.files.push_back({it, file_size(file(it)), sha256_file(file(it))});
  write_file(file("manifest.json"), json::pretty(impl::to_json(model)));
  if (!scratch.rename_to(target)) return false;
  sync_folder(m_path + "/models");
  FileLock const lock(m_path + "/lock", FileLock::On::file, FileLock::Wait::yes);
  append_to_catalogue(line_of(model));
  return true;
}

void ModelLibrary::append_to_catalogue(std::string const& line) const
{
  std::string const path = m_path + "/catalogue.jsonl";
  int const descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) fail_errno(path, "cannot be written");
  // A line that a kill cut off is ended first.
  off_t const size = ::lseek(descriptor, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && ::pread(descriptor, &last, 1, size - 1) != 1) last = '\n';
  std::string const text = last == '\n' ? line : "\n" + line;
  ssize_t const written = ::write(descriptor, text.data(), text.size());
  int const cause = errno;
  ::close(descriptor);
  errno = cause;
  if (written < 0) fail_errno(path, "cannot be written");
  // The model is there all the same: readers find it by its folder.
  require(static_cast<std::size_t>(written) == text.size(), path, ": could not be written whole (disk full?)");
}

LibraryModel ModelLibrary::read_manifest(std::string const& id) const
{
  std::string const path = folder(id) + "/manifest.json";
  auto model = impl::model_from(json::parse_file(path), path);
  require(model.id == id, path, ": field 'id' must be ", quoted(id), ", got ", quoted(model.id));
  require(model.splits == m_splits.hash(), path, ": field 'splits' must be that of the library, got ",
          quoted(model.splits));
  return model;
}

std::vector<LibraryModel> ModelLibrary::list(std::vector<std::string>* unreadable) const
{
  auto known = read_catalogue(m_path + "/catalogue.jsonl");
  std::vector<LibraryModel> models;
  std::error_code error;
  for (auto const& entry : fs::directory_iterator(m_path + "/models", error)) {
    std::string const id = entry.path().filename().string();
    if (!is_file(entry.path().string() + "/manifest.json")) continue; // incomplete, or removed meanwhile
    auto const found = known.find(id);
    if (found != known.end() && found->second.splits == m_splits.hash()) {
      models.push_back(std::move(found->second));
      continue;
    }
    try {
      models.push_back(read_manifest(id));
    } catch (Error const& problem) {
      if (unreadable != nullptr) unreadable->emplace_back(problem.what());
    }
  }
  require(!error, m_path, "/models: cannot be read: ", error.message());
  std::sort(models.begin(), models.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
  return models;
}

void ModelLibrary::rebuild_catalogue()
{
  FileLock const lock(m_path + "/lock", FileLock::On::file, FileLock::Wait::yes);
  std::set<std::string> ids;
  for (auto const& entry : fs::directory_iterator(m_path + "/models"))
    ids.insert(entry.path().filename().string());
  std::string text;
  for (auto const& id : ids) {
    try {
      text += line_of(read_manifest(id));
    } catch (Error const&) {
      continue; // list() tells of it
    }
  }
  write_file(m_path + "/catalogue.jsonl", text);
}

std::vector<std::string> ModelLibrary::verify() const
{
  std::vector<std::string> faults;
  for (auto const& model : list(&faults)) {
    try {
      require(read_manifest(model.id) == model, m_path, "/catalogue.jsonl: does not say of '", model.id,
              "' what its manifest says");
      for (auto const& file : model.files) {
        std::string const path = folder(model.id) + "/" + file.name;
        require(file_size(path) == file.bytes, path, ": has ", file_size(path), " bytes, the manifest says ",
                file.bytes);
        require(sha256_file(path) == file.sha256, path, ": its checksum is not the manifest's");
      }
    } catch (Error const& error) {
      faults.emplace_back(error.what());
    }
  }
  return faults;
}

std::vector<float> ModelLibrary::logits(LibraryModel const& model, Split split) const
{
  auto const samples = static_cast<std::int64_t>(m_splits.of(split).size());
  return impl::read_logits(folder(model.id) + "/" + logits_name(split), samples, m_splits.classes);
}

std::string ModelLibrary::weights_path(std::string const& id) const
{
  return folder(id) + "/weights.h5";
}

std::string ModelLibrary::config_path(std::string const& id) const
{
  return folder(id) + "/config.json";
}

PredictionPool ModelLibrary::load_pool(std::span<std::string const> ids) const
{
  auto models = list();
  for (auto const& id : ids)
    require(std::any_of(models.begin(), models.end(), [&](auto const& it) { return it.id == id; }), m_path,
            ": has no model ", quoted(id));
  if (!ids.empty())
    std::erase_if(models, [&](auto const& it) { return std::find(ids.begin(), ids.end(), it.id) == ids.end(); });
  require(!models.empty(), m_path, ": has no models");
  PredictionPool pool;
  pool.models = pool_models(models);
  for (Split const split : all_splits) {
    if (m_splits.of(split).empty()) continue;
    Predictions& predictions = split == Split::select ? pool.select : split == Split::check ? pool.check : pool.test;
    predictions = Predictions(m_splits.classes, m_splits.of(split));
    for (auto const& model : models)
      predictions.add_logits(logits(model, split));
  }
  check_pool(pool);
  return pool;
}

bool ModelLibrary::remove(std::string const& id)
{
  std::string const path = folder(id), trash = unused_name(m_path + "/tmp/old-", id);
  if (!is_file(path + "/manifest.json")) return false;
  {
    FileLock const lock(m_path + "/lock", FileLock::On::file, FileLock::Wait::yes);
    // First the catalogue: a line that outlives its folder would speak of the next model of this name.
    append_to_catalogue(json::compact(json::Object{{"removed", id}}) + "\n");
    if (::rename(path.c_str(), trash.c_str()) != 0) {
      if (errno == ENOENT) return false;
      fail_errno(path, "cannot be removed");
    }
  }
  remove_folder(trash);
  return true;
}

Eviction ModelLibrary::evict(std::int64_t quota_bytes, std::string const& cost_axis, std::span<std::string const> keep)
{
  require(quota_bytes >= 0, m_path, ": quota_bytes must be >= 0, got ", quota_bytes);
  auto const models = list();
  Eviction eviction;
  for (auto const& model : models)
    eviction.bytes_before += model.bytes();
  eviction.bytes_after = eviction.bytes_before;
  if (eviction.bytes_before <= quota_bytes) return eviction;

  PredictionPool costs_only;
  costs_only.models = pool_models(models);
  auto const costs = costs_of(costs_only, cost_axis);
  std::size_t const count = models.size();
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i)
    if (models[i].loss < models[best].loss) best = i;
  std::vector<bool> stays(count, false), gone(count, false);
  stays[best] = true;
  for (std::size_t i = 0; i < count; ++i)
    if (std::find(keep.begin(), keep.end(), models[i].id) != keep.end()) stays[i] = true;
  auto const full = [&] { return eviction.bytes_after > quota_bytes; };
  auto const give_up = [&](std::size_t i) {
    gone[i] = true;
    eviction.bytes_after -= models[i].bytes();
    eviction.ids.push_back(models[i].id);
  };

  nas::Objectives objectives;
  for (std::size_t i = 0; i < count; ++i)
    objectives.push_back({models[i].loss, costs[i]});
  std::vector<std::size_t> dominated;
  auto const fronts = nas::non_dominated_sort(objectives);
  for (std::size_t i = 0; i < count; ++i)
    if (fronts[i] > 0 && !stays[i]) dominated.push_back(i);
  std::stable_sort(dominated.begin(), dominated.end(), [&](auto a, auto b) { return models[a].loss > models[b].loss; });
  for (std::size_t const i : dominated)
    if (full()) give_up(i);

  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < count; ++i)
    if (!gone[i]) left.push_back(i);
  if (full()) {
    Predictions predictions(m_splits.classes, m_splits.select);
    for (std::size_t const i : left)
      predictions.add_logits(logits(models[i], Split::select));
    while (full()) { // the completed one that a better one speaks for most nearly
      std::size_t chosen = count;
      double nearest = -2;
      for (std::size_t a = 0; a < left.size(); ++a) {
        if (gone[left[a]] || stays[left[a]] || models[left[a]].paused) continue;
        for (std::size_t b = 0; b < left.size(); ++b) {
          if (gone[left[b]] || !(models[left[b]].loss < models[left[a]].loss)) continue;
          double const r =
              correlation(predictions.column(static_cast<int>(a)), predictions.column(static_cast<int>(b)));
          if (r > nearest) {
            nearest = r;
            chosen = left[a];
          }
        }
      }
      if (chosen == count) break;
      give_up(chosen);
    }
  }
  std::stable_sort(left.begin(), left.end(), [&](auto a, auto b) { return models[a].loss > models[b].loss; });
  for (std::size_t const i : left)
    if (full() && !gone[i] && !stays[i]) give_up(i);

  if (full()) {
    eviction.reason =
        concat("no room: the models that have to stay need ", human_bytes(static_cast<double>(eviction.bytes_after)),
               ", the quota is ", human_bytes(static_cast<double>(quota_bytes)));
    eviction.bytes_after = eviction.bytes_before;
    eviction.ids.clear();
    return eviction;
  }
  for (auto const& id : eviction.ids)
    remove(id);
  return eviction;
}

} // namespace nasturtium::ensemble
