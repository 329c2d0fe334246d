// The cache of linked programs and of whole artifacts: one file an entry.
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
  // "code": a linked program without payload; "program": a whole artifact; "schedules": what --tune chose.
  std::string kind;
  std::string name;  // what it is and the hash of everything that shaped it
  std::string path;
  uint64_t bytes = 0;
  int64_t used_s = 0;  // when it was last used, in seconds since 1970
};

// A directory of entries. Processes may share it: entries appear whole under their names, and one that is
// removed while in use stays readable to who has it open. A cache that can't be written only makes forge
// slower.
class Cache {
 public:
  // In $FORGE_CACHE_DIR, $XDG_CACHE_HOME/forge or ~/.cache/forge, of $FORGE_CACHE_MAX bytes (a suffix K, M, G
  // or T multiplies by powers of 1000), 20 GB when that is not set. Throws a usage Error for a size that is
  // none.
  static Cache standard();
  // An empty directory name switches the cache off.
  Cache(std::string directory, uint64_t max_bytes);

  const std::string& directory() const { return directory_; }
  uint64_t max_bytes() const { return max_bytes_; }

  // The bytes of a "code" or "schedules" entry; one that was altered is removed and counts as absent.
  std::optional<std::vector<uint8_t>> load(std::string_view kind, const std::string& name) const;
  void store(std::string_view kind, const std::string& name, std::vector<uint8_t> bytes) const;

  // Where the "program" entry of that name is or belongs; its folder exists. nullopt when there can be none.
  std::optional<std::string> program_path(const std::string& name) const;
  // Notes that an entry was used now.
  static void touch(const std::string& path);

  std::vector<CacheEntry> list() const;  // longest unused first
  uint64_t clear() const;                // returns the bytes freed; Error naming what can't be removed
  // Removes what is longest unused until the limit holds, but never the file `keep`: an entry that was just
  // made is about to be used, even where it alone is above the limit.
  void prune(const std::string& keep) const;

 private:
  std::optional<std::string> entry_path(std::string_view kind, const std::string& name) const;

  std::string directory_;
  uint64_t max_bytes_ = 0;
};

}  // namespace forge
