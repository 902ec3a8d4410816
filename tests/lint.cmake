# Lints that run as tests: a rule without a check is not a rule.
set(DSA_TEST_FLOOR 1200)  # unit tests there were when this was last raised

function(dsa_lint name)
  add_test(NAME lint.${name} COMMAND ${ARGN} COMMAND_EXPAND_LISTS)
  set_tests_properties(lint.${name} PROPERTIES LABELS lint TIMEOUT 300
    SKIP_RETURN_CODE 77)
endfunction()

set(tools ${PROJECT_SOURCE_DIR}/tools)
get_property(tiers GLOBAL PROPERTY DSA_TIERS)
foreach(tier ${tiers})
  dsa_lint(isa_leak_${tier} ${tools}/check_isa_leak $<TARGET_OBJECTS:dsa_tier_${tier}>)
endforeach()
dsa_lint(portable python3 ${tools}/check_portable ${PROJECT_SOURCE_DIR})
dsa_lint(layers python3 ${tools}/check_layers ${PROJECT_SOURCE_DIR})
dsa_lint(types python3 ${tools}/check_types ${PROJECT_SOURCE_DIR})
dsa_lint(format ${tools}/format --check)
dsa_lint(words ${tools}/check_words)
dsa_lint(function_size python3 ${tools}/check_function_size)
dsa_lint(test_count ${tools}/check_test_count ${PROJECT_BINARY_DIR} ${DSA_TEST_FLOOR})
if(TARGET dsa_cli)
  dsa_lint(snippets python3 ${tools}/check_snippets ${PROJECT_SOURCE_DIR} $<TARGET_FILE:dsa_cli>)
endif()

# Every public header compiles on its own: the build fails where one does not.
file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/dsa/*.h)
set(units "")
foreach(header ${headers})
  cmake_path(GET header STEM name)
  set(unit ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cc)
  file(CONFIGURE OUTPUT ${unit} CONTENT "#include \"dsa/${name}.h\"\n")
  list(APPEND units ${unit})
endforeach()
add_library(dsa_public_headers OBJECT ${units})
target_include_directories(dsa_public_headers PRIVATE ${PROJECT_SOURCE_DIR}/include)
target_link_libraries(dsa_public_headers PRIVATE dsa_warnings)
