#include "runtime/server/model_info.h"

#include <algorithm>
#include <ctime>

#include "runtime/server/constraint.h"

namespace forge::rt {
namespace {

// What clients call the model: its name without what would not do in a path.
std::string model_name(const Program& program) {
  const auto given = program.payload->string("model.name");
  std::string name = given && !given->empty() ? std::string(*given) : program.name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

}  // namespace

Status fill_model_info(Program& program, Session& session, ModelInfo& model) {
  model.program = &program;
  model.session = &session;
  model.name = model_name(program);
  model.created = std::time(nullptr);
  model.fingerprint = text("forge-", program.code->plan_hash % 1000000007);
  model.sampling = default_sampling(program).params;
  model.grammars = std::make_shared<GrammarCache>(session.tokenizer);
  auto masks = compiled_in_masks(program, session.tokenizer);
  if (!masks) return masks.error();
  model.masks = std::move(*masks);
  model.breakers = std::make_shared<RecentCache<const DryBreakers>>();
  size_t longest = 1;  // piece
  std::string piece;
  for (int32_t t = 0; t < session.tokenizer.n_vocab(); ++t) {
    piece.clear();
    session.tokenizer.append_piece(t, piece, /*special=*/true);
    longest = std::max(longest, piece.size());
  }
  model.max_text = longest * session.engine.ctx();
  model.fill_tokens = find_fill_tokens(session.tokenizer);
  if (const auto compiled_in = program.payload->string("system_prompt")) model.system_prompt = *compiled_in;
  if (program.payload->chat_template.empty()) return Ok{};
  auto chat_template = ChatTemplate::parse(program.payload->chat_template);
  if (!chat_template) return chat_template.error();
  model.chat_template.emplace(std::move(*chat_template));
  model.chat_prompt.emplace(*model.chat_template, session.tokenizer);
  const auto written = program.payload->string("answer.format");
  if (!written) return written.error();
  auto format = AnswerFormat::from_text(*written);
  if (!format) return format.error();
  model.format = std::move(*format);
  std::vector<int32_t> markers;
  for (int32_t t = 0; t < session.tokenizer.n_vocab(); ++t) {
    std::string name;
    if (session.tokenizer.is_control(t)) session.tokenizer.append_piece(t, name, /*special=*/true);
    if (name.empty() || !model.format.has_marker(name)) continue;
    markers.push_back(t);
    if (!session.tokenizer.is_end_of_generation(t)) model.marker_tokens.push_back({std::move(name), t});
  }
  model.markers = std::make_shared<const std::vector<int32_t>>(std::move(markers));
  return Ok{};
}

}  // namespace forge::rt
