// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An ensemble that is ready to be served, as one file: which models of a library with which shares, what they expect,
// and how they are spread over devices. Format: docs/ensembles-serving.md.
#pragma once

#include <nasturtium/ensemble/model_library.hpp>
#include <nasturtium/ensemble/runtime.hpp>

#include <string>
#include <vector>

namespace nasturtium::ensemble {

struct Deployment
{
  struct Member
  {
    std::string id;    ///< in the library
    double weight = 1; ///< share, > 0
    friend bool operator==(Member const&, Member const&) = default;
  };

  std::string library;         ///< path; a relative one is taken from the folder of the deployment's file
  std::vector<Member> members; ///< in the order of plan.models, whose names are the ids
  double temperature = 1;      ///< of the pooled probabilities; 1: as they are
  int height = 1, width = 1, channels = 1, classes = 2;
  std::vector<std::string> class_names; ///< empty, or one a class
  nn::InputMoments moments;
  std::vector<ServingDevice> devices; ///< in the order of plan.devices
  int segment_size = 128;
  Plan plan;
};

/// The file ("nasturtium-ensemble-deployment", version 1) and back. The parser throws Error naming source, field and
/// value for whatever is missing, unknown, out of range or does not fit together.
std::string to_json(Deployment const& deployment);
Deployment parse_deployment(std::string const& json, std::string const& source);
Deployment load_deployment(std::string const& path); ///< with `library` made relative to nothing: usable as it is

/// A member of an ensemble from a library. Throws Error naming library and model for one that is not there.
ServedModel load_member(ModelLibrary const& library, std::string const& id, double weight);

/// Its models with their weights from the library. Throws Error naming library and model for what is not there.
std::vector<ServedModel> load_models(Deployment const& deployment);

} // namespace nasturtium::ensemble
