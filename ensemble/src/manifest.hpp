// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A library model's manifest as JSON: a file of its own, and a line of the catalogue.
#pragma once

#include <nasturtium/core/json.hpp>
#include <nasturtium/ensemble/model_library.hpp>

namespace nasturtium::ensemble::impl {

json::Value to_json(LibraryModel const& model);

/// Throws Error naming `where`, field and value.
LibraryModel model_from(json::Value const& value, std::string const& where);

/// Throws Error, starting with `where`, for what no manifest may say of a model.
void check_model(LibraryModel const& model, std::string const& where);

} // namespace nasturtium::ensemble::impl
