// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "compare_device.hpp"
#include "compare_report.hpp"
#include "compare_workload.hpp"
#include "host_energy.hpp"

#include "cli/process.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/philox.hpp>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>

using namespace nasturtium;
using namespace nasturtium::cli;
using namespace nasturtium::test;
using Catch::Approx;

namespace {

std::string const tiny_network = R"({"format": "nasturtium-architecture", "version": 1, "name": "tiny",
 "input": {"height": 8, "width": 8, "channels": 1},
 "nodes": [{"id": "c", "op": "conv2d", "inputs": ["input"], "filters": 4, "kernel": 3, "bias": false},
           {"id": "b", "op": "batch_norm", "inputs": ["c"]}, {"id": "r", "op": "relu", "inputs": ["b"]},
           {"id": "o", "op": "dense", "inputs": ["r"], "units": 3}],
 "output": {"classes": 3}})";

ComparedDevice device(std::string const& name, std::string const& backend, int cores, double peak, double bandwidth)
{
  ComparedDevice result;
  result.name = name;
  result.backend = backend;
  result.hardware = "a processor";
  result.cores = cores;
  result.memory_bytes = 1 << 30;
  result.peak_flops = peak;
  result.bandwidth = bandwidth;
  result.launch_seconds = 1e-6;
  result.build = {{"version", "0"}};
  return result;
}

ComparedTiming timing(std::string const& device, std::string const& network, std::vector<double> seconds)
{
  ComparedTiming result;
  result.device = device;
  result.network = network;
  result.architecture_sha256 = "abc";
  result.batch = 100;
  result.calls = 3;
  result.flops = 1e9;
  result.bytes = 1e8;
  result.seconds = std::move(seconds);
  return result;
}

/// Two threads are 1.6 times as fast as one; the peak is 10 GFLOP/s a thread, 2 GB/s.
Comparison example()
{
  Comparison comparison;
  comparison.provenance.version = "0";
  comparison.provenance.command_line = "nasturtium compare run";
  comparison.devices = {device("openmp:1", "openmp", 1, 1e10, 2e9), device("openmp:2", "openmp", 2, 2e10, 2e9)};
  comparison.timings = {timing("openmp:1", "net", {0.2, 0.21, 0.19}), timing("openmp:2", "net", {0.125, 0.13, 0.12}),
                        timing("openmp:1", "layer", {0.1, 0.1, 0.1}), timing("openmp:2", "layer", {})};
  comparison.timings[0].joules = {2, 3, 4};
  comparison.timings[2].layer = comparison.timings[3].layer = true;
  comparison.timings[2].flops = 0;
  comparison.timings[3].failure = "no memory";
  return comparison;
}

double number(Table const& table, std::size_t row, std::string const& column)
{
  auto const titles = table.titles();
  auto const at = std::find(titles.begin(), titles.end(), column);
  REQUIRE(at != titles.end());
  auto const* const value = std::get_if<double>(&table.rows()[row][static_cast<std::size_t>(at - titles.begin())]);
  REQUIRE(value);
  return *value;
}

std::vector<std::string> tiny_run(std::string const& network, std::string const& out,
                                  std::vector<std::string> const& more = {})
{
  std::vector<std::string> words{
      "compare",   "run",   "--devices",    "openmp:1,openmp:2", "--networks", network, "--batch", "4",
      "--seconds", "0.001", "--no-kernels", "--probe-seconds",   "0",          "--out", out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string replaced(std::string text, std::string const& from, std::string const& to)
{
  auto const at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

} // namespace

TEST_CASE("a comparison is the same after a way through its JSON")
{
  auto const text = json::pretty(to_json(example()));
  CHECK(json::pretty(to_json(parse_comparison(json::parse(text, "c"), "c"))) == text);
}

TEST_CASE("comparisons that are not right are refused with file, field and value")
{
  auto const text = json::pretty(to_json(example()));
  auto const refused = [&](std::string const& from, std::string const& to, std::string const& part) {
    try {
      parse_comparison(json::parse(replaced(text, from, to), "c.json"), "c.json");
      FAIL("accepted: " << to);
    } catch (Error const& error) {
      INFO(error.what());
      CHECK(std::string(error.what()).starts_with("c.json"));
      CHECK(std::string(error.what()).find(part) != std::string::npos);
    }
  };
  refused("\"version\": 1", "\"version\": 2", "version");
  refused("nasturtium-comparison", "nasturtium-report", "format");
  refused("\"openmp:2\"", "\"openmp:1\"", "stands twice");
  refused("\"device\": \"openmp:1\"", "\"device\": \"gpu\"", "'gpu'");
  refused("\"backend\": \"openmp\"", "\"backend\": \"opencl\"", "opencl");
  refused("0.21", "-0.21", "seconds");
  refused("0.21", "\"x\"", "seconds");
  refused("2.0, 3.0, 4.0", "2.0, 3.0", "joules");
  refused("\"failure\": \"no memory\"", "\"failure\": \"\"", "failure");
  refused("\"batch\": 100", "\"batch\": 0", "batch");
  refused("\"calls\": 3", "\"calls\": 3, \"colour\": 1", "colour");
  refused("\"kind\": \"step\"", "\"kind\": \"jump\"", "jump");
}

TEST_CASE("damaged comparisons are errors, never a crash")
{
  auto const text = json::pretty(to_json(example()));
  int errors = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    auto const draw = random_block(13, Purpose::synthetic, 0, i);
    auto damaged = text;
    std::size_t const at = draw.word[0] % damaged.size();
    if (i % 3 == 0)
      damaged.resize(at);
    else if (i % 3 == 1)
      damaged[at] = static_cast<char>(' ' + draw.word[1] % 95);
    else
      damaged.erase(at, 1 + draw.word[1] % 20);
    try {
      auto const comparison = parse_comparison(json::parse(damaged, "c"), "c");
      CHECK_FALSE(json::pretty(compare_report({{"c", comparison}}).to_json()).empty());
    } catch (Error const& error) {
      ++errors;
      CHECK(std::string(error.what()).starts_with("c"));
    }
  }
  CHECK(errors > 150);
}

TEST_CASE("tables: speed-ups, efficiency, energy and the roofline come out as by hand")
{
  auto const document = compare_report({{"one", example()}});
  auto const* const steps = document.find_table("steps");
  REQUIRE(steps);
  REQUIRE(steps->row_count() == 2);
  CHECK(number(*steps, 0, "images/s") == Approx(500));
  CHECK(number(*steps, 0, "J/1000 images") == Approx(30));
  CHECK(number(*steps, 1, "images/s") == Approx(800));
  CHECK(number(*steps, 1, "GFLOP/s") == Approx(8));
  CHECK(number(*steps, 1, "speed-up") == Approx(1.6));
  CHECK(number(*steps, 1, "efficiency") == Approx(0.8));
  auto const* const layers = document.find_table("layers");
  REQUIRE(layers);
  CHECK(layers->csv().find("no memory") != std::string::npos);
  auto const* const roofline = document.find_table("roofline");
  REQUIRE(roofline);
  REQUIRE(roofline->row_count() == 3); // what failed has no place
  CHECK(number(*roofline, 0, "FLOP/byte") == Approx(10));
  CHECK(number(*roofline, 0, "of peak, %") == Approx(50));
  CHECK(number(*roofline, 0, "of triad, %") == Approx(25));
  CHECK(number(*roofline, 0, "of the roof, %") == Approx(50));
  CHECK(roofline->csv().find("step/layer/batch100,openmp:1,0,0,0,1,50,bandwidth,50") != std::string::npos);
  CHECK_FALSE(document.find_table("forward"));

  // Another machine: its devices have the file before their names, and count against the first of the first file.
  auto other = example();
  for (auto& it : other.timings)
    for (auto& seconds : it.seconds)
      seconds /= 10;
  auto const both = compare_report({{"one", example()}, {"two", other}});
  auto const* const all = both.find_table("steps");
  REQUIRE(all->row_count() == 4);
  CHECK(number(*all, 3, "speed-up") == Approx(16));
  CHECK(number(*all, 3, "efficiency") == Approx(0.8));
  CHECK(all->csv().find("two: openmp:2") != std::string::npos);

  // The figures are there, and the report writes the same bytes again.
  Folder const folder;
  document.write(folder / "compare");
  for (std::string const name : {"roofline.svg", "speed-up.svg", "steps.csv", "steps.tex", "index.html"})
    CHECK_FALSE(read(folder / ("compare/" + name)).empty());
  auto const again = run({"report", folder / "compare", "--out", folder / "again"});
  INFO(again.err);
  REQUIRE(again.status == 0);
  for (auto const& entry : fs::directory_iterator(folder / "compare"))
    CHECK(read(entry.path().string()) == read(folder / ("again/compare/" + entry.path().filename().string())));
}

TEST_CASE("workloads: FLOPs and bytes of a network, counted by hand")
{
  Folder const folder;
  auto const workloads = make_workloads({folder.write("tiny.json", tiny_network)}, {4}, false);
  REQUIRE(workloads.size() == 2);
  CHECK(workloads[0].label() == "step/tiny/batch4");
  CHECK(workloads[1].label() == "forward/tiny/batch4");
  double const image = 64, maps = 256, conv = 36, norm = 8, dense = 3 * 256 + 3;
  // Convolution: image in, maps out; batch norm: maps in and out; relu rides along; dense: maps in, 3 out.
  double const forward = 4 * (image + maps) + conv + 4 * 2 * maps + norm + 4 * (maps + 3) + dense;
  CHECK(workloads[1].bytes() == Approx(4 * forward + 5 * 4 * image));
  double const step = 2 * (4 * (image + maps) + conv) + 3 * (4 * 2 * maps + norm + 4 * (maps + 3) + dense);
  CHECK(workloads[0].bytes() == Approx(4 * (step + 5 * (conv + norm + dense)) + 5 * 4 * image));
  double const conv_flops = 2 * 9 * maps, dense_flops = 2 * 3 * maps;
  CHECK(workloads[1].flops() == Approx(4 * (conv_flops + dense_flops)));
  CHECK(workloads[0].flops() == Approx(4 * (2 * conv_flops + 3 * dense_flops)));

  auto const layers = make_workloads({}, {1}, true);
  std::map<std::string, Workload> by_label;
  for (auto const& workload : layers)
    by_label.emplace(workload.label(), workload);
  CHECK(by_label.contains("forward/max-pool/batch1"));
  CHECK_FALSE(by_label.contains("step/max-pool/batch1")); // nothing to train
  CHECK(by_label.at("forward/conv3x3/batch1").flops() == Approx(2.0 * 2 * 9 * 32 * 32 * 32 * 32));
  CHECK(by_label.at("forward/batch-norm/batch1").flops() == 0);
  CHECK_THROWS_AS(make_workloads({"lenet"}, {0}, false), Error);
  CHECK_THROWS_AS(make_workloads({"lenet", "lenet"}, {1}, false), Error);
  CHECK_THROWS_AS(make_workloads({}, {1}, false), Error);
}

TEST_CASE("devices by name")
{
  auto const specs = parse_devices({"openmp:3", "openmp", "old=openmp:3@build/old", "serial@other"}, 8);
  REQUIRE(specs.size() == 4);
  CHECK(specs[0].label == "openmp:3");
  CHECK(specs[0].threads == 3);
  CHECK(specs[1].label == "openmp:8");
  CHECK(specs[2].label == "old");
  CHECK(specs[2].program == "build/old");
  CHECK(specs[3].backend == "serial");
  for (std::string const bad :
       {"", "openmp:", "openmp:0", "openmp:-1", "openmp:x", "serial:2@p", "gpu", "=openmp", "openmp@"})
    CHECK_THROWS_AS(parse_devices({bad}, 4), Error);
  CHECK_THROWS_AS(parse_devices({"openmp:2", "openmp:2"}, 4), Error);
  for (int const cores : {1, 2, 6, 8})
    if (auto const all = default_devices(cores); !all.empty()) CHECK(all.back().threads <= cores);
}

TEST_CASE("energy: counters of the packages, also around their end")
{
  Folder const folder;
  CHECK_FALSE(HostEnergy(folder / "nowhere").available());
  folder.write("intel-rapl:0/energy_uj", "1000000\n");
  folder.write("intel-rapl:0/max_energy_range_uj", "5000000\n");
  folder.write("intel-rapl:0:0/energy_uj", "7\n"); // a part of the package
  folder.write("intel-rapl:1/energy_uj", "4000000\n");
  folder.write("intel-rapl:1/max_energy_range_uj", "5000000\n");
  HostEnergy energy(folder.path());
  REQUIRE(energy.available());
  energy.start();
  CHECK(energy.joules() == 0);
  folder.write("intel-rapl:0/energy_uj", "3500000\n");
  folder.write("intel-rapl:1/energy_uj", "1000000\n");
  folder.write("intel-rapl:0:0/energy_uj", "9000000\n");
  CHECK(energy.joules() == Approx(2.5 + 2));
}

TEST_CASE("compare run, compare, compare gate: from measuring to a verdict")
{
  Folder const folder;
  std::string const network = folder.write("tiny.json", tiny_network), file = folder / "a.json";
  auto const ran = run(tiny_run(network, file, {"--repetitions", "8"}));
  INFO(ran.err);
  REQUIRE(ran.status == 0);
  CHECK(ran.out.find("openmp:2") != std::string::npos);
  auto comparison = parse_comparison(json::parse_file(file), file);
  REQUIRE(comparison.devices.size() == 2);
  CHECK(comparison.devices[1].cores == 2);
  CHECK_FALSE(comparison.devices[0].hardware.empty());
  REQUIRE(comparison.timings.size() == 4);
  for (auto const& timing : comparison.timings) {
    CHECK(timing.seconds.size() == 8);
    CHECK(timing.failure.empty());
    CHECK(timing.flops > 0);
  }
  std::string const provenance = comparison.provenance.command_line;
  CHECK(provenance.find("compare run --devices") != std::string::npos);

  auto const shown = run({"compare", file, "--out", folder / "out"});
  INFO(shown.err);
  REQUIRE(shown.status == 0);
  CHECK(shown.out.find("images/s") != std::string::npos);
  CHECK(fs::exists(folder / "out/report.json"));
  auto const as_json = run({"compare", file, file, "--json"});
  REQUIRE(as_json.status == 0);
  CHECK(as_json.out.find("a-2: openmp:1") != std::string::npos);
  CHECK_FALSE(json::parse(as_json.out, "stdout").as_object().empty());

  // Against itself nothing is slower; against itself with longer times everything is.
  auto const same = run({"compare", "gate", file, file});
  INFO(same.out << same.err);
  CHECK(same.status == 0);
  CHECK(same.out.find("no regression found") != std::string::npos);
  for (auto& timing : comparison.timings)
    for (auto& seconds : timing.seconds)
      seconds *= 100;
  std::string const slow = folder.write("slow.json", json::pretty(to_json(comparison)));
  auto const slower = run({"compare", "gate", file, slow, "--json"});
  CHECK(slower.status == 1);
  CHECK(slower.out.find("\"regression\": true") != std::string::npos);
  CHECK(run({"compare", "gate", slow, file}).status == 0); // faster is none
  // Two devices of one file, measured in turns.
  auto const between = run(
      {"compare", "gate", file, file, "--base-device", "openmp:1", "--new-device", "openmp:2", "--threshold", "50"});
  INFO(between.err);
  CHECK(between.status == 0);
  CHECK(between.out.find("\nstep/tiny/batch4 ") != std::string::npos);
  CHECK(run({"compare", "gate", file, file, "--base-device", "openmp:1"}).status == 2);
}

TEST_CASE("compare: mistakes get one line and status 2, and leave no file")
{
  Folder const folder;
  std::string const network = folder.write("tiny.json", tiny_network), out = folder / "new.json";
  auto const refused = [&](std::vector<std::string> const& words, std::string const& part) {
    auto const result = run(words);
    INFO(result.err);
    CHECK(result.status == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find(part) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  };
  refused({"compare"}, "needs a FILE");
  refused({"compare", folder / "missing.json"}, "missing.json");
  refused({"compare", network}, "nasturtium-architecture");
  refused({"compare", "gate", network, network}, "tiny.json");
  refused(tiny_run(network, out, {"--devices", "gpu"}), "gpu");
  refused(tiny_run(network, out, {"--devices", "openmp:4096"}), "4096");
  refused(tiny_run(network, out, {"--devices", "x=openmp:1@" + (folder / "nothing")}), "cannot start");
  refused(tiny_run(network, out, {"--devices", "x=openmp:1@/bin/false"}), "ended early");
  refused(tiny_run(network, out, {"--repetitions", "0"}), "--repetitions");
  refused(tiny_run(network, out, {"--seconds", "0"}), "--seconds");
  refused(tiny_run(network, out, {"--batch", "0"}), "--batch");
  refused(tiny_run("nonsense", out), "nonsense");
  auto const google = folder.write("g.json", R"({"benchmarks": [{"name": "x", "real_time": 1, "time_unit": "us"}]})");
  auto const mine = folder.write("c.json", json::pretty(to_json(example())));
  refused({"compare", "gate", google, mine}, "no benchmark in common");
  refused({"compare", "gate", mine, mine, "--base-device", "gpu", "--new-device", "openmp:1"}, "'gpu'");
  refused({"compare", "gate", google, google, "--base-device", "a", "--new-device", "b"}, "has no device");
  refused({"compare", "gate", google, google, "--confidence", "1"}, "--confidence");
  auto const once = run({"compare", "gate", google, google});
  CHECK(once.status == 0);
  CHECK(once.out.find("no interval can be made") != std::string::npos);
}

TEST_CASE("compare run: killed or interrupted it leaves neither a file nor a process")
{
  Folder const folder;
  std::string const network = folder.write("tiny.json", tiny_network), out = folder / "new.json";
  auto const children = [](pid_t parent) {
    std::vector<pid_t> found;
    for (auto const& entry : fs::directory_iterator("/proc")) {
      std::string const name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      std::istringstream stat(read(entry.path().string() + "/stat"));
      std::string number, program, state;
      pid_t of = 0;
      stat >> number >> program >> state >> of;
      if (of == parent) found.push_back(static_cast<pid_t>(std::stol(name)));
    }
    return found;
  };
  for (int const signal : {SIGKILL, SIGINT}) {
    Process process(tiny_run(network, out, {"--repetitions", "1000", "--seconds", "0.05"}));
    std::vector<pid_t> devices;
    for (int i = 0; i < 500 && devices.size() < 2; ++i) {
      sleep_ms(10);
      devices = children(process.id());
    }
    REQUIRE(devices.size() == 2);
    sleep_ms(300);
    process.signal(signal);
    auto const finished = process.wait();
    CHECK(finished.status == (signal == SIGKILL ? -SIGKILL : 130));
    CHECK_FALSE(fs::exists(out));
    bool alive = true;
    for (int i = 0; i < 500 && alive; ++i) {
      sleep_ms(10);
      alive = std::any_of(devices.begin(), devices.end(), [](pid_t id) {
        // A zombie that nobody waits for has ended too.
        std::string const stat = read("/proc/" + std::to_string(id) + "/stat");
        return !stat.empty() && stat.find(") Z ") == std::string::npos;
      });
    }
    CHECK_FALSE(alive);
  }
}
