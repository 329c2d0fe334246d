#include "download/hub_listing.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/error.h"
#include "download/hub_cache.h"

namespace forge {
namespace {

using nlohmann::json;

// What is taken where nothing is said: small and good first.
constexpr std::string_view kPreferredTypes[] = {"Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "Q4_K_S", "Q5_K_S",
                                                "Q4_0",   "Q5_0", "F16",    "BF16", "F32"};

// What beside the weights a checkpoint in safetensors consists of.
constexpr std::string_view kCheckpointFiles[] = {
    "config.json",     "generation_config.json",  "tokenizer.json",     "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "added_tokens.json",  "vocab.json",
    "merges.txt",      "chat_template.jinja",     "chat_template.json", "model.safetensors.index.json"};

constexpr size_t kListed = 12;  // names in a message

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

bool is_hex(std::string_view text, size_t n) {
  return text.size() == n && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string_view file_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// Whether a path has the type as a word of its own: "Q4_K" is not in "story-Q4_K_M.gguf".
bool names_type(std::string_view path, std::string_view type) {
  const auto is_word = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  std::string text(path), wanted(type);
  std::ranges::transform(text, text.begin(), upper);
  std::ranges::transform(wanted, wanted.begin(), upper);
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    const size_t end = at + wanted.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

// Not a language model by itself: a vision projector, an importance matrix, a vocabulary.
bool is_companion(std::string_view path) {
  const std::string_view name = file_name(path);
  return name.starts_with("mmproj") || name.find("imatrix") != std::string_view::npos ||
         name.starts_with("ggml-vocab");
}

// Weights of the checkpoint itself and not of another format's copy or an adapter.
bool is_checkpoint_weights(std::string_view path) {
  return path == "model.safetensors" || (path.starts_with("model-") && path.ends_with(".safetensors") &&
                                         path.find('/') == std::string_view::npos);
}

using Model = std::vector<std::string>;

std::string list_of(const std::vector<Model>& models) {
  std::string out;
  for (size_t i = 0; i < std::min(models.size(), kListed); ++i)
    out += fmt::format(
        "{}{}", i == 0 ? "" : ", ",
        models[i].front().ends_with(".gguf") ? std::string_view(models[i].front()) : "safetensors");
  if (models.size() > kListed) out += fmt::format(" and {} more", models.size() - kListed);
  return out;
}

// Names in a listing are the server's: none may break a message's line.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 1000));
  for (char& c : out)
    if (static_cast<uint8_t>(c) < ' ' || c == 0x7f) c = '?';
  return out;
}

}  // namespace

HubListing parse_hub_listing(std::string_view text, std::string_view where) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto bad = [&](std::string_view what) {
    fail("{}: {}; is HF_ENDPOINT a Hugging Face hub?", where, what);
  };
  if (!parsed.is_object()) bad("the answer is no JSON object");
  HubListing out;
  const auto sha = parsed.find("sha");
  if (sha == parsed.end() || !sha->is_string() || !is_hex(sha->get_ref<const std::string&>(), 40))
    bad("the answer names no commit");
  out.commit = sha->get<std::string>();
  const auto siblings = parsed.find("siblings");
  if (siblings == parsed.end() || !siblings->is_array()) bad("the answer lists no files");
  std::set<std::string_view> seen;
  for (const json& entry : *siblings) {
    const auto name = entry.find("rfilename");
    if (!entry.is_object() || name == entry.end() || !name->is_string()) bad("a listed file has no name");
    if (!seen.insert(name->get_ref<const std::string&>()).second) continue;
    HubFile file{.path = name->get<std::string>()};
    const auto size = entry.find("size");
    if (size != entry.end() && size->is_number_unsigned()) file.size = size->get<uint64_t>();
    const auto blob = entry.find("blobId");
    if (blob != entry.end() && blob->is_string() && is_hex(blob->get_ref<const std::string&>(), 40))
      file.blob = blob->get<std::string>();
    const auto lfs = entry.find("lfs");
    if (lfs != entry.end() && lfs->is_object()) {
      const auto hash = lfs->find("sha256");
      if (hash != lfs->end() && hash->is_string() && is_hex(hash->get_ref<const std::string&>(), 64))
        file.blob = file.sha256 = hash->get<std::string>();
    }
    out.files.push_back(std::move(file));
  }
  return out;
}

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::string_view kShape = "-00000-of-00000.gguf";
  if (path.size() <= kShape.size()) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kShape.size());
  for (size_t i = 0; i < kShape.size(); ++i) {
    const bool is_digit = tail[i] >= '0' && tail[i] <= '9';
    if (kShape[i] == '0' ? !is_digit : tail[i] != kShape[i]) return std::nullopt;
  }
  SplitName out{.prefix = std::string(path.substr(0, path.size() - kShape.size()))};
  std::from_chars(&tail[1], &tail[6], out.part);
  std::from_chars(&tail[10], &tail[15], out.parts);
  if (out.part == 0 || out.part > out.parts) return std::nullopt;
  return out;
}

std::string split_name(const std::string& prefix, uint32_t part, uint32_t parts) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, part, parts);
}

std::vector<Model> models_in(const HubListing& listing) {
  std::set<std::string_view> names;
  for (const HubFile& file : listing.files) names.insert(file.path);
  std::vector<Model> out;
  Model checkpoint;
  for (const std::string_view name : kCheckpointFiles)
    if (names.contains(name)) checkpoint.emplace_back(name);
  bool has_weights = false;
  for (const std::string_view name : names) {
    if (is_checkpoint_weights(name)) {
      checkpoint.emplace_back(name);
      has_weights = true;
    }
    if (!name.ends_with(".gguf") || is_companion(name)) continue;
    const auto split = parse_split_name(name);
    if (!split) {
      out.push_back({std::string(name)});
    } else if (split->part == 1 && split->parts <= names.size()) {
      Model parts;
      for (uint32_t part = 1; part <= split->parts; ++part) {
        parts.push_back(split_name(split->prefix, part, split->parts));
        if (!names.contains(parts.back())) break;
      }
      if (names.contains(parts.back())) out.push_back(std::move(parts));
    }
  }
  if (has_weights && names.contains("config.json")) out.push_back(std::move(checkpoint));
  return out;
}

std::vector<HubFile> choose_model(const HubListing& listing, std::string_view repo, std::string_view spec) {
  const std::vector<Model> models = models_in(listing);
  const auto is_gguf = [](const Model& m) { return m.front().ends_with(".gguf"); };
  const Model* chosen = nullptr;
  // Of several files of a type the one with the shortest name is the plain one.
  const auto choose_type = [&](std::string_view type) {
    for (const Model& m : models) {
      if (!is_gguf(m) || !names_type(m.front(), type)) continue;
      if (chosen == nullptr || m.front().size() < chosen->front().size()) chosen = &m;
    }
  };
  if (spec.empty()) {
    for (const std::string_view type : kPreferredTypes)
      if (chosen == nullptr) choose_type(type);
    const auto n_gguf = std::ranges::count_if(models, is_gguf);
    if (chosen == nullptr && n_gguf <= 1 && !models.empty()) chosen = &models.front();
  } else {
    for (const Model& m : models) {
      if (spec == "safetensors" ? !is_gguf(m) : std::ranges::any_of(m, [&](const std::string& file) {
            return is_gguf(m) && (file == spec || file_name(file) == spec);
          }))
        chosen = &m;
    }
    if (chosen == nullptr) choose_type(spec);
  }
  if (chosen == nullptr) {
    if (models.empty())
      fail(
          "{}: holds no model that forge can read: neither GGUF files (all parts of them) nor config.json "
          "with "
          "safetensors",
          repo);
    if (spec.empty()) fail("{}: which one? Name it behind a colon: {}", repo, shown(list_of(models)));
    fail("{}: nothing there is called {}; it holds {}", repo, shown(spec), shown(list_of(models)));
  }
  std::map<std::string_view, const HubFile*> by_path;
  for (const HubFile& file : listing.files) by_path[file.path] = &file;
  std::vector<HubFile> out;
  for (const std::string& path : *chosen) {
    if (!is_safe_path(path)) fail("{}: the name {} leads out of the repository; refused", repo, shown(path));
    out.push_back(*by_path.at(path));
  }
  return out;
}

}  // namespace forge
