// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Settings as JSON fields, by the names that they have in the structure.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/predictor/presets.hpp>

#include <string>

namespace nasturtium::predictor {

/// Names of all fields that `configure` takes.
std::vector<std::string> setting_names();

/// Sets one field; throws Error, starting with `where`, for an unknown name, a wrong type or a value out of range.
void configure(Settings& settings, std::string const& field, json::Value const& value, std::string const& where);

/// All fields. NaN is null.
json::Object to_json(Settings const& settings);

} // namespace nasturtium::predictor
