// SPDX-License-Identifier: Apache-2.0
//
// Backbones, classifiers, segmenters and SAM's encoders that nobody chose: random_networks.hpp.
#include "random_networks.hpp"

namespace {

const std::vector<RandomNetwork>& random_networks() {
    static const std::vector<RandomNetwork> list{
#define NETWORK EFFICIENTVIT_RANDOM_NETWORK
#include "random_networks.inc"
#undef NETWORK
    };
    return list;
}

TEST(RandomNetworks, AsTheNaiveReference) {
    for (const RandomNetwork& random : random_networks()) check_against_reference(random, 3, 70);
}

TEST(RandomNetworks, AsPyTorch) {
    const StoredOutputs stored;
    for (const RandomNetwork& random : random_networks()) stored.check(random);
}

}  // namespace
