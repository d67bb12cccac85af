// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <nasturtium/core/random.hpp>

namespace nasturtium::estimator {

/// Of the genomes' generators and operators.
using Random = RandomStream;

} // namespace nasturtium::estimator
