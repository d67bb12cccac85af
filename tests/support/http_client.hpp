// SPDX-FileCopyrightText: nasturtium contributors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A client that can also send what no decent client sends. Loopback alone.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace nasturtium::test {

struct HttpAnswer
{
  int status = 0; ///< 0: the connection ended without an answer
  std::string head, body;
};

/// One connection that is kept, and made again where the other side ended it.
class HttpClient
{
public:
  explicit HttpClient(int port) : m_port(port) {}
  ~HttpClient() { disconnect(); }
  HttpClient(HttpClient const&) = delete;
  HttpClient& operator=(HttpClient const&) = delete;

  HttpAnswer request(std::string const& method, std::string const& path, std::string const& body = {},
                     std::string const& type = {}, std::string const& accept = {})
  {
    std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n";
    if (!type.empty()) text += "Content-Type: " + type + "\r\n";
    if (!accept.empty()) text += "Accept: " + accept + "\r\n";
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    return raw(text);
  }

  /// Sends these bytes and waits for an answer; with `cut` the connection is ended after sending.
  HttpAnswer raw(std::string const& text, bool cut = false)
  {
    if (m_socket < 0 && !connect()) return {};
    std::size_t sent = 0;
    while (sent < text.size()) {
      auto const count = ::send(m_socket, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) break; // the other side may answer before it has read all
      sent += static_cast<std::size_t>(count);
    }
    if (cut) {
      disconnect();
      return {};
    }
    return receive();
  }

private:
  int m_port, m_socket = -1;
  std::string m_rest;

  bool connect()
  {
    m_socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(m_port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval const patience{20, 0};
    ::setsockopt(m_socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int const on = 1;
    ::setsockopt(m_socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(m_socket, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0) return true;
    disconnect();
    return false;
  }

  void disconnect()
  {
    if (m_socket >= 0) ::close(m_socket);
    m_socket = -1;
    m_rest.clear();
  }

  bool more()
  {
    char buffer[65536];
    auto const count = ::recv(m_socket, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    m_rest.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  HttpAnswer receive()
  {
    std::size_t end;
    while ((end = m_rest.find("\r\n\r\n")) == std::string::npos)
      if (!more()) {
        disconnect();
        return {};
      }
    HttpAnswer answer;
    answer.head = m_rest.substr(0, end + 2);
    m_rest.erase(0, end + 4);
    answer.status = std::atoi(answer.head.c_str() + answer.head.find(' '));
    std::size_t const length = static_cast<std::size_t>(std::atoll(header(answer, "content-length").c_str()));
    while (m_rest.size() < length)
      if (!more()) {
        disconnect();
        return {};
      }
    answer.body = m_rest.substr(0, length);
    m_rest.erase(0, length);
    if (header(answer, "connection") == "close") disconnect();
    return answer;
  }

public:
  /// A header's value; the name in lower case.
  static std::string header(HttpAnswer const& answer, std::string const& name)
  {
    std::string lower = answer.head;
    for (char& c : lower)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto const at = lower.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    auto const begin = at + name.size() + 4;
    return lower.substr(begin, lower.find("\r\n", begin) - begin);
  }
};

} // namespace nasturtium::test
