// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counts what a test program takes from the heap by replacing its allocation function: for one source of a program, and
// not under the sanitizers, which replace it themselves.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace nasturtium::test {

inline std::atomic<long> allocations{0};

} // namespace nasturtium::test

// Not inlined, or the compiler sees a free for what it takes for the library's new.
[[gnu::noinline]] void* operator new(std::size_t size)
{
  ++nasturtium::test::allocations;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept
{
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept
{
  std::free(memory);
}
