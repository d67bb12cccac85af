// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>

#include <array>
#include <cstdio>

namespace nasturtium::datasets {
namespace {

// Extents of an IDX file of unsigned bytes with a rank in [low, high].
std::vector<std::int64_t> read_header(InputFile& file, int low, int high, char const* what)
{
  std::array<std::uint8_t, 4> magic{};
  std::size_t const n = file.read(magic.data(), magic.size());
  require(n > 0, file.path(), ": is empty");
  require(n == 4, file.path(), ": ends within the magic number");
  int const rank = magic[3];
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || rank < low || rank > high) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "0x%02x%02x%02x%02x, expected 0x0000080%d", magic[0], magic[1], magic[2],
                  magic[3], low);
    fail(file.path(), ": wrong magic number of IDX ", what, ": ", text.data());
  }
  std::vector<std::int64_t> extent;
  double size = 1;
  for (int i = 0; i < rank; ++i) {
    std::array<std::uint8_t, 4> word{};
    file.read_exactly(word.data(), word.size(), "the header");
    extent.push_back(std::int64_t{word[0]} << 24 | word[1] << 16 | word[2] << 8 | word[3]);
    require(extent.back() > 0, file.path(), ": extent ", i, " of the ", what, " is 0");
    size *= static_cast<double>(extent.back());
  }
  require(size < 0x1p62, file.path(), ": extents of the ", what, " are out of range");
  return extent;
}

std::string find(std::string const& folder, std::string const& name)
{
  for (std::string const& path : {folder + "/" + name, folder + "/" + name + ".gz"})
    if (is_file(path)) return path;
  fail(folder, "/", name, ": no such file, nor with .gz");
}

void read_split(Dataset& dataset, Samples& samples, std::string const& folder, std::string const& prefix, bool first,
                Sha256& hash, std::string& label_path)
{
  InputFile images(find(folder, prefix + "-images-idx3-ubyte"));
  images.hash_into(&hash);
  auto const extent = read_header(images, 3, 4, "images");
  std::int64_t const channels = extent.size() == 4 ? extent[3] : 1;
  require(std::max({extent[1], extent[2], channels}) <= 65536, images.path(), ": image extents ", extent[1], " x ",
          extent[2], " x ", channels, " are out of range [1, 65536]");
  if (first) {
    dataset.height = static_cast<int>(extent[1]);
    dataset.width = static_cast<int>(extent[2]);
    dataset.channels = static_cast<int>(channels);
  }
  require(extent[1] == dataset.height && extent[2] == dataset.width && channels == dataset.channels, images.path(),
          ": images of ", extent[1], " x ", extent[2], " x ", channels, ", but the training images are ",
          dataset.height, " x ", dataset.width, " x ", dataset.channels);
  samples.count = extent[0];
  samples.bytes = images.read_bytes(extent[0] * dataset.sample_size(), "the images");
  images.expect_end("the images");

  label_path = find(folder, prefix + "-labels-idx1-ubyte");
  InputFile labels(label_path);
  labels.hash_into(&hash);
  auto const label_extent = read_header(labels, 1, 1, "labels");
  require(label_extent[0] == samples.count, label_path, ": ", label_extent[0], " labels, but ", samples.count,
          " images in ", images.path());
  auto const bytes = labels.read_bytes(samples.count, "the labels");
  labels.expect_end("the labels");
  samples.labels.assign(bytes.begin(), bytes.end());
}

} // namespace

Dataset read_idx(std::string const& folder, int classes)
{
  Dataset dataset;
  dataset.name = "idx:" + folder;
  Sha256 hash;
  std::string train_labels, test_labels;
  read_split(dataset, dataset.train, folder, "train", true, hash, train_labels);
  read_split(dataset, dataset.test, folder, "t10k", false, hash, test_labels);
  auto const& labels = dataset.train.labels;
  dataset.classes = classes > 0 ? classes : std::max(2, 1 + *std::max_element(labels.begin(), labels.end()));
  impl::check_labels(labels, 0, dataset.classes - 1, train_labels);
  impl::check_labels(dataset.test.labels, 0, dataset.classes - 1, test_labels);
  dataset.checksum = hash.hex();
  measure_normalisation(dataset);
  return dataset;
}

} // namespace nasturtium::datasets
