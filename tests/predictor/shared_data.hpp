// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recorded curves of the published data sets, where they are on this machine.
#pragma once

#include <nasturtium/core/file.hpp>
#include <nasturtium/predictor/curves.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <string>

namespace nasturtium::test {

/// The path of a file below `curves`; skips the test where the data are absent.
inline std::string shared_curves(std::string const& file)
{
  char const* const given = std::getenv("NASTURTIUM_SHARED_DATA");
  std::string const path =
      (given ? std::string(given) : std::string(NASTURTIUM_SOURCE_DIR) + "/../shared/data") + "/curves/" + file;
  if (!is_file(path)) SKIP("the recorded curves are not here (NASTURTIUM_SHARED_DATA): " << path);
  return path;
}

inline predictor::CurveSet a4nn_curves(bool stopping = false)
{
  return predictor::read_curves(
      shared_curves(stopping ? "a4nn/1gpu_1e14_stopping_training_data.csv.gz" : "a4nn/1gpu_1e14_training_data.csv.gz"),
      predictor::CurveFormat::a4nn);
}

inline predictor::CurveSet penguin_curves()
{
  predictor::CurveSet set;
  set.source = "penguin";
  for (auto const* const id : {"13_56_59_917381", "13_55_26_539263", "14_01_32_105932"})
    predictor::append(set, predictor::read_curves(shared_curves(std::string("penguin/2021_02_15_") + id + ".txt"),
                                                  predictor::CurveFormat::penguin));
  return set;
}

inline predictor::CurveSet metaqnn_curves(std::string const& name)
{
  return predictor::read_curves(shared_curves("metaqnn/" + name + ".csv.gz"), predictor::CurveFormat::metaqnn);
}

} // namespace nasturtium::test
