#include "tests/download/fake_hub.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "core/sha256.h"
#include "download/http.h"

namespace forge::test {
namespace {

bool is_large(const std::string& path) { return path.ends_with(".gguf") || path.ends_with(".safetensors"); }

}  // namespace

std::string sha256_of(const std::string& content) {
  Sha256 sha;
  sha.add(content.data(), content.size());
  return to_hex(sha.digest());
}

FakeHub::FakeHub(std::string repo)
    : repo_(std::move(repo)), server_([this](const ServerRequest& request) { return answer(request); }) {}

std::string FakeHub::listing() const {
  nlohmann::json siblings = nlohmann::json::array();
  for (const auto& [path, content] : files) {
    const std::string sha256 = sha256_of(content);
    nlohmann::json entry = {{"rfilename", path}, {"size", content.size()}, {"blobId", sha256.substr(0, 40)}};
    if (is_large(path)) entry["lfs"] = {{"sha256", sha256}, {"size", content.size()}, {"pointerSize", 130}};
    siblings.push_back(std::move(entry));
  }
  return nlohmann::json({{"id", repo_}, {"sha", commit}, {"siblings", siblings}}).dump();
}

ServerAnswer FakeHub::answer(const ServerRequest& request) {
  if (fault)
    if (auto instead = fault(request)) return *instead;
  constexpr std::string_view kStore = "/store/";
  if (request.path.starts_with(kStore)) {
    for (const auto& [path, content] : files)
      if (request.path == std::string(kStore) + sha256_of(content))
        return file_answer(request, content, "\"store\"");
    return {.status = 404};
  }
  if (!token.empty()) {
    const auto given = request.headers.find("authorization");
    if (given == request.headers.end() || given->second != "Bearer " + token)
      return {.status = 401, .headers = {{"X-Error-Code", "GatedRepo"}}};
  }
  if (request.path == "/api/models/" + repo_ + "/revision/main?blobs=true") return {.body = listing()};
  const std::string prefix = "/" + repo_ + "/resolve/" + commit + "/";
  if (!request.path.starts_with(prefix))
    return {.status = 404, .headers = {{"X-Error-Code", "RepoNotFound"}}};
  const auto file = files.find(decode_path(std::string_view(request.path).substr(prefix.size())));
  if (file == files.end()) return {.status = 404, .headers = {{"X-Error-Code", "EntryNotFound"}}};
  const std::string sha256 = sha256_of(file->second);
  if (!is_large(file->first)) return file_answer(request, file->second, "\"" + sha256.substr(0, 40) + "\"");
  return {.status = 302,
          .headers = {{"Location", "http://localhost:" + std::to_string(server_.port()) + "/store/" + sha256},
                      {"X-Linked-Etag", "\"" + sha256 + "\""},
                      {"X-Linked-Size", std::to_string(file->second.size())},
                      {"X-Repo-Commit", commit}}};
}

}  // namespace forge::test
