#include "toolchain/cache.h"

#include <fmt/chrono.h>

#include <ctime>

#include "cli/commands.h"
#include "core/error.h"
#include "runtime/host/program.h"

namespace forge {
namespace {

void list() {
  const Cache cache = Cache::standard();
  uint64_t total = 0;
  for (const CacheEntry& entry : cache.list()) {
    fmt::print("{:%Y-%m-%d %H:%M}  {:>8}  {:7}  {}\n", fmt::localtime(static_cast<std::time_t>(entry.used_s)),
               rt::human_bytes(entry.bytes), entry.kind, entry.name);
    total += entry.bytes;
  }
  if (cache.directory().empty()) fail("no cache: HOME is not set; set FORGE_CACHE_DIR to a folder");
  fmt::print("{} of {} in {}\n", rt::human_bytes(total), rt::human_bytes(cache.max_bytes()),
             cache.directory());
}

}  // namespace

void add_cache(CLI::App& forge) {
  CLI::App* command = forge.add_subcommand("cache", "list or clear what forge keeps of earlier compilations");
  command->add_subcommand("list", "show the entries, the longest unused first (the default)")->callback(list);
  command->add_subcommand("clear", "remove all entries")->callback([] {
    const Cache cache = Cache::standard();
    fmt::print("{} freed in {}\n", rt::human_bytes(cache.clear()), cache.directory());
  });
  command->add_subcommand("path", "show the folder")->callback([] {
    fmt::print("{}\n", Cache::standard().directory());
  });
  command->require_subcommand(0, 1);
  command->footer(
      "The folder is $FORGE_CACHE_DIR, $XDG_CACHE_HOME/forge or ~/.cache/forge; $FORGE_CACHE_MAX (20G) is "
      "its size; a variable that is empty counts as not set.\n"
      "example:\n  forge cache clear");
  command->callback([command] {
    if (command->get_subcommands().empty()) list();
  });
}

}  // namespace forge
