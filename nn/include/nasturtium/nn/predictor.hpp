// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Inference batch by batch, for programs that serve networks: everything is allocated once, and a call allocates
// nothing and waits for nothing but itself.
#pragma once

#include <nasturtium/nn/trainer.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nasturtium::nn {

/// Samples that somebody else owns, NHWC, in one of two storages, as in datasets::Samples.
struct Images
{
  std::span<std::uint8_t const> bytes;
  std::span<float const> values;

  std::size_t size() const { return bytes.empty() ? values.size() : bytes.size(); }
  /// The values [first, first + count) of all.
  Images part(std::size_t first, std::size_t count) const
  {
    return {bytes.empty() ? bytes : bytes.subspan(first, count),
            values.empty() ? values : values.subspan(first, count)};
  }
};

/// Moments per channel of the training split as stored (datasets::Dataset); empty: samples are taken as they are.
struct InputMoments
{
  std::vector<float> mean, deviation;
};

/// Rows of float32 in the memory of a backend.
class RowBuffer
{
public:
  /// Throws Error for a backend that is not up and where memory is short.
  RowBuffer(BackendKind backend, int rows, int width);
  ~RowBuffer();
  RowBuffer(RowBuffer&&) noexcept;
  RowBuffer& operator=(RowBuffer&&) noexcept;

  BackendKind backend() const { return m_backend; }
  int rows() const { return m_rows; }
  int width() const { return m_width; }

  /// Copies the first `rows` rows to the host: one transfer. What writes them must have ended.
  void read(int rows, std::span<float> to) const;

  class Implementation; ///< one per backend
  Implementation& implementation() const { return *m_implementation; }

private:
  BackendKind m_backend;
  int m_rows, m_width;
  std::unique_ptr<Implementation> m_implementation;
};

struct InferenceOptions
{
  BackendKind backend = available_backends().front();
  /// Of host backends; 0: all. 1: the session works in the thread that calls it, and sessions of different threads run
  /// side by side. It must be made by the thread that uses it, whose own OpenMP regions get one thread from then on.
  int threads = 0;
  int batch = 128;                     ///< most samples of a call
  std::int64_t memory_limit_bytes = 0; ///< 0: none
};

/// A network that is ready for inference in float32. One thread at a time.
class InferenceSession
{
public:
  /// Allocates everything and loads the weights, all of which must be there. Throws Error naming what does not fit
  /// together, and where memory is short.
  InferenceSession(InferenceOptions const& options, spec::Architecture const& architecture, Weights const& weights,
                   InputMoments const& moments = {});
  ~InferenceSession();
  InferenceSession(InferenceSession&&) noexcept;
  InferenceSession& operator=(InferenceSession&&) noexcept;

  int batch() const { return m_options.batch; }
  int outputs() const { return m_outputs; }                  ///< classes, or regression values
  std::int64_t sample_size() const { return m_sample_size; } ///< values
  std::int64_t bytes() const;                                ///< of device memory that the network takes

  /// Logits (or regression values) of up to `batch` samples; complete at return. Normalises as the trainer does. The
  /// bits are those of nn::evaluate with batches of the same sizes. Throws Error for samples that are no whole number
  /// or too many.
  void run(Images const& images, std::span<float> outputs);
  /// The same to the rows [first_row, ...) of a buffer of the same backend.
  void run(Images const& images, RowBuffer& outputs, int first_row);

  /// sum = weight * softmax(logits) for the first `rows` rows, or sum += that where `add`; complete at return. The
  /// buffers are of this backend.
  void add_softmax(RowBuffer const& logits, int rows, double weight, bool add, RowBuffer& sum) const;

  class Implementation; ///< one per backend

private:
  InferenceOptions m_options;
  int m_outputs = 0;
  std::int64_t m_sample_size = 0;
  std::unique_ptr<Implementation> m_implementation;

  int count(Images const& images) const;
};

/// The weights that a training of the architecture with this seed begins with.
Weights initial_weights(spec::Architecture const& architecture, std::uint64_t seed,
                        std::string const& initialiser = "he_normal");

} // namespace nasturtium::nn
