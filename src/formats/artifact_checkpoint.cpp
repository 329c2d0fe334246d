#include "formats/artifact_checkpoint.h"

#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <unordered_map>

#include "core/error.h"
#include "core/mapped_file.h"
#include "formats/gguf_encoding.h"
#include "quant/packed.h"
#include "runtime/host/mapping.h"

namespace forge {
namespace {

// Metadata of our own in source.kv: the source file's tensor names in their order.
constexpr std::string_view kTensorOrderKey = "forge.source.tensors";
constexpr std::string_view kGgufVersionKey = "forge.source.gguf_version";

// "NAME[first]" taken apart; first is 0 without one.
std::pair<std::string_view, uint64_t> split_part_name(std::string_view name) {
  const size_t bracket = name.rfind('[');
  uint64_t first = 0;
  if (bracket == std::string_view::npos) return {name, 0};
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + bracket + 1, end, first);
  if (parsed.ec != std::errc{} || parsed.ptr + 1 != end || *parsed.ptr != ']') return {name, 0};
  return {name.substr(0, bracket), first};
}

// Unpacks a part that begins at row (of a vector: element) `first` behind what t holds already.
void append_part(const std::string& path, const rt::Payload& payload, uint64_t first,
                 const rt::TensorEntry& e, Tensor& t, std::vector<uint8_t>& data) {
  const auto type = dtype_from_name(e.type);
  const Layout layout = e.layout == layout_name(Layout::row) ? Layout::row : Layout::tiles16;
  if (!type || e.layout != layout_name(layout) || e.rows == 0 || e.cols == 0 || e.rows > 1u << 24 ||
      e.cols > 1u << 24 || e.cols % info(*type).block_weights != 0 ||
      packed_bytes(*type, layout, e.rows, e.cols) != e.bytes)
    fail("{}: tensor {}: type {}, layout {} and {} x {} don't agree with {} bytes", path, e.name, e.type,
         e.layout, e.rows, e.cols, e.bytes);
  std::vector<int64_t> shape = {static_cast<int64_t>(e.cols)};
  if (layout == Layout::tiles16) shape.insert(shape.begin(), static_cast<int64_t>(e.rows));
  if (t.shape.empty()) {
    t.type = *type;
    t.shape = shape;
    t.shape[0] = 0;
  }
  const bool fits = t.type == *type && t.shape.size() == shape.size() &&
                    (shape.size() == 1 || t.shape.back() == shape.back());
  if (!fits || first != static_cast<uint64_t>(t.shape[0]))
    fail("{}: tensor {} does not go on where the part before it ends", path, e.name);
  t.shape[0] += shape[0];
  const size_t at = data.size();
  data.resize(at + e.rows * row_bytes(*type, e.cols));
  unpack(*type, layout, e.rows, e.cols, payload.weights.subspan(e.offset, e.bytes),
         std::span(data).subspan(at));
}

}  // namespace

std::vector<uint8_t> encode_source_metadata(const Checkpoint& checkpoint) {
  Metadata meta;
  for (const auto& [key, value] : checkpoint.meta.entries())
    if (!key.starts_with("split.")) meta.set(key, value);
  MetaValue order{MetaType::array, MetaType::string, std::vector<std::string>{}};
  for (const Tensor& t : checkpoint.tensors)
    std::get<std::vector<std::string>>(order.value).push_back(t.name);
  meta.set(std::string(kTensorOrderKey), std::move(order));
  meta.set(std::string(kGgufVersionKey),
           {MetaType::u32, MetaType::u32, static_cast<int64_t>(checkpoint.gguf_version)});
  return encode_metadata(meta);
}

bool is_artifact(const std::string& path) {
  if (std::error_code error; std::filesystem::is_directory(path, error)) return false;
  const MappedFile map(path);
  const std::span<const uint8_t> bytes = map.bytes();
  const auto begins_with = [&](std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  return begins_with("\x7f\x45LF") || begins_with({rt::kPayloadMagic, sizeof rt::kPayloadMagic});
}

std::vector<std::string> artifact_files(const std::string& path) {
  const auto carried = rt::open_carried_payload(path);
  if (!carried) fail("{}: {}", path, carried.error().message);
  return carried->path == path ? std::vector{path} : std::vector{path, carried->path};
}

Checkpoint read_artifact(const std::string& path) {
  const auto carried = rt::open_carried_payload(path);
  if (!carried) fail("{}: {}", path, carried.error().message);
  const rt::Payload* const payload = &carried->payload;
  const auto table = rt::parse_tensor_table(*payload);
  if (!table) fail("{}: {}", path, table.error().message);
  // All of it is read, and what is made of it carries hashes of its own: damage would then look whole.
  if (const auto whole = rt::verify_weights(*payload); !whole)
    fail("{}: {}", carried->path, whole.error().message);

  Checkpoint c;
  c.path = path;
  std::vector<std::string> order;
  const Metadata stored = decode_metadata(payload->source_kv);
  for (const auto& [key, value] : stored.entries()) {
    if (key == kTensorOrderKey)
      order = *stored.strings(key);
    else if (key == kGgufVersionKey)
      c.gguf_version = static_cast<uint32_t>(*stored.integer(key));
    else
      c.meta.set(key, value);
  }
  c.alignment = data_alignment(path, c.meta);
  if (const auto sha = payload->string("source.sha256")) c.source_sha256 = std::string(*sha);

  // A tensor that several weights share was packed in parts, "NAME[first row]".
  std::unordered_map<std::string_view, std::map<uint64_t, const rt::TensorEntry*>> entries;
  for (const rt::TensorEntry& e : *table) {
    const auto [name, first] = split_part_name(e.name);
    entries[name][first] = &e;
  }
  for (const std::string& name : order) {
    const auto it = entries.find(name);
    if (it == entries.end()) fail("{}: tensor {} is not in the payload", path, name);
    const auto unpacked = std::make_shared<std::vector<uint8_t>>();
    Tensor t;
    t.name = name;
    for (const auto& [first, entry] : it->second) append_part(path, *payload, first, *entry, t, *unpacked);
    t.data = *unpacked;
    c.tensors.push_back(std::move(t));
    c.storage.push_back(unpacked);
  }
  return c;
}

}  // namespace forge
