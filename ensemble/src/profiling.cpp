// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/ensemble/profiling.hpp>

#include "served_ensemble.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>
#include <nasturtium/core/statistics.hpp>

#include <unistd.h>

#include <algorithm>
#include <exception>
#include <latch>
#include <numeric>
#include <thread>

namespace nasturtium::ensemble {

namespace {

std::vector<std::uint8_t> random_bytes(std::size_t count)
{
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::uint8_t>(random_block(1, Purpose::synthetic, 0, i / 4).word[i % 4]);
  return bytes;
}

/// Runs work() in a thread that is bound as a cell of the device would be; throws what it throws.
template <class Work>
void run_on(ServingDevice const& device, Work const& work)
{
  std::exception_ptr error;
  std::thread([&] {
    try {
      impl::pin_to_cores(device);
      work();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);
}

constexpr int different_batches = 8; // in turns, as a server does not meet the same samples again and again

/// What a cell does with a batch: logits, and their weighted softmax into a sum.
class CellWork
{
public:
  CellWork(ServingDevice const& device, ServedModel const& model, int batch)
      : m_session({.backend = device.backend, .threads = device.threads, .batch = batch}, model.architecture,
                  *model.weights),
        m_logits(device.backend, batch, m_session.outputs()), m_sum(device.backend, batch, m_session.outputs()),
        m_batch(batch)
  {
  }
  void run(nn::Images const& images)
  {
    m_session.run(images, m_logits, 0);
    m_session.add_softmax(m_logits, m_batch, 1, false, m_sum);
  }
  std::int64_t bytes() const { return m_session.bytes(); }

private:
  nn::InferenceSession m_session;
  nn::RowBuffer m_logits, m_sum;
  int m_batch;
};

class Profiler
{
public:
  Profiler(std::vector<ServedModel> const& models, ProfilingOptions const& options)
      : m_models(models), m_options(options),
        m_bytes(random_bytes(static_cast<std::size_t>(models[0].architecture.input.size()) * options.batches.back() *
                             different_batches))
  {
  }

  Measurement measure(ServingDevice const& device, int model, int batch)
  {
    Measurement measured;
    run_on(device, [&] {
      CellWork work(device, m_models[model], batch);
      work.run(samples(batch, 0));
      std::vector<double> seconds;
      Stopwatch const all;
      while (static_cast<int>(seconds.size()) < m_options.least_runs || all.seconds() < m_options.seconds) {
        Stopwatch const one;
        work.run(samples(batch, static_cast<int>(seconds.size())));
        seconds.push_back(one.seconds());
      }
      measured = {median(seconds), static_cast<double>(work.bytes())};
    });
    return measured;
  }

  /// Gains of 1 to 4 active cells.
  std::vector<double> probe(ServingDevice const& device, int model, int batch)
  {
    std::vector<double> two, four;
    for (int round = 0; round < m_options.probe_rounds; ++round) {
      double const one = rate(device, model, batch, 1);
      two.push_back(rate(device, model, batch, 2) / one);
      four.push_back(rate(device, model, batch, 4) / one);
    }
    return {1, median(two), (median(two) + median(four)) / 2, median(four)};
  }

private:
  std::vector<ServedModel> const& m_models;
  ProfilingOptions const& m_options;
  std::vector<std::uint8_t> m_bytes;

  nn::Images samples(int batch, int turn) const
  {
    auto const size = static_cast<std::size_t>(batch * m_models[0].architecture.input.size());
    return nn::Images{m_bytes, {}}.part(static_cast<std::size_t>(turn % different_batches) * size, size);
  }

  /// Batches per second of `active` cells together.
  double rate(ServingDevice const& device, int model, int batch, int active) const
  {
    std::latch ready(active);
    std::vector<double> rates(active, 0);
    std::vector<std::exception_ptr> errors(active);
    std::vector<std::thread> threads;
    auto const measure_one = [&](int i) {
      std::unique_ptr<CellWork> work;
      try {
        impl::pin_to_cores(device);
        work = std::make_unique<CellWork>(device, m_models[model], batch);
        work->run(samples(batch, 0));
      } catch (...) {
        errors[i] = std::current_exception();
      }
      ready.arrive_and_wait();
      if (!work) return;
      Stopwatch const clock;
      int runs = 0;
      for (; runs == 0 || clock.seconds() < m_options.probe_seconds; ++runs)
        work->run(samples(batch, runs));
      rates[i] = runs / clock.seconds();
    };
    for (int i = 0; i < active; ++i)
      threads.emplace_back(measure_one, i);
    for (auto& thread : threads)
      thread.join();
    for (auto const& error : errors)
      if (error) std::rethrow_exception(error);
    return std::accumulate(rates.begin(), rates.end(), 0.0);
  }
};

double physical_bytes()
{
  return static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGE_SIZE));
}

void check(std::vector<ServedModel> const& models, std::vector<ServingDevice> const& devices,
           ProfilingOptions const& options)
{
  require(!models.empty(), "profiling: there is no model");
  require(!devices.empty(), "profiling: there is no device");
  require(!options.batches.empty() && options.batches[0] > 0 &&
              std::is_sorted(options.batches.begin(), options.batches.end(), std::less_equal<>()),
          "profiling: the batches must be positive and increase");
  require(options.seconds >= 0 && options.probe_seconds >= 0, "profiling: seconds must not be negative");
  require(options.least_runs > 0 && options.probe_rounds > 0, "profiling: runs and rounds must be positive");
  for (auto const& model : models) {
    require(model.weights != nullptr, "profiling: model '", model.name, "' has no weights");
    require(model.architecture.input == models[0].architecture.input &&
                model.architecture.classes == models[0].architecture.classes && model.architecture.classes > 0,
            "profiling: models '", model.name, "' and '", models[0].name, "' differ in input or classes");
  }
}

} // namespace

PlanningProblem measure_profile(std::vector<ServedModel> const& models, std::vector<ServingDevice> const& devices,
                                ProfilingOptions const& options)
{
  check(models, devices, options);
  PlanningProblem problem;
  problem.batches = options.batches;
  for (auto const& model : models)
    problem.models.push_back(model.name);
  Profiler profiler(models, options);
  for (auto const& device : devices) {
    bool const host = device.backend != nn::BackendKind::cuda;
    std::string const memory = host ? "host" : "gpu";
    auto const memory_place = std::find_if(problem.memories.begin(), problem.memories.end(),
                                           [&](MemoryPool const& pool) { return pool.name == memory; });
    auto const memory_index = static_cast<int>(memory_place - problem.memories.begin());
    if (memory_place == problem.memories.end()) {
      require(host || options.device_bytes > 0, "profiling: device_bytes must be given for device '", device.name, "'");
      double const capacity =
          host ? (options.host_bytes > 0 ? options.host_bytes : physical_bytes()) : options.device_bytes;
      problem.memories.push_back({memory, memory_limit(capacity, 0)});
    }
    auto const class_name = concat(nn::name(device.backend), " x ", device.threads);
    auto const class_place = std::find_if(problem.classes.begin(), problem.classes.end(),
                                          [&](DeviceClass const& it) { return it.name == class_name; });
    problem.devices.push_back({device.name, static_cast<int>(class_place - problem.classes.begin()), memory_index});
    if (class_place != problem.classes.end()) continue;
    // The probe takes the model in the middle, so that it is neither all overhead nor all arithmetic.
    struct Solo
    {
      double seconds; ///< per sample
      int model, batch;
    };
    std::vector<Solo> best;
    for (int m = 0; m < static_cast<int>(models.size()); ++m) {
      Solo fastest{0, m, 0};
      for (int const batch : options.batches) {
        problem.profile.push_back(profiler.measure(device, m, batch));
        double const seconds = problem.profile.back().seconds / batch;
        if (fastest.batch == 0 || seconds < fastest.seconds) fastest = {seconds, m, batch};
      }
      best.push_back(fastest);
    }
    std::sort(best.begin(), best.end(), [](Solo const& a, Solo const& b) { return a.seconds < b.seconds; });
    auto const& middle = best[best.size() / 2];
    problem.classes.push_back({class_name, profiler.probe(device, middle.model, middle.batch)});
  }
  check(problem, "profiling");
  return problem;
}

} // namespace nasturtium::ensemble
