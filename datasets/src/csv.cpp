// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>

#include <map>
#include <set>

namespace nasturtium::datasets {
namespace {

struct Columns
{
  std::vector<std::string> features, targets;
  std::string label;
};

Columns choose_columns(CsvReader const& reader, CsvOptions const& options)
{
  Columns columns;
  auto const& header = reader.header();
  auto const has = [&](char const* name) { return std::find(header.begin(), header.end(), name) != header.end(); };
  columns.label = options.label;
  columns.targets = options.targets;
  if (columns.label.empty() && columns.targets.empty()) {
    if (has("label"))
      columns.label = "label";
    else if (has("target"))
      columns.targets = {"target"};
    else
      reader.column("label"); // throws with the columns that there are
  }
  if (!columns.label.empty()) reader.column(columns.label);
  for (auto const& name : columns.targets)
    reader.column(name);
  for (auto const& name : header)
    if (name != columns.label &&
        std::find(columns.targets.begin(), columns.targets.end(), name) == columns.targets.end())
      columns.features.push_back(name);
  return columns;
}

void read_table(Samples& samples, std::vector<std::string>& labels, std::vector<std::string>& places,
                std::string const& path, Columns const& columns)
{
  CsvReader reader = CsvReader::open(path);
  std::vector<std::size_t> features, targets;
  for (auto const& name : columns.features)
    features.push_back(reader.column(name));
  for (auto const& name : columns.targets)
    targets.push_back(reader.column(name));
  auto const value = [&](std::size_t column) {
    auto const number = static_cast<float>(reader.number(column));
    require(std::isfinite(number), reader.where(column), " is beyond float32, got ", quoted(reader.fields()[column]));
    return number;
  };
  while (reader.next()) {
    for (auto const column : features)
      samples.values.push_back(value(column));
    for (auto const column : targets)
      samples.targets.push_back(value(column));
    if (!columns.label.empty()) {
      auto const column = reader.column(columns.label);
      labels.push_back(reader.fields()[column]);
      places.push_back(reader.where(column));
      require(!labels.back().empty(), places.back(), " is empty");
    }
    ++samples.count;
  }
  require(samples.count > 0, path, ": holds no rows");
}

std::vector<std::string> sorted_classes(std::vector<std::string> const& labels)
{
  std::set<std::string> const distinct(labels.begin(), labels.end());
  std::vector<std::string> classes(distinct.begin(), distinct.end());
  if (std::all_of(classes.begin(), classes.end(), [](auto const& text) { return parse_integer(text).has_value(); }))
    std::stable_sort(classes.begin(), classes.end(),
                     [](auto const& a, auto const& b) { return *parse_integer(a) < *parse_integer(b); });
  return classes;
}

} // namespace

Dataset read_csv(std::string const& path, CsvOptions const& options)
{
  require(options.label.empty() || options.targets.empty(), path,
          ": a table has a label column or target columns, not both");
  Dataset dataset;
  dataset.name = "csv:" + path;
  Columns const columns = choose_columns(CsvReader::open(path), options);
  auto const feature_count = static_cast<std::int64_t>(columns.features.size());
  require(feature_count > 0, path, ": no column is left for features");
  dataset.channels = static_cast<int>(feature_count);
  if (options.shape != std::array<int, 3>{}) {
    auto const [height, width, channels] = options.shape;
    require(height > 0 && width > 0 && channels > 0 && std::int64_t{height} * width * channels == feature_count, path,
            ": shape ", height, "x", width, "x", channels, " does not fit ", feature_count, " feature columns");
    dataset.height = height;
    dataset.width = width;
    dataset.channels = channels;
  }
  std::vector<std::string> labels, places;
  read_table(dataset.train, labels, places, path, columns);
  std::size_t const train_rows = labels.size();
  if (!options.test.empty()) read_table(dataset.test, labels, places, options.test, columns);
  dataset.target_width = static_cast<int>(columns.targets.size());
  if (!columns.label.empty()) {
    dataset.class_names = sorted_classes({labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(train_rows)});
    dataset.classes = static_cast<int>(dataset.class_names.size());
    require(dataset.classes >= 2, path, ": column ", quoted(columns.label), " has one class only, ",
            quoted(labels.front()));
    std::map<std::string, std::int32_t> number;
    for (std::size_t i = 0; i < dataset.class_names.size(); ++i)
      number[dataset.class_names[i]] = static_cast<std::int32_t>(i);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      auto const found = number.find(labels[i]);
      require(found != number.end(), places[i], " holds a label that the training table lacks, ", quoted(labels[i]));
      (i < train_rows ? dataset.train : dataset.test).labels.push_back(found->second);
    }
  }
  Sha256 hash;
  hash.update(read_content(path));
  if (!options.test.empty()) hash.update(read_content(options.test));
  dataset.checksum = hash.hex();
  measure_normalisation(dataset);
  return dataset;
}

} // namespace nasturtium::datasets
