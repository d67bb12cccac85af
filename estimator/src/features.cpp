// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/estimator/features.hpp>

#include "matrix_product.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace nasturtium::estimator {
namespace {

constexpr std::array<char const*, 4> levels{"minimal", "short", "rich", "physics"};
constexpr std::array<char const*, layer_kinds> kinds{
    "conv",    "depthwise conv", "max pool", "average pool", "dense",     "batch norm",
    "dropout", "activation",     "flatten",  "add",          "attention", "other"};
constexpr std::array<Optimiser, 7> optimisers{Optimiser::none,    Optimiser::sgd,     Optimiser::momentum,
                                              Optimiser::adagrad, Optimiser::rmsprop, Optimiser::adadelta,
                                              Optimiser::adam};

bool is_convolution(LayerCost const& layer)
{
  return layer.kind == LayerKind::conv || layer.kind == LayerKind::depthwise_conv;
}
bool is_contraction(LayerCost const& layer)
{
  return is_convolution(layer) || layer.kind == LayerKind::dense;
}

/// Names and values of features, side by side.
class Features
{
public:
  void share(std::string name, double value)
  {
    names.push_back(std::move(name));
    values.push_back(value);
  }
  void size(std::string name, double value) { share(std::move(name), std::log2(1 + value)); }
  void seconds(std::string name, double value) { size(std::move(name), 1e9 * value); }

  std::vector<std::string> names;
  std::vector<double> values;
};

/// a / b; 0 for 0 / 0.
double ratio(double a, double b)
{
  return b > 0 ? a / b : 0;
}

/// The share of the contractions' FLOPs whose layer is such.
template <class Predicate>
double flop_share(Description const& description, Predicate const& predicate, bool convolutions_only = false)
{
  double part = 0, whole = 0;
  for (auto const& layer : description.layers) {
    if (!(convolutions_only ? is_convolution(layer) : is_contraction(layer))) continue;
    whole += layer.forward_flops;
    if (predicate(layer)) part += layer.forward_flops;
  }
  return ratio(part, whole);
}

void add_short(Features& f, Description const& description)
{
  f.size("batch", description.batch);
  f.size("height", description.input.height);
  f.size("width", description.input.width);
  f.size("channels", description.input.channels);
  std::array<int, layer_kinds> counts{};
  for (auto const& layer : description.layers)
    ++counts[static_cast<std::size_t>(layer.kind)];
  for (std::size_t kind = 0; kind + 1 < counts.size(); ++kind) // the other layers are not counted
    f.size(concat("layers ", kinds[kind]), counts[kind]);
  f.size("parameters", static_cast<double>(description.parameters));
}

void add_rich(Features& f, Description const& description)
{
  for (Optimiser const optimiser : optimisers)
    f.share("optimiser " + name(optimiser), description.optimiser == optimiser);
  f.share("state words", state_words(description.optimiser));
  double flops = 0, bytes = 0, words = 0, largest = 0, parameters = 0, widest = 0;
  double narrowest = description.layers.front().out.channels, kernels = 0, strides = 0, windows = 0, max_kernel = 0;
  std::array<double, layer_kinds> flops_of{}, bytes_of{};
  for (auto const& layer : description.layers) {
    flops += layer.forward_flops;
    bytes += layer.forward_bytes;
    flops_of[static_cast<std::size_t>(layer.kind)] += layer.forward_flops;
    bytes_of[static_cast<std::size_t>(layer.kind)] += layer.forward_bytes;
    double const out = static_cast<double>(layer.out.size()) * description.batch;
    words += out;
    largest = std::max(largest, out);
    parameters = std::max(parameters, static_cast<double>(layer.parameters));
    widest = std::max<double>(widest, layer.out.channels);
    narrowest = std::min<double>(narrowest, layer.out.channels);
    if (is_convolution(layer) || layer.kind == LayerKind::max_pool || layer.kind == LayerKind::average_pool) {
      ++windows;
      kernels += layer.kernel;
      strides += layer.stride;
      max_kernel = std::max<double>(max_kernel, layer.kernel);
    }
  }
  f.size("forward FLOPs", flops);
  f.size("step FLOPs", step_flops(description));
  f.size("forward bytes", bytes);
  f.size("step bytes", step_bytes(description));
  f.size("intensity", ratio(flops, bytes));
  f.size("activation words", words);
  f.size("largest activation words", largest);
  f.size("largest layer's parameters", parameters);
  f.size("depth", description.depth);
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    f.share(concat("FLOP share ", kinds[kind]), ratio(flops_of[kind], flops));
    f.share(concat("byte share ", kinds[kind]), ratio(bytes_of[kind], bytes));
  }
  f.size("mean kernel", ratio(kernels, windows));
  f.size("largest kernel", max_kernel);
  f.size("mean stride", ratio(strides, windows));
  f.share("conv FLOP share 1x1", flop_share(description, [](auto const& layer) { return layer.kernel == 1; }, true));
  f.share("conv FLOP share 3x3", flop_share(description, [](auto const& layer) { return layer.kernel == 3; }, true));
  f.share("conv FLOP share other kernels",
          flop_share(description, [](auto const& layer) { return layer.kernel != 1 && layer.kernel != 3; }, true));
  f.size("widest channels", widest);
  f.size("narrowest channels", narrowest);
}

void add_physics(Features& f, Description const& description, Device const& device)
{
  auto const bound = roofline(description, device);
  bool const train = description.optimiser != Optimiser::none;
  double compute = 0, memory = 0, waves = 0, most_waves = 0;
  for (auto const& layer : description.layers) {
    compute += layer.forward_flops / device.peak_flops;
    memory += layer.forward_bytes / device.bandwidth;
    if (!is_contraction(layer)) continue;
    auto const product = matrix_products(description.batch, layer).front();
    double const of_layer = tile_waves(1, product.rows, product.columns, 128, 64, std::max(1, device.cores)).waves;
    waves += of_layer;
    most_waves = std::max(most_waves, of_layer);
  }
  f.seconds("forward compute seconds", compute);
  f.seconds("forward memory seconds", memory);
  f.seconds("forward seconds", bound.forward);
  f.seconds("backward compute seconds", train ? 2 * compute : 0);
  f.seconds("backward memory seconds", train ? 2 * memory : 0);
  f.seconds("backward seconds", bound.backward);
  f.seconds("update seconds", bound.update);
  f.seconds("launch seconds", bound.launch_cost);
  f.size("waves", waves);
  f.size("most waves of a layer", most_waves);
  f.share("slowest layer's share", bound.slowest);
  f.share("FLOP share depthwise", flop_share(description, [](auto const& layer) { return layer.groups > 1; }));
  f.share("FLOP share strided", flop_share(description, [](auto const& layer) { return layer.stride > 1; }));
  f.share("FLOP share large kernels", flop_share(description, [](auto const& layer) { return layer.kernel > 3; }));
  for (int const multiple : {8, 16, 32})
    f.share(concat("FLOP share channels multiple of ", multiple), flop_share(description, [&](auto const& layer) {
              return layer.in.channels % multiple == 0 && layer.out.channels % multiple == 0;
            }));
}

Features features_of(Description const& description, Device const& device, Level level)
{
  require(description.batch >= 1, "batch must be at least 1, got ", description.batch);
  require(!description.layers.empty(), "a description without layers has no features");
  Features f;
  if (level == Level::minimal) {
    f.size("batch", description.batch);
    f.size("layers", static_cast<double>(description.layers.size()));
    f.size("parameters", static_cast<double>(description.parameters));
    return f;
  }
  add_short(f, description);
  if (level == Level::brief) return f;
  add_rich(f, description);
  if (level == Level::physics) add_physics(f, description, device);
  return f;
}

} // namespace

std::string name(Level level)
{
  return levels[static_cast<std::size_t>(level)];
}

Level parse_level(std::string const& text, std::string const& source)
{
  for (std::size_t i = 0; i < levels.size(); ++i)
    if (text == levels[i]) return static_cast<Level>(i);
  fail(source, ": the level must be minimal, short, rich or physics, got ", quoted(text));
}

Roofline roofline(Description const& description, Device const& device)
{
  require(device.peak_flops > 0 && device.bandwidth > 0, "device ", quoted(device.name),
          ": peak_flops and bandwidth must be > 0, got ", shortest(device.peak_flops), " and ",
          shortest(device.bandwidth));
  bool const train = description.optimiser != Optimiser::none;
  Roofline bound;
  for (auto const& layer : description.layers) {
    double const layer_seconds =
        std::max(layer.forward_flops / device.peak_flops, layer.forward_bytes / device.bandwidth);
    bound.forward += layer_seconds;
    bound.slowest = std::max(bound.slowest, layer_seconds);
    // A flatten is another view of the same values.
    bool const view = layer.kind == LayerKind::flatten && layer.out.size() == layer.in.size();
    if (!view) bound.launches += 1 + (train ? 1 + (layer.parameters > 0) : 0);
  }
  bound.slowest = ratio(bound.slowest, bound.forward);
  if (train) {
    bound.backward = 2 * bound.forward;
    bound.update =
        4.0 * (1 + state_words(description.optimiser)) * static_cast<double>(description.parameters) / device.bandwidth;
    ++bound.launches;
  }
  bound.compute = step_flops(description) / device.peak_flops;
  bound.memory = step_bytes(description) / device.bandwidth;
  bound.launch_cost = bound.launches * device.launch_seconds;
  return bound;
}

TileWaves tile_waves(double batch, double rows, double columns, double tile_rows, double tile_columns, int cores)
{
  require(cores >= 1, "a device has at least one core, got ", cores);
  double const tiles = batch * std::ceil(rows / tile_rows) * std::ceil(columns / tile_columns);
  return {tiles, std::ceil(tiles / cores)};
}

std::vector<std::string> feature_names(Level level)
{
  Description any;
  any.layers.resize(1);
  return features_of(any, {.name = "any", .peak_flops = 1, .bandwidth = 1}, level).names;
}

std::vector<double> features(Description const& description, Device const& device, Level level)
{
  return features_of(description, device, level).values;
}

} // namespace nasturtium::estimator
