// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What Kokkos' tools report between a log's construction and its end: kernels, allocations, deep copies and fences.
#pragma once

#include <Kokkos_Core.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace nasturtium::testing {

/// One at a time. Events are texts: "kernel LABEL", "allocation LABEL", "copy LABEL", "fence NAME".
class KernelLog
{
public:
  KernelLog()
  {
    namespace tools = Kokkos::Tools::Experimental;
    list().clear();
    tools::set_begin_parallel_for_callback(kernel);
    tools::set_begin_parallel_reduce_callback(kernel);
    tools::set_begin_parallel_scan_callback(kernel);
    tools::set_begin_fence_callback([](char const* name, std::uint32_t, std::uint64_t*) { add("fence", name); });
    tools::set_allocate_data_callback(
        [](Kokkos::Tools::SpaceHandle, char const* name, void const*, std::uint64_t) { add("allocation", name); });
    tools::set_begin_deep_copy_callback([](Kokkos::Tools::SpaceHandle, char const* name, void const*,
                                           Kokkos::Tools::SpaceHandle, char const*, void const*,
                                           std::uint64_t) { add("copy", name); });
  }
  ~KernelLog()
  {
    namespace tools = Kokkos::Tools::Experimental;
    tools::set_begin_parallel_for_callback(nullptr);
    tools::set_begin_parallel_reduce_callback(nullptr);
    tools::set_begin_parallel_scan_callback(nullptr);
    tools::set_begin_fence_callback(nullptr);
    tools::set_allocate_data_callback(nullptr);
    tools::set_begin_deep_copy_callback(nullptr);
  }
  KernelLog(KernelLog const&) = delete;
  KernelLog& operator=(KernelLog const&) = delete;

  std::vector<std::string> events() const { return list(); }

private:
  static std::vector<std::string>& list()
  {
    static std::vector<std::string> events;
    return events;
  }
  static void add(char const* kind, std::string const& name)
  {
    // The fences that Kokkos makes because somebody listens.
    if (!name.ends_with("Kokkos Profile Tool Fence")) list().push_back(std::string(kind) + " " + name);
  }
  static void kernel(char const* name, std::uint32_t, std::uint64_t*) { add("kernel", name); }
};

} // namespace nasturtium::testing
