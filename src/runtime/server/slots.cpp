// llama.cpp's slots: what each ran last, kept in files and taken from there. Files are those of --save-state.
#include <algorithm>

#include "runtime/host/json.h"
#include "runtime/host/state_file.h"
#include "runtime/server/endpoints.h"

namespace forge::rt {
namespace {

// What can neither leave the folder nor hide in it.
bool is_plain_name(std::string_view name) {
  constexpr std::string_view kCharacters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !name.empty() && name.size() <= 200 && name[0] != '.' &&
         name.find_first_not_of(kCharacters) == std::string_view::npos;
}

struct SlotOutcome {
  ApiError error;
  uint32_t n_tokens = 0;
  uint64_t n_bytes = 0;
  double seconds = 0;
};

void refuse(SlotOutcome& out, int status, std::string message) {
  out.error = {.status = status, .message = std::move(message), .param = {}, .code = {}};
}

bool is_running(const Scheduler& scheduler, uint32_t slot, SlotOutcome& out) {
  if (!scheduler.counters().slots[slot].running) return false;
  refuse(out, 409, text("slot ", slot, " is running a text; wait for its end"));
  return true;
}

SlotOutcome save(Scheduler& scheduler, const ModelInfo& model, uint32_t slot, const std::string& path) {
  SlotOutcome out;
  if (is_running(scheduler, slot, out)) return out;
  const CachedText* text_of = scheduler.cache().of_slot(static_cast<int32_t>(slot));
  if (text_of == nullptr) {
    refuse(out, 404, text("slot ", slot, " holds no text"));
    return out;
  }
  const Program& program = *model.program;
  const double start = seconds_now();
  const Status saved =
      save_state(path, program, model.session->engine.pool(), text_of->kv,
                 {.tokens = text_of->tokens, .transcript = {}, .n_prompt_rows = text_of->n_prompt_rows});
  if (!saved) refuse(out, 500, saved.error().message);
  out.n_tokens = text_of->kv.n_past;
  out.n_bytes = kv_image_bytes(kv_identity(*program.code, *program.payload), out.n_tokens);
  out.seconds = seconds_now() - start;
  return out;
}

SlotOutcome restore(Scheduler& scheduler, const ModelInfo& model, uint32_t slot, const std::string& path) {
  SlotOutcome out;
  if (is_running(scheduler, slot, out)) return out;
  const double start = seconds_now();
  const auto file = open_state(path, *model.program, model.session->engine);
  if (!file) {
    refuse(out, 400, file.error().message);
  } else if (!scheduler.restore(file->image, static_cast<int32_t>(slot))) {
    refuse(out, 503, "running texts leave no room for it");
  } else {
    out.n_tokens = file->image.n_past;
    out.n_bytes = file->file.bytes().size();
  }
  out.seconds = seconds_now() - start;
  return out;
}

SlotOutcome erase(Scheduler& scheduler, uint32_t slot) {
  SlotOutcome out;
  if (is_running(scheduler, slot, out)) return out;
  out.n_tokens = scheduler.cache().erase_slot(static_cast<int32_t>(slot));
  return out;
}

std::string json_of(const SlotOutcome& outcome, uint32_t slot, const std::string& action,
                    const std::string& filename) {
  JsonObject out;
  out.add("id_slot", int64_t{slot});
  if (action == "erase") {
    out.add("n_erased", int64_t{outcome.n_tokens});
    return out.compact();
  }
  const bool saves = action == "save";
  out.add("filename", filename);
  out.add(saves ? "n_saved" : "n_restored", int64_t{outcome.n_tokens});
  out.add(saves ? "n_written" : "n_read", static_cast<int64_t>(outcome.n_bytes));
  JsonObject timings;
  timings.add(saves ? "save_ms" : "restore_ms", outcome.seconds * 1000);
  out.add("timings", timings);
  return out.compact();
}

}  // namespace

void slot_action(const EndpointCall& call, uint32_t slot, std::string_view action,
                 const std::string& folder) {
  ApiError error;
  std::string filename;
  if (action != "save" && action != "restore" && action != "erase") {
    error.message = "action: expected /slots/SLOT?action=save, restore or erase";
  } else if (action != "erase" && folder.empty()) {
    error = {.status = 501,
             .message = "there is no folder for slots; start the server with --slot-save-path DIR",
             .param = {},
             .code = {}};
  } else if (action != "erase") {
    const RequestFields fields(call.body, {}, error);
    if (fields.required("filename") != nullptr) fields.string("filename", filename);
    if (!fields.failed() && !is_plain_name(filename))
      fields.expected("filename", "letters, digits, '.', '_' and '-', the first no '.'");
  }
  if (!error.message.empty()) return respond_error(*call.exchange, error);
  const auto work = [slot, action = std::string(action), filename, path = text(folder, "/", filename),
                     model = &call.model, exchange = call.exchange](Scheduler& scheduler) {
    const SlotOutcome outcome = action == "save"      ? save(scheduler, *model, slot, path)
                                : action == "restore" ? restore(scheduler, *model, slot, path)
                                                      : erase(scheduler, slot);
    return [=] {
      if (!outcome.error.message.empty()) return respond_error(*exchange, outcome.error);
      exchange->respond({.body = json_of(outcome, slot, action, filename) + "\n"});
    };
  };
  if (!call.service.between_steps(work)) {
    error = {.status = 429,
             .message = "other slots are being saved and restored; ask again",
             .param = {},
             .type = "rate_limit_error",
             .code = {}};
    respond_error(*call.exchange, error);
  }
}

}  // namespace forge::rt
