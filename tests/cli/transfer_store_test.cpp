// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nas/small_models.hpp"
#include "process.hpp"

#include <nasturtium/core/json.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace nasturtium;
using namespace nasturtium::test;

namespace {

/// A parent, its child, and a model with a long name.
nas::WeightStore make_store(std::string const& path)
{
  auto store = nas::WeightStore::open(path);
  store.put(small_model("parent", 0.5), small_weights({1, 2, 3, 4}));
  auto child = small_model("child", 0.9);
  child.donor = "parent";
  child.lineage_length = 1;
  store.put(child, small_weights({1, 2, 3, 5}));
  store.put(small_model("a-very-long-name-of-a-model-0123", std::numeric_limits<double>::quiet_NaN()),
            small_weights({6, 7, 8, 9}));
  return store;
}

std::vector<std::string> lines(std::string const& text)
{
  std::vector<std::string> found;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    found.push_back(line);
  return found;
}

} // namespace

TEST_CASE("transfer store: lists models by score, within 80 columns")
{
  Folder const folder;
  std::string const path = folder / "store";
  make_store(path);
  auto const text = run({"transfer", "store", "ls", "--store", path});
  INFO(text.err);
  REQUIRE(text.status == 0);
  auto const rows = lines(text.out);
  REQUIRE(rows.size() == 5);
  CHECK(rows[2].starts_with("child "));
  CHECK(rows[3].starts_with("parent "));
  CHECK(rows[4].starts_with("a-very-..-0123 "));
  for (auto const& row : rows)
    CHECK(row.size() <= 80);
  auto const result = run({"transfer", "store", "--store", path, "ls", "--json"});
  REQUIRE(result.status == 0);
  auto const models = json::parse(result.out, "ls").as_array();
  REQUIRE(models.size() == 3);
  CHECK(models[0].at("id").as_string() == "child");
  CHECK(models[0].at("donor").as_string() == "parent");
  CHECK(models[0].at("layers").as_int64() == 4);
  CHECK(models[0].at("shared_bytes").as_int64() == models[1].at("shared_bytes").as_int64());
  CHECK(models[0].at("shared_bytes").as_int64() < models[0].at("bytes").as_int64());
  CHECK(models[2].at("shared_bytes").as_int64() == 0);
  CHECK(models[2].at("score").is_null());
}

TEST_CASE("transfer store: verify, repair, gc, du, rm")
{
  Folder const folder;
  std::string const path = folder / "store";
  auto const store = make_store(path);
  CHECK(run({"transfer", "store", "verify", "--store", path}).out.ends_with(": whole\n"));
  auto usage = json::parse(run({"transfer", "store", "du", "--store", path, "--json"}).out, "du");
  CHECK(usage.at("models").as_int64() == 3);
  CHECK(usage.at("objects").as_int64() == 9);
  CHECK(usage.at("factor").as_double() > 1);

  // A byte of an object that the parent and the child have.
  std::string object;
  auto const child = store.find("child");
  for (auto const& layer : child->layers)
    if (layer.node == "d2") object = path + "/objects/" + layer.object.substr(0, 2) + "/" + layer.object;
  {
    std::fstream file(object, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('x');
  }
  auto const bad = run({"transfer", "store", "verify", "--store", path});
  CHECK(bad.status == 2);
  CHECK(bad.err.starts_with("nasturtium: " + path + " is not whole: "));
  CHECK(bad.out.find("2 damaged") != std::string::npos);
  auto const exported = run({"transfer", "store", "export", "child", "--store", path, "--out", folder / "net"});
  CHECK(exported.status == 2);
  CHECK(exported.err.find("is damaged") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "net"));
  auto const repaired = run({"transfer", "store", "verify", "--repair", "--store", path, "--json"});
  CHECK(repaired.status == 0);
  CHECK(json::parse(repaired.out, "verify").at("findings").as_array().size() == 2);
  CHECK(store.ids() == std::vector<std::string>{"a-very-long-name-of-a-model-0123"});

  folder.write("store/objects/00/00000000000000000000000000000000", "12345");
  auto const collected = run({"transfer", "store", "gc", "--store", path});
  CHECK(collected.status == 0);
  CHECK(collected.out.ends_with("5 B freed\n"));
  auto const wrong = run({"transfer", "store", "rm", "a-very-long-name-of-a-model-0123", "child", "--store", path});
  CHECK(wrong.status == 2);
  CHECK(wrong.err == "nasturtium: " + path + ": has no model \"child\"\n");
  CHECK(store.ids().size() == 1);
  CHECK(run({"transfer", "store", "rm", "a-very-long-name-of-a-model-0123", "--store", path}).status == 0);
  usage = json::parse(run({"transfer", "store", "du", "--store", path, "--json"}).out, "du");
  CHECK(usage.at("physical_bytes").as_int64() == 0);
}

TEST_CASE("transfer store: an exported model is complete, and another program can take it")
{
  Folder const folder;
  std::string const path = folder / "store";
  make_store(path);
  auto const result =
      run({"transfer", "store", "export", "child", "--store", path, "--out", folder / "a/net", "--onnx"});
  INFO(result.err);
  REQUIRE(result.status == 0);
  auto const weights = nn::load_weights(folder / "a/net/weights.h5");
  CHECK(same_weights(weights, small_weights({1, 2, 3, 5})));
  CHECK(nn::spec::to_json(nn::spec::load_architecture(folder / "a/net/architecture.json")) == small_architecture());
  CHECK(fs::file_size(folder / "a/net/model.onnx") > 100);
  CHECK(folder.listing().count("a/net") == 1);
  // Nothing is written over, and a full disk leaves nothing.
  auto const again = run({"transfer", "store", "export", "child", "--store", path, "--out", folder / "a/net"});
  CHECK(again.status == 2);
  CHECK(again.err.find("exists already") != std::string::npos);
  auto const before = folder.listing();
  auto const full =
      run({"transfer", "store", "export", "child", "--store", path, "--out", folder / "b"}, {.file_size = 1000});
  CHECK(full.status == 2);
  CHECK(folder.listing() == before);
}

TEST_CASE("transfer store: what is no store, no model, no command")
{
  Folder const folder;
  auto const missing = run({"transfer", "store", "ls", "--store", folder / "none"});
  CHECK(missing.status == 2);
  CHECK(missing.err == "nasturtium: " + (folder / "none") + ": is no weight store (there is no store.json)\n");
  CHECK(folder.listing().empty());
  CHECK(run({"transfer", "store", "ls"}).status == 2);
  CHECK(run({"transfer", "store", "--store", folder / "none"}).status == 2);
  std::string const path = folder / "store";
  auto const store = make_store(path);
  auto const nobody = run({"transfer", "store", "export", "x", "--store", path, "--out", folder / "net"});
  CHECK(nobody.status == 2);
  CHECK(nobody.err == "nasturtium: " + path + ": has no model \"x\"\n");
  folder.write("store/models/child/record.json", "{");
  auto const list = run({"transfer", "store", "ls", "--store", path});
  CHECK(list.status == 0);
  CHECK(lines(list.out).size() == 4);
  CHECK(list.err.starts_with("nasturtium: " + path + "/models/child/record.json:1:"));
}
