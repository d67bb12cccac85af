// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The arithmetic of float32 convolutions and dense layers on CUDA. Operands and results are float32 in memory and sums
// are float32 in every mode; hosts and double always compute in full precision.
#pragma once

namespace nasturtium::kernels {

enum class MathMode {
  full, ///< float32 products on the SIMT units, each sum in ascending order with fused multiply-adds
  tf32, ///< operands rounded to 10 bits of mantissa, tensor cores
  bf16, ///< operands rounded to 7 bits of mantissa, tensor cores
};

/// The mode of this process: until it is set, what the environment variable NASTURTIUM_MATH says (float32, tf32, bf16;
/// anything else throws Error), `full` without it.
MathMode math_mode();

/// To be called before networks are built or run, not while they do.
void set_math_mode(MathMode mode);

} // namespace nasturtium::kernels
