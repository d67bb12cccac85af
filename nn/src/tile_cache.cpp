// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "tile_cache.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/file_lock.hpp>
#include <nasturtium/core/json.hpp>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>
#include <utility>

namespace nasturtium::nn::impl {

namespace {

constexpr char const* format = "nasturtium-tiles";
constexpr std::array<std::string_view, 3> pass_names{"forward", "backward_data", "backward_weights"};
constexpr int most = 1 << 28; // what the kernels count to

template <class Names>
std::vector<std::string> words(Names const& names)
{
  return {names.begin(), names.end()};
}

json::Object to_object(kernels::TileChoice const& choice)
{
  auto const& problem = choice.problem;
  auto const& s = problem.shape;
  json::Object object;
  object["pass"] = pass_names[static_cast<std::size_t>(problem.pass)];
  object["arithmetic"] = kernels::TileProblem::arithmetic_names[static_cast<std::size_t>(problem.arithmetic)];
  object["batch"] = s.batch;
  object["input"] = {s.in_height, s.in_width, s.in_channels};
  object["filters"] = s.out_channels;
  object["kernel"] = {s.kernel_height, s.kernel_width};
  object["stride"] = {s.stride_height, s.stride_width};
  object["padding"] = {s.pad_top, s.pad_bottom, s.pad_left, s.pad_right};
  object["dilation"] = {s.dilation_height, s.dilation_width};
  object["groups"] = s.groups;
  object["tiles"] = kernels::tiles_names[static_cast<std::size_t>(choice.tiles)];
  return object;
}

/// Reads an array of so many integers >= low.
void read_numbers(json::Reader& reader, std::string_view field, int low, std::vector<int*> const& to)
{
  auto const& array = reader.array(field);
  require(array.size() == to.size(), reader.what(field), " must have ", to.size(), " numbers, has ", array.size());
  for (std::size_t i = 0; i < to.size(); ++i)
    *to[i] = static_cast<int>(json::to_integer(array[i], reader.what(field), low, most));
}

kernels::TileChoice parse_choice(json::Value const& value, std::string const& where)
{
  json::Reader reader(value, where);
  kernels::TileChoice choice;
  auto& problem = choice.problem;
  auto& s = problem.shape;
  problem.pass = static_cast<kernels::Pass>(reader.choice("pass", words(pass_names)));
  problem.arithmetic = static_cast<kernels::TileProblem::Arithmetic>(
      reader.choice("arithmetic", words(kernels::TileProblem::arithmetic_names)));
  s.batch = static_cast<int>(reader.integer("batch", 0, most));
  read_numbers(reader, "input", 1, {&s.in_height, &s.in_width, &s.in_channels});
  s.out_channels = static_cast<int>(reader.integer("filters", 1, most));
  read_numbers(reader, "kernel", 1, {&s.kernel_height, &s.kernel_width});
  read_numbers(reader, "stride", 1, {&s.stride_height, &s.stride_width});
  read_numbers(reader, "padding", 0, {&s.pad_top, &s.pad_bottom, &s.pad_left, &s.pad_right});
  read_numbers(reader, "dilation", 1, {&s.dilation_height, &s.dilation_width});
  s.groups = static_cast<int>(reader.integer("groups", 1, most));
  choice.tiles = static_cast<kernels::Tiles>(reader.choice("tiles", words(kernels::tiles_names)));
  reader.finish();
  return choice;
}

} // namespace

std::vector<kernels::TileChoice> parse_tile_choices(std::string_view text, std::string const& source,
                                                    std::string const& device)
{
  auto const document = json::parse(text, source);
  json::Reader reader(document, source);
  json::check_format(reader, format, 1);
  auto const its = reader.string("device");
  require(its == device, reader.what("device"), " is '", its, "', but this device is '", device,
          "': what is fast there need not be fast here (another file for NASTURTIUM_TILES)");
  std::vector<kernels::TileChoice> choices;
  std::set<std::string> known;
  auto const& array = reader.array("choices");
  for (std::size_t i = 0; i < array.size(); ++i) {
    auto const where = concat(source, ": choices[", i, "]");
    choices.push_back(parse_choice(array[i], where));
    auto problem = to_object(choices.back());
    problem.erase("tiles");
    require(known.insert(json::compact(problem)).second, where, ": this problem is there twice");
  }
  reader.finish();
  return choices;
}

std::string tile_choices_text(std::vector<kernels::TileChoice> const& choices, std::string const& device)
{
  json::Object object;
  object["format"] = format;
  object["version"] = 1;
  object["device"] = device;
  json::Array array;
  for (auto const& choice : choices)
    array.push_back(to_object(choice));
  object["choices"] = std::move(array);
  return json::pretty(object);
}

TileCache::TileCache(std::string path, std::string device) : m_path(std::move(path)), m_device(std::move(device))
{
  require(!m_path.empty(), "NASTURTIUM_TILES: the name of a file is empty");
  FileLock const lock(m_path + ".lock", FileLock::On::file, FileLock::Wait::yes);
  if (std::error_code ignored; !std::filesystem::exists(m_path, ignored))
    write_file(m_path, tile_choices_text({}, m_device));
  take_over();
}

TileCache* TileCache::of_process(std::string const& device)
{
  static std::mutex mutex;
  static std::unique_ptr<TileCache> cache;
  std::scoped_lock const lock(mutex);
  if (!cache) {
    char const* const path = std::getenv("NASTURTIUM_TILES");
    if (path == nullptr) return nullptr;
    cache = std::make_unique<TileCache>(path, device);
  }
  return cache.get();
}

void TileCache::take_over()
{
  for (auto const& choice : parse_tile_choices(read_file(m_path), m_path, m_device)) {
    if (!kernels::chosen_tiles(choice.problem)) kernels::choose_tiles(choice);
  }
}

void TileCache::save()
{
  std::scoped_lock const lock(m_mutex);
  if (!m_changed) return;
  FileLock const file_lock(m_path + ".lock", FileLock::On::file, FileLock::Wait::yes);
  take_over();
  write_file(m_path, tile_choices_text(kernels::tile_choices(), m_device));
  m_changed = false;
}

void TileCache::try_save()
{
  if (m_given_up) return;
  try {
    save();
  } catch (Error const& error) {
    m_given_up = true;
    std::cerr << "nasturtium: " << error.what() << "; measured tiles are not kept\n";
  }
}

} // namespace nasturtium::nn::impl
