// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON on top of Boost.JSON: text and files in, with errors that name source, line and column; a strict reader of
// objects; a stable writer.
#pragma once

#include <boost/json.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

/// The one JSON value in `text`; `source` names it in errors ("SOURCE:LINE:COLUMN: ..."). Nesting is limited to 64
/// levels.
Value parse(std::string_view text, std::string const& source);
Value parse_file(std::string const& path);

/// Two spaces a level, fields in their order, arrays of numbers on one line, doubles shortest round-trip with a mark of
/// being one ("1.0"), "\n" at the end. JSON has no non-finite numbers: they are written as null.
std::string pretty(Value const& value);
/// The same on one line without blanks and without "\n": a line of a journal.
std::string compact(Value const& value);

/// Bounds of a number; open bounds are excluded.
struct Range
{
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  bool contains(double value) const;
  std::string text() const; ///< "in [0, 1)", ">= 0", "> 0", "finite"
};
inline Range between(double low, double high)
{
  return {low, high, false, false};
} ///< [low, high]
inline Range half_open(double low, double high)
{
  return {low, high, false, true};
} ///< [low, high)
inline Range at_least(double low)
{
  return {.low = low};
} ///< [low, inf)
inline Range above(double low)
{
  return {.low = low, .low_open = true};
} ///< (low, inf)

// A value as a type, or an Error that starts with `what` ("lenet.json: node 'c1': field 'filters'").
// An integral double (3.0, 1e3) is an integer; no number is ever infinite or NaN.
std::int64_t to_integer(Value const& value, std::string const& what,
                        std::int64_t low = std::numeric_limits<std::int64_t>::min(),
                        std::int64_t high = std::numeric_limits<std::int64_t>::max());
double to_number(Value const& value, std::string const& what, Range const& range = {});
bool to_boolean(Value const& value, std::string const& what);
std::string to_string(Value const& value, std::string const& what);
Array const& to_array(Value const& value, std::string const& what);
Object const& to_object(Value const& value, std::string const& what);

/// Reads an object field by field and refuses what nobody asked for. Keeps a reference to the object.
///   Reader reader(value, "lenet.json: node 'c1'");
///   auto const filters = reader.integer("filters", 1, 1048576);
///   auto const bias = reader.boolean("bias", true);
///   reader.finish(); // Error for a field that was not asked for
/// Functions with a last argument `fallback` take it where the field is absent; the others throw.
class Reader
{
public:
  Reader(Value const& value, std::string where);
  Reader(Value&& value, std::string where) = delete;

  std::string const& where() const { return m_where; }
  /// A better name for the object, once it is known (the node's id).
  void set_where(std::string where) { m_where = std::move(where); }
  /// "WHERE: field 'NAME'"
  std::string what(std::string_view field) const;

  bool has(std::string_view field) const; ///< does not count as asking for it
  Value const& value(std::string_view field);
  Value const* find(std::string_view field); ///< null where absent

  std::int64_t integer(std::string_view field, std::int64_t low, std::int64_t high);
  std::int64_t integer(std::string_view field, std::int64_t low, std::int64_t high, std::int64_t fallback);
  std::uint64_t seed(std::string_view field); ///< any unsigned 64-bit integer
  std::uint64_t seed(std::string_view field, std::uint64_t fallback);
  double number(std::string_view field, Range const& range);
  double number(std::string_view field, Range const& range, double fallback);
  bool boolean(std::string_view field);
  bool boolean(std::string_view field, bool fallback);
  std::string string(std::string_view field);
  std::string string(std::string_view field, std::string fallback);
  /// The position in `names` of the field's string.
  std::size_t choice(std::string_view field, std::vector<std::string> const& names);
  std::size_t choice(std::string_view field, std::vector<std::string> const& names, std::size_t fallback);
  Array const& array(std::string_view field);
  Reader object(std::string_view field); ///< named "WHERE: 'FIELD'"

  /// Throws for the first field that was never asked for.
  void finish() const;

private:
  Object const* m_object;
  std::string m_where;
  std::vector<std::string> m_known;
};

/// Checks the two fields that every format of the project starts with: {"format": "...", "version": n}.
void check_format(Reader& reader, std::string const& format, std::int64_t version);

/// Where two documents differ first, with both values ("'data.validation' is 0.2, was 0.1"); empty where they are
/// equal.
std::string first_difference(Value const& now, Value const& before);

} // namespace nasturtium::json
