// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "population.hpp"
#include "trainer_candidate.hpp"

namespace nasturtium::nn {

namespace {

template <class ExecSpace, class Real>
Evaluation evaluate_on(ExecSpace const& exec, spec::Architecture const& architecture, Weights const& weights,
                       datasets::Dataset const& dataset, datasets::Samples const& samples, int batch_size, int top_k,
                       std::vector<float>* logits)
{
  Evaluation evaluation;
  evaluation.count = samples.count;
  if (logits) logits->clear();
  if (samples.count == 0) return evaluation;
  impl::ResidentSamples<ExecSpace> const resident(exec, samples);
  auto const host_identity = impl::identity_order(samples.count);
  impl::Resident<ExecSpace, std::int32_t> const identity(exec, host_identity, "nasturtium::dataset::identity");
  int const batch = static_cast<int>(std::min<std::int64_t>(batch_size, samples.count));
  impl::Network<ExecSpace, Real> network(exec, architecture, impl::batch_sizes(samples.count, batch), false, 0, 0);
  network.load(weights);
  impl::BatchMaker<ExecSpace, Real> const maker(exec, dataset, batch);
  impl::MetricLog<ExecSpace> log(exec, 1);
  impl::Clock clock;
  top_k = std::max(1, std::min(top_k, architecture.classes));
  auto const keep_logits = [&](std::int64_t, int rows) {
    if (!logits) return;
    auto const values = network.logits(rows, false);
    Kokkos::View<Real*, Kokkos::LayoutRight, Kokkos::HostSpace> const host(
        Kokkos::view_alloc(Kokkos::WithoutInitializing, std::string("nasturtium::evaluate::logits")), values.size());
    Kokkos::deep_copy(exec, host, values);
    exec.fence("nasturtium::evaluate: logits read");
    logits->insert(logits->end(), host.data(), host.data() + host.size());
  };
  impl::infer_split(network, maker, resident, identity.buffer(), batch, top_k, log.next(), keep_logits);
  std::vector<impl::MetricSums> sums;
  log.read(sums);
  evaluation.seconds = clock.lap();
  auto const metrics = impl::to_metrics(sums[0], architecture.classes > 0);
  evaluation.loss = metrics.loss;
  evaluation.accuracy = metrics.accuracy;
  evaluation.top_k = metrics.top_k;
  return evaluation;
}

} // namespace

Evaluation evaluate(TrainerOptions const& trainer, spec::Architecture const& architecture, Weights const& weights,
                    datasets::Dataset const& dataset, datasets::Samples const& samples, int batch_size, int top_k,
                    std::vector<float>* logits, Precision precision)
{
  require(batch_size > 0, "batch_size must be positive, got ", batch_size);
  spec::infer(architecture);
  check_weights(weights, architecture, true, "weights");
  impl::check_fit(dataset, samples, "samples", architecture);
  Evaluation evaluation;
  impl::with_backend(trainer.backend, [&]<class ExecSpace>() {
    auto const exec = impl::make_instance<ExecSpace>(trainer.threads);
    try {
      evaluation =
          precision == Precision::float64
              ? evaluate_on<ExecSpace, double>(exec, architecture, weights, dataset, samples, batch_size, top_k, logits)
              : evaluate_on<ExecSpace, float>(exec, architecture, weights, dataset, samples, batch_size, top_k, logits);
    } catch (impl::OutOfMemory const& error) {
      fail("evaluate: ", error.what());
    }
  });
  return evaluation;
}

} // namespace nasturtium::nn
