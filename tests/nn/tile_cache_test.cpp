// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file of measured tiles: what is written is read again, what is wrong is refused, and nobody's measurements are
// lost.
#include "../../nn/src/network.hpp"
#include "../../nn/src/tile_cache.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/philox.hpp>

#include "support/temporary.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace nasturtium;
using namespace nasturtium::nn;
using namespace nasturtium::nn::impl;
using kernels::Pass;
using kernels::TileChoice;
using kernels::TileProblem;
using kernels::Tiles;

namespace {

TileProblem problem(int number)
{
  TileProblem it;
  it.pass = static_cast<Pass>(number % 3);
  it.arithmetic = static_cast<TileProblem::Arithmetic>(number / 3 % 4);
  auto& s = it.shape;
  s.batch = 1 + number, s.in_height = 9, s.in_width = 10, s.in_channels = 12, s.out_channels = 16;
  s.kernel_height = 3, s.kernel_width = 5, s.stride_height = 1, s.stride_width = 2;
  s.pad_top = 0, s.pad_bottom = 1, s.pad_left = 2, s.pad_right = 3, s.dilation_height = 1, s.dilation_width = 2;
  s.groups = 2;
  return it;
}

std::vector<TileChoice> choices(int count)
{
  std::vector<TileChoice> list;
  for (int i = 0; i < count; ++i)
    list.push_back({problem(i), static_cast<Tiles>(i % 4)});
  return list;
}

std::string text_of(std::vector<TileChoice> const& list)
{
  return tile_choices_text(list, "a GPU");
}

std::string replaced(std::string text, std::string const& what, std::string const& by)
{
  auto const at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

/// Choices of the process are forgotten before and after a test.
struct Fresh
{
  Fresh() { kernels::forget_tile_choices(); }
  ~Fresh() { kernels::forget_tile_choices(); }
};

} // namespace

TEST_CASE("tile file: what is written is read again", "[tiles]")
{
  auto const list = choices(24);
  auto const text = text_of(list);
  auto const read = parse_tile_choices(text, "tiles.json", "a GPU");
  CHECK(text_of(read) == text);
  REQUIRE(read.size() == list.size());
  CHECK(read[5].tiles == list[5].tiles);
  CHECK(read[5].problem.shape.pad_right == 3);
  CHECK(read[5].problem.shape.dilation_width == 2);
  CHECK(parse_tile_choices(text_of({}), "tiles.json", "a GPU").empty());
}

TEST_CASE("tile file: what is wrong in it is named", "[tiles]")
{
  auto const text = text_of(choices(2));
  auto const twice = text_of({choices(1)[0], choices(1)[0]});
  std::map<std::string, std::string> const faults{
      {replaced(text, "nasturtium-tiles", "nasturtium-files"), "format"},
      {replaced(text, "\"version\": 1", "\"version\": 2"), "version"},
      {replaced(text, "a GPU", "another GPU"), "'device' is 'another GPU', but this device is 'a GPU'"},
      {replaced(text, "\"forward\"", "\"sideways\""), "choices[0]: field 'pass'"},
      {replaced(text, "\"planned\"", "\"round\""), "choices[0]: field 'tiles'"},
      {replaced(text, "\"batch\": 2", "\"batch\": -2"), "choices[1]: field 'batch'"},
      {replaced(text, "\"filters\": 16", "\"filters\": 1.5"), "choices[0]: field 'filters'"},
      {replaced(text, "\"groups\": 2", "\"groups\": 0"), "choices[0]: field 'groups'"},
      {replaced(text, "\"groups\"", "\"troops\""), "choices[0]"},
      {replaced(text, "[9, 10, 12]", "[9, 10]"), "choices[0]: field 'input' must have 3 numbers, has 2"},
      {replaced(text, "[3, 5]", "[3, \"5\"]"), "choices[0]: field 'kernel'"},
      {replaced(text, "[3, 5]", "[3, 1e300]"), "choices[0]: field 'kernel'"},
      {twice, "choices[1]: this problem is there twice"},
      {text.substr(0, text.size() / 2), "tiles.json:"},
      {"", "tiles.json"},
      {"[]", "tiles.json"},
  };
  for (auto const& [bad, told] : faults) {
    INFO(told);
    CHECK_THROWS_WITH(parse_tile_choices(bad, "tiles.json", "a GPU"),
                      Catch::Matchers::StartsWith("tiles.json") && Catch::Matchers::ContainsSubstring(told));
  }
}

TEST_CASE("tile file: any change of bytes is read or refused", "[tiles]")
{
  auto const text = text_of(choices(3));
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    auto const word = [&](std::uint64_t i) { return random_block(seed, Purpose::synthetic, 0, i).word[0]; };
    std::string bad = text;
    for (std::uint64_t i = 0; i <= word(0) % 3; ++i)
      bad[word(2 * i + 1) % bad.size()] = static_cast<char>(word(2 * i + 2));
    if (word(9) % 4 == 0) bad.resize(word(10) % bad.size());
    try {
      parse_tile_choices(bad, "tiles.json", "a GPU");
    } catch (Error const&) {
      ++refused;
    }
  }
  CHECK(refused > 1500);
}

TEST_CASE("tile cache: each problem is measured once, and what others wrote meanwhile stays", "[tiles]")
{
  Fresh const fresh;
  test::TemporaryFolder const folder;
  std::string const path = folder / "tiles.json";
  int measured = 0;
  auto const measure = [&](Tiles tiles) {
    return [&measured, tiles] {
      ++measured;
      return tiles;
    };
  };
  TileCache cache(path, "a GPU");
  CHECK(read_file(path) == text_of({})); // begun, so that a bad place shows at once
  cache.need(problem(5), []() -> std::optional<Tiles> { return std::nullopt; }); // no memory to measure in
  CHECK_FALSE(kernels::chosen_tiles(problem(5)));
  cache.need(problem(0), measure(Tiles::small));
  cache.need(problem(0), measure(Tiles::wide));
  cache.need(problem(1), measure(Tiles::planned));
  CHECK(measured == 2);
  write_file(path, text_of({{problem(2), Tiles::narrow}, {problem(0), Tiles::wide}})); // by another process
  cache.save();
  CHECK(kernels::chosen_tiles(problem(0)) == Tiles::small);
  CHECK(kernels::chosen_tiles(problem(2)) == Tiles::narrow);

  kernels::forget_tile_choices();
  TileCache again(path, "a GPU");
  CHECK(kernels::tile_choices().size() == 3);
  CHECK(kernels::chosen_tiles(problem(0)) == Tiles::small);
  again.need(problem(1), measure(Tiles::wide));
  CHECK(measured == 2);
  auto const before = read_file(path);
  again.save();
  CHECK(read_file(path) == before);

  CHECK_THROWS_WITH(TileCache(path, "another GPU"), Catch::Matchers::StartsWith(path));
  write_file(path, "{");
  CHECK_THROWS_WITH(TileCache(path, "a GPU"), Catch::Matchers::StartsWith(path));
  CHECK_THROWS_AS(TileCache("", "a GPU"), Error);
  CHECK_THROWS_WITH(TileCache(folder / "missing/tiles.json", "a GPU"),
                    Catch::Matchers::StartsWith(folder / "missing/tiles.json"));

  // A file that turns bad while one trains costs the file alone.
  again.need(problem(7), measure(Tiles::small));
  CHECK_THROWS_AS(again.save(), Error);
  again.try_save();
  CHECK(read_file(path) == "{");
  write_file(path, before);
  again.try_save(); // given up
  CHECK(read_file(path) == before);
}

TEST_CASE("tile cache: processes that save at the same time lose nothing", "[tiles]")
{
  Fresh const fresh;
  test::TemporaryFolder const folder;
  std::string const path = folder / "tiles.json";
  constexpr int processes = 4, each = 12;
  std::vector<pid_t> children;
  for (int child = 0; child < processes; ++child) {
    pid_t const pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      try {
        TileCache cache(path, "a GPU");
        for (int i = 0; i < each; ++i) {
          cache.need(problem(child * each + i), [] { return Tiles::small; });
          cache.save();
        }
        ::_exit(0);
      } catch (...) {
        ::_exit(1);
      }
    }
    children.push_back(pid);
  }
  for (pid_t const pid : children) {
    int status = 1;
    ::waitpid(pid, &status, 0);
    CHECK(status == 0);
  }
  CHECK(parse_tile_choices(read_file(path), path, "a GPU").size() == std::size_t{processes * each});
}

TEST_CASE("tile cache: the contractions of a network are those of its step", "[tiles]")
{
  auto const architecture = spec::load_architecture("cnn2");
  int const batches[] = {8};
  Network<Kokkos::DefaultHostExecutionSpace, float> const network({}, architecture, batches, true, 1, 0);
  std::map<Pass, int> count;
  network.for_each_contraction(8, [&](Pass pass, kernels::Conv2dShape const& shape) {
    CHECK(shape.batch == 8);
    CHECK(shape.out_rows() > 0);
    ++count[pass];
  });
  // Two convolutions before batch norms, whose forward passes make moments, and two dense layers; the first has no
  // gradient to pass on.
  CHECK(count[Pass::forward] == 2);
  CHECK(count[Pass::backward_data] == 3);
  CHECK(count[Pass::backward_weights] == 4);
}
