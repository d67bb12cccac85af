// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <Kokkos_Core.hpp>
#include <catch2/catch_session.hpp>

int main(int argc, char* argv[])
{
  Kokkos::ScopeGuard const guard(argc, argv);
  return Catch::Session().run(argc, argv);
}
