if(DSA_SANITIZE)
  add_compile_options(-fsanitize=${DSA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DSA_SANITIZE})
endif()

# dsa_fuzzable(<target>): what reads untrusted input tells the fuzzers which branches it takes.
function(dsa_fuzzable target)
  if(DSA_BUILD_FUZZERS)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()
