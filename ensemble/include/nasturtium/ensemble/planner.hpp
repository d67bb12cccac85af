// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the members of an ensemble run, and at which batch size: an allocation matrix of devices x models is searched
// for the largest throughput that a simulator predicts from measured times (the reference, section 2.5; after Pochelu
// et al., "An efficient and flexible inference system for serving heterogeneous ensembles of deep neural networks").
// Formats: docs/ensembles-serving.md.
#pragma once

#include <nasturtium/core/table.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

/// Devices of one kind, which run a model equally fast.
struct DeviceClass
{
  std::string name;
  /// gain[a - 1]: work done per second with `a` active cells, relative to one; gain[0] is 1. Beyond its end the last
  /// value holds. Below 1 where cells disturb each other, above where one cell leaves a device idle.
  std::vector<double> gain{1.0};

  double gain_at(int active) const { return gain[std::min<std::size_t>(active, gain.size()) - 1]; }
};

/// Memory that cells take their bytes from. Partitions of one host share one.
struct MemoryPool
{
  std::string name;
  double limit_bytes = 0; ///< for the cells alone; see memory_limit
};

/// What the memory rule leaves to cells: 0.9 * capacity less the workspace of the device's runtime, in bytes.
double memory_limit(double capacity_bytes, double workspace_bytes);

struct PlanningDevice
{
  std::string name;
  int device_class = 0; ///< index in PlanningProblem::classes
  int memory = 0;       ///< index in PlanningProblem::memories
};

/// One batch of a model alone on a device.
struct Measurement
{
  double seconds = 0; ///< infinite where the model does not run at this batch
  double bytes = 0;   ///< weights and activations of an instance for this batch
};

/// All that a planner knows.
struct PlanningProblem
{
  std::vector<DeviceClass> classes;
  std::vector<MemoryPool> memories;
  std::vector<PlanningDevice> devices;
  std::vector<std::string> models;
  std::vector<int> batches;         ///< increasing
  std::vector<Measurement> profile; ///< classes x models x batches

  Measurement const& measured(int device, int model, int batch_index) const
  {
    return profile[(std::size_t(devices[device].device_class) * models.size() + model) * batches.size() + batch_index];
  }
};

/// Throws Error that begins with `source` for empty lists, names given twice, batches that do not increase, indices or
/// numbers out of range, and a profile of another size.
void check(PlanningProblem const& problem, std::string const& source = "planning problem");

/// The profile as a file ("nasturtium-ensemble-profile", version 1) and back. Throws Error naming source and field.
std::string to_json(PlanningProblem const& problem);
PlanningProblem parse_planning_problem(std::string const& json, std::string const& source);

/// Batch sizes, devices x models, row-major; 0 where the device does not run the model. A column with several cells is
/// data parallel, a row with several co-locates models.
struct Allocation
{
  int devices = 0, models = 0;
  std::vector<int> batch;

  Allocation() = default;
  Allocation(int device_count, int model_count)
      : devices(device_count), models(model_count), batch(std::size_t(device_count) * model_count, 0)
  {
  }
  int& at(int device, int model) { return batch[std::size_t(device) * models + model]; }
  int at(int device, int model) const { return batch[std::size_t(device) * models + model]; }
  int cells() const;         ///< that are not 0
  int largest_batch() const; ///< 0 without cells
  friend bool operator==(Allocation const&, Allocation const&) = default;
};

/// Why an allocation cannot be used: a batch that the problem does not have, a model without a cell or that does not
/// run in its cell, too little memory. Empty where it can.
std::string allocation_fault(PlanningProblem const& problem, Allocation const& allocation);

/// Samples per second of the fluid simulator: every model has the same number of samples to serve from one queue; with
/// `a` unfinished cells on a device each runs at gain(a) / a of its solo rate, batch / seconds; rates of a model's
/// cells add. At most `models` events of O(cells) each. An upper bound: nobody waits for a slower member. The
/// allocation must be usable (allocation_fault).
double fluid_throughput(PlanningProblem const& problem, Allocation const& allocation);

/// Samples per second when the samples come in segments, as the runtime serves them: a cell takes the next segment of
/// its model from a shared queue and works through it batch by batch; no segment begins before the one `window`
/// places earlier has left, and results leave in order. `window` 0: max(4, 2 * cells). Segments are at least as long
/// as the largest batch. O(segments * models * cells).
double segment_throughput(PlanningProblem const& problem, Allocation const& allocation, int segment_size = 128,
                          int window = 0, int segments = 256);

/// Seconds that the slowest batch takes with all cells of its device active: the largest seconds * a / gain(a).
double batch_latency(PlanningProblem const& problem, Allocation const& allocation);

/// An allocation with its names and what it promises.
struct Plan
{
  std::vector<std::string> devices, models;
  Allocation allocation;
  double throughput = 0;         ///< samples per second, fluid
  double segment_throughput = 0; ///< samples per second, by segments
  double latency_seconds = 0;    ///< batch_latency
};

/// Names and predictions of a usable allocation; throws Error naming the fault of any other.
Plan make_plan(PlanningProblem const& problem, Allocation const& allocation, int segment_size = 128);

/// The plan as a file ("nasturtium-ensemble-plan", version 1) and back. Throws Error naming source and field.
std::string to_json(Plan const& plan);
Plan parse_plan(std::string const& json, std::string const& source);

/// The matrix for people: a row per device, a column per model; where a device does not run a model the cell is empty.
Table matrix_table(Plan const& plan);

enum class PlanningMethod {
  automatic, ///< exact where it fits, else local
  local,     ///< ascent from three starts, with restarts
  exact,     ///< every matrix
};

enum class PlanningObjective {
  throughput,
  throughput_within_latency, ///< batch_latency <= latency_bound
  fewest_devices,            ///< that reach `rate`; among them the largest throughput
};

struct PlanningOptions
{
  PlanningMethod method = PlanningMethod::automatic;
  PlanningObjective objective = PlanningObjective::throughput;
  double latency_bound = 0; ///< seconds, > 0
  double rate = 0;          ///< samples per second, > 0
  int keep = 3;             ///< plans to re-score by segments and to return
  std::uint64_t seed = 1;
  int restarts = 16;
  double time_limit_seconds = 1;        ///< of `local`, which then stops where it is; a result within it has no clock
  std::int64_t exact_limit = 1'000'000; ///< matrices
  int segment_size = 128;
};

enum class Infeasible {
  none,
  model_too_large, ///< a model alone exceeds the memory of every device
  total_short,     ///< all models exceed all memory
  packing,         ///< every matrix was tried
  not_found,       ///< `local` found none; there may be one
  bound,           ///< memory suffices, but no plan (found) keeps the latency bound or reaches the rate
};
std::string name(Infeasible reason); ///< "model-too-large", ...

struct PlanningAnswer
{
  std::vector<Plan> plans; ///< the best by the simulator's score, ordered by segment_throughput; empty if infeasible
  Infeasible reason = Infeasible::none;
  std::string explanation; ///< one line where there is no plan
  int model = -1;          ///< model_too_large: the model and the device that is least too small
  int device = -1;
  double bytes_short = 0;         ///< model_too_large, total_short
  bool exact = false;             ///< every matrix was tried
  bool co_location_helps = false; ///< some device's gain exceeds 1; if not, co-location only balances load
  std::int64_t scored = 0;        ///< plans that the simulator scored
};

/// Searches for the best plan. Deterministic in the seed, unless the time limit of `local` strikes. Throws Error for an
/// invalid problem or option, and for `exact` beyond its limit; that there is no plan is an answer.
PlanningAnswer plan_allocation(PlanningProblem const& problem, PlanningOptions const& options = {});

// The starts of `local`, which are also the baselines that plans are held against. Each returns an allocation without
// cells where it does not fit.

/// Worst fit decreasing: the largest need at the smallest batch first, to the device with most free memory. The batch
/// of each is then raised to the one of the highest solo rate that fits; or stays at `fixed_batch`, if that is not 0.
Allocation worst_fit(PlanningProblem const& problem, int fixed_batch = 0);
/// Models in turn to devices in turn, the next where one is full; then the batches of worst_fit.
Allocation round_robin(PlanningProblem const& problem);
/// The longest best solo time per sample first, to the device and batch that fit and end it first.
Allocation longest_first(PlanningProblem const& problem);

} // namespace nasturtium::ensemble
