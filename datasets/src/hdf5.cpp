// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"

#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/core/sha256.hpp>
#include <nasturtium/core/signal.hpp>
#include <nasturtium/datasets/readers.hpp>

#include <array>

namespace nasturtium::datasets {
namespace {

struct Split
{
  std::string group; // "" is the file's root
  Samples* samples;
};

std::string member(std::string const& group, char const* name)
{
  return group.empty() ? name : group + "/" + name;
}

// The one of two members that is there.
std::string either(hdf5::Reader const& file, std::string const& group, char const* first, char const* second)
{
  bool const has_first = file.has(member(group, first)), has_second = file.has(member(group, second));
  std::string const where = group.empty() ? "" : ": '" + group + "'";
  require(has_first || has_second, file.path(), where, ": no data set '", first, "' or '", second, "'");
  require(!has_first || !has_second, file.path(), where, ": holds both '", first, "' and '", second, "'");
  return member(group, has_first ? first : second);
}

void read_inputs(Dataset& dataset, Samples& samples, hdf5::Reader const& file, std::string const& name, bool first)
{
  auto const info = file.info(name);
  auto const rank = info.extent.size();
  std::string const where = file.path() + ": " + quoted(name);
  require(rank >= 2 && rank <= 4, where, ": must have the extents (N, F), (N, H, W) or (N, H, W, C), has rank ", rank);
  for (auto const n : info.extent)
    require(n > 0, where, ": has an extent of 0");
  std::array<std::int64_t, 3> shape{1, 1, 1};
  if (rank == 2) shape[2] = info.extent[1];
  for (std::size_t i = 1; rank > 2 && i < rank; ++i)
    shape[i - 1] = info.extent[i];
  for (auto const n : shape)
    require(n <= 1 << 24, where, ": extent ", n, " is out of range [1, 16777216]");
  if (first) {
    dataset.height = static_cast<int>(shape[0]);
    dataset.width = static_cast<int>(shape[1]);
    dataset.channels = static_cast<int>(shape[2]);
  }
  require(shape[0] == dataset.height && shape[1] == dataset.width && shape[2] == dataset.channels, where,
          ": samples of ", shape[0], " x ", shape[1], " x ", shape[2], ", but the training samples are ",
          dataset.height, " x ", dataset.width, " x ", dataset.channels);
  samples.count = info.extent[0];
  if (info.type == hdf5::ElementType::uint8) {
    samples.bytes = file.read<std::uint8_t>(name).values;
  } else {
    samples.values = file.read<float>(name).values;
    impl::check_finite(samples.values, dataset.sample_size(), where, "a value");
  }
}

void read_split(Dataset& dataset, Samples& samples, hdf5::Reader const& file, std::string const& group, bool first)
{
  std::string const inputs = either(file, group, "images", "data");
  read_inputs(dataset, samples, file, inputs, first);
  bool const bytes = !dataset.train.bytes.empty();
  require(bytes == !samples.bytes.empty(), file.path(), ": ", quoted(inputs),
          ": element type differs from the training split's");

  std::string const outputs = either(file, group, "labels", "target");
  auto const info = file.info(outputs);
  std::string const where = file.path() + ": " + quoted(outputs);
  bool const classification = hdf5::is_integer(info.type);
  require(classification || (hdf5::is_float(info.type) && outputs.ends_with("target")), where, ": must hold ",
          outputs.ends_with("target") ? "numbers" : "integers", ", holds ", hdf5::name(info.type));
  auto const rank = info.extent.size();
  require(rank == 1 || (rank == 2 && (!classification || info.extent[1] == 1)), where, ": must have the extents (N)",
          classification ? "" : " or (N, K)", ", has rank ", rank);
  require(info.extent[0] == samples.count, where, ": ", info.extent[0], classification ? " labels" : " targets",
          ", but ", samples.count, " samples in ", quoted(inputs));
  if (classification) {
    samples.labels = file.read<std::int32_t>(outputs).values;
  } else {
    samples.targets = file.read<float>(outputs).values;
    auto const width = rank == 2 ? info.extent[1] : 1;
    require(width > 0 && width <= 1 << 20, where, ": extent ", width, " is out of range [1, 1048576]");
    impl::check_finite(samples.targets, width, where, "a target");
    if (first) dataset.target_width = static_cast<int>(width);
    require(dataset.target_width == width, where, ": ", width, " targets a sample, but ", dataset.target_width,
            " in the training split");
  }
  require(classification == !dataset.train.labels.empty(), where,
          ": one split has classes, another regression targets");
}

} // namespace

Dataset read_hdf5(std::string const& path)
{
  hdf5::Reader const file(path);
  Dataset dataset;
  dataset.name = file.has_attribute("/", "name") ? file.string_attribute("/", "name") : "hdf5:" + path;
  if (file.has_attribute("/", "format")) {
    auto const format = file.string_attribute("/", "format");
    require(format == "nasturtium-dataset", path, ": attribute 'format' must be 'nasturtium-dataset', got ",
            quoted(format));
    auto const version = file.integer_attribute("/", "version");
    require(version == 1, path, ": attribute 'version' must be 1, got ", version);
  }
  std::vector<Split> splits;
  if (file.is_group("train")) {
    splits.push_back({"train", &dataset.train});
    if (file.is_group("validation")) splits.push_back({"validation", &dataset.validation});
    if (file.is_group("test")) splits.push_back({"test", &dataset.test});
  } else {
    splits.push_back({"", &dataset.train});
  }
  for (auto const& split : splits)
    read_split(dataset, *split.samples, file, split.group, &split == &splits.front());

  if (!dataset.train.labels.empty()) {
    if (file.has_attribute("/", "classes")) {
      auto const classes = file.integer_attribute("/", "classes");
      require(classes >= 2 && classes <= 1 << 24, path, ": attribute 'classes' must be in [2, 16777216], got ",
              classes);
      dataset.classes = static_cast<int>(classes);
    } else {
      auto const largest = *std::max_element(dataset.train.labels.begin(), dataset.train.labels.end());
      require(largest < 1 << 24, path, ": label ", largest, " is out of range [0, 16777215]");
      dataset.classes = std::max(2, 1 + largest);
    }
    for (auto const& split : splits)
      impl::check_labels(split.samples->labels, 0, dataset.classes - 1,
                         split.group.empty() ? path : path + ": '" + split.group + "'");
  }
  if (file.has_attribute("/", "class_names")) {
    auto const source = path + ": attribute 'class_names'";
    auto const names = json::parse(file.string_attribute("/", "class_names"), source);
    for (auto const& name : json::to_array(names, source))
      dataset.class_names.push_back(json::to_string(name, source + ": an element"));
    require(static_cast<int>(dataset.class_names.size()) == dataset.classes, source, " names ",
            dataset.class_names.size(), " classes of ", dataset.classes);
  }
  dataset.checksum = sha256_file(path);
  measure_normalisation(dataset);
  return dataset;
}

void save_hdf5(Dataset const& dataset, std::string const& path)
{
  hdf5::Writer writer(path);
  writer.set_attribute("/", "format", "nasturtium-dataset");
  writer.set_attribute("/", "version", 1);
  writer.set_attribute("/", "name", dataset.name);
  writer.set_attribute("/", "source_checksum", dataset.checksum);
  if (dataset.classes > 0) writer.set_attribute("/", "classes", dataset.classes);
  if (!dataset.class_names.empty()) {
    json::Array names;
    for (auto const& name : dataset.class_names)
      names.emplace_back(name);
    writer.set_attribute("/", "class_names", json::compact(names));
  }
  hdf5::WriteOptions const packed{.deflate = 4};
  auto const write = [&](std::string const& group, Samples const& samples) {
    require(!interrupted(), path, ": interrupted, not written");
    if (samples.count == 0) return;
    std::vector<std::int64_t> const extent{samples.count, dataset.height, dataset.width, dataset.channels};
    if (!samples.bytes.empty())
      writer.write(group + "/images", extent, samples.bytes, packed);
    else
      writer.write(group + "/data", extent, samples.values, packed);
    if (dataset.classes > 0)
      writer.write(group + "/labels", {samples.count}, samples.labels, packed);
    else
      writer.write(group + "/target", {samples.count, dataset.target_width}, samples.targets, packed);
  };
  write("train", dataset.train);
  write("validation", dataset.validation);
  write("test", dataset.test);
  require(!interrupted(), path, ": interrupted, not written");
  writer.commit();
}

} // namespace nasturtium::datasets
