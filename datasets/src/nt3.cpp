// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/datasets/readers.hpp>

#include <string_view>

namespace nasturtium::datasets {
namespace {

constexpr std::int64_t most_genes = 1 << 20;

/// Reads one table into a split. `genes` 0: as many as the first row has.
void read_rows(Samples& samples, std::int64_t& genes, std::string_view text, std::string const& path)
{
  std::int64_t line = 0;
  while (!text.empty()) {
    ++line;
    auto const end = text.find('\n');
    auto row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty() && text.find_first_not_of("\r\n") == std::string_view::npos) break; // blank lines at the end
    std::int64_t column = 0;
    for (bool more = true; more; ++column) {
      auto const comma = row.find(',');
      auto const field = row.substr(0, comma);
      more = comma != std::string_view::npos;
      if (more) row.remove_prefix(comma + 1);
      auto const number = parse_double(field);
      if (column == 0) {
        require(number && (*number == 0 || *number == 1), path, ":", line, ": column 1 must be the class, 0 or 1, got ",
                quoted(field));
        samples.labels.push_back(static_cast<std::int32_t>(*number));
      } else {
        auto const value = static_cast<float>(number.value_or(std::numeric_limits<double>::quiet_NaN()));
        if (!std::isfinite(value)) {
          fail(path, ":", line, ": column ", column + 1, " must be a finite number, got ", quoted(field));
        }
        samples.values.push_back(value);
      }
    }
    if (genes == 0) {
      genes = column - 1;
      require(genes >= 1 && genes <= most_genes, path, ":", line, ": a row must have 1 to ", most_genes,
              " genes behind its class, got ", genes);
    }
    require(column == genes + 1, path, ":", line, ": ", column, " columns, but the first row has ", genes + 1);
    ++samples.count;
  }
  require(samples.count > 0, path, ": holds no rows");
}

/// Divides every gene by its largest absolute value over the training rows.
void scale(Dataset& dataset)
{
  auto const genes = static_cast<std::size_t>(dataset.width);
  std::vector<float> largest(genes, 0.0f);
  for (std::size_t i = 0; i < dataset.train.values.size(); ++i)
    largest[i % genes] = std::max(largest[i % genes], std::abs(dataset.train.values[i]));
  for (auto* const samples : {&dataset.train, &dataset.test}) {
    for (std::size_t i = 0; i < samples->values.size(); ++i)
      if (largest[i % genes] > 0) samples->values[i] /= largest[i % genes];
  }
}

} // namespace

Dataset read_nt3(std::string const& train, std::string const& test)
{
  Dataset dataset;
  dataset.name = "nt3:" + train;
  dataset.classes = 2;
  std::int64_t genes = 0;
  Sha256 hash;
  auto const read = [&](Samples& samples, std::string const& path) {
    std::string const text = read_content(path);
    hash.update(text);
    read_rows(samples, genes, text, path);
  };
  read(dataset.train, train);
  if (!test.empty()) read(dataset.test, test);
  dataset.width = static_cast<int>(genes);
  scale(dataset);
  // A tiny divisor may have made a value of the test rows infinite.
  impl::check_finite(dataset.test.values, genes, test, "a gene, scaled as the training rows,");
  dataset.checksum = hash.hex();
  measure_normalisation(dataset);
  return dataset;
}

} // namespace nasturtium::datasets
