// The endpoints that generate text, one file each; api.cpp routes to them. `body` is the request's JSON.
#pragma once

#include <memory>

#include "runtime/server/answer.h"
#include "runtime/server/model_info.h"
#include "runtime/server/request_fields.h"
#include "runtime/server/service.h"

namespace forge::rt {

inline constexpr size_t kMaxMessages = 4096;

struct EndpointCall {
  Service& service;
  const ModelInfo& model;
  std::shared_ptr<Exchange> exchange;
  const jinja::Value& body;
};

void chat_completions(const EndpointCall& call);  // OpenAI's POST /v1/chat/completions
void completions(const EndpointCall& call);       // OpenAI's POST /v1/completions
void embeddings(const EndpointCall& call);        // OpenAI's POST /v1/embeddings
void responses(const EndpointCall& call);         // OpenAI's POST /v1/responses
void messages(const EndpointCall& call);          // Anthropic's POST /v1/messages
void count_tokens(const EndpointCall& call);      // Anthropic's POST /v1/messages/count_tokens
void infill(const EndpointCall& call);            // llama.cpp's POST /infill
void tokenize(const EndpointCall& call);          // llama.cpp's POST /tokenize
void detokenize(const EndpointCall& call);        // llama.cpp's POST /detokenize
void apply_template(const EndpointCall& call);    // llama.cpp's POST /apply-template
// llama.cpp's POST /slots/SLOT?action=save, restore or erase: the text that the slot ran last, as a file in `folder` (empty:
// there is none) called what the body's `filename` says.
void slot_action(const EndpointCall& call, uint32_t slot, std::string_view action, const std::string& folder);

std::string anthropic_error_json(const ApiError& error);

// A text (control tokens by their names), or a list of token ids, as tokens.
std::vector<int32_t> read_prompt(const jinja::Value& given, const std::string& path, const ModelInfo& model,
                                 ApiError& error);

// The prompt of a list of OpenAI's messages.
struct ChatRequest {
  jinja::Value messages;             // as the template takes them: contents are texts
  jinja::Value variables;            // for the template: tools, chat_template_kwargs
  jinja::Value tools;                // that the model may call: OpenAI's list, or undefined
  std::string tool_choice = "auto";  // "none", "auto", "required", or "named": the tool `tool_name` alone
  std::string tool_name;
  bool parallel_calls = true;
  std::vector<std::string> strict_tools;  // the names of those that are "strict": true
  uint32_t max_thoughts = UINT32_MAX;     // tokens; 0: the model does not think
  std::string answer_begins;  // the text of a last message of the assistant, which the answer goes on from
};
// messages, tools, tool_choice, parallel_tool_calls, chat_template_kwargs, and what read_thinking reads.
void read_chat(const RequestFields& fields, const ModelInfo& model, ChatRequest& out);
// One of OpenAI's messages, checked; `path` is its name. Nothing where there is an error.
std::optional<jinja::Value> read_message(const jinja::Value& message, const std::string& path,
                                         ApiError& error);
// A call of a past answer, from the fields `name` and `arguments` (JSON), which become an object: what templates expect.
jinja::Value read_call(const RequestFields& fields, const std::string& id);
// Gives the request its messages, checked already; a last one of the assistant is where the answer begins.
void set_messages(std::vector<jinja::Value> list, ApiError& error, ChatRequest& out);
// Whether the model thinks, and how many tokens at most: thinking_budget_tokens (llama.cpp), thinking_token_budget (vLLM),
// thinking_budget and enable_thinking (Qwen), reasoning_budget, or reasoning_effort. What the template's variables say
// already stays.
void read_thinking(const RequestFields& fields, const ModelInfo& model, const jinja::DictBuilder& variables,
                   ChatRequest& out);
// For `name`, an effort as OpenAI has it.
void read_effort(const RequestFields& fields, std::string_view name, std::optional<uint32_t>& max_thoughts);
// At most so many tokens; 0 switches thinking off where the template can, and else ends thoughts where they begin.
void set_thinking(uint32_t max_thoughts, const ModelInfo& model, const jinja::DictBuilder& variables,
                  ChatRequest& out);
// tools, tool_choice and parallel_tool_calls, as OpenAI or Anthropic have them.
void read_tools(const RequestFields& fields, ChatRequest& out);
// Gives the generation its prompt: the messages as the template writes them.
void set_chat_prompt(const ChatRequest& chat, const ModelInfo& model, GenerationRequest& out,
                     ApiError& error);
std::optional<ChatPrompt::Prompt> render_chat(const ChatRequest& chat, const ModelInfo& model,
                                              ApiError& error);
// A content of text parts as one text; an error for what is no text.
std::string read_content(const jinja::Value& content, const std::string& path, ApiError& error);

}  // namespace forge::rt
