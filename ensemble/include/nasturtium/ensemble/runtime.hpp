// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Serves an ensemble as a plan says (the reference, section 2.6): samples come in segments, a thread per active cell
// takes segments of its model from a queue that replicas share, and weighted softmaxes are summed on each device. See
// docs/ensembles-serving.md.
#pragma once

#include <nasturtium/ensemble/planner.hpp>
#include <nasturtium/nn/predictor.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::ensemble {

/// A member of the ensemble.
struct ServedModel
{
  std::string name; ///< as in the plan
  nn::spec::Architecture architecture;
  std::shared_ptr<nn::Weights const> weights;
  double weight = 1; ///< share of the prediction, >= 0; the server divides by the sum of all
};

/// What a row of a plan runs on. On a host: so many threads, on their own cores where `cores` names some; on a GPU:
/// execution space instances.
struct ServingDevice
{
  std::string name; ///< as in the plan
  nn::BackendKind backend = nn::available_backends().front();
  int threads = 1;          ///< of each cell; hosts
  std::vector<int> cores{}; ///< places in the list of cores that this process may use; empty: any. Linux only
};

struct ServingOptions
{
  int segment_size = 128;   ///< samples; raised to the largest batch of the plan
  int window = 0;           ///< segments between the last result given out and the newest begun; 0: max(4, 2 * cells)
  bool fixed_order = false; ///< bits that depend on nothing but models, plan and samples
  bool trace = false;       ///< keep who worked on what and when, for ServingStatistics::spans
  /// Called by the thread of a cell before it works on a segment; what it throws fails the request. For tests.
  std::function<void(std::string const& model, std::string const& device, std::int64_t segment)> before_segment{};
};

/// A cell at work on a segment.
struct SegmentSpan
{
  int device, model;    ///< the cell: places among the devices and the models that the server was given
  std::int64_t segment; ///< of the request
  double begun, ended;  ///< seconds since the request came
};

struct ServingStatistics
{
  std::int64_t segments = 0;                  ///< given out since the start
  std::int64_t most_in_flight = 0;            ///< segments begun and not yet given out, at most
  std::vector<std::int64_t> device_transfers; ///< per device: segment sums read from it
  std::vector<std::int64_t> device_segments;  ///< per device: segments that a cell of it has worked on
  std::vector<double> latencies;              ///< of the last request: seconds of each segment from begun to given out
  std::vector<SegmentSpan> spans;             ///< of the last request, in the order they ended; with `trace`
};

/// Gets the predictions of samples [first, first + probabilities.size() / classes), one row each. Called in order, by
/// the thread that called serve; samples are held back while it works.
using ServingSink = std::function<void(std::int64_t first, std::span<float const> probabilities)>;

/// An ensemble that is ready to serve. Starts a thread with a network and buffers of its own for every cell; no
/// segment allocates memory.
class EnsembleServer
{
public:
  /// Throws Error, naming model and device, for names that do not match, models of different inputs or classes,
  /// regression, weights that do not fit, memory that is short.
  EnsembleServer(std::vector<ServedModel> models, std::vector<ServingDevice> devices, Plan const& plan,
                 nn::InputMoments moments = {}, ServingOptions options = {});
  ~EnsembleServer(); ///< shuts down
  EnsembleServer(EnsembleServer const&) = delete;
  EnsembleServer& operator=(EnsembleServer const&) = delete;

  /// Gives the predictions of all samples to `sink`. Requests of several threads take turns. Where a member fails, or
  /// the sink throws, the rest of the request is dropped, every cell comes to rest, and Error is thrown with model,
  /// device and reason (or what the sink threw); the server can take the next request.
  void serve(nn::Images const& images, ServingSink const& sink);

  /// All predictions: samples x classes.
  std::vector<float> predict(nn::Images const& images);

  /// Ends a running request (its serve throws) and all threads. Not from within a sink.
  void shutdown();

  int classes() const;
  int segment_size() const;
  int window() const;
  ServingStatistics statistics() const; ///< between requests

  class Implementation;

private:
  std::unique_ptr<Implementation> m_implementation;
};

/// The same ensemble by one thread, one member after another: the reference for the server's fixed order, whose bits
/// it has (same batches, same order of sums), and the baseline for its speed. A model with several cells takes them in
/// turns, segment by segment. Use it from the thread that makes it.
class SequentialEnsemble
{
public:
  /// As EnsembleServer.
  SequentialEnsemble(std::vector<ServedModel> models, std::vector<ServingDevice> devices, Plan const& plan,
                     nn::InputMoments moments = {}, int segment_size = 128);
  ~SequentialEnsemble();
  SequentialEnsemble(SequentialEnsemble const&) = delete;
  SequentialEnsemble& operator=(SequentialEnsemble const&) = delete;

  std::vector<float> predict(nn::Images const& images);

  class Implementation;

private:
  std::unique_ptr<Implementation> m_implementation;
};

} // namespace nasturtium::ensemble
