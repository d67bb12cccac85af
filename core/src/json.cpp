// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace nasturtium::json {
namespace {

std::string shown(Value const& value)
{
  return value.is_string() ? quoted(value.get_string()) : quoted(compact(value));
}

bool is_number_array(Array const& array)
{
  return std::all_of(array.begin(), array.end(), [](Value const& v) { return v.is_number(); });
}

void write_string(std::string& out, std::string_view text)
{
  out += '"';
  for (char const c : text) {
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      if (static_cast<unsigned char>(c) < 0x20) {
        out += "\\u00";
        out += "0123456789abcdef"[c >> 4];
        out += "0123456789abcdef"[c & 15];
      } else {
        out += c;
      }
    }
  }
  out += '"';
}

void write_double(std::string& out, double value)
{
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  std::string const text = shortest(value);
  out += text;
  if (text.find_first_of(".e") == std::string::npos) out += ".0";
}

// indent < 0: compact
void write(std::string& out, Value const& value, int indent)
{
  bool const loose = indent >= 0;
  auto const line_break = [&](int levels) {
    if (!loose) return;
    out += '\n';
    out.append(std::size_t{2} * static_cast<std::size_t>(indent + levels), ' ');
  };
  auto const inner = loose ? indent + 1 : indent;
  switch (value.kind()) {
  case boost::json::kind::null:
    out += "null";
    break;
  case boost::json::kind::bool_:
    out += value.get_bool() ? "true" : "false";
    break;
  case boost::json::kind::int64:
    out += std::to_string(value.get_int64());
    break;
  case boost::json::kind::uint64:
    out += std::to_string(value.get_uint64());
    break;
  case boost::json::kind::double_:
    write_double(out, value.get_double());
    break;
  case boost::json::kind::string:
    write_string(out, value.get_string());
    break;
  case boost::json::kind::array: {
    auto const& array = value.get_array();
    bool const one_line = !loose || is_number_array(array);
    out += '[';
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i > 0) out += loose && one_line ? ", " : ",";
      if (!one_line) line_break(1);
      write(out, array[i], inner);
    }
    if (!one_line) line_break(0);
    out += ']';
    break;
  }
  case boost::json::kind::object: {
    auto const& object = value.get_object();
    out += '{';
    bool first = true;
    for (auto const& member : object) {
      if (!first) out += ',';
      first = false;
      line_break(1);
      write_string(out, member.key());
      out += loose ? ": " : ":";
      write(out, member.value(), inner);
    }
    if (!first) line_break(0);
    out += '}';
    break;
  }
  }
}

[[noreturn]] void fail_at(std::string const& source, std::string_view text, std::size_t position,
                          std::string const& what)
{
  auto const before = text.substr(0, std::min(position, text.size()));
  auto const line = 1 + std::count(before.begin(), before.end(), '\n');
  auto const column = before.size() - (before.rfind('\n') + 1) + 1; // npos + 1 == 0
  fail(source, ":", line, ":", column, ": ", what);
}

// The library lets the later of two fields with one name win. `text` is known to be JSON.
void refuse_duplicates(std::string_view text, std::string const& source)
{
  std::vector<std::set<std::string>> open;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') open.emplace_back();
    if (text[i] == '}') open.pop_back();
    if (text[i] != '"') continue;
    std::size_t const begin = i++;
    while (text[i] != '"')
      i += text[i] == '\\' ? 2 : 1;
    auto const next = text.find_first_not_of(" \t\r\n", i + 1);
    if (next == std::string_view::npos || text[next] != ':') continue;
    auto const literal = text.substr(begin, i + 1 - begin);
    std::string const name(boost::json::parse({literal.data(), literal.size()}).get_string());
    if (!open.back().insert(name).second) fail_at(source, text, begin, "field " + quoted(name) + " is given twice");
  }
}

} // namespace

Value parse(std::string_view text, std::string const& source)
{
  boost::json::parse_options options;
  options.numbers = boost::json::number_precision::precise;
  options.max_depth = 64;
  boost::json::stream_parser parser({}, options);
  boost::json::error_code error;
  std::size_t const consumed = parser.write_some(text.data(), text.size(), error);
  std::size_t position = consumed;
  if (!error && consumed < text.size()) {
    position = text.find_first_not_of(" \t\r\n", consumed);
    if (position != std::string_view::npos) error = boost::json::error::extra_data;
  }
  if (!error) {
    position = text.size();
    parser.finish(error);
  }
  if (error) fail_at(source, text, position, "not JSON: " + error.message());
  refuse_duplicates(text, source);
  return parser.release();
}

Value parse_file(std::string const& path)
{
  return parse(read_file(path), path);
}

std::string pretty(Value const& value)
{
  std::string text;
  write(text, value, 0);
  return text + "\n";
}

std::string compact(Value const& value)
{
  std::string text;
  write(text, value, -1);
  return text;
}

bool Range::contains(double value) const
{
  return std::isfinite(value) && (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
}

std::string Range::text() const
{
  bool const has_low = std::isfinite(low), has_high = std::isfinite(high);
  if (has_low && has_high)
    return concat("in ", low_open ? "(" : "[", shortest(low), ", ", shortest(high), high_open ? ")" : "]");
  if (has_low) return concat(low_open ? "> " : ">= ", shortest(low));
  if (has_high) return concat(high_open ? "< " : "<= ", shortest(high));
  return "finite";
}

std::int64_t to_integer(Value const& value, std::string const& what, std::int64_t low, std::int64_t high)
{
  bool integral = false;
  std::int64_t result = 0;
  if (value.is_int64()) {
    result = value.get_int64();
    integral = true;
  } else if (value.is_double()) {
    double const number = value.get_double();
    integral = std::trunc(number) == number && std::abs(number) < 0x1p53;
    if (integral) result = static_cast<std::int64_t>(number);
  }
  if (integral && result >= low && result <= high) return result;
  bool const lower = low != std::numeric_limits<std::int64_t>::min();
  bool const upper = high != std::numeric_limits<std::int64_t>::max();
  std::string const range = lower && upper ? concat(" in [", low, ", ", high, "]")
                            : lower        ? concat(" >= ", low)
                            : upper        ? concat(" <= ", high)
                                           : "";
  fail(what, " must be an integer", range, ", got ", compact(value).substr(0, 60));
}

double to_number(Value const& value, std::string const& what, Range const& range)
{
  double const number = value.is_double()   ? value.get_double()
                        : value.is_int64()  ? static_cast<double>(value.get_int64())
                        : value.is_uint64() ? static_cast<double>(value.get_uint64())
                                            : std::numeric_limits<double>::quiet_NaN();
  if (range.contains(number)) return number;
  bool const plain = range.text() == "finite";
  fail(what, " must be a", plain ? " finite number" : concat(" number ", range.text()), ", got ",
       value.is_double() ? shortest(number) : compact(value).substr(0, 60));
}

// The text of an error is made where there is one: compact() of a whole document takes its time.
bool to_boolean(Value const& value, std::string const& what)
{
  if (!value.is_bool()) fail(what, " must be true or false, got ", compact(value).substr(0, 60));
  return value.get_bool();
}

std::string to_string(Value const& value, std::string const& what)
{
  if (!value.is_string()) fail(what, " must be a string, got ", compact(value).substr(0, 60));
  return std::string(value.get_string());
}

Array const& to_array(Value const& value, std::string const& what)
{
  if (!value.is_array()) fail(what, " must be an array, got ", compact(value).substr(0, 60));
  return value.get_array();
}

Object const& to_object(Value const& value, std::string const& what)
{
  if (!value.is_object()) fail(what, " must be an object, got ", compact(value).substr(0, 60));
  return value.get_object();
}

Reader::Reader(Value const& value, std::string where) : m_object(&to_object(value, where)), m_where(std::move(where))
{
}

std::string Reader::what(std::string_view field) const
{
  return concat(m_where, ": field '", field, "'");
}

bool Reader::has(std::string_view field) const
{
  return m_object->contains(field);
}

Value const* Reader::find(std::string_view field)
{
  if (std::find(m_known.begin(), m_known.end(), field) == m_known.end()) m_known.emplace_back(field);
  return m_object->if_contains(field);
}

Value const& Reader::value(std::string_view field)
{
  auto const* const value = find(field);
  if (value == nullptr) fail(what(field), " is missing");
  return *value;
}

std::int64_t Reader::integer(std::string_view field, std::int64_t low, std::int64_t high)
{
  return to_integer(value(field), what(field), low, high);
}

std::int64_t Reader::integer(std::string_view field, std::int64_t low, std::int64_t high, std::int64_t fallback)
{
  auto const* const found = find(field);
  return found ? to_integer(*found, what(field), low, high) : fallback;
}

std::uint64_t Reader::seed(std::string_view field)
{
  auto const& found = value(field);
  if (found.is_uint64()) return found.get_uint64();
  return static_cast<std::uint64_t>(to_integer(found, what(field), 0));
}

std::uint64_t Reader::seed(std::string_view field, std::uint64_t fallback)
{
  return find(field) ? seed(field) : fallback;
}

double Reader::number(std::string_view field, Range const& range)
{
  return to_number(value(field), what(field), range);
}

double Reader::number(std::string_view field, Range const& range, double fallback)
{
  auto const* const found = find(field);
  return found ? to_number(*found, what(field), range) : fallback;
}

bool Reader::boolean(std::string_view field)
{
  return to_boolean(value(field), what(field));
}

bool Reader::boolean(std::string_view field, bool fallback)
{
  auto const* const found = find(field);
  return found ? to_boolean(*found, what(field)) : fallback;
}

std::string Reader::string(std::string_view field)
{
  return to_string(value(field), what(field));
}

std::string Reader::string(std::string_view field, std::string fallback)
{
  auto const* const found = find(field);
  return found ? to_string(*found, what(field)) : std::move(fallback);
}

std::size_t Reader::choice(std::string_view field, std::vector<std::string> const& names)
{
  auto const& found = value(field);
  auto const position =
      found.is_string() ? std::find(names.begin(), names.end(), std::string_view(found.get_string())) : names.end();
  if (position != names.end()) return static_cast<std::size_t>(position - names.begin());
  std::string all;
  for (auto const& name : names)
    all += (all.empty() ? "" : ", ") + name;
  fail(what(field), " must be one of ", all, ", got ", shown(found));
}

std::size_t Reader::choice(std::string_view field, std::vector<std::string> const& names, std::size_t fallback)
{
  return find(field) ? choice(field, names) : fallback;
}

Array const& Reader::array(std::string_view field)
{
  return to_array(value(field), what(field));
}

Reader Reader::object(std::string_view field)
{
  auto const& found = value(field);
  to_object(found, what(field));
  return Reader(found, concat(m_where, ": '", field, "'"));
}

void Reader::finish() const
{
  for (auto const& member : *m_object) {
    if (std::find(m_known.begin(), m_known.end(), std::string_view(member.key())) != m_known.end()) continue;
    std::string all;
    for (auto const& name : m_known)
      all += (all.empty() ? "" : ", ") + name;
    fail(m_where, ": unknown field ", quoted(member.key()), all.empty() ? "" : concat(" (known: ", all, ")"));
  }
}

void check_format(Reader& reader, std::string const& format, std::int64_t version)
{
  std::string const found = reader.string("format");
  require(found == format, reader.what("format"), " must be '", format, "', got ", quoted(found));
  auto const number = reader.integer("version", 1, std::numeric_limits<std::int32_t>::max());
  require(number == version, reader.what("version"), " must be ", version, ", got ", number);
}

namespace {

std::string difference(Value const* now, Value const* before, std::string const& path)
{
  if (now && before) {
    if (*now == *before) return {};
    if (now->is_object() && before->is_object()) {
      auto const inside = [&](std::string_view key) {
        return path.empty() ? std::string(key) : path + "." + std::string(key);
      };
      for (auto const& [key, value] : before->get_object())
        if (auto found = difference(now->get_object().if_contains(key), &value, inside(key)); !found.empty())
          return found;
      for (auto const& [key, value] : now->get_object())
        if (!before->get_object().contains(key)) return difference(&value, nullptr, inside(key));
      return {};
    }
    if (now->is_array() && before->is_array() && now->get_array().size() == before->get_array().size()) {
      for (std::size_t i = 0; i < now->get_array().size(); ++i)
        if (auto found = difference(&now->get_array()[i], &before->get_array()[i], concat(path, "[", i, "]"));
            !found.empty())
          return found;
    }
  }
  return concat("'", path, "' is ", now ? shown(*now) : "missing", ", was ", before ? shown(*before) : "missing");
}

} // namespace

std::string first_difference(Value const& now, Value const& before)
{
  return difference(&now, &before, "");
}

} // namespace nasturtium::json
