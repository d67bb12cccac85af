// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks of published files and their download, apart from the registry's list.
#pragma once

#include <nasturtium/datasets/registry.hpp>

namespace nasturtium::datasets::impl {

/// Sets state and detail from the content of check.path (decompressed) against a hash; an empty one: unchecked.
void check_content(FileCheck& check, std::string const& content_sha256);

/// Unpacks the regular files of a tar archive (plain or gzip'ed) whose last path element is in `names` into `folder`.
/// Throws for a broken archive and for a name that it lacks.
void unpack(std::string const& archive, std::vector<std::string> const& names, std::string const& folder);

} // namespace nasturtium::datasets::impl
