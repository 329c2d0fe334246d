#include "runtime/host/state_file.h"

#include <cstring>
#include <utility>

#include "runtime/core/payload.h"

namespace forge::rt {
namespace {

constexpr char kStateMagic[8] = {'F', 'O', 'R', 'G', 'E', 'S', 'T', 'A'};
constexpr uint32_t kStateVersion = 1;

struct StateHeader {
  char magic[8];
  uint32_t version;
  uint32_t n_past;
  uint64_t plan_hash;
  uint64_t model_hash;  // the payload's table hash, which covers the hashes of all tensors
  uint64_t kv_page_bytes;
  uint64_t n_tokens;
  uint64_t transcript_bytes;
  uint64_t hash;  // of everything, with this field zero
};
static_assert(sizeof(StateHeader) == 64);

uint64_t model_hash(const Program& program) {
  PayloadHeader header{};
  std::memcpy(&header, program.payload->bytes.data(), sizeof header);
  return header.table_hash;
}

template <class T>
std::span<const uint8_t> bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

uint64_t header_hash(StateHeader header) {
  header.hash = 0;
  return hash64({reinterpret_cast<const uint8_t*>(&header), sizeof header});
}

}  // namespace

Status save_state(const std::string& path, const Program& program, const KvPool& pool,
                  const Sequence& sequence, const SavedState& state) {
  StateHeader header{};
  std::memcpy(header.magic, kStateMagic, sizeof kStateMagic);
  header.version = kStateVersion;
  header.n_past = sequence.n_past;
  header.plan_hash = program.code->plan_hash;
  header.model_hash = model_hash(program);
  header.kv_page_bytes = program.code->kv_page_bytes;
  header.n_tokens = state.tokens.size();
  header.transcript_bytes = state.transcript.size();
  std::vector<std::span<const uint8_t>> parts = {bytes_of(std::span(state.tokens)),
                                                 as_bytes(state.transcript)};
  for (uint32_t i = 0; i < pages_for(sequence.n_past); ++i) parts.emplace_back(pool.page(sequence.pages[i]));
  uint64_t hash = header_hash(header);
  for (const auto part : parts) hash = hash64(part, hash);
  header.hash = hash;

  auto file = FileWriter::create(path);
  if (!file) return file.error();
  if (Status status = file->write({reinterpret_cast<const uint8_t*>(&header), sizeof header}); !status)
    return status;
  for (const auto part : parts) {
    if (Status status = file->write(part); !status) return status;
  }
  return file->commit();
}

Result<StateFile> open_state(const std::string& path, const Program& program, const Engine& engine) {
  auto file = Mapping::file(path);
  if (!file) return file.error();
  const std::span<const uint8_t> bytes = file->bytes();
  StateHeader header{};
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), kStateMagic, sizeof kStateMagic) != 0) {
    return Error{text(path, ": not a file of --save-state")};
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kStateVersion) {
    return Error{text(path, ": state version ", header.version, ", this program reads ", kStateVersion)};
  }
  if (header.plan_hash != program.code->plan_hash || header.model_hash != model_hash(program) ||
      header.kv_page_bytes != program.code->kv_page_bytes) {
    return Error{text(path, ": the state of another model, or of the same one compiled differently")};
  }
  const uint64_t page_bytes = header.kv_page_bytes;
  uint64_t rest = bytes.size() - sizeof header;
  const bool whole = header.n_tokens <= rest / sizeof(int32_t) &&
                     header.transcript_bytes <= (rest -= header.n_tokens * sizeof(int32_t)) &&
                     (rest -= header.transcript_bytes) % page_bytes == 0 &&
                     rest / page_bytes == pages_for(header.n_past) && header.n_past <= header.n_tokens &&
                     header.n_tokens <= uint64_t{header.n_past} + 1;
  if (!whole) return Error{text(path, ": truncated or altered (its length does not fit its header)")};
  SavedState state;
  std::span<const uint8_t> at = bytes.subspan(sizeof header);
  const auto take = [&at](uint64_t n) {
    const auto part = at.first(n);
    at = at.subspan(n);
    return part;
  };
  const auto tokens = take(header.n_tokens * sizeof(int32_t));
  const auto transcript = take(header.transcript_bytes);
  uint64_t hash = hash64(transcript, hash64(tokens, header_hash(header)));
  for (auto pages = at; !pages.empty(); pages = pages.subspan(page_bytes))
    hash = hash64(pages.first(page_bytes), hash);
  if (hash != header.hash) return Error{text(path, ": truncated or altered (hash mismatch)")};

  // Behind a full context there may be a token that was not run.
  if (header.n_past > engine.ctx()) {
    return Error{
        text(path, ": holds ", header.n_past, " tokens, the context ", engine.ctx(), " (see --ctx)")};
  }
  state.tokens.resize(header.n_tokens);
  if (!tokens.empty()) std::memcpy(state.tokens.data(), tokens.data(), tokens.size());
  for (const int32_t token : state.tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= program.code->n_vocab) {
      return Error{text(path, ": token ", token, " is not in the vocabulary")};
    }
  }
  state.transcript.assign(transcript.begin(), transcript.end());
  return StateFile{.file = std::move(*file), .state = std::move(state), .n_past = header.n_past, .pages = at};
}

Status place_state(const StateFile& file, Engine& engine, Sequence& sequence) {
  if (Status status = engine.pool().reserve(sequence, file.n_past); !status) return status;
  std::span<const uint8_t> rest = file.pages;
  for (const uint32_t page : sequence.pages) {
    const std::span<uint8_t> to = engine.pool().page(page);
    std::memcpy(to.data(), rest.data(), to.size());
    rest = rest.subspan(to.size());
  }
  sequence.n_past = file.n_past;
  return Ok{};
}

Result<SavedState> load_state(const std::string& path, const Program& program, Engine& engine,
                              Sequence& sequence) {
  auto file = open_state(path, program, engine);
  if (!file) return file.error();
  if (const Status placed = place_state(*file, engine, sequence); !placed) return placed.error();
  return std::move(file->state);
}

}  // namespace forge::rt
