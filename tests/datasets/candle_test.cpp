// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Readers and stand-ins of the CANDLE benchmarks.
#include "files.hpp"

#include <nasturtium/datasets/readers.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <set>

using namespace nasturtium;
using namespace nasturtium::datasets;
using test::error_of;
using test::put;
using test::TemporaryFolder;

TEST_CASE("NT3: classes, genes and their scale over the training rows", "[candle]")
{
  TemporaryFolder const folder;
  std::string const train = folder / "train.csv", test = folder / "test.csv";
  put(train, "0,1,-8,0,0.5\n1,-2,4,0,0.25\r\n1.0,0,2e0,0,-1\n");
  put(test, "1,4,-8,3,2");
  Dataset const dataset = load("nt3:" + train + ":" + test);
  CHECK(dataset.height == 1);
  CHECK(dataset.width == 4);
  CHECK(dataset.channels == 1);
  CHECK(dataset.classes == 2);
  CHECK(dataset.train.count == 3);
  CHECK(dataset.train.labels == std::vector<std::int32_t>{0, 1, 1});
  CHECK(dataset.train.values == std::vector<float>{0.5, -1, 0, 0.5, -1, 0.5, 0, 0.25, 0, 0.25, 0, -1});
  CHECK(dataset.test.labels == std::vector<std::int32_t>{1});
  CHECK(dataset.test.values == std::vector<float>{2, -1, 3, 2}); // the test rows have no say
  CHECK(dataset.mean.size() == 1);
  Dataset const alone = read_nt3(train);
  CHECK(alone.test.count == 0);
  CHECK(alone.train.values == dataset.train.values);
  CHECK(alone.checksum != dataset.checksum);
  test::gzip(train);
  CHECK(read_nt3(train + ".gz", test).checksum == dataset.checksum);
}

TEST_CASE("NT3: wrong tables are one error with file, line and column", "[candle]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "t.csv";
  auto const message = [&](std::string const& text) {
    put(path, text);
    return error_of([&] { read_nt3(path); });
  };
  CHECK(message("0,1\n1,2\n\n\n") == "no error");
  CHECK(message("") == path + ": holds no rows");
  CHECK(message("\n\n") == path + ": holds no rows");
  CHECK(message("label,x\n0,1\n") == path + ":1: column 1 must be the class, 0 or 1, got 'label'");
  CHECK(message("0,1\n2,1\n") == path + ":2: column 1 must be the class, 0 or 1, got '2'");
  CHECK(message("0,1\n\n1,1\n") == path + ":2: column 1 must be the class, 0 or 1, got ''");
  CHECK(message("0,1,x\n") == path + ":1: column 3 must be a finite number, got 'x'");
  CHECK(message("0,1,nan\n") == path + ":1: column 3 must be a finite number, got 'nan'");
  CHECK(message("0,1e39\n") == path + ":1: column 2 must be a finite number, got '1e39'");
  CHECK(message("0,1,\n") == path + ":1: column 3 must be a finite number, got ''");
  CHECK(message("0\n1\n") == path + ":1: a row must have 1 to 1048576 genes behind its class, got 0");
  CHECK(message("0,1,2\n1,2\n") == path + ":2: 2 columns, but the first row has 3");
  CHECK(message("0,1,2\n1,2,3,4\n") == path + ":2: 4 columns, but the first row has 3");
  put(folder / "b.csv", "1,2\n");
  put(path, "0,1,2\n");
  CHECK(error_of([&] { read_nt3(path, folder / "b.csv"); }) ==
        (folder / "b.csv") + ":1: 2 columns, but the first row has 3");
  put(folder / "b.csv", "1,1,1e30\n");
  put(path, "0,1,1e-30\n");
  CHECK(error_of([&] { read_nt3(path, folder / "b.csv"); }) ==
        (folder / "b.csv") + ": a gene, scaled as the training rows, of sample 0 is not finite, got inf");
  CHECK(error_of([&] { read_nt3(folder / "none.csv"); }).find("none.csv") != std::string::npos);
  for (std::string const specification : {"nt3:a.csv", "nt3:a.csv:", "nt3::b.csv", "nt3:a:b:c"})
    CHECK(error_of([&] { load(specification); }) ==
          "data set '" + specification + "': expected nt3:TRAIN.csv:TEST.csv");
}

TEST_CASE("Fuzz: NT3", "[candle]")
{
  TemporaryFolder const folder;
  std::string const path = folder / "t.csv", good = "0,1.5,-8,0\n1,-2,4e1,0\r\n1,0,2,0\n";
  test::Random random(11);
  int errors = 0;
  for (int i = 0; i < 2000; ++i) {
    put(path, test::mutated(good, random));
    try {
      Dataset const dataset = read_nt3(path, path);
      REQUIRE(dataset.train.labels.size() == static_cast<std::size_t>(dataset.train.count));
      REQUIRE(dataset.test.values.size() == static_cast<std::size_t>(dataset.test.count * dataset.sample_size()));
    } catch (Error const& error) {
      REQUIRE(std::string(error.what()).find('\n') == std::string::npos);
      ++errors;
    }
  }
  CHECK(errors > 500);
}

namespace {

/// Test samples that a detector of the motifs classifies wrongly: at every place, and over all shifts, it takes the
/// largest response to a motif.
int detector_errors(Dataset const& dataset)
{
  auto const features = static_cast<std::size_t>(dataset.width);
  std::vector<double> level(features);
  auto const count = static_cast<std::size_t>(dataset.train.count);
  for (std::size_t i = 0; i < dataset.train.values.size(); ++i)
    level[i % features] += static_cast<double>(dataset.train.values[i]) / static_cast<double>(count);
  int errors = 0;
  for (std::size_t n = 0; n < static_cast<std::size_t>(dataset.test.count); ++n) {
    double score = 0;
    for (std::size_t place = 0; place < 8; ++place) {
      double best[2] = {-1e300, -1e300};
      for (std::size_t shift = 0; shift < 8; ++shift) {
        double response[2] = {0, 0};
        for (std::size_t i = 0; i < 8; ++i) {
          std::size_t const feature = features * (2 * place + 1) / 16 + shift + i;
          double const value = static_cast<double>(dataset.test.values[n * features + feature]) - level[feature];
          response[0] += i < 4 ? value : -value;
          response[1] += i % 2 == 0 ? value : -value;
        }
        for (int k = 0; k < 2; ++k)
          best[k] = std::max(best[k], response[k]);
      }
      score += best[1] - best[0];
    }
    errors += (score > 0) != (dataset.test.labels[n] == 1);
  }
  return errors;
}

} // namespace

TEST_CASE("Synthetic NT3: classes differ in motifs at eight places", "[candle]")
{
  Dataset const dataset = load("synthetic-nt3:features=256:count=200:test=400");
  CHECK(dataset.width == 256);
  CHECK(dataset.height == 1);
  CHECK(dataset.channels == 1);
  CHECK(dataset.classes == 2);
  CHECK(std::count(dataset.train.labels.begin(), dataset.train.labels.end(), 1) == 100);
  CHECK(dataset.test.count == 400);
  CHECK(detector_errors(dataset) < 8);
  CHECK(detector_errors(make_synthetic_nt3({.count = 200, .test = 400, .features = 256, .noise = 20})) > 100);
  // Without noise, samples of the two classes are equal outside the eight places.
  Dataset const clean = make_synthetic_nt3({.count = 2, .test = 0, .features = 1000, .noise = 0});
  int different = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    bool const here = clean.train.values[i] != clean.train.values[1000 + i];
    different += here;
    bool inside = false;
    for (std::size_t place = 0; place < 8; ++place) {
      std::size_t const first = 1000 * (2 * place + 1) / 16;
      inside = inside || (i >= first && i < first + 15);
    }
    if (here) CHECK(inside);
  }
  CHECK(different >= 8 * 4);
  // Samples of one seed do not depend on the counts.
  auto const few = make_synthetic_nt3({.count = 3, .test = 2, .features = 300});
  auto const more = make_synthetic_nt3({.count = 5, .test = 4, .features = 300});
  CHECK(std::equal(few.train.values.begin(), few.train.values.end(), more.train.values.begin()));
  CHECK(std::equal(few.test.values.begin(), few.test.values.end(), more.test.values.begin()));
  CHECK(few.checksum != more.checksum);
  CHECK(few.train.values != make_synthetic_nt3({.count = 3, .test = 2, .features = 300, .seed = 2}).train.values);
}

TEST_CASE("Synthetic Uno: three blocks and a dose decide the target", "[candle]")
{
  Dataset const dataset = load("synthetic-uno:count=300:test=20:noise=0");
  CHECK(dataset.channels == 8261);
  CHECK(dataset.sample_size() == 8261);
  CHECK(dataset.classes == 0);
  CHECK(dataset.target_width == 1);
  REQUIRE(dataset.train.targets.size() == 300);
  REQUIRE(dataset.train.values.size() == std::size_t{300} * 8261);
  std::set<std::vector<float>> expression, descriptors, fingerprints;
  double sum = 0, squares = 0;
  for (std::size_t n = 0; n < 300; ++n) {
    auto const* const sample = dataset.train.values.data() + n * 8261;
    CHECK((sample[0] >= 0 && sample[0] < 1));
    expression.emplace(sample + 1, sample + 943);
    descriptors.emplace(sample + 943, sample + 6213);
    fingerprints.emplace(sample + 6213, sample + 8261);
    CHECK(std::all_of(sample + 6213, sample + 8261, [](float v) { return v == 0 || v == 1; }));
    double const target = dataset.train.targets[n];
    CHECK(std::abs(target) < 1);
    sum += target;
    squares += target * target;
  }
  CHECK(expression.size() <= 60);
  CHECK(expression.size() > 50);
  CHECK(descriptors.size() <= 100);
  CHECK(descriptors.size() > 80);
  CHECK(fingerprints.size() == descriptors.size());
  CHECK(squares / 300 - sum / 300 * sum / 300 > 0.2); // much more than the default noise of 0.01
  // Line and drug the same: the target rises with the dose.
  for (std::size_t a = 0; a < 300; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      auto const *const x = dataset.train.values.data() + a * 8261, *const y = dataset.train.values.data() + b * 8261;
      if (x[0] > y[0] && std::equal(x + 1, x + 8261, y + 1)) CHECK(dataset.train.targets[a] > dataset.train.targets[b]);
    }
  }
  // Noise is on the target alone.
  auto const noisy = make_synthetic_uno({.count = 300, .test = 0, .noise = 0.5});
  CHECK(noisy.train.values == dataset.train.values);
  double error = 0;
  for (std::size_t n = 0; n < 300; ++n) {
    double const difference = noisy.train.targets[n] - dataset.train.targets[n];
    error += difference * difference / 300;
  }
  CHECK(std::abs(error - 0.25) < 0.08); // deviation 0.25 * sqrt(2 / 300) = 0.02; four of them
  CHECK(noisy.checksum != dataset.checksum);
}

TEST_CASE("Synthetic CANDLE data: options", "[candle]")
{
  auto const options = parse_synthetic_nt3("count=5:test=2:features=300:noise=1.5:seed=18");
  CHECK(options.count == 5);
  CHECK(options.test == 2);
  CHECK(options.features == 300);
  CHECK(options.noise == 1.5);
  CHECK(options.seed == 18);
  CHECK(parse_synthetic_uno("noise=0.25:test=0").noise == 0.25);
  auto const nt3 = [](char const* text) { return error_of([&] { parse_synthetic_nt3(text); }); };
  auto const uno = [](char const* text) { return error_of([&] { parse_synthetic_uno(text); }); };
  CHECK(nt3("classes=3") == "synthetic-nt3: unknown option 'classes' (known: count, test, features, noise, seed)");
  CHECK(nt3("features=255") == "synthetic-nt3: features must be in [256, 1048576], got 255");
  CHECK(nt3("features=1e3") == "synthetic-nt3: features must be a whole number, got '1e3'");
  CHECK(nt3("noise=-1") == "synthetic-nt3: noise must be in [0, 1000], got -1");
  CHECK(nt3("count=100000000") == "synthetic-nt3: 762.9 GiB of samples are more than 64 GiB");
  CHECK(uno("features=300") == "synthetic-uno: unknown option 'features' (known: count, test, noise, seed)");
  CHECK(uno("count=0") == "synthetic-uno: count must be in [1, 100000000], got 0");
  CHECK(uno("seed") == "synthetic-uno: options are key=value, got 'seed'");
  CHECK(uno("noise=inf") == "synthetic-uno: noise must be a finite number, got 'inf'");
}
