// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <nasturtium/core/random.hpp>

namespace nasturtium::nas {

/// Of one decision of a search: Random(seed, number of the decision).
using Random = RandomStream;

} // namespace nasturtium::nas
