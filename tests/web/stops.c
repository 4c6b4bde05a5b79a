// SPDX-License-Identifier: Apache-2.0
//
// A module that stops where it is asked to: what efficientvit.js does then is tested with it.
#define EXPORT(name) __attribute__((export_name(#name)))

static char memory[1 << 16];
static int used = 16;

EXPORT(_initialize) void initialize(void) {}
EXPORT(ev_alloc) void* ev_alloc(int bytes) { return memory + (used += (bytes + 15) / 16 * 16) - (bytes + 15) / 16 * 16; }
EXPORT(ev_free) void ev_free(void* at) { (void)at; }
EXPORT(ev_error) const char* ev_error(void) { return "an error"; }
EXPORT(ev_load) int ev_load(void) { return 1; }
EXPORT(ev_info) const char* ev_info(void) { return "{}"; }
EXPORT(ev_outputs) int ev_outputs(void) { return 0; }
EXPORT(ev_run_tensor) int ev_run_tensor(int session, const float* x) {
    (void)session;
    if (x[0] == 1) __builtin_trap();
    return x[0] != 2;
}
