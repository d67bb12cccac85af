// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checks.hpp"
#include "download.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/datasets/readers.hpp>
#include <nasturtium/datasets/registry.hpp>
#include <nasturtium/datasets/synthetic.hpp>

#include <array>
#include <cstdlib>
#include <functional>
#include <map>

namespace nasturtium::datasets {
namespace {

using Paths = std::vector<std::string>;

std::vector<Entry> make_entries()
{
  std::string const fashion = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/";
  std::string const mnist = "https://ossci-datasets.s3.amazonaws.com/mnist/";
  std::string const toronto = "https://www.cs.toronto.edu/~kriz/";
  std::string const stanford = "http://ufldl.stanford.edu/housenumbers/";
  auto const idx = [](std::string const& url, std::array<char const*, 4> published,
                      std::array<char const*, 4> content) {
    std::array<std::string, 4> const names = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                              "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    std::pair<std::vector<PublishedFile>, std::vector<DataFile>> files;
    for (std::size_t i = 0; i < 4; ++i) {
      files.first.push_back({concat(names[i], ".gz"), concat(url, names[i], ".gz"), published[i]});
      files.second.push_back({names[i], content[i]});
    }
    return files;
  };
  // The content's hashes were computed from Debian's package, whose files are compressed anew.
  auto const [fashion_files, fashion_data] = idx(fashion, {"", "", "", ""},
                                                 {"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                                                  "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                                                  "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                                                  "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"});
  auto const [mnist_files, mnist_data] = idx(mnist,
                                             {"440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                                              "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                                              "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                                              "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
                                             {"", "", "", ""});
  PublishedFile const cifar10{"cifar-10-binary.tar.gz", toronto + "cifar-10-binary.tar.gz",
                              "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"};
  PublishedFile const cifar100{"cifar-100-binary.tar.gz", toronto + "cifar-100-binary.tar.gz",
                               "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"};
  std::vector<DataFile> const cifar10_data = {
      {"data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"},
      {"data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"},
      {"data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"},
      {"data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"},
      {"data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"},
      {"test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"}};
  std::vector<DataFile> const cifar100_data = {
      {"train.bin", "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"},
      {"test.bin", "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"}};
  std::string const svhn_train = "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8";
  std::string const svhn_test = "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b";
  std::string const cite = "no formal licence; cite Krizhevsky 2009";
  return {
      {"fashion-mnist", "70,000 grey images of clothes, 28 x 28, 10 classes (Xiao et al. 2017)", "MIT", fashion_files,
       fashion_data, "Debian and Ubuntu have the package dataset-fashion-mnist"},
      {"mnist", "70,000 grey images of digits, 28 x 28, 10 classes (LeCun et al. 1998)",
       "no formal licence; cite LeCun et al. 1998", mnist_files, mnist_data, ""},
      {"cifar10", "60,000 colour images, 32 x 32, 10 classes (Krizhevsky 2009)", cite, {cifar10}, cifar10_data, ""},
      {"cifar100", "60,000 colour images, 32 x 32, 100 classes (Krizhevsky 2009)", cite, {cifar100}, cifar100_data, ""},
      {"cifar100-coarse", "the images of cifar100 with their 20 coarse classes", cite, {cifar100}, cifar100_data, ""},
      {"svhn",
       "99,289 colour images of house numbers, 32 x 32, 10 classes (Netzer et al. 2011)",
       "for non-commercial use only",
       {{"train_32x32.mat", stanford + "train_32x32.mat", svhn_train},
        {"test_32x32.mat", stanford + "test_32x32.mat", svhn_test}},
       {{"train_32x32.mat", svhn_train}, {"test_32x32.mat", svhn_test}},
       ""},
  };
}

std::string variable(char const* name)
{
  char const* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string cache_folder()
{
  std::string const cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  return (!cache.empty() ? cache : home.empty() ? std::string(".cache") : home + "/.cache") + "/nasturtium/data";
}

// Files of cifar100-coarse are those of cifar100.
std::string storage_name(Entry const& entry)
{
  return entry.name == "cifar100-coarse" ? "cifar100" : entry.name;
}

std::string find_file(std::string const& folder, std::string const& name)
{
  for (std::string const& path : {folder + "/" + name, folder + "/" + name + ".gz"})
    if (is_file(path)) return path;
  return {};
}

Dataset read_entry(Entry const& entry, Paths const& paths)
{
  Paths const train(paths.begin(), paths.end() - 1), test(paths.end() - 1, paths.end());
  if (entry.name == "cifar10") return read_cifar10(train, test);
  if (entry.name == "cifar100") return read_cifar100(train, test, Cifar100Labels::fine);
  if (entry.name == "cifar100-coarse") return read_cifar100(train, test, Cifar100Labels::coarse);
  if (entry.name == "svhn") return read_svhn(train, test);
  Dataset dataset = read_idx(paths.front().substr(0, paths.front().rfind('/')), 10);
  if (entry.name == "fashion-mnist")
    dataset.class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                           "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  return dataset;
}

Paths split(std::string const& text, char separator)
{
  Paths parts;
  for (std::size_t begin = 0;;) {
    std::size_t const end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

struct Files
{
  Paths train, test;
};

Files train_and_test(std::string const& kind, std::string const& rest)
{
  auto const parts = split(rest, ':');
  bool good = parts.size() == 2;
  Files files;
  if (good) {
    files.train = split(parts[0], ',');
    files.test = split(parts[1], ',');
    for (auto const& path : files.train)
      good = good && !path.empty();
    for (auto const& path : files.test)
      good = good && !path.empty();
  }
  require(good, "data set ", quoted(kind + ":" + rest), ": expected ", kind, ":TRAIN[,TRAIN...]:TEST");
  return files;
}

// Options "key=value" after the first part of a specification.
std::map<std::string, std::string> options_of(Paths const& parts, std::string const& specification,
                                              std::vector<std::string> const& known)
{
  std::map<std::string, std::string> options;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto const equals = parts[i].find('=');
    std::string const key = parts[i].substr(0, equals);
    bool const good = equals != std::string::npos && std::find(known.begin(), known.end(), key) != known.end();
    std::string all;
    for (auto const& name : known)
      all += (all.empty() ? "" : ", ") + name;
    require(good, "data set ", quoted(specification), ": unknown option ", quoted(parts[i]), " (known: ", all, ")");
    require(options.emplace(key, parts[i].substr(equals + 1)).second, "data set ", quoted(specification), ": option '",
            key, "' is given twice");
  }
  return options;
}

Dataset load_csv(std::string const& rest, std::string const& specification)
{
  auto const parts = split(rest, ':');
  auto const given = options_of(parts, specification, {"label", "target", "test", "shape"});
  auto const get = [&](char const* key) { return given.contains(key) ? given.at(key) : std::string(); };
  CsvOptions options;
  options.label = get("label");
  if (given.contains("target")) options.targets = split(get("target"), ',');
  options.test = get("test");
  if (given.contains("shape")) {
    auto const extents = split(get("shape"), 'x');
    bool good = extents.size() == 3;
    for (std::size_t i = 0; good && i < 3; ++i) {
      auto const n = parse_integer(extents[i]);
      good = n && *n >= 1 && *n <= 1 << 24;
      if (good) options.shape[i] = static_cast<int>(*n);
    }
    require(good, "data set ", quoted(specification), ": shape must be HEIGHTxWIDTHxCHANNELS, got ",
            quoted(get("shape")));
  }
  return read_csv(parts[0], options);
}

Dataset load_idx(std::string const& rest, std::string const& specification)
{
  auto const parts = split(rest, ':');
  auto const given = options_of(parts, specification, {"classes"});
  int classes = 0;
  if (given.contains("classes")) {
    auto const n = parse_integer(given.at("classes"));
    require(n && *n >= 2 && *n <= 256, "data set ", quoted(specification), ": classes must be in [2, 256], got ",
            quoted(given.at("classes")));
    classes = static_cast<int>(*n);
  }
  return read_idx(parts[0], classes);
}

json::Value describe_split(Samples const& samples, int classes)
{
  json::Object result{{"count", samples.count}};
  if (classes > 0) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(classes));
    for (auto const label : samples.labels)
      ++counts[static_cast<std::size_t>(label)];
    json::Array array;
    for (auto const n : counts)
      array.emplace_back(n);
    result["per_class"] = std::move(array);
  }
  return result;
}

} // namespace

std::vector<Entry> const& entries()
{
  static std::vector<Entry> const all = make_entries();
  return all;
}

Entry const& find_entry(std::string_view name)
{
  std::string all;
  for (auto const& entry : entries()) {
    if (entry.name == name) return entry;
    all += (all.empty() ? "" : ", ") + entry.name;
  }
  fail("unknown data set ", quoted(name), " (known: ", all,
       "; or idx:, cifar10:, cifar100:, cifar100-coarse:, svhn:, csv:, nt3:, hdf5: with "
       "files, or synthetic, synthetic-nt3, synthetic-uno)");
}

std::vector<std::string> search_folders(Entry const& entry, std::string const& data_dir)
{
  std::string const name = storage_name(entry);
  std::vector<std::string> roots;
  if (!data_dir.empty()) roots.push_back(data_dir);
  if (auto const given = variable("NASTURTIUM_DATA"); !given.empty()) roots.push_back(given);
  std::vector<std::string> folders;
  for (auto const& root : roots) {
    folders.push_back(root + "/" + name);
    folders.push_back(root);
  }
  folders.push_back(cache_folder() + "/" + name);
  folders.push_back("/usr/share/datasets/" + name);
  folders.push_back("/usr/local/share/datasets/" + name);
  return folders;
}

std::string download_folder(Entry const& entry, std::string const& data_dir)
{
  return (data_dir.empty() ? cache_folder() : data_dir) + "/" + storage_name(entry);
}

std::vector<std::string> locate(Entry const& entry, std::string const& data_dir)
{
  for (auto const& folder : search_folders(entry, data_dir)) {
    Paths paths;
    for (auto const& file : entry.data)
      if (std::string path = find_file(folder, file.name); !path.empty()) paths.push_back(std::move(path));
    if (paths.size() == entry.data.size()) return paths;
  }
  return {};
}

Dataset load(std::string const& specification, std::string const& data_dir)
{
  require(!specification.empty(), "no data set given");
  auto const colon = specification.find(':');
  std::string const kind = specification.substr(0, colon);
  std::string const options = colon == std::string::npos ? "" : specification.substr(colon + 1);
  if (kind == "synthetic") return make_synthetic(parse_synthetic(options));
  if (kind == "synthetic-nt3") return make_synthetic_nt3(parse_synthetic_nt3(options));
  if (kind == "synthetic-uno") return make_synthetic_uno(parse_synthetic_uno(options));
  if (colon == std::string::npos) {
    Entry const& entry = find_entry(specification);
    Paths const paths = locate(entry, data_dir);
    if (paths.empty()) {
      std::string names, folders;
      for (auto const& file : entry.data)
        names += (names.empty() ? "" : ", ") + file.name;
      for (auto const& folder : search_folders(entry, data_dir))
        folders += (folders.empty() ? "" : ", ") + folder;
      fail("data set '", entry.name, "' not found: no folder of ", folders, " holds ", names,
           "; 'nasturtium datasets download ", storage_name(entry), "' fetches it",
           entry.hint.empty() ? "" : "; " + entry.hint);
    }
    Dataset dataset = read_entry(entry, paths);
    dataset.name = entry.name;
    return dataset;
  }
  std::string const rest = specification.substr(colon + 1);
  require(!rest.empty(), "data set ", quoted(specification), ": no file given");
  if (kind == "idx") return load_idx(rest, specification);
  if (kind == "csv") return load_csv(rest, specification);
  if (kind == "hdf5") return read_hdf5(rest);
  if (kind == "nt3") {
    auto const parts = split(rest, ':');
    require(parts.size() == 2 && !parts[0].empty() && !parts[1].empty(), "data set ", quoted(specification),
            ": expected nt3:TRAIN.csv:TEST.csv");
    return read_nt3(parts[0], parts[1]);
  }
  if (kind == "svhn" || kind == "cifar10" || kind == "cifar100" || kind == "cifar100-coarse") {
    auto const files = train_and_test(kind, rest);
    if (kind == "svhn") return read_svhn(files.train, files.test);
    if (kind == "cifar10") return read_cifar10(files.train, files.test);
    return read_cifar100(files.train, files.test, kind == "cifar100" ? Cifar100Labels::fine : Cifar100Labels::coarse);
  }
  find_entry(kind); // throws for an unknown kind
  fail("data set ", quoted(specification), ": '", kind, "' takes no files");
}

std::string name(FileState state)
{
  switch (state) {
  case FileState::good:
    return "good";
  case FileState::unchecked:
    return "unchecked";
  case FileState::bad:
    return "bad";
  case FileState::missing:
    break;
  }
  return "missing";
}

std::vector<FileCheck> verify(Entry const& entry, std::string const& data_dir)
{
  auto const folders = search_folders(entry, data_dir);
  Paths const paths = locate(entry, data_dir);
  // Without a complete folder: the first one that holds anything.
  std::string folder = folders.front();
  if (paths.empty())
    for (auto const& candidate : folders)
      if (std::any_of(entry.data.begin(), entry.data.end(),
                      [&](auto const& file) { return !find_file(candidate, file.name).empty(); })) {
        folder = candidate;
        break;
      }
  std::vector<FileCheck> checks;
  for (std::size_t i = 0; i < entry.data.size(); ++i) {
    auto const& file = entry.data[i];
    FileCheck check;
    check.path = paths.empty() ? find_file(folder, file.name) : paths[i];
    if (check.path.empty()) {
      check.path = folder + "/" + file.name;
      check.detail = "no such file, nor with .gz";
    } else {
      impl::check_content(check, file.content_sha256);
    }
    checks.push_back(std::move(check));
  }
  // Hashes say what the files are; the reader says that they can be used.
  bool const sound =
      std::none_of(checks.begin(), checks.end(), [](auto const& c) { return c.state == FileState::bad; });
  if (!paths.empty() && sound) {
    try {
      read_entry(entry, paths);
    } catch (Error const& error) {
      checks.front().state = FileState::bad;
      checks.front().detail = error.what();
    }
  }
  return checks;
}

void convert(std::string const& specification, std::string const& output, std::string const& data_dir)
{
  save_hdf5(load(specification, data_dir), output);
}

json::Value describe(Dataset const& dataset)
{
  auto const numbers = [](std::vector<float> const& values) {
    json::Array array;
    for (float const v : values)
      array.emplace_back(static_cast<double>(v));
    return array;
  };
  json::Object result{{"name", dataset.name},
                      {"height", dataset.height},
                      {"width", dataset.width},
                      {"channels", dataset.channels},
                      {"element", dataset.train.bytes.empty() ? "float32" : "uint8"},
                      {"classes", dataset.classes},
                      {"target_width", dataset.target_width}};
  json::Array names;
  for (auto const& name : dataset.class_names)
    names.emplace_back(name);
  result["class_names"] = std::move(names);
  result["train"] = describe_split(dataset.train, dataset.classes);
  result["validation"] = describe_split(dataset.validation, dataset.classes);
  result["test"] = describe_split(dataset.test, dataset.classes);
  result["mean"] = numbers(dataset.mean);
  result["deviation"] = numbers(dataset.deviation);
  result["checksum"] = dataset.checksum;
  return result;
}

} // namespace nasturtium::datasets
