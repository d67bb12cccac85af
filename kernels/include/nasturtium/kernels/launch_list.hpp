// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Launches as values. A small network fills a fraction of a device, and a launch costs the same whatever it does, so
// that the steps of many networks are worth putting together: each network's launches are recorded as a list, and the
// lists are fused into one row of launches in which what several networks launch of one kind is one launch. Shapes need
// not agree, and neither need topologies: the lists are merged so that their common kinds meet. Fusing changes no bit
// of a result, since no kernel's result depends on what else a launch does.
//
//   std::vector<LaunchList<ExecSpace>> lists(networks.size());
//   for (i ...) lists[i].record([&] { networks[i].step(exec); });    // nothing runs
//   FusedLaunches<ExecSpace> const fused(lists);
//   fused.run(exec);                                                 // a step of every network
#pragma once

#include <nasturtium/kernels/types.hpp>

#include <memory>
#include <span>
#include <vector>

namespace nasturtium::kernels {

namespace impl {
template <class ExecSpace>
class Launch;
/// The list that the calling thread records on, or null.
template <class ExecSpace>
inline constinit thread_local std::vector<std::unique_ptr<Launch<ExecSpace>>>* recording = nullptr;
} // namespace impl

/// The launches of one network's step, in order, in parts: one for each recording. What they point at must outlive
/// them; sizes, pointers and numbers are those of the recording.
template <class ExecSpace>
class LaunchList
{
public:
  LaunchList();
  ~LaunchList();
  LaunchList(LaunchList&&) noexcept;
  LaunchList& operator=(LaunchList&&) noexcept;

  /// Calls f, and appends a part: what this library's functions launch from within it on the calling thread, instead
  /// of launching it. Only launches are put off: f must not copy, fence or read results. Not to be nested.
  template <class F>
  void record(F const& f)
  {
    struct Scope
    {
      explicit Scope(std::vector<std::unique_ptr<impl::Launch<ExecSpace>>>& list)
      {
        impl::recording<ExecSpace> = &list;
      }
      ~Scope() { impl::recording<ExecSpace> = nullptr; }
      Scope(Scope const&) = delete;
      Scope& operator=(Scope const&) = delete;
    } const scope(begin_part());
    f();
  }

  /// Launches in all.
  std::size_t size() const;

private:
  template <class>
  friend class FusedLaunches;
  using Part = std::vector<std::unique_ptr<impl::Launch<ExecSpace>>>;
  std::vector<Part> m_parts;

  Part& begin_part();
};

/// Lists as one row of launches. Every list's own order is kept. The first parts of all lists are merged, then the
/// second ones, and so on. Equal parts of n launches fuse into n; others into a short common row of all of them
/// (launch_order.hpp), in time proportional to the different lists times the square of the launches. A part whose kinds
/// are those of the one before costs no such search, so that long lists which repeat are recorded in parts.
template <class ExecSpace>
class FusedLaunches
{
public:
  /// Keeps no reference to the lists.
  explicit FusedLaunches(std::span<LaunchList<ExecSpace> const> lists);
  ~FusedLaunches();
  FusedLaunches(FusedLaunches&&) noexcept;
  FusedLaunches& operator=(FusedLaunches&&) noexcept;

  /// Enqueues the row on the instance; allocates, copies and fences nothing.
  void run(ExecSpace const& exec) const;

  /// Fused launches of the row. A backend may need several launches for one of many networks (a launch's argument has
  /// 4 KiB on CUDA), and hosts make those of a fused launch one after another.
  std::size_t size() const;

private:
  std::vector<std::unique_ptr<impl::Launch<ExecSpace>>> m_launches;
};

} // namespace nasturtium::kernels
