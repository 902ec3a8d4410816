# Installs the library, with a CMake package and pkg-config files, and the dsa program.
#   find_package(dsa COMPONENTS ops)   dsa::ops: operations on the caller's memory
#   find_package(dsa)                  dsa::dsa: everything, and dsa::ops
include(CMakePackageConfigHelpers)
set(DSA_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/dsa)

# Of each component its shared library, and the static libraries that no component before it has.
function(dsa_install_component name)
  get_property(layers GLOBAL PROPERTY DSA_LAYERS_${name})
  get_property(installed GLOBAL PROPERTY DSA_INSTALLED)
  list(REMOVE_ITEM layers ${installed})
  set_property(GLOBAL APPEND PROPERTY DSA_INSTALLED ${layers})
  install(TARGETS dsa_static_${name} ${layers} EXPORT dsa_static_${name}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT dsa_static_${name} NAMESPACE dsa:: DESTINATION ${DSA_PACKAGE_DIR})
  if(BUILD_SHARED_LIBS)
    install(TARGETS dsa_shared_${name} EXPORT dsa_shared_${name}
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(EXPORT dsa_shared_${name} NAMESPACE dsa:: DESTINATION ${DSA_PACKAGE_DIR})
  endif()
endfunction()

# pkg-config: the shared library, or the static ones and what they need.
#   dsa_install_pc(<file> <component> <description> <packages that the static libraries need>)
function(dsa_install_pc file name description needs)
  if(BUILD_SHARED_LIBS)
    get_target_property(output dsa_shared_${name} OUTPUT_NAME)
    set(libraries -l${output})
    set(needs "")
  else()
    get_property(layers GLOBAL PROPERTY DSA_LAYERS_${name})
    foreach(layer ${layers})
      get_target_property(type ${layer} TYPE)
      if(NOT type STREQUAL INTERFACE_LIBRARY)
        list(APPEND libraries -l${layer})
      endif()
    endforeach()
    list(APPEND libraries -pthread)
    list(JOIN libraries " " libraries)
  endif()
  file(RELATIVE_PATH include_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
    ${CMAKE_INSTALL_FULL_INCLUDEDIR})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/dsa.pc.in ${PROJECT_BINARY_DIR}/${file}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${file}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dsa DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
get_property(components GLOBAL PROPERTY DSA_COMPONENTS)
foreach(component ${components})
  dsa_install_component(${component})
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dsaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/dsaConfig.cmake INSTALL_DESTINATION ${DSA_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/dsaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dsaConfig.cmake ${PROJECT_BINARY_DIR}/dsaConfigVersion.cmake
  DESTINATION ${DSA_PACKAGE_DIR})
dsa_install_pc(dsa-ops ops "Operations of DeepSeek Sparse Attention on the caller's memory" "fmt")
dsa_install_pc(dsa dsa "Runs, serves and trains models with DeepSeek Sparse Attention on CPUs"
  "fmt simdjson libcrypto libpcre2-8")

if(TARGET dsa_cli)
  install(TARGETS dsa_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
