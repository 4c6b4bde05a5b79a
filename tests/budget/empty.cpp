// SPDX-License-Identifier: Apache-2.0
//
// What the compiler takes for nothing.
