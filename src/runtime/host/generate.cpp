// generate: continues a text.
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "runtime/core/generation.h"
#include "runtime/core/grammar.h"
#include "runtime/core/jinja_json.h"
#include "runtime/host/program.h"
#include "runtime/host/state_file.h"

namespace forge::rt {
namespace {

// What the text must match: one of these at most.
struct ConstraintFlags {
  std::string json_schema, regex, grammar;
  std::vector<std::string> choices;
};

struct GenerateFlags {
  RunFlags run;
  SamplingFlags sampling;
  GenerateOptions options;
  std::vector<std::string> stop;
  std::string file, ids, save_state, load_state;
  ConstraintFlags constraint;
  bool special = false, no_bos = false, echo = false;
};

std::vector<Option> option_table(GenerateFlags& f) {
  std::vector<Option> options = {
      {.name = "--tokens",
       .letter = 'n',
       .value = "N",
       .help = "tokens to generate at most (default: until the text ends or the context is full)",
       .set = into(f.options.max_tokens, 0)},
      {.name = "--file",
       .letter = 'f',
       .value = "F",
       .help = "prompt from a file; - is standard input",
       .set = into(f.file)},
      {.name = "--ids",
       .value = "IDS",
       .help = "prompt as token ids, taken as they are: 1,15,99; @F: those in a file",
       .set = into(f.ids)},
      {.name = "--stop",
       .value = "TEXT",
       .help = "end before this text (may be repeated)",
       .set = into(f.stop)},
      {.name = "--json-schema",
       .value = "F",
       .help = "the text is JSON that this schema allows",
       .set = into(f.constraint.json_schema)},
      {.name = "--regex",
       .value = "R",
       .help = "the text as a whole matches this regular expression",
       .set = into(f.constraint.regex)},
      {.name = "--choice",
       .value = "A,B",
       .help = "the text is one of these (may be repeated; \\, is a comma)",
       .set = into(f.constraint.choices)},
      {.name = "--grammar",
       .value = "F",
       .help = "the text matches this grammar in llama.cpp's GBNF",
       .set = into(f.constraint.grammar)},
      {.name = "--ignore-eos", .help = "never let the model end the text", .set = into(f.options.ignore_eos)},
      {.name = "--echo", .help = "write the prompt before its continuation", .set = into(f.echo)},
      {.name = "--special",
       .help = "names of control tokens in the prompt stand for those tokens",
       .set = into(f.special)},
      {.name = "--no-bos", .help = "no begin token before the prompt", .set = into(f.no_bos)},
      {.name = "--save-state", .value = "F", .help = "keep the context in a file", .set = into(f.save_state)},
      {.name = "--load-state", .value = "F", .help = "go on from a kept context", .set = into(f.load_state)},
  };
  add_sampling_options(options, f.sampling);
  add_run_options(options, f.run);
  return options;
}

// The texts between commas; a backslash before a comma or a backslash takes it as it is.
std::vector<std::string> split_choices(std::span<const std::string> lists) {
  std::vector<std::string> out;
  for (const std::string& list : lists) {
    out.emplace_back();
    for (size_t i = 0; i < list.size(); ++i) {
      const bool escape =
          list[i] == '\\' && i + 1 < list.size() && (list[i + 1] == ',' || list[i + 1] == '\\');
      if (escape) {
        out.back() += list[++i];
      } else if (list[i] == ',') {
        out.emplace_back();
      } else {
        out.back() += list[i];
      }
    }
  }
  return out;
}

// None where no flag is given. The Error names the flag.
Result<std::optional<Grammar>> read_constraint(const ConstraintFlags& f) {
  const auto named = [](std::string_view flag, Result<Grammar> grammar) -> Result<std::optional<Grammar>> {
    if (!grammar) return Error{text(flag, ": ", grammar.error().message)};
    return std::optional(std::move(*grammar));
  };
  if (!f.regex.empty()) return named("--regex", regex_grammar(f.regex));
  if (!f.choices.empty()) return named("--choice", choices_grammar(split_choices(f.choices)));
  if (f.json_schema.empty() && f.grammar.empty()) return std::optional<Grammar>();
  const auto file = read_file(f.grammar.empty() ? f.json_schema : f.grammar);
  if (!file) return file.error();
  if (!f.grammar.empty()) return named("--grammar", parse_gbnf(*file));
  const auto schema = jinja::parse_json(*file);
  return named("--json-schema", schema ? json_schema_grammar(*schema) : schema.error());
}

// The prompt's text: the argument, --file, or standard input where that is not a terminal.
Result<std::string> prompt_text(const GenerateFlags& f, const Arguments& args) {
  if (!args.positionals.empty()) return args.positionals[0];
  if (!f.file.empty()) return read_file(f.file);
  if (!f.load_state.empty()) return std::string{};
  if (isatty(STDIN_FILENO) != 0)
    return Error{"generate: no prompt; give it as an argument, with --file, or in a pipe"};
  return read_file("-");
}

void report(Program& program, const GenerateFlags& f, const Generated& result, const Session& session,
            size_t n_prompt, double prompt_seconds, double decode_seconds) {
  std::string_view reason;
  switch (result.reason) {
    case StopReason::end_of_generation: reason = "the text ended"; break;
    case StopReason::length: reason = "length reached"; break;
    case StopReason::stop_string: reason = "stop string"; break;
    case StopReason::context_full: reason = "context full"; break;
    case StopReason::interrupted: reason = "interrupted"; break;
  }
  const auto rate = [](size_t n, double seconds) {
    return seconds > 0 ? fixed(static_cast<double>(n) / seconds, 1) : std::string("-");
  };
  // The first token comes out of the prompt's last row.
  const size_t n_decoded = result.tokens.empty() ? 0 : result.tokens.size() - 1;
  program.err.write(text("prompt ", n_prompt, " tokens in ", fixed(prompt_seconds, 3), " s (",
                         rate(n_prompt, prompt_seconds), " tok/s), generated ", result.tokens.size(), " in ",
                         fixed(decode_seconds, 3), " s (", rate(n_decoded, decode_seconds), " tok/s), seed ",
                         f.sampling.params.seed, "; ", reason, "\n"));
  if (result.reason == StopReason::context_full) {
    program.err.write(text("stopped: the context of ", session.engine.ctx(), " tokens is full (--ctx up to ",
                           program.code->ctx_max, ")\n"));
  }
}

}  // namespace

int generate_command(Program& program, std::span<const std::string> args) {
  GenerateFlags f;
  f.sampling = default_sampling(program);
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "generate",
           .positionals = "[PROMPT]",
           .summary =
               "Continues a text. The text goes to standard output, everything else to standard error.",
           .example = "generate \"Once upon a time\" -n 200 --temp 0.8 --seed 7 --stop \"The end\""},
          option_table(f), args, 1, parsed, status)) {
    return status;
  }
  if (!f.ids.empty() + !f.file.empty() + !parsed.positionals.empty() > 1) {
    return fail(program, Error{"generate: give the prompt once: as an argument, with --file or with --ids"},
                kMisuse);
  }
  const ConstraintFlags& c = f.constraint;
  if (!c.json_schema.empty() + !c.regex.empty() + !c.grammar.empty() + !c.choices.empty() > 1) {
    return fail(program, Error{"generate: one of --json-schema, --regex, --choice and --grammar is enough"},
                kMisuse);
  }
  const auto grammar = read_constraint(c);
  if (!grammar) {
    const bool of_a_file = !c.json_schema.empty() || !c.grammar.empty();
    return fail(program, Error{text("generate: ", grammar.error().message)}, of_a_file ? 1 : kMisuse);
  }
  if (f.ids.starts_with('@')) {
    auto file = read_file(f.ids.substr(1));
    if (!file) return fail(program, file.error());
    f.ids = std::move(*file);
  }
  auto ids = parse_token_ids(f.ids);
  if (!ids) return fail(program, Error{text("generate: --ids: ", ids.error().message)}, kMisuse);
  std::string prompt;
  if (f.ids.empty()) {
    auto given = prompt_text(f, parsed);
    if (!given) return fail(program, given.error(), f.file.empty() ? kMisuse : 1);
    prompt = std::move(*given);
  }
  const auto session = open_session(program, f.run, status, f.save_state);
  if (session == nullptr) return status;
  Engine& engine = session->engine;
  Sequence sequence;
  const auto sampling = sampling_params(f.sampling, session->tokenizer);
  if (!sampling) return fail(program, Error{text("generate: ", sampling.error().message)}, kMisuse);
  Sampler sampler(*sampling);

  SavedState state;
  if (!f.load_state.empty()) {
    auto loaded = load_state(f.load_state, program, engine, sequence);
    if (!loaded) return fail(program, loaded.error());
    state = std::move(*loaded);
  }
  const bool goes_on = !state.tokens.empty();
  std::vector<int32_t> tokens(state.tokens.begin() + sequence.n_past, state.tokens.end());
  f.options.n_generated_before = static_cast<uint32_t>(tokens.size());
  if (f.ids.empty()) {
    EncodeOptions encode{.add_eos = false, .parse_special = f.special};
    if (f.no_bos || goes_on) encode.add_bos = false;
    *ids = session->tokenizer.encode(prompt, encode);
  }
  tokens.insert(tokens.end(), ids->begin(), ids->end());
  if (tokens.empty() && goes_on) {
    // Nothing new to run: the last token once more, for its logits.
    tokens.push_back(state.tokens.back());
    engine.pool().truncate(sequence, sequence.n_past - 1);
    f.options.n_generated_before = 1;
  }
  for (uint32_t i = 0; i < sequence.n_past; ++i) sampler.accept(state.tokens[i]);
  for (const int32_t token : tokens) {
    if (static_cast<uint32_t>(token) >= program.code->n_vocab) {
      return fail(program, Error{text("generate: token ", token, " is not below ", program.code->n_vocab)},
                  kMisuse);
    }
  }
  std::vector<int32_t> text_so_far(state.tokens.begin(), state.tokens.begin() + sequence.n_past);
  text_so_far.insert(text_so_far.end(), tokens.begin(), tokens.end());

  catch_interrupts(/*second_exits=*/true);
  f.options.interrupt = &interrupt_flag();
  if (f.echo) {
    program.out.write(f.ids.empty() ? prompt : session->tokenizer.decode(*ids));
    program.out.flush();
  }
  const double start = seconds_now();
  double prompt_end = start;
  f.options.on_prompt = [&](uint32_t, uint32_t) { prompt_end = seconds_now(); };
  f.options.on_text = [&](std::string_view piece) {
    program.out.write(piece);
    program.out.flush();
    // Nobody reads any more: stop as if interrupted.
    if (!program.out.usable()) interrupt_flag() = true;
  };
  Result<std::shared_ptr<TokenMasks>> masks =
      *grammar ? Result(std::make_shared<TokenMasks>(make_vocabulary_trie(session->tokenizer), **grammar))
               : compiled_in_masks(program, session->tokenizer);
  if (!masks) return fail(program, masks.error());
  std::optional<GrammarState> grammar_state;
  if (*masks != nullptr) f.options.grammar = &grammar_state.emplace(*masks);
  TextStream stream(f.stop);
  const auto result = generate(engine, session->tokenizer, sequence, sampler, tokens, stream, f.options);
  if (!result) return fail(program, Error{text("generate: ", result.error().message)});
  if (result->reason == StopReason::context_full) program.out.write(finish_text(stream));
  const double end = seconds_now();
  if (program.out.is_terminal()) program.out.write("\n");
  program.out.flush();
  report(program, f, *result, *session, tokens.size(), prompt_end - start, end - prompt_end);
  if (!f.save_state.empty()) {
    text_so_far.insert(text_so_far.end(), result->tokens.begin(), result->tokens.end());
    // Where the prompt was interrupted only a part of it was run.
    const bool ends_unrun = !result->tokens.empty() || result->reason == StopReason::context_full;
    text_so_far.resize(std::min<size_t>(text_so_far.size(), sequence.n_past + (ends_unrun ? 1 : 0)));
    state.n_prompt_rows = goes_on ? 0 : std::min(sequence.n_past, static_cast<uint32_t>(tokens.size()));
    state.tokens = std::move(text_so_far);
    if (const Status saved = save_state(f.save_state, program, engine.pool(), sequence, state); !saved) {
      return fail(program, saved.error());
    }
  }
  const bool by_user = result->reason == StopReason::interrupted && program.out.usable();
  return by_user ? 130 : 0;
}

}  // namespace forge::rt
