#include <unistd.h>

#include <algorithm>
#include <unordered_set>

#include "core/mapped_file.h"
#include "formats/gguf_encoding.h"

namespace forge {
namespace {

constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr size_t kMaxTensorName = 64;
constexpr uint32_t kMaxDims = 4;

struct Shard {
  std::shared_ptr<const MappedFile> file;
  uint32_t version = 0;
  uint32_t alignment = kDefaultAlignment;
  Metadata meta;
  std::vector<Tensor> tensors;
};

void check_magic(GgufCursor& cursor, std::span<const uint8_t> bytes) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()),
                               std::min<size_t>(bytes.size(), 16));
  if (start.starts_with(kGgufMagic)) {
    cursor.number<uint32_t>();
    return;
  }
  for (const std::string_view old : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (start.starts_with(old)) cursor.refuse("a ggml file from before GGUF", "GGUF; convert the model anew");
  }
  if (start.starts_with("version https://"))
    cursor.refuse("a Git LFS pointer", "GGUF; fetch it with `git lfs pull`");
  cursor.refuse(fmt::format("bad magic {}", quote(start.substr(0, 4))), quote(kGgufMagic));
}

uint32_t read_version(GgufCursor& cursor) {
  const uint32_t version = cursor.number<uint32_t>();
  if (version != 0 && (version & 0xffff) == 0) {
    cursor.refuse(fmt::format("version {:#010x}: a big-endian file", version), "little-endian");
  }
  if (version != 2 && version != 3) cursor.refuse(fmt::format("GGUF version {}", version), "2 or 3");
  return version;
}

// A tensor as the header lists it; the offset counts from the data section.
struct Listed {
  Tensor tensor;
  uint64_t offset = 0, bytes = 0;
};

DType read_dtype(GgufCursor& cursor) {
  const uint32_t id = cursor.number<uint32_t>();
  const auto type = dtype_from_id(id);
  if (type) return *type;
  std::string known;
  for (const DTypeInfo& t : all_dtypes()) known += (known.empty() ? "" : ", ") + std::string(t.name);
  cursor.refuse(fmt::format("unsupported type {} ({})", ggml_type_name(id), id), "one of " + known);
}

Listed read_listed(GgufCursor& cursor, size_t index, uint32_t alignment) {
  Listed out;
  Tensor& tensor = out.tensor;
  cursor.enter(fmt::format("the name of tensor {}", index));
  tensor.name = cursor.name(kMaxTensorName);
  cursor.enter("tensor " + quote(tensor.name));
  const uint32_t n_dims = cursor.number<uint32_t>();
  if (n_dims == 0 || n_dims > kMaxDims) cursor.refuse(fmt::format("{} dimensions", n_dims), "1 to 4");
  int64_t weights = 1;
  for (uint32_t i = 0; i < n_dims; ++i) {
    const uint64_t dim = cursor.number<uint64_t>();
    if (dim == 0 || dim > static_cast<uint64_t>(INT64_MAX) ||
        __builtin_mul_overflow(weights, static_cast<int64_t>(dim), &weights)) {
      cursor.refuse(fmt::format("dimension {} of size {}", i, dim), "at least 1 and fewer than 2^63 weights");
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
  }
  tensor.type = read_dtype(cursor);
  const DTypeInfo& type = info(tensor.type);
  if (tensor.cols() % type.block_weights != 0) {
    cursor.refuse(fmt::format("rows of {} weights of type {}", tensor.cols(), type.name),
                  fmt::format("a multiple of {}", type.block_weights));
  }
  if (__builtin_mul_overflow(static_cast<uint64_t>(weights) / type.block_weights, uint64_t{type.block_bytes},
                             &out.bytes)) {
    cursor.refuse(fmt::format("{} weights", weights), "what a file can hold");
  }
  out.offset = cursor.number<uint64_t>();
  if (out.offset % alignment != 0) {
    cursor.refuse(fmt::format("data offset {}", out.offset), fmt::format("a multiple of {}", alignment));
  }
  return out;
}

// Gives each tensor its bytes; refuses tensors that leave the file or share bytes.
void place_tensors(const std::string& path, std::vector<Listed>& listed, std::span<const uint8_t> bytes,
                   uint64_t data_start) {
  const uint64_t data_bytes = bytes.size() > data_start ? bytes.size() - data_start : 0;
  for (Listed& l : listed) {
    if (l.offset > data_bytes || l.bytes > data_bytes - l.offset) {
      fail(
          "{}: the file ends inside tensor {}, {} bytes at offset {}, expected a file of at least {} bytes, "
          "it has {}",
          path, quote(l.tensor.name), l.bytes, fmt::format("{}+{}", data_start, l.offset),
          l.offset > UINT64_MAX - data_start - l.bytes ? "2^64"
                                                       : std::to_string(data_start + l.offset + l.bytes),
          bytes.size());
    }
    l.tensor.data = bytes.subspan(data_start + l.offset, l.bytes);
  }
  std::vector<const Listed*> order;
  order.reserve(listed.size());
  for (const Listed& l : listed) order.push_back(&l);
  std::ranges::sort(order, {}, [](const Listed* l) { return l->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const Listed &before = *order[i - 1], &after = *order[i];
    if (before.offset + before.bytes > after.offset) {
      fail("{}: tensors {} and {} overlap, at offset {}, expected the second at {} or later", path,
           quote(before.tensor.name), quote(after.tensor.name), data_start + after.offset,
           data_start + before.offset + before.bytes);
    }
  }
}

Shard read_shard(const std::string& path) {
  Shard shard;
  shard.file = std::make_shared<const MappedFile>(path);
  const auto bytes = shard.file->bytes();
  GgufCursor cursor(path, bytes);
  check_magic(cursor, bytes);
  shard.version = read_version(cursor);
  cursor.enter("the header's number of tensors");
  const size_t n_tensors = cursor.count(kMinTensorBytes);
  cursor.enter("the header's number of metadata entries");
  const size_t n_metadata = cursor.count(kMinEntryBytes);
  shard.meta = read_metadata(cursor, n_metadata);
  shard.alignment = data_alignment(path, shard.meta);

  std::vector<Listed> listed;
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < n_tensors; ++i) {
    listed.push_back(read_listed(cursor, i, shard.alignment));
    if (!names.insert(listed.back().tensor.name).second)
      cursor.refuse("duplicate tensor name", "each name once");
  }
  place_tensors(path, listed, bytes, align_up(cursor.offset(), shard.alignment));
  for (Listed& l : listed) shard.tensors.push_back(std::move(l.tensor));
  return shard;
}

constexpr std::string_view kSplitCount = "split.count", kSplitNo = "split.no",
                           kSplitTensors = "split.tensors.count";

// "PREFIX-00002-of-00003.gguf"
struct SplitName {
  std::string prefix;
  int64_t number, count;  // number counts from 1

  std::string shard(int64_t i) const { return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, i, count); }
};

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  if (path.size() <= kForm.size()) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kForm.size());
  int64_t numbers[2] = {0, 0};
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] != '0') {
      if (tail[i] != kForm[i]) return std::nullopt;
    } else if (tail[i] < '0' || tail[i] > '9') {
      return std::nullopt;
    } else {
      int64_t& number = numbers[i < kForm.size() / 2 ? 0 : 1];
      number = number * 10 + (tail[i] - '0');
    }
  }
  return SplitName{std::string(path.substr(0, path.size() - kForm.size())), numbers[0], numbers[1]};
}

int64_t split_value(const std::string& path, const Metadata& meta, std::string_view key) {
  const MetaValue* value = meta.find(key);
  const int64_t* number = value == nullptr ? nullptr : std::get_if<int64_t>(&value->value);
  if (number == nullptr)
    fail("{}: no number in key {}, expected one in each shard of a model", path, quote(key));
  return *number;
}

void check_split(const std::string& path, const Metadata& meta, std::string_view key, int64_t expected) {
  const int64_t value = split_value(path, meta, key);
  if (value != expected) fail("{}: value {}, in key {}, expected {}", path, value, quote(key), expected);
}

// What the first shard says of the model without what it says of the shards.
Metadata without_split_keys(const Metadata& meta) {
  Metadata out;
  for (const auto& [key, value] : meta.entries()) {
    if (key != kSplitCount && key != kSplitNo && key != kSplitTensors) out.set(key, value);
  }
  return out;
}

void add_shard(Checkpoint& checkpoint, Shard shard) {
  checkpoint.files.push_back(shard.file->bytes());
  checkpoint.storage.push_back(std::move(shard.file));
  std::ranges::move(shard.tensors, std::back_inserter(checkpoint.tensors));
}

}  // namespace

std::vector<std::string> model_files(const std::string& path) {
  const auto name = parse_split_name(path);
  if (!name || name->number != 1 || name->count < 1) return {path};
  std::vector<std::string> files;
  for (int64_t i = 1; i <= name->count; ++i) files.push_back(name->shard(i));
  return files;
}

Checkpoint read_gguf(const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.path = path;
  Shard first = read_shard(path);
  checkpoint.gguf_version = first.version;
  checkpoint.alignment = first.alignment;
  checkpoint.meta = first.meta;

  const auto name = parse_split_name(path);
  const bool is_split = name && name->count > 1;
  if (!is_split) {
    const int64_t count =
        first.meta.find(kSplitCount) == nullptr ? 1 : split_value(path, first.meta, kSplitCount);
    if (count != 1) {
      fail("{}: a shard of {}, in key {}, expected a name that ends in -00001-of-{:05}.gguf", path, count,
           quote(kSplitCount), count);
    }
    add_shard(checkpoint, std::move(first));
    return checkpoint;
  }

  if (name->number != 1) {
    fail("{}: shard {} of a model, expected the first, {}", path, name->number, quote(name->shard(1)));
  }
  checkpoint.meta = without_split_keys(first.meta);
  const int64_t n_tensors = split_value(path, first.meta, kSplitTensors);
  std::vector<Shard> shards;
  shards.push_back(std::move(first));
  for (int64_t i = 2; i <= name->count; ++i) {
    const std::string shard_path = name->shard(i);
    if (::access(shard_path.c_str(), F_OK) != 0) {
      fail("{}: missing, shard {} of {}, expected beside {}", shard_path, i, name->count, quote(path));
    }
    shards.push_back(read_shard(shard_path));
  }
  std::unordered_set<std::string> names;
  for (int64_t i = 1; i <= name->count; ++i) {
    const std::string shard_path = name->shard(i);
    Shard& shard = shards[static_cast<size_t>(i - 1)];
    check_split(shard_path, shard.meta, kSplitNo, i - 1);
    check_split(shard_path, shard.meta, kSplitCount, name->count);
    check_split(shard_path, shard.meta, kSplitTensors, n_tensors);
    for (const Tensor& tensor : shard.tensors) {
      if (!names.insert(tensor.name).second) {
        fail("{}: duplicate tensor name {}, expected each once in all shards", shard_path,
             quote(tensor.name));
      }
    }
    add_shard(checkpoint, std::move(shard));
  }
  if (static_cast<int64_t>(checkpoint.tensors.size()) != n_tensors) {
    fail("{}: {} tensors in all {} shards, expected {} as key {} says", path, checkpoint.tensors.size(),
         name->count, n_tensors, quote(kSplitTensors));
  }
  return checkpoint;
}

}  // namespace forge
