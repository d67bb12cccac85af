// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/tile_choice.hpp>

#include "instantiate.hpp"

#include <nasturtium/kernels/math_mode.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

namespace nasturtium::kernels {

namespace {

using Key = std::array<int, 18>;

Key key_of(TileProblem const& problem)
{
  auto const& s = problem.shape;
  return {static_cast<int>(problem.pass),
          static_cast<int>(problem.arithmetic),
          s.batch,
          s.in_height,
          s.in_width,
          s.in_channels,
          s.out_channels,
          s.kernel_height,
          s.kernel_width,
          s.stride_height,
          s.stride_width,
          s.pad_top,
          s.pad_bottom,
          s.pad_left,
          s.pad_right,
          s.dilation_height,
          s.dilation_width,
          s.groups};
}

struct Choices
{
  std::atomic<bool> any = false; ///< so that whoever chose nothing pays for no lookup
  std::mutex mutex;
  std::map<Key, TileChoice> by_problem;
};

Choices& choices()
{
  static Choices all;
  return all;
}

} // namespace

template <class Real>
TileProblem TileProblem::of(Pass pass, Conv2dShape const& shape)
{
  auto arithmetic = Arithmetic::float64;
  if constexpr (sizeof(Real) == 4) {
    auto const mode = math_mode();
    arithmetic = mode == MathMode::tf32   ? Arithmetic::tf32
                 : mode == MathMode::bf16 ? Arithmetic::bf16
                                          : Arithmetic::float32;
  }
  return {pass, arithmetic, shape};
}
template TileProblem TileProblem::of<float>(Pass, Conv2dShape const&);
template TileProblem TileProblem::of<double>(Pass, Conv2dShape const&);

void choose_tiles(TileChoice const& choice)
{
  auto& all = choices();
  std::scoped_lock const lock(all.mutex);
  all.by_problem.insert_or_assign(key_of(choice.problem), choice);
  all.any = true;
}

std::optional<Tiles> chosen_tiles(TileProblem const& problem)
{
  auto& all = choices();
  if (!all.any.load(std::memory_order_relaxed)) return std::nullopt;
  std::scoped_lock const lock(all.mutex);
  auto const found = all.by_problem.find(key_of(problem));
  if (found == all.by_problem.end()) return std::nullopt;
  return found->second.tiles;
}

std::vector<TileChoice> tile_choices()
{
  auto& all = choices();
  std::scoped_lock const lock(all.mutex);
  std::vector<TileChoice> list;
  list.reserve(all.by_problem.size());
  for (auto const& [key, choice] : all.by_problem)
    list.push_back(choice);
  return list;
}

void forget_tile_choices()
{
  auto& all = choices();
  std::scoped_lock const lock(all.mutex);
  all.by_problem.clear();
  all.any = false;
}

Tiles fastest_tiles(std::vector<TileTime> const& times)
{
  double planned = std::numeric_limits<double>::infinity(), best = planned;
  auto fastest = Tiles::planned;
  for (auto const& [tiles, seconds] : times) {
    if (!std::isfinite(seconds) || seconds <= 0) continue;
    if (tiles == Tiles::planned) planned = std::min(planned, seconds);
    if (seconds >= best) continue;
    best = seconds;
    fastest = tiles;
  }
  return best * 1.03 < planned && std::isfinite(planned) ? fastest : Tiles::planned;
}

template <class ExecSpace, class Real>
std::optional<Tiles> measure_tiles(ExecSpace const& exec, Pass pass, Conv2dShape const& shape)
{
  // The names of contraction/contraction.cpp.
  static constexpr std::pair<std::string_view, Tiles> known[] = {{"tiles", Tiles::planned},
                                                                 {"tiles-wide", Tiles::wide},
                                                                 {"tiles-narrow", Tiles::narrow},
                                                                 {"tiles-small", Tiles::small}};
  std::vector<std::pair<std::string_view, Tiles>> contenders;
  auto const names = conv2d_implementations<ExecSpace, Real>(pass, shape);
  for (auto const& contender : known) {
    if (std::find(names.begin(), names.end(), contender.first) != names.end()) contenders.push_back(contender);
  }
  if (names.front() != "tiles" || contenders.size() < 2) return Tiles::planned;

  using Memory = Kokkos::View<Real*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  using Bytes = Kokkos::View<std::byte*, Kokkos::LayoutRight, typename ExecSpace::memory_space>;
  Memory src, weights, dst;
  Bytes workspace;
  try {
    auto const make = [&](Index count) { // zeros: products of zeros take as long as others
      return Memory(Kokkos::view_alloc(exec, std::string("nasturtium::measure_tiles")),
                    static_cast<std::size_t>(count));
    };
    src = make(shape.in_size()), weights = make(shape.weights_size()), dst = make(shape.out_size());
    std::size_t const bytes = std::max({conv2d_forward_workspace<ExecSpace, Real>(shape),
                                        conv2d_backward_data_workspace<ExecSpace, Real>(shape),
                                        conv2d_backward_weights_workspace<ExecSpace, Real>(shape)});
    workspace =
        Bytes(Kokkos::view_alloc(exec, Kokkos::WithoutInitializing, std::string("nasturtium::measure_tiles")), bytes);
  } catch (std::exception const&) { // Kokkos throws a type of its own that depends on its version
    return std::nullopt;
  }
  auto const call = [&](std::string_view name) {
    Buffer<ExecSpace, Real> const none;
    if (pass == Pass::forward)
      conv2d_forward<ExecSpace, Real>(exec, name, shape, src, weights, none, Activation::identity, dst, {}, workspace);
    else if (pass == Pass::backward_data)
      conv2d_backward_data<ExecSpace, Real>(exec, name, shape, dst, weights, src, false, workspace);
    else
      conv2d_backward_weights<ExecSpace, Real>(exec, name, shape, src, dst, weights, none, workspace);
  };
  auto const seconds_of = [&](std::string_view name, int calls) {
    auto const begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i)
      call(name);
    exec.fence("nasturtium::measure_tiles");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
  };
  // In rounds, so that a disturbance does not meet one shape alone; the least time of each counts.
  std::vector<TileTime> times;
  for (auto const& [name, tiles] : contenders) {
    seconds_of(name, 1);
    times.push_back({tiles, std::numeric_limits<double>::infinity()});
  }
  int const calls = std::clamp(static_cast<int>(5e-4 / seconds_of(contenders.front().first, 2)), 4, 50);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i)
      times[i].seconds = std::min(times[i].seconds, seconds_of(contenders[i].first, calls));
  }
  return fastest_tiles(times);
}

#define NASTURTIUM_MEASURE_TILES(ExecSpace, Real)                                                                      \
  template std::optional<Tiles> measure_tiles<ExecSpace, Real>(ExecSpace const&, Pass, Conv2dShape const&);
NASTURTIUM_INSTANTIATE(NASTURTIUM_MEASURE_TILES)

} // namespace nasturtium::kernels
