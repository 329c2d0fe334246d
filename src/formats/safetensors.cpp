#include "formats/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <unordered_map>

#include "core/error.h"
#include "formats/gguf_encoding.h"
#include "formats/json.h"

namespace forge {
namespace {

// The header's largest size, by the format's description; a model of ten thousand tensors has one of 1 MB.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxDims = 8;
constexpr size_t kMaxName = 512;

struct Element {
  std::string_view name;
  uint64_t bytes;
  std::optional<DType> type;
};
constexpr Element kElements[] = {
    {"F32", 4, DType::f32}, {"F16", 2, DType::f16}, {"BF16", 2, DType::bf16}, {"F64", 8, {}},
    {"I64", 8, {}},         {"I32", 4, {}},         {"I16", 2, {}},           {"I8", 1, {}},
    {"U64", 8, {}},         {"U32", 4, {}},         {"U16", 2, {}},           {"U8", 1, {}},
    {"BOOL", 1, {}},        {"F8_E4M3", 1, {}},     {"F8_E5M2", 1, {}},       {"F8_E8M0", 1, {}},
    {"F8_E4M3FNUZ", 1, {}}, {"F8_E5M2FNUZ", 1, {}}, {"C64", 8, {}},
};

// An entry of the header; offsets count from the data's start.
struct Listed {
  SafeTensor tensor;
  uint64_t begin = 0, end = 0;
};

class HeaderReader {
 public:
  explicit HeaderReader(const std::string& path, std::span<const uint8_t> file) : path_(path), file_(file) {}

  std::vector<Listed> read() {
    if (std::string_view(reinterpret_cast<const char*>(file_.data()), file_.size())
            .starts_with("version https://"))
      fail("{}: a Git LFS pointer, expected safetensors; fetch it with `git lfs pull`", path_);
    uint64_t header = 0;
    if (file_.size() < sizeof header)
      fail("{}: {} bytes, expected safetensors, at least {}", path_, file_.size(), sizeof header);
    std::memcpy(&header, file_.data(), sizeof header);
    const uint64_t limit = std::min<uint64_t>(kMaxHeader, file_.size() - sizeof header);
    if (header > limit) fail("{}: a header of {} bytes, expected {} at most", path_, header, limit);
    data_start_ = sizeof header + header;

    const Json json = parse_json(path_, file_.subspan(sizeof header, header));
    if (!json.is_object()) fail("{}: the header is no object, expected the tensors by their names", path_);
    std::vector<Listed> listed;
    for (const auto& [name, entry] : json.items())
      if (name != "__metadata__") listed.push_back(read_entry(name, entry));
    check_data(listed);
    for (Listed& l : listed) l.tensor.data = file_.subspan(data_start_ + l.begin, l.end - l.begin);
    return listed;
  }

 private:
  [[noreturn]] void refuse(std::string_view name, std::string_view wrong, std::string_view expected) const {
    fail("{}: tensor {}: {}, expected {}", path_, quote(name), wrong, expected);
  }

  const Json& field(std::string_view name, const Json& entry, const char* key) const {
    const auto at = entry.find(key);
    if (at == entry.end()) refuse(name, fmt::format("no {}", key), "dtype, shape and data_offsets");
    return *at;
  }

  // The numbers of an array, each below 2^63.
  std::vector<int64_t> numbers(std::string_view name, const Json& entry, const char* key, size_t max) const {
    const Json& array = field(name, entry, key);
    std::vector<int64_t> out;
    if (!array.is_array() || array.size() > max)
      refuse(name, fmt::format("{} is no array of {} numbers at most", key, max), "one");
    for (const Json& n : array) {
      if (!n.is_number_unsigned() || n.get<uint64_t>() > INT64_MAX)
        refuse(name, fmt::format("{} holds what is no whole number from 0 to 2^63", key), "such numbers");
      out.push_back(n.get<int64_t>());
    }
    return out;
  }

  Listed read_entry(const std::string& name, const Json& entry) const {
    if (name.empty() || name.size() > kMaxName)
      fail("{}: a tensor name of {} bytes, expected 1 to {}", path_, name.size(), kMaxName);
    if (!entry.is_object()) refuse(name, "no object", "dtype, shape and data_offsets");
    Listed out;
    out.tensor.name = name;
    const Json& dtype = field(name, entry, "dtype");
    const auto* element = std::ranges::find_if(
        kElements, [&](const Element& e) { return dtype.is_string() && dtype == e.name; });
    if (element == std::end(kElements))
      refuse(name,
             dtype.is_string() ? "unknown dtype " + quote(dtype.get<std::string>()) : "dtype is no string",
             "F32, F16 or BF16");
    out.tensor.dtype = element->name;
    out.tensor.type = element->type;
    out.tensor.shape = numbers(name, entry, "shape", kMaxDims);
    uint64_t bytes = element->bytes;
    for (const int64_t n : out.tensor.shape)
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(n), &bytes))
        refuse(name, fmt::format("shape [{}]", fmt::join(out.tensor.shape, ", ")), "what a file can hold");
    const std::vector<int64_t> offsets = numbers(name, entry, "data_offsets", 2);
    if (offsets.size() != 2 || offsets[0] > offsets[1])
      refuse(name, fmt::format("data_offsets [{}]", fmt::join(offsets, ", ")), "a begin and an end");
    out.begin = static_cast<uint64_t>(offsets[0]);
    out.end = static_cast<uint64_t>(offsets[1]);
    if (out.end - out.begin != bytes)
      refuse(name,
             fmt::format("{} bytes at data_offsets [{}]", out.end - out.begin, fmt::join(offsets, ", ")),
             fmt::format("{} for {} of [{}]", bytes, element->name, fmt::join(out.tensor.shape, ", ")));
    return out;
  }

  // Sorts the entries by where they lie; refuses what leaves the file, what overlaps and what nobody names.
  void check_data(std::vector<Listed>& listed) const {
    std::ranges::sort(listed, {}, [](const Listed& l) { return std::pair(l.begin, l.end); });
    uint64_t at = 0;
    for (const Listed& l : listed) {
      if (l.begin != at)
        refuse(l.tensor.name, fmt::format("its data begins at {}", l.begin),
               fmt::format("{}, where the tensor before it ends: no gap and no overlap", at));
      at = l.end;
    }
    const uint64_t data = file_.size() - data_start_;
    if (at != data)
      fail("{}: {} bytes of data, expected {}{}", path_, data, at,
           at > data ? "; the file is cut short" : "");
  }

  const std::string& path_;
  std::span<const uint8_t> file_;
  uint64_t data_start_ = 0;
};

// An index's tensors by the file that holds them; the files lie beside the index.
std::map<std::string, std::vector<std::string>> read_weight_map(const std::string& path) {
  const MappedFile file(path);
  const Json json = parse_json(path, file.bytes());
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object() || map->empty())
    fail("{}: no weight_map, expected the file of each tensor by its name", path);
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& [tensor, name] : map->items()) {
    const std::string file_name = name.is_string() ? name.get<std::string>() : "";
    // Nothing outside of the checkpoint's own folder is opened.
    if (!file_name.ends_with(".safetensors") ||
        file_name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
      fail("{}: tensor {} is in {}, expected the name of a safetensors file beside the index", path,
           quote(tensor), quote(file_name));
    out[file_name].push_back(tensor);
  }
  return out;
}

std::string beside(const std::string& path, const std::string& name) {
  return (std::filesystem::path(path).parent_path() / name).string();
}

}  // namespace

SafeTensors read_safetensors(const std::string& path) {
  SafeTensors out;
  const auto file = std::make_shared<const MappedFile>(path);
  for (Listed& listed : HeaderReader(path, file->bytes()).read())
    out.tensors.push_back(std::move(listed.tensor));
  out.files.push_back(file);
  return out;
}

SafeTensors read_safetensors_index(const std::string& path) {
  SafeTensors out;
  std::unordered_map<std::string, std::string> owners;  // file by tensor
  for (const auto& [name, tensors] : read_weight_map(path)) {
    const std::string file = beside(path, name);
    std::error_code error;
    if (!std::filesystem::exists(file, error)) fail("{}: missing, expected beside {}", file, quote(path));
    SafeTensors shard = read_safetensors(file);
    for (SafeTensor& tensor : shard.tensors) {
      if (const auto [at, is_new] = owners.emplace(tensor.name, name); !is_new)
        fail("{}: tensor {} is in {} as well, expected each once", file, quote(tensor.name),
             quote(at->second));
      out.tensors.push_back(std::move(tensor));
    }
    out.files.push_back(shard.files.front());
    for (const std::string& tensor : tensors) {
      const auto at = owners.find(tensor);
      if (at == owners.end() || at->second != name)
        fail("{}: tensor {} is missing, which {} says is there", file, quote(tensor), quote(path));
    }
  }
  return out;
}

std::vector<std::string> safetensors_index_files(const std::string& path) {
  std::vector<std::string> files;
  for (const auto& [name, tensors] : read_weight_map(path)) files.push_back(beside(path, name));
  return files;
}

}  // namespace forge
