// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "trees.hpp"

#include <cstddef>

namespace nasturtium::estimator {

/// The method `nasturtium`'s trees.
TreeOptions own_tree_options(std::size_t rows);

} // namespace nasturtium::estimator
