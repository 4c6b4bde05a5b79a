// SPDX-License-Identifier: Apache-2.0
//
// The file EFFICIENTVIT_EMBEDDED_WEIGHTS, as it is, among the program's constants.
#if defined(__APPLE__)
#define NAME(name) _##name
    .section __TEXT,__const
#else
#define NAME(name) name
    .section .rodata
#endif
    .globl NAME(efficientvit_weights)
    .globl NAME(efficientvit_weights_end)
    .balign 64
NAME(efficientvit_weights):
    .incbin EFFICIENTVIT_EMBEDDED_WEIGHTS
NAME(efficientvit_weights_end):
    .byte 0
#if defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
