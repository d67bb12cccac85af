// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>

#include <array>

namespace nasturtium::datasets {
namespace {

constexpr std::size_t pixels = 32 * 32;

struct Format
{
  std::size_t label_bytes; // of a record
  std::size_t label_at;
  std::array<int, 2> classes; // per label byte
};

void read_records(Samples& samples, std::string const& path, Format const& format, Sha256& hash)
{
  InputFile file(path);
  file.hash_into(&hash);
  std::size_t const record_size = format.label_bytes + 3 * pixels;
  std::vector<std::uint8_t> record(record_size);
  if (!file.compressed()) {
    auto const records = static_cast<std::size_t>(file.most_remaining()) / record_size;
    samples.bytes.reserve(samples.bytes.size() + records * 3 * pixels);
  }
  for (std::int64_t i = 0;; ++i) {
    std::size_t const n = file.read(record.data(), record_size);
    if (n == 0) {
      require(i > 0, path, ": is empty");
      return;
    }
    require(n == record_size, path, ": ends within record ", i, " (", n, " of ", record_size, " bytes)");
    for (std::size_t b = 0; b < format.label_bytes; ++b)
      require(record[b] < format.classes[b], path, ": ",
              format.label_bytes == 1 ? ""
              : b == 0                ? "coarse "
                                      : "fine ",
              "label ", int{record[b]}, " of record ", i, " is out of range [0, ", format.classes[b] - 1, "]");
    samples.labels.push_back(record[format.label_at]);
    // Planar RGB to NHWC.
    std::size_t const start = samples.bytes.size();
    samples.bytes.resize(start + 3 * pixels);
    std::uint8_t const* const planes = record.data() + format.label_bytes;
    std::uint8_t* const image = samples.bytes.data() + start;
    for (std::size_t p = 0; p < pixels; ++p)
      for (std::size_t c = 0; c < 3; ++c)
        image[3 * p + c] = planes[c * pixels + p];
    ++samples.count;
  }
}

Dataset read(std::string name, int classes, std::vector<std::string> const& train, std::vector<std::string> const& test,
             Format const& format)
{
  require(!train.empty(), name, ": no training file given");
  Dataset dataset;
  dataset.name = std::move(name);
  dataset.height = dataset.width = 32;
  dataset.channels = 3;
  dataset.classes = classes;
  Sha256 hash;
  for (auto const& path : train)
    read_records(dataset.train, path, format, hash);
  for (auto const& path : test)
    read_records(dataset.test, path, format, hash);
  dataset.checksum = hash.hex();
  measure_normalisation(dataset);
  return dataset;
}

} // namespace

Dataset read_cifar10(std::vector<std::string> const& train, std::vector<std::string> const& test)
{
  Dataset dataset = read("cifar10", 10, train, test, {1, 0, {10, 0}});
  dataset.class_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  return dataset;
}

Dataset read_cifar100(std::vector<std::string> const& train, std::vector<std::string> const& test,
                      Cifar100Labels labels)
{
  bool const fine = labels == Cifar100Labels::fine;
  return read(fine ? "cifar100" : "cifar100-coarse", fine ? 100 : 20, train, test, {2, fine ? 1u : 0u, {20, 100}});
}

} // namespace nasturtium::datasets
