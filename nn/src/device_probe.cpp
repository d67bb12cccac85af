// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/nn/device_probe.hpp>

#include "population.hpp"

#include <nasturtium/core/clock.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/provenance.hpp>
#include <nasturtium/core/statistics.hpp>
#include <nasturtium/kernels/dense.hpp>
#include <nasturtium/kernels/elementwise.hpp>
#include <nasturtium/kernels/probe.hpp>

#include <fstream>
#include <limits>
#include <optional>

namespace nasturtium::nn {
namespace {

/// The first number of a file of the kernel's, if there is one.
std::optional<double> number_in(std::string const& path)
{
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  return parse_double(word);
}

/// Number behind "KEY" (with its colon) in a file of lines "KEY: NUMBER unit"; the first one.
double field_in(std::string const& path, std::string const& key)
{
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    std::istringstream rest(line.substr(line.find(':') + 1));
    double value = 0;
    rest >> value;
    return value;
  }
  return 0;
}

double host_clock_mhz()
{
  if (auto const khz = number_in("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")) return *khz / 1000;
  return field_in("/proc/cpuinfo", "cpu MHz");
}

DeviceMemory host_memory()
{
  double total = 1024 * field_in("/proc/meminfo", "MemTotal"), free = 1024 * field_in("/proc/meminfo", "MemAvailable");
  // A container may have less than its machine: control groups of version 2, then of version 1.
  for (auto const& [limit, used] :
       {std::pair{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        std::pair{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"}}) {
    auto const most = number_in(limit), now = number_in(used);
    if (!most || !now || *most >= total) continue; // "max" is no number
    total = *most;
    free = std::min(free, std::max(0.0, *most - *now));
  }
  return {static_cast<std::int64_t>(total), static_cast<std::int64_t>(free)};
}

#ifdef KOKKOS_ENABLE_CUDA
/// Attribute of the device that Kokkos chose; 0 where the driver does not know it.
int cuda_attribute(cudaDeviceAttr attribute)
{
  int value = 0;
  return cudaDeviceGetAttribute(&value, attribute, Kokkos::Cuda().cuda_device()) == cudaSuccess ? value : 0;
}
#endif

template <class ExecSpace>
DeviceIdentity identify(ExecSpace const& exec)
{
#ifdef KOKKOS_ENABLE_CUDA
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Cuda>) {
    int version = 0;
    bool const known = cudaDriverGetVersion(&version) == cudaSuccess;
    return {exec.cuda_device_prop().name, known ? concat(version / 1000, ".", version / 10 % 100) : std::string(),
            cuda_attribute(cudaDevAttrMultiProcessorCount), cuda_attribute(cudaDevAttrClockRate) / 1000.0};
  }
#endif
  return {
      make_provenance(0, nullptr, 0, {}).cpu, {}, std::max(1, static_cast<int>(exec.concurrency())), host_clock_mhz()};
}

template <class ExecSpace>
DeviceMemory memory_of()
{
#ifdef KOKKOS_ENABLE_CUDA
  if constexpr (std::is_same_v<ExecSpace, Kokkos::Cuda>) {
    std::size_t free = 0, total = 0;
    bool const known = cudaMemGetInfo(&free, &total) == cudaSuccess;
    require(known, "the device does not say how much memory it has");
    return {static_cast<std::int64_t>(total), static_cast<std::int64_t>(free)};
  }
#endif
  return host_memory();
}

template <class ExecSpace, class T>
using Memory = Kokkos::View<T*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;

template <class ExecSpace, class T>
Memory<ExecSpace, T> allocate(ExecSpace const& exec, std::string const& label, std::int64_t count)
{
  return Memory<ExecSpace, T>(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, label), count);
}

template <class ExecSpace>
kernels::Buffer<ExecSpace, float> buffer(Memory<ExecSpace, float> const& memory)
{
  return kernels::Buffer<ExecSpace, float>(memory.data(), memory.extent(0));
}

/// Seconds of every repetition of `work` and its fence, for about so many seconds; two at least, after one that is not
/// counted.
template <class ExecSpace, class Work>
std::vector<double> repeat(ExecSpace const& exec, double seconds, Work const& work)
{
  work();
  exec.fence("nasturtium::probe: warm");
  std::vector<double> times;
  for (Stopwatch all; times.size() < 2 || all.seconds() < seconds;) {
    Stopwatch const one;
    work();
    exec.fence("nasturtium::probe: done");
    times.push_back(one.seconds());
  }
  return times;
}

double fastest(std::vector<double> const& times)
{
  return std::max(*std::min_element(times.begin(), times.end()), 1e-9);
}

template <class ExecSpace>
double measure_flops(ExecSpace const& exec, double seconds)
{
  int const side = impl::has_cores<ExecSpace>() ? 1024 : 8192;
  kernels::DenseShape const shape{side, side, side};
  std::int64_t const count = std::int64_t{side} * side;
  auto const src = allocate<ExecSpace, float>(exec, "nasturtium::probe::src", count);
  auto const weights = allocate<ExecSpace, float>(exec, "nasturtium::probe::weights", count);
  auto const dst = allocate<ExecSpace, float>(exec, "nasturtium::probe::dst", count);
  auto const workspace =
      allocate<ExecSpace, std::byte>(exec, "nasturtium::probe::workspace",
                                     static_cast<std::int64_t>(kernels::dense_workspace<ExecSpace, float>(shape)));
  kernels::fill<ExecSpace, float>(exec, 0.5F, buffer<ExecSpace>(src));
  kernels::fill<ExecSpace, float>(exec, 0.25F, buffer<ExecSpace>(weights));
  auto const times = repeat(exec, seconds, [&] {
    kernels::dense_forward<ExecSpace, float>(exec, shape, buffer<ExecSpace>(src), buffer<ExecSpace>(weights), {},
                                             kernels::Activation::identity, buffer<ExecSpace>(dst), {},
                                             kernels::Workspace<ExecSpace>(workspace.data(), workspace.size()));
  });
  return shape.flops() / fastest(times);
}

template <class ExecSpace>
double measure_bandwidth(ExecSpace const& exec, double seconds)
{
  // A gigabyte and a half in all on a device, half of one on a host: several times the largest last-level caches.
  std::int64_t const wanted = std::int64_t{impl::has_cores<ExecSpace>() ? 512 : 1536} << 20;
  std::int64_t const count = std::max<std::int64_t>(
      std::min(wanted, memory_of<ExecSpace>().free / 8) / (3 * static_cast<std::int64_t>(sizeof(float))), 1 << 16);
  auto const a = allocate<ExecSpace, float>(exec, "nasturtium::probe::a", count);
  auto const b = allocate<ExecSpace, float>(exec, "nasturtium::probe::b", count);
  auto const c = allocate<ExecSpace, float>(exec, "nasturtium::probe::c", count);
  for (auto const& memory : {a, b, c})
    kernels::fill<ExecSpace, float>(exec, 1.0F, buffer<ExecSpace>(memory)); // first touch, by the threads that use it
  auto const times = repeat(exec, seconds, [&] {
    kernels::triad<ExecSpace, float>(exec, 0.5F, buffer<ExecSpace>(b), buffer<ExecSpace>(c), buffer<ExecSpace>(a));
  });
  return 3.0 * sizeof(float) * static_cast<double>(count) / fastest(times);
}

} // namespace

DeviceIdentity device_identity(TrainerOptions const& trainer)
{
  DeviceIdentity identity;
  impl::with_backend(trainer.backend,
                     [&]<class ExecSpace>() { identity = identify(impl::make_instance<ExecSpace>(trainer.threads)); });
  return identity;
}

DeviceMemory device_memory(BackendKind backend)
{
  DeviceMemory memory;
  impl::with_backend(backend, [&]<class ExecSpace>() { memory = memory_of<ExecSpace>(); });
  return memory;
}

DeviceSpeed device_speed(TrainerOptions const& trainer, double seconds)
{
  require(seconds > 0, "seconds of a probe must be > 0, got ", seconds);
  DeviceSpeed speed;
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    auto const exec = impl::make_instance<ExecSpace>(trainer.threads);
    speed.flops = measure_flops(exec, 0.45 * seconds);
    speed.bandwidth = measure_bandwidth(exec, 0.45 * seconds);
    speed.launch_seconds = median(repeat(exec, 0.1 * seconds, [&] { kernels::empty_launch(exec); }));
  });
  return speed;
}

} // namespace nasturtium::nn
