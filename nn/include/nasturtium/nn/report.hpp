// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reports of a training in journals and curve files. Format: docs/formats.md.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/nn/trainer.hpp>

#include <string>

namespace nasturtium::nn {

/// Epoch, step and every metric; what was not measured is null.
json::Object to_json(EpochReport const& report);
/// The same back; fields that are missing or null become NaN. Throws Error for wrong types.
EpochReport parse_report(json::Reader& reader);

/// A status by its name; throws Error that begins with `what` for anything else.
Status parse_status(std::string const& text, std::string const& what);

/// What a search looks at: validation accuracy, or the first that there is of validation loss, training accuracy and
/// training loss; NaN for none.
double curve_value(EpochReport const& report);
/// Curves as CSV: the header, and a row: id, epoch, value, step and every metric.
std::string curves_header();
std::string curves_row(std::string const& id, EpochReport const& report);

} // namespace nasturtium::nn
