// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights files: what was written is read, what does not fit is refused, what is damaged does no harm.

#include "support/random_architecture.hpp"
#include "support/reference_network.hpp"
#include "support/temporary.hpp"

#include <nasturtium/core/file.hpp>
#include <nasturtium/core/hdf5.hpp>
#include <nasturtium/nn/weights.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <fstream>

using namespace nasturtium;
using namespace nasturtium::nn;
using nasturtium::test::error_of;
using nasturtium::test::TemporaryFolder;

namespace {

bool equal(Weights const& a, Weights const& b)
{
  if (a.size() != b.size()) return false;
  for (auto const& [key, tensor] : a) {
    auto const other = b.find(key);
    if (other == b.end() || other->second.extent != tensor.extent || other->second.values != tensor.values)
      return false;
  }
  return true;
}

} // namespace

TEST_CASE("weights are read as they were written, in both precisions")
{
  TemporaryFolder const folder;
  for (std::string const& name : spec::zoo_names()) {
    if (name == "lenet" || name == "cnn2") continue; // megabytes, and nothing new
    INFO(name);
    spec::Architecture const architecture = spec::load_architecture(name);
    Weights weights = test::random_weights(architecture, 5); // exact in float32
    save_weights(folder / "w.h5", architecture, weights);
    CHECK(equal(load_weights(folder / "w.h5"), weights));
    CHECK(load_weights_architecture(folder / "w.h5") == architecture);
    CHECK_NOTHROW(check_weights(load_weights(folder / "w.h5"), architecture, true, "w.h5"));

    for (auto& [key, tensor] : weights)
      for (double& value : tensor.values)
        value /= 3;
    save_weights(folder / "w.h5", architecture, weights, true);
    CHECK(equal(load_weights(folder / "w.h5"), weights));
    save_weights(folder / "w.h5", architecture, weights);
    CHECK_FALSE(equal(load_weights(folder / "w.h5"), weights));
  }
}

TEST_CASE("the layout of a weights file is the one of the format")
{
  TemporaryFolder const folder;
  spec::Architecture const architecture = spec::load_architecture("odd");
  save_weights(folder / "w.h5", architecture, test::random_weights(architecture, 1));
  hdf5::Reader const file(folder / "w.h5");
  CHECK(file.info("/weights/conv2/kernel").extent == std::vector<std::int64_t>{3, 3, 24, 40});
  CHECK(file.info("/weights/conv2/kernel").type == hdf5::ElementType::float32);
  CHECK(file.info("/weights/bn1/moving_variance").extent == std::vector<std::int64_t>{24});
  CHECK(file.info("/weights/fc/kernel").extent == std::vector<std::int64_t>{50, 10});
  CHECK(file.string_attribute("/weights", "architecture_hash") == spec::hash(architecture));
  CHECK(spec::parse_architecture(file.string_attribute("/weights", "architecture"), "attribute") == architecture);
}

TEST_CASE("a large architecture fits into its attribute")
{
  TemporaryFolder const folder;
  // Longer than the 64 KiB that an attribute of HDF5's old format may have.
  spec::Architecture architecture;
  architecture.input = {1, 1, 4};
  std::string last = "input";
  for (int i = 0; i < 1500; ++i) {
    architecture.nodes.push_back({"tanh" + std::to_string(i), spec::Activation{spec::ActivationKind::tanh}, {last}});
    last = architecture.nodes.back().id;
  }
  architecture.nodes.push_back({"end", spec::Dense{2}, {last}});
  architecture.classes = 2;
  CHECK(spec::to_json(architecture).size() > 70000);
  save_weights(folder / "w.h5", architecture, test::random_weights(architecture, 1));
  CHECK(load_weights_architecture(folder / "w.h5") == architecture);
}

TEST_CASE("weights that do not fit are named")
{
  TemporaryFolder const folder;
  spec::Architecture const architecture = spec::load_architecture("odd");
  Weights const good = test::random_weights(architecture, 2);
  auto const message = [&](auto const& change, bool complete) {
    Weights weights = good;
    change(weights);
    return error_of([&] { check_weights(weights, architecture, complete, "w.h5"); });
  };
  CHECK(message([](Weights&) {}, true) == "no error");
  CHECK(message([](Weights& w) { w.erase({"fc", "bias"}); }, true) == "w.h5: node 'fc': 'bias' is missing");
  CHECK(message([](Weights& w) { w.erase({"fc", "bias"}); }, false) == "no error");
  CHECK(message([](Weights& w) { w[{"fc9", "bias"}] = {{1}, {0}}; }, false) ==
        "w.h5: node 'fc9' has weights, but is not in the architecture");
  CHECK(message([](Weights& w) { w[{"fc", "gamma"}] = {{1}, {0}}; }, false) ==
        "w.h5: node 'fc': 'gamma' is no parameter of this node");
  CHECK(message([](Weights& w) { w[{"fc", "kernel"}].extent = {10, 50}; }, false) ==
        "w.h5: node 'fc': 'kernel' must be 50 x 10, got 10 x 50");
  CHECK(message([](Weights& w) { w[{"fc", "bias"}].values.pop_back(); }, false) ==
        "w.h5: node 'fc': 'bias' has 9 values for 10");
  CHECK(message([](Weights& w) { w[{"fc", "bias"}].values[3] = NAN; }, false) ==
        "w.h5: node 'fc': 'bias' must be finite, got nan at element 3");
  CHECK(message([](Weights& w) { w[{"bn1", "moving_variance"}].values[2] = -1; }, false) ==
        "w.h5: node 'bn1': 'moving_variance' must be >= 0, got -1 at element 2");

  // On saving as well, and the old file stays.
  save_weights(folder / "w.h5", architecture, good);
  Weights bad = good;
  bad[{"fc", "bias"}].extent = {11};
  CHECK(error_of([&] { save_weights(folder / "w.h5", architecture, bad); }).find("node 'fc'") != std::string::npos);
  CHECK(equal(load_weights(folder / "w.h5"), good));
  CHECK(error_of([&] { save_weights("/nowhere/w.h5", architecture, good); }).find("/nowhere/w.h5") !=
        std::string::npos);
}

TEST_CASE("files that are no weights are refused by name")
{
  TemporaryFolder const folder;
  CHECK(error_of([&] { load_weights(folder / "none.h5"); }).find("none.h5") != std::string::npos);
  write_file(folder / "text.h5", "not HDF5");
  CHECK(error_of([&] { load_weights(folder / "text.h5"); }).find("text.h5") != std::string::npos);
  {
    hdf5::Writer file(folder / "other.h5");
    file.write("/images", {2}, std::vector<float>{1, 2});
    file.commit();
  }
  CHECK(error_of([&] { load_weights(folder / "other.h5"); }) ==
        (folder / "other.h5") + ": group '/weights' is missing: not a weights file");
  {
    hdf5::Writer file(folder / "bare.h5"); // what another framework may write: no attributes
    file.write("/weights/fc/bias", {2}, std::vector<float>{1, 2});
    file.commit();
  }
  CHECK(load_weights(folder / "bare.h5").at({"fc", "bias"}).values == std::vector<double>{1, 2});
  CHECK(error_of([&] { load_weights_architecture(folder / "bare.h5"); }) ==
        (folder / "bare.h5") + ": /weights: attribute 'architecture' is missing");
  {
    hdf5::Writer file(folder / "types.h5");
    file.write("/weights/fc/bias", {2}, std::vector<std::int32_t>{1, 2});
    file.commit();
  }
  CHECK(error_of([&] { load_weights(folder / "types.h5"); }) ==
        (folder / "types.h5") + ": '/weights/fc/bias' must be float32 or float64, got int32");
  {
    hdf5::Writer file(folder / "flat.h5");
    file.write("/weights/bias", {2}, std::vector<float>{1, 2});
    file.commit();
  }
  CHECK(error_of([&] { load_weights(folder / "flat.h5"); }).find("'/weights/bias' is not a group") !=
        std::string::npos);
  {
    hdf5::Writer file(folder / "hash.h5");
    file.create_group("/weights");
    file.set_attribute("/weights", "architecture", spec::to_json(spec::load_architecture("mlp")));
    file.set_attribute("/weights", "architecture_hash", "0123");
    file.commit();
  }
  CHECK(error_of([&] { load_weights(folder / "hash.h5"); }).find("attribute 'architecture_hash' is '0123'") !=
        std::string::npos);
}

TEST_CASE("damaged weights files give errors, never a crash")
{
  TemporaryFolder const folder;
  spec::Architecture const architecture = test::random_architecture(3, 12);
  save_weights(folder / "w.h5", architecture, test::random_weights(architecture, 3));
  std::string const whole = read_file(folder / "w.h5");
  test::Dice dice(77);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string bytes = whole;
    if (round < 100) {
      bytes.resize(static_cast<std::size_t>(dice.below(static_cast<int>(bytes.size()))));
    } else {
      for (int change = dice.between(1, 4); change > 0; --change) {
        // Half of the changes near the start, where the structure is.
        int const most =
            dice.one_in(2) ? std::min<int>(4096, static_cast<int>(bytes.size())) : static_cast<int>(bytes.size());
        bytes[static_cast<std::size_t>(dice.below(most))] = static_cast<char>(dice.below(256));
      }
    }
    std::ofstream(folder / "damaged.h5", std::ios::binary) << bytes;
    try {
      load_weights(folder / "damaged.h5");
    } catch (Error const& error) {
      ++refused;
      std::string const message = error.what();
      if (message.find('\n') != std::string::npos || message.find("damaged.h5") == std::string::npos)
        FAIL_CHECK("not one clear line: " << message);
    }
  }
  CHECK(refused >= 100); // every truncated file, and more
}
