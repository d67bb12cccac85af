// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runtime as a simulation of events: what the fluid simulator leaves out is that a cell takes whole segments and
// that the window makes fast members wait.
#include "plan_scorer.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace nasturtium::ensemble {

namespace {

struct CellState
{
  int device, model;
  double segment_seconds;    ///< alone on its device
  std::int64_t segment = -1; ///< at work on; -1: idle
  double left = 0;           ///< seconds, alone
};

/// The idle cell of a model that would end a segment first: of replicas that wait, the one on the freer device is up
/// first. Null for none.
template <class Slowdown>
CellState* first_to_finish(std::vector<CellState>& cells, int model, Slowdown const& slowdown)
{
  CellState* chosen = nullptr;
  double finish = std::numeric_limits<double>::infinity();
  for (auto& cell : cells) {
    if (cell.model != model || cell.segment >= 0) continue;
    double const seconds = cell.segment_seconds * slowdown(cell.device, 1);
    if (seconds >= finish) continue;
    finish = seconds;
    chosen = &cell;
  }
  return chosen;
}

} // namespace

double segment_throughput(PlanningProblem const& problem, Allocation const& allocation, int segment_size, int window,
                          int segments)
{
  int const samples = std::max(segment_size, allocation.largest_batch());
  std::int64_t const in_flight = window > 0 ? window : std::max(4, 2 * allocation.cells());
  auto const levels = impl::to_levels(problem, allocation);
  std::vector<CellState> cells;
  for (int d = 0; d < allocation.devices; ++d) {
    for (int m = 0; m < allocation.models; ++m) {
      int const batch = allocation.at(d, m);
      if (batch == 0) continue;
      int const batches = (samples + batch - 1) / batch;
      double const seconds = problem.measured(d, m, levels[d * allocation.models + m] - 1).seconds;
      cells.push_back({d, m, batches * seconds});
    }
  }
  std::vector<std::int64_t> next(allocation.models, 0); ///< segment per model
  std::vector<int> left(segments, allocation.models);   ///< members that a segment waits for
  std::vector<int> active(allocation.devices, 0);
  auto const slowdown = [&](int device, int more) {
    int const a = active[device] + more;
    return a / problem.classes[problem.devices[device].device_class].gain_at(a);
  };
  std::int64_t released = 0;
  double time = 0;
  while (released < segments) {
    for (int m = 0; m < allocation.models; ++m) {
      while (next[m] < std::min<std::int64_t>(segments, released + in_flight)) {
        CellState* const chosen = first_to_finish(cells, m, slowdown);
        if (chosen == nullptr) break;
        ++active[chosen->device];
        chosen->segment = next[m]++;
        chosen->left = chosen->segment_seconds;
      }
    }
    double step = std::numeric_limits<double>::infinity();
    for (auto const& cell : cells)
      if (cell.segment >= 0) step = std::min(step, cell.left * slowdown(cell.device, 0));
    time += step;
    for (auto& cell : cells)
      if (cell.segment >= 0) cell.left -= step / slowdown(cell.device, 0);
    for (auto& cell : cells) {
      if (cell.segment < 0 || cell.left > 1e-12 * cell.segment_seconds) continue;
      --left[cell.segment];
      --active[cell.device];
      cell.segment = -1;
    }
    while (released < segments && left[released] == 0)
      ++released;
  }
  return static_cast<double>(samples) * segments / time;
}

} // namespace nasturtium::ensemble
