// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <Kokkos_Core.hpp>

#include <string>

namespace nasturtium::kernels::impl {

/// The label for Kokkos to launch a kernel under: nothing while no tool listens, since Kokkos copies the text, and a
/// training step must not touch the heap.
inline std::string const& launch_label(std::string const& label)
{
  static std::string const none;
  return Kokkos::Tools::profileLibraryLoaded() ? label : none;
}

} // namespace nasturtium::kernels::impl
