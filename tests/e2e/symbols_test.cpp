// An object compiled for one instruction-set level must not offer the linker a copy of anything that portable
// code uses as well: where the linker takes that copy, the program dies on an older processor.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "codegen/compile.h"
#include "tests/core/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "toolchain/compiler.h"
#include "toolchain/process.h"

namespace forge {
namespace {

struct Symbol {
  char kind = 0;
  std::string name;
};

std::vector<Symbol> symbols_of(const std::string& nm, const std::string& object) {
  const ProcessResult result = run_process({nm, "--format=posix", object}, "/");
  EXPECT_EQ(result.status, 0) << result.output;
  std::vector<Symbol> symbols;
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) {
    Symbol symbol;
    std::istringstream(line) >> symbol.name >> symbol.kind;
    symbols.push_back(symbol);
  }
  return symbols;
}

class Symbols : public testing::TestWithParam<const CpuLevel*> {};

TEST_P(Symbols, OnlyTheModelCodeLeavesTheObject) {
  const std::string nm = find_on_path("llvm-nm-19");
  if (nm.empty()) GTEST_SKIP() << "llvm-nm-19 is missing: symbols are not checked (package llvm-19)";
  const TemporaryDirectory directory;
  const std::string object = directory.file("model.o");
  const CompiledModel model =
      compile_model(test::make_checkpoint({}), {.target = cpu_target(*GetParam())}, nullptr);
  const ForgeFiles files = {.include_directory = FORGE_BUILD_DIR "/share/forge/include",
                            .runtime_archive = ""};
  compile_object(find_compiler(), files, model.sources, *GetParam(), object);
  std::set<std::string> global;
  for (const Symbol& symbol : symbols_of(nm, object)) {
    EXPECT_EQ(std::string("wWvVu").find(symbol.kind), std::string::npos) << "weak: " << symbol.name;
    if (symbol.kind >= 'A' && symbol.kind <= 'Z' && symbol.kind != 'U') global.insert(symbol.name);
    // What C promises in every program; templates and inline functions of the C++ library would show here.
    if (symbol.kind == 'U')
      EXPECT_EQ(symbol.name.find("_Z"), std::string::npos) << "undefined: " << symbol.name;
  }
  EXPECT_EQ(global, (std::set<std::string>{"forge_model_code"}));
}

INSTANTIATE_TEST_SUITE_P(Levels, Symbols, testing::ValuesIn([] {
                           std::vector<const CpuLevel*> levels;
                           for (const CpuLevel& level : cpu_levels()) levels.push_back(&level);
                           return levels;
                         }()),
                         [](const auto& info) {
                           std::string name(info.param->name);
                           for (char& c : name)
                             c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace forge
