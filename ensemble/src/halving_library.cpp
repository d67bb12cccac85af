// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/core/json.hpp>
#include <nasturtium/ensemble/halving_library.hpp>
#include <nasturtium/nn/checkpoint.hpp>

#include <cstdio>
#include <utility>

namespace nasturtium::ensemble {

namespace {

constexpr int inference_batch = 128;

std::string config_of(nas::HalvingModel const& model)
{
  json::Object object;
  object["format"] = "nasturtium-halving-model";
  object["version"] = 1;
  object["trial"] = model.trial;
  object["rung"] = model.rung;
  object["training"] = json::parse(nn::to_json(model.configuration.options), "options");
  object["architecture"] = json::parse(nn::spec::to_json(model.configuration.architecture), "architecture");
  return json::pretty(object);
}

} // namespace

std::string halving_model_id(int trial, int rung)
{
  char text[32];
  std::snprintf(text, sizeof text, "t%04d-r%d", trial, rung);
  return text;
}

HalvingLibrary::HalvingLibrary(ModelLibrary& library, datasets::Dataset const& dataset, HeldOut const& held_out,
                               nn::TrainerOptions const& trainer)
    : m_library(library), m_dataset(dataset), m_held_out(held_out), m_trainer(trainer)
{
  for (auto const& model : library.list())
    m_ids.insert(model.id);
}

void HalvingLibrary::on_model(nas::HalvingModel const& model)
{
  using Status = nas::HalvingModel::Status;
  if (model.status == Status::failed) return;
  std::string const id = halving_model_id(model.trial, model.rung);
  if (m_ids.count(id) > 0) return;
  // Of a search without `keep_all` an earlier rung's checkpoint may be gone.
  if (!model.state && !is_file(model.checkpoint)) return;
  auto const state = model.state ? model.state : nn::load_checkpoint(model.checkpoint);
  LibraryModel manifest;
  manifest.id = id;
  manifest.rung = model.rung;
  manifest.paused = model.status == Status::paused;
  manifest.epochs = model.epochs;
  manifest.seed = model.configuration.options.seed;
  m_published += publish_trained(m_library, m_trainer, std::move(manifest), model.configuration.architecture,
                                 nn::weights_of(*state), m_dataset, m_held_out, inference_batch, config_of(model));
  m_ids.insert(id);
}

} // namespace nasturtium::ensemble
