#include "runtime/server/api.h"

#include <algorithm>

#include "runtime/core/jinja_json.h"
#include "runtime/host/json.h"
#include "runtime/server/page.h"

namespace forge::rt {

struct Api::Route {
  std::string_view method, path;
  void (*endpoint)(const EndpointCall&) = nullptr;       // takes JSON
  void (Api::*own)(Exchange& exchange) const = nullptr;  // or nothing
  bool open = false;                                     // no key is asked for
};

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> table = {
      {.method = "GET", .path = "/", .own = &Api::page, .open = true},
      {.method = "GET", .path = "/health", .own = &Api::health, .open = true},
      {.method = "GET", .path = "/metrics", .own = &Api::metrics},
      {.method = "GET", .path = "/props", .own = &Api::props},
      {.method = "GET", .path = "/slots", .own = &Api::slots},
      {.method = "GET", .path = "/v1/models", .own = &Api::models},
      {.method = "POST", .path = "/v1/chat/completions", .endpoint = chat_completions},
      {.method = "POST", .path = "/v1/completions", .endpoint = completions},
      {.method = "POST", .path = "/v1/embeddings", .endpoint = embeddings},
      {.method = "POST", .path = "/v1/responses", .endpoint = responses},
      {.method = "POST", .path = "/v1/messages", .endpoint = messages},
      {.method = "POST", .path = "/v1/messages/count_tokens", .endpoint = count_tokens},
      {.method = "POST", .path = "/infill", .endpoint = infill},
      {.method = "POST", .path = "/tokenize", .endpoint = tokenize},
      {.method = "POST", .path = "/detokenize", .endpoint = detokenize},
      {.method = "POST", .path = "/apply-template", .endpoint = apply_template},
  };
  return table;
}

namespace {

// Takes as long for every key of that length.
bool same_secret(std::string_view given, std::string_view secret) {
  if (secret.empty()) return false;
  size_t difference = given.size() ^ secret.size();
  for (size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<uint8_t>(given[i]) ^ static_cast<uint8_t>(secret[i % secret.size()]);
  return difference == 0;
}

// The host of "http://host:port" or "host:port".
std::string_view host_name(std::string_view origin) {
  if (const size_t scheme = origin.find("://"); scheme != std::string_view::npos)
    origin.remove_prefix(scheme + 3);
  if (origin.starts_with('[')) return origin.substr(0, std::min(origin.find(']'), origin.size() - 1) + 1);
  return origin.substr(0, origin.find(':'));
}

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

void fail(const std::shared_ptr<Exchange>& exchange, const ApiError& error) {
  if (exchange->request.path.starts_with("/v1/messages"))
    return respond_error(*exchange, error, anthropic_error_json(error));
  respond_error(*exchange, error);
}

}  // namespace

HttpResponse http_error_response(int status, std::string_view message) {
  ApiError error;
  error.message = message;
  return {.status = status, .body = openai_error_json(error) + "\n"};
}

Api::Api(Service& service, const ModelInfo& model, ApiOptions options)
    : service_(&service), model_(&model), options_(std::move(options)) {}

bool Api::may_ask(const HttpRequest& request) const {
  if (options_.keys.empty()) return true;
  std::string_view given = request.api_key;
  constexpr std::string_view kBearer = "Bearer ";
  if (given.empty() && request.authorization.starts_with(kBearer))
    given = std::string_view(request.authorization).substr(kBearer.size());
  bool found = false;
  for (const std::string& key : options_.keys) found |= same_secret(given, key);
  return found;
}

bool Api::origin_may_ask(const HttpRequest& request) const {
  return std::any_of(options_.origins.begin(), options_.origins.end(),
                     [&](const std::string& o) { return o == "*" || o == request.origin; });
}

// Browsers let any page send requests here, and say which page it was. Only ours may, and those of --cors; a server
// without a key that only this machine reaches is not asked under a foreign name either (DNS rebinding).
bool Api::page_may_ask(const HttpRequest& request) const {
  if (request.origin.empty() || origin_may_ask(request)) return true;
  const std::string_view scheme_end = "://";
  const size_t at = request.origin.find(scheme_end);
  if (at == std::string::npos || request.origin.substr(at + scheme_end.size()) != request.host) return false;
  return !options_.loopback || !options_.keys.empty() || is_loopback_name(host_name(request.host));
}

void Api::handle(const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& request = exchange->request;
  if (!page_may_ask(request))
    return fail(exchange,
                {.status = 403,
                 .message = text("pages of ", request.origin, " may not ask this server (see --cors)"),
                 .param = {},
                 .type = "permission_error",
                 .code = {}});
  if (!request.origin.empty() && origin_may_ask(request)) {
    exchange->response_headers = {{"Access-Control-Allow-Origin", request.origin}, {"Vary", "Origin"}};
    if (request.method == "OPTIONS") {
      return exchange->respond({.status = 204,
                                .content_type = "text/plain",
                                .body = {},
                                .headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                                            {"Access-Control-Allow-Headers",
                                             "authorization, content-type, x-api-key, anthropic-version"},
                                            {"Access-Control-Max-Age", "600"}}});
    }
  }
  std::string_view path = request.path;
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const Route* route = nullptr;
  std::string_view other_method;
  for (const Route& r : routes()) {
    // Clients whose base URL lacks the /v1 find what they look for.
    if (r.path != path && !(r.path.starts_with("/v1/") && r.path.substr(3) == path)) continue;
    if (r.method == request.method) route = &r;
    other_method = r.method;
  }
  const bool model_path = request.method == "GET" && path.starts_with("/v1/models/");
  if ((route == nullptr || !route->open) && !may_ask(request))
    return fail(exchange, {.status = 401,
                           .message = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"",
                           .param = {},
                           .type = "authentication_error",
                           .code = "invalid_api_key"});
  if (model_path && path.substr(11) == model_->name) return one_model(*exchange);
  if (route == nullptr && !other_method.empty())
    return fail(exchange,
                {.status = 405, .message = text(request.path, " takes ", other_method), .param = {}});
  if (route == nullptr)
    return fail(exchange, {.status = 404,
                           .message = text("there is no ", request.method, " ", request.path.substr(0, 200)),
                           .param = {},
                           .code = "not_found"});
  if (route->own != nullptr) return (this->*route->own)(*exchange);
  const auto body = jinja::parse_json(request.body);
  if (!body)
    return fail(exchange, {.status = 400, .message = text("the body: ", body.error().message), .param = {}});
  call(*route, exchange, *body);
}

void Api::handle(const std::shared_ptr<Exchange>& exchange, const jinja::Value& body) {
  const HttpRequest& request = exchange->request;
  for (const Route& route : routes())
    if (route.endpoint != nullptr && route.method == request.method && route.path == request.path)
      return call(route, exchange, body);
  fail(exchange, {.status = 404,
                  .message = text("there is no ", request.method, " ", request.path.substr(0, 200)),
                  .param = {},
                  .code = "not_found"});
}

void Api::call(const Route& route, const std::shared_ptr<Exchange>& exchange,
               const jinja::Value& body) const {
  if (draining_) return fail(exchange, shutting_down_error());
  route.endpoint({.service = *service_, .model = *model_, .exchange = exchange, .body = body});
}

void Api::health(Exchange& exchange) const {
  JsonObject out;
  out.add("status", draining_ ? "draining" : "ok");
  exchange.respond({.status = draining_ ? 503 : 200, .body = out.compact() + "\n"});
}

namespace {

std::string model_json(const ModelInfo& model) {
  JsonObject meta;
  meta.add("n_vocab", int64_t{model.tokenizer().n_vocab()});
  meta.add("n_ctx", int64_t{model.ctx()});
  meta.add("n_embd", int64_t{model.program->code->n_hidden});
  JsonObject out;
  out.add("id", model.name);
  out.add("object", "model");
  out.add("created", model.created);
  out.add("owned_by", "forge");
  out.add("meta", meta);
  return out.compact();
}

}  // namespace

void Api::models(Exchange& exchange) const {
  const std::string list[] = {model_json(*model_)};
  JsonObject out;
  out.add("object", "list");
  out.add_json("data", json_array(list));
  exchange.respond({.body = out.compact() + "\n"});
}

void Api::one_model(Exchange& exchange) const { exchange.respond({.body = model_json(*model_) + "\n"}); }

namespace {

void add_metric(std::string& out, std::string_view name, std::string_view type, std::string_view help,
                const std::string& value) {
  out += text("# HELP forge_", name, " ", help, "\n# TYPE forge_", name, " ", type, "\nforge_", name, " ",
              value, "\n");
}

void add_histogram(std::string& out, std::string_view name, std::string_view help, const Histogram& h) {
  out += text("# HELP forge_", name, " ", help, "\n# TYPE forge_", name, " histogram\n");
  uint64_t below = 0;
  for (size_t i = 0; i < h.counts.size(); ++i) {
    below += h.counts[i];
    out += text("forge_", name, "_bucket{le=\"", i < h.bounds.size() ? json_number(h.bounds[i]) : "+Inf",
                "\"} ", below, "\n");
  }
  out += text("forge_", name, "_sum ", json_number(h.sum), "\nforge_", name, "_count ", h.n, "\n");
}

}  // namespace

void Api::metrics(Exchange& exchange) const {
  const ServiceMetrics m = service_->metrics();
  const SchedulerCounters& c = m.counters;
  std::string out;
  const auto counter = [&](std::string_view name, std::string_view help, uint64_t value) {
    add_metric(out, name, "counter", help, std::to_string(value));
  };
  const auto gauge = [&](std::string_view name, std::string_view help, uint64_t value) {
    add_metric(out, name, "gauge", help, std::to_string(value));
  };
  counter("prompt_tokens_total", "Tokens of prompts that were run.", c.n_prompt_tokens);
  counter("prompt_tokens_cached_total", "Tokens of prompts whose KV was there already.", c.n_cached_tokens);
  counter("generated_tokens_total", "Tokens that were generated.", c.n_generated_tokens);
  counter("texts_total", "Texts that have ended.", c.n_ended);
  counter("steps_total", "Steps of the engine.", c.n_steps);
  add_metric(out, "prompt_seconds_total", "counter", "Time that texts spent on their prompts.",
             json_number(m.prompt_s));
  add_metric(out, "generation_seconds_total", "counter", "Time that texts spent on generated tokens.",
             json_number(m.generation_s));
  gauge("texts_running", "Texts that are being run.", c.n_running);
  gauge("texts_waiting", "Texts in the queue.", c.n_waiting);
  gauge("kv_pages", "Pages of the KV cache.", c.n_pages);
  gauge("kv_pages_running", "Pages that running texts hold.", c.n_pages - c.n_free_pages);
  gauge("cached_texts", "Ended texts whose KV is kept.", c.n_cached_texts);
  add_histogram(out, "queue_seconds", "Time from a text's arrival to its first step.", m.queued);
  add_histogram(out, "first_token_seconds", "Time from a text's arrival to its first token.", m.first_token);
  add_histogram(out, "token_gap_seconds", "Time from one token of a text to the next.", m.token_gap);
  exchange.respond({.content_type = "text/plain; version=0.0.4", .body = std::move(out)});
}

void Api::props(Exchange& exchange) const {
  const SamplingParams& p = model_->sampling;
  JsonObject params;
  params.add("temperature", static_cast<double>(p.temperature));
  params.add("top_k", int64_t{p.top_k});
  params.add("top_p", static_cast<double>(p.top_p));
  params.add("min_p", static_cast<double>(p.min_p));
  params.add("repeat_penalty", static_cast<double>(p.repeat_penalty));
  JsonObject defaults;
  defaults.add("n_ctx", int64_t{model_->ctx()});
  defaults.add("params", params);
  JsonObject out;
  out.add("model", model_->name);
  out.add("n_ctx", int64_t{model_->ctx()});
  out.add("total_slots", int64_t{options_.n_parallel});
  out.add("default_generation_settings", defaults);
  out.add("chat_template", model_->program->payload->chat_template);
  out.add_json("supports_thinking", model_->format.thinking.open.empty() ? "false" : "true");
  out.add_json("supports_thinking_switch", model_->format.thinking.variable.empty() ? "false" : "true");
  out.add_json("supports_tools", model_->format.native_tools() ? "true" : "false");
  out.add_json("supports_infill", model_->fill_tokens ? "true" : "false");
  out.add("fingerprint", model_->fingerprint);
  exchange.respond({.body = out.compact() + "\n"});
}

void Api::slots(Exchange& exchange) const {
  const SchedulerCounters c = service_->metrics().counters;
  std::vector<std::string> list;
  for (uint32_t i = 0; i < options_.n_parallel; ++i) {
    JsonObject slot;
    slot.add("id", int64_t{i});
    slot.add("n_ctx", int64_t{model_->ctx()});
    slot.add_json("is_processing", i < c.n_running ? "true" : "false");
    list.push_back(slot.compact());
  }
  exchange.respond({.body = json_array(list) + "\n"});
}

void Api::page(Exchange& exchange) const {
  const std::string nonce = random_id("");
  std::string body;
  std::string_view rest = kPage;
  for (size_t at = rest.find(kPageNonce); at != std::string_view::npos; at = rest.find(kPageNonce)) {
    body += text(rest.substr(0, at), nonce);
    rest.remove_prefix(at + kPageNonce.size());
  }
  body += rest;
  exchange.respond(
      {.content_type = "text/html; charset=utf-8",
       .body = std::move(body),
       .headers = {{"Content-Security-Policy",
                    text("default-src 'none'; script-src 'nonce-", nonce, "'; style-src 'nonce-", nonce,
                         "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                         "frame-ancestors 'none'")},
                   {"Cache-Control", "no-cache"},
                   {"Referrer-Policy", "no-referrer"}}});
}

}  // namespace forge::rt
