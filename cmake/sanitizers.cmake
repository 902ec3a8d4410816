if(DSA_SANITIZE)
  add_compile_options(-fsanitize=${DSA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DSA_SANITIZE})
endif()
if(DSA_BUILD_FUZZERS)  # code tells the fuzzers which branches it takes
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
