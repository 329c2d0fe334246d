// The cache of linked programs and of whole artifacts: one file an entry, named by its key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace forge {

// Lower-case hex SHA-256 over a list of parts, each preceded by its length, so that no two lists collide.
std::string hash_parts(const std::vector<std::string_view>& parts);

struct CacheEntry {
  std::string kind;  // "code": a linked program without payload; "program": a whole artifact
  std::string key;
  std::string path;
  uint64_t bytes = 0;
  int64_t used_ns = 0;  // when it was last used, since 1970
};

// A directory of entries. Processes may share it: entries appear whole under their names, and an entry that
// is removed while in use stays readable to who has it open. What can't be written is not cached; that is no
// error.
class Cache {
 public:
  // $FORGE_CACHE_DIR, $XDG_CACHE_HOME/forge or ~/.cache/forge; without any of them the cache is off.
  static Cache standard();
  explicit Cache(std::string directory, uint64_t max_bytes);

  const std::string& directory() const { return directory_; }

  // A "code" entry's bytes; an entry that was altered is removed and counts as absent.
  std::optional<std::vector<uint8_t>> load_code(const std::string& key);
  void store_code(const std::string& key, const std::vector<uint8_t>& bytes);

  // A "program" entry's path when it is there.
  std::optional<std::string> find_program(const std::string& key);
  // Where to write the program of that key (the directory exists), or nullopt when the cache can't be
  // written.
  std::optional<std::string> program_path(const std::string& key);

  std::vector<CacheEntry> list() const;  // oldest use first
  uint64_t clear();                      // bytes freed
  void prune();                          // oldest use first, until the size is under the limit

 private:
  std::string directory_;
  uint64_t max_bytes_ = 0;
};

}  // namespace forge
