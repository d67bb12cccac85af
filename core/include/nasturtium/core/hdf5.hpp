// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// HDF5 files: numeric data sets with extents, groups and attributes. Calls are serialised; HDF5's own messages are off,
// its innermost one is part of the Error, which names file and object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::hdf5 {

enum class ElementType { float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, text, other };
std::string name(ElementType type);
bool is_integer(ElementType type);
bool is_float(ElementType type);

struct DatasetInfo
{
  ElementType type = ElementType::other;
  std::vector<std::int64_t> extent; ///< empty for a scalar

  std::int64_t count() const;
};

template <class T>
struct Array
{
  std::vector<std::int64_t> extent;
  std::vector<T> values; ///< row-major
};

/// A file to read. Object names are paths ("/weights/c1/kernel"); T is one of float, double, std::int32_t,
/// std::int64_t, std::uint8_t.
class Reader
{
public:
  explicit Reader(std::string path);
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  std::string const& path() const;
  bool has(std::string const& object) const;
  bool is_group(std::string const& object) const;
  /// Names of a group's members, sorted.
  std::vector<std::string> children(std::string const& group) const;
  DatasetInfo info(std::string const& dataset) const;
  /// All of a data set, converted by HDF5. An integer T takes only integers that fit (others throw); a data set that
  /// claims more than the file can hold throws before anything is allocated.
  template <class T>
  Array<T> read(std::string const& dataset) const;

  bool has_attribute(std::string const& object, std::string const& name) const;
  std::string string_attribute(std::string const& object, std::string const& name) const;
  std::int64_t integer_attribute(std::string const& object, std::string const& name) const;
  double number_attribute(std::string const& object, std::string const& name) const;

private:
  struct State;
  std::unique_ptr<State> m_state;
};

struct WriteOptions
{
  int deflate = 0; ///< compression level 1 to 9 with byte shuffling; 0: none
};

/// A file to write; it appears under its name with commit(), complete or not at all. Groups on the way to an object are
/// made. The same content gives the same bytes.
class Writer
{
public:
  explicit Writer(std::string path);
  ~Writer(); ///< without commit: removes what was written
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;

  void create_group(std::string const& group);
  /// An empty extent makes a scalar.
  template <class T>
  void write(std::string const& dataset, std::vector<std::int64_t> const& extent, std::span<T const> values,
             WriteOptions const& options = {});
  template <class T>
  void write(std::string const& dataset, std::vector<std::int64_t> const& extent, std::vector<T> const& values,
             WriteOptions const& options = {})
  {
    write(dataset, extent, std::span<T const>(values), options);
  }
  void set_attribute(std::string const& object, std::string const& name, std::string_view text);
  void set_attribute(std::string const& object, std::string const& name, char const* text)
  {
    set_attribute(object, name, std::string_view(text));
  }
  void set_attribute(std::string const& object, std::string const& name, std::int64_t value);
  void set_attribute(std::string const& object, std::string const& name, int value)
  {
    set_attribute(object, name, std::int64_t{value});
  }
  void set_attribute(std::string const& object, std::string const& name, double value);
  void commit();

private:
  struct State;
  std::unique_ptr<State> m_state;
};

} // namespace nasturtium::hdf5
