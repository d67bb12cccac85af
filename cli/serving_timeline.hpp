// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which cell works on which segment, and when: where a served ensemble waits is seen here.
#pragma once

#include "line_plot.hpp"

#include <nasturtium/core/table.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <cstdint>
#include <vector>

namespace nasturtium::cli {

/// A request's spans about its middle, where the window is full: `segments` segments, and all that other segments took
/// in that time. A row a span, by cell and begin: device, model, batch, segment, begun ms, ended ms, both since the
/// first of these segments began. Throws Error for no span.
Table serving_timeline(std::vector<ensemble::SegmentSpan> const& spans,
                       std::vector<ensemble::ServedModel> const& models,
                       std::vector<ensemble::ServingDevice> const& devices, ensemble::Plan const& plan,
                       std::int64_t segments = 12);

/// The same of a server's second request: in the first, memory is touched for the first time.
Table serving_timeline(std::vector<ensemble::ServedModel> const& models,
                       std::vector<ensemble::ServingDevice> const& devices, ensemble::Plan const& plan,
                       nn::InputMoments const& moments, int segment_size, nn::Images const& images);

/// The table as a Gantt chart, a row a cell; the segment in the middle is drawn darker, so that its way can be seen.
/// The subtitle tells the part of the time that the cells are at work.
LinePlot timeline_plot(Table const& timeline, std::string const& title);

} // namespace nasturtium::cli
