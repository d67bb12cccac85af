// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/layer_table.hpp>

#include "matrix_product.hpp"

#include <nasturtium/core/csv.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/estimator/features.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace nasturtium::estimator {
namespace {

constexpr int largest = 1 << 20; ///< of every extent in a table

std::string lower(std::string text)
{
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// In the order of the tables' numbers.
constexpr std::array<Optimiser, 7> optimisers{Optimiser::none,    Optimiser::sgd,      Optimiser::adadelta,
                                              Optimiser::adagrad, Optimiser::momentum, Optimiser::adam,
                                              Optimiser::rmsprop};

/// The columns of a file by name; remembers which were asked for.
class Columns
{
public:
  explicit Columns(CsvReader const& reader) : m_reader(&reader), m_asked(reader.header().size(), false) {}

  std::size_t operator[](std::string const& name)
  {
    std::size_t const column = m_reader->column(name);
    m_asked[column] = true;
    return column;
  }
  void refuse_others(std::string const& source) const
  {
    for (std::size_t i = 0; i < m_asked.size(); ++i)
      require(m_asked[i], source, ":1: column ", quoted(m_reader->header()[i]), " is unknown");
  }

private:
  CsvReader const* m_reader;
  std::vector<bool> m_asked;
};

int integer(CsvReader const& reader, std::size_t column, int low, int high = largest)
{
  auto const value = reader.integer(column);
  require(value >= low && value <= high, reader.where(column), " must be in [", low, ", ", high, "], got ", value);
  return static_cast<int>(value);
}

double seconds(CsvReader const& reader, std::size_t column, bool zero_allowed)
{
  double const value = reader.number(column);
  require(zero_allowed ? value >= 0 : value > 0, reader.where(column), " must be ", zero_allowed ? ">= 0" : "> 0",
          ", got ", shortest(value));
  return 1e-3 * value;
}

LayerTable read(CsvReader reader, std::string const& source)
{
  LayerTable table;
  table.source = source;
  auto const& header = reader.header();
  bool const dense = std::find(header.begin(), header.end(), "dim_input") != header.end();
  table.kind = dense ? LayerTableKind::dense : LayerTableKind::convolution;
  Columns columns(reader);
  std::size_t const device = columns["device"], activation = columns["activation_fct"], batch = columns["batchsize"],
                    in = columns[dense ? "dim_input" : "channels_in"],
                    out = columns[dense ? "dim_output" : "channels_out"], optimiser = columns["optimizer"],
                    precision = columns["precision"], median = columns["timeUsed_median"],
                    smallest = columns["timeUsed_min"], deviation = columns["timeUsed_std"];
  std::size_t const kernel = dense ? 0 : columns["kernelsize"], side = dense ? 0 : columns["matsize"],
                    padding = dense ? 0 : columns["padding"], stride = dense ? 0 : columns["strides"],
                    bias = dense ? 0 : columns["use_bias"];
  columns.refuse_others(source);
  while (reader.next()) {
    std::string const name = lower(reader.fields()[device]);
    if (table.rows.empty()) {
      auto const sheet = data_sheet(name);
      require(sheet.has_value(), reader.where(device), ": the device ", quoted(name),
              " is unknown (v100, k40, k80, m60, p100 and 1080ti are known)");
      table.device = *sheet;
    }
    require(name == table.device.name, reader.where(device), ": a table holds one device, got ", quoted(name),
            " after ", quoted(table.device.name));
    require(integer(reader, precision, 1) == 32, reader.where(precision), " must be 32, got ",
            reader.fields()[precision]);
    LayerRow row;
    row.batch = integer(reader, batch, 1);
    row.channels_in = integer(reader, in, 1);
    row.channels_out = integer(reader, out, 1);
    row.activation = integer(reader, activation, 0, 3);
    row.optimiser = optimisers[static_cast<std::size_t>(integer(reader, optimiser, 0, 6))];
    if (!dense) {
      row.kernel = integer(reader, kernel, 1);
      row.side = integer(reader, side, 1);
      row.stride = integer(reader, stride, 1);
      row.same_padding = integer(reader, padding, 0, 1) == 1;
      std::string const flag = reader.fields()[bias];
      require(flag == "True" || flag == "False", reader.where(bias), " must be True or False, got ", quoted(flag));
      row.bias = flag == "True";
      require(row.same_padding || row.kernel <= row.side, reader.where(kernel), " is larger than the image of ",
              row.side);
    }
    row.seconds = seconds(reader, median, false);
    row.min_seconds = seconds(reader, smallest, false);
    row.sd_seconds = seconds(reader, deviation, true);
    table.rows.push_back(row);
  }
  require(!table.rows.empty(), source, ": holds no rows");
  return table;
}

/// Names and values of features, side by side.
class Features
{
public:
  void raw(std::string name, double value)
  {
    names.push_back(std::move(name));
    values.push_back(value);
  }
  void log(std::string const& name, double value) { raw("log2 " + name, std::log2(value)); }
  void both(std::string const& name, double value)
  {
    raw(name, value);
    log(name, value);
  }

  std::vector<std::string> names;
  std::vector<double> values;
};

Features features_of(LayerRow const& row, LayerTableKind kind, Device const& device, LayerFeatures level)
{
  bool const convolution = kind == LayerTableKind::convolution, train = row.optimiser != Optimiser::none;
  auto const description = describe(row, kind);
  auto const bound = roofline(description, device);
  auto const& layer = description.layers.front();
  Features f;
  f.both("batch", row.batch);
  f.both(convolution ? "channels in" : "width in", row.channels_in);
  f.both(convolution ? "channels out" : "width out", row.channels_out);
  if (convolution) {
    f.both("kernel", row.kernel);
    f.both("stride", row.stride);
    f.both("side", row.side);
    f.both("output side", row.out_side());
    f.raw("same padding", row.same_padding);
    f.raw("bias", row.bias);
  }
  for (auto const& [name, value] : {std::pair{"relu", 1}, std::pair{"tanh", 2}, std::pair{"sigmoid", 3}})
    f.raw(name, row.activation == value);
  for (Optimiser const optimiser : optimisers)
    f.raw("optimiser " + name(optimiser), row.optimiser == optimiser);
  f.log("parameters", static_cast<double>(layer.parameters));
  f.log("step FLOPs", step_flops(description));
  f.log("step bytes", step_bytes(description));
  f.log("intensity", layer.forward_flops / layer.forward_bytes);
  f.log("compute seconds", bound.compute);
  f.log("memory seconds", bound.memory);
  f.log("roofline seconds", bound.seconds());
  f.log("peak", device.peak_flops);
  f.log("bandwidth", device.bandwidth);
  f.raw("multiprocessors", device.cores);
  f.raw("cores", device.peak_flops / (2e6 * device.clock_mhz)); // one multiply-add each a cycle
  f.raw("clock", device.clock_mhz);
  if (level == LayerFeatures::reference) return f;

  // The step's three matrix products: forward, backward for the data, backward for the weights.
  auto const products = matrix_products(row, kind);
  std::array<char const*, 3> const passes{"forward", "data", "weights"};
  for (std::size_t i = 0; i < 3; ++i) {
    auto const& product = products[i];
    std::string const pass = passes[i];
    f.log(pass + " rows", product.rows);
    f.log(pass + " columns", product.columns);
    f.log(pass + " depth", product.depth);
    auto const [tiles, waves] = tile_waves(1, product.rows, product.columns, 128, 64, device.cores);
    f.log(pass + " waves", tiles / device.cores);
    f.raw(pass + " wave use", tiles / (device.cores * waves));
    f.raw(pass + " tile use", product.rows * product.columns / (tiles * 128 * 64));
  }
  f.log("activations in", static_cast<double>(layer.in.size()) * row.batch);
  f.log("activations out", static_cast<double>(layer.out.size()) * row.batch);
  f.raw("compute share", bound.compute / (bound.compute + bound.memory));
  f.raw("state words", state_words(row.optimiser));
  f.raw("train", train);
  for (int const multiple : {4, 8, 32}) {
    f.raw(concat("channels in over multiple of ", multiple),
          row.channels_in / (multiple * std::ceil(row.channels_in / static_cast<double>(multiple))));
    f.raw(concat("channels out over multiple of ", multiple),
          row.channels_out / (multiple * std::ceil(row.channels_out / static_cast<double>(multiple))));
  }
  if (!convolution) return f;
  double const window = static_cast<double>(row.kernel) * row.kernel;
  f.log("unrolled image", window * row.channels_in * row.batch * row.out_side() * row.out_side());
  f.log("pixels out", static_cast<double>(row.batch) * row.out_side() * row.out_side());
  f.raw("kernel over side", static_cast<double>(row.kernel) / row.side);
  f.raw("stride over kernel", static_cast<double>(row.stride) / row.kernel);
  f.raw("winograd", row.kernel == 3 && row.stride == 1);
  f.raw("transform", row.stride == 1 && row.kernel > 1);
  f.raw("1x1", row.kernel == 1);
  // A transform works on whole tiles: 32 x 32 or the image, whichever is smaller, with kernel - 1 lost to the overlap.
  double const tile = std::max(1, 33 - row.kernel), count = std::ceil(row.out_side() / tile);
  f.raw("transform tile use", row.out_side() / (count * tile));
  f.log("transforms", row.batch * count * count);
  f.log("channel product", static_cast<double>(row.channels_in) * row.channels_out);
  return f;
}

} // namespace

int LayerRow::out_side() const
{
  int const covered = same_padding ? side : side - kernel + 1;
  return (covered + stride - 1) / stride;
}

LayerTable read_layer_table(std::string const& path)
{
  return read(CsvReader::open(path), path);
}

LayerTable parse_layer_table(std::string text, std::string const& source)
{
  return read(CsvReader(std::move(text), source), source);
}

Description describe(LayerRow const& row, LayerTableKind kind)
{
  int const side_out = row.out_side();
  require(side_out >= 1, "a valid convolution of kernel ", row.kernel, " does not fit an image of ", row.side);
  double const in = row.channels_in, out = row.channels_out, batch = row.batch;
  Description description;
  description.batch = row.batch;
  description.optimiser = row.optimiser;
  description.input = {row.side, row.side, row.channels_in};
  description.depth = 1;
  LayerCost layer;
  layer.kind = kind == LayerTableKind::dense ? LayerKind::dense : LayerKind::conv;
  layer.in = description.input;
  layer.out = {side_out, side_out, row.channels_out};
  layer.kernel = row.kernel;
  layer.stride = row.stride;
  layer.parameters =
      std::int64_t{row.kernel} * row.kernel * row.channels_in * row.channels_out + (row.bias ? row.channels_out : 0);
  layer.forward_flops = 2 * batch * side_out * side_out * out * in * row.kernel * row.kernel;
  layer.forward_bytes =
      4 * (batch * static_cast<double>(layer.in.size() + layer.out.size()) + static_cast<double>(layer.parameters));
  description.parameters = layer.parameters;
  description.layers = {layer};
  return description;
}

std::optional<Device> data_sheet(std::string const& name)
{
  constexpr double launch = 5e-6;
  static std::array<Device, 6> const sheets{{{"v100", 14.0e12, 900e9, launch, 80, 1380, std::int64_t{16} << 30},
                                             {"k40", 4.29e12, 288e9, launch, 15, 745, std::int64_t{12} << 30},
                                             {"k80", 2.8e12, 240e9, launch, 13, 562, std::int64_t{12} << 30},
                                             {"m60", 4.8e12, 160e9, launch, 16, 1178, std::int64_t{8} << 30},
                                             {"p100", 9.3e12, 732e9, launch, 56, 1303, std::int64_t{16} << 30},
                                             {"1080ti", 11.3e12, 484e9, launch, 28, 1582, std::int64_t{11} << 30}}};
  for (auto const& device : sheets)
    if (device.name == name) return device;
  return {};
}

std::vector<std::string> layer_feature_names(LayerTableKind kind, LayerFeatures features)
{
  return features_of(LayerRow{}, kind, *data_sheet("v100"), features).names;
}

std::vector<double> layer_features(LayerRow const& row, LayerTableKind kind, Device const& device,
                                   LayerFeatures features)
{
  return features_of(row, kind, device, features).values;
}

} // namespace nasturtium::estimator
