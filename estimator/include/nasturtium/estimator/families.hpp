// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Networks as people draw them, in several sizes: what estimators that learnt from random networks are tested on
// (reference section 8, E2 and E3). Attention is no op of this project, so there is no transformer among them.
#pragma once

#include <nasturtium/estimator/workload.hpp>

#include <string>
#include <vector>

namespace nasturtium::estimator {

/// "lenet", "alexnet", "vgg", "resnet", "mobilenet", "mlp".
std::vector<std::string> family_names();

/// Sizes of one family for images of side 28 (one channel) and 32 (three), ten classes: every width (in eighths of the
/// published one: 1, 2, 4, 8 up to `max_eighths`), depth and a few batches and optimisers. Named FAMILY-w2-d1-b32-adam.
/// The published shapes, scaled to small images as their CIFAR versions are. Throws Error for an unknown family.
std::vector<Workload> family_networks(std::string const& family, int max_eighths = 4);

} // namespace nasturtium::estimator
