// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Genomes as text: "0-3-12". A decoded architecture is named "SPACE 0-3-12", so that the genome can be had back from
// it.
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <string>
#include <string_view>

namespace nasturtium::nas {

/// The genes in decimal with '-' between them; empty for an empty genome.
std::string format_genome(Genome const& genome);

/// The genes of such a text; not checked against any space. Throws Error naming `source` and the text.
Genome parse_genome(std::string_view text, std::string const& source);

/// "SPACE GENOME", what decode() names its architectures.
std::string architecture_name(std::string_view space, Genome const& genome);

/// The genome whose network this is: what decode() was given, up to the names of nodes. It is read from the
/// architecture's name and held against the layers. Throws Error where the name is another space's or no genome, and
/// where the genome decodes to other layers (an architecture that was edited).
Genome encode(SearchSpace const& space, nn::spec::Architecture const& architecture);

} // namespace nasturtium::nas
