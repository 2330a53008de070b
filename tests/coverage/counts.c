/* Linked into what is measured (tests/coverage/run). The counts are a mapping of a file, shared by
 * all processes of a binary: so a worker, which ends by _exit(), need not write them, nor one that
 * is killed. But the check of a pool gives up all shared memory (master/check): this it keeps. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

extern intptr_t __llvm_profile_counter_bias;
extern uint64_t *__llvm_profile_begin_counters(void);

/* In the place of libc's, for the binary alone. */
__attribute__((visibility("hidden"))) int munmap(void *at, size_t size)
{
    uintptr_t counts =
        (uintptr_t)__llvm_profile_begin_counters() + (uintptr_t)__llvm_profile_counter_bias;
    return counts - (uintptr_t)at < size ? 0 : (int)syscall(SYS_munmap, at, size);
}
