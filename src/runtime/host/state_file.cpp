#include "runtime/host/state_file.h"

#include <utility>

namespace forge::rt {

Status save_state(const std::string& path, const Program& program, const KvPool& pool,
                  const Sequence& sequence, const SavedState& state) {
  KvImageHeader header{};
  const auto parts = kv_image_parts(kv_identity(*program.code, *program.payload), pool, sequence,
                                    state.tokens, state.n_prompt_rows, state.transcript, header);
  auto file = FileWriter::create(path);
  if (!file) return file.error();
  for (const auto part : parts) {
    if (Status status = file->write(part); !status) return status;
  }
  return file->commit();
}

Result<StateFile> open_state(const std::string& path, const Program& program, const Engine& engine) {
  auto file = Mapping::file(path);
  if (!file) return file.error();
  auto image = read_kv_image(file->bytes(), kv_identity(*program.code, *program.payload), KvImageCheck::all);
  if (!image) return Error{text(path, ": ", image.error().message)};
  // Behind a full context there may be a token that was not run.
  if (image->n_past > engine.ctx()) {
    return Error{
        text(path, ": holds ", image->n_past, " tokens, the context ", engine.ctx(), " (see --ctx)")};
  }
  return StateFile{.file = std::move(*file), .image = std::move(*image)};
}

Result<SavedState> load_state(const std::string& path, const Program& program, Engine& engine,
                              Sequence& sequence) {
  auto file = open_state(path, program, engine);
  if (!file) return file.error();
  KvImage& image = file->image;
  if (const Status placed = place_kv(image, image.n_past, engine.pool(), sequence); !placed)
    return placed.error();
  return SavedState{.tokens = std::move(image.tokens),
                    .transcript = std::string(image.note),
                    .n_prompt_rows = image.n_prompt_rows};
}

}  // namespace forge::rt
