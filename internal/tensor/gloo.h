// What LibTorch's ProcessGroupGloo.hpp takes of Gloo, whose own headers the wheel does not have: it holds these types
// by pointer only. The files in gloo have the names that it includes.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace gloo {

class Context {
public:
  void setTimeout(std::chrono::milliseconds timeout);
};

namespace transport {

class Device;

class UnboundBuffer {
public:
  virtual ~UnboundBuffer() = 0;
};

} // namespace transport

namespace rendezvous {

class Store {
public:
  virtual ~Store();
  virtual void set(const std::string &key, const std::vector<char> &value) = 0;
  virtual std::vector<char> get(const std::string &key) = 0;
  virtual void wait(const std::vector<std::string> &keys) = 0;
  virtual void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &timeout) = 0;
};

} // namespace rendezvous

} // namespace gloo
