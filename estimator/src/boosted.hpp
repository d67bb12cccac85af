// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "trees.hpp"

#include <nasturtium/estimator/regression.hpp>

namespace nasturtium::estimator {

/// log(measured / roofline) of each row: what transfers between devices and sizes.
std::vector<double> log_ratios(FeatureRows const& rows);

/// The method `nasturtium`'s trees.
TreeOptions own_tree_options(std::size_t rows);

} // namespace nasturtium::estimator
