// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A population is one launch: problems of one pass whose tiles have one shape are put on a list, the list is passed by
// value as the kernel's argument (no allocation, no copy, no synchronisation), and a block finds its problem by the
// number of its tile. What a list is run on is a template parameter, the device or the host's emulation.
#pragma once

#include "cuda_plan.hpp"

#include <nasturtium/kernels/tile_choice.hpp>

#include <optional>
#include <span>

namespace nasturtium::kernels::impl::cuda {

template <class Real>
struct ProblemList
{
  /// Keeps a list within the 4 KiB that every CUDA version takes as an argument.
  static constexpr int capacity = 11;

  Problem<Real> problem[capacity];
  int first[capacity + 1] = {}; ///< first tile (or element, in `finish`) of each problem; after the last, their number
  int count = 0;

  KOKKOS_INLINE_FUNCTION int find(int item) const
  {
    int i = 0;
    while (item >= first[i + 1])
      ++i;
    return i;
  }
  int items() const { return first[count]; }
  void add(Problem<Real> const& p, int items)
  {
    problem[count] = p;
    first[count + 1] = first[count] + items;
    ++count;
  }
};

static_assert(sizeof(ProblemList<double>) <= 3840);

/// Collects problems and launches them: launch.tiles(list, shape, vector), then launch.finish(list) for those with
/// slices.
template <class Real, class Launch>
class Schedule
{
public:
  explicit Schedule(Launch const& launch) : m_launch(launch) {}

  void add(Problem<Real> const& p, TileShape shape, int vector)
  {
    if (m_tiles.count > 0 && (m_tiles.count == ProblemList<Real>::capacity || shape != m_shape || vector != m_vector ||
                              std::int64_t{m_tiles.items()} + p.tiles() > std::numeric_limits<int>::max()))
      flush();
    m_shape = shape, m_vector = vector;
    m_tiles.add(p, p.tiles());
    if (p.slices > 1) m_sums.add(p, p.groups * p.partial_rows() * p.columns);
  }
  void flush()
  {
    if (m_tiles.count > 0) m_launch.tiles(m_tiles, m_shape, m_vector);
    if (m_sums.count > 0) m_launch.finish(m_sums);
    m_tiles.count = m_sums.count = 0;
  }

private:
  Launch const& m_launch;
  ProblemList<Real> m_tiles, m_sums;
  TileShape m_shape = TileShape::small;
  int m_vector = 1;
};

/// What was chosen for a contraction (tile_choice.hpp).
template <class Real>
std::optional<TileShape> chosen_shape(Contraction<Real> const& c)
{
  auto const chosen = chosen_tiles(TileProblem::of<Real>(c.pass, c.shape));
  if (!chosen || *chosen == Tiles::planned) return std::nullopt;
  return *chosen == Tiles::wide ? TileShape::wide : *chosen == Tiles::narrow ? TileShape::narrow : TileShape::small;
}

/// Runs contractions of one pass, each with a workspace of its workspace_bytes. Problems that can share a launch do,
/// wherever they stand on the list. tiles_of(contraction): a shape of tiles, or nothing for the plan's.
template <class Real, class Launch, class TilesOf>
void run_list(Launch const& launch, std::span<Contraction<Real> const> list, std::span<std::byte* const> workspaces,
              TilesOf const& tiles_of)
{
  Schedule<Real, Launch> schedule(launch);
  auto const add_all = [&](auto const& wanted) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      auto const& c = list[i];
      if (c.shape.batch == 0 && c.pass != Pass::backward_weights) continue; // no pixels; gradients of weights become 0
      for_each_problem(
          c, workspaces[i],
          [&](Problem<Real> const& p, TileShape shape, int vector) {
            if (wanted(shape, vector)) schedule.add(p, shape, vector);
          },
          tiles_of(c));
    }
  };
  if (list.size() == 1) {
    add_all([](TileShape, int) { return true; });
  } else {
    for (auto const shape : {TileShape::wide, TileShape::narrow, TileShape::small}) {
      for (bool const single : {false, true})
        add_all([&](TileShape its, int vector) { return its == shape && (vector == 1) == single; });
    }
  }
  schedule.flush();
}

} // namespace nasturtium::kernels::impl::cuda
