// SPDX-License-Identifier: Apache-2.0
//
// What plugins of one object differ by.
#ifndef PLUGIN_SCALE
#define PLUGIN_SCALE 1.0f
#endif
extern "C" __attribute__((visibility("hidden"))) float plugin_scale();
float plugin_scale() { return PLUGIN_SCALE; }
