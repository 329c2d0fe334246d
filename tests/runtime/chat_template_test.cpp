// Chat templates against jinja2: our own with committed texts, those of real models with texts made here and
// now.
#include "runtime/core/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "runtime/core/jinja_json.h"

namespace forge::rt {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = FORGE_SOURCE_DIR;
const fs::path kGoldens = kSource / "tests/goldens";
const fs::path kRealTemplates = kSource / "../shared/data/templates";

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Conversation {
  jinja::Value messages;
  RenderOptions options;
};

std::map<std::string, Conversation> conversations() {
  std::map<std::string, Conversation> all;
  // Order of keys matters: through our own JSON reader, not nlohmann's sorted maps.
  const Result<jinja::Value> list = jinja::parse_json(read_file(kGoldens / "conversations.json"));
  EXPECT_TRUE(list);
  for (const jinja::Value& v : list->as_sequence().items) {
    const jinja::Dict& d = v.as_dict();
    Conversation& c = all[d.find("name")->as_string()];
    c.messages = *d.find("messages");
    c.options.add_generation_prompt = d.find("add_generation_prompt")->as_bool();
    if (const jinja::Value* variables = d.find("variables")) c.options.variables = *variables;
    c.options.now = jinja::BrokenDownTime{2024, 7, 4, 9, 5, 7};
  }
  return all;
}

// Where two texts part, with what lies around; empty where they are equal.
std::string difference(const std::string& a, const std::string& b) {
  if (a == b) return {};
  const auto at =
      static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  const size_t from = at < 40 ? 0 : at - 40;
  return "…" + a.substr(from, 100) + "…\ninstead of\n…" + b.substr(from, 100) + "…";
}

// Compares every case of a file that make_template_goldens.py wrote; gives their number.
size_t compare_with(const fs::path& goldens, const fs::path& templates) {
  const auto all = conversations();
  size_t n = 0;
  for (const nlohmann::json& golden : nlohmann::json::parse(read_file(goldens))) {
    const std::string name = golden["template"], conversation_name = golden["conversation"];
    SCOPED_TRACE(text(name, ", ", conversation_name));
    ++n;
    const Conversation& conversation = all.at(conversation_name);
    const Result<ChatTemplate> parsed = ChatTemplate::parse(read_file(templates / name));
    if (!parsed) {
      ADD_FAILURE() << parsed.error().message;
      continue;
    }
    const Result<std::string> out = parsed->render(conversation.messages, conversation.options);
    if (golden.contains("error")) {
      EXPECT_FALSE(out) << "jinja2 fails: " << golden["error"] << "; here: " << *out;
    } else if (!out) {
      ADD_FAILURE() << out.error().message;
    } else {
      const std::string parted = difference(*out, golden["output"]);
      EXPECT_TRUE(parted.empty()) << parted;
    }
  }
  return n;
}

TEST(ChatTemplate, OurTemplatesRenderAsJinja2RendersThem) {
  EXPECT_GE(compare_with(kGoldens / "template_goldens.json", kGoldens / "templates"), 100u);
}

TEST(ChatTemplate, TemplatesOfRealModelsRenderAsJinja2RendersThem) {
  if (!fs::exists(kRealTemplates))
    GTEST_SKIP() << "SKIPPED: no folder ../shared/data/templates beside the checkout";
  const fs::path out =
      fs::path(testing::TempDir()) / ("template_goldens_" + std::to_string(getpid()) + ".json");
  const std::string command = "/usr/bin/python3 '" + (kGoldens / "make_template_goldens.py").string() +
                              "' --templates '" + kRealTemplates.string() + "' --out '" + out.string() + "'";
  // NOLINTBEGIN(bugprone-command-processor)
  if (std::system("/usr/bin/python3 -c 'import jinja2'") != 0)
    GTEST_SKIP() << "SKIPPED: /usr/bin/python3 sees no jinja2 (Debian package python3-jinja2)";
  ASSERT_EQ(std::system(command.c_str()), 0);
  // NOLINTEND(bugprone-command-processor)
  EXPECT_GE(compare_with(out, kRealTemplates), 50u);
  fs::remove(out);
}

TEST(ChatTemplate, PlainMessages) {
  const auto parsed = ChatTemplate::parse(read_file(kGoldens / "templates/chatml.jinja"));
  ASSERT_TRUE(parsed);
  const ChatMessage messages[] = {{"system", "Be kind."}, {"user", "Hi"}};
  RenderOptions options;
  EXPECT_EQ(
      *parsed->render(messages, options),
      "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  options.add_generation_prompt = false;
  EXPECT_EQ(*parsed->render(messages, options),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
}

TEST(ChatTemplate, VariablesAndTokensAreDefinedOnlyWhenGiven) {
  const auto parsed = ChatTemplate::parse(
      "{{ bos_token is defined }}{{ eos_token }}{{ tools is none }}{{ x is defined }}{{ strftime_now is "
      "defined }}");
  ASSERT_TRUE(parsed);
  RenderOptions options;
  EXPECT_EQ(*parsed->render(std::span<const ChatMessage>(), options), "FalseTrueFalseFalse");
  options.bos_token = "<s>";
  options.eos_token = "</s>";
  options.variables = *jinja::parse_json(R"({"x": 1, "tools": []})");
  options.now = jinja::BrokenDownTime{};
  EXPECT_EQ(*parsed->render(std::span<const ChatMessage>(), options), "True</s>FalseTrueTrue");
}

// Damaged templates give a text or an Error: no crash, no hang.
TEST(ChatTemplate, DamagedTemplates) {
  std::vector<std::string> sources;
  for (const fs::path& folder : {kGoldens / "templates", kRealTemplates}) {
    if (!fs::exists(folder)) continue;
    for (const auto& entry : fs::directory_iterator(folder)) sources.push_back(read_file(entry.path()));
  }
  ASSERT_GE(sources.size(), 10u);
  std::sort(sources.begin(), sources.end());
  const auto all = conversations();
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  const std::string_view kPieces[] = {"{{",       "}}",   "{%",   "%}",   "-",           "|",
                                      "(",        ")",    "[",    "]",    "'",           "~",
                                      ".",        " in ", " if ", "loop", "{% endif %}", "{% for x in x %}",
                                      "99999999", "**",   "%",    "\\"};
  size_t rendered = 0, failed = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string s = sources[below(sources.size())];
    const size_t damages = 1 + below(3);
    for (size_t i = 0; i < damages && !s.empty(); ++i) {
      const size_t at = below(s.size());
      switch (below(5)) {
        case 0: s.resize(at); break;
        case 1: s[at] = static_cast<char>(random()); break;
        case 2: s.erase(at, 1 + below(20)); break;
        case 3: s.insert(at, kPieces[below(std::size(kPieces))]); break;
        default: s.insert(at, s.substr(below(s.size()), below(60))); break;
      }
    }
    const Result<ChatTemplate> parsed = ChatTemplate::parse(s);
    if (!parsed) {
      EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos) << parsed.error().message;
      ++refused;
      continue;
    }
    auto conversation = std::next(all.begin(), static_cast<ptrdiff_t>(below(all.size())))->second;
    conversation.options.limits.steps = 1'000'000;
    ++(parsed->render(conversation.messages, conversation.options) ? rendered : failed);
  }
  EXPECT_GT(rendered, 100u);
  EXPECT_GT(failed, 100u);
  EXPECT_GT(refused, 100u);
}

}  // namespace
}  // namespace forge::rt
