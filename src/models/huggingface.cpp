#include "models/huggingface.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <unordered_set>

#include "core/error.h"
#include "core/mapped_file.h"
#include "formats/gguf_encoding.h"
#include "formats/safetensors.h"
#include "formats/tokenizer_json.h"
#include "models/huggingface/mapping.h"
#include "models/huggingface/tokenizer_config.h"

namespace forge {
namespace {

namespace fs = std::filesystem;
using namespace huggingface;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kWeights = "model.safetensors";
constexpr const char* kTextFiles[] = {"config.json",         "generation_config.json",
                                      "tokenizer.json",      "tokenizer_config.json",
                                      "chat_template.jinja", "chat_template.json"};

// Reads the text files of a directory and keeps them mapped: they are part of the checkpoint's source.
class Directory {
 public:
  explicit Directory(const std::string& path) : path_(path) {}

  std::string path(const char* name) const { return (fs::path(path_) / name).string(); }
  bool has(const char* name) const {
    std::error_code error;
    return fs::exists(path(name), error);
  }
  std::shared_ptr<const MappedFile> map(const char* name) const {
    return std::make_shared<const MappedFile>(path(name));
  }
  Json json(const char* name) const { return parse_json(path(name), map(name)->bytes()); }
  // Empty where there is no such file.
  Config config(const char* name) const { return {path(name), has(name) ? json(name) : Json::object()}; }
  std::optional<std::string> text(const char* name) const {
    if (!has(name)) return std::nullopt;
    const auto file = map(name);
    return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  }

 private:
  std::string path_;
};

// Parts of a checkpoint that are no weights of the text model.
bool is_skipped(const ModelConfig& model, bool tied, std::string_view name) {
  for (const std::string_view buffer : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"})
    if (name.ends_with(buffer)) return true;
  // A tied head that was stored all the same.
  if (name == "lm_head.weight") return tied;
  if (model.config.find({"vision_config"}) == nullptr) return false;
  for (const std::string_view part : {"vision_tower.", "multi_modal_projector."})
    if (name.starts_with(part) || name.starts_with("model." + std::string(part))) return true;
  return false;
}

using Bytes = std::vector<uint8_t>;

// Decoded, with `add` added to each.
Bytes to_f32(DType type, std::span<const uint8_t> data, size_t n, float add) {
  std::vector<float> values(n);
  info(type).decode(data.data(), values.data(), n);
  if (add != 0)
    for (float& v : values) v += add;
  Bytes out(n * sizeof(float));
  info(DType::f32).encode(values.data(), out.data(), n);
  return out;
}

Bytes transpose(std::span<const uint8_t> data, size_t rows, size_t cols, size_t element) {
  Bytes out(data.size());
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c)
      std::memcpy(out.data() + (c * rows + r) * element, data.data() + (r * cols + c) * element, element);
  return out;
}

// Rows to where interleaved rope pairs want them; n rows, `head` a head.
Bytes interleave_rows(std::span<const uint8_t> data, int64_t n, int64_t head) {
  const size_t row = data.size() / static_cast<size_t>(n);
  Bytes out(data.size());
  for (int64_t r = 0; r < n; ++r)
    std::memcpy(out.data() + static_cast<size_t>(interleaved_row(r, head)) * row,
                data.data() + static_cast<size_t>(r) * row, row);
  return out;
}

struct Converter {
  const Mapping& mapping;
  const ModelConfig& model;
  bool tied;  // the head is the embedding
  Checkpoint& out;

  void add(std::string name, DType type, std::vector<int64_t> shape, Bytes bytes) {
    const auto stored = std::make_shared<const Bytes>(std::move(bytes));
    out.tensors.push_back({std::move(name), type, std::move(shape), *stored});
    out.storage.push_back(stored);
  }

  void add_tensor(const SafeTensor& source) {
    if (is_skipped(model, tied, source.name)) return;
    const auto place = find_place(mapping, source.name);
    if (!place)
      fail("{}: tensor {} has no place in the architecture '{}'", out.path, quote(source.name),
           mapping.architecture);
    if (!source.type)
      fail("{}: tensor {} is of type {}, expected F32, F16 or BF16", out.path, quote(source.name),
           source.dtype);
    const auto n = static_cast<size_t>(source.data.size() / info(*source.type).block_bytes);
    if (source.shape.empty() || source.shape.size() > 2 || n == 0)
      fail("{}: tensor {} is [{}], expected one or two dimensions", out.path, quote(source.name),
           fmt::join(source.shape, ", "));
    Tensor t{place->name, *source.type, source.shape, source.data};
    Bytes changed;
    const auto change = [&](Bytes bytes) {
      changed = std::move(bytes);
      t.data = changed;
    };
    // Where GGUF's readers expect float32: vectors, norms, learned positions.
    const bool widened = t.shape.size() == 1 || place->is_norm || t.name == "position_embd.weight";
    const float add_to = place->is_norm && mapping.adds_one_to_norms ? 1.0F : 0.0F;
    if ((widened && t.type != DType::f32) || add_to != 0) {
      change(to_f32(t.type, t.data, n, add_to));
      t.type = DType::f32;
    }
    if (place->transposed) {
      change(transpose(t.data, static_cast<size_t>(t.rows()), static_cast<size_t>(t.cols()),
                       info(t.type).block_bytes));
      std::ranges::reverse(t.shape);
    }
    if (place->rows != Place::Rows::plain) {
      const int64_t rows = t.shape[0];
      const int64_t heads = place->rows == Place::Rows::query_heads ? model.n_heads : model.n_kv_heads;
      if (rows % heads != 0 || rows / heads % 2 != 0)
        fail("{}: tensor {} has {} rows, expected {} heads of an even number of rows", out.path,
             quote(source.name), rows, heads);
      change(interleave_rows(t.data, rows, rows / heads));
    }
    if (changed.empty())
      out.tensors.push_back(std::move(t));
    else
      add(std::move(t.name), t.type, std::move(t.shape), std::move(changed));
  }
};

SafeTensors read_weights(const Directory& directory, const std::string& path) {
  if (directory.has(kIndex)) return read_safetensors_index(directory.path(kIndex));
  if (directory.has(kWeights)) return read_safetensors(directory.path(kWeights));
  if (directory.has("pytorch_model.bin") || directory.has("pytorch_model.bin.index.json"))
    fail("{}: holds pytorch_model.bin, expected {}; save it with save_pretrained(…, safe_serialization=True)",
         path, kWeights);
  fail("{}: {} is missing, expected it or {}", path, kWeights, kIndex);
}

// The number that GGUF has for files of mostly one type (llama_ftype).
int64_t file_type(const Checkpoint& checkpoint) {
  int64_t matrices = 0, half = 0, brain = 0;
  for (const Tensor& t : checkpoint.tensors) {
    if (t.shape.size() < 2) continue;
    ++matrices;
    half += t.type == DType::f16;
    brain += t.type == DType::bf16;
  }
  return 2 * brain > matrices ? 32 : 2 * half > matrices ? 1 : 0;
}

// A token for every row of the embedding: tables are often longer than the vocabulary, and GGUF's readers want both
// of one length. Rows beyond all tokens were never trained.
void match_vocabulary(const std::string& path, Checkpoint& checkpoint) {
  Metadata& meta = checkpoint.meta;
  const Tensor* embedding = checkpoint.find("token_embd.weight");
  const std::vector<std::string>* tokens = meta.strings("tokenizer.ggml.tokens");
  if (embedding == nullptr || tokens == nullptr) return;
  const auto n = static_cast<size_t>(embedding->rows());
  if (tokens->size() > n) fail("{}: {} tokens, but the embedding has {} rows", path, tokens->size(), n);
  std::vector<std::string> texts = *tokens;
  for (size_t id = texts.size(); id < n; ++id) texts.push_back(fmt::format("[PAD{}]", id));
  meta.set("tokenizer.ggml.tokens", {MetaType::array, MetaType::string, std::move(texts)});
  if (const auto* types = meta.integers("tokenizer.ggml.token_type")) {
    constexpr int64_t kUnused = 5;
    std::vector<int64_t> longer = *types;
    longer.resize(n, kUnused);
    meta.set("tokenizer.ggml.token_type", {MetaType::array, MetaType::i32, std::move(longer)});
  }
  if (const auto* scores = meta.numbers("tokenizer.ggml.scores")) {
    constexpr double kNever = -10000;
    std::vector<double> longer = *scores;
    longer.resize(n, kNever);
    meta.set("tokenizer.ggml.scores", {MetaType::array, MetaType::f32, std::move(longer)});
  }
}

std::string directory_name(const std::string& path) {
  fs::path full = fs::absolute(path).lexically_normal();
  if (!full.has_filename()) full = full.parent_path();
  return full.filename();
}

}  // namespace

std::vector<std::string> huggingface_files(const std::string& directory) {
  const Directory d(directory);
  std::vector<std::string> files;
  for (const char* name : kTextFiles)
    if (d.has(name)) files.push_back(d.path(name));
  if (d.has(kIndex)) {
    files.push_back(d.path(kIndex));
    std::ranges::move(safetensors_index_files(d.path(kIndex)), std::back_inserter(files));
  } else if (d.has(kWeights)) {
    files.push_back(d.path(kWeights));
  }
  return files;
}

Checkpoint read_huggingface(const std::string& path) {
  const Directory directory(path);
  if (!directory.has("config.json"))
    fail("{}: holds no config.json, expected a Hugging Face model's directory", path);
  const Config config = directory.config("config.json");
  const Mapping& mapping = find_mapping(config);
  const ModelConfig model = read_model_config(mapping, config);

  Checkpoint out;
  out.path = path;
  const auto set_text = [&](const char* key, std::string text) {
    out.meta.set(key, {MetaType::string, MetaType::u32, std::move(text)});
  };
  set_text("general.architecture", std::string(mapping.architecture));
  set_text("general.type", "model");
  set_text("general.name", directory_name(path));
  Converted converted{KeyWriter(out.meta, mapping.architecture), {}};
  write_common_keys(model, converted.keys);
  if (mapping.convert != nullptr) mapping.convert(model, converted);
  const std::string rope_type = model.rope.string({"rope_type"}).value_or("default");
  if (rope_type == "llama3") converted.vectors.emplace_back("rope_freqs.weight", llama3_rope_factors(model));
  if ((rope_type == "longrope" || rope_type == "su") && !mapping.has_long_rope)
    model.rope.refuse("rope_type",
                      fmt::format("another type in the architecture '{}'", mapping.architecture));

  // Where neither the class nor config.json says, the weights do.
  const auto tie = model.config.boolean({"tie_word_embeddings"});
  Converter converter{mapping, model, mapping.is_always_tied || tie.value_or(false), out};
  for (auto& [name, values] : converted.vectors) {
    Bytes bytes(values.size() * sizeof(float));
    info(DType::f32).encode(values.data(), bytes.data(), values.size());
    converter.add(name, DType::f32, {static_cast<int64_t>(values.size())}, std::move(bytes));
  }
  const SafeTensors weights = read_weights(directory, path);
  for (const SafeTensor& tensor : weights.tensors) converter.add_tensor(tensor);
  std::unordered_set<std::string_view> names;
  for (const Tensor& t : out.tensors)
    if (!names.insert(t.name).second) fail("{}: two tensors are {}", path, t.name);
  if (!converter.tied && tie && !names.contains("output.weight"))
    fail("{}: tensor lm_head.weight is missing, expected as tie_word_embeddings is false", path);
  out.meta.set("general.file_type", {MetaType::u32, MetaType::u32, file_type(out)});

  if (!directory.has("tokenizer.json"))
    fail(
        "{}: holds no tokenizer.json, expected one; AutoTokenizer.from_pretrained(…).save_pretrained(…) "
        "writes it",
        path);
  read_tokenizer_json(directory.path("tokenizer.json"), directory.json("tokenizer.json"), out.meta);
  match_vocabulary(path, out);
  const Config tokenizer = directory.config("tokenizer_config.json");
  const Config generation = directory.config("generation_config.json");
  write_special_tokens(tokenizer, model.config, generation, out.meta);
  write_chat_template(tokenizer, directory.text("chat_template.jinja"),
                      directory.config("chat_template.json"), out.meta);
  write_sampling(generation, out.meta);

  for (const char* name : kTextFiles) {
    if (!directory.has(name)) continue;
    const auto file = directory.map(name);
    out.files.push_back(file->bytes());
    out.storage.push_back(file);
  }
  for (const auto& file : weights.files) {
    out.files.push_back(file->bytes());
    out.storage.push_back(file);
  }
  return out;
}

}  // namespace forge
