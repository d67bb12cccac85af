# SPDX-FileCopyrightText: nasturtium contributors
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# One target per folder, one test program per folder: adding a source file needs no edit of a CMake file.

# Flags that every target of the project is compiled with; never exported to its users.
add_library(nasturtium_flags INTERFACE)
target_compile_options(nasturtium_flags INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-Wall;-Wextra;-Wno-psabi>
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>,$<NOT:$<BOOL:${Kokkos_ENABLE_CUDA}>>>:-Wpedantic>
  $<$<AND:$<BOOL:${NASTURTIUM_WARNINGS_AS_ERRORS}>,$<COMPILE_LANGUAGE:CXX>>:-Werror>
  $<$<AND:$<BOOL:${NASTURTIUM_NATIVE}>,$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>>:-march=native>)
if(NASTURTIUM_SANITIZE)
  target_compile_options(nasturtium_flags INTERFACE -fsanitize=${NASTURTIUM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(nasturtium_flags INTERFACE -fsanitize=${NASTURTIUM_SANITIZE})
endif()

# nasturtium_add_module(NAME LINKS public targets... PRIVATE_LINKS targets...)
# The library nasturtium::NAME of this folder: src/**/*.cpp, public headers in include/.
function(nasturtium_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;PRIVATE_LINKS")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS src/*.cpp)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS include/*.hpp src/*.hpp)
  add_library(nasturtium_${name} ${sources} ${headers})
  add_library(nasturtium::${name} ALIAS nasturtium_${name})
  set_target_properties(nasturtium_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_compile_features(nasturtium_${name} PUBLIC cxx_std_20)
  target_include_directories(nasturtium_${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE src)
  target_link_libraries(nasturtium_${name} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS} $<BUILD_INTERFACE:nasturtium_flags>)
  set_property(GLOBAL APPEND PROPERTY NASTURTIUM_MODULES ${name})
endfunction()

# nasturtium_add_test(NAME [KOKKOS] [LABELS ...] LINKS targets...)
# The program test_NAME of every tests/NAME/*_test.cpp; KOKKOS gives it a main that holds a Kokkos::ScopeGuard.
function(nasturtium_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "KOKKOS" "" "LINKS;LABELS;SOURCES")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${name}/*_test.cpp)
  list(APPEND sources ${arg_SOURCES})
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE ${arg_LINKS} nasturtium_flags)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(test_${name} PRIVATE NASTURTIUM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # What is tested is optimised, the tests themselves need not be: a third less to compile.
  if(NOT Kokkos_ENABLE_CUDA)
    target_compile_options(test_${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)
  endif()
  if(arg_KOKKOS)
    target_sources(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/kokkos_main.cpp)
    target_link_libraries(test_${name} PRIVATE Catch2::Catch2 Kokkos::kokkos)
  else()
    target_link_libraries(test_${name} PRIVATE Catch2::Catch2WithMain)
  endif()
  catch_discover_tests(test_${name} TEST_PREFIX "${name}: " DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS "${name};${arg_LABELS}" SKIP_RETURN_CODE 4)
endfunction()
