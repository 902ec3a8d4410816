# Headers that most files of a kind include, compiled once instead of once a file. Every file still
# includes what it uses; builds without (g++, the cross build) show where one does not.
# g++ 12 gains little and warns of system headers that come precompiled; ccache keeps results of files
# that are compiled alone.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(default ON)
else()
  set(default OFF)
endif()
option(DSA_PRECOMPILE_HEADERS "Compile common headers once" ${default})

set(DSA_COMMON_HEADERS <algorithm> <array> <chrono> <cmath> <cstdint> <cstring> <filesystem>
  <functional> <limits> <map> <memory> <optional> <set> <span> <string> <string_view> <unordered_map>
  <utility> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)

# dsa_precompile(<target> OWN HEADERS <header>...)
# dsa_precompile(<target> <kind> LINK <target>... HEADERS <header>... OPTIONS <option>...)
# Targets of one kind share the result, so they are compiled with the same options; the first call
# with a kind decides what is in it. LINK: what its headers need. Programs are compiled with other
# options than libraries (-fPIE), so a kind is of one or the other.
function(dsa_precompile target kind)
  cmake_parse_arguments(ARG "" "" "LINK;HEADERS;OPTIONS" ${ARGN})
  if(NOT DSA_PRECOMPILE_HEADERS)
    return()
  endif()
  if(kind STREQUAL "OWN")
    target_precompile_headers(${target} PRIVATE ${DSA_COMMON_HEADERS} ${ARG_HEADERS})
    return()
  endif()
  if(NOT TARGET dsa_precompiled_${kind})
    set(source ${PROJECT_BINARY_DIR}/precompiled_${kind}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "")
    add_library(dsa_precompiled_${kind} OBJECT ${source})
    target_link_libraries(dsa_precompiled_${kind} PRIVATE fmt::fmt nlohmann_json::nlohmann_json
      ${ARG_LINK})
    target_compile_options(dsa_precompiled_${kind} PRIVATE ${ARG_OPTIONS})
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "EXECUTABLE")
      set_target_properties(dsa_precompiled_${kind} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(dsa_precompiled_${kind} PRIVATE -fPIE)
    endif()
    target_precompile_headers(dsa_precompiled_${kind} PRIVATE ${DSA_COMMON_HEADERS} ${ARG_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM dsa_precompiled_${kind})
endfunction()
