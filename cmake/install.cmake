# Installs the library with a CMake package (find_package(dsa) gives dsa::dsa) and the dsa program.
include(CMakePackageConfigHelpers)
set(DSA_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/dsa)

get_property(layers GLOBAL PROPERTY DSA_LAYERS)
install(TARGETS dsa ${layers} EXPORT dsaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dsa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT dsaTargets NAMESPACE dsa:: DESTINATION ${DSA_PACKAGE_DIR})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dsaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/dsaConfig.cmake INSTALL_DESTINATION ${DSA_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dsaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dsaConfig.cmake ${PROJECT_BINARY_DIR}/dsaConfigVersion.cmake
  DESTINATION ${DSA_PACKAGE_DIR})

if(TARGET dsa_cli)
  install(TARGETS dsa_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
