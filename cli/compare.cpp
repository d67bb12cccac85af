// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium compare: backends and machines side by side, and a gate that says whether something became slower.
#include "compare_device.hpp"
#include "compare_report.hpp"
#include "timing_gate.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/signal.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <set>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

constexpr char const* examples =
    "  nasturtium compare run --out laptop.json\n"
    "  nasturtium compare run --devices openmp:1,openmp:2 --networks lenet --out small.json\n"
    "  nasturtium compare laptop.json node.json --out comparison\n"
    "  nasturtium compare gate before.json after.json --threshold 0.05";

struct RunOptions
{
  std::string out;
  std::vector<std::string> devices, networks{"lenet", "cnn2", "resnet20"};
  std::vector<int> batches{128};
  bool layers = true;
  int repetitions = 20;
  double seconds = 0.1, probe_seconds = 2;
};

/// Threads that spin while they wait would take the cores from the device that is timed.
void refuse_spinning()
{
  char const* const policy = std::getenv("OMP_WAIT_POLICY");
  std::string word = policy ? policy : "";
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  require(word != "active", "OMP_WAIT_POLICY=", policy ? policy : "",
          ": threads of the devices that wait would spin on the cores of the one that is timed; unset it");
}

/// Times every measurement on every device once a round, so that what the machine does meanwhile hits all alike. Every
/// round has new processes: where the pages of one lie can make a call some percent faster or slower as long as it
/// lives, so repetitions of one process would tell nothing of the next run's.
class Bench
{
public:
  Bench(RunOptions const& options, std::vector<DeviceSpec> specs, std::vector<Workload> workloads,
        std::vector<std::string> kokkos_flags)
      : m_options(options), m_specs(std::move(specs)), m_workloads(std::move(workloads)),
        m_kokkos_flags(std::move(kokkos_flags))
  {
    for (auto const& workload : m_workloads)
      for (auto const& spec : m_specs) {
        auto& timing = m_result.timings.emplace_back();
        timing.device = spec.label;
        timing.kind = workload.kind;
        timing.network = workload.architecture.name;
        timing.layer = workload.layer;
        timing.architecture_sha256 = nn::spec::hash(workload.architecture);
        timing.batch = workload.batch;
        timing.flops = workload.flops();
        timing.bytes = workload.bytes();
      }
  }

  Comparison run()
  {
    Progress progress("compare", static_cast<std::int64_t>(m_options.repetitions * m_result.timings.size()), "timings");
    for (int round = 0; round < m_options.repetitions; ++round) {
      auto const processes = start(round == 0);
      if (round == 0 || round == m_options.repetitions / 2) probe(processes);
      for (std::size_t w = 0; w < m_workloads.size(); ++w)
        for (std::size_t k = 0; k < m_specs.size(); ++k) {
          std::size_t const device = (k + static_cast<std::size_t>(round)) % m_specs.size(); // nobody is always first
          time(*processes[device], m_workloads[w], m_result.timings[w * m_specs.size() + device], round == 0, progress);
          progress.advance(1, m_workloads[w].label());
        }
    }
    return std::move(m_result);
  }

private:
  using Processes = std::vector<std::unique_ptr<DeviceProcess>>;

  /// All devices, up and waiting.
  Processes start(bool first)
  {
    Processes processes;
    for (auto const& spec : m_specs)
      processes.push_back(std::make_unique<DeviceProcess>(spec, m_kokkos_flags));
    for (auto const& process : processes) {
      auto device = process->describe();
      if (first) m_result.devices.push_back(std::move(device));
    }
    return processes;
  }

  /// Half of the seconds in the first round, half amid the others; the better values count.
  void probe(Processes const& processes)
  {
    if (m_options.probe_seconds <= 0) return;
    double const parts = m_options.repetitions > 1 ? 2 : 1;
    for (std::size_t i = 0; i < processes.size(); ++i)
      processes[i]->probe(m_options.probe_seconds / parts, m_result.devices[i]);
  }

  void time(DeviceProcess& process, Workload const& workload, ComparedTiming& timing, bool first, Progress& progress)
  {
    if (!timing.failure.empty()) return;
    auto const prepared = process.prepare(workload, first);
    if (!prepared.failure.empty()) {
      timing.failure = prepared.failure;
      timing.seconds.clear(); // of a few rounds they mean nothing
      timing.joules.clear();
      progress.message(concat("nasturtium: ", timing.label(), " on ", timing.device, ": ", timing.failure));
      return;
    }
    if (first) timing.calls = static_cast<std::int64_t>(std::ceil(m_options.seconds / prepared.call_seconds));
    auto const timed = process.time(timing.calls);
    timing.seconds.push_back(timed.seconds);
    if (timed.has_joules) timing.joules.push_back(timed.joules);
  }

  RunOptions const& m_options;
  std::vector<DeviceSpec> m_specs;
  std::vector<Workload> m_workloads;
  std::vector<std::string> m_kokkos_flags;
  Comparison m_result; ///< timings by workload, devices within
};

void print(ReportDocument const& document)
{
  for (char const* const name : {"devices", "steps", "forward", "layers", "roofline"})
    if (auto const* const table = document.find_table(name)) std::cout << name << "\n" << table->text() << '\n';
}

int run_comparison(RunOptions const& options, Invocation const& call)
{
  require(options.repetitions >= 1 && options.repetitions <= max_repetitions, "--repetitions must be in [1, ",
          max_repetitions, "], got ", options.repetitions);
  require(options.seconds > 0 && options.seconds <= 3600, "--seconds must be in (0, 3600], got ",
          shortest(options.seconds));
  require(options.probe_seconds >= 0 && options.probe_seconds <= 3600, "--probe-seconds must be in [0, 3600], got ",
          shortest(options.probe_seconds));
  refuse_spinning();
  std::vector<char const*> argv;
  for (auto const& word : call.command_line)
    argv.push_back(word.c_str());
  auto provenance = make_provenance(static_cast<int>(argv.size()), argv.data(), 1, ""); // no backend is up here
  auto const specs = options.devices.empty() ? default_devices(provenance.host_cores)
                                             : parse_devices(options.devices, provenance.host_cores);
  auto workloads = make_workloads(options.networks, options.batches, options.layers);
  for (auto const& spec : specs)
    provenance.backend += concat(provenance.backend.empty() ? "" : ", ", spec.label);
  provenance.extra = {{"repetitions", std::to_string(options.repetitions)},
                      {"seconds of a repetition, at least", shortest(options.seconds)}};
  if (char const* const math = std::getenv("NASTURTIUM_MATH")) provenance.extra.emplace_back("NASTURTIUM_MATH", math);
  catch_interrupts();
  try {
    auto comparison = Bench(options, specs, std::move(workloads), call.kokkos_flags).run();
    comparison.provenance = std::move(provenance);
    write_file(options.out, json::pretty(to_json(comparison)));
    print(compare_report({{"", comparison}}));
    std::cerr << "nasturtium: wrote " << options.out << '\n';
    bool const any = std::any_of(comparison.timings.begin(), comparison.timings.end(),
                                 [](ComparedTiming const& timing) { return timing.failure.empty(); });
    return any ? exit_success : exit_failure;
  } catch (Interrupted const&) {
    std::cerr << "nasturtium: interrupted; nothing was written\n";
    return exit_interrupted;
  }
}

int show(std::vector<std::string> const& paths, std::string const& out, bool as_json)
{
  std::vector<std::pair<std::string, Comparison>> files;
  std::set<std::string> names;
  for (auto const& path : paths) {
    std::string const stem = fs::path(path).stem().string();
    std::string name = stem;
    for (int copy = 2; !names.insert(name).second; ++copy)
      name = concat(stem, "-", copy);
    files.emplace_back(name, parse_comparison(json::parse_file(path), path));
  }
  auto const document = compare_report(files);
  if (!out.empty()) document.write(out);
  if (as_json)
    std::cout << json::pretty(document.to_json());
  else
    print(document);
  if (!out.empty() && !as_json) std::cout << "To look at: " << (fs::path(out) / "index.html").string() << '\n';
  return exit_success;
}

struct GateCall
{
  std::string base, now, base_device, new_device;
  GateOptions options;
  bool json = false;
};

int gate(GateCall const& call)
{
  require(call.base_device.empty() == call.new_device.empty(),
          "--base-device and --new-device: one needs the other, got ", quoted(call.base_device), " and ",
          quoted(call.new_device));
  auto const base = parse_timings(json::parse_file(call.base), call.base, call.base_device);
  auto const now = parse_timings(json::parse_file(call.now), call.now, call.new_device);
  auto const result = compare_timings(base, now, call.options);
  require(!result.rows.empty(), call.base, " and ", call.now, " have no benchmark in common (", base.size(), " and ",
          now.size(), "; the first are ", quoted(base.empty() ? "" : base.front().name), " and ",
          quoted(now.empty() ? "" : now.front().name), ")");
  if (call.json) {
    std::cout << json::pretty(to_json(result));
  } else {
    std::cout << to_table(result).text() << '\n';
    for (auto const& [names, file] : {std::pair{&result.only_in_base, &call.base}, {&result.only_in_new, &call.now}})
      for (auto const& name : *names)
        std::cout << "only in " << *file << ": " << name << '\n';
    int counts[5]{};
    for (auto const& row : result.rows)
      ++counts[static_cast<std::size_t>(row.verdict)];
    for (auto const verdict : {Verdict::slower, Verdict::failed, Verdict::faster, Verdict::same, Verdict::unclear})
      std::cout << counts[static_cast<std::size_t>(verdict)] << ' ' << name(verdict)
                << (verdict == Verdict::unclear ? "" : ", ");
    std::cout << "; threshold " << shortest(100 * call.options.threshold) << " %, confidence "
              << shortest(call.options.confidence) << "\n"
              << (result.regression() ? "REGRESSION" : "no regression found") << '\n';
  }
  return result.regression() ? exit_failure : exit_success;
}

template <class T>
CLI::Option* add_list(CLI::App& app, std::string const& name, T& values, std::string const& description)
{
  return app.add_option(name, values, description)
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
}

} // namespace

int compare(Invocation const& call)
{
  std::vector<std::string> files;
  std::string out;
  bool as_json = false;
  VerbParser parser("compare", "Backends and machines side by side; a gate against regressions.", examples);
  CLI::App& app = parser.app();
  std::function<int()> action;
  app.add_option("FILE", files, "What compare run has written, on one or several machines");
  app.add_option("--out", out, "Folder for tables, figures and a page")->type_name("DIR");
  app.add_flag("--json", as_json, "The whole report as JSON on stdout");

  RunOptions run;
  auto* const runner = app.add_subcommand("run", "Time networks and layers on the devices of this machine");
  runner->callback([&] { action = [&] { return run_comparison(run, call); }; });
  runner->add_option("--out", run.out, "File to write")->required()->type_name("FILE");
  add_list(*runner, "--devices", run.devices,
           "[NAME=]BACKEND[:THREADS][@PROGRAM]: serial, openmp:N, cuda; PROGRAM is a nasturtium of another build. Else "
           "all that this build has, openmp with 1, 2, 4, ... and all cores")
      ->type_name("DEVICE,...");
  add_list(*runner, "--networks", run.networks, "Architectures: JSON files or names of the zoo")
      ->type_name("NAME,...")
      ->capture_default_str();
  add_list(*runner, "--batch", run.batches, "Samples per call")->type_name("N,...")->capture_default_str();
  runner->add_flag("--kernels,!--no-kernels", run.layers, "Single kinds of layers too (the default)");
  runner->add_option("--repetitions", run.repetitions, "Rounds, each with new processes")
      ->type_name("N")
      ->capture_default_str();
  runner->add_option("--seconds", run.seconds, "Of a repetition, at least; it has one call at least")
      ->type_name("S")
      ->capture_default_str();
  runner->add_option("--probe-seconds", run.probe_seconds, "For a device's peak and bandwidth; 0: without a roofline")
      ->type_name("S")
      ->capture_default_str();

  GateCall gate_call;
  auto* const gater = app.add_subcommand("gate", "Has it become slower? Exit status 1 where it has");
  gater->callback([&] { action = [&] { return gate(gate_call); }; });
  gater->add_option("BASE", gate_call.base, "Of compare run, or Google Benchmark's --benchmark_out with repetitions")
      ->required();
  gater->add_option("NEW", gate_call.now, "The same benchmarks later")->required();
  gater->add_option("--threshold", gate_call.options.threshold, "What counts as no change, as a fraction")
      ->type_name("X")
      ->capture_default_str();
  gater
      ->add_option("--confidence", gate_call.options.confidence,
                   "1 - this bounds the probability of any false alarm; and that of the intervals")
      ->type_name("X")
      ->capture_default_str();
  gater->add_option("--base-device", gate_call.base_device, "Only this device of BASE, against --new-device of NEW")
      ->type_name("NAME");
  gater->add_option("--new-device", gate_call.new_device, "BASE and NEW may be one file then")->type_name("NAME");
  gater->add_flag("--json", gate_call.json, "As JSON on stdout");

  DeviceOptions device;
  auto* const server = app.add_subcommand("device", "One device: answers questions on stdin (compare run starts it)");
  server->callback([&] { action = [&] { return serve_device(device, call); }; });
  device.add_to(*server);

  if (!parser.parse(call)) return exit_success;
  if (action) return action();
  require(!files.empty(), "compare needs a FILE, or one of run, gate, device");
  return show(files, out, as_json);
}

} // namespace nasturtium::cli
