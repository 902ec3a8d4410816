# Tests that run the built programs end to end, on small models (python3, its library only).
#   dsa_system_test(<name> [SCRIPT name] [ARGS arg...])
function(dsa_system_test name)
  cmake_parse_arguments(ARG "" "SCRIPT" "ARGS" ${ARGN})
  if(NOT ARG_SCRIPT)
    set(ARG_SCRIPT ${name})
  endif()
  add_test(NAME system.${name}
    COMMAND python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/system/${ARG_SCRIPT}_test.py ${ARG_ARGS})
  set_tests_properties(system.${name} PROPERTIES LABELS system TIMEOUT 900 SKIP_RETURN_CODE 77
    ENVIRONMENT "DSA_PROGRAM=$<TARGET_FILE:dsa_cli>;DSA_SOURCE_DIR=${PROJECT_SOURCE_DIR};\
DSA_SANITIZE=${DSA_SANITIZE}")
endfunction()

foreach(name lints command_line options run chat inspect tokenize verify interrupt cache serve serve_access
    serve_clock serve_disk serve_faults serve_soak serve_tools openai_client lm_eval page train tokenizers)
  dsa_system_test(${name})
endforeach()
get_property(tiers GLOBAL PROPERTY DSA_TIERS)
foreach(tier ${tiers})
  dsa_system_test(logits_${tier} SCRIPT logits ARGS ${tier})
endforeach()
if(NOT DSA_SANITIZE)  # 190,000 tokens: minutes in an instrumented build
  dsa_system_test(perplexity)
  dsa_system_test(bench)
  dsa_system_test(compare_builds)
  dsa_system_test(compare_speed)
  dsa_system_test(trained_model)
  # The recipe as a user runs it, from nothing: three stages with losses as recorded, then the result.
  add_test(NAME system.train_model
    COMMAND bash -c "rm -rf build/models/smoke build/corpus/smoke* && scripts/train-model --smoke"
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(system.train_model PROPERTIES LABELS system TIMEOUT 900 PROCESSORS 2
    ENVIRONMENT "DSA_PROGRAM=$<TARGET_FILE:dsa_cli>")
endif()
