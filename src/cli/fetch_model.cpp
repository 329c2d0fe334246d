#include "cli/fetch_model.h"
#include "core/error.h"

#include <fmt/format.h>

#include <utility>

#include "cli/progress.h"
#include "download/hub_cache.h"
#include "download/model_source.h"

namespace forge {

void fetch_model(ModelSource& source) {
  if (!is_remote_model(source.path)) {
    if (const size_t scheme = source.path.find("://"); scheme != std::string::npos)
      fail_usage("{}: URLs of {} are not supported; expected https, http, or hf:ORG/NAME", source.path,
                 source.path.substr(0, scheme));
    return;
  }
  ProgressBar bar;
  bool began = false;
  FetchOptions options{.offline = source.offline || hub_is_offline()};
  options.report.progress = [&](std::string_view, uint64_t done, uint64_t total) {
    if (!std::exchange(began, true)) bar.begin("download");
    bar.bytes(done, total);
  };
  options.report.note = [&](std::string_view line) {
    bar.end();
    began = false;
    print_to_stderr("{}\n", line);
  };
  FetchedModel fetched = fetch_model(source.path, options);
  source.path = std::move(fetched.path);
  source.name = std::move(fetched.name);
}

}  // namespace forge
