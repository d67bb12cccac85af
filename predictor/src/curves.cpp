// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/predictor/curves.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace nasturtium::predictor {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t size_limit = std::int64_t{1} << 30; // of a file's text

// Curves by id while their rows come in any order.
class Builder
{
public:
  explicit Builder(std::string source) { m_set.source = std::move(source); }

  /// `where` starts messages; `value` may be anything.
  void add(std::string const& where, std::string const& id, double epoch, double value, Covariates const& covariates,
           double seconds)
  {
    require(!id.empty(), where, ": the id is empty");
    auto const [found, fresh] = m_index.try_emplace(id, m_set.curves.size());
    if (fresh) {
      m_set.curves.emplace_back().id = id;
      m_last_epoch.push_back(-std::numeric_limits<double>::infinity());
    }
    auto& curve = m_set.curves[found->second];
    auto& last = m_last_epoch[found->second];
    require(std::isfinite(epoch) && epoch > 0, where, ": epoch ", shortest(epoch), " of curve ", quoted(id),
            " is not > 0");
    require(epoch > last, where, ": epoch ", shortest(epoch), " of curve ", quoted(id), " does not follow epoch ",
            shortest(last));
    last = epoch;
    if (curve.failed) return; // nothing counts after a divergence
    if (!std::isfinite(value)) {
      curve.failed = true;
      return;
    }
    curve.epochs.push_back(epoch);
    curve.values.push_back(value);
    curve.covariates.push_back(covariates);
    curve.seconds.push_back(seconds);
  }

  CurveSet take() { return std::move(m_set); }

private:
  CurveSet m_set;
  std::unordered_map<std::string, std::size_t> m_index;
  std::vector<double> m_last_epoch;
};

// An optional number of a field: empty is "not known"; throws for text.
double optional_number(CsvReader const& reader, std::size_t column)
{
  auto const& text = reader.fields()[column];
  if (text.empty()) return nan;
  auto const number = parse_double(text);
  require(number.has_value(), reader.where(column), ": ", quoted(text), " is not a number");
  return *number;
}

std::optional<std::size_t> find_column(CsvReader const& reader, std::string_view name)
{
  auto const& header = reader.header();
  auto const found = std::find(header.begin(), header.end(), name);
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

CurveSet parse_csv(std::string const& text, std::string const& source)
{
  CsvReader reader(text, source);
  Builder builder(source);
  auto const id = reader.column("id"), epoch = reader.column("epoch"), value = reader.column("value");
  auto const learning_rate = find_column(reader, "learning_rate"), train_loss = find_column(reader, "train_loss"),
             train_accuracy = find_column(reader, "train_accuracy"),
             validation_loss = find_column(reader, "validation_loss"), seconds = find_column(reader, "seconds"),
             validation_seconds = find_column(reader, "validation_seconds");
  auto const optional = [&](std::optional<std::size_t> column) {
    return column ? optional_number(reader, *column) : nan;
  };
  while (reader.next()) {
    double const at = reader.number(epoch);
    if (reader.fields()[value].empty()) continue; // not measured
    builder.add(concat(source, ":", reader.line()), reader.fields()[id], at, optional_number(reader, value),
                {optional(learning_rate), optional(train_loss), optional(train_accuracy), optional(validation_loss)},
                optional(seconds) + (validation_seconds ? optional(validation_seconds) : 0));
  }
  return builder.take();
}

CurveSet parse_jsonl(std::string const& text, std::string const& source)
{
  Builder builder(source);
  std::size_t position = 0;
  std::int64_t line = 0;
  while (position < text.size()) {
    ++line;
    std::size_t const end = std::min(text.find('\n', position), text.size());
    std::string_view row = std::string_view(text).substr(position, end - position);
    position = end + 1;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::string const where = concat(source, ":", line);
    auto const value = json::parse(row, where);
    json::Reader reader(value, where);
    auto const& id_value = reader.value("id");
    std::string const id = id_value.is_string() ? json::to_string(id_value, reader.what("id"))
                                                : std::to_string(json::to_integer(id_value, reader.what("id")));
    double const epoch = json::to_number(reader.value("epoch"), reader.what("epoch"));
    // What is not finite is null in JSON.
    auto const number = [&](char const* field, bool required) {
      auto const* const found = required ? &reader.value(field) : reader.find(field);
      return !found || found->is_null() ? nan : json::to_number(*found, reader.what(field));
    };
    double const measured = number("value", true);
    builder.add(where, id, epoch, measured,
                {number("learning_rate", false), number("train_loss", false), number("train_accuracy", false),
                 number("validation_loss", false)},
                number("seconds", false));
  }
  return builder.take();
}

CurveSet parse_a4nn(std::string const& text, std::string const& source)
{
  CsvReader reader(text, source);
  CurveSet set;
  set.source = source;
  auto const epoch = reader.column("epoch"), train = reader.column("train_accs"), value = reader.column("val_accs");
  auto const predictions = find_column(reader, "predictions"), converged = find_column(reader, "converged");
  std::int64_t last = -1;
  while (reader.next()) {
    auto const at = reader.integer(epoch);
    require(at >= 0, reader.where(epoch), ": ", at, " is not >= 0");
    if (set.curves.empty() || at <= last) { // a new network starts where the epoch restarts
      require(at == 0, reader.where(epoch), ": a network starts at epoch ", at, ", not 0");
      std::string const id = std::to_string(set.curves.size());
      set.curves.emplace_back().id = id;
    } else {
      require(at == last + 1, reader.where(epoch), ": epoch ", at, " follows epoch ", last);
    }
    last = at;
    auto& curve = set.curves.back();
    double const measured = optional_number(reader, value);
    if (curve.failed || !std::isfinite(measured)) {
      curve.failed = true;
      continue;
    }
    curve.epochs.push_back(static_cast<double>(at) + 1);
    curve.values.push_back(measured);
    Covariates covariates;
    covariates.train_accuracy = optional_number(reader, train);
    curve.covariates.push_back(covariates);
    if (predictions) curve.published_predictions.push_back(optional_number(reader, *predictions));
    if (converged) {
      auto const& flag = reader.fields()[*converged];
      require(flag == "True" || flag == "False", reader.where(*converged), ": ", quoted(flag),
              " is neither True nor False");
      curve.published_converged.push_back(flag == "True");
    }
  }
  return set;
}

CurveSet parse_penguin(std::string const& text, std::string const& source)
{
  CurveSet set;
  set.source = source;
  auto& curve = set.curves.emplace_back();
  // The network's name is the file's.
  curve.id = std::filesystem::path(source).filename().string();
  for (auto const* const suffix : {".gz", ".txt"})
    if (curve.id.ends_with(suffix)) curve.id.resize(curve.id.size() - std::string_view(suffix).size());
  std::size_t position = 0;
  std::int64_t line = 0;
  static constexpr std::array names{"epochs", "trainLoss", "valLoss", "valAcc"};
  while (position < text.size()) {
    ++line;
    std::size_t const end = std::min(text.find('\n', position), text.size());
    std::string_view row = std::string_view(text).substr(position, end - position);
    position = end + 1;
    std::array<std::string_view, 4> tokens;
    std::size_t count = 0, at = 0;
    while (count < tokens.size() && (at = row.find_first_not_of(" \t\r", at)) != std::string_view::npos) {
      std::size_t const stop = std::min(row.find_first_of(" \t\r", at), row.size());
      tokens[count++] = row.substr(at, stop - at);
      at = stop;
    }
    if (line == 1) {
      for (std::size_t i = 0; i < names.size(); ++i)
        require(tokens[i] == names[i], source, ":1: the header's column ", i + 1, " is ", quoted(tokens[i]), ", not ",
                quoted(names[i]));
      continue;
    }
    if (count == 0) continue;
    require(count == 4, source, ":", line, ": ", count, " columns where epochs trainLoss valLoss valAcc are expected");
    std::array<double, 4> numbers{};
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      auto const number = parse_double(tokens[i]);
      require(number.has_value(), source, ":", line, ": ", names[i], " ", quoted(tokens[i]), " is not a number");
      numbers[i] = *number;
    }
    double const last = curve.epochs.empty() ? 0 : curve.epochs.back();
    require(std::isfinite(numbers[0]) && numbers[0] > last, source, ":", line, ": epoch ", shortest(numbers[0]),
            " does not follow epoch ", shortest(last));
    if (curve.failed || !std::isfinite(numbers[3])) {
      curve.failed = true;
      continue;
    }
    curve.epochs.push_back(numbers[0]);
    curve.values.push_back(numbers[3]);
    Covariates covariates;
    covariates.train_loss = numbers[1];
    covariates.validation_loss = numbers[2];
    curve.covariates.push_back(covariates);
  }
  require(line > 0, source, ": empty");
  return set;
}

CurveSet parse_metaqnn(std::string const& text, std::string const& source)
{
  CsvReader reader(text, source);
  CurveSet set;
  set.source = source;
  set.fractions = true;
  std::vector<std::size_t> columns;
  int const first = find_column(reader, "acc_0") ? 0 : 1;
  while (auto const column = find_column(reader, concat("acc_", first + static_cast<int>(columns.size()))))
    columns.push_back(*column);
  require(!columns.empty(), source, ":1: no columns acc_0 or acc_1, acc_2, ...");
  auto const rate = find_column(reader, "lr");
  while (reader.next()) {
    auto& curve = set.curves.emplace_back();
    curve.id = std::to_string(set.curves.size() - 1); // of this one
    Covariates covariates;
    if (rate) covariates.learning_rate = optional_number(reader, *rate);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      auto const& field = reader.fields()[columns[i]];
      if (field.empty()) continue; // not measured
      double const value = optional_number(reader, columns[i]);
      if (!std::isfinite(value)) {
        curve.failed = true;
        break;
      }
      require(value >= 0 && value <= 1, reader.where(columns[i]), ": ", quoted(field), " is not in [0, 1]");
      curve.epochs.push_back(static_cast<double>(i) + 1);
      curve.values.push_back(100 * value);
      curve.covariates.push_back(covariates);
    }
  }
  return set;
}

// Which unit a file of values has; refuses a mixture.
bool are_fractions(CurveSet const& set)
{
  bool any = false, above = false;
  RecordedCurve const* suspect = nullptr;
  for (auto const& curve : set.curves) {
    if (curve.values.empty()) continue;
    auto const [low, high] = std::minmax_element(curve.values.begin(), curve.values.end());
    any = true;
    if (*high > 1)
      above = true;
    else if (*high - *low > 0.2 && !suspect) // a network at chance stays flat, even below 1 %
      suspect = &curve;
  }
  require(!above || !suspect, set.source, ": curve ", quoted(suspect ? suspect->id : ""),
          " looks like fractions, others like percent (say which with the unit)");
  return any && !above;
}

} // namespace

double CurveSet::spacing() const
{
  double least = std::numeric_limits<double>::infinity(), first = least;
  for (auto const& curve : curves) {
    if (!curve.epochs.empty()) first = std::min(first, curve.epochs.front());
    for (std::size_t i = 1; i < curve.epochs.size(); ++i)
      least = std::min(least, curve.epochs[i] - curve.epochs[i - 1]);
  }
  if (std::isfinite(least)) return least;
  return std::isfinite(first) ? first : 1;
}

double CurveSet::last_epoch() const
{
  double last = 0;
  for (auto const& curve : curves)
    if (!curve.epochs.empty()) last = std::max(last, curve.epochs.back());
  return last;
}

CurveFormat curve_format(std::string_view name)
{
  static constexpr std::array names{"csv", "jsonl", "a4nn", "penguin", "metaqnn"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return static_cast<CurveFormat>(i);
  fail("unknown format ", quoted(name), " (csv, jsonl, a4nn, penguin, metaqnn)");
}

CurveSet parse_curves(std::string const& text, std::string const& source, CurveFormat format, Unit unit)
{
  CurveSet set = format == CurveFormat::csv       ? parse_csv(text, source)
                 : format == CurveFormat::jsonl   ? parse_jsonl(text, source)
                 : format == CurveFormat::a4nn    ? parse_a4nn(text, source)
                 : format == CurveFormat::penguin ? parse_penguin(text, source)
                                                  : parse_metaqnn(text, source);
  if (format == CurveFormat::csv || format == CurveFormat::jsonl) {
    set.fractions = unit == Unit::fraction || (unit == Unit::automatic && are_fractions(set));
    if (set.fractions)
      for (auto& curve : set.curves)
        for (std::size_t i = 0; i < curve.points(); ++i) {
          require(curve.values[i] >= -1e-9 && curve.values[i] <= 1 + 1e-9, source, ": curve ", quoted(curve.id),
                  ": epoch ", shortest(curve.epochs[i]), ": the value ", shortest(curve.values[i]),
                  " is no fraction in [0, 1]");
          curve.values[i] *= 100;
          curve.covariates[i].train_accuracy *= 100;
        }
  }
  for (auto const& curve : set.curves)
    for (std::size_t i = 0; i < curve.points(); ++i)
      require(curve.values[i] >= -1e-6 && curve.values[i] <= 100 + 1e-6, source, ": curve ", quoted(curve.id),
              ": epoch ", shortest(curve.epochs[i]), ": the value ", shortest(curve.values[i]),
              " is not in percent, [0, 100]");
  return set;
}

CurveSet read_curves(std::string const& path, CurveFormat format, Unit unit)
{
  return parse_curves(read_content(path, size_limit), path, format, unit);
}

void append(CurveSet& set, CurveSet more)
{
  std::unordered_set<std::string> ids;
  for (auto const& curve : set.curves)
    ids.insert(curve.id);
  for (auto& curve : more.curves) {
    require(ids.insert(curve.id).second, more.source, ": curve ", quoted(curve.id), " is also in ", set.source);
    set.curves.push_back(std::move(curve));
  }
}

} // namespace nasturtium::predictor
