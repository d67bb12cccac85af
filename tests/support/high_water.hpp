// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The most memory that Kokkos' allocator had given out at once, as its tools' callbacks see it: for the project's own
// allocations, told by their labels.
#pragma once

#include <Kokkos_Core.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace nasturtium::testing {

/// One at a time, from its construction to its end; labels that start with `prefix` count.
class HighWaterMark
{
public:
  explicit HighWaterMark(std::string_view prefix = "nasturtium::")
  {
    state() = {std::string(prefix), 0, 0};
    Kokkos::Tools::Experimental::set_allocate_data_callback(
        [](Kokkos::Tools::SpaceHandle, char const* label, void const*, std::uint64_t bytes) {
          change(label, static_cast<std::int64_t>(bytes));
        });
    Kokkos::Tools::Experimental::set_deallocate_data_callback(
        [](Kokkos::Tools::SpaceHandle, char const* label, void const*, std::uint64_t bytes) {
          change(label, -static_cast<std::int64_t>(bytes));
        });
  }
  ~HighWaterMark()
  {
    Kokkos::Tools::Experimental::set_allocate_data_callback(nullptr);
    Kokkos::Tools::Experimental::set_deallocate_data_callback(nullptr);
  }
  HighWaterMark(HighWaterMark const&) = delete;
  HighWaterMark& operator=(HighWaterMark const&) = delete;

  std::int64_t bytes() const { return state().most; }
  std::int64_t alive() const { return state().now; }

private:
  struct State
  {
    std::string prefix;
    std::int64_t now = 0, most = 0;
  };
  static State& state()
  {
    static State it;
    return it;
  }
  static void change(char const* label, std::int64_t bytes)
  {
    auto& it = state();
    if (!std::string_view(label).starts_with(it.prefix)) return;
    it.now += bytes;
    it.most = std::max(it.most, it.now);
  }
};

} // namespace nasturtium::testing
