// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "program.hpp"

#include <functional>

namespace nasturtium::cli {

/// Adds `evaluate` to a verb. What was asked for is put into `action`, which outlives the parser and returns the exit
/// status.
void add_estimate_evaluate(CLI::App& app, std::function<int(Invocation const&)>& action);

} // namespace nasturtium::cli
