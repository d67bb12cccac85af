// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The commands of `nasturtium ensemble`, in the order in which they are used; each works on the files that the one
// before it left.
#pragma once

#include "program.hpp"

namespace nasturtium::cli {

int ensemble_search(Invocation const& call);
int ensemble_select(Invocation const& call);
int ensemble_plan(Invocation const& call);
int ensemble_serve(Invocation const& call);
int ensemble_bench(Invocation const& call);

} // namespace nasturtium::cli
