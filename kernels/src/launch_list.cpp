// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/launch_list.hpp>

#include "launch.hpp"
#include "launch_order.hpp"

#include <algorithm>
#include <cstdint>
#include <map>

namespace nasturtium::kernels {
namespace impl {

namespace {

/// The shortest common supersequence of two rows; between equals, what `a` has goes first.
std::vector<int> shortest_common(std::vector<int> const& a, std::vector<int> const& b)
{
  // length[i][j]: of the supersequence of a[i ...] and b[j ...].
  std::size_t const width = b.size() + 1;
  std::vector<std::uint32_t> length((a.size() + 1) * width);
  for (std::size_t i = a.size() + 1; i-- > 0;) {
    for (std::size_t j = width; j-- > 0;) {
      auto& here = length[i * width + j];
      if (i == a.size())
        here = static_cast<std::uint32_t>(b.size() - j);
      else if (j == b.size())
        here = static_cast<std::uint32_t>(a.size() - i);
      else if (a[i] == b[j])
        here = length[(i + 1) * width + j + 1] + 1;
      else
        here = std::min(length[(i + 1) * width + j], length[i * width + j + 1]) + 1;
    }
  }
  std::vector<int> common;
  common.reserve(length[0]);
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    bool const both = i < a.size() && j < b.size() && a[i] == b[j];
    bool const first =
        both || j == b.size() || (i < a.size() && length[(i + 1) * width + j] <= length[i * width + j + 1]);
    common.push_back(first ? a[i] : b[j]);
    if (first) ++i;
    if (both || !first) ++j;
  }
  return common;
}

} // namespace

std::vector<MergedLaunch> merge_rows(std::span<std::vector<int> const> rows)
{
  std::vector<std::vector<int>> different(rows.begin(), rows.end());
  std::sort(different.begin(), different.end(),
            [](auto const& a, auto const& b) { return a.size() != b.size() ? a.size() > b.size() : a < b; });
  different.erase(std::unique(different.begin(), different.end()), different.end());
  std::vector<int> common;
  for (auto const& row : different)
    common = shortest_common(common, row);

  std::vector<std::size_t> next(rows.size(), 0);
  std::vector<MergedLaunch> merged;
  for (int const kind : common) {
    MergedLaunch launch{kind, {}};
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (next[row] == rows[row].size() || rows[row][next[row]] != kind) continue;
      launch.rows.push_back(static_cast<int>(row));
      ++next[row];
    }
    if (!launch.rows.empty()) merged.push_back(std::move(launch)); // empty where rows took an earlier place
  }
  return merged;
}

} // namespace impl

template <class ExecSpace>
LaunchList<ExecSpace>::LaunchList() = default;
template <class ExecSpace>
LaunchList<ExecSpace>::~LaunchList() = default;
template <class ExecSpace>
LaunchList<ExecSpace>::LaunchList(LaunchList&&) noexcept = default;
template <class ExecSpace>
LaunchList<ExecSpace>& LaunchList<ExecSpace>::operator=(LaunchList&&) noexcept = default;

template <class ExecSpace>
auto LaunchList<ExecSpace>::begin_part() -> Part&
{
  return m_parts.emplace_back();
}

template <class ExecSpace>
std::size_t LaunchList<ExecSpace>::size() const
{
  std::size_t sum = 0;
  for (auto const& part : m_parts)
    sum += part.size();
  return sum;
}

template <class ExecSpace>
FusedLaunches<ExecSpace>::FusedLaunches(std::span<LaunchList<ExecSpace> const> lists)
{
  // Kinds are numbered as they turn up, so that the order does not depend on addresses.
  std::map<std::pair<std::type_index, int>, int> numbers;
  std::size_t parts = 0;
  for (auto const& list : lists)
    parts = std::max(parts, list.m_parts.size());
  std::vector<std::vector<int>> rows, last_rows;
  std::vector<impl::MergedLaunch> order;
  std::vector<impl::Launch<ExecSpace> const*> together;
  for (std::size_t part = 0; part < parts; ++part) {
    rows.assign(lists.size(), {});
    for (std::size_t row = 0; row < lists.size(); ++row) {
      if (part >= lists[row].m_parts.size()) continue;
      for (auto const& launch : lists[row].m_parts[part])
        rows[row].push_back(numbers.emplace(launch->kind(), static_cast<int>(numbers.size())).first->second);
    }
    if (part == 0 || rows != last_rows) order = impl::merge_rows(rows);
    std::swap(rows, last_rows);
    std::vector<std::size_t> next(lists.size(), 0);
    for (auto const& merged : order) {
      together.clear();
      for (int const number : merged.rows) {
        auto const row = static_cast<std::size_t>(number);
        together.push_back(lists[row].m_parts[part][next[row]++].get());
      }
      m_launches.push_back(together.size() == 1 ? together.front()->copy() : together.front()->fuse(together));
    }
  }
}

template <class ExecSpace>
FusedLaunches<ExecSpace>::~FusedLaunches() = default;
template <class ExecSpace>
FusedLaunches<ExecSpace>::FusedLaunches(FusedLaunches&&) noexcept = default;
template <class ExecSpace>
FusedLaunches<ExecSpace>& FusedLaunches<ExecSpace>::operator=(FusedLaunches&&) noexcept = default;

template <class ExecSpace>
void FusedLaunches<ExecSpace>::run(ExecSpace const& exec) const
{
  for (auto const& launch : m_launches)
    launch->run(exec);
}

template <class ExecSpace>
std::size_t FusedLaunches<ExecSpace>::size() const
{
  return m_launches.size();
}

#define NASTURTIUM_LAUNCHES(ExecSpace, Unused)                                                                         \
  template class LaunchList<ExecSpace>;                                                                                \
  template class FusedLaunches<ExecSpace>;
NASTURTIUM_INSTANTIATE_SERIAL(NASTURTIUM_LAUNCHES, )
NASTURTIUM_INSTANTIATE_OPENMP(NASTURTIUM_LAUNCHES, )
NASTURTIUM_INSTANTIATE_CUDA(NASTURTIUM_LAUNCHES, )

} // namespace nasturtium::kernels
