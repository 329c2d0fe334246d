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
  bool loopback = true;              // it listens on a loopback address, which only this machine reaches
};

class Api {
 public:
  // Both must outlive the object.
  Api(Service& service, const ModelInfo& model, ApiOptions options);
  // The request's header has come: what goes on with it, or null where it was answered, whoever may not ask included.
  HttpServer::BodyHandler admit(Exchange& exchange) const;
  // Answers a request whose JSON was read already, of somebody who may ask anything that takes JSON.
  void handle(const std::shared_ptr<Exchange>& exchange, const jinja::Value& body) const;
  // From now on no text is taken on.
  void drain() { draining_ = true; }

 private:
  struct Route;
  static const std::vector<Route>& routes();
  static const Route* find_route(std::string_view method, std::string_view path, std::string_view& allowed);
  void call(const Route& route, const std::shared_ptr<Exchange>& exchange, const jinja::Value& body) const;
  void act_on_slot(const std::shared_ptr<Exchange>& exchange, uint32_t slot) const;
  bool has_key(const HttpRequest& request) const;
  bool host_may_be_asked(const HttpRequest& request) const;
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
HttpResponse http_error_response(int status, std::string_view message, std::string_view path);

}  // namespace forge::rt
