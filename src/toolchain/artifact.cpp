#include "toolchain/artifact.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/output_file.h"

namespace forge {
namespace {

constexpr uint64_t round_up(uint64_t n, uint64_t alignment) {
  return (n + alignment - 1) / alignment * alignment;
}

std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

template <class T>
std::span<const uint8_t> object_bytes(const T& object) {
  return {reinterpret_cast<const uint8_t*>(&object), sizeof(T)};
}

std::string manifest_text(const PayloadInput& payload) {
  std::string text;
  for (const auto& [key, value] : payload.manifest) {
    if (key.empty() || key.find_first_of(" =\n\\") != std::string::npos)
      fail("manifest key '{}' is not a word", key);
    text += key;
    text += " = ";
    for (const char c : value) {
      if (c == '\\') {
        text += "\\\\";
      } else if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '\n';
  }
  return text;
}

// `hashes` is empty while they are not known: the table's size does not depend on them.
std::string tensor_table(const PayloadInput& payload, std::span<const uint64_t> hashes) {
  std::string text;
  for (size_t i = 0; i < payload.tensors.size(); ++i) {
    const PackedTensor& t = payload.tensors[i];
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:016x}\n", t.name, t.type, t.rows, t.cols, t.layout,
                        t.offset, t.bytes, hashes.empty() ? 0 : hashes[i]);
  }
  return text;
}

void check_tensors(const PayloadInput& payload) {
  uint64_t end = 0;
  for (const PackedTensor& t : payload.tensors) {
    for (const std::string* word : {&t.name, &t.type, &t.layout}) {
      const bool printable =
          std::all_of(word->begin(), word->end(), [](char c) { return c > ' ' && c != 0x7f; });
      if (word->empty() || !printable)
        fail("packed tensor '{}': its name, type or layout is not a word", t.name);
    }
    if (t.offset % rt::kSectionAlignment != 0 || t.offset < end || t.bytes > payload.weights_bytes ||
        t.offset > payload.weights_bytes - t.bytes) {
      fail("packed tensor '{}' at {} with {} bytes is misplaced in {} bytes of weights", t.name, t.offset,
           t.bytes, payload.weights_bytes);
    }
    end = t.offset + t.bytes;
  }
}

// Everything of a payload but the weights' bytes.
struct Layout {
  static constexpr size_t kTensorTable = 4;
  std::vector<std::string> content;  // of all sections but the last, the weights
  std::vector<rt::SectionEntry> entries;
  uint64_t plan_hash = 0;
  uint64_t payload_bytes = 0;

  void drop_weights() {
    entries.back().bytes = 0;
    payload_bytes = entries.back().offset;
  }

  std::vector<uint8_t> head() const {
    rt::PayloadHeader header = {};
    std::memcpy(header.magic, rt::kPayloadMagic, sizeof(header.magic));
    header.version = rt::kPayloadVersion;
    header.n_sections = static_cast<uint32_t>(entries.size());
    header.payload_bytes = payload_bytes;
    header.plan_hash = plan_hash;
    header.table_hash = rt::payload_table_hash(header, entries);
    std::vector<uint8_t> bytes(sizeof(header) + entries.size() * sizeof(rt::SectionEntry));
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), entries.data(), bytes.size() - sizeof(header));
    return bytes;
  }
};

Layout lay_out(const PayloadInput& payload) {
  check_tensors(payload);
  Layout layout;
  layout.plan_hash = payload.plan_hash;
  std::vector<std::string_view> names;
  const auto add = [&](std::string_view name, std::string content) {
    names.push_back(name);
    layout.content.push_back(std::move(content));
  };
  add("manifest", manifest_text(payload));
  add("tokenizer", {payload.tokenizer.begin(), payload.tokenizer.end()});
  add("template", payload.chat_template);
  add("source.kv", {payload.source_kv.begin(), payload.source_kv.end()});
  add("tensors", tensor_table(payload, {}));
  if (!payload.answers.empty()) add("answers", {payload.answers.begin(), payload.answers.end()});
  if (!payload.prompt.empty()) add("prompt", {payload.prompt.begin(), payload.prompt.end()});
  names.emplace_back("weights");
  layout.entries.resize(names.size());
  uint64_t offset = sizeof(rt::PayloadHeader) + names.size() * sizeof(rt::SectionEntry);
  for (size_t i = 0; i < names.size(); ++i) {
    rt::SectionEntry& entry = layout.entries[i];
    names[i].copy(entry.name, sizeof(entry.name));
    // Tensors have hashes of their own in the tensor table, the prompt's KV and the answers' grammar in their headers.
    const bool is_large = names[i] == "weights" || names[i] == "prompt";
    entry.offset = round_up(offset, is_large ? rt::kPageAlignment : rt::kSectionAlignment);
    entry.bytes = names[i] == "weights" ? payload.weights_bytes : layout.content[i].size();
    entry.hash = is_large || names[i] == "answers" ? 0 : rt::hash64(as_bytes(layout.content[i]));
    offset = entry.offset + entry.bytes;
  }
  layout.payload_bytes = offset;
  return layout;
}

// Packs each tensor, hands it to `write(offset in the weights, bytes)`, and fills in the tensor table.
template <class Write>
void write_weights(Layout& layout, const PayloadInput& payload, const Progress& progress,
                   const Write& write) {
  std::vector<uint64_t> hashes;
  std::vector<uint8_t> packed;
  uint64_t done = 0;
  for (const PackedTensor& tensor : payload.tensors) {
    packed.assign(tensor.bytes, 0);
    tensor.pack(packed);
    hashes.push_back(rt::hash64(packed));
    write(tensor.offset, packed);
    done += tensor.bytes;
    if (progress) progress(done, payload.weights_bytes);
  }
  std::string& table = layout.content[Layout::kTensorTable];
  table = tensor_table(payload, hashes);
  layout.entries[Layout::kTensorTable].hash = rt::hash64(as_bytes(table));
}

void write_payload_to(OutputFile& file, const PayloadInput& payload, const Progress& progress) {
  const uint64_t base = file.size();
  Layout layout = lay_out(payload);
  file.write(layout.head());
  for (size_t i = 0; i < layout.content.size(); ++i) {
    file.write_zeros(base + layout.entries[i].offset - file.size());
    file.write(as_bytes(layout.content[i]));
  }
  const uint64_t weights = base + layout.entries.back().offset;
  write_weights(layout, payload, progress, [&](uint64_t offset, std::span<const uint8_t> bytes) {
    file.write_zeros(weights + offset - file.size());
    file.write(bytes);
  });
  file.write_zeros(base + layout.payload_bytes - file.size());
  file.overwrite(base, layout.head());
  file.overwrite(base + layout.entries[Layout::kTensorTable].offset,
                 as_bytes(layout.content[Layout::kTensorTable]));
}

// Reads the file again and checks all of it, so that a disk that lies is found now and not when the program
// runs.
void verify_written(const std::string& path, const OutputFile& file, uint64_t offset, uint64_t bytes) {
  const MappedFile map(file.temporary_path());
  if (map.bytes().size() < offset + bytes) {
    fail("{}: {} bytes are there, {} were written", path, map.bytes().size(), offset + bytes);
  }
  const auto opened = rt::open_payload(map.bytes().subspan(offset, bytes));
  if (!opened) fail("{}: reading it back: {}", path, opened.error().message);
  const auto verified = rt::verify_weights(*opened);
  if (!verified) fail("{}: reading it back: {}", path, verified.error().message);
}

}  // namespace

void write_executable(const std::string& path, std::span<const uint8_t> exe_bytes,
                      const PayloadInput& payload, const Progress& progress) {
  OutputFile file(path);
  file.write(exe_bytes);
  file.write_zeros(round_up(file.size(), rt::kPageAlignment) - file.size());
  rt::PayloadTrailer trailer = {};
  std::memcpy(trailer.magic, rt::kTrailerMagic, sizeof(trailer.magic));
  trailer.payload_offset = file.size();
  write_payload_to(file, payload, progress);
  trailer.payload_bytes = file.size() - trailer.payload_offset;
  file.write(object_bytes(trailer));
  verify_written(path, file, trailer.payload_offset, trailer.payload_bytes);
  file.commit(0755);
}

void write_payload(const std::string& path, const PayloadInput& payload, const Progress& progress) {
  OutputFile file(path);
  write_payload_to(file, payload, progress);
  verify_written(path, file, 0, file.size());
  file.commit(0644);
}

std::vector<uint8_t> build_payload(const PayloadInput& payload, bool with_weights) {
  Layout layout = lay_out(payload);
  if (!with_weights) layout.drop_weights();
  std::vector<uint8_t> bytes(layout.payload_bytes);
  const auto put = [&](uint64_t offset, std::span<const uint8_t> part) {
    std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
  };
  if (with_weights) {
    const uint64_t weights = layout.entries.back().offset;
    write_weights(layout, payload, nullptr,
                  [&](uint64_t offset, std::span<const uint8_t> part) { put(weights + offset, part); });
  }
  put(0, layout.head());
  for (size_t i = 0; i < layout.content.size(); ++i)
    put(layout.entries[i].offset, as_bytes(layout.content[i]));
  return bytes;
}

}  // namespace forge
