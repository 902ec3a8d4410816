#include "dsa/version.h"

namespace dsa {

const char* version() {
  return DSA_VERSION;
}

}  // namespace dsa
