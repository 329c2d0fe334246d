// A file of its own, which the linker leaves out where the archive of TLS comes first.
#include "runtime/server/tls.h"

namespace forge::rt {

const OpenTls open_tls_server = nullptr;

}  // namespace forge::rt
