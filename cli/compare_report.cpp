// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "compare_report.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/statistics.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

namespace nasturtium::cli {

namespace {

/// A device with the name that it has in the report.
struct Entry
{
  std::string name;
  std::string file;
  ComparedDevice device;
  std::map<std::string, ComparedTiming> timings; ///< by label
};

/// Everything that was asked for, in the order of the files.
struct Selection
{
  std::vector<Entry> devices;
  std::vector<std::string> labels; ///< of all measurements
};

Selection select(std::vector<std::pair<std::string, Comparison>> const& files)
{
  Selection selection;
  for (auto const& [file, comparison] : files) {
    for (auto const& device : comparison.devices)
      selection.devices.push_back({files.size() > 1 ? concat(file, ": ", device.name) : device.name, file, device, {}});
    auto const begin = selection.devices.end() - static_cast<std::ptrdiff_t>(comparison.devices.size());
    for (auto const& timing : comparison.timings) {
      auto const entry = std::find_if(begin, selection.devices.end(),
                                      [&](Entry const& it) { return it.device.name == timing.device; });
      entry->timings.emplace(timing.label(), timing);
      if (std::find(selection.labels.begin(), selection.labels.end(), timing.label()) == selection.labels.end())
        selection.labels.push_back(timing.label());
    }
  }
  return selection;
}

/// Null where it was not measured there, or failed.
ComparedTiming const* find(Entry const& entry, std::string const& label)
{
  auto const timing = entry.timings.find(label);
  return timing == entry.timings.end() || timing->second.seconds.empty() ? nullptr : &timing->second;
}

double call_seconds(ComparedTiming const& timing)
{
  return median(timing.seconds);
}

/// How many times as fast as `reference`; nothing where that has no such measurement, or of another network.
std::optional<double> speed_up(ComparedTiming const& timing, Entry const& reference)
{
  auto const* const base = find(reference, timing.label());
  if (!base || base->architecture_sha256 != timing.architecture_sha256) return std::nullopt;
  return call_seconds(*base) / call_seconds(timing);
}

/// The host device of the same file with the fewest threads; the first of those.
Entry const& smallest_host(Selection const& selection, Entry const& entry)
{
  Entry const* smallest = &entry;
  for (auto const& other : selection.devices)
    if (other.file == entry.file && other.device.host() &&
        (other.device.cores < smallest->device.cores ||
         (other.device.cores == smallest->device.cores && &other < smallest)))
      smallest = &other;
  return *smallest;
}

/// Half of the repetitions lie within so many percent of the median.
double spread(std::vector<double> values)
{
  std::sort(values.begin(), values.end());
  std::size_t const quarter = values.size() / 4;
  return 100 * (values[values.size() - 1 - quarter] - values[quarter]) / median(values);
}

Cell cell(std::optional<double> value)
{
  return value ? Cell(*value) : Cell();
}

Table device_table(Selection const& selection)
{
  Table table({{"device"},
               {"hardware"},
               {"cores"},
               {"GFLOP/s, peak", 1},
               {"GB/s, triad", 2},
               {"ridge, FLOP/byte", 2},
               {"launch, us", 2},
               {"memory"}});
  for (auto const& [name, file, device, timings] : selection.devices) {
    auto const known = [](double value, double scale) { return value > 0 ? Cell(value * scale) : Cell(); };
    table.add_row({name, device.hardware, std::int64_t{device.cores}, known(device.peak_flops, 1e-9),
                   known(device.bandwidth, 1e-9),
                   device.bandwidth > 0 ? known(device.peak_flops / device.bandwidth, 1) : Cell(),
                   known(device.launch_seconds, 1e6), human_bytes(static_cast<double>(device.memory_bytes))});
  }
  return table;
}

/// Rows by measurement, devices within: networks' steps, their inference, or layers.
Table speed_table(Selection const& selection, bool layers, CallKind kind)
{
  std::vector<Column> columns{{"network"}, {"batch"}};
  if (layers) columns = {{"layer"}, {"pass"}, {"batch"}};
  columns.insert(
      columns.end(),
      {{"device"}, {"ms", 3}, {"spread, %", 1}, {"images/s", 0}, {"GFLOP/s", 1}, {"speed-up", 2}, {"efficiency", 2}});
  bool const energy = std::any_of(selection.devices.begin(), selection.devices.end(), [](Entry const& entry) {
    return std::any_of(entry.timings.begin(), entry.timings.end(),
                       [](auto const& timing) { return !timing.second.joules.empty(); });
  });
  if (energy) columns.push_back({"J/1000 images", 2});
  columns.push_back({"note"});
  Table table(columns);
  for (auto const& label : selection.labels)
    for (auto const& entry : selection.devices) {
      auto const place = entry.timings.find(label);
      if (place == entry.timings.end()) continue;
      auto const& timing = place->second;
      if (timing.layer != layers || (!layers && timing.kind != kind)) continue;
      std::vector<Cell> row{timing.network};
      if (layers) row.emplace_back(name(timing.kind));
      row.emplace_back(std::int64_t{timing.batch});
      row.emplace_back(entry.name);
      if (timing.seconds.empty()) {
        row.resize(columns.size() - 1);
        row.emplace_back(timing.failure);
      } else {
        double const seconds = call_seconds(timing);
        std::optional<double> efficiency;
        if (entry.device.host()) {
          auto const& smallest = smallest_host(selection, entry);
          if (auto const gain = speed_up(timing, smallest))
            efficiency = *gain * smallest.device.cores / entry.device.cores;
        }
        row.insert(row.end(), {1e3 * seconds, spread(timing.seconds), timing.batch / seconds,
                               timing.flops > 0 ? Cell(1e-9 * timing.flops / seconds) : Cell(),
                               cell(speed_up(timing, selection.devices.front())), cell(efficiency)});
        if (energy)
          row.emplace_back(timing.joules.empty() ? Cell() : Cell(1000 * median(timing.joules) / timing.batch));
      }
      table.add_row(std::move(row));
    }
  return table;
}

/// Where a measurement lies under its device's roof.
struct RooflinePoint
{
  double intensity, flops_share, bandwidth_share, roof_share; ///< FLOP/byte; of the peaks
  bool memory_bound;
};

std::optional<RooflinePoint> roofline_point(ComparedDevice const& device, ComparedTiming const& timing)
{
  if (timing.seconds.empty() || device.peak_flops <= 0 || device.bandwidth <= 0 || timing.bytes <= 0)
    return std::nullopt;
  double const seconds = call_seconds(timing);
  RooflinePoint point{};
  point.intensity = timing.flops / timing.bytes;
  point.flops_share = timing.flops / seconds / device.peak_flops;
  point.bandwidth_share = timing.bytes / seconds / device.bandwidth;
  point.memory_bound = point.bandwidth_share > point.flops_share;
  point.roof_share = std::max(point.flops_share, point.bandwidth_share);
  return point;
}

Table roofline_table(Selection const& selection)
{
  Table table({{"measurement"},
               {"device"},
               {"FLOP/byte", 2},
               {"GFLOP/s", 1},
               {"of peak, %", 1},
               {"GB/s", 2},
               {"of triad, %", 1},
               {"bound by"},
               {"of the roof, %", 1}});
  for (auto const& label : selection.labels)
    for (auto const& entry : selection.devices) {
      auto const* const timing = find(entry, label);
      if (!timing) continue;
      auto const point = roofline_point(entry.device, *timing);
      if (!point) continue;
      double const seconds = call_seconds(*timing);
      table.add_row({label, entry.name, point->intensity, 1e-9 * timing->flops / seconds, 100 * point->flops_share,
                     1e-9 * timing->bytes / seconds, 100 * point->bandwidth_share,
                     point->memory_bound ? "bandwidth" : "FLOP/s", 100 * point->roof_share});
    }
  return table;
}

LinePlot roofline_plot(Selection const& selection)
{
  LinePlot plot;
  plot.title = "Roofline";
  plot.subtitle = "Lines: what the device can do, measured; marks: training steps, inference, layers";
  plot.description =
      "FLOP/s over FLOP per byte on logarithmic axes: for each device a roof that rises with the measured "
      "bandwidth up to the measured peak, and a mark for each measurement.";
  plot.x_label = "FLOP per byte";
  plot.y_label = "GFLOP/s";
  plot.log_x = plot.log_y = true;
  double low = 1, high = 1; // of the ridges and the points
  std::vector<Series> points;
  for (std::size_t i = 0; i < selection.devices.size(); ++i) {
    auto const& entry = selection.devices[i];
    if (entry.device.peak_flops <= 0 || entry.device.bandwidth <= 0) continue;
    double const ridge = entry.device.peak_flops / entry.device.bandwidth;
    low = std::min(low, ridge / 2);
    high = std::max(high, ridge * 2);
    Series series{entry.name, {}, static_cast<int>(i)};
    series.scatter = true;
    for (auto const& label : selection.labels)
      if (auto const* const timing = find(entry, label))
        if (auto const point = roofline_point(entry.device, *timing); point && point->intensity > 0) {
          series.points.emplace_back(point->intensity, 1e-9 * timing->flops / call_seconds(*timing));
          low = std::min(low, point->intensity);
          high = std::max(high, point->intensity);
        }
    points.push_back(std::move(series));
  }
  constexpr int pieces = 64; // so many that the line carries no marks
  for (std::size_t i = 0; i < selection.devices.size(); ++i) {
    auto const& [name, file, device, timings] = selection.devices[i];
    if (device.peak_flops <= 0 || device.bandwidth <= 0) continue;
    Series roof{name, {}, static_cast<int>(i)};
    std::vector<double> intensities;
    for (int piece = 0; piece <= pieces; ++piece)
      intensities.push_back(low * std::pow(high / low, static_cast<double>(piece) / pieces));
    intensities.push_back(device.peak_flops / device.bandwidth);
    std::sort(intensities.begin(), intensities.end());
    for (double const intensity : intensities)
      roof.points.emplace_back(intensity, 1e-9 * std::min(device.peak_flops, intensity * device.bandwidth));
    plot.series.push_back(std::move(roof));
  }
  plot.series.insert(plot.series.end(), points.begin(), points.end());
  return plot;
}

/// Training steps over the threads of the OpenMP devices of a file, against the one with the fewest.
LinePlot threads_plot(Selection const& selection)
{
  LinePlot plot;
  plot.title = "Speed-up over threads";
  plot.subtitle =
      "Training steps, against the fewest threads of OpenMP; dashed: as many times as fast as there are threads";
  plot.description = "How many times as fast a training step is with more threads, a line for each network and batch.";
  plot.x_label = "threads";
  plot.y_label = "speed-up";
  plot.whole_x = true;
  std::map<std::string, std::vector<Entry const*>> by_file;
  for (auto const& entry : selection.devices)
    if (entry.device.backend == "openmp") by_file[entry.file].push_back(&entry);
  bool const several = by_file.size() > 1;
  std::map<double, double> ideal;
  for (auto& [file, entries] : by_file) {
    std::stable_sort(entries.begin(), entries.end(),
                     [](Entry const* a, Entry const* b) { return a->device.cores < b->device.cores; });
    if (entries.size() < 2 || entries.front()->device.cores == entries.back()->device.cores) continue;
    for (auto const& label : selection.labels) {
      Series series{"", {}, static_cast<int>(plot.series.size())};
      for (auto const* const entry : entries)
        if (auto const* const timing = find(*entry, label); timing && timing->kind == CallKind::step && !timing->layer)
          if (auto const gain = speed_up(*timing, *entries.front())) {
            series.name = concat(several ? file + ": " : "", timing->network, ", batch ", timing->batch);
            series.points.emplace_back(entry->device.cores, *gain);
            ideal[entry->device.cores] = static_cast<double>(entry->device.cores) / entries.front()->device.cores;
          }
      if (series.points.size() > 1) plot.series.push_back(std::move(series));
    }
  }
  if (!plot.series.empty() && !several) plot.series.push_back({"ideal", {ideal.begin(), ideal.end()}, 5, true});
  return plot;
}

/// "openmp:2 does a training step in 0.55 of the time" for every device but the first; geometric means.
std::string lead(Selection const& selection)
{
  std::string text;
  auto const& first = selection.devices.front();
  for (std::size_t i = 1; i < selection.devices.size(); ++i) {
    double logarithms = 0;
    int count = 0;
    for (auto const& label : selection.labels) {
      auto const* const timing = find(selection.devices[i], label);
      if (!timing || timing->kind != CallKind::step || timing->layer) continue;
      if (auto const gain = speed_up(*timing, first)) {
        logarithms += std::log(*gain);
        ++count;
      }
    }
    if (count > 0)
      text += concat(text.empty() ? "" : ", ", selection.devices[i].name, " ", fixed(std::exp(logarithms / count), 2));
  }
  return text.empty() ? concat("Timings of ", first.name, ".")
                      : concat("Training steps against ", first.name, ", times as fast (geometric mean): ", text, ".");
}

Provenance provenance_of_files(std::vector<std::pair<std::string, Comparison>> const& files)
{
  auto provenance = files.front().second.provenance;
  for (std::size_t i = 1; i < files.size(); ++i) {
    auto const& other = files[i].second.provenance;
    provenance.extra.emplace_back(
        concat("file ", files[i].first),
        concat(other.cpu, ", ", other.git_hash, " (", other.git_state, "), ", other.utc, ": ", other.command_line));
  }
  return provenance;
}

} // namespace

ReportDocument compare_report(std::vector<std::pair<std::string, Comparison>> const& files)
{
  require(!files.empty(), "compare needs at least one file");
  auto const selection = select(files);
  ReportDocument document("compare", "Backends and machines side by side");
  document.lead(lead(selection));
  document.heading("Devices");
  document.paragraph(
      "Peak: the fastest of several large products of matrices, with the kernels that train. Triad: a = b + s c "
      "over buffers far larger than the caches. Both measured in the same run.");
  document.table("devices", device_table(selection));
  auto const add = [&](char const* heading, char const* paragraph, char const* name, Table const& table) {
    if (table.row_count() == 0) return;
    document.heading(heading);
    document.paragraph(paragraph);
    document.table(name, table);
  };
  add("Training steps",
      "Medians; spread: the middle half of the repetitions, as a part of the median. Speed-up: against the first "
      "device of the "
      "first file. Efficiency: speed-up over the device of the same file with the fewest threads, by the threads that "
      "are more.",
      "steps", speed_table(selection, false, CallKind::step));
  add("Inference", "One batch from the host's memory to the outputs there.", "forward",
      speed_table(selection, false, CallKind::forward));
  add("Layers", "One kind of layer alone, as a small network.", "layers", speed_table(selection, true, CallKind::step));
  add("Roofline",
      "FLOP: convolutions and dense layers. Bytes: the least that the passes move (docs/guide/compare.md), so that "
      "what stays in "
      "a cache can be above 100 % of the triad. Bound by: what would be exhausted first at this FLOP per byte.",
      "roofline", roofline_table(selection));
  if (auto plot = roofline_plot(selection); !plot.series.empty())
    document.plot("roofline", std::move(plot), "FLOP/s over FLOP per byte, under the roof of each device.");
  if (auto plot = threads_plot(selection); !plot.series.empty())
    document.plot("speed-up", std::move(plot), "Training steps over the number of threads.");
  document.provenance(provenance_of_files(files));
  return document;
}

} // namespace nasturtium::cli
