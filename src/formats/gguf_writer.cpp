#include "core/output_file.h"
#include "formats/gguf_encoding.h"

namespace forge {
namespace {

uint64_t bytes_of(const Checkpoint& checkpoint, const Tensor& tensor) {
  const uint64_t bytes =
      static_cast<uint64_t>(tensor.rows()) * row_bytes(tensor.type, static_cast<size_t>(tensor.cols()));
  if (tensor.shape.empty() || tensor.shape.size() > 4 || tensor.data.size() != bytes) {
    fail("{}: tensor {} has {} bytes in {} dimensions, expected {} bytes in 1 to 4", checkpoint.path,
         quote(tensor.name), tensor.data.size(), tensor.shape.size(), bytes);
  }
  return bytes;
}

std::vector<uint8_t> encode_header(const Checkpoint& checkpoint) {
  std::vector<uint8_t> out(kGgufMagic.begin(), kGgufMagic.end());
  append_number(out, checkpoint.gguf_version);
  append_number(out, static_cast<uint64_t>(checkpoint.tensors.size()));
  append_number(out, static_cast<uint64_t>(checkpoint.meta.entries().size()));
  append_metadata(out, checkpoint.meta);
  uint64_t offset = 0;
  for (const Tensor& tensor : checkpoint.tensors) {
    append_string(out, tensor.name);
    append_number(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append_number(out, tensor.shape[i]);
    append_number(out, static_cast<uint32_t>(tensor.type));
    append_number(out, offset);
    offset = align_up(offset + bytes_of(checkpoint, tensor), checkpoint.alignment);
  }
  return out;
}

}  // namespace

void write_gguf(const Checkpoint& checkpoint, const std::string& path) {
  if (checkpoint.gguf_version != 2 && checkpoint.gguf_version != 3) {
    fail("{}: GGUF version {}, expected 2 or 3", path, checkpoint.gguf_version);
  }
  if (data_alignment(path, checkpoint.meta) != checkpoint.alignment) {
    fail("{}: alignment {}, expected that of key {}, or {} without it", path, checkpoint.alignment,
         quote(kAlignmentKey), kDefaultAlignment);
  }
  const std::vector<uint8_t> header = encode_header(checkpoint);
  OutputFile file(path);
  const auto pad = [&] { file.write_zeros(align_up(file.size(), checkpoint.alignment) - file.size()); };
  file.write(header);
  if (!checkpoint.tensors.empty()) pad();  // a file with a vocabulary alone ends with its header
  for (const Tensor& tensor : checkpoint.tensors) {
    file.write(tensor.data);
    pad();
  }
  file.commit(0644);
}

}  // namespace forge
