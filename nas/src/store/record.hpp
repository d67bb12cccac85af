// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// record.json of a stored model. Format: docs/formats.md.
#pragma once

#include <nasturtium/nas/weight_store.hpp>

#include <string>
#include <string_view>

namespace nasturtium::nas::impl {

bool is_model_id(std::string_view id);
/// Throws Error naming `what` and the value.
void check_model_id(std::string const& id, std::string const& what);

std::string format_record(StoredModel const& model);
/// Throws Error naming `source` and the field.
StoredModel parse_record(std::string_view text, std::string const& source);

} // namespace nasturtium::nas::impl
