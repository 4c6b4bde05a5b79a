// SPDX-License-Identifier: Apache-2.0
//
// What Eigen takes of every unit that uses its tensors.
#include <unsupported/Eigen/CXX11/Tensor>
