// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ctrl-C: the first asks to stop at a consistent point, the second ends the program at once.
#pragma once

namespace nasturtium {

/// From now on SIGINT and SIGTERM set the flag; the default action returns with the first of them.
void catch_interrupts();

/// True once a signal came. May be polled in inner loops.
bool interrupted();

/// Clears the flag and catches again.
void reset_interrupts();

} // namespace nasturtium
