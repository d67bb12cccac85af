// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Measured shapes of tiles (kernels/tile_choice.hpp) in a file, so that every contraction is measured once for a GPU.
// The environment variable NASTURTIUM_TILES names the file; without it nothing is measured. Format: docs/formats.md.
#pragma once

#include <nasturtium/kernels/tile_choice.hpp>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nasturtium::nn::impl {

/// The choices of a file's text. Throws Error, with `source` and the field, for whatever is wrong in it, a problem that
/// occurs twice, and one of another device.
std::vector<kernels::TileChoice> parse_tile_choices(std::string_view text, std::string const& source,
                                                    std::string const& device);
std::string tile_choices_text(std::vector<kernels::TileChoice> const& choices, std::string const& device);

/// A file of choices and what was measured since.
class TileCache
{
public:
  /// Takes the file's choices over; begins it where there is none. Throws Error for a file that cannot be used or
  /// written.
  TileCache(std::string path, std::string device);

  /// That of this process and device; null where NASTURTIUM_TILES is not set. The first call opens it.
  static TileCache* of_process(std::string const& device);

  /// Measures a problem that has no choice yet: measure() gives its shape of tiles, or nothing where it could not.
  template <class Measure>
  void need(kernels::TileProblem const& problem, Measure const& measure)
  {
    std::scoped_lock const lock(m_mutex);
    if (kernels::chosen_tiles(problem)) return;
    std::optional<kernels::Tiles> const tiles = measure();
    if (!tiles) return;
    kernels::choose_tiles({problem, *tiles});
    m_changed = true;
  }

  /// Writes the file where something was measured, together with what others have written to it since; processes of one
  /// machine wait for each other. Throws Error where it cannot be written.
  void save();
  /// The same, but what goes wrong is told on stderr, once, and nothing is saved from then on: no training should fail
  /// for it.
  void try_save();

private:
  std::string m_path, m_device;
  std::mutex m_mutex;
  bool m_changed = false, m_given_up = false;

  /// Adds the file's choices to those of the process, which stay.
  void take_over();
};

} // namespace nasturtium::nn::impl
