// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makers of the spaces, for the table of make_space; each is defined in the file of its name.
#pragma once

#include <nasturtium/nas/search_space.hpp>

#include <memory>

namespace nasturtium::nas::impl {

std::unique_ptr<SearchSpace> make_lenet11(Task const& task);
std::unique_ptr<SearchSpace> make_vgg21(Task const& task);
std::unique_ptr<SearchSpace> make_vgg21_narrow(Task const& task);
std::unique_ptr<SearchSpace> make_nt3_12(Task const& task);
std::unique_ptr<SearchSpace> make_nt3_8(Task const& task);
std::unique_ptr<SearchSpace> make_nt3_8_full(Task const& task);
std::unique_ptr<SearchSpace> make_nt3_10(Task const& task);
std::unique_ptr<SearchSpace> make_nsga_net(Task const& task);
std::unique_ptr<SearchSpace> make_nsga_net_narrow(Task const& task);
std::unique_ptr<SearchSpace> make_evocnn(Task const& task);
std::unique_ptr<SearchSpace> make_menndl(Task const& task);
std::unique_ptr<SearchSpace> make_uno_12(Task const& task);
std::unique_ptr<SearchSpace> make_uno_13(Task const& task);
std::unique_ptr<SearchSpace> make_uno_toy(Task const& task);

} // namespace nasturtium::nas::impl
