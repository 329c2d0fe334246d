#include "toolchain/cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "core/mapped_file.h"
#include "core/output_file.h"
#include "core/sha256.h"

namespace forge {
namespace {
// Another process writes this file (OutputFile), or did so until it was killed an hour ago or more.
bool is_being_written(const std::string& name, const struct stat& st) {
  constexpr std::time_t kAbandonedS = 3600;
  return name.find(kTemporaryInfix) != std::string::npos &&
         st.st_mtim.tv_sec + kAbandonedS > std::time(nullptr);
}

namespace fs = std::filesystem;

constexpr std::string_view kKinds[] = {"code", "program", "schedules"};
constexpr uint64_t kDefaultMaxBytes = 20'000'000'000;

using Digest = Sha256::Digest;

Digest digest_of(std::span<const uint8_t> bytes) {
  Sha256 sha;
  sha.add(bytes.data(), bytes.size());
  return sha.digest();
}

uint64_t parse_size(std::string_view text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  constexpr std::string_view kSuffixes = "KMGT";
  const size_t power = suffix.empty() ? 0 : kSuffixes.find(suffix[0]) + 1;
  if (error != std::errc() || suffix.size() > 1 || (power == 0 && !suffix.empty())) {
    fail_usage("FORGE_CACHE_MAX={}: expected a number of bytes, or one with K, M, G or T behind it", text);
  }
  for (size_t i = 0; i < power; ++i) {
    if (n > UINT64_MAX / 1000) fail_usage("FORGE_CACHE_MAX={}: too large", text);
    n *= 1000;
  }
  return n;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::string hash_parts(const std::vector<std::string_view>& parts) {
  Sha256 sha;
  for (const std::string_view part : parts) {
    const uint64_t size = part.size();
    sha.add(&size, sizeof size);
    sha.add(part.data(), part.size());
  }
  return to_hex(sha.digest());
}

Cache::Cache(std::string directory, uint64_t max_bytes)
    : directory_(std::move(directory)), max_bytes_(max_bytes) {}

Cache Cache::standard() {
  const std::string limit = environment("FORGE_CACHE_MAX");
  const uint64_t max_bytes = limit.empty() ? kDefaultMaxBytes : parse_size(limit);
  if (std::string d = environment("FORGE_CACHE_DIR"); !d.empty()) return {std::move(d), max_bytes};
  if (const std::string d = environment("XDG_CACHE_HOME"); !d.empty()) return {d + "/forge", max_bytes};
  if (const std::string d = environment("HOME"); !d.empty()) return {d + "/.cache/forge", max_bytes};
  return {"", max_bytes};
}

std::optional<std::string> Cache::entry_path(std::string_view kind, const std::string& name) const {
  if (directory_.empty()) return std::nullopt;
  const std::string folder = fmt::format("{}/{}", directory_, kind);
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder, error)) return std::nullopt;
  return folder + "/" + name;
}

std::optional<std::string> Cache::program_path(const std::string& name) const {
  return entry_path("program", name);
}

void Cache::touch(const std::string& path) {
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
}

// The bytes are followed by their SHA-256.
std::optional<std::vector<uint8_t>> Cache::load(std::string_view kind, const std::string& name) const {
  const auto path = entry_path(kind, name);
  std::error_code error;
  if (!path || !fs::is_regular_file(*path, error)) return std::nullopt;
  try {
    const MappedFile map(*path);
    const auto bytes = map.bytes();
    if (bytes.size() >= sizeof(Digest)) {
      const auto content = bytes.first(bytes.size() - sizeof(Digest));
      if (std::ranges::equal(digest_of(content), bytes.last(sizeof(Digest)))) {
        touch(*path);
        return std::vector<uint8_t>(content.begin(), content.end());
      }
    }
  } catch (const Error&) {  // removed or emptied by another process: absent
    return std::nullopt;
  }
  fs::remove(*path, error);
  return std::nullopt;
}

void Cache::store(std::string_view kind, const std::string& name, std::vector<uint8_t> bytes) const {
  const auto path = entry_path(kind, name);
  if (!path) return;
  const Digest digest = digest_of(bytes);
  bytes.insert(bytes.end(), digest.begin(), digest.end());
  try {
    OutputFile file(*path);
    file.write(bytes);
    file.commit(0644);
  } catch (const Error&) {  // a full or read-only disk: the program is built all the same
    return;
  }
  prune(*path);
}

std::vector<CacheEntry> Cache::list() const {
  std::vector<CacheEntry> entries;
  if (directory_.empty()) return entries;
  for (const std::string_view kind : kKinds) {
    std::error_code error;
    for (const auto& file : fs::directory_iterator(fmt::format("{}/{}", directory_, kind), error)) {
      struct stat st = {};
      if (::stat(file.path().c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
      if (is_being_written(file.path().filename(), st)) continue;
      entries.push_back({.kind = std::string(kind),
                         .name = file.path().filename(),
                         .path = file.path(),
                         .bytes = static_cast<uint64_t>(st.st_size),
                         .used_s = st.st_mtim.tv_sec});
    }
  }
  std::ranges::sort(entries, [](const CacheEntry& a, const CacheEntry& b) {
    return std::tie(a.used_s, a.path) < std::tie(b.used_s, b.path);
  });
  return entries;
}

uint64_t Cache::clear() const {
  uint64_t freed = 0;
  std::string failure;
  for (const CacheEntry& entry : list()) {
    std::error_code error;
    if (fs::remove(entry.path, error)) freed += entry.bytes;
    if (error && failure.empty())
      failure = fmt::format("{}: can't be removed: {}", entry.path, error.message());
  }
  if (!failure.empty()) fail("{}; {} bytes were freed", failure, freed);
  return freed;
}

void Cache::prune(const std::string& keep) const {
  const std::vector<CacheEntry> entries = list();
  uint64_t total = 0;
  for (const CacheEntry& entry : entries) total += entry.bytes;
  for (const CacheEntry& entry : entries) {
    if (total <= max_bytes_) return;
    std::error_code error;
    if (entry.path != keep && fs::remove(entry.path, error)) total -= entry.bytes;
  }
}

}  // namespace forge
