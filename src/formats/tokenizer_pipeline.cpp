#include "formats/tokenizer_pipeline.h"

#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "formats/json.h"
#include "formats/tokenizer_regex.h"

namespace forge {
namespace {

using namespace rt::tokenizer_format;

constexpr std::string_view kEscapedSpace = "\u2581";
// \w+|[^\w\s]+ with \w as Unicode Technical Standard 18 has it.
constexpr const char* kWhitespaceRegex =
    R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
    R"(\x{1F170}-\x{1F189}]+|)"
    R"([^\s\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169})"
    R"(\x{1F170}-\x{1F189}]+)";
constexpr const char* kByteLevelRegex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string text_of(const Json& object, const char* name, std::string_view what) {
  const Json* value = member(object, name);
  if (value == nullptr || !value->is_string()) fail("tokenizer: {}: {} is missing or no text", what, name);
  return value->get<std::string>();
}

bool flag_of(const Json& object, const char* name, bool otherwise, std::string_view what) {
  const Json* value = member(object, name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) fail("tokenizer: {}: {} is neither true nor false", what, name);
  return value->get<bool>();
}

// {"String": "…"} or {"Regex": "…"}, as an expression.
std::string pattern_of(const Json& object, std::string_view what) {
  const Json* pattern = member(object, "pattern");
  if (pattern == nullptr) fail("tokenizer: {}: pattern is missing", what);
  if (member(*pattern, "Regex") != nullptr) return text_of(*pattern, "Regex", what);
  const std::string literal = text_of(*pattern, "String", what);
  if (literal.empty()) fail("tokenizer: {}: the pattern is empty", what);
  return escape_regex(literal);
}

Behavior behavior_of(const Json& object, std::string_view what) {
  const std::string name = text_of(object, "behavior", what);
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "Contiguous") return Behavior::contiguous;
  if (name == "MergedWithPrevious") return Behavior::merged_previous;
  if (name == "MergedWithNext") return Behavior::merged_next;
  fail("tokenizer: {}: behavior {} is not supported", what, quote(name));
}

std::string unescape_spaces(std::string text) {
  for (size_t at = 0; (at = text.find(kEscapedSpace, at)) != std::string::npos; ++at) {
    text.replace(at, kEscapedSpace.size(), " ");
  }
  return text;
}

class Reader {
 public:
  Pipeline read(const Json& root) {
    if (const Json* model = member(root, "model")) read_model(*model);
    if (const Json* normalizer = member(root, "normalizer")) read_normalizer(*normalizer, 0);
    if (const Json* pre = member(root, "pre_tokenizer")) read_pre_tokenizer(*pre, 0);
    if (const Json* added = member(root, "added_tokens")) read_added_tokens(*added);
    if ((out_.flags & kSpaces) != 0) {
      if ((out_.flags & kBytes) != 0) fail("tokenizer: Metaspace together with ByteLevel is not supported");
      for (SplitStep& step : out_.splits) step.regex = unescape_spaces(std::move(step.regex));
    }
    return std::move(out_);
  }

 private:
  static constexpr int kMaxDepth = 8;
  static constexpr size_t kMaxSteps = 32;

  void read_model(const Json& model) {
    const std::string type = text_of(model, "type", "model");
    const bool unigram = type == "Unigram";
    if (!unigram && type != "BPE")
      fail("tokenizer: model {} is not supported; expected BPE or Unigram", quote(type));
    out_.byte_fallback = flag_of(model, "byte_fallback", false, "model");
    if (unigram || flag_of(model, "fuse_unk", false, "model")) out_.flags |= kFuseUnknown;
    if (flag_of(model, "ignore_merges", false, "model")) out_.flags |= kIgnoreMerges;
  }

  void read_added_tokens(const Json& added) {
    if (!added.is_array()) fail("tokenizer: added_tokens is no list");
    for (const Json& token : added) {
      const Json* id = member(token, "id");
      if (id == nullptr || !id->is_number_integer()) fail("tokenizer: added_tokens: an entry has no id");
      const auto flag = [&](const char* name, uint8_t bit) -> uint8_t {
        return flag_of(token, name, false, "added_tokens") ? bit : 0;
      };
      const auto attributes =
          static_cast<uint8_t>(flag("single_word", kWholeWord) | flag("lstrip", kStripLeft) |
                               flag("rstrip", kStripRight) | flag("normalized", kNormalized));
      if ((attributes & kNormalized) != 0) out_.flags |= kNormalizedSpecials;
      out_.attributes.emplace_back(id->get<int64_t>(), attributes);
    }
  }

  void add(NormalizerStep step) {
    if (out_.normalizer.size() >= kMaxSteps) fail("tokenizer: more than {} normalizers", kMaxSteps);
    out_.normalizer.push_back(std::move(step));
  }

  void read_normalizer(const Json& normalizer, int depth) {
    using Kind = NormalizerStep::Kind;
    if (depth > kMaxDepth) fail("tokenizer: normalizers are nested too deeply");
    const std::string type = text_of(normalizer, "type", "normalizer");
    if (type == "Sequence") {
      const Json* list = member(normalizer, "normalizers");
      if (list == nullptr || !list->is_array())
        fail("tokenizer: normalizer Sequence: normalizers is no list");
      for (const Json& item : *list) read_normalizer(item, depth + 1);
    } else if (type == "NFC") {
      add({Kind::nfc});
    } else if (type == "NFD") {
      add({Kind::nfd});
    } else if (type == "NFKC") {
      add({Kind::nfkc});
    } else if (type == "NFKD") {
      add({Kind::nfkd});
    } else if (type == "Lowercase") {
      add({Kind::lowercase});
    } else if (type == "StripAccents") {
      add({Kind::strip_accents});
    } else if (type == "Strip") {
      add({Kind::strip,
           {},
           {},
           flag_of(normalizer, "strip_left", true, "normalizer Strip"),
           flag_of(normalizer, "strip_right", true, "normalizer Strip")});
    } else if (type == "Prepend") {
      add({Kind::prepend, {}, text_of(normalizer, "prepend", "normalizer Prepend")});
    } else if (type == "Replace") {
      const std::string from = pattern_of(normalizer, "normalizer Replace");
      const std::string to = text_of(normalizer, "content", "normalizer Replace");
      if (from == " " && to == kEscapedSpace) {
        out_.flags |= kSpaces;
      } else {
        add({Kind::replace, from, to});
      }
    } else if (type == "Precompiled") {
      add({Kind::charsmap});
    } else {
      fail("tokenizer: normalizer {} is not supported", quote(type));
    }
  }

  void add(SplitStep step) {
    if (out_.splits.size() >= kMaxSteps) fail("tokenizer: more than {} pre-tokenizers", kMaxSteps);
    if ((out_.flags & kPrefixWords) != 0) {
      fail("tokenizer: a pre-tokenizer behind one that puts a space before each word is not supported");
    }
    const bool sees_spaces =
        step.regex.find(' ') != std::string::npos || step.regex.find("\\s") != std::string::npos;
    if ((out_.flags & kSpaces) != 0 && sees_spaces && step.behavior != Behavior::merged_next) {
      fail("tokenizer: a pre-tokenizer that cuts at spaces behind one that replaces them is not supported");
    }
    step.bytes = (out_.flags & kBytes) != 0;
    out_.splits.push_back(std::move(step));
  }

  // A space before what the pre-tokenizers so far left, where it does not begin with one.
  void add_prefix() {
    out_.flags |= kAddSpacePrefix | kPrefixMissing | (out_.splits.empty() ? 0 : kPrefixWords);
  }

  void read_pre_tokenizer(const Json& pre, int depth) {
    if (depth > kMaxDepth) fail("tokenizer: pre-tokenizers are nested too deeply");
    const std::string type = text_of(pre, "type", "pre_tokenizer");
    if (type == "Sequence") {
      const Json* list = member(pre, "pretokenizers");
      if (list == nullptr || !list->is_array()) {
        fail("tokenizer: pre_tokenizer Sequence: pretokenizers is no list");
      }
      for (const Json& item : *list) read_pre_tokenizer(item, depth + 1);
    } else if (type == "Split") {
      const std::string regex = pattern_of(pre, "pre_tokenizer Split");
      if (regex == " " && (out_.flags & kSpaces) != 0) return;  // the normalizer left none (Gemma)
      add({.regex = regex,
           .behavior = behavior_of(pre, "pre_tokenizer Split"),
           .inverted = flag_of(pre, "invert", false, "pre_tokenizer Split")});
    } else if (type == "ByteLevel") {
      if ((out_.flags & kBytes) != 0) fail("tokenizer: ByteLevel stands twice");
      const bool prefix = flag_of(pre, "add_prefix_space", true, "pre_tokenizer ByteLevel");
      const bool splits = flag_of(pre, "use_regex", true, "pre_tokenizer ByteLevel");
      if (prefix && splits && !out_.splits.empty()) {
        fail("tokenizer: ByteLevel with add_prefix_space behind other pre-tokenizers is not supported");
      }
      if (prefix) add_prefix();
      if (splits) add({.regex = kByteLevelRegex});
      out_.flags |= kBytes;
    } else if (type == "Digits") {
      const bool each = flag_of(pre, "individual_digits", false, "pre_tokenizer Digits");
      add({.regex = R"(\p{N})", .behavior = each ? Behavior::isolated : Behavior::contiguous});
    } else if (type == "Punctuation") {
      add({.regex = R"([\p{P}$+<=>^`|~])", .behavior = behavior_of(pre, "pre_tokenizer Punctuation")});
    } else if (type == "Whitespace") {
      add({.regex = kWhitespaceRegex, .behavior = Behavior::removed, .inverted = true});
    } else if (type == "WhitespaceSplit") {
      add({.regex = R"(\s)", .behavior = Behavior::removed});
    } else if (type == "Metaspace") {
      read_metaspace(pre);
    } else {
      fail("tokenizer: pre_tokenizer {} is not supported", quote(type));
    }
  }

  void read_metaspace(const Json& pre) {
    if (text_of(pre, "replacement", "pre_tokenizer Metaspace") != kEscapedSpace) {
      fail("tokenizer: pre_tokenizer Metaspace with another replacement than '{}' is not supported",
           kEscapedSpace);
    }
    out_.flags |= kSpaces;
    std::string scheme =
        flag_of(pre, "add_prefix_space", true, "pre_tokenizer Metaspace") ? "always" : "never";
    if (member(pre, "prepend_scheme") != nullptr)
      scheme = text_of(pre, "prepend_scheme", "pre_tokenizer Metaspace");
    const bool splits = flag_of(pre, "split", true, "pre_tokenizer Metaspace") && out_.splits.empty();
    if (scheme == "always" || scheme == "first") {
      add_prefix();
      if (scheme == "first") out_.flags |= kPrefixFirst;
    } else if (scheme != "never") {
      fail("tokenizer: pre_tokenizer Metaspace: prepend_scheme {} is not supported", quote(scheme));
    }
    if (splits) add({.regex = " ", .behavior = Behavior::merged_next});
  }

  Pipeline out_;
};

}  // namespace

Pipeline pipeline_of_json(std::string_view text) {
  const Json root =
      parse_json("tokenizer.forge.pipeline", {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  if (!root.is_object()) fail("tokenizer.forge.pipeline: is no JSON object");
  return Reader().read(root);
}

}  // namespace forge
