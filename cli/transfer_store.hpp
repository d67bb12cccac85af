// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace nasturtium::cli {

/// Adds `store` and its subcommands to a verb. What was asked for is put into `action`, which outlives the parser and
/// returns the exit status.
void add_transfer_store(CLI::App& app, std::function<int()>& action);

} // namespace nasturtium::cli
