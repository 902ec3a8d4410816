# Lints that run as tests: a rule without a check is not a rule.
foreach(tier scalar avx2 avx512)
  add_test(NAME lint.isa_leak_${tier}
    COMMAND ${PROJECT_SOURCE_DIR}/tools/check_isa_leak $<TARGET_OBJECTS:dsa_tier_${tier}>
    COMMAND_EXPAND_LISTS)
endforeach()
add_test(NAME lint.layers COMMAND python3 ${PROJECT_SOURCE_DIR}/tools/check_layers ${PROJECT_SOURCE_DIR})
add_test(NAME lint.format COMMAND ${PROJECT_SOURCE_DIR}/tools/format --check)
