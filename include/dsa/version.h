// Version of the library. CMake reads it from here.
#pragma once

#define DSA_VERSION_MAJOR 0
#define DSA_VERSION_MINOR 1
#define DSA_VERSION_PATCH 0

#define DSA_VERSION_TEXT_(major, minor, patch) #major "." #minor "." #patch
#define DSA_VERSION_TEXT(major, minor, patch) DSA_VERSION_TEXT_(major, minor, patch)

// "0.1.0": of the headers that a program was compiled with.
#define DSA_VERSION DSA_VERSION_TEXT(DSA_VERSION_MAJOR, DSA_VERSION_MINOR, DSA_VERSION_PATCH)

#pragma GCC visibility push(default)

namespace dsa {

// "0.1.0": of the library that the program runs with. Before 1.0 the interface may change with the
// minor version.
const char* version();

}  // namespace dsa

#pragma GCC visibility pop
