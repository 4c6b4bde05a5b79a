// SPDX-License-Identifier: Apache-2.0
//
// Reads what it has written, by efficientvit::codec.
#include <efficientvit/images/codec.hpp>

int main() {
    efficientvit::Image image({2, 3});
    image.set(1, 2, {10, 20, 30});
    return efficientvit::decode_image(efficientvit::encode_png(image)) == image ? 0 : 1;
}
