# Writes OUTPUT, a C++ file with the bytes of page/: cmake -DPAGE_DIR=... -DOUTPUT=... -P this
set(table "")
set(data "")
file(GLOB files RELATIVE ${PAGE_DIR} ${PAGE_DIR}/*.html ${PAGE_DIR}/*.js ${PAGE_DIR}/*.css)
foreach(file ${files})
  file(READ ${PAGE_DIR}/${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(MAKE_C_IDENTIFIER ${file} name)
  set(type "text/html")
  set(path "/")
  if(file MATCHES "\\.js$")
    set(type "text/javascript")
    set(path "/${file}")
  elseif(file MATCHES "\\.css$")
    set(type "text/css")
    set(path "/${file}")
  endif()
  string(APPEND data "constexpr unsigned char k_${name}[] = {${bytes}0};\n")
  string(APPEND table
    "    {\"${path}\", \"${type}; charset=utf-8\", text(k_${name}, sizeof(k_${name}) - 1)},\n")
endforeach()
file(WRITE ${OUTPUT}.new "// Made from ${PAGE_DIR} by embed_page.cmake.
#include \"server/page.h\"

namespace server {
namespace {

${data}
std::string_view text(const unsigned char* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

const PageFile* find_page(std::string_view path) {
  static const PageFile kFiles[] = {
${table}  };
  for (const PageFile& file : kFiles) {
    if (path == file.path) return &file;
  }
  return nullptr;
}

}  // namespace server
")
file(RENAME ${OUTPUT}.new ${OUTPUT})
