// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "serving_timeline.hpp"

#include <nasturtium/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace nasturtium::cli {

using namespace ensemble;

namespace {

int batch_of(Plan const& plan, std::string const& device, std::string const& model)
{
  auto const row = std::find(plan.devices.begin(), plan.devices.end(), device) - plan.devices.begin();
  auto const column = std::find(plan.models.begin(), plan.models.end(), model) - plan.models.begin();
  require(row < plan.allocation.devices && column < plan.allocation.models, "the plan has no cell of model ", model,
          " on device ", device);
  return plan.allocation.at(static_cast<int>(row), static_cast<int>(column));
}

} // namespace

Table serving_timeline(std::vector<SegmentSpan> const& spans, std::vector<ServedModel> const& models,
                       std::vector<ServingDevice> const& devices, Plan const& plan, std::int64_t segments)
{
  require(!spans.empty(), "a timeline needs spans");
  std::int64_t last = 0;
  for (auto const& span : spans)
    last = std::max(last, span.segment);
  std::int64_t const first = std::max<std::int64_t>(0, (last + 1 - segments) / 2);
  double from = std::numeric_limits<double>::infinity(), to = 0;
  for (auto const& span : spans) {
    if (span.segment < first || span.segment >= first + segments) continue;
    from = std::min(from, span.begun);
    to = std::max(to, span.ended);
  }
  auto shown = spans;
  std::erase_if(shown, [&](SegmentSpan const& span) { return span.ended <= from || span.begun >= to; });
  std::sort(shown.begin(), shown.end(), [](SegmentSpan const& a, SegmentSpan const& b) {
    return std::tie(a.device, a.model, a.begun) < std::tie(b.device, b.model, b.begun);
  });
  Table table({{"device"}, {"model"}, {"batch"}, {"segment"}, {"begun ms", 3}, {"ended ms", 3}});
  for (auto const& span : shown) {
    auto const& device = devices[static_cast<std::size_t>(span.device)].name;
    auto const& model = models[static_cast<std::size_t>(span.model)].name;
    table.add_row({device, model, std::int64_t{batch_of(plan, device, model)}, span.segment,
                   1e3 * (std::max(span.begun, from) - from), 1e3 * (std::min(span.ended, to) - from)});
  }
  return table;
}

Table serving_timeline(std::vector<ServedModel> const& models, std::vector<ServingDevice> const& devices,
                       Plan const& plan, nn::InputMoments const& moments, int segment_size, nn::Images const& images)
{
  ServingOptions options;
  options.segment_size = segment_size;
  options.trace = true;
  EnsembleServer server(models, devices, plan, moments, options);
  for (int request = 0; request < 2; ++request)
    server.predict(images);
  return serving_timeline(server.statistics().spans, models, devices, plan);
}

LinePlot timeline_plot(Table const& timeline, std::string const& title)
{
  require(timeline.row_count() > 0 && timeline.columns().size() == 6, "a timeline needs rows of six cells");
  LinePlot plot;
  plot.title = title;
  plot.x_label = "milliseconds";
  std::vector<std::int64_t> segments;
  double busy = 0, end = 0;
  for (auto const& row : timeline.rows()) {
    segments.push_back(std::get<std::int64_t>(row[3]));
    busy += std::get<double>(row[5]) - std::get<double>(row[4]);
    end = std::max(end, std::get<double>(row[5]));
  }
  std::sort(segments.begin(), segments.end());
  std::int64_t const middle = segments[segments.size() / 2];
  plot.series = {{"other segments", {}, 0, true}, {concat("segment ", middle), {}, 1, false}};
  for (auto& series : plot.series)
    series.bars = true;
  for (auto const& row : timeline.rows()) {
    std::string name = concat(std::get<std::string>(row[0]), ": ", std::get<std::string>(row[1]), ", batch ",
                              std::get<std::int64_t>(row[2]));
    if (plot.rows.empty() || plot.rows.back() != name) plot.rows.push_back(std::move(name));
    auto const y = static_cast<double>(plot.rows.size() - 1);
    auto& points = plot.series[std::get<std::int64_t>(row[3]) == middle ? 1 : 0].points;
    points.emplace_back(std::get<double>(row[4]), y);
    points.emplace_back(std::get<double>(row[5]), y);
  }
  auto const cells = static_cast<double>(plot.rows.size());
  plot.height = static_cast<int>(140 + 30 * cells);
  std::string const at_work = concat("cells are at work ", std::llround(100 * busy / (cells * end)), " % of the time");
  plot.subtitle = concat("A bar: a cell at work on a segment; dark: segment ", middle, "; ", at_work);
  plot.description = concat("Gantt chart of ", plot.rows.size(), " cells over ", std::llround(end),
                            " milliseconds in the middle of a request: ", at_work, ".");
  return plot;
}

} // namespace nasturtium::cli
