// SPDX-License-Identifier: Apache-2.0
//
// Layers and blocks that nobody chose: random_networks.hpp.
#include "random_networks.hpp"

namespace {

const std::vector<RandomNetwork>& random_blocks() {
    static const std::vector<RandomNetwork> list{
#define NETWORK EFFICIENTVIT_RANDOM_NETWORK
#include "random_blocks.inc"
#undef NETWORK
    };
    return list;
}

TEST(RandomBlocks, AsTheNaiveReference) {
    for (const RandomNetwork& random : random_blocks()) check_against_reference(random, 4, 24);
}

TEST(RandomBlocks, AsPyTorch) {
    const StoredOutputs stored;
    for (const RandomNetwork& random : random_blocks()) stored.check(random);
}

}  // namespace
