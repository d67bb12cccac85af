// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One launch updates all weights of a network, which lie in one flat buffer with their gradients beside them.
#pragma once

#include <nasturtium/kernels/step_state.hpp>
#include <nasturtium/kernels/types.hpp>

namespace nasturtium::kernels {

/// What a step needs beside the buffers. Weight decay acts on the elements [0, decay_count) alone (kernels; biases and
/// batch-norm parameters lie behind them): as L2 it is added to the gradient, decoupled it shrinks the weight by
/// learning_rate * weight_decay (Loshchilov and Hutter, ICLR 2019).
template <class Real>
struct OptimiserStep
{
  Real learning_rate = 0;
  Real weight_decay = 0;
  bool decoupled = false;
  Index decay_count = 0;
  Real momentum = 0;                           ///< SGD, RMSprop
  bool nesterov = false;                       ///< SGD
  Real beta1 = Real(0.9), beta2 = Real(0.999); ///< Adam
  Real rho = Real(0.9);                        ///< RMSprop's decay of the mean square
  Real epsilon = Real(1e-8);
  Index step = 1;     ///< counts from 1: Adam's bias correction
  Real clip_norm = 0; ///< 0: no clipping; else gradients are scaled by min(1, clip_norm / norm), norm from squared_norm
  StepRates const* current = nullptr; ///< in device memory; where it is given, it stands for learning_rate and step
};

/// What depends on learning_rate and step. Throws Error for a step below 1.
template <class Real>
StepRates step_rates(OptimiserStep<Real> const& step);

/// Bytes of workspace of squared_norm.
template <class ExecSpace, class Real>
std::size_t squared_norm_workspace(Index count);

/// result[0] = sum of squares of values, summed in a fixed order in double.
template <class ExecSpace, class Real>
void squared_norm(ExecSpace const& exec, Buffer<ExecSpace, Real const> values, Buffer<ExecSpace, double> result,
                  Workspace<ExecSpace> workspace);

/// v = momentum * v + g; w -= lr * (nesterov ? g + momentum * v : v). PyTorch's form: the first v is g.
/// `norm` holds squared_norm of the gradient where clip_norm > 0, else it may be empty.
template <class ExecSpace, class Real>
void sgd(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
         Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> velocity,
         Buffer<ExecSpace, double const> norm);

/// Adam (Kingma and Ba, ICLR 2015), AdamW with `decoupled`; epsilon is added to the root of the corrected moment.
template <class ExecSpace, class Real>
void adam(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
          Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> first_moment,
          Buffer<ExecSpace, Real> second_moment, Buffer<ExecSpace, double const> norm);

/// RMSprop as PyTorch's (epsilon outside the root, not centred).
template <class ExecSpace, class Real>
void rmsprop(ExecSpace const& exec, OptimiserStep<Real> const& step, Buffer<ExecSpace, Real> weights,
             Buffer<ExecSpace, Real const> gradient, Buffer<ExecSpace, Real> mean_square,
             Buffer<ExecSpace, Real> velocity, Buffer<ExecSpace, double const> norm);

} // namespace nasturtium::kernels
