// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <nasturtium/core/error.hpp>
#include <nasturtium/ensemble/model_library.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace nasturtium::ensemble {

namespace {

constexpr double check_fraction = 0.4;

/// A folder in the temporary one, removed at the end.
class TemporaryFolder
{
public:
  TemporaryFolder()
  {
    std::string pattern = (std::filesystem::temp_directory_path() / "nasturtium-publish-XXXXXX").string();
    require(::mkdtemp(pattern.data()) != nullptr, pattern, ": the folder cannot be made");
    m_path = pattern;
  }
  ~TemporaryFolder()
  {
    std::error_code ignored;
    std::filesystem::remove_all(m_path, ignored);
  }
  TemporaryFolder(TemporaryFolder const&) = delete;
  TemporaryFolder& operator=(TemporaryFolder const&) = delete;
  std::string const& path() const { return m_path; }

private:
  std::string m_path;
};

} // namespace

HeldOut split_held_out(datasets::Dataset const& dataset, std::uint64_t seed)
{
  require(dataset.validation.count > 0, "data set ", dataset.name, ": an ensemble needs a validation split");
  require(!dataset.validation.labels.empty(), "data set ", dataset.name, ": an ensemble needs labels");
  datasets::Dataset held_out;
  held_out.name = dataset.name;
  held_out.height = dataset.height;
  held_out.width = dataset.width;
  held_out.channels = dataset.channels;
  held_out.classes = dataset.classes;
  held_out.train = dataset.validation;
  datasets::split_validation(held_out, check_fraction, seed);
  return {std::move(held_out.train), std::move(held_out.validation)};
}

LibrarySplits splits_of(datasets::Dataset const& dataset, HeldOut const& held_out)
{
  return {dataset.classes, held_out.select.labels, held_out.check.labels, dataset.test.labels};
}

bool publish_trained(ModelLibrary& library, nn::TrainerOptions const& trainer, LibraryModel model,
                     nn::spec::Architecture const& architecture, nn::Weights const& weights,
                     datasets::Dataset const& dataset, HeldOut const& held_out, int batch_size,
                     std::string const& config)
{
  auto const inferred = nn::spec::infer(architecture);
  constexpr std::int64_t value_bytes = sizeof(float);
  std::int64_t weight_values = 0;
  for (auto const& node : inferred.nodes)
    for (auto const& parameter : node.parameters) {
      std::int64_t values = 1;
      for (std::int64_t const extent : parameter.extent)
        values *= extent;
      weight_values += values;
    }
  model.parameters = inferred.parameter_count;
  model.flops = inferred.forward_flops;
  model.weight_bytes = weight_values * value_bytes;
  model.activation_bytes = inferred.activation_values * value_bytes;

  Publication publication;
  auto const evaluate = [&](datasets::Samples const& samples, std::vector<float>& logits) {
    return nn::evaluate(trainer, architecture, weights, dataset, samples, batch_size, 1, &logits);
  };
  auto const evaluation = evaluate(held_out.select, publication.select);
  evaluate(held_out.check, publication.check);
  if (dataset.test.count > 0) evaluate(dataset.test, publication.test);
  for (auto const* const logits : {&publication.select, &publication.check, &publication.test})
    if (!std::all_of(logits->begin(), logits->end(), [](float logit) { return std::isfinite(logit); })) return false;
  int const batch = static_cast<int>(std::min<std::int64_t>(batch_size, evaluation.count));
  model.device_costs.push_back(
      {nn::name(trainer.backend), batch, evaluation.seconds * batch / static_cast<double>(evaluation.count), 0});

  TemporaryFolder const place;
  publication.weights_path = place.path() + "/weights.h5";
  nn::save_weights(publication.weights_path, architecture, weights);
  publication.config = config.empty() ? nn::spec::to_json(architecture) : config;
  publication.model = std::move(model);
  return library.publish(publication);
}

} // namespace nasturtium::ensemble
