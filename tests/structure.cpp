// SPDX-License-Identifier: Apache-2.0
//
// Never compiled: CMake wants a source for the target whose include folders structure.cmake asks for.
