// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "program.hpp"

#include <functional>

namespace nasturtium::cli {

/// Adds the subcommands `evolve` (times networks for a training set) and `fit` (makes a model of archives) to the verb
/// `estimate`; the chosen one sets `action`. `call` must outlive the action.
void add_estimate_model(CLI::App& app, Invocation const& call, std::function<int()>& action);

} // namespace nasturtium::cli
