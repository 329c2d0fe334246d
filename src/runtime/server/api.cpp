#include "runtime/server/api.h"

#include <algorithm>
#include <optional>

#include "runtime/core/jinja_json.h"
#include "runtime/core/unicode.h"
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

// The same but for the case of letters.
bool same_word(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 'a' - 'A') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

// The host of "http://host:port" or "host:port".
std::string_view host_name(std::string_view origin) {
  if (const size_t scheme = origin.find("://"); scheme != std::string_view::npos)
    origin.remove_prefix(scheme + 3);
  return origin.substr(0, origin.find(':', origin.starts_with('[') ? origin.find(']') : 0));
}

bool is_loopback_name(std::string_view host) {
  return same_word(host, "localhost") || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

// What a preflight asks for, where that is a list of header names.
std::string_view allowed_headers(std::string_view requested) {
  constexpr std::string_view kNameOrComma =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ";
  constexpr size_t kMaxBytes = 1024;
  if (!requested.empty() && requested.size() <= kMaxBytes &&
      requested.find_first_not_of(kNameOrComma) == std::string_view::npos)
    return requested;
  return "authorization, content-type, x-api-key, anthropic-version";
}

// The path without what may be there or not: a slash at its end, and /v1, which base URLs of clients may lack.
std::string_view short_path(std::string_view path) {
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path.starts_with("/v1/") ? path.substr(3) : path;
}

// N of "/slots/N"; nothing for other paths.
std::optional<uint32_t> slot_of(std::string_view path) {
  constexpr std::string_view kSlots = "/slots/";
  if (!path.starts_with(kSlots)) return std::nullopt;
  const auto n = parse_unsigned(path.substr(kSlots.size()));
  return n && *n <= UINT32_MAX ? std::optional(static_cast<uint32_t>(*n)) : std::nullopt;
}

Result<jinja::Value> read_json(std::string_view body) {
  if (!is_utf8(body)) return Error{"not UTF-8"};
  return jinja::parse_json(body);
}

std::string error_body(std::string_view path, const ApiError& error) {
  const std::string_view messages = "/messages";
  path = short_path(path);
  const bool anthropic = path == messages || (path.starts_with(messages) && path[messages.size()] == '/');
  return anthropic ? anthropic_error_json(error) : openai_error_json(error);
}

void fail(Exchange& exchange, const ApiError& error) {
  respond_error(exchange, error, error_body(exchange.request.path, error));
}

ApiError not_found(const HttpRequest& request) {
  return {.status = 404,
          .message = text("there is no ", request.method, " ", request.path.substr(0, 200)),
          .param = {},
          .code = "not_found"};
}

ApiError forbidden(std::string message) {
  return {.status = 403, .message = std::move(message), .param = {}, .type = "permission_error", .code = {}};
}

}  // namespace

HttpResponse http_error_response(int status, std::string_view message, std::string_view path) {
  ApiError error;
  error.status = status;
  error.message = message;
  if (status >= 500) error.type = "server_error";
  HttpResponse out{.status = status, .body = error_body(path, error) + "\n"};
  if (status == 503) out.headers.emplace_back("Retry-After", "1");
  return out;
}

Api::Api(Service& service, const ModelInfo& model, ApiOptions options)
    : service_(&service), model_(&model), options_(std::move(options)) {}

bool Api::has_key(const HttpRequest& request) const {
  if (options_.keys.empty()) return true;
  constexpr std::string_view kBearer = "Bearer ";
  std::string_view bearer = request.authorization;
  bearer.remove_prefix(same_word(bearer.substr(0, kBearer.size()), kBearer) ? kBearer.size() : bearer.size());
  bool found = false;
  for (const std::string_view given : {std::string_view(request.api_key), bearer})
    for (const std::string& key : options_.keys) found |= same_secret(given, key);
  return found;
}

bool Api::origin_may_ask(const HttpRequest& request) const {
  return std::any_of(options_.origins.begin(), options_.origins.end(),
                     [&](const std::string& o) { return o == "*" || o == request.origin; });
}

// A name of somebody else that leads to this machine makes his page one of the same origin as a server here, for
// which browsers send no Origin with a GET (DNS rebinding). A server without keys on a loopback address is asked under
// the names of this machine, or those of pages that may ask.
bool Api::host_may_be_asked(const HttpRequest& request) const {
  if (!options_.loopback || !options_.keys.empty() || request.host.empty()) return true;
  const std::string_view host = host_name(request.host);
  return is_loopback_name(host) ||
         std::any_of(options_.origins.begin(), options_.origins.end(),
                     [&](const std::string& o) { return o == "*" || same_word(host_name(o), host); });
}

// Browsers let any page send requests here, and say which page it was. Only ours may, and those of --cors.
bool Api::page_may_ask(const HttpRequest& request) const {
  if (request.origin.empty() || origin_may_ask(request)) return true;
  const std::string_view scheme_end = "://";
  const size_t at = request.origin.find(scheme_end);
  return at != std::string::npos && request.origin.substr(at + scheme_end.size()) == request.host;
}

const Api::Route* Api::find_route(std::string_view method, std::string_view path, std::string_view& allowed) {
  for (const Route& route : routes()) {
    if (short_path(route.path) != short_path(path)) continue;
    if (route.method == method) return &route;
    allowed = route.method;
  }
  return nullptr;
}

HttpServer::BodyHandler Api::admit(Exchange& exchange) const {
  const HttpRequest& request = exchange.request;
  const auto refuse = [&](const ApiError& error) {
    fail(exchange, error);
    return nullptr;
  };
  if (!host_may_be_asked(request))
    return refuse(forbidden(text("this server has no keys and is for this machine alone, it is not asked as ",
                                 request.host.substr(0, 200), " (see --cors and --api-key)")));
  if (!page_may_ask(request))
    return refuse(
        forbidden(text("pages of ", request.origin.substr(0, 200), " may not ask this server (see --cors)")));
  if (!request.origin.empty() && origin_may_ask(request)) {
    exchange.response_headers = {{"Access-Control-Allow-Origin", request.origin}, {"Vary", "Origin"}};
    if (request.method == "OPTIONS") {
      exchange.respond({.status = 204,
                        .content_type = "text/plain",
                        .body = {},
                        .headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                                    {"Access-Control-Allow-Headers",
                                     std::string(allowed_headers(request.requested_headers))},
                                    {"Access-Control-Max-Age", "600"}}});
      return nullptr;
    }
  }
  std::string_view allowed;
  const Route* route = find_route(request.method, request.path, allowed);
  if ((route == nullptr || !route->open) && !has_key(request))
    return refuse({.status = 401,
                   .message = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"",
                   .param = {},
                   .type = "authentication_error",
                   .code = "invalid_api_key"});
  if (request.method == "GET" && short_path(request.path) == text("/models/", model_->name))
    return [this](const std::shared_ptr<Exchange>& e) { one_model(*e); };
  if (const auto slot = slot_of(request.path); slot && *slot < service_->n_parallel()) {
    if (request.method == "POST")
      return [this, slot](const std::shared_ptr<Exchange>& e) { act_on_slot(e, *slot); };
    allowed = "POST";
  }
  if (route == nullptr && !allowed.empty()) {
    exchange.response_headers.emplace_back("Allow", allowed);
    return refuse({.status = 405, .message = text(request.path, " takes ", allowed), .param = {}});
  }
  if (route == nullptr) return refuse(not_found(request));
  if (route->own != nullptr)
    return [this, route](const std::shared_ptr<Exchange>& e) { (this->*route->own)(*e); };
  if (draining_) return refuse(shutting_down_error());
  return [this, route](const std::shared_ptr<Exchange>& e) {
    const auto body = read_json(e->request.body);
    if (body) return call(*route, e, *body);
    fail(*e, {.status = 400, .message = text("the body: ", body.error().message), .param = {}});
  };
}

void Api::act_on_slot(const std::shared_ptr<Exchange>& exchange, uint32_t slot) const {
  if (draining_) return fail(*exchange, shutting_down_error());
  const HttpRequest& request = exchange->request;
  // Erasing takes nothing more than its path.
  const auto body = read_json(request.body.empty() ? "{}" : request.body);
  if (!body)
    return fail(*exchange, {.status = 400, .message = text("the body: ", body.error().message), .param = {}});
  constexpr std::string_view kAction = "action=";
  std::string_view action;
  for (std::string_view rest = request.query; !rest.empty();) {
    const std::string_view field = rest.substr(0, rest.find('&'));
    if (field.starts_with(kAction)) action = field.substr(kAction.size());
    rest.remove_prefix(std::min(field.size() + 1, rest.size()));
  }
  slot_action({.service = *service_, .model = *model_, .exchange = exchange, .body = *body}, slot, action,
              options_.slot_folder);
}

void Api::handle(const std::shared_ptr<Exchange>& exchange, const jinja::Value& body) const {
  const HttpRequest& request = exchange->request;
  std::string_view allowed;
  const Route* route = find_route(request.method, request.path, allowed);
  if (route == nullptr || route->endpoint == nullptr) return fail(*exchange, not_found(request));
  call(*route, exchange, body);
}

void Api::call(const Route& route, const std::shared_ptr<Exchange>& exchange,
               const jinja::Value& body) const {
  if (draining_) return fail(*exchange, shutting_down_error());
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
  out.add("total_slots", int64_t{service_->n_parallel()});
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
  for (size_t i = 0; i < c.slots.size(); ++i) {
    JsonObject slot;
    slot.add("id", static_cast<int64_t>(i));
    slot.add("n_ctx", int64_t{model_->ctx()});
    slot.add("n_past", int64_t{c.slots[i].n_tokens});
    slot.add_json("is_processing", c.slots[i].running ? "true" : "false");
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
