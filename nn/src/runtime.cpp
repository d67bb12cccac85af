// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/nn/trainer.hpp>

#include "tile_cache.hpp"

#include <Kokkos_Core.hpp>
#ifdef KOKKOS_ENABLE_OPENMP
#include <omp.h>
#endif

#include <algorithm>
#include <sstream>

namespace nasturtium::nn {

std::vector<BackendKind> available_backends()
{
  std::vector<BackendKind> backends;
#ifdef KOKKOS_ENABLE_CUDA
  backends.push_back(BackendKind::cuda);
#endif
#ifdef KOKKOS_ENABLE_OPENMP
  backends.push_back(BackendKind::openmp);
#endif
#ifdef KOKKOS_ENABLE_SERIAL
  backends.push_back(BackendKind::serial);
#endif
  return backends;
}

std::string name(BackendKind backend)
{
  switch (backend) {
  case BackendKind::serial:
    return "serial";
  case BackendKind::openmp:
    return "openmp";
  case BackendKind::cuda:
    return "cuda";
  }
  return "unknown";
}

BackendKind parse_backend(std::string const& text)
{
  auto const available = available_backends();
  std::string names;
  for (auto const backend : available) {
    if (name(backend) == text) return backend;
    names += (names.empty() ? "" : ", ") + name(backend);
  }
  for (auto const backend : {BackendKind::serial, BackendKind::openmp, BackendKind::cuda}) {
    require(name(backend) != text, "backend '", text, "' is not part of this build (it has: ", names, ")");
  }
  fail("backend '", text, "' is unknown (this build has: ", names, ")");
}

std::string name(Status status)
{
  switch (status) {
  case Status::completed:
    return "completed";
  case Status::stopped:
    return "stopped";
  case Status::paused:
    return "paused";
  case Status::early_stopped:
    return "early_stopped";
  case Status::diverged:
    return "diverged";
  case Status::out_of_memory:
    return "out_of_memory";
  case Status::invalid:
    return "invalid";
  case Status::time_limit:
    return "time_limit";
  case Status::interrupted:
    return "interrupted";
  }
  return "unknown";
}

Runtime::Runtime(int& argc, char** argv, int threads)
{
  require(!Kokkos::is_initialized() && !Kokkos::is_finalized(), "the backends can be brought up only once");
  require(threads >= 0, "threads must not be negative, got ", threads);
#ifdef KOKKOS_ENABLE_OPENMP
  constexpr int most = 512; // Kokkos' table of OpenMP threads has so many places and does not look
  require(threads <= most, "threads: ", threads, " are more than the ", most, " that the OpenMP backend can have");
  require(threads > 0 || omp_get_max_threads() <= most, "OMP_NUM_THREADS: ", omp_get_max_threads(),
          " are more than the ", most, " that the OpenMP backend can have");
#endif
  // Ours go first, so that a --kokkos flag of the user's has the last word.
  std::string thread_flag = concat("--kokkos-num-threads=", threads);
  std::string quiet_flag = "--kokkos-disable-warnings";
  std::vector<char*> arguments;
  if (argc > 0) arguments.push_back(argv[0]);
  arguments.push_back(quiet_flag.data());
  if (threads > 0) arguments.push_back(thread_flag.data());
  for (int i = 1; i < argc; ++i)
    arguments.push_back(argv[i]);
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  try {
    Kokkos::initialize(count, arguments.data());
  } catch (std::exception const& error) {
    std::string message = error.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    fail("the backends did not come up: ", message);
  }
#ifdef KOKKOS_ENABLE_CUDA
  try {
    impl::TileCache::of_process(Kokkos::Cuda().cuda_device_prop().name); // now, so that a bad file begins nothing
  } catch (...) {
    Kokkos::finalize();
    throw;
  }
#endif
  std::copy(arguments.begin(), arguments.begin() + count, argv);
  if (count < argc) argv[count] = nullptr;
  argc = count;
}

Runtime::~Runtime()
{
  Kokkos::finalize();
}

std::vector<std::pair<std::string, std::string>> runtime_description()
{
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string backends;
  for (auto const backend : available_backends())
    backends += (backends.empty() ? "" : ", ") + name(backend);
  pairs.emplace_back("backends", backends);
  pairs.emplace_back("kokkos version",
                     concat(KOKKOS_VERSION / 10000, ".", KOKKOS_VERSION / 100 % 100, ".", KOKKOS_VERSION % 100));
  if (!Kokkos::is_initialized() || Kokkos::is_finalized()) return pairs;
  pairs.emplace_back("host threads", concat(Kokkos::num_threads()));
#ifdef KOKKOS_ENABLE_CUDA
  pairs.emplace_back("device", Kokkos::Cuda().cuda_device_prop().name);
#endif
  // Kokkos' own report: lines "key: value", the sections without a value.
  std::ostringstream report;
  Kokkos::print_configuration(report, false);
  std::istringstream lines(report.str());
  for (std::string line; std::getline(lines, line);) {
    auto const colon = line.find(':');
    auto const begin = line.find_first_not_of(" \t");
    if (colon == std::string::npos || begin == std::string::npos) continue;
    auto const value = line.find_first_not_of(" \t", colon + 1);
    if (value == std::string::npos) continue;
    pairs.emplace_back("kokkos " + line.substr(begin, colon - begin), line.substr(value));
  }
  return pairs;
}

} // namespace nasturtium::nn
