// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names that tell who works on a folder: HOST.BOOT.NAMESPACE.PROCESS.START-NUMBER.
#pragma once

#include <string>
#include <string_view>

namespace nasturtium::nas::impl {

/// A name that no other call has, in whichever process of whichever machine.
std::string owned_name();

enum class Owner {
  alive,
  dead,
  elsewhere ///< on another machine, or no such name: only time can tell
};
Owner owner_of(std::string_view name);

} // namespace nasturtium::nas::impl
