// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "program.hpp"

#include <functional>

namespace nasturtium::cli {

/// Adds the subcommands `measure` (times networks) and `probe` (constants of the device) to the verb `estimate`; the
/// chosen one sets `action`. `call` must outlive the action.
void add_estimate_measure(CLI::App& app, Invocation const& call, std::function<int()>& action);

} // namespace nasturtium::cli
