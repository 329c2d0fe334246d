// Small chat templates of our own, one a family of tool-call formats, and the real ones where they are at hand.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core/answer_format.h"
#include "runtime/core/jinja_json.h"

namespace forge::rt {

inline jinja::Value json(std::string_view s) {
  const auto v = jinja::parse_json(s);
  EXPECT_TRUE(v) << s;
  return v ? *v : jinja::Value();
}

inline AnswerFormat derived(const std::string& source, const FormatHints& hints = {}) {
  const auto parsed = ChatTemplate::parse(source);
  EXPECT_TRUE(parsed) << source;
  return parsed ? derive_answer_format(*parsed, hints) : AnswerFormat{};
}

// A template and what surrounds an answer in its text.
struct AnswerTemplate {
  std::string name, source, header, end;
};

// A conversation of messages <|role|>…<|end|>, with tools in front; `calls` is Jinja that writes m.tool_calls and
// `thoughts` what writes m.reasoning_content.
inline std::string template_source(std::string_view calls, std::string_view thoughts = "",
                                   std::string_view prompt_end = "") {
  std::string s =
      "{% if tools %}<|tools|>{{ tools | tojson }}<|end|>{% endif %}{% for m in messages %}<|{{ m.role }}|>";
  s += thoughts;
  s += "{{ m.content or '' }}{% if m.tool_calls %}";
  s += calls;
  s += "{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>";
  s += prompt_end;
  return s + "{% endif %}";
}

inline std::vector<AnswerTemplate> own_templates() {
  constexpr std::string_view kHermes =
      "{% for c in m.tool_calls %}{{ '\\n' }}<tool_call>\n{\"name\": \"{{ c.function.name }}\", "
      "\"arguments\": {{ "
      "c.function.arguments | tojson }}}\n</tool_call>{% endfor %}";
  constexpr std::string_view kThoughts =
      "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}";
  const auto list = [](const std::string& begin, const std::string& object, const std::string& end) {
    return template_source(begin + "[{% for c in m.tool_calls %}" + object +
                           "{% if not loop.last %}, {% endif %}{% endfor %}]" + end);
  };
  const auto each = [](const std::string& call, std::string_view separator = "") {
    return template_source("{% for c in m.tool_calls %}" + call + "{% if not loop.last %}" +
                           std::string(separator) + "{% endif %}{% endfor %}");
  };
  std::vector<AnswerTemplate> all = {
      {"hermes", template_source(kHermes), "", ""},
      {"hermes, thoughts", template_source(kHermes, kThoughts), "", ""},
      {"hermes, prompt opens thoughts", template_source(kHermes, kThoughts, "<think>\n"), "", ""},
      {"hermes, [THINK]",
       template_source(kHermes,
                       "{% if m.reasoning_content %}[THINK]{{ m.reasoning_content }}[/THINK]{% endif %}"),
       "", ""},
      {"mistral",
       list("[TOOL_CALLS]",
            "{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}, "
            "\"id\": \"{{ "
            "c.id }}\"}",
            ""),
       "", ""},
      {"mistral, names before arguments",
       each("[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}"),
       "", ""},
      {"granite",
       list("<|tool_call|>",
            "{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}", ""),
       "", ""},
      {"command-r",
       list("<|START_ACTION|>",
            "{\"tool_call_id\": \"{{ c.id }}\", \"tool_name\": \"{{ c.function.name }}\", \"parameters\": {{ "
            "c.function.arguments | tojson }}}",
            "<|END_ACTION|>"),
       "", ""},
      {"llama",
       template_source(
           "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call') }}{% endif %}{% set c = "
           "m.tool_calls[0].function %}{\"name\": \"{{ c.name }}\", \"parameters\": {{ c.arguments | tojson "
           "}}}"),
       "", ""},
      {"string arguments",
       each("<tool_call>{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments "
            "}}}</tool_call>"),
       "", ""},
      {"python list",
       list("",
            "{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{% "
            "if not "
            "loop.last %}, {% endif %}{% endfor %})",
            ""),
       "", ""},
      {"python list, markers",
       list("<|tool_call_start|>",
            "{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{% "
            "if not "
            "loop.last %}, {% endif %}{% endfor %})",
            "<|tool_call_end|>"),
       "", ""},
      {"xml, name in the tag",
       each("{{ '\\n' }}<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in "
            "c.function.arguments.items() "
            "%}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor "
            "%}</function>\n</tool_call>"),
       "", ""},
      {"xml, keys and values",
       each("{{ '\\n' }}<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments.items() "
            "%}<arg_key>{{ k "
            "}}</arg_key>\n<arg_value>{{ v if v is string else v | tojson }}</arg_value>\n{% endfor "
            "%}</tool_call>"),
       "", ""},
      {"xml, attributes",
       template_source(
           "{{ '\\n' }}<calls>{% for c in m.tool_calls %}{{ '\\n' }}<invoke name=\"{{ c.function.name "
           "}}\">{% for k, v in "
           "c.function.arguments.items() %}{{ '\\n' }}<parameter name=\"{{ k }}\">{{ v if v is string else v "
           "| "
           "tojson }}</parameter>{% endfor %}{{ '\\n' }}</invoke>{% endfor %}{{ '\\n' }}</calls>"),
       "", ""},
      {"deepseek",
       template_source(
           "<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}{% if not loop.first %}{{ '\\n' }}{% endif "
           "%}<｜tool▁call▁begin｜>{{ "
           "c.type }}<｜tool▁sep｜>{{ c.function.name }}\n```json\n{{ c.function.arguments | tojson "
           "}}\n```<｜tool▁call▁end｜>{% endfor %}<｜tool▁calls▁end｜>"),
       "", ""},
      {"function tag",
       each("<function={{ c.function.name }}>{{ c.function.arguments | tojson }}</function>", "{{ '\\n' }}"),
       "", ""},
  };
  for (AnswerTemplate& t : all) {
    t.header = "<|assistant|>";
    t.end = "<|end|>";
  }
  return all;
}

inline std::filesystem::path real_templates_folder() {
  return std::filesystem::path(FORGE_SOURCE_DIR) / "../shared/data/templates";
}

// Empty where the folder is missing.
inline std::vector<AnswerTemplate> real_templates() {
  std::vector<AnswerTemplate> all = {
      {"HuggingFaceTB-SmolLM3-3B", "", "<|im_start|>assistant\n", "<|im_end|>"},
      {"LFM2.5-Instruct", "", "<|im_start|>assistant\n", "<|im_end|>"},
      {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "", "<|im_start|>assistant\n", "<|im_end|>"},
      {"Qwen-Qwen2.5-7B-Instruct", "", "<|im_start|>assistant\n", "<|im_end|>"},
      {"Qwen-Qwen3-0.6B", "", "<|im_start|>assistant\n", "<|im_end|>"},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
      {"google-gemma-2-2b-it", "", "<start_of_turn>model\n", "<end_of_turn>"},
      {"ibm-granite-granite-3.3-2B-Instruct", "", "<|start_of_role|>assistant<|end_of_role|>",
       "<|end_of_text|>"},
      {"meta-llama-Llama-3.2-3B-Instruct", "", "<|start_header_id|>assistant<|end_header_id|>\n\n",
       "<|eot_id|>"},
      {"microsoft-Phi-3.5-mini-instruct", "", "<|assistant|>\n", "<|end|>"},
      {"mistralai-Mistral-Nemo-Instruct-2407", "", "[/INST]", "</s>"},
  };
  if (!std::filesystem::exists(real_templates_folder())) return {};
  for (AnswerTemplate& t : all) {
    std::ifstream in(real_templates_folder() / (t.name + ".jinja"), std::ios::binary);
    t.source = {std::istreambuf_iterator<char>(in), {}};
  }
  return all;
}

}  // namespace forge::rt
