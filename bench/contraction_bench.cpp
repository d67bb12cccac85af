// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolutions, dense layers and matrix products over the shape list of the project, as
// OP/NAME/PASS/mbBATCH/IMPLEMENTATION; with --models=8,32 also for populations of independent models in common
// launches, as OP/NAME/PASS/mbBATCH/fused/P8. Counters: GFLOP/s (padded taps counted) and percent of the fused
// multiply-add peak that is measured at the start of the same run.
#include "calls.hpp"
#include "peak.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/kernels/implementation.hpp>
#include <nasturtium/kernels/launch_list.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#ifdef NASTURTIUM_BENCH_CBLAS
#include <cblas.h>
#endif

namespace nasturtium::bench {
namespace {

using kernels::Activation;
using kernels::Conv2dShape;
using kernels::DenseShape;
using kernels::Pass;
using Space = Kokkos::DefaultExecutionSpace;

// Problem strings as in benchdnn: g groups, ic ih input channels and size, oc oh output, kh sh ph kernel, stride,
// padding.
constexpr char const* convolutions[] = {
    "g1ic3ih32oc32oh32kh3sh1ph1n\"c01\"",  "g1ic1ih28oc32oh28kh3sh1ph1n\"c02\"",
    "g1ic16ih32oc16oh32kh3sh1ph1n\"c03\"", "g1ic32ih32oc32oh32kh3sh1ph1n\"c04\"",
    "g1ic64ih16oc64oh16kh3sh1ph1n\"c05\"", "g1ic128ih8oc128oh8kh3sh1ph1n\"c06\"",
    "g1ic256ih8oc256oh8kh3sh1ph1n\"c07\"", "g1ic64ih16oc64oh16kh1sh1ph0n\"c08\"",
    "g1ic24ih16oc40oh16kh3sh1ph1n\"c09\"", "g1ic20ih12oc50oh8kh5sh1ph0n\"c10\"",
    "g1ic20ih12oc50oh12kh5sh1ph2n\"c11\"", "g64ic64ih16oc64oh16kh3sh1ph1n\"c12d\"",
    "g1ic16ih32oc32oh16kh3sh2ph1n\"c13\"", "g1ic32ih16oc64oh8kh3sh2ph1n\"c14\"",
    "g1ic1ih28oc20oh24kh5sh1ph0n\"c15\"",  "g1ic16ih32oc32oh16kh1sh2ph0n\"c16\"",
    "g1ic32ih16oc64oh8kh1sh2ph0n\"c17\"",  "g1ic32ih14oc64oh14kh3sh1ph1n\"c18\"",
    "g1ic32ih16oc64oh16kh3sh1ph1n\"c19\"", "g1ic64ih8oc128oh8kh3sh1ph1n\"c20\"",
    "g1ic3ih32oc16oh32kh3sh1ph1n\"c21\"",  "g1ic32ih16oc32oh16kh3sh1ph1n\"c22\"",
    "g1ic64ih8oc64oh8kh3sh1ph1n\"c23\"",   "g1ic3ih32oc24oh32kh3sh1ph1n\"c24\"",
    "g1ic24ih32oc40oh32kh3sh1ph1n\"c25\"", "g1ic40ih16oc50oh16kh5sh1ph2n\"c26\"",
};
constexpr char const* dense_layers[] = {
    "ic784oc256n\"f01\"",  "ic256oc128n\"f02\"", "ic128oc10n\"f03\"", "ic800oc500n\"f04\"", "ic500oc10n\"f05\"",
    "ic3136oc128n\"f06\"", "ic512oc10n\"f07\"",  "ic64oc10n\"f08\"",  "ic50oc10n\"f09\"",
};
struct Product
{
  int m, k, n;
};
constexpr Product products[] = {{256, 3072, 512}, {64, 576, 8192}, {128, 3136, 128},  {64, 512, 10},
                                {256, 256, 256},  {512, 512, 512}, {1024, 1024, 1024}};

/// The number behind a key of a problem string.
int field(std::string const& problem, std::string const& key, int otherwise)
{
  std::size_t const at = problem.find(key);
  return at == std::string::npos ? otherwise : std::stoi(problem.substr(at + key.size()));
}
std::string name_of(std::string const& problem)
{
  std::size_t const begin = problem.find('"') + 1;
  return problem.substr(begin, problem.rfind('"') - begin);
}

Conv2dShape parse_convolution(std::string const& problem, int batch)
{
  Conv2dShape s;
  s.batch = batch;
  s.groups = field(problem, "g", 1);
  s.in_channels = field(problem, "ic", 1);
  s.in_height = s.in_width = field(problem, "ih", 1);
  s.out_channels = field(problem, "oc", 1);
  s.kernel_height = s.kernel_width = field(problem, "kh", 1);
  s.stride_height = s.stride_width = field(problem, "sh", 1);
  s.pad_top = s.pad_left = field(problem, "ph", 0);
  // What the output size leaves: a stride may need less padding at the end.
  s.pad_bottom = s.pad_right =
      (field(problem, "oh", 1) - 1) * s.stride_height + s.kernel_height - s.in_height - s.pad_top;
  s.pad_bottom = s.pad_right = std::max(0, s.pad_bottom);
  return s;
}

constexpr bool on_host = Kokkos::SpaceAccessibility<Kokkos::HostSpace, Space::memory_space>::accessible;
double peak = 0;              ///< of hosts
std::vector<int> populations; ///< numbers of models

using View = Kokkos::View<float*, Kokkos::LayoutRight, Space::memory_space>;
using Const = kernels::Buffer<Space, float const>;
using Bytes = Kokkos::View<std::byte*, Kokkos::LayoutRight, Space::memory_space>;

View filled(kernels::Index size)
{
  View const view("values", static_cast<std::size_t>(size));
  auto const mirror = Kokkos::create_mirror_view(view);
  for (std::size_t i = 0; i < view.extent(0); ++i)
    mirror(i) = static_cast<float>(i % 17) * 0.1f - 0.8f;
  Kokkos::deep_copy(view, mirror);
  return view;
}

void measure(benchmark::State& state, double flops, std::function<void()> const& call)
{
  double const rate = flops / seconds_per_call<Space>(state, call);
  state.counters["GFLOP/s"] = rate * 1e-9;
  if (peak > 0) state.counters["%peak"] = rate / peak * 100;
}

char const* pass_name(Pass pass)
{
  return pass == Pass::forward ? "forward" : pass == Pass::backward_data ? "backward_data" : "backward_weights";
}

using Call = std::function<void()>;

/// A call with operands of its own.
Call make_call(Conv2dShape const& s, Pass pass, std::string const& implementation)
{
  Space const exec;
  View const src = filled(s.in_size()), weights = filled(s.weights_size()), bias = filled(s.out_channels),
             dst = filled(s.out_size());
  switch (pass) {
  case Pass::forward: {
    Bytes const workspace("workspace", kernels::conv2d_forward_workspace<Space, float>(s));
    return [=] {
      kernels::conv2d_forward<Space, float>(exec, implementation, s, src, weights, bias, Activation::identity, dst, {},
                                            workspace);
    };
  }
  case Pass::backward_data: {
    Bytes const workspace("workspace", kernels::conv2d_backward_data_workspace<Space, float>(s));
    return [=] {
      kernels::conv2d_backward_data<Space, float>(exec, implementation, s, dst, weights, src, false, workspace);
    };
  }
  case Pass::backward_weights:
    break;
  }
  Bytes const workspace("workspace", kernels::conv2d_backward_weights_workspace<Space, float>(s));
  return [=] {
    kernels::conv2d_backward_weights<Space, float>(exec, implementation, s, src, dst, weights, bias, workspace);
  };
}

Call make_call(DenseShape const& s, Pass pass, std::string const& implementation)
{
  Space const exec;
  View const src = filled(kernels::Index{s.batch} * s.in), weights = filled(kernels::Index{s.in} * s.out),
             dst = filled(kernels::Index{s.batch} * s.out);
  View const none;
  Bytes const workspace("workspace", kernels::dense_workspace<Space, float>(s));
  switch (pass) {
  case Pass::forward:
    return [=] {
      kernels::dense_forward<Space, float>(exec, implementation, s, src, weights, none, Activation::identity, dst, {},
                                           workspace);
    };
  case Pass::backward_data:
    return [=] {
      kernels::dense_backward_data<Space, float>(exec, implementation, s, dst, weights, src, false, workspace);
    };
  case Pass::backward_weights:
    break;
  }
  return [=] {
    kernels::dense_backward_weights<Space, float>(exec, implementation, s, src, dst, weights, none, workspace);
  };
}

template <class Shape>
void single(benchmark::State& state, Shape const& s, Pass pass, std::string const& implementation)
{
  measure(state, s.flops(), make_call(s, pass, implementation));
}

/// The same for a population, fused: every model has operands of its own.
template <class Shape>
void population(benchmark::State& state, Shape const& s, Pass pass, int models)
{
  std::vector<Call> calls; // they own what the lists point at
  std::vector<kernels::LaunchList<Space>> lists(static_cast<std::size_t>(models));
  for (auto& list : lists) {
    calls.push_back(make_call(s, pass, ""));
    list.record(calls.back());
  }
  kernels::FusedLaunches<Space> const fused(lists);
  Space const exec;
  measure(state, s.flops() * models, [&] { fused.run(exec); });
}

#ifdef NASTURTIUM_BENCH_CBLAS
void dense_blas(benchmark::State& state, DenseShape const& s, Pass pass)
{
  View const src = filled(kernels::Index{s.batch} * s.in), weights = filled(kernels::Index{s.in} * s.out),
             dst = filled(kernels::Index{s.batch} * s.out);
  measure(state, s.flops(), [&] {
    switch (pass) {
    case Pass::forward:
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s.batch, s.out, s.in, 1, src.data(), s.in, weights.data(),
                  s.out, 0, dst.data(), s.out);
      break;
    case Pass::backward_data:
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s.batch, s.in, s.out, 1, dst.data(), s.out, weights.data(),
                  s.out, 0, src.data(), s.in);
      break;
    case Pass::backward_weights:
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s.in, s.out, s.batch, 1, src.data(), s.in, dst.data(), s.out,
                  0, weights.data(), s.out);
      break;
    }
  });
}
#endif

template <class... Arguments>
void add(std::string const& name, Arguments... arguments)
{
  benchmark::RegisterBenchmark(name.c_str(), arguments...)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void add_dense(std::string const& name, DenseShape const& s)
{
  for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
    std::string const prefix = name + "/" + pass_name(pass) + "/mb" + std::to_string(s.batch) + "/";
    for (auto const implementation : kernels::dense_implementations<Space, float>(pass, s)) {
      if (implementation == "reference") continue; // minutes, and known to be slow
      add(prefix + std::string(implementation), single<DenseShape>, s, pass, std::string(implementation));
    }
    for (int const models : populations)
      add(concat(prefix, "fused/P", models), population<DenseShape>, s, pass, models);
#ifdef NASTURTIUM_BENCH_CBLAS
    if constexpr (on_host) add(prefix + "cblas", dense_blas, s, pass);
#endif
  }
}

void add_all()
{
  for (int const batch : {32, 64, 128, 512}) {
    for (std::string const problem : convolutions) {
      Conv2dShape const s = parse_convolution(problem, batch);
      for (Pass const pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
        if (pass == Pass::backward_data && s.in_channels <= 3) continue; // the first layer needs none
        std::string const prefix = concat("conv/", name_of(problem), "/", pass_name(pass), "/mb", batch, "/");
        for (auto const implementation : kernels::conv2d_implementations<Space, float>(pass, s)) {
          if (implementation == "reference") continue;
          add(prefix + std::string(implementation), single<Conv2dShape>, s, pass, std::string(implementation));
        }
        for (int const models : populations)
          add(concat(prefix, "fused/P", models), population<Conv2dShape>, s, pass, models);
      }
    }
    for (std::string const problem : dense_layers) {
      add_dense("dense/" + name_of(problem), {batch, field(problem, "ic", 1), field(problem, "oc", 1)});
    }
  }
  for (Product const& p : products) {
    add_dense("matmul/" + std::to_string(p.m) + "x" + std::to_string(p.k) + "x" + std::to_string(p.n), {p.m, p.k, p.n});
  }
  if constexpr (!on_host) {
    for (int const size : {4096, 8192})
      add_dense("matmul/" + std::to_string(size) + "x" + std::to_string(size) + "x" + std::to_string(size),
                {size, size, size});
  }
}

} // namespace
} // namespace nasturtium::bench

namespace {

int run(int argc, char* argv[])
{
  Kokkos::ScopeGuard const guard(Kokkos::InitializationSettings().set_disable_warnings(true));
  // --models=8,32: each shape for populations of so many models too.
  for (int i = 1; i < argc; ++i) {
    std::string const text = argv[i], flag = "--models=";
    if (text.rfind(flag, 0) != 0) continue;
    std::istringstream items(text.substr(flag.size()));
    for (std::string item; std::getline(items, item, ',');) {
      int const models = std::atoi(item.c_str());
      if (models < 1) {
        std::fprintf(stderr, "contraction_bench: %s: numbers of models must be at least 1\n", text.c_str());
        return 2;
      }
      nasturtium::bench::populations.push_back(models);
    }
    std::rotate(argv + i, argv + i + 1, argv + argc);
    --argc, --i;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if constexpr (nasturtium::bench::on_host) {
    nasturtium::bench::peak = nasturtium::bench::measure_peak();
    benchmark::AddCustomContext("fma_peak_gflops", std::to_string(nasturtium::bench::peak * 1e-9));
  }
  benchmark::AddCustomContext("threads", std::to_string(nasturtium::bench::Space().concurrency()));
#ifdef NASTURTIUM_BENCH_CBLAS
#ifdef OPENBLAS_VERSION
  benchmark::AddCustomContext("openblas_core", openblas_get_corename());
#endif
#endif
  nasturtium::bench::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

} // namespace

int main(int argc, char* argv[])
{
  return nasturtium::bench::run_or_tell("contraction_bench", run, argc, argv);
}
