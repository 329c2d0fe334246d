// tokenize and detokenize.
#include "runtime/host/program.h"

namespace forge::rt {

int tokenize_command(Program& program, std::span<const std::string> args) {
  std::string file;
  bool ids_only = false;
  bool no_bos = false;
  bool special = false;
  const std::vector<Option> options = {
      {.name = "--ids",
       .help = "one line of ids; else a line for each token: id, tab, its text",
       .set = into(ids_only)},
      {.name = "--no-bos", .help = "no begin token in front", .set = into(no_bos)},
      {.name = "--special", .help = "names of control tokens stand for those tokens", .set = into(special)},
      {.name = "--file",
       .letter = 'f',
       .value = "F",
       .help = "text from a file; - is standard input",
       .set = into(file)},
  };
  Arguments parsed;
  int status = 0;
  if (!parse_command(program,
                     {.command = "tokenize",
                      .positionals = "(TEXT | --file F)",
                      .summary = "Shows the tokens of a text.",
                      .example = "tokenize --ids \"Hello world\""},
                     options, args, 1, parsed, status)) {
    return status;
  }
  if (parsed.positionals.empty() == file.empty())
    return fail(program,
                Error{file.empty() ? "tokenize: give a text, or --file F"
                                   : "tokenize: give the text once: as words or by --file"},
                kMisuse);
  const auto input = file.empty() ? Result<std::string>(parsed.positionals[0]) : read_file(file);
  if (!input) return fail(program, input.error());
  const auto tokenizer = open_tokenizer(program);
  if (!tokenizer) return fail(program, tokenizer.error());
  EncodeOptions encode{.parse_special = special};
  if (no_bos) encode.add_bos = false;
  bool first = true;
  for (const int32_t id : tokenizer->encode(*input, encode)) {
    if (ids_only) {
      program.out.write(text(first ? "" : " ", id));
    } else {
      std::string piece;
      tokenizer->append_piece(id, piece, /*special=*/true);
      std::string line = text(id, "\t");
      for (const char c : piece) {
        // A token stays on its line.
        if (c == '\n') {
          line += "\\n";
        } else {
          line += c;
        }
      }
      program.out.write(line + "\n");
    }
    first = false;
  }
  if (ids_only) program.out.write("\n");
  return 0;
}

int detokenize_command(Program& program, std::span<const std::string> args) {
  bool special = false;
  const std::vector<Option> options = {
      {.name = "--special", .help = "show control tokens by name", .set = into(special)}};
  Arguments parsed;
  int status = 0;
  if (!parse_command(
          program,
          {.command = "detokenize",
           .positionals = "IDS...",
           .summary = "Writes the text of token ids (separated by spaces or commas), byte for byte.",
           .example = "detokenize 9906 1917"},
          options, args, SIZE_MAX, parsed, status)) {
    return status;
  }
  const auto tokenizer = open_tokenizer(program);
  if (!tokenizer) return fail(program, tokenizer.error());
  std::vector<int32_t> ids;
  for (const std::string& word : parsed.positionals) {
    const auto some = parse_token_ids(word);
    if (!some) return fail(program, Error{text("detokenize: ", some.error().message)}, kMisuse);
    for (const int32_t id : *some) {
      if (id >= tokenizer->n_vocab()) {
        return fail(program, Error{text("detokenize: token ", id, " is not below ", tokenizer->n_vocab())},
                    kMisuse);
      }
      ids.push_back(id);
    }
  }
  program.out.write(tokenizer->decode(ids, special));
  return 0;
}

}  // namespace forge::rt
