// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "files.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdlib>
#include <set>

using namespace nasturtium;
using namespace nasturtium::datasets;
using test::error_of;
using test::put;
using test::TemporaryFolder;

namespace {

std::vector<std::int64_t> class_counts(Samples const& samples, int classes)
{
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
  for (auto const label : samples.labels)
    ++counts[static_cast<std::size_t>(label)];
  return counts;
}

// Samples whose one value is their number.
Dataset numbered(std::vector<std::int32_t> labels, int classes)
{
  Dataset dataset;
  dataset.name = "numbered";
  dataset.classes = classes;
  dataset.train.count = static_cast<std::int64_t>(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    dataset.train.values.push_back(static_cast<float>(i));
  dataset.train.labels = std::move(labels);
  return dataset;
}

Dataset numbered(int count, int classes)
{
  std::vector<std::int32_t> labels;
  for (int i = 0; i < count; ++i)
    labels.push_back(i % classes);
  return numbered(std::move(labels), classes);
}

// A variable of the environment, put back at the end.
class Variable
{
public:
  Variable(char const* name, std::string const& value) : m_name(name)
  {
    if (char const* const old = std::getenv(name)) m_old = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable()
  {
    if (m_old.empty())
      ::unsetenv(m_name);
    else
      ::setenv(m_name, m_old.c_str(), 1);
  }

private:
  char const* m_name;
  std::string m_old;
};

} // namespace

TEST_CASE("A validation split is stratified, seeded and keeps the order")
{
  Dataset dataset = numbered(1000, 10);
  split_validation(dataset, 0.2, 7);
  CHECK(dataset.validation.count == 200);
  CHECK(dataset.train.count == 800);
  CHECK(class_counts(dataset.validation, 10) == std::vector<std::int64_t>(10, 20));
  CHECK(std::is_sorted(dataset.train.values.begin(), dataset.train.values.end()));
  CHECK(std::is_sorted(dataset.validation.values.begin(), dataset.validation.values.end()));
  std::set<float> all(dataset.train.values.begin(), dataset.train.values.end());
  all.insert(dataset.validation.values.begin(), dataset.validation.values.end());
  CHECK(all.size() == 1000);
  for (std::size_t i = 0; i < 800; ++i)
    REQUIRE(dataset.train.labels[i] == static_cast<int>(dataset.train.values[i]) % 10);
  double sum = 0;
  for (float const v : dataset.train.values)
    sum += v;
  CHECK(dataset.mean[0] == static_cast<float>(sum / 800));

  Dataset again = numbered(1000, 10);
  split_validation(again, 0.2, 7);
  CHECK(again.validation.values == dataset.validation.values);
  Dataset other = numbered(1000, 10);
  split_validation(other, 0.2, 8);
  CHECK(other.validation.values != dataset.validation.values);
  // A larger fraction of the same seed holds the smaller one.
  Dataset larger = numbered(1000, 10);
  split_validation(larger, 0.5, 7);
  CHECK(std::includes(larger.validation.values.begin(), larger.validation.values.end(),
                      dataset.validation.values.begin(), dataset.validation.values.end()));
}

TEST_CASE("Uneven classes share a split by their sizes")
{
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 70; ++i)
    labels.push_back(0);
  for (int i = 0; i < 25; ++i)
    labels.push_back(1);
  for (int i = 0; i < 5; ++i)
    labels.push_back(2);
  Dataset dataset = numbered(labels, 4); // one class is empty
  split_validation(dataset, 0.2, 1);
  CHECK(class_counts(dataset.validation, 4) == std::vector<std::int64_t>{14, 5, 1, 0});
  Dataset odd = numbered(labels, 3);
  split_validation(odd, 0.13, 1); // 9.1, 3.25, 0.65 of 13
  CHECK(class_counts(odd.validation, 3) == std::vector<std::int64_t>{9, 3, 1});
}

TEST_CASE("Regression data are split without classes")
{
  Dataset dataset =
      make_synthetic({.regression = true, .count = 50, .test = 0, .height = 1, .width = 1, .channels = 4});
  Dataset const whole = dataset;
  split_validation(dataset, 0.3, 1);
  CHECK(dataset.validation.count == 15);
  CHECK(dataset.train.values.size() == 35 * 4);
  CHECK(dataset.train.targets.size() == 35);
  // Values and targets stay together.
  for (std::size_t i = 0; i < 15; ++i) {
    auto const at = std::find(whole.train.targets.begin(), whole.train.targets.end(), dataset.validation.targets[i]);
    REQUIRE(at != whole.train.targets.end());
    CHECK(whole.train.values[static_cast<std::size_t>(at - whole.train.targets.begin()) * 4] ==
          dataset.validation.values[i * 4]);
  }
}

TEST_CASE("Splits that cannot be are errors")
{
  Dataset dataset = numbered(10, 2);
  CHECK(error_of([&] { split_validation(dataset, 0, 1); }) == "validation fraction must be in (0, 1), got 0");
  CHECK(error_of([&] { split_validation(dataset, 1, 1); }) == "validation fraction must be in (0, 1), got 1");
  CHECK(error_of([&] { split_validation(dataset, std::nan(""), 1); }) ==
        "validation fraction must be in (0, 1), got nan");
  CHECK(error_of([&] { split_validation(dataset, 0.01, 1); }) ==
        "numbered: a validation fraction of 0.01 leaves a split of 10 samples empty");
  split_validation(dataset, 0.5, 1);
  CHECK(error_of([&] { split_validation(dataset, 0.5, 1); }) ==
        "numbered: has a validation split of 5 samples already");
  CHECK(error_of([&] { take_subset(dataset, 6, 0, 1); }) ==
        "numbered: a subset of 6 training samples, but there are 5");
  CHECK(error_of([&] { take_subset(dataset, -1, 0, 1); }) ==
        "numbered: a subset of -1 training samples, but there are 5");
  CHECK(error_of([&] { take_subset(dataset, 0, 1, 1); }) == "numbered: a subset of 1 test samples, but there are 0");
}

TEST_CASE("A subset is stratified in both splits")
{
  Dataset dataset = make_synthetic({.count = 500, .test = 100, .height = 4, .width = 4, .classes = 5});
  take_subset(dataset, 52, 10, 3);
  CHECK(dataset.train.count == 52);
  auto const counts = class_counts(dataset.train, 5);
  for (auto const n : counts)
    CHECK((n == 10 || n == 11));
  CHECK(class_counts(dataset.test, 5) == std::vector<std::int64_t>(5, 2));
  CHECK(dataset.train.bytes.size() == 52 * 16);
  take_subset(dataset, 0, 0, 3);
  CHECK(dataset.train.count == 52);
}

TEST_CASE("Normalisation is measured per channel")
{
  Dataset dataset;
  dataset.width = 2;
  dataset.channels = 2;
  dataset.train.count = 2;
  dataset.train.bytes = {0, 7, 10, 7, 20, 7, 30, 7};
  measure_normalisation(dataset);
  CHECK(dataset.mean == std::vector<float>{15, 7});
  CHECK(dataset.deviation[0] == static_cast<float>(std::sqrt(125.0)));
  CHECK(dataset.deviation[1] == 1.0f); // a constant channel
  dataset.train.values.assign(dataset.train.bytes.begin(), dataset.train.bytes.end());
  dataset.train.bytes.clear();
  measure_normalisation(dataset);
  CHECK(dataset.mean == std::vector<float>{15, 7});
  CHECK(dataset.deviation[0] == static_cast<float>(std::sqrt(125.0)));
}

TEST_CASE("Synthetic images have the Bayes error that they claim")
{
  SyntheticOptions const options{
      .count = 4000, .test = 4000, .height = 12, .width = 10, .channels = 2, .classes = 6, .noise = 25, .flip = 0.2};
  Dataset const dataset = make_synthetic(options);
  auto const bounds = bayes_error(options);
  CHECK(bounds.low == 0.2);
  CHECK(bounds.high < 0.2 + 1e-6); // the patterns lie far apart
  // Class means of the training split are the patterns; the nearest one is the best guess.
  auto const size = static_cast<std::size_t>(dataset.sample_size());
  std::vector<std::vector<double>> mean(6, std::vector<double>(size));
  auto const counts = class_counts(dataset.train, 6);
  for (std::size_t n = 0; n < 4000; ++n)
    for (std::size_t i = 0; i < size; ++i) {
      auto const k = static_cast<std::size_t>(dataset.train.labels[n]);
      mean[k][i] += dataset.train.bytes[n * size + i] / static_cast<double>(counts[k]);
    }
  int errors = 0;
  for (std::size_t n = 0; n < 4000; ++n) {
    int best = 0;
    double least = 1e300;
    for (int k = 0; k < 6; ++k) {
      double distance = 0;
      for (std::size_t i = 0; i < size; ++i) {
        double const difference = dataset.test.bytes[n * size + i] - mean[static_cast<std::size_t>(k)][i];
        distance += difference * difference;
      }
      if (distance < least) {
        least = distance;
        best = k;
      }
    }
    errors += best != dataset.test.labels[n];
  }
  // 4,000 draws with chance 0.2: deviation 0.0063; four of them.
  CHECK(std::abs(errors / 4000.0 - 0.2) < 0.0253);
}

TEST_CASE("Synthetic data: seeds, counts and options")
{
  Dataset const a = make_synthetic({.count = 30, .test = 5, .seed = 1});
  Dataset const b = make_synthetic({.count = 60, .test = 7, .seed = 1});
  CHECK(std::equal(a.train.bytes.begin(), a.train.bytes.end(), b.train.bytes.begin()));
  CHECK(std::equal(a.test.bytes.begin(), a.test.bytes.end(), b.test.bytes.begin()));
  CHECK(!std::equal(a.test.bytes.begin(), a.test.bytes.end(), a.train.bytes.begin()));
  CHECK(make_synthetic({.count = 30, .test = 5, .seed = 2}).train.bytes != a.train.bytes);
  CHECK(a.checksum != b.checksum);
  CHECK(a.classes == 10);
  CHECK(a.train.count == 30);

  auto const options =
      parse_synthetic("count=5:test=2:height=3:width=4:channels=2:classes=3:noise=1.5:flip=0.25:seed=18");
  CHECK(options.count == 5);
  CHECK(options.test == 2);
  CHECK(options.height == 3);
  CHECK(options.width == 4);
  CHECK(options.channels == 2);
  CHECK(options.classes == 3);
  CHECK(options.noise == 1.5);
  CHECK(options.flip == 0.25);
  CHECK(options.seed == 18);
  CHECK(parse_synthetic("").count == SyntheticOptions{}.count);
  CHECK(parse_synthetic("task=regression").regression);
  CHECK(error_of([] { parse_synthetic("colour=3"); }) == "synthetic: unknown option 'colour' (known: task, count, "
                                                         "test, height, width, channels, classes, noise, flip, seed)");
  CHECK(error_of([] { parse_synthetic("count"); }) == "synthetic: options are key=value, got 'count'");
  CHECK(error_of([] { parse_synthetic("count=ten"); }) == "synthetic: count must be a whole number, got 'ten'");
  CHECK(error_of([] { parse_synthetic("count=0"); }) == "synthetic: count must be in [1, 100000000], got 0");
  CHECK(error_of([] { parse_synthetic("flip=1"); }) == "synthetic: flip must be in [0, 1), got 1");
  CHECK(error_of([] { parse_synthetic("noise=nan"); }) == "synthetic: noise must be a finite number, got 'nan'");
  CHECK(error_of([] { parse_synthetic("seed=1:seed=2"); }) == "synthetic: option 'seed' is given twice");
  CHECK(error_of([] { parse_synthetic("count=100000000:height=4096"); }).starts_with("synthetic: "));
  CHECK(error_of([] { make_synthetic({.height = 1, .width = 1, .classes = 3}); }) ==
        "synthetic: classes 3 are too many for images of 1 x 1 x 1");
}

TEST_CASE("Synthetic regression: least squares reaches the noise")
{
  SyntheticOptions const options{
      .regression = true, .count = 2000, .test = 2000, .height = 1, .width = 2, .channels = 3, .noise = 0.3};
  Dataset const dataset = make_synthetic(options);
  CHECK(bayes_error(options).low == 0.09);
  // Values are independent with variance 1 / 3, so a coefficient is 3 E[x y].
  std::vector<double> coefficients(6);
  for (std::size_t n = 0; n < 2000; ++n)
    for (std::size_t i = 0; i < 6; ++i)
      coefficients[i] += 3.0 * dataset.train.values[n * 6 + i] * dataset.train.targets[n] / 2000;
  double squares = 0, target_squares = 0;
  for (std::size_t n = 0; n < 2000; ++n) {
    double guess = 0;
    for (std::size_t i = 0; i < 6; ++i)
      guess += coefficients[i] * dataset.test.values[n * 6 + i];
    squares += (guess - dataset.test.targets[n]) * (guess - dataset.test.targets[n]) / 2000;
    target_squares += dataset.test.targets[n] * dataset.test.targets[n] / 2000;
  }
  // Moments from 2,000 samples: each coefficient is off by about 0.04, six of them cost 6 * 0.04^2 / 3 = 0.003.
  CHECK(squares > 0.08);
  CHECK(squares < 0.11);
  CHECK(std::abs(target_squares - 1.09) < 0.1);
}

TEST_CASE("Specifications load what they name")
{
  TemporaryFolder const folder;
  test::write_idx(folder.path());
  CHECK(load("idx:" + folder.path()).classes == 3);
  CHECK(load("idx:" + folder.path() + ":classes=10").classes == 10);
  put(folder / "a.bin", test::cifar_records({{3}, {9}}));
  CHECK(load("cifar10:" + folder / "a.bin" + "," + folder / "a.bin" + ":" + folder / "a.bin").train.count == 4);
  put(folder / "c.bin", test::cifar_records({{19, 99}}));
  CHECK(load("cifar100:" + folder / "c.bin" + ":" + folder / "c.bin").classes == 100);
  CHECK(load("cifar100-coarse:" + folder / "c.bin" + ":" + folder / "c.bin").classes == 20);
  put(folder / "t.csv", "x,kind,y\n1,a,2\n3,b,4\n");
  CHECK(load("csv:" + folder / "t.csv" + ":label=kind").channels == 2);
  CHECK(load("csv:" + folder / "t.csv" + ":label=kind:test=" + folder / "t.csv" + ":shape=1x2x1").test.count == 2);
  CHECK(error_of([&] { load("csv:" + folder / "t.csv" + ":label=kind:target=x,y"); }).find("not both") !=
        std::string::npos);
  CHECK(error_of([&] { load("csv:" + folder / "t.csv" + ":target=x,y"); }).find("'kind' must be a finite number") !=
        std::string::npos);
  CHECK(load("synthetic").train.count == 1000);
  Dataset const made = load("synthetic:count=12:classes=3");
  CHECK(made.train.count == 12);
  convert("synthetic:count=12:classes=3", folder / "x.h5");
  CHECK(load("hdf5:" + folder / "x.h5").train.bytes == made.train.bytes);
  auto const described = describe(made);
  CHECK(described.at("train").at("per_class").as_array().size() == 3);
  CHECK(described.at("train").at("count").as_int64() == 12);
  CHECK(described.at("element") == "uint8");

  CHECK(error_of([] { load(""); }) == "no data set given");
  CHECK(error_of([] {
          load("imagenet");
        }).starts_with("unknown data set 'imagenet' (known: fashion-mnist, mnist, cifar10, "));
  CHECK(error_of([] { load("tar:x"); }).starts_with("unknown data set 'tar' (known: "));
  CHECK(error_of([] { load("mnist:x"); }) == "data set 'mnist:x': 'mnist' takes no files");
  CHECK(error_of([] { load("cifar10:a"); }) == "data set 'cifar10:a': expected cifar10:TRAIN[,TRAIN...]:TEST");
  CHECK(error_of([] { load("cifar10:a,:b"); }) == "data set 'cifar10:a,:b': expected cifar10:TRAIN[,TRAIN...]:TEST");
  CHECK(error_of([] { load("csv:"); }) == "data set 'csv:': no file given");
  CHECK(error_of([] { load("csv:a:colour=3"); }) ==
        "data set 'csv:a:colour=3': unknown option 'colour=3' (known: label, target, test, shape)");
  CHECK(error_of([] { load("csv:a:shape=1x2"); }) ==
        "data set 'csv:a:shape=1x2': shape must be HEIGHTxWIDTHxCHANNELS, got '1x2'");
  CHECK(error_of([] { load("idx:a:classes=1"); }) ==
        "data set 'idx:a:classes=1': classes must be in [2, 256], got '1'");
}

TEST_CASE("Registry: files are found, verified and missed")
{
  TemporaryFolder const folder;
  Variable const cache("XDG_CACHE_HOME", folder / "cache");
  Variable const data("NASTURTIUM_DATA", folder / "data");
  Entry const& mnist = find_entry("mnist");
  CHECK(locate(mnist).empty());
  std::string const missing = error_of([&] { load("mnist"); });
  CHECK(missing.starts_with("data set 'mnist' not found: no folder of " + folder / "data/mnist" + ", "));
  CHECK(missing.find("'nasturtium datasets download mnist' fetches it") != std::string::npos);
  CHECK(verify(mnist).at(0).state == FileState::missing);

  create_directories(folder / "data/mnist");
  test::write_idx(folder / "data/mnist");
  test::gzip(folder / "data/mnist/t10k-labels-idx1-ubyte");
  auto const paths = locate(mnist);
  REQUIRE(paths.size() == 4);
  CHECK(paths[3] == folder / "data/mnist/t10k-labels-idx1-ubyte.gz");
  Dataset const dataset = load("mnist");
  CHECK(dataset.name == "mnist");
  CHECK(dataset.classes == 10);
  CHECK(dataset.train.count == 6);
  for (auto const& check : verify(mnist))
    CHECK(check.state == FileState::unchecked);

  // The same files under a name whose hashes are known.
  Entry const& fashion = find_entry("fashion-mnist");
  auto const checks = verify(fashion, folder / "data/mnist");
  REQUIRE(checks.size() == 4);
  CHECK(checks[0].state == FileState::bad);
  CHECK(checks[0].detail.find("published is c59f468a") != std::string::npos);
  put(folder / "data/mnist/train-labels-idx1-ubyte", test::idx_labels({0, 1, 2, 0, 1, 77}));
  auto const unreadable = verify(mnist);
  CHECK(unreadable[0].state == FileState::bad);
  CHECK(unreadable[0].detail.find("label 77") != std::string::npos);
  CHECK(error_of([&] { load("mnist"); }) ==
        folder / "data/mnist/train-labels-idx1-ubyte" + ": label 77 of sample 5 is out of range [0, 9]");
  for (auto const& entry : entries()) {
    CHECK_FALSE(entry.description.empty());
    CHECK_FALSE(entry.files.empty());
    for (auto const& file : entry.files)
      CHECK((file.sha256.empty() || file.sha256.size() == 64));
    for (auto const& file : entry.data)
      CHECK((file.content_sha256.empty() || file.content_sha256.size() == 64));
  }
}

TEST_CASE("Download: fetches, checks, unpacks and keeps what is there")
{
  if (std::system("curl --version >/dev/null 2>&1") != 0) SKIP("the program curl is not here");
  TemporaryFolder const folder;
  create_directories(folder / "source/cifar-10-batches-bin");
  std::string const a = test::cifar_records({{3}, {9}}), b = test::cifar_records({{1}});
  put(folder / "source/cifar-10-batches-bin/a.bin", a);
  put(folder / "source/cifar-10-batches-bin/b.bin", b);
  put(folder / "source/cifar-10-batches-bin/readme.html", "x");
  std::string const command =
      "cd '" + folder / "source" + "' && tar --format=ustar -czf archive.tar.gz cifar-10-batches-bin";
  REQUIRE(std::system(command.c_str()) == 0);
  std::string const archive = folder / "source/archive.tar.gz";
  Entry entry{"example",
              "an example",
              "none",
              {{"archive.tar.gz", "file://" + archive, sha256_file(archive)}},
              {{"a.bin", sha256(a)}, {"b.bin", sha256(b)}},
              ""};
  std::string const target = download(entry, folder / "data");
  CHECK(target == folder / "data/example");
  CHECK(read_file(target + "/a.bin") == a);
  CHECK(read_file(target + "/b.bin") == b);
  CHECK_FALSE(is_file(target + "/readme.html"));
  CHECK(std::distance(std::filesystem::directory_iterator(target), std::filesystem::directory_iterator()) == 2);
  auto const checks = verify(entry, folder / "data");
  CHECK(checks.at(0).state == FileState::bad); // as published, but no reader belongs to this name
  CHECK(checks.at(1).state == FileState::good);

  // What is there is not fetched again; a damaged file is.
  std::filesystem::remove(archive);
  CHECK(download(entry, folder / "data") == target);
  put(target + "/b.bin", "damaged");
  std::string const gone = error_of([&] { download(entry, folder / "data"); });
  CHECK(gone.starts_with("file://" + archive + ": download failed: curl: "));
  CHECK(gone.ends_with("; to do it by hand, put into " + target + ": archive.tar.gz's .bin files (file://" + archive +
                       ", SHA-256 " + entry.files[0].sha256 + ")"));
  REQUIRE(std::system(command.c_str()) == 0);
  entry.files[0].sha256 = std::string(64, '0');
  CHECK(error_of([&] { download(entry, folder / "data"); }).find(": download failed: what came has SHA-256 ") !=
        std::string::npos);
  entry.files[0].sha256.clear();
  CHECK(download(entry, folder / "data") == target);
  CHECK(read_file(target + "/b.bin") == b);

  Entry plain{"plain",
              "",
              "",
              {{"x.bin", "file://" + folder / "source/cifar-10-batches-bin/a.bin", ""}},
              {{"x.bin", sha256(b)}},
              ""};
  CHECK(error_of([&] { download(plain, folder / "data"); }).find("what came is not it: content has SHA-256 ") !=
        std::string::npos);
  CHECK_FALSE(is_file(folder / "data/plain/x.bin"));
  plain.data[0].content_sha256 = sha256(a);
  download(plain, folder / "data");
  CHECK(read_file(folder / "data/plain/x.bin") == a);
}

TEST_CASE("a failed download lists all that is missing, and takes its empty folder away")
{
  TemporaryFolder const folder;
  std::string const base = "file://" + folder / "nowhere/";
  Entry const entry{"example",
                    "",
                    "",
                    {{"a.gz", base + "a.gz", ""}, {"b", base + "b", std::string(64, 'b')}},
                    {{"a", std::string(64, 'a')}, {"b", ""}},
                    ""};
  std::string const target = folder / "data/example";
  std::string const missing_b = "b (" + base + "b, SHA-256 " + std::string(64, 'b') + ")";
  std::string const all = "; to do it by hand, put into " + target + ": a.gz (" + base +
                          "a.gz, SHA-256 of the content " + std::string(64, 'a') + "), " + missing_b;
  std::string const error = error_of([&] { download(entry, folder / "data"); });
  CHECK(error.starts_with(base + "a.gz: download failed: "));
  CHECK(error.ends_with(all));
  CHECK_FALSE(std::filesystem::exists(target));
  // A folder that was there stays.
  std::filesystem::create_directories(target);
  CHECK(error_of([&] { download(entry, folder / "data"); }).ends_with(all));
  CHECK(std::filesystem::exists(target));
}

TEST_CASE("Fashion-MNIST, all of it", "[real]")
{
  if (locate(find_entry("fashion-mnist")).empty()) SKIP("Fashion-MNIST is not here (Debian: dataset-fashion-mnist)");
  Dataset dataset = load("fashion-mnist");
  CHECK(dataset.train.count == 60000);
  CHECK(dataset.test.count == 10000);
  CHECK(dataset.height == 28);
  CHECK(dataset.channels == 1);
  CHECK(dataset.classes == 10);
  CHECK(class_counts(dataset.train, 10) == std::vector<std::int64_t>(10, 6000));
  CHECK(class_counts(dataset.test, 10) == std::vector<std::int64_t>(10, 1000));
  // Mean and deviation that everybody uses: 0.2860 and 0.3530 of 255.
  CHECK(std::abs(dataset.mean[0] / 255 - 0.2860f) < 5e-5f);
  CHECK(std::abs(dataset.deviation[0] / 255 - 0.3530f) < 5e-5f);
  CHECK(dataset.class_names[static_cast<std::size_t>(dataset.train.labels[0])] == "Ankle boot");
  for (auto const& check : verify(find_entry("fashion-mnist")))
    CHECK(check.state == FileState::good);
  split_validation(dataset, 0.1, 1);
  CHECK(class_counts(dataset.validation, 10) == std::vector<std::int64_t>(10, 600));
}

TEST_CASE("CIFAR subsets", "[real]")
{
  char const* const given = std::getenv("NASTURTIUM_SHARED_DATA");
  std::string const images =
      (given ? std::string(given) : std::string(NASTURTIUM_SOURCE_DIR) + "/../shared/data") + "/images/";
  if (!is_file(images + "cifar10_train_10000.bin.gz")) SKIP("the CIFAR subsets are not here (NASTURTIUM_SHARED_DATA)");
  Dataset const ten = load("cifar10:" + images + "cifar10_train_10000.bin.gz:" + images + "cifar10_test_2000.bin.gz");
  CHECK(class_counts(ten.train, 10) == std::vector<std::int64_t>(10, 1000));
  CHECK(class_counts(ten.test, 10) == std::vector<std::int64_t>(10, 200));
  // Means of all 50,000 images: 0.4914, 0.4822, 0.4465; of a fifth of them within 0.01.
  float const means[] = {0.4914f, 0.4822f, 0.4465f};
  for (std::size_t c = 0; c < 3; ++c)
    CHECK(std::abs(ten.mean[c] / 255 - means[c]) < 0.01f);
  Dataset const hundred =
      load("cifar100:" + images + "cifar100_train_15000.bin.gz:" + images + "cifar100_test_3000.bin.gz");
  CHECK(class_counts(hundred.train, 100) == std::vector<std::int64_t>(100, 150));
  Dataset const coarse =
      load("cifar100-coarse:" + images + "cifar100_train_15000.bin.gz:" + images + "cifar100_test_3000.bin.gz");
  CHECK(class_counts(coarse.train, 20) == std::vector<std::int64_t>(20, 750));
  CHECK(coarse.train.bytes == hundred.train.bytes);
}
