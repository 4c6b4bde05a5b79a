// SPDX-License-Identifier: Apache-2.0
//
// A plugin of QEMU (user mode, interface version 1) that counts how often each block of a program runs, and writes to
// the file "out" for each: times, address, and its instructions in hexadecimal. Of one thread. Built and used by
// forward.py.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What QEMU's qemu-plugin.h declares; distributions do not install it.
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, enum qemu_plugin_op, void*, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void*), void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct block {
    struct block* next;
    uint64_t times, address;
    size_t count;
    uint32_t instructions[];
};

static struct block* blocks;
static char out[4096];

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
    (void)id;
    const size_t count = qemu_plugin_tb_n_insns(tb);
    struct block* const b = malloc(sizeof *b + count * sizeof b->instructions[0]);
    if (b == NULL) abort();
    b->times = 0;
    b->address = qemu_plugin_tb_vaddr(tb);
    b->count = count;
    for (size_t i = 0; i < count; ++i)
        memcpy(&b->instructions[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(tb, i)), 4);
    b->next = blocks;
    blocks = b;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->times, 1);
}

static void finished(qemu_plugin_id_t id, void* data) {
    (void)id, (void)data;
    FILE* const file = fopen(out, "w");
    if (file == NULL) return;
    for (const struct block* b = blocks; b != NULL; b = b->next) {
        if (b->times == 0) continue;
        fprintf(file, "%" PRIu64 " %" PRIx64, b->times, b->address);
        for (size_t i = 0; i < b->count; ++i) fprintf(file, " %08" PRIx32, b->instructions[i]);
        fputc('\n', file);
    }
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void* info, int argc,
                                                               char** argv) {
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (strncmp(argv[i], "out=", 4) == 0) snprintf(out, sizeof out, "%s", argv[i] + 4);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
