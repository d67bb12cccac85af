// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "store/record.hpp"
#include "store/store.hpp"

#include <nasturtium/core/error.hpp>
#include <nasturtium/core/file.hpp>
#include <nasturtium/nas/weight_store.hpp>

#include <algorithm>

namespace nasturtium::nas {

std::int64_t StoredModel::bytes() const
{
  std::int64_t sum = 0;
  for (auto const& layer : impl::distinct(layers))
    sum += layer.bytes;
  return sum;
}

int StoreReport::count(Kind kind) const
{
  return static_cast<int>(
      std::count_if(findings.begin(), findings.end(), [&](Finding const& it) { return it.kind == kind; }));
}

int StoreReport::unrepaired_damage() const
{
  return static_cast<int>(std::count_if(findings.begin(), findings.end(),
                                        [](Finding const& it) { return it.kind == Kind::damage && !it.repaired; }));
}

WeightStore WeightStore::open(std::string const& path, StoreOptions options)
{
  return WeightStore(std::make_shared<impl::Store>(path, options));
}

bool WeightStore::exists(std::string const& path)
{
  return is_file(path + "/store.json");
}

std::string const& WeightStore::path() const
{
  return m_store->path();
}

bool WeightStore::hard_links() const
{
  return m_store->links();
}

PutResult WeightStore::put(StoredModel const& model, nn::Weights const& weights, std::span<std::string const> keep)
{
  return m_store->put(model, weights, keep);
}

std::vector<StoredModel> WeightStore::list(std::vector<std::string>* unreadable) const
{
  std::vector<StoredModel> models;
  for (auto const& model : m_store->models(unreadable))
    models.push_back(*model);
  return models;
}

std::vector<std::string> WeightStore::ids() const
{
  return m_store->ids();
}

std::optional<StoredModel> WeightStore::find(std::string const& id) const
{
  return m_store->find(id);
}

std::optional<nn::Weights> WeightStore::load(std::string const& id, std::span<std::string const> nodes) const
{
  return m_store->load(id, nodes);
}

WeightStore::Pin::Pin(Pin&& other) noexcept
    : m_store(std::move(other.m_store)), m_id(std::move(other.m_id)), m_folder(std::move(other.m_folder))
{
}

WeightStore::Pin& WeightStore::Pin::operator=(Pin&& other) noexcept
{
  if (this == &other) return *this;
  release();
  m_store = std::move(other.m_store);
  m_id = std::move(other.m_id);
  m_folder = std::move(other.m_folder);
  return *this;
}

WeightStore::Pin::~Pin()
{
  release();
}

void WeightStore::Pin::release() noexcept
{
  if (!m_store) return;
  m_store->try_discard(m_folder);
  m_store.reset();
}

WeightStore::Pin WeightStore::pin(std::string const& id, std::string const& trial)
{
  Pin pin;
  auto folder = m_store->pin(id, trial);
  if (!folder) return pin;
  pin.m_store = m_store;
  pin.m_id = id;
  pin.m_folder = std::move(*folder);
  return pin;
}

std::optional<nn::Weights> WeightStore::load(Pin const& pin, std::span<std::string const> nodes) const
{
  if (!pin) return std::nullopt;
  return m_store->load_from(pin.m_folder, nodes);
}

bool WeightStore::remove(std::string const& id)
{
  impl::check_model_id(id, path() + ": the model's id");
  return m_store->discard(m_store->model_folder(id));
}

StoreReport WeightStore::verify(bool repair)
{
  return m_store->check({true, repair, repair});
}

StoreReport WeightStore::gc()
{
  return m_store->check({false, true, false});
}

StoreUsage WeightStore::usage() const
{
  return m_store->usage();
}

} // namespace nasturtium::nas
