// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files that others may remove at any moment: what is gone is an answer, everything else that fails is an Error.
#pragma once

#include "store/layer_object.hpp"

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nasturtium::nas::impl {

/// Throws Error with the path, what could not be done and errno's text.
[[noreturn]] void fail_errno(std::string const& path, char const* what);

/// Names in a folder, but for those with '.' in front; none where it is gone.
std::vector<std::string> names_in(std::string const& folder);

/// Of a file or folder, links not followed.
std::optional<struct stat> status_of(std::string const& path);

std::optional<Bytes> read_if_there(std::string const& path);

/// A new file with these bytes, synced if asked for. Throws Error where there is one; leaves none where it fails.
void write_new(std::string const& path, std::string_view bytes, bool sync);

/// Makes the folder's names survive the machine. File systems that cannot keep their own promises.
void sync_folder(std::string const& path);

/// False where the file is gone.
bool unlink_if_there(std::string const& path);

/// False where `from` is gone, or where a folder would replace one that is not empty (errno tells).
bool try_rename(std::string const& from, std::string const& to);

/// errno of link(), 0 for success.
int try_link(std::string const& from, std::string const& to);
/// True for the errno of a file system that has no hard links.
bool refuses_links(int error);

void make_folder(std::string const& path); ///< an existing one is fine

std::int64_t now_nanoseconds(); ///< since 1970
/// Seconds since the file or folder was changed.
double age_of(struct stat const& status);

} // namespace nasturtium::nas::impl
