// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// nasturtium transfer store: what a store of weights holds, whether it is whole, and how to get rid of it.
#include "transfer_store.hpp"
#include "program.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/number.hpp>
#include <nasturtium/core/table.hpp>
#include <nasturtium/nas/weight_store.hpp>
#include <nasturtium/nn/onnx.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <set>

namespace nasturtium::cli {

namespace {

namespace fs = std::filesystem;

struct Options
{
  std::string store, out;
  std::vector<std::string> ids;
  bool json = false, repair = false, onnx = false;
};

nas::WeightStore open(Options const& options)
{
  require(nas::WeightStore::exists(options.store), options.store, ": is no weight store (there is no store.json)");
  return nas::WeightStore::open(options.store);
}

std::string bytes_text(std::int64_t bytes)
{
  return human_bytes(static_cast<double>(bytes));
}

/// A long name in its place of a line of 80.
std::string shortened(std::string const& name)
{
  constexpr std::size_t most = 14, tail = 5;
  if (name.size() <= most) return name;
  return name.substr(0, most - tail - 2) + ".." + name.substr(name.size() - tail);
}

/// Bytes of a model's objects that other models have as well.
std::int64_t shared_bytes(nas::StoredModel const& model, std::map<std::string, int> const& uses)
{
  std::int64_t sum = 0;
  std::set<std::string> seen;
  for (auto const& layer : model.layers)
    if (seen.insert(layer.object).second && uses.at(layer.object) > 1) sum += layer.bytes;
  return sum;
}

int list(Options const& options)
{
  auto const store = open(options);
  std::vector<std::string> unreadable;
  auto models = store.list(&unreadable);
  std::map<std::string, int> uses;
  for (auto const& model : models) {
    std::set<std::string> objects;
    for (auto const& layer : model.layers)
      if (objects.insert(layer.object).second) ++uses[layer.object];
  }
  std::stable_sort(models.begin(), models.end(), [](auto const& a, auto const& b) {
    return !std::isnan(a.score) && (std::isnan(b.score) || a.score > b.score);
  });
  json::Array array;
  Table table({{"id"}, {"score", 4}, {"layers"}, {"bytes"}, {"shared"}, {"donor"}, {"lineage"}});
  for (auto const& model : models) {
    auto const layers = static_cast<std::int64_t>(model.layers.size());
    std::int64_t const bytes = model.bytes(), shared = shared_bytes(model, uses);
    bool const scored = !std::isnan(model.score);
    table.add_row({shortened(model.id), scored ? Cell(model.score) : Cell(), layers, bytes_text(bytes),
                   bytes_text(shared), shortened(model.donor), std::int64_t{model.lineage_length}});
    array.push_back({{"id", model.id},
                     {"score", scored ? json::Value(model.score) : json::Value(nullptr)},
                     {"layers", layers},
                     {"bytes", bytes},
                     {"shared_bytes", shared},
                     {"donor", model.donor},
                     {"lineage_length", model.lineage_length},
                     {"lineage_epochs", model.lineage_epochs},
                     {"epochs", model.epochs},
                     {"seed", model.seed},
                     {"created", model.created}});
  }
  if (options.json)
    std::cout << json::pretty(array);
  else
    std::cout << table.text();
  for (auto const& message : unreadable)
    std::cerr << "nasturtium: " << message << '\n';
  return exit_success;
}

json::Object to_json(nas::StoreReport const& report)
{
  json::Array findings;
  for (auto const& finding : report.findings)
    findings.push_back({{"kind", finding.kind == nas::StoreReport::Kind::damage ? "damage" : "leftover"},
                        {"path", finding.path},
                        {"what", finding.what},
                        {"repaired", finding.repaired}});
  return {{"models", report.models}, {"objects", report.objects}, {"bytes", report.bytes}, {"findings", findings}};
}

void print(nas::StoreReport const& report)
{
  for (auto const& finding : report.findings)
    std::cout << (finding.kind == nas::StoreReport::Kind::damage ? "damage: " : "leftover: ") << finding.path << ": "
              << finding.what << (finding.repaired ? "; repaired" : "") << '\n';
  std::cout << grouped(report.models) << " models, " << grouped(report.objects) << " objects, "
            << bytes_text(report.bytes) << ": "
            << (report.findings.empty() ? "whole"
                                        : concat(report.count(nas::StoreReport::Kind::damage), " damaged, ",
                                                 report.count(nas::StoreReport::Kind::leftover), " left over"))
            << '\n';
}

int verify(Options const& options)
{
  auto const report = open(options).verify(options.repair);
  if (options.json)
    std::cout << json::pretty(to_json(report));
  else
    print(report);
  for (auto const& finding : report.findings)
    if (finding.kind == nas::StoreReport::Kind::damage && !finding.repaired)
      fail(options.store, " is not whole: ", finding.path, ": ", finding.what, " (--repair takes out what is damaged)");
  return exit_success;
}

int collect(Options const& options)
{
  auto store = open(options);
  auto const before = store.usage();
  auto const report = store.gc();
  std::int64_t const freed = before.physical_bytes - store.usage().physical_bytes;
  if (options.json) {
    auto object = to_json(report);
    object["freed_bytes"] = freed;
    std::cout << json::pretty(object);
  } else {
    print(report);
    std::cout << bytes_text(freed) << " freed\n";
  }
  return exit_success;
}

int usage(Options const& options)
{
  auto const usage = open(options).usage();
  double const factor = usage.physical_bytes > 0
                            ? static_cast<double>(usage.logical_bytes) / static_cast<double>(usage.physical_bytes)
                            : 1;
  if (options.json) {
    std::cout << json::pretty(json::Object{{"models", usage.models},
                                           {"objects", usage.objects},
                                           {"logical_bytes", usage.logical_bytes},
                                           {"physical_bytes", usage.physical_bytes},
                                           {"factor", factor}});
    return exit_success;
  }
  Table table({{"models"}, {"objects"}, {"without sharing"}, {"on disk"}, {"factor", 2}});
  table.add_row({std::int64_t{usage.models}, std::int64_t{usage.objects}, bytes_text(usage.logical_bytes),
                 bytes_text(usage.physical_bytes), factor});
  std::cout << table.text();
  return exit_success;
}

int remove(Options const& options)
{
  auto store = open(options);
  for (auto const& id : options.ids) // all or none
    require(store.find(id).has_value(), options.store, ": has no model ", quoted(id));
  for (auto const& id : options.ids)
    store.remove(id);
  return exit_success;
}

/// Written under another name first, so that a folder of this name is whole.
int export_model(Options const& options)
{
  auto const store = open(options);
  std::string const& id = options.ids.front();
  auto const model = store.find(id);
  auto const weights = model ? store.load(id) : std::nullopt;
  require(weights.has_value(), options.store, ": has no model ", quoted(id));
  auto const architecture =
      nn::spec::parse_architecture(model->architecture, concat(options.store, ": model '", id, "'"));
  bool const float64 =
      std::any_of(model->layers.begin(), model->layers.end(), [](auto const& layer) { return layer.float64; });

  std::error_code error;
  require(!fs::exists(options.out, error) || (fs::is_directory(options.out, error) && fs::is_empty(options.out, error)),
          options.out, ": exists already, and is no empty folder");
  fs::path target = fs::absolute(options.out).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();
  fs::path const temporary = target.parent_path() / concat(".", target.filename().string(), ".", ::getpid(), ".tmp");
  create_directories(temporary.string());
  try {
    write_file((temporary / "architecture.json").string(), model->architecture);
    nn::save_weights((temporary / "weights.h5").string(), architecture, *weights, float64);
    if (options.onnx) nn::export_onnx((temporary / "model.onnx").string(), architecture, *weights);
    bool const renamed = ::rename(temporary.c_str(), target.c_str()) == 0;
    require(renamed, options.out, ": cannot be made: ", std::strerror(errno));
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  if (options.json)
    std::cout << json::pretty(json::Object{{"id", id}, {"folder", options.out}});
  else
    std::cout << "model " << id << " is in " << options.out << '\n';
  return exit_success;
}

} // namespace

void add_transfer_store(CLI::App& app, std::function<int()>& action)
{
  auto const options = std::make_shared<Options>();
  CLI::App* const store = app.add_subcommand("store", "Models with their weights, kept by a search");
  store->require_subcommand(1);
  store->fallthrough();
  store->add_option("--store", options->store, "Folder of the store")
      ->type_name("DIR")
      ->required()
      ->option_text("DIR (required)");
  store->add_flag("--json", options->json, "The answer as JSON on stdout");
  auto const add = [&](char const* name, char const* description, int (*run)(Options const&)) {
    auto* const verb = store->add_subcommand(name, description);
    verb->fallthrough();
    verb->callback([&action, options, run] { action = [options, run] { return run(*options); }; });
    return verb;
  };
  add("ls", "All models, the highest score first", list);
  add("verify", "Reads every record and every object again", verify)
      ->add_flag("--repair", options->repair, "Mend what can be mended, take out the models that cannot");
  add("gc", "Remove what no model needs", collect);
  add("du", "Bytes with and without sharing", usage);
  auto* const exporter = add("export", "Write a model as architecture.json and weights.h5", export_model);
  exporter->add_option("ID", options->ids, "The model")->required()->expected(1);
  exporter->add_option("--out", options->out, "A new folder")->type_name("DIR")->required();
  exporter->add_flag("--onnx", options->onnx, "model.onnx as well");
  add("rm", "Remove models", remove)->add_option("ID", options->ids, "The models")->required();
}

} // namespace nasturtium::cli
