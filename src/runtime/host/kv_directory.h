// A folder that keeps the KV of texts beyond the memory that a server has for them, and beyond its end. Each is a file
// (runtime/core/kv_image.h) in a folder named after the program's weights and plan, so that programs can share it.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "runtime/core/kv_store.h"

namespace forge::rt {

class KvDirectory final : public KvStore {
 public:
  // Looks at what `path` holds, which is created where it is missing. max_bytes: of all files together; where they are
  // more the ones used longest ago go. `report` is told the first failure to write.
  static Result<std::unique_ptr<KvDirectory>> open(const std::string& path, const KvIdentity& identity,
                                                   uint64_t max_bytes,
                                                   std::function<void(const Error&)> report);
  uint32_t longest(std::span<const int32_t> prompt, bool prompt_rows_only) override;
  Load open(std::span<const int32_t> prompt, bool prompt_rows_only) override;
  void keep(const CachedText& text, const KvPool& pool) override;
  size_t n_files() const { return files_.size(); }
  const std::string& folder() const { return folder_; }

 private:
  struct File {
    std::string path;
    uint64_t bytes = 0;
    std::vector<int32_t> tokens;
    uint32_t n_prompt_rows = 0;
  };
  using At = std::list<File>::iterator;

  KvDirectory(std::string folder, const KvIdentity& identity, uint64_t max_bytes,
              std::function<void(const Error&)> report);
  Status read_folder();
  At best(std::span<const int32_t> prompt, bool prompt_rows_only, uint32_t& n);
  At remove(At file);
  void used(At file);
  void prune();

  std::string folder_;
  KvIdentity identity_;
  uint64_t max_bytes_, n_bytes_ = 0;
  std::function<void(const Error&)> report_;  // empty once it was called
  std::list<File> files_;                     // the last used one first
};

}  // namespace forge::rt
