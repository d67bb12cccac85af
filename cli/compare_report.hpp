// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Devices of one or several machines side by side: tables and figures from stored timings.
#pragma once

#include "comparison.hpp"
#include "report_document.hpp"

#include <string>
#include <utility>
#include <vector>

namespace nasturtium::cli {

/// Tables `devices`, `steps`, `forward`, `layers` and `roofline`, figures `roofline` and `speed-up`; what has no data
/// is left out. Speed-ups are against the first device of the first file. `files` are names and contents; with several
/// of them a device is called NAME: DEVICE. The same bytes for the same files.
ReportDocument compare_report(std::vector<std::pair<std::string, Comparison>> const& files);

} // namespace nasturtium::cli
