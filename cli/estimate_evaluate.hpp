// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "program.hpp"

#include <functional>

namespace nasturtium::cli {

/// Adds the subcommand `evaluate` (methods against each other on timings) to the verb `estimate`; it sets `action`.
/// `call` must outlive the action.
void add_estimate_evaluate(CLI::App& app, Invocation const& call, std::function<int()>& action);

} // namespace nasturtium::cli
