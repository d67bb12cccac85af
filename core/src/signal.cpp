// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/signal.hpp>

#include <csignal>

namespace nasturtium {
namespace {

std::sig_atomic_t volatile interrupt_flag = 0;

extern "C" void nasturtium_on_interrupt(int)
{
  interrupt_flag = 1;
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

} // namespace

void catch_interrupts()
{
  struct sigaction action{};
  action.sa_handler = nasturtium_on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted()
{
  return interrupt_flag != 0;
}

void reset_interrupts()
{
  interrupt_flag = 0;
  catch_interrupts();
}

} // namespace nasturtium
