# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Installs the program, the libraries and the headers, and exports the nasturtium::* targets for find_package(nasturtium).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(modules GLOBAL PROPERTY NASTURTIUM_MODULES)
foreach(module IN LISTS modules)
  install(TARGETS nasturtium_${module} EXPORT nasturtium
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${module}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()
if(TARGET nasturtium)
  install(TARGETS nasturtium RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT nasturtium NAMESPACE nasturtium:: FILE nasturtiumTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nasturtium)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/nasturtiumConfig.cmake.in
  ${PROJECT_BINARY_DIR}/nasturtiumConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nasturtium)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nasturtiumConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nasturtiumConfig.cmake ${PROJECT_BINARY_DIR}/nasturtiumConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nasturtium)
