// What the server answers: which endpoint has which path, who may ask, and what is told of the server itself.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/server/endpoints.h"

namespace forge::rt {

struct ApiOptions {
  std::vector<std::string> keys;     // any of them opens; none: no key is asked for
  std::vector<std::string> origins;  // pages of other servers that may ask; "*": all
  std::string slot_folder;           // of POST /slots/N?action=save; empty: there is none
  bool loopback = true;              // only this machine reaches the server
  uint32_t n_parallel = 1, n_queued = 0;
};

class Api {
 public:
  // Both must outlive the object.
  Api(Service& service, const ModelInfo& model, ApiOptions options);
  void handle(const std::shared_ptr<Exchange>& exchange);
  // The same for a request whose JSON was read already, of somebody who may ask anything that takes JSON.
  void handle(const std::shared_ptr<Exchange>& exchange, const jinja::Value& body);
  // From now on no text is taken on.
  void drain() { draining_ = true; }

 private:
  struct Route;
  static const std::vector<Route>& routes();
  void call(const Route& route, const std::shared_ptr<Exchange>& exchange, const jinja::Value& body) const;
  bool may_ask(const HttpRequest& request) const;
  bool origin_may_ask(const HttpRequest& request) const;
  bool page_may_ask(const HttpRequest& request) const;
  void health(Exchange& exchange) const;
  void models(Exchange& exchange) const;
  void one_model(Exchange& exchange) const;
  void metrics(Exchange& exchange) const;
  void props(Exchange& exchange) const;
  void slots(Exchange& exchange) const;
  void page(Exchange& exchange) const;

  Service* service_;
  const ModelInfo* model_;
  ApiOptions options_;
  bool draining_ = false;
};

// The answer to what is no request: for HttpOptions::error_response.
HttpResponse http_error_response(int status, std::string_view message);

}  // namespace forge::rt
