// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A row of training steps on the device. The host says once what the next steps need; each step reads its own row there
// and leaves its metrics, so that between two looks at the metrics nothing waits for the host and the launches of all
// steps are the same.
#pragma once

#include "tile_cache.hpp"
#include "trainer_data.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/step_state.hpp>

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>

namespace nasturtium::nn::impl {

/// Rows and metrics of up to `capacity` steps.
template <class ExecSpace>
class StepQueue
{
public:
  StepQueue(ExecSpace const& exec, int capacity)
      : m_exec(exec), m_rows(memory<kernels::StepState>(capacity)), m_current(memory<kernels::StepState>(1)),
        m_sums(memory<double>(kernels::metric_count)), m_log(memory<double>(capacity * kernels::metric_count)),
        m_cursor(memory<kernels::Index>(1)), m_host_rows(Kokkos::create_mirror_view(Kokkos::HostSpace(), m_rows)),
        m_host_log(Kokkos::create_mirror_view(Kokkos::HostSpace(), m_log))
  {
  }

  /// Device bytes of a queue.
  static std::int64_t bytes(int capacity)
  {
    constexpr auto metrics = static_cast<std::int64_t>(kernels::metric_count * sizeof(double));
    return (capacity + 1) * (static_cast<std::int64_t>(sizeof(kernels::StepState)) + metrics) +
           static_cast<std::int64_t>(sizeof(kernels::Index));
  }

  /// The steps to come, at most `capacity`. What was begun before must have been read.
  void begin(std::span<kernels::StepState const> steps)
  {
    require(!steps.empty() && steps.size() <= m_rows.extent(0), "step queue: ", steps.size(), " steps, room for ",
            m_rows.extent(0));
    // The rows behind the last one are read, but not used.
    std::fill(std::copy(steps.begin(), steps.end(), m_host_rows.data()), m_host_rows.data() + m_rows.extent(0),
              steps.back());
    if (m_host_rows.data() != m_rows.data()) Kokkos::deep_copy(m_exec, m_rows, m_host_rows);
    kernels::start_steps<ExecSpace>(m_exec, rows(), current_buffer(), sums(), cursor());
  }

  /// In device memory, for the kernels of a step.
  kernels::StepState const* current() const { return m_current.data(); }
  /// Where a step's metrics are added up.
  kernels::Buffer<ExecSpace, double> sums() const { return buffer(m_sums); }
  /// The last launch of a step.
  void finish_step() const
  {
    kernels::finish_step<ExecSpace>(m_exec, rows(), current_buffer(), sums(), buffer(m_log), cursor());
  }

  /// Waits for the instance and appends the metrics of the first `count` steps.
  void read(std::int64_t count, std::vector<MetricSums>& log)
  {
    if (m_host_log.data() != m_log.data()) Kokkos::deep_copy(m_exec, m_host_log, m_log);
    m_exec.fence("nasturtium::step_queue: read");
    for (std::int64_t i = 0; i < count; ++i) {
      MetricSums sums;
      std::copy_n(m_host_log.data() + i * kernels::metric_count, sums.size(), sums.begin());
      log.push_back(sums);
    }
  }

private:
  template <class T>
  using Memory = Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  template <class T>
  using HostMemory = Kokkos::View<T*, Kokkos::LayoutRight, Kokkos::HostSpace>;

  ExecSpace m_exec;
  Memory<kernels::StepState> m_rows, m_current;
  Memory<double> m_sums, m_log;
  Memory<kernels::Index> m_cursor;
  HostMemory<kernels::StepState> m_host_rows;
  HostMemory<double> m_host_log;

  template <class T>
  Memory<T> memory(std::size_t count) const
  {
    return Memory<T>(Kokkos::view_alloc(m_exec, Kokkos::WithoutInitializing, std::string("nasturtium::step_queue")),
                     count);
  }
  template <class T>
  static kernels::Buffer<ExecSpace, T> buffer(Memory<T> const& memory)
  {
    return kernels::Buffer<ExecSpace, T>(memory.data(), memory.size());
  }
  kernels::Buffer<ExecSpace, kernels::StepState const> rows() const
  {
    return kernels::Buffer<ExecSpace, kernels::StepState const>(m_rows.data(), m_rows.size());
  }
  kernels::Buffer<ExecSpace, kernels::StepState> current_buffer() const { return buffer(m_current); }
  kernels::Buffer<ExecSpace, kernels::Index> cursor() const { return buffer(m_cursor); }
};

/// Measures the tiles of a network's contractions where NASTURTIUM_TILES asks for it (tile_cache.hpp); on hosts
/// nothing.
template <class ExecSpace, class Real>
void tune_tiles(Network<ExecSpace, Real> const& network, int batch)
{
#ifdef KOKKOS_ENABLE_CUDA
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Cuda>) {
    auto const& exec = network.exec();
    auto* const cache = TileCache::of_process(exec.cuda_device_prop().name);
    if (cache == nullptr) return;
    network.for_each_contraction(batch, [&](kernels::Pass pass, kernels::Conv2dShape const& shape) {
      cache->need(kernels::TileProblem::of<Real>(pass, shape),
                  [&] { return kernels::measure_tiles<ExecSpace, Real>(exec, pass, shape); });
    });
    cache->try_save();
  }
#endif
  (void)network;
  (void)batch;
}

/// The launches of one training step, from gathering the batch to filing its metrics; they are the same for every step
/// with such a batch.
template <class ExecSpace, class Real>
void launch_step(Network<ExecSpace, Real> const& network, BatchMaker<ExecSpace, Real> const& maker,
                 ResidentSamples<ExecSpace> const& samples, kernels::Buffer<ExecSpace, std::int32_t const> order,
                 TrainOptions const& options, int batch, int top_k, StepQueue<ExecSpace> const& queue)
{
  auto const* const current = queue.current();
  kernels::DropoutKey const draws{options.seed, 0, 0, current};
  maker.make(samples, options.augment, options.seed, 0, order, 0, batch, network.images(batch, true), current);
  network.forward(batch, true, draws);
  network.loss(batch, true, maker.labels(batch), maker.targets(batch), options.label_smoothing, top_k, queue.sums());
  network.backward(batch, draws);
  network.update(options.optimiser, 0, 1, &current->rates);
  queue.finish_step();
}

/// Steps that one graph has where so many are to come.
inline constexpr int steps_in_a_row = 8;

/// Steps whose launches are the same: on CUDA they are recorded as graphs and replayed, several with one call where so
/// many are to come; elsewhere they are launched anew. NASTURTIUM_GRAPHS=0 in the environment does without graphs.
template <class ExecSpace>
class Replay
{
public:
  /// Runs some of the `most` steps to come, at least one; returns how many.
  template <class Launches>
  int run(ExecSpace const&, std::int64_t /*most*/, Launches const& launches)
  {
    launches();
    return 1;
  }
};

#ifdef KOKKOS_ENABLE_CUDA
/// A recorded sequence of launches.
class Graph
{
public:
  Graph() = default;
  Graph(Graph const&) = delete;
  Graph& operator=(Graph const&) = delete;
  ~Graph()
  {
    if (m_graph != nullptr) cudaGraphExecDestroy(m_graph);
  }

  /// Records `launches` the first time. They must use the instance alone and neither allocate nor wait. False, and
  /// nothing has run, where the device has no memory for the graph.
  template <class Launches>
  bool run(Kokkos::Cuda const& exec, Launches const& launches)
  {
    if (m_graph == nullptr && !record(exec.cuda_stream(), launches)) return false;
    check(cudaGraphLaunch(m_graph, exec.cuda_stream()), "launch");
    return true;
  }

private:
  cudaGraphExec_t m_graph = nullptr;

  static void check(cudaError_t status, char const* what)
  {
    require(status == cudaSuccess, "CUDA graph of a step, ", what, ": ", cudaGetErrorString(status),
            " (NASTURTIUM_GRAPHS=0 does without graphs)");
  }

  template <class Launches>
  bool record(cudaStream_t stream, Launches const& launches)
  {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "start of the recording");
    try {
      launches();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "recording");
    auto const status = cudaGraphInstantiate(&m_graph, graph, 0);
    cudaGraphDestroy(graph);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError(); // it is dealt with
      m_graph = nullptr;
      return false;
    }
    check(status, "instantiation");
    return true;
  }
};

template <>
class Replay<Kokkos::Cuda>
{
public:
  template <class Launches>
  int run(Kokkos::Cuda const& exec, std::int64_t most, Launches const& launches)
  {
    // The first time loads the kernels and sets their attributes, which must not happen within a recording. A profiling
    // tool wants to see every launch, and to wait for it.
    if (wanted() && m_warm && !m_no_memory && !Kokkos::Tools::profileLibraryLoaded()) {
      if (most >= several) {
        auto const all = [&] {
          for (int i = 0; i < several; ++i)
            launches();
        };
        if (m_several.run(exec, all)) return several;
      } else if (m_one.run(exec, launches)) {
        return 1;
      }
      m_no_memory = true; // from now on as without graphs
    }
    m_warm = true;
    launches();
    return 1;
  }

private:
  static constexpr int several = steps_in_a_row;

  bool m_warm = false, m_no_memory = false;
  Graph m_one, m_several;

  static bool wanted()
  {
    static bool const answer = [] {
      char const* const text = std::getenv("NASTURTIUM_GRAPHS");
      std::string_view const value = text == nullptr ? "1" : text;
      require(value == "0" || value == "1", "NASTURTIUM_GRAPHS must be 0 or 1, got '", value, "'");
      return value == "1";
    }();
    return answer;
  }
};
#endif

} // namespace nasturtium::nn::impl
