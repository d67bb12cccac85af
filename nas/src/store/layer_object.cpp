// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/layer_object.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace nasturtium::nas::impl {

namespace {

static_assert(std::endian::native == std::endian::little, "objects are little endian, and written as they lie");

constexpr char const* format = "nasturtium-layer";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t most_values = std::int64_t{1} << 30; // of a parameter, as architectures have it
constexpr std::size_t most_header = 1 << 16;

bool fits_float32(std::vector<double> const& values)
{
  std::uint64_t difference = 0;
  for (double const value : values)
    difference |= std::bit_cast<std::uint64_t>(value) ^ std::bit_cast<std::uint64_t>(double{static_cast<float>(value)});
  return difference == 0;
}

std::string header_of(std::string const& type, LayerTensors const& tensors, bool float64)
{
  json::Object header;
  header["format"] = format;
  header["version"] = format_version;
  header["type"] = type;
  header["element"] = float64 ? "float64" : "float32";
  json::Array list;
  for (auto const& [name, tensor] : tensors) {
    json::Array extent(tensor->extent.begin(), tensor->extent.end());
    list.push_back({{"name", name}, {"extent", std::move(extent)}});
  }
  header["tensors"] = std::move(list);
  std::string text = json::compact(header);
  text.resize((text.size() + 64) / 64 * 64, ' '); // values are aligned in the file
  text.back() = '\n';
  return text;
}

/// The next `count` elements, which may lie anywhere.
template <class T>
std::vector<double> read_values(char const*& from, std::size_t count)
{
  std::vector<double> values;
  values.reserve(count);
  std::array<T, 1024> some;
  while (values.size() < count) {
    std::size_t const n = std::min(some.size(), count - values.size());
    std::memcpy(some.data(), from, n * sizeof(T));
    values.insert(values.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
    from += n * sizeof(T);
  }
  return values;
}

} // namespace

Bytes allocate(std::size_t size)
{
  return {std::make_unique_for_overwrite<char[]>(size), size};
}

LayerObject encode_layer(std::string const& type, LayerTensors const& tensors)
{
  LayerObject object;
  std::size_t count = 0;
  for (auto const& [name, tensor] : tensors) {
    object.float64 = object.float64 || !fits_float32(tensor->values);
    count += tensor->values.size();
  }
  std::string const header = header_of(type, tensors, object.float64);
  object.bytes = allocate(header.size() + count * (object.float64 ? sizeof(double) : sizeof(float)));
  char* to = std::copy(header.begin(), header.end(), object.bytes.data.get());
  for (auto const& [name, tensor] : tensors)
    if (object.float64) {
      if (!tensor->values.empty()) std::memcpy(to, tensor->values.data(), tensor->values.size() * sizeof(double));
      to += tensor->values.size() * sizeof(double);
    } else {
      for (double const value : tensor->values) {
        auto const element = static_cast<float>(value);
        std::memcpy(to, &element, sizeof element);
        to += sizeof element;
      }
    }
  return object;
}

std::string object_name(std::string_view bytes)
{
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes.data(), bytes.size()));
  std::string text;
  for (unsigned char const byte : digest.digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

bool is_object_name(std::string_view name)
{
  return name.size() == 32 && name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void check_object(std::string_view bytes, std::string const& name, std::string const& path)
{
  std::string const hash = object_name(bytes);
  require(hash == name, path, ": is damaged: the hash of its ", bytes.size(), " bytes is ", hash, ", not ", name);
}

void decode_layer(std::string_view bytes, std::string const& node, std::string const& type, std::string const& path,
                  nn::Weights& weights)
{
  auto const header_size = bytes.substr(0, most_header).find('\n');
  require(header_size != std::string_view::npos, path, ": has no header");
  json::Value const header = json::parse(bytes.substr(0, header_size), path);
  json::Reader reader(header, path);
  json::check_format(reader, format, format_version);
  std::string const stored_type = reader.string("type");
  require(stored_type == type, reader.what("type"), " must be ", quoted(type), ", got ", quoted(stored_type));
  bool const float64 = reader.choice("element", {"float32", "float64"}) == 1;
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors;
  std::int64_t values = 0;
  for (auto const& entry : reader.array("tensors")) {
    json::Reader tensor(entry, concat(path, ": 'tensors'[", tensors.size(), "]"));
    std::string name = tensor.string("name");
    std::vector<std::int64_t> extent;
    std::int64_t count = 1;
    for (auto const& e : tensor.array("extent")) {
      extent.push_back(json::to_integer(e, tensor.what("extent"), 0, most_values));
      count *= extent.back();
      require(count <= most_values, tensor.what("extent"), " has more than ", most_values, " values");
    }
    tensor.finish();
    values += count;
    require(values <= most_values * 8, path, ": has too many values");
    tensors.emplace_back(std::move(name), std::move(extent));
  }
  reader.finish();
  std::int64_t const expected = values * (float64 ? 8 : 4);
  auto const found = static_cast<std::int64_t>(bytes.size() - header_size - 1);
  require(found == expected, path, ": has ", found, " bytes of values, its header asks for ", expected);
  char const* from = bytes.data() + header_size + 1;
  for (auto& [name, extent] : tensors) {
    std::int64_t count = 1;
    for (std::int64_t const e : extent)
      count *= e;
    auto const size = static_cast<std::size_t>(count);
    auto values = float64 ? read_values<double>(from, size) : read_values<float>(from, size);
    weights[{node, name}] = {std::move(extent), std::move(values)};
  }
}

} // namespace nasturtium::nas::impl
