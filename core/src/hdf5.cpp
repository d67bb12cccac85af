// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/number.hpp>

#include <hdf5.h>

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <type_traits>
#include <utility>

namespace nasturtium::hdf5 {
namespace {

// The library keeps global state, thread-safe or not as it was built.
std::mutex& library_mutex()
{
  static std::mutex mutex;
  return mutex;
}

class Lock
{
public:
  Lock() : m_lock(library_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

private:
  std::lock_guard<std::mutex> m_lock;
};

class Id
{
public:
  Id(hid_t value, herr_t (*close)(hid_t)) : m_value(value), m_close(close) {}
  ~Id() { reset(); }
  Id(Id const&) = delete;
  Id& operator=(Id const&) = delete;
  operator hid_t() const { return m_value; }
  bool ok() const { return m_value >= 0; }
  bool reset()
  {
    hid_t const value = std::exchange(m_value, -1);
    return value < 0 || m_close(value) >= 0;
  }

private:
  hid_t m_value;
  herr_t (*m_close)(hid_t);
};

herr_t take_first(unsigned depth, H5E_error2_t const* entry, void* text)
{
  if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(text) = entry->desc;
  return 0;
}

[[noreturn]] void fail_hdf5(std::string const& path, std::string const& object, char const* what)
{
  std::string cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, &take_first, &cause);
  // A failed write tells addresses and times as well; only the system's reason is of use.
  std::string_view const mark = "error message = '";
  if (auto const begin = cause.find(mark); begin != std::string::npos) {
    cause.erase(0, begin + mark.size());
    cause.erase(std::min(cause.find('\''), cause.size()));
  }
  for (char& c : cause)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  fail(path, object.empty() ? "" : ": " + quoted(object), ": ", what, cause.empty() ? "" : " (HDF5: " + cause + ")");
}

template <class T>
hid_t native_type()
{
  if constexpr (std::is_same_v<T, float>) return H5T_NATIVE_FLOAT;
  if constexpr (std::is_same_v<T, double>) return H5T_NATIVE_DOUBLE;
  if constexpr (std::is_same_v<T, std::int32_t>) return H5T_NATIVE_INT32;
  if constexpr (std::is_same_v<T, std::int64_t>) return H5T_NATIVE_INT64;
  if constexpr (std::is_same_v<T, std::uint8_t>) return H5T_NATIVE_UINT8;
}

template <class T>
hid_t file_type()
{
  if constexpr (std::is_same_v<T, float>) return H5T_IEEE_F32LE;
  if constexpr (std::is_same_v<T, double>) return H5T_IEEE_F64LE;
  if constexpr (std::is_same_v<T, std::int32_t>) return H5T_STD_I32LE;
  if constexpr (std::is_same_v<T, std::int64_t>) return H5T_STD_I64LE;
  if constexpr (std::is_same_v<T, std::uint8_t>) return H5T_STD_U8LE;
}

ElementType element_type(hid_t type)
{
  auto const size = H5Tget_size(type);
  switch (H5Tget_class(type)) {
  case H5T_FLOAT:
    return size == 4 ? ElementType::float32 : size == 8 ? ElementType::float64 : ElementType::other;
  case H5T_INTEGER: {
    bool const is_signed = H5Tget_sign(type) == H5T_SGN_2;
    switch (size) {
    case 1:
      return is_signed ? ElementType::int8 : ElementType::uint8;
    case 2:
      return is_signed ? ElementType::int16 : ElementType::uint16;
    case 4:
      return is_signed ? ElementType::int32 : ElementType::uint32;
    case 8:
      return is_signed ? ElementType::int64 : ElementType::uint64;
    default:
      return ElementType::other;
    }
  }
  case H5T_STRING:
    return ElementType::text;
  default:
    return ElementType::other;
  }
}

// H5Lexists answers only for the last part of a path.
bool exists(hid_t file, std::string const& object)
{
  if (object.empty() || object == "/") return true;
  for (std::size_t end = object.find('/', 1);; end = object.find('/', end + 1)) {
    std::string const part = object.substr(0, end);
    if (H5Lexists(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (H5Oexists_by_name(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (end == std::string::npos) return true;
  }
}

DatasetInfo dataset_info(hid_t dataset, std::string const& path, std::string const& name)
{
  Id const type(H5Dget_type(dataset), &H5Tclose);
  Id const space(H5Dget_space(dataset), &H5Sclose);
  if (!type.ok() || !space.ok()) fail_hdf5(path, name, "has no readable type and extent");
  DatasetInfo info;
  info.type = element_type(type);
  int const rank = H5Sget_simple_extent_ndims(space);
  if (rank < 0 || H5Sget_simple_extent_type(space) == H5S_NULL) fail_hdf5(path, name, "has no extent");
  std::vector<hsize_t> extent(static_cast<std::size_t>(rank));
  H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  double count = 1;
  for (hsize_t const n : extent) {
    count *= static_cast<double>(n);
    require(count < 0x1p60, path, ": ", quoted(name), ": extent out of range");
    info.extent.push_back(static_cast<std::int64_t>(n));
  }
  return info;
}

// A header may claim anything; what is stored bounds what can be read.
void check_storage(hid_t dataset, DatasetInfo const& info, std::string const& path, std::string const& name)
{
  Id const type(H5Dget_type(dataset), &H5Tclose);
  Id const properties(H5Dget_create_plist(dataset), &H5Pclose);
  double const need = static_cast<double>(info.count()) * static_cast<double>(H5Tget_size(type));
  double const stored =
      std::min(static_cast<double>(H5Dget_storage_size(dataset)), static_cast<double>(file_size(path)));
  double const best_ratio = H5Pget_nfilters(properties) > 0 ? 1032 : 1; // deflate's
  require(need <= stored * best_ratio, path, ": ", quoted(name), ": claims ", human_bytes(need), ", but ",
          human_bytes(stored), " are stored");
}

Id open_dataset(hid_t file, std::string const& path, std::string const& name)
{
  require(exists(file, name), path, ": no data set ", quoted(name));
  hid_t const dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
  if (dataset < 0) fail_hdf5(path, name, "is not a data set");
  return Id(dataset, &H5Dclose);
}

template <class T>
void read_all(hid_t dataset, std::vector<T>& values, std::string const& path, std::string const& name)
{
  if (values.empty()) return;
  if (H5Dread(dataset, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    fail_hdf5(path, name, "cannot be read");
}

} // namespace

std::string name(ElementType type)
{
  switch (type) {
  case ElementType::float32:
    return "float32";
  case ElementType::float64:
    return "float64";
  case ElementType::int8:
    return "int8";
  case ElementType::int16:
    return "int16";
  case ElementType::int32:
    return "int32";
  case ElementType::int64:
    return "int64";
  case ElementType::uint8:
    return "uint8";
  case ElementType::uint16:
    return "uint16";
  case ElementType::uint32:
    return "uint32";
  case ElementType::uint64:
    return "uint64";
  case ElementType::text:
    return "text";
  case ElementType::other:
    break;
  }
  return "other";
}

bool is_integer(ElementType type)
{
  return type >= ElementType::int8 && type <= ElementType::uint64;
}
bool is_float(ElementType type)
{
  return type == ElementType::float32 || type == ElementType::float64;
}

std::int64_t DatasetInfo::count() const
{
  std::int64_t result = 1;
  for (auto const n : extent)
    result *= n;
  return result;
}

struct Reader::State
{
  std::string path;
  hid_t file = -1;

  ~State()
  {
    if (file < 0) return;
    Lock const lock;
    H5Fclose(file);
  }

  Id open_attribute(std::string const& object, std::string const& name) const
  {
    std::string const where = object.empty() ? "/" : object;
    require(exists(file, where), path, ": no object ", quoted(where));
    require(H5Aexists_by_name(file, where.c_str(), name.c_str(), H5P_DEFAULT) > 0, path, ": ", quoted(where),
            ": no attribute ", quoted(name));
    return Id(H5Aopen_by_name(file, where.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), &H5Aclose);
  }

  template <class T>
  T scalar_attribute(std::string const& object, std::string const& name, bool integer) const
  {
    Lock const lock;
    Id const attribute = open_attribute(object, name);
    if (!attribute.ok()) fail_hdf5(path, object, "has an unreadable attribute");
    Id const type(H5Aget_type(attribute), &H5Tclose);
    Id const space(H5Aget_space(attribute), &H5Sclose);
    ElementType const found = element_type(type);
    require((is_integer(found) || (!integer && is_float(found))) && H5Sget_simple_extent_npoints(space) == 1, path,
            ": ", quoted(object), ": attribute ", quoted(name), " must be one ", integer ? "integer" : "number");
    T value{};
    if (H5Aread(attribute, native_type<T>(), &value) < 0) fail_hdf5(path, object, "has an unreadable attribute");
    return value;
  }
};

Reader::Reader(std::string path) : m_state(std::make_unique<State>())
{
  m_state->path = std::move(path);
  auto const size = file_size(m_state->path);
  require(size > 0, m_state->path, ": is empty");
  Lock const lock;
  Id const access(H5Pcreate(H5P_FILE_ACCESS), &H5Pclose);
  m_state->file = H5Fopen(m_state->path.c_str(), H5F_ACC_RDONLY, access);
  if (m_state->file < 0) fail_hdf5(m_state->path, "", "is not a readable HDF5 file");
}

Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

std::string const& Reader::path() const
{
  return m_state->path;
}

bool Reader::has(std::string const& object) const
{
  Lock const lock;
  return exists(m_state->file, object);
}

bool Reader::is_group(std::string const& object) const
{
  Lock const lock;
  if (!exists(m_state->file, object)) return false;
  Id const id(H5Oopen(m_state->file, object.empty() ? "/" : object.c_str(), H5P_DEFAULT), &H5Oclose);
  return id.ok() && H5Iget_type(id) == H5I_GROUP;
}

std::vector<std::string> Reader::children(std::string const& group) const
{
  Lock const lock;
  require(exists(m_state->file, group), m_state->path, ": no group ", quoted(group));
  Id const id(H5Gopen2(m_state->file, group.empty() ? "/" : group.c_str(), H5P_DEFAULT), &H5Gclose);
  H5G_info_t info{};
  if (!id.ok() || H5Gget_info(id, &info) < 0) fail_hdf5(m_state->path, group, "is not a group");
  std::vector<std::string> names;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    ssize_t const size = H5Lget_name_by_idx(id, ".", H5_INDEX_NAME, H5_ITER_INC, i, nullptr, 0, H5P_DEFAULT);
    if (size < 0) fail_hdf5(m_state->path, group, "cannot be listed");
    std::string name(static_cast<std::size_t>(size) + 1, '\0');
    H5Lget_name_by_idx(id, ".", H5_INDEX_NAME, H5_ITER_INC, i, name.data(), name.size(), H5P_DEFAULT);
    name.pop_back();
    names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

DatasetInfo Reader::info(std::string const& dataset) const
{
  Lock const lock;
  Id const id = open_dataset(m_state->file, m_state->path, dataset);
  return dataset_info(id, m_state->path, dataset);
}

template <class T>
Array<T> Reader::read(std::string const& dataset) const
{
  Lock const lock;
  std::string const& path = m_state->path;
  Id const id = open_dataset(m_state->file, path, dataset);
  DatasetInfo const info = dataset_info(id, path, dataset);
  require(is_integer(info.type) || (std::is_floating_point_v<T> && is_float(info.type)), path, ": ", quoted(dataset),
          ": holds ", name(info.type), " where ", std::is_floating_point_v<T> ? "numbers" : "integers", " are needed");
  check_storage(id, info, path, dataset);
  Array<T> array;
  array.extent = info.extent;
  auto const count = static_cast<std::size_t>(info.count());
  bool const exact = std::is_floating_point_v<T> ||
                     (std::is_same_v<T, std::uint8_t> && info.type == ElementType::uint8) ||
                     (std::is_same_v<T, std::int64_t> && info.type != ElementType::uint64);
  if (exact) {
    array.values.resize(count);
    read_all(id, array.values, path, dataset);
    return array;
  }
  if constexpr (std::is_integral_v<T>) {
    // HDF5 clamps what does not fit; so read wide and look.
    std::vector<std::int64_t> wide(count);
    read_all(id, wide, path, dataset);
    array.values.reserve(count);
    for (auto const value : wide) {
      bool const clamped = info.type == ElementType::uint64 && value == std::numeric_limits<std::int64_t>::max();
      require(std::in_range<T>(value) && !clamped, path, ": ", quoted(dataset), ": value ", value, " is out of range");
      array.values.push_back(static_cast<T>(value));
    }
  }
  return array;
}

template Array<float> Reader::read(std::string const&) const;
template Array<double> Reader::read(std::string const&) const;
template Array<std::int32_t> Reader::read(std::string const&) const;
template Array<std::int64_t> Reader::read(std::string const&) const;
template Array<std::uint8_t> Reader::read(std::string const&) const;

bool Reader::has_attribute(std::string const& object, std::string const& name) const
{
  Lock const lock;
  std::string const where = object.empty() ? "/" : object;
  return exists(m_state->file, where) && H5Aexists_by_name(m_state->file, where.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::string Reader::string_attribute(std::string const& object, std::string const& name) const
{
  Lock const lock;
  std::string const& path = m_state->path;
  Id const attribute = m_state->open_attribute(object, name);
  if (!attribute.ok()) fail_hdf5(path, object, "has an unreadable attribute");
  Id const type(H5Aget_type(attribute), &H5Tclose);
  Id const space(H5Aget_space(attribute), &H5Sclose);
  require(H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1, path, ": ", quoted(object),
          ": attribute ", quoted(name), " must be one string");
  if (H5Tis_variable_str(type) > 0) {
    Id const memory(H5Tcopy(H5T_C_S1), &H5Tclose);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    char* text = nullptr;
    if (H5Aread(attribute, memory, static_cast<void*>(&text)) < 0)
      fail_hdf5(path, object, "has an unreadable attribute");
    std::string const result = text != nullptr ? text : "";
    H5free_memory(text);
    return result;
  }
  auto const size = H5Tget_size(type);
  require(static_cast<std::int64_t>(size) <= file_size(path), path, ": ", quoted(object), ": attribute ", quoted(name),
          " is too long");
  std::string text(size, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) fail_hdf5(path, object, "has an unreadable attribute");
  return text.substr(0, text.find('\0'));
}

std::int64_t Reader::integer_attribute(std::string const& object, std::string const& name) const
{
  return m_state->scalar_attribute<std::int64_t>(object, name, true);
}

double Reader::number_attribute(std::string const& object, std::string const& name) const
{
  return m_state->scalar_attribute<double>(object, name, false);
}

struct Writer::State
{
  std::string path, temporary;
  hid_t file = -1;

  ~State()
  {
    if (file < 0) return;
    {
      Lock const lock;
      H5Fclose(file);
    }
    ::unlink(temporary.c_str());
  }

  void require_open() const { require(file >= 0, path, ": written to after commit"); }

  // Without times, so that the same content gives the same bytes.
  void make_groups(std::string const& object) const
  {
    Id const creation(H5Pcreate(H5P_GROUP_CREATE), &H5Pclose);
    H5Pset_obj_track_times(creation, false);
    for (std::size_t end = object.find('/', 1); end != std::string::npos; end = object.find('/', end + 1)) {
      std::string const part = object.substr(0, end);
      if (exists(file, part)) continue;
      Id const group(H5Gcreate2(file, part.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT), &H5Gclose);
      if (!group.ok()) fail_hdf5(path, part, "cannot be made");
    }
  }

  void write_attribute(std::string const& object, std::string const& name, hid_t type, hid_t memory_type,
                       void const* value) const
  {
    std::string const where = object.empty() ? "/" : object;
    require_open();
    require(exists(file, where), path, ": no object ", quoted(where));
    if (H5Aexists_by_name(file, where.c_str(), name.c_str(), H5P_DEFAULT) > 0)
      H5Adelete_by_name(file, where.c_str(), name.c_str(), H5P_DEFAULT);
    Id const space(H5Screate(H5S_SCALAR), &H5Sclose);
    Id attribute(
        H5Acreate_by_name(file, where.c_str(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
        &H5Aclose);
    if (!attribute.ok() || H5Awrite(attribute, memory_type, value) < 0 || !attribute.reset())
      fail_hdf5(path, where, "an attribute cannot be written");
  }
};

Writer::Writer(std::string path) : m_state(std::make_unique<State>())
{
  m_state->path = std::move(path);
  m_state->temporary = temporary_beside(m_state->path);
  Lock const lock;
  Id const creation(H5Pcreate(H5P_FILE_CREATE), &H5Pclose);
  H5Pset_obj_track_times(creation, false);
  // Format 1.8 and later: attributes beyond 64 KiB (an architecture may be long).
  Id const access(H5Pcreate(H5P_FILE_ACCESS), &H5Pclose);
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  m_state->file = H5Fcreate(m_state->temporary.c_str(), H5F_ACC_TRUNC, creation, access);
  if (m_state->file < 0) {
    ::unlink(m_state->temporary.c_str()); // a full disk: there is the file, and no room in it
    fail_hdf5(m_state->path, "", "cannot be written");
  }
}

Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;

void Writer::create_group(std::string const& group)
{
  Lock const lock;
  m_state->require_open();
  m_state->make_groups(group + "/");
}

template <class T>
void Writer::write(std::string const& dataset, std::vector<std::int64_t> const& extent, std::span<T const> values,
                   WriteOptions const& options)
{
  Lock const lock;
  m_state->require_open();
  std::string const& path = m_state->path;
  std::vector<hsize_t> dimensions;
  std::int64_t count = 1;
  for (auto const n : extent) {
    require(n >= 0, path, ": ", quoted(dataset), ": extent ", n, " is negative");
    count *= n;
    dimensions.push_back(static_cast<hsize_t>(n));
  }
  require(count == static_cast<std::int64_t>(values.size()), path, ": ", quoted(dataset), ": ", values.size(),
          " values for an extent of ", count);
  m_state->make_groups(dataset);
  int const rank = static_cast<int>(dimensions.size());
  Id const space(rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, dimensions.data(), nullptr), &H5Sclose);
  Id const creation(H5Pcreate(H5P_DATASET_CREATE), &H5Pclose);
  H5Pset_obj_track_times(creation, false);
  if (options.deflate > 0 && rank > 0 && count > 0) {
    // Chunks of whole rows, about 1 MiB each.
    std::vector<hsize_t> chunk = dimensions;
    auto const row_bytes = static_cast<hsize_t>(count) / dimensions[0] * sizeof(T);
    chunk[0] = std::clamp<hsize_t>((1u << 20) / row_bytes, 1, dimensions[0]);
    H5Pset_chunk(creation, rank, chunk.data());
    H5Pset_shuffle(creation);
    H5Pset_deflate(creation, static_cast<unsigned>(options.deflate));
  }
  Id id(H5Dcreate2(m_state->file, dataset.c_str(), file_type<T>(), space, H5P_DEFAULT, creation, H5P_DEFAULT),
        &H5Dclose);
  if (!id.ok()) fail_hdf5(path, dataset, "cannot be made");
  bool const written = count == 0 || H5Dwrite(id, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0;
  if (!written || !id.reset()) fail_hdf5(path, dataset, "cannot be written");
}

template void Writer::write(std::string const&, std::vector<std::int64_t> const&, std::span<float const>,
                            WriteOptions const&);
template void Writer::write(std::string const&, std::vector<std::int64_t> const&, std::span<double const>,
                            WriteOptions const&);
template void Writer::write(std::string const&, std::vector<std::int64_t> const&, std::span<std::int32_t const>,
                            WriteOptions const&);
template void Writer::write(std::string const&, std::vector<std::int64_t> const&, std::span<std::int64_t const>,
                            WriteOptions const&);
template void Writer::write(std::string const&, std::vector<std::int64_t> const&, std::span<std::uint8_t const>,
                            WriteOptions const&);

void Writer::set_attribute(std::string const& object, std::string const& name, std::string_view text)
{
  Lock const lock;
  Id const type(H5Tcopy(H5T_C_S1), &H5Tclose);
  H5Tset_size(type, text.size() + 1);
  H5Tset_cset(type, H5T_CSET_UTF8);
  std::string const terminated(text);
  m_state->write_attribute(object, name, type, type, terminated.c_str());
}

void Writer::set_attribute(std::string const& object, std::string const& name, std::int64_t value)
{
  Lock const lock;
  m_state->write_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void Writer::set_attribute(std::string const& object, std::string const& name, double value)
{
  Lock const lock;
  m_state->write_attribute(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void Writer::commit()
{
  m_state->require_open();
  try {
    Lock const lock;
    bool const flushed = H5Fflush(m_state->file, H5F_SCOPE_GLOBAL) >= 0;
    if (!flushed) fail_hdf5(m_state->path, "", "cannot be written");
    if (H5Fclose(std::exchange(m_state->file, -1)) < 0) fail_hdf5(m_state->path, "", "cannot be written");
    commit_file(m_state->temporary, m_state->path);
  } catch (...) {
    ::unlink(m_state->temporary.c_str());
    throw;
  }
}

} // namespace nasturtium::hdf5
