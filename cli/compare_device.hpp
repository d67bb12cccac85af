// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device that is timed lives in a process of its own: the number of threads is fixed for the life of one, and serial,
// OpenMP and CUDA may be different builds. The two sides talk in lines of JSON over a socket.
#pragma once

#include "compare_workload.hpp"
#include "program.hpp"

#include <sys/types.h>

#include <string>
#include <vector>

namespace nasturtium::cli {

/// A device as the command line names it: [LABEL=]BACKEND[:THREADS][@PROGRAM].
struct DeviceSpec
{
  std::string label;   ///< its name in files: BACKEND[:THREADS] where none is given
  std::string backend; ///< "serial", "openmp", "cuda"
  int threads = 0;     ///< openmp: >= 1; others: 0
  std::string program; ///< a nasturtium of another build; "": this one
};

/// Reads such words; openmp without a number takes `cores` threads. Throws Error for anything else, for backends that
/// this build lacks (unless another program is named) and for labels that stand twice.
std::vector<DeviceSpec> parse_devices(std::vector<std::string> const& words, int cores);
/// Serial, OpenMP with 1, 2, 4, ... and all `cores`, CUDA: what this build has.
std::vector<DeviceSpec> default_devices(int cores);

/// What ended a wait early: Ctrl-C.
struct Interrupted
{
};

/// The process of one device, from the outside. Every call waits for its answer; Ctrl-C (core/signal.hpp) throws
/// Interrupted. Throws Error naming the device for what goes wrong in there and for a process that ends.
class DeviceProcess
{
public:
  /// Starts the process with these flags for Kokkos; the backend comes up while others start.
  explicit DeviceProcess(DeviceSpec spec, std::vector<std::string> const& kokkos_flags = {});
  /// Ends the process, whatever it is at.
  ~DeviceProcess();
  DeviceProcess(DeviceProcess const&) = delete;
  DeviceProcess& operator=(DeviceProcess const&) = delete;

  DeviceSpec const& spec() const { return m_spec; }
  /// Identity and build; no speeds.
  ComparedDevice describe();
  /// Measures peak, bandwidth and launch for about so many seconds and keeps the best values in `device`.
  void probe(double seconds, ComparedDevice& device);

  struct Prepared
  {
    std::string failure;     ///< why it cannot be timed, or ""
    double call_seconds = 0; ///< of a warm call, where that was asked for
  };
  /// Builds the network there, in the place of the one before, and calls it once; `calibrate`: a few times more.
  Prepared prepare(Workload const& workload, bool calibrate);

  struct Timed
  {
    double seconds = 0, joules = 0; ///< of one call
    bool has_joules = false;
  };
  /// Times so many calls of what was prepared, after one that is not timed.
  Timed time(std::int64_t calls);

private:
  json::Value ask(json::Object const& question);
  [[noreturn]] void ended();

  DeviceSpec m_spec;
  pid_t m_pid = -1;
  int m_socket = -1;
  std::string m_received;
};

/// The other side: `nasturtium compare device` answers on stdout what it is asked on stdin until that ends.
int serve_device(DeviceOptions const& options, Invocation const& call);

} // namespace nasturtium::cli
