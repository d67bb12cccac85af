// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/kernels/loss.hpp>
#include <nasturtium/kernels/step_state.hpp>

#include "instantiate.hpp"
#include "parallel.hpp"

namespace nasturtium::kernels {
namespace impl {

struct StartSteps
{
  StepState const* rows;
  StepState* current;
  double* sums;
  Index* cursor;
  KOKKOS_FUNCTION void operator()(Index, Index) const
  {
    *current = rows[0];
    for (int i = 0; i < metric_count; ++i)
      sums[i] = 0;
    *cursor = 0;
  }
};

struct FinishStep
{
  StepState const* rows;
  Index count;
  StepState* current;
  double* sums;
  double* log;
  Index* cursor;
  KOKKOS_FUNCTION void operator()(Index, Index) const
  {
    Index const row = *cursor;
    if (row >= count) return; // a step that was not asked for is not logged
    for (int i = 0; i < metric_count; ++i) {
      log[row * metric_count + i] = sums[i];
      sums[i] = 0;
    }
    if (row + 1 < count) *current = rows[row + 1];
    *cursor = row + 1;
  }
};

} // namespace impl

template <class ExecSpace>
void start_steps(ExecSpace const& exec, Buffer<ExecSpace, StepState const> rows, Buffer<ExecSpace, StepState> current,
                 Buffer<ExecSpace, double> sums, Buffer<ExecSpace, Index> cursor)
{
  static std::string const label = "nasturtium::start_steps";
  impl::require_extent("start_steps", "rows", rows, 1);
  impl::require_extent("start_steps", "current", current, 1);
  impl::require_extent("start_steps", "sums", sums, metric_count);
  impl::require_extent("start_steps", "cursor", cursor, 1);
  impl::for_items(exec, label, 1, 1, impl::StartSteps{rows.data(), current.data(), sums.data(), cursor.data()});
}

template <class ExecSpace>
void finish_step(ExecSpace const& exec, Buffer<ExecSpace, StepState const> rows, Buffer<ExecSpace, StepState> current,
                 Buffer<ExecSpace, double> sums, Buffer<ExecSpace, double> log, Buffer<ExecSpace, Index> cursor)
{
  static std::string const label = "nasturtium::finish_step";
  auto const count = static_cast<Index>(rows.extent(0));
  impl::require_extent("finish_step", "current", current, 1);
  impl::require_extent("finish_step", "sums", sums, metric_count);
  impl::require_extent("finish_step", "log", log, count * metric_count);
  impl::require_extent("finish_step", "cursor", cursor, 1);
  impl::for_items(exec, label, 1, 1,
                  impl::FinishStep{rows.data(), count, current.data(), sums.data(), log.data(), cursor.data()});
}

#define NASTURTIUM_STEPS(ExecSpace, Unused)                                                                            \
  template void start_steps<ExecSpace>(ExecSpace const&, Buffer<ExecSpace, StepState const>,                           \
                                       Buffer<ExecSpace, StepState>, Buffer<ExecSpace, double>,                        \
                                       Buffer<ExecSpace, Index>);                                                      \
  template void finish_step<ExecSpace>(ExecSpace const&, Buffer<ExecSpace, StepState const>,                           \
                                       Buffer<ExecSpace, StepState>, Buffer<ExecSpace, double>,                        \
                                       Buffer<ExecSpace, double>, Buffer<ExecSpace, Index>);
NASTURTIUM_INSTANTIATE_SERIAL(NASTURTIUM_STEPS, )
NASTURTIUM_INSTANTIATE_OPENMP(NASTURTIUM_STEPS, )
NASTURTIUM_INSTANTIATE_CUDA(NASTURTIUM_STEPS, )

} // namespace nasturtium::kernels
