// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/math_mode.hpp>

#include <nasturtium/core/error.hpp>

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace nasturtium::kernels {

namespace {

MathMode from_environment()
{
  char const* const text = std::getenv("NASTURTIUM_MATH");
  std::string_view const name = text == nullptr ? "float32" : text;
  if (name == "tf32") return MathMode::tf32;
  if (name == "bf16") return MathMode::bf16;
  require(name == "float32", "NASTURTIUM_MATH: expected float32, tf32 or bf16, got '", name, "'");
  return MathMode::full;
}

std::atomic<MathMode>& current()
{
  static std::atomic<MathMode> mode = from_environment();
  return mode;
}

} // namespace

MathMode math_mode()
{
  return current().load(std::memory_order_relaxed);
}

void set_math_mode(MathMode mode)
{
  current().store(mode, std::memory_order_relaxed);
}

} // namespace nasturtium::kernels
